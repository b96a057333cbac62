//! What the floor does on a database: a row for each value.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row};
use std::sync::Arc;

use super::Place;
use super::pool::{Pool, failed, with};
use crate::error::Result;
use crate::subject::BackendKind;
use crate::subject::driver::Driver;

/// A table of values.
#[derive(Debug)]
pub(in crate::subject) struct Rows {
    pool: Pool,
    put: Arc<str>,
    newest: Arc<str>,
}

impl Rows {
    /// Connects, and makes the table unless it is there.
    pub(in crate::subject) async fn open(place: &Place) -> Result<Self> {
        let pool = Pool::open(place).await?;
        let name = &place.name;
        let (table, bytes) = match place.kind {
            BackendKind::Postgres => {
                pool.execute(&format!("CREATE SCHEMA IF NOT EXISTS {name}"))
                    .await?;
                // What the engine stores is not compressed again either.
                (format!("{name}.floor"), "BYTEA STORAGE EXTERNAL")
            }
            BackendKind::MySql => (format!("{name}floor"), "LONGBLOB"),
            _ => ("floor".to_owned(), "BLOB"),
        };
        // PostgreSQL before 16 takes no STORAGE in a column's definition.
        let (bytes, external) = match bytes.split_once(' ') {
            Some((bytes, _)) => (bytes, true),
            None => (bytes, false),
        };
        pool.execute(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (thread BIGINT NOT NULL, at BIGINT NOT NULL, \
             value {bytes} NOT NULL, PRIMARY KEY (thread, at))"
        ))
        .await?;
        if external {
            pool.execute(&format!(
                "ALTER TABLE {table} ALTER COLUMN value SET STORAGE EXTERNAL"
            ))
            .await?;
        }
        let numbered = |text: String| match place.kind {
            BackendKind::Postgres => {
                (1..=3).fold(text, |text, n| text.replacen('?', &format!("${n}"), 1))
            }
            _ => text,
        };
        let put = format!("INSERT INTO {table} (thread, at, value) VALUES (?, ?, ?)");
        let newest = format!(
            "SELECT value FROM {table} WHERE thread = ? AND at > \
             (SELECT MAX(at) FROM {table} WHERE thread = ?) - ?"
        );
        Ok(Self {
            pool,
            put: numbered(put).into(),
            newest: numbered(newest).into(),
        })
    }
}

#[async_trait]
impl Driver for Rows {
    async fn put(&self, thread: u32, end: u64, value: &[u8]) -> Result<()> {
        let text = AssertSqlSafe(self.put.clone());
        let (thread, end) = (i64::from(thread), end as i64);
        with!(&self.pool, pool => {
            let query = sqlx::query(text).bind(thread).bind(end).bind(value);
            query.execute(pool).await.map(|_| ())
        })
        .map_err(failed("store a value of the floor"))
    }

    async fn newest(&self, thread: u32, bytes: u64) -> Result<u64> {
        let text = AssertSqlSafe(self.newest.clone());
        let (thread, bytes) = (i64::from(thread), bytes as i64);
        let read = with!(&self.pool, pool => {
            let query = sqlx::query(text).bind(thread).bind(thread).bind(bytes);
            let rows = query.fetch_all(pool).await;
            rows.and_then(|rows| {
                let mut read = 0;
                for row in rows {
                    read += row.try_get::<Vec<u8>, _>(0)?.len() as u64;
                }
                Ok(read)
            })
        });
        read.map_err(failed("read values of the floor"))
    }

    async fn close(&self) -> Result<()> {
        self.pool.close().await;
        Ok(())
    }
}
