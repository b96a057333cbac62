//! [`Tx`]: a transaction.

#[cfg(feature = "sqlite")]
use std::sync::Arc;

use chunkpoint_core::{Error, Result};

#[cfg(feature = "sqlite")]
use super::driver::How;
use super::lease::Lease;
use super::{Db, Pools, Side};
use crate::error::{Stage, from_sqlx, is_lost};
use crate::value::{Args, Row};

/// A transaction under way. One that is dropped closes its connection, which undoes it.
pub(crate) struct Tx {
    db: Db,
    lease: AnyLease,
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
    /// Begins one. A connection that turns out to be lost is replaced once.
    pub(super) async fn begin(db: &Db, side: Side, statement: &'static str) -> Result<Self> {
        let begun = match Self::begin_once(db, side, statement).await {
            Err(error) if is_lost(&error) => {
                db.forget();
                Self::begin_once(db, side, statement).await
            }
            begun => begun,
        };
        begun.map_err(|error| from_sqlx(db.dialect(), Stage::Before, error))
    }

    async fn begin_once(db: &Db, side: Side, statement: &'static str) -> sqlx::Result<Self> {
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
        };
        tx.control(statement).await?;
        Ok(tx)
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
        let (text, how) = (self.db.sql.text(template), self.db.how);
        let rows = with_lease!(&mut self.lease, lease => {
            lease.rows(&text, args, how).await
        });
        rows.map_err(|error| self.error(error))
    }

    /// Runs a statement, and tells how many rows it changed.
    pub(crate) async fn run(&mut self, template: &str, args: Args) -> Result<u64> {
        let (text, how) = (self.db.sql.text(template), self.db.how);
        let changed = with_lease!(&mut self.lease, lease => {
            lease.run(&text, args, how).await
        });
        changed.map_err(|error| self.error(error))
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
        let ended = self.control("COMMIT").await;
        let dialect = self.db.dialect();
        let refused = matches!(ended, Err(sqlx::Error::Database(_)));
        if refused {
            // SQLite leaves it open when it cannot write.
            self.rollback().await;
        } else {
            with_lease!(self.lease, lease => lease.give_back(Ok(()))).ok();
        }
        ended.map_err(|error| from_sqlx(dialect, Stage::Deciding, error))
    }

    /// Ends it, and undoes it.
    pub(crate) async fn rollback(mut self) {
        // A connection on which that fails is closed, which undoes it too.
        if self.control("ROLLBACK").await.is_ok() {
            with_lease!(self.lease, lease => lease.give_back(Ok(()))).ok();
        }
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
