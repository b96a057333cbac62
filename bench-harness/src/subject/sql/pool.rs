//! Connections to one of the three databases, by the bare driver.

use std::str::FromStr;

use chunkpoint_core::backend::Durability;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, MySqlPool, PgPool, SqlitePool};

use super::Place;
use crate::error::{Error, Result};
use crate::subject::BackendKind;

/// Bytes of a page of an SQLite file: what the backend takes, so that neither gains by it.
const PAGE_SIZE: u32 = 8192;

/// Connections. One is enough: nothing that uses them does two things at once.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// Does the same with any of the three.
macro_rules! with {
    ($pool:expr, $inner:ident => $work:expr) => {
        match $pool {
            $crate::subject::sql::pool::Pool::Sqlite($inner) => $work,
            $crate::subject::sql::pool::Pool::Postgres($inner) => $work,
            $crate::subject::sql::pool::Pool::MySql($inner) => $work,
        }
    };
}
pub(super) use with;

/// An error of the driver; its own text says what the database said.
pub(super) fn failed(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database {
        what,
        source: source.into(),
    }
}

impl Pool {
    /// Connects to the place's database as the backend does.
    pub(super) async fn open(place: &Place) -> Result<Self> {
        let failed = failed("connect to the database");
        Ok(match place.kind {
            BackendKind::Postgres => {
                let commit = match place.durability {
                    Durability::Buffered => "off",
                    _ => "on",
                };
                let options = PgConnectOptions::from_str(place.url.secret())
                    .map_err(&failed)?
                    .options([("synchronous_commit", commit)]);
                let pool = PgPoolOptions::new()
                    .max_connections(1)
                    .test_before_acquire(false);
                Self::Postgres(pool.connect_with(options).await.map_err(&failed)?)
            }
            BackendKind::MySql => {
                let options = MySqlConnectOptions::from_str(place.url.secret()).map_err(&failed)?;
                let pool = MySqlPoolOptions::new()
                    .max_connections(1)
                    .test_before_acquire(false);
                Self::MySql(pool.connect_with(options).await.map_err(&failed)?)
            }
            _ => {
                let synchronous = match place.durability {
                    Durability::Buffered => SqliteSynchronous::Off,
                    Durability::Process => SqliteSynchronous::Normal,
                    _ => SqliteSynchronous::Full,
                };
                let options = SqliteConnectOptions::from_str(place.url.secret())
                    .map_err(&failed)?
                    .create_if_missing(true)
                    .page_size(PAGE_SIZE)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(synchronous);
                let pool = SqlitePoolOptions::new()
                    .max_connections(1)
                    .test_before_acquire(false);
                Self::Sqlite(pool.connect_with(options).await.map_err(&failed)?)
            }
        })
    }

    /// Runs statements of the harness's own, without parameters.
    pub(super) async fn execute(&self, statement: &str) -> Result<()> {
        let text = AssertSqlSafe(statement.to_owned());
        with!(self, pool => sqlx::raw_sql(text).execute(pool).await.map(|_| ()))
            .map_err(failed("run a statement"))
    }

    /// A number that a statement of the harness's own gives; 0 for NULL.
    pub(super) async fn number(&self, statement: &str) -> Result<u64> {
        let text = AssertSqlSafe(statement.to_owned());
        let number: Option<i64> =
            with!(self, pool => sqlx::query_scalar(text).fetch_one(pool).await)
                .map_err(failed("ask the database for a number"))?;
        Ok(u64::try_from(number.unwrap_or(0)).unwrap_or(0))
    }

    /// The text that a statement of the harness's own gives.
    pub(super) async fn text(&self, statement: &str) -> Result<String> {
        let text = AssertSqlSafe(statement.to_owned());
        with!(self, pool => sqlx::query_scalar(text).fetch_one(pool).await)
            .map_err(failed("ask the database about itself"))
    }

    /// Texts that a statement of the harness's own gives, by its one parameter.
    pub(super) async fn texts(&self, statement: &str, parameter: &str) -> Result<Vec<String>> {
        let text = AssertSqlSafe(statement.to_owned());
        with!(self, pool => sqlx::query_scalar(text).bind(parameter).fetch_all(pool).await)
            .map_err(failed("ask the database for names"))
    }

    pub(super) async fn close(&self) {
        with!(self, pool => pool.close().await);
    }
}
