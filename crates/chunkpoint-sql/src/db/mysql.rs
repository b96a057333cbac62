//! MySQL and MariaDB.

use std::str::FromStr;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{MySqlPool, Row as _};

use super::{How, Leases, Pools};
use crate::config::SqlConfig;
use crate::dialect::Dialect;
use crate::error::{Stage, from_sqlx};

/// Connects with a configuration.
pub(crate) async fn connect(config: &SqlConfig) -> Result<(Pools, How)> {
    let failed = |error| from_sqlx(Dialect::MySql, Stage::Before, error);
    let url = config.url.replacen("mariadb://", "mysql://", 1);
    let options = MySqlConnectOptions::from_str(&url)
        .map_err(failed)?
        .statement_cache_capacity(config.statement_cache);
    let pool = MySqlPoolOptions::new()
        .max_connections(config.pool)
        .acquire_timeout(config.pool_timeout())
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(failed)?;
    let how = if config.statement_cache == 0 {
        How::Unprepared
    } else {
        How::Prepared
    };
    Ok((Pools::MySql(Leases::new(pool, true)), how))
}

/// A pool that the caller made.
pub(crate) fn on(pool: MySqlPool) -> Pools {
    Pools::MySql(Leases::new(pool, false))
}

/// What the server says about itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// Most bytes of one statement with its parameters.
    pub(crate) max_packet: u64,
}

/// Asks the server what matters, and refuses one that promises less than `durability`.
///
/// `innodb_flush_log_at_trx_commit`: 1 syncs the log with each commit, 2 writes it, so
/// that the operating system has it when the server is killed, and 0 does neither.
pub(crate) async fn check(pool: &MySqlPool, durability: Durability) -> Result<Server> {
    let failed = |error| from_sqlx(Dialect::MySql, Stage::Before, error);
    let settings = sqlx::query(
        "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), \
         CAST(@@max_allowed_packet AS SIGNED)",
    );
    let row = settings.fetch_one(pool).await.map_err(failed)?;
    let setting = |n: usize| row.try_get::<i64, _>(n).map_err(failed);
    let (flush, packet) = (setting(0)?, setting(1)?);
    let gives = match flush {
        1 => Durability::Disk,
        2 => Durability::Process,
        _ => Durability::Buffered,
    };
    if gives < durability {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "durability {durability:?} was asked for, and with \
                 innodb_flush_log_at_trx_commit={flush} the server gives {gives:?}"
            ),
        ));
    }
    Ok(Server {
        max_packet: u64::try_from(packet).unwrap_or(0),
    })
}
