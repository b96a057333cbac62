//! SQLite: a file in WAL mode, one connection that writes and several that read.

use std::str::FromStr;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::lease::options as options_of_pool;
use super::{Facts, How, Leases, Pools};
use crate::config::SqlConfig;
use crate::dialect::Dialect;
use crate::error::{Stage, from_sqlx};

/// Bytes of a page of a new file. Records are around 1 KiB, and overflow pages hold what
/// is larger: 8 KiB wastes least (measured).
const PAGE_SIZE: u32 = 8192;

/// Opens the file of a configuration.
pub(crate) async fn connect(config: &SqlConfig) -> Result<(Pools, How, Facts)> {
    let failed = |error| from_sqlx(Dialect::Sqlite, Stage::Before, error);
    let in_memory = config.url.contains(":memory:");
    if !in_memory && !config.url.starts_with("sqlite:///") {
        return Err(Error::invalid(
            "the URL's path is not absolute; write sqlite:///dir/file.db, or sqlite::memory:",
        ));
    }
    let options = SqliteConnectOptions::from_str(&config.url)
        .map_err(failed)?
        .create_if_missing(true)
        .page_size(PAGE_SIZE)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous(config.durability)?)
        .busy_timeout(config.pool_timeout())
        .statement_cache_capacity(config.statement_cache)
        .foreign_keys(false)
        // Bytes that the log keeps after it was copied into the file.
        .pragma("journal_size_limit", "16777216");
    let pool = |connections, options| async move {
        options_of_pool(config, connections)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(failed)
    };
    // The writer first: it makes the file.
    let writer = pool(1, options.clone()).await?;
    check_encoding(&writer).await?;
    let writer = Leases::new(writer, true);
    let readers = if in_memory {
        writer.clone()
    } else {
        Leases::new(pool(config.pool, options).await?, true)
    };
    let how = if config.statement_cache == 0 {
        How::Unprepared
    } else {
        How::Prepared
    };
    let facts = facts_of(Durability::Disk, "a single file".into());
    Ok((Pools::Sqlite { readers, writer }, how, facts))
}

/// A pool that the caller made: it reads and writes, and its settings are the caller's.
pub(crate) fn on(pool: SqlitePool) -> Pools {
    let leases = Leases::new(pool, false);
    Pools::Sqlite {
        readers: leases.clone(),
        writer: leases,
    }
}

/// What the connections of a pool promise.
pub(crate) async fn facts(pool: &SqlitePool) -> Result<Facts> {
    check_encoding(pool).await?;
    let failed = |error| from_sqlx(Dialect::Sqlite, Stage::Before, error);
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(pool)
        .await
        .map_err(failed)?;
    let gives = match synchronous {
        0 => Durability::Buffered,
        1 => Durability::Process,
        _ => Durability::Disk,
    };
    Ok(facts_of(gives, format!("synchronous={synchronous}")))
}

/// Refuses UTF-16, in which texts are ordered by other bytes than the engine's ids.
async fn check_encoding(pool: &SqlitePool) -> Result<()> {
    let encoding: String = sqlx::query_scalar("PRAGMA encoding")
        .fetch_one(pool)
        .await
        .map_err(|error| from_sqlx(Dialect::Sqlite, Stage::Before, error))?;
    if encoding == "UTF-8" {
        return Ok(());
    }
    let message = format!("the database's encoding is {encoding}, and has to be UTF-8");
    Err(Error::new(ErrorKind::Unsupported, message))
}

fn facts_of(gives: Durability, because: String) -> Facts {
    Facts {
        gives,
        because,
        // SQLite takes rows of 1,000,000,000 bytes.
        max_value_bytes: 512 << 20,
        max_commit_bytes: 1 << 30,
    }
}

/// In WAL mode, FULL syncs the log with each commit. NORMAL writes it, and the operating
/// system has it when a process is killed. OFF never syncs.
fn synchronous(durability: Durability) -> Result<SqliteSynchronous> {
    match durability {
        Durability::Buffered => Ok(SqliteSynchronous::Off),
        Durability::Process => Ok(SqliteSynchronous::Normal),
        Durability::Disk => Ok(SqliteSynchronous::Full),
        Durability::Replicated => Err(Error::new(
            ErrorKind::Unsupported,
            "SQLite cannot give durability replicated; the most is disk",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Row as _;

    /// Bytes would be in another order.
    #[tokio::test]
    async fn utf_16_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db").display().to_string();
        let options = SqliteConnectOptions::new().filename(&path);
        let pool = SqlitePool::connect_with(options.create_if_missing(true)).await;
        let pool = pool.unwrap();
        let made = sqlx::raw_sql("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a)");
        made.execute(&pool).await.unwrap();
        let error = facts(&pool).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        pool.close().await;
        let config = SqlConfig::new(format!("sqlite://{path}"));
        let error = connect(&config).await.err().unwrap();
        assert!(error.message().contains("UTF-16le"), "{error}");
    }

    /// The connection that writes syncs as the setting says, and so does each that reads.
    #[tokio::test]
    async fn the_durability_that_was_asked_for_is_set() {
        let dir = tempfile::tempdir().unwrap();
        for (durability, synchronous) in [
            (Durability::Disk, "2"),
            (Durability::Process, "1"),
            (Durability::Buffered, "0"),
        ] {
            let mut config = SqlConfig::new(format!("sqlite://{}/a.db", dir.path().display()));
            config.durability = durability;
            let (pools, ..) = connect(&config).await.unwrap();
            let Pools::Sqlite { readers, writer } = pools else {
                panic!("it is SQLite");
            };
            for leases in [readers, writer] {
                let mut lease = leases.take().await.unwrap();
                for (pragma, expected) in [("synchronous", synchronous), ("journal_mode", "wal")] {
                    let value = sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA {pragma}")));
                    let row = value.fetch_one(lease.connection()).await.unwrap();
                    let found: String = match row.try_get::<i64, _>(0) {
                        Ok(number) => number.to_string(),
                        Err(_) => row.get(0),
                    };
                    assert_eq!(found, expected, "{pragma} for {durability:?}");
                }
                drop(lease);
                leases.close().await;
            }
        }
        let error = synchronous(Durability::Replicated).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
