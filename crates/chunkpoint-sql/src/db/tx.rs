//! [`Tx`]: a transaction.

#[cfg(feature = "sqlite")]
use std::sync::Arc;

use chunkpoint_core::{Error, Result};

#[cfg(feature = "sqlite")]
use super::driver::How;
use super::lease::Lease;
use super::{Db, Pools, Side, literal};
use crate::dialect::Dialect;
use crate::error::{Stage, from_sqlx, is_lost};
use crate::value::{Args, Row, Value};

/// The template of a statement, and its parameters.
pub(crate) type Statement = (String, Args);

/// Most bytes of the parameters of statements that are sent as one text, where they take
/// twice as many: far below the smallest `max_allowed_packet` that is accepted.
const TEXT: usize = 128 << 10;

/// A transaction under way. One that is dropped closes its connection, which undoes it.
pub(crate) struct Tx {
    db: Db,
    lease: AnyLease,
    /// Statements that are sent with the end, and the bytes of their parameters.
    last: Vec<Statement>,
    last_bytes: usize,
}

enum AnyLease {
    #[cfg(feature = "sqlite")]
    Sqlite(Lease<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Lease<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    MySql(Lease<sqlx::MySql>),
}

/// Runs an expression with `$lease` being the one that there is.
macro_rules! with_lease {
    ($any:expr, $lease:ident => $body:expr) => {
        match $any {
            #[cfg(feature = "sqlite")]
            AnyLease::Sqlite($lease) => $body,
            #[cfg(feature = "postgres")]
            AnyLease::Postgres($lease) => $body,
            #[cfg(feature = "mysql")]
            AnyLease::MySql($lease) => $body,
        }
    };
}

impl Tx {
    /// Begins one, and runs its first statements; gives their rows. A connection that turns
    /// out to be lost is replaced once.
    pub(super) async fn begin(
        db: &Db,
        side: Side,
        begin: &'static str,
        first: Vec<Statement>,
    ) -> Result<(Self, Vec<Row>)> {
        let begun = match Self::begin_once(db, side, begin, &first).await {
            Err(error) if is_lost(&error) => {
                db.forget();
                Self::begin_once(db, side, begin, &first).await
            }
            begun => begun,
        };
        begun.map_err(|error| from_sqlx(db.dialect(), Stage::Before, error))
    }

    async fn begin_once(
        db: &Db,
        side: Side,
        begin: &'static str,
        first: &[Statement],
    ) -> sqlx::Result<(Self, Vec<Row>)> {
        #[cfg(not(feature = "sqlite"))]
        let _ = side; // Only SQLite's connections differ.
        let lease = match &db.pools {
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { readers, writer } => {
                let leases = if side == Side::Reads { readers } else { writer };
                AnyLease::Sqlite(leases.take().await?)
            }
            #[cfg(feature = "postgres")]
            Pools::Postgres(leases) => AnyLease::Postgres(leases.take().await?),
            #[cfg(feature = "mysql")]
            Pools::MySql(leases) => AnyLease::MySql(leases.take().await?),
        };
        let mut tx = Self {
            db: db.clone(),
            lease,
            last: Vec::new(),
            last_bytes: 0,
        };
        let rows = match tx.first(begin, first).await {
            Ok(rows) => rows,
            Err(error) => {
                if matches!(error, sqlx::Error::Database(_)) {
                    tx.rollback().await;
                }
                return Err(error);
            }
        };
        Ok((tx, rows))
    }

    async fn first(&mut self, begin: &'static str, first: &[Statement]) -> sqlx::Result<Vec<Row>> {
        if first.is_empty() || self.db.dialect() == Dialect::Sqlite {
            self.control(begin).await?;
            let mut rows = Vec::new();
            for (template, args) in first {
                rows.extend(self.rows_of(template, args.clone()).await?);
            }
            return Ok(rows);
        }
        let text = format!("{begin}; {}", self.as_text(first));
        with_lease!(&mut self.lease, lease => lease.script_rows(text).await)
    }

    /// Statements as one text, with their parameters in it.
    fn as_text(&self, statements: &[Statement]) -> String {
        let texts = statements.iter().map(|(template, args)| {
            let text = self.db.text_of(template, args);
            literal::fill(self.db.dialect(), &text, args)
        });
        texts.collect::<Vec<_>>().join("; ")
    }

