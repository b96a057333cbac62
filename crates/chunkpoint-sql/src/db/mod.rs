//! [`Db`]: one way to run statements, whichever database they are for.
//!
//! Everything above is written once, in templates of [`Sql`] and rows of [`Row`].
//! What only one database can do is asked of its [`Dialect`].

mod driver;
mod lease;
pub(crate) mod literal;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod tx;

use std::fmt;
use std::sync::Arc;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, Result};

pub(crate) use self::driver::How;
pub(crate) use self::lease::{Hold, Leases};
pub(crate) use self::tx::{Statement, Tx};
use crate::dialect::{Dialect, Sql};
use crate::error::{Stage, from_sqlx, is_lost};
use crate::value::{Args, Row};

/// The connections of one database.
#[derive(Clone)]
pub(crate) enum Pools {
    /// One connection writes, the others read; for `:memory:`, they are the same one.
    #[cfg(feature = "sqlite")]
    Sqlite {
        readers: Arc<Leases<sqlx::Sqlite>>,
        writer: Arc<Leases<sqlx::Sqlite>>,
    },
    #[cfg(feature = "postgres")]
    Postgres(Arc<Leases<sqlx::Postgres>>),
    #[cfg(feature = "mysql")]
    MySql(Arc<Leases<sqlx::MySql>>),
}

/// A database: its connections, and how statements for it are written.
#[derive(Clone)]
pub(crate) struct Db {
    sql: Arc<Sql>,
    pools: Pools,
    how: How,
    /// What was run, for tests that look at its plans.
    #[cfg(test)]
    seen: Arc<std::sync::Mutex<Vec<Statement>>>,
}

/// Runs an expression with `$leases` being those that read (or write).
macro_rules! with_leases {
    ($pools:expr, $side:ident, $leases:ident => $body:expr) => {
        match $pools {
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { $side: $leases, .. } => $body,
            #[cfg(feature = "postgres")]
            Pools::Postgres($leases) => $body,
            #[cfg(feature = "mysql")]
            Pools::MySql($leases) => $body,
        }
    };
}
impl Db {
    pub(crate) fn new(sql: Arc<Sql>, pools: Pools, how: How) -> Self {
        Self {
            sql,
            pools,
            how,
            #[cfg(test)]
            seen: Arc::default(),
        }
    }

    /// The text of a statement that is about to run.
    fn text_of(&self, template: &str, args: &Args) -> Arc<str> {
        #[cfg(test)]
        if let Ok(mut seen) = self.seen.lock() {
            seen.push((template.to_owned(), args.clone()));
        }
        #[cfg(not(test))]
        let _ = args;
        self.sql.text(template)
    }

    /// What was run since the last time.
    #[cfg(test)]
    pub(crate) fn seen(&self) -> Vec<Statement> {
        let seen = self.seen.lock();
        seen.map_or_else(|_| Vec::new(), |mut seen| std::mem::take(&mut *seen))
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.sql.dialect()
    }

    pub(crate) fn sql(&self) -> &Sql {
        &self.sql
    }

    /// Turns a driver's error into ours.
    fn error(&self, stage: Stage, error: sqlx::Error) -> Error {
        from_sqlx(self.dialect(), stage, error)
    }

    /// Reads with one statement. A connection that turns out to be lost, as after a
    /// restart of the server, is replaced once.
    pub(crate) async fn rows(&self, template: &str, args: Args) -> Result<Vec<Row>> {
        let text = self.text_of(template, &args);
        match self.rows_once(&text, args.clone()).await {
            Err(error) if is_lost(&error) => {
                tracing::debug!(%error, "a connection was lost; trying another one");
                self.rows_once(&text, args).await
            }
            other => other,
        }
        .map_err(|error| self.error(Stage::Before, error))
    }

    async fn rows_once(&self, text: &Arc<str>, args: Args) -> sqlx::Result<Vec<Row>> {
        with_leases!(&self.pools, readers, leases => {
            let mut lease = leases.take().await?;
            let rows = lease.rows(text, args, self.how).await;
            lease.give_back(rows)
        })
    }

