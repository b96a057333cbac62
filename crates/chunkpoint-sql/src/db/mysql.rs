//! MySQL and MariaDB.

use std::str::FromStr;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{MySqlPool, Row as _};

use super::lease::options as options_of_pool;
use super::{Facts, How, Leases, Pools};
use crate::config::SqlConfig;
use crate::dialect::Dialect;
use crate::error::{Stage, from_sqlx};

/// Connects with a configuration.
pub(crate) async fn connect(config: &SqlConfig) -> Result<(Pools, How, Facts)> {
    let failed = |error| from_sqlx(Dialect::MySql, Stage::Before, error);
    let url = config.url.replacen("mariadb://", "mysql://", 1);
    let options = MySqlConnectOptions::from_str(&url)
        .map_err(failed)?
        .statement_cache_capacity(config.statement_cache);
    let pool = options_of_pool(config, config.pool)
        .connect_with(options)
        .await
        .map_err(failed)?;
    let how = if config.statement_cache == 0 {
        How::Unprepared
    } else {
        How::Prepared
    };
    let facts = facts(&pool).await?;
    Ok((Pools::MySql(Leases::new(pool, true)), how, facts))
}

/// A pool that the caller made.
pub(crate) fn on(pool: MySqlPool) -> Pools {
    Pools::MySql(Leases::new(pool, false))
}

/// Bytes of a statement beside its largest value.
const BESIDE: u64 = 256 << 10;

/// What the server promises.
///
/// `innodb_flush_log_at_trx_commit`: 1 syncs the log with each commit, 2 writes it, so
/// that the operating system has it when the server is killed, and 0 does neither. A
/// statement with its parameters is at most `max_allowed_packet`.
pub(crate) async fn facts(pool: &MySqlPool) -> Result<Facts> {
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
    let packet = u64::try_from(packet).unwrap_or(0);
    if packet < 4 * BESIDE {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "max_allowed_packet is {packet}, and has to be {} at least",
                4 * BESIDE
            ),
        ));
    }
    Ok(Facts {
        gives,
        because: format!("innodb_flush_log_at_trx_commit={flush}"),
        max_value_bytes: packet - BESIDE,
        max_commit_bytes: 1 << 30,
    })
}