    /// The database.
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    async fn control(&mut self, statement: &'static str) -> sqlx::Result<()> {
        match &mut self.lease {
            // Prepared once: SQLite would parse it each time.
            #[cfg(feature = "sqlite")]
            AnyLease::Sqlite(lease) => {
                let text = Arc::from(statement);
                let run = lease.run(&text, Vec::new(), How::Prepared);
                run.await.map(drop)
            }
            #[cfg(feature = "postgres")]
            AnyLease::Postgres(lease) => lease.script(statement).await,
            #[cfg(feature = "mysql")]
            AnyLease::MySql(lease) => lease.script(statement).await,
        }
    }

    fn error(&self, error: sqlx::Error) -> Error {
        from_sqlx(self.db.dialect(), Stage::Before, error)
    }

    /// Runs a statement, and gives its rows.
    pub(crate) async fn rows(&mut self, template: &str, args: Args) -> Result<Vec<Row>> {
        self.flush().await?;
        let rows = self.rows_of(template, args).await;
        rows.map_err(|error| self.error(error))
    }

    async fn rows_of(&mut self, template: &str, args: Args) -> sqlx::Result<Vec<Row>> {
        let (text, how) = (self.db.text_of(template, &args), self.db.how);
        with_lease!(&mut self.lease, lease => lease.rows(&text, args, how).await)
    }

    /// Runs a statement, and tells how many rows it changed.
    pub(crate) async fn run(&mut self, template: &str, args: Args) -> Result<u64> {
        self.flush().await?;
        self.run_now(template, args).await
    }

    async fn run_now(&mut self, template: &str, args: Args) -> Result<u64> {
        let (text, how) = (self.db.text_of(template, &args), self.db.how);
        let changed = with_lease!(&mut self.lease, lease => {
            lease.run(&text, args, how).await
        });
        changed.map_err(|error| self.error(error))
    }

    /// Runs a statement whose answer nobody needs: servers are sent it with the next that
    /// has to be answered, or with the end in one round trip, if it is not too long for that.
    pub(crate) async fn write(&mut self, template: &str, args: Args) -> Result<()> {
        let bytes: usize = args.iter().map(Value::size).sum();
        let fits = self.last_bytes + bytes <= TEXT;
        if !fits || self.db.dialect() == Dialect::Sqlite {
            return self.run(template, args).await.map(drop);
        }
        self.last_bytes += bytes;
        self.last.push((template.to_owned(), args));
        Ok(())
    }

    /// Runs what was to be sent with the end.
    async fn flush(&mut self) -> Result<()> {
        self.last_bytes = 0;
        for (template, args) in std::mem::take(&mut self.last) {
            self.run_now(&template, args).await?;
        }
        Ok(())
    }

    /// Runs statements that have no parameters, and gives their rows.
    #[cfg(test)]
    pub(crate) async fn script_rows(&mut self, text: String) -> Result<Vec<Row>> {
        let rows = with_lease!(&mut self.lease, lease => lease.script_rows(text).await);
        rows.map_err(|error| self.error(error))
    }

    /// Runs statements that have no parameters.
    pub(crate) async fn script(&mut self, text: &str) -> Result<()> {
        let done = with_lease!(&mut self.lease, lease => {
            lease.script(text).await
        });
        done.map_err(|error| self.error(error))
    }

    /// Ends it: all of it holds, or none.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let ended = if self.last.is_empty() {
            self.control("COMMIT").await
        } else {
            let text = format!("{}; COMMIT", self.as_text(&self.last));
            with_lease!(&mut self.lease, lease => lease.script(&text).await)
        };
        let dialect = self.db.dialect();
        if !matches!(ended, Err(sqlx::Error::Database(_))) {
            let ended = with_lease!(self.lease, lease => lease.give_back(ended));
            return ended.map_err(|error| from_sqlx(dialect, Stage::Deciding, error));
        }
        // SQLite leaves it open when it cannot write, and cannot tell what of it reached the
        // disk. A server has refused one of the statements, and undoes it.
        let undone = self.rollback().await && dialect != Dialect::Sqlite;
        let stage = if undone {
            Stage::Before
        } else {
            Stage::Deciding
        };
        ended.map_err(|error| from_sqlx(dialect, stage, error))
    }

    /// Ends it, and undoes it; tells whether the database has said so. A connection on which
    /// that fails is closed, which undoes it too.
    pub(crate) async fn rollback(mut self) -> bool {
        let undone = self.control("ROLLBACK").await.is_ok();
        if undone {
            with_lease!(self.lease, lease => lease.give_back(Ok(()))).ok();
        }
        undone
    }

    /// Ends it, undone if `result` is an error, and passes the result on.
    pub(crate) async fn end<T>(self, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }
}