    /// Changes something with one statement, which is its own transaction, and gives
    /// its rows.
    pub(crate) async fn call(&self, template: &str, args: Args) -> Result<Vec<Row>> {
        let text = self.text_of(template, &args);
        with_leases!(&self.pools, writer, leases => {
            let mut lease = leases.take().await.map_err(|e| self.error(Stage::Before, e))?;
            let rows = lease.rows(&text, args, self.how).await;
            lease.give_back(rows).map_err(|e| self.error(Stage::Deciding, e))
        })
    }

    /// As [`call`](Self::call), and tells how many rows it changed.
    pub(crate) async fn change(&self, template: &str, args: Args) -> Result<u64> {
        let changed = self.noting(template, args).await;
        changed.map(|(changed, _)| changed)
    }

    /// As [`change`](Self::change), and tells the *last inserted id* as well, which a
    /// statement of MySQL can set; of SQLite, the number of the last row.
    pub(crate) async fn noting(&self, template: &str, args: Args) -> Result<(u64, u64)> {
        let text = self.text_of(template, &args);
        with_leases!(&self.pools, writer, leases => {
            let mut lease = leases.take().await.map_err(|e| self.error(Stage::Before, e))?;
            let changed = lease.change(&text, args, self.how).await;
            lease.give_back(changed).map_err(|e| self.error(Stage::Deciding, e))
        })
    }

    /// Begins a transaction that changes something. Each of its statements sees what
    /// others have committed by then.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        self.begin_with(Vec::new()).await.map(|(tx, _)| tx)
    }

    /// As [`begin`](Self::begin), and runs the first statements: in the same round trip.
    /// Gives the rows of all of them.
    pub(crate) async fn begin_with(&self, first: Vec<Statement>) -> Result<(Tx, Vec<Row>)> {
        let begin = self.dialect().pick(
            "BEGIN IMMEDIATE",
            "BEGIN ISOLATION LEVEL READ COMMITTED",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION",
        );
        Tx::begin(self, Side::Writes, begin, first).await
    }

    /// Begins a transaction that only reads, all of its statements at one moment.
    pub(crate) async fn snapshot(&self) -> Result<Tx> {
        let begin = self.dialect().pick(
            "BEGIN",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        );
        let begun = Tx::begin(self, Side::Reads, begin, Vec::new()).await;
        begun.map(|(tx, _)| tx)
    }

    /// Has every connection do these reads before it is first used: the driver prepares a
    /// statement in a round trip of its own, which then no caller waits for. SQLite has no
    /// round trips.
    pub(crate) async fn prepare(&self, hot: Vec<(String, Args)>) -> Result<()> {
        if self.how != How::Prepared || self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let hot = hot.into_iter();
        let hot = hot
            .map(|(template, args)| (self.sql.text(&template), args))
            .collect();
        let prepared = with_leases!(&self.pools, readers, leases => leases.prepare(hot).await);
        prepared.map_err(|error| self.error(Stage::Before, error))
    }

    /// Asks to hold a connection for as long as what this gives is kept.
    pub(crate) async fn hold(&self) -> Result<Hold> {
        let hold = with_leases!(&self.pools, readers, leases => leases.hold().await);
        hold.map_err(|error| self.error(Stage::Before, error))
    }

    /// Closes the connections that wait, after one was lost.
    fn forget(&self) {
        with_leases!(&self.pools, readers, leases => leases.forget());
    }

    /// Whether there is only one connection.
    pub(crate) fn is_alone(&self) -> bool {
        with_leases!(&self.pools, readers, leases => leases.size() == 1)
    }

    /// Closes all connections. Calls under way come to their end.
    pub(crate) async fn close(&self) {
        match &self.pools {
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            #[cfg(feature = "postgres")]
            Pools::Postgres(leases) => leases.close().await,
            #[cfg(feature = "mysql")]
            Pools::MySql(leases) => leases.close().await,
        }
    }
}

/// What a server promises.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The most that it makes durable.
    pub(crate) gives: Durability,
    /// The settings that say so.
    pub(crate) because: String,
    /// Most bytes of a chunk or body.
    pub(crate) max_value_bytes: u64,
    /// Most bytes of a commit.
    pub(crate) max_commit_bytes: u64,
}

/// Which connections a transaction is on; only SQLite tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Reads,
    Writes,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("sql", &self.sql)
            .field("how", &self.how)
            .finish_non_exhaustive()
    }
}
