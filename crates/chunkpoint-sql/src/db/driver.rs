//! The few statements' worth of difference between the three drivers.

use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::{Arguments as _, AssertSqlSafe, Database, Executor, IntoArguments};

use super::lease::Lease;
use super::literal;
use crate::dialect::Dialect;
use crate::value::{Args, Row, Value};

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Prepared once a connection, and kept.
    Prepared,
    /// Prepared each time.
    Unprepared,
    /// As text with the parameters in it; see [`literal`]. PostgreSQL only.
    Literal,
}

/// What this crate needs of a driver beyond sqlx's own traits.
pub(crate) trait Driver: Database + sqlx::database::HasStatementCache {
    /// Takes in parameters.
    fn bind(args: Args) -> Result<Self::Arguments, BoxDynError>;
    /// Wraps a row.
    fn row(row: Self::Row) -> Row;
    /// How many rows a statement changed.
    fn changed(result: &Self::QueryResult) -> u64;
    /// The *last inserted id* of MySQL, which a statement can set; of SQLite the number of
    /// the row that was inserted last; else 0.
    fn noted(_: &Self::QueryResult) -> u64 {
        0
    }
}

#[cfg(feature = "sqlite")]
impl Driver for sqlx::Sqlite {
    fn bind(args: Args) -> Result<Self::Arguments, BoxDynError> {
        let mut bound = Self::Arguments::default();
        for value in args {
            match value {
                Value::Int(value) => bound.add(value)?,
                Value::Bool(value) => bound.add(value)?,
                Value::Text(value) => bound.add(value)?,
                Value::Bytes(value) => bound.add(value.map(Vec::from))?,
                Value::Ints(_) | Value::Texts(_) | Value::Blobs(_) => return Err(no_arrays()),
            }
        }
        Ok(bound)
    }

    fn row(row: Self::Row) -> Row {
        Row::Sqlite(row)
    }

    fn changed(result: &Self::QueryResult) -> u64 {
        result.rows_affected()
    }

    fn noted(result: &Self::QueryResult) -> u64 {
        u64::try_from(result.last_insert_rowid()).unwrap_or(0)
    }
}

#[cfg(feature = "postgres")]
impl Driver for sqlx::Postgres {
    fn bind(args: Args) -> Result<Self::Arguments, BoxDynError> {
        let mut bound = Self::Arguments::default();
        for value in args {
            match value {
                Value::Int(value) => bound.add(value)?,
                Value::Bool(value) => bound.add(value)?,
                Value::Text(value) => bound.add(value.as_deref())?,
                Value::Bytes(value) => bound.add(value.as_deref())?,
                Value::Ints(values) => bound.add(values)?,
                Value::Texts(values) => {
                    bound.add(values.iter().map(|text| &**text).collect::<Vec<_>>())?;
                }
                Value::Blobs(values) => {
                    bound.add(values.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>())?;
                }
            }
        }
        Ok(bound)
    }

    fn row(row: Self::Row) -> Row {
        Row::Postgres(row)
    }

    fn changed(result: &Self::QueryResult) -> u64 {
        result.rows_affected()
    }
}

#[cfg(feature = "mysql")]
impl Driver for sqlx::MySql {
    fn bind(args: Args) -> Result<Self::Arguments, BoxDynError> {
        let mut bound = Self::Arguments::default();
        for value in args {
            match value {
                Value::Int(value) => bound.add(value)?,
                Value::Bool(value) => bound.add(value)?,
                // Ids are bytes, so that no collation compares them.
                Value::Text(value) => bound.add(value.as_deref().map(str::as_bytes))?,
                Value::Bytes(value) => bound.add(value.as_deref())?,
                Value::Ints(_) | Value::Texts(_) | Value::Blobs(_) => return Err(no_arrays()),
            }
        }
        Ok(bound)
    }

    fn row(row: Self::Row) -> Row {
        Row::MySql(row)
    }

    fn changed(result: &Self::QueryResult) -> u64 {
        result.rows_affected()
    }

    fn noted(result: &Self::QueryResult) -> u64 {
        result.last_insert_id()
    }
}

#[cfg(any(feature = "sqlite", feature = "mysql"))]
fn no_arrays() -> BoxDynError {
    "only PostgreSQL has arrays".into()
}

/// Statements on a connection.
impl<DB> Lease<DB>
where
    DB: Driver,
    DB::Arguments: IntoArguments<DB> + 'static,
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
{
    /// Runs a statement, and gives its rows as they come.
    pub(super) fn stream(
        &mut self,
        text: &Arc<str>,
        args: Args,
        how: How,
    ) -> sqlx::Result<BoxStream<'_, sqlx::Result<Row>>> {
        let rows = if how == How::Literal {
            let text = literal::fill(Dialect::Postgres, text, &args);
            sqlx::raw_sql(AssertSqlSafe(text)).fetch(self.connection())
        } else {
            let bound = DB::bind(args).map_err(sqlx::Error::Encode)?;
            sqlx::query_with(AssertSqlSafe(text.clone()), bound)
                .persistent(how == How::Prepared)
                .fetch(self.connection())
        };
        Ok(Box::pin(rows.map_ok(DB::row)))
    }

    /// Runs a statement, and gives all its rows.
    pub(super) async fn rows(
        &mut self,
        text: &Arc<str>,
        args: Args,
        how: How,
    ) -> sqlx::Result<Vec<Row>> {
        self.stream(text, args, how)?.try_collect().await
    }

    /// Runs a statement, and tells how many rows it changed.
    pub(super) async fn run(&mut self, text: &Arc<str>, args: Args, how: How) -> sqlx::Result<u64> {
        let changed = self.change(text, args, how).await;
        changed.map(|(changed, _)| changed)
    }

    /// Runs a statement, and tells how many rows it changed and what it noted.
    pub(super) async fn change(
        &mut self,
        text: &Arc<str>,
        args: Args,
        how: How,
    ) -> sqlx::Result<(u64, u64)> {
        let result = if how == How::Literal {
            let text = literal::fill(Dialect::Postgres, text, &args);
            let run = sqlx::raw_sql(AssertSqlSafe(text)).execute(self.connection());
            run.await?
        } else {
            let bound = DB::bind(args).map_err(sqlx::Error::Encode)?;
            let query = sqlx::query_with(AssertSqlSafe(text.clone()), bound);
            let query = query.persistent(how == How::Prepared);
            query.execute(self.connection()).await?
        };
        Ok((DB::changed(&result), DB::noted(&result)))
    }

    /// Runs statements without parameters, as they stand, and gives all their rows.
    pub(super) async fn script_rows(&mut self, text: String) -> sqlx::Result<Vec<Row>> {
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch(self.connection());
        rows.map_ok(DB::row).try_collect().await
    }

    /// Runs statements without parameters, as they stand.
    pub(super) async fn script(&mut self, text: &str) -> sqlx::Result<()> {
        let run = sqlx::raw_sql(AssertSqlSafe(text)).execute(self.connection());
        run.await.map(drop)
    }
}
