//! PostgreSQL, directly or through PgBouncer.

use std::str::FromStr;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Row as _};

use super::lease::options as options_of_pool;
use super::{Facts, How, Leases, Pools};
use crate::config::SqlConfig;
use crate::dialect::Dialect;
use crate::error::{Stage, from_sqlx};

/// Connects with a configuration.
pub(crate) async fn connect(config: &SqlConfig) -> Result<(Pools, How, Facts)> {
    let failed = |error| from_sqlx(Dialect::Postgres, Stage::Before, error);
    let mut options = PgConnectOptions::from_str(&config.url)
        .map_err(failed)?
        .statement_cache_capacity(config.statement_cache);
    if options.get_application_name().is_none() {
        options = options.application_name("chunkpoint");
    }
    let how = if config.pgbouncer {
        // PgBouncer refuses parameters at start-up that it does not know.
        options = options.extra_float_digits(None);
        How::Literal
    } else if config.statement_cache == 0 {
        How::Unprepared
    } else {
        How::Prepared
    };
    if !config.pgbouncer {
        let commit = if config.durability == Durability::Buffered {
            "off"
        } else {
            "on"
        };
        // Replicated takes what the server says, which is checked below.
        if config.durability != Durability::Replicated {
            options = options.options([("synchronous_commit", commit)]);
        }
    }
    let pool = options_of_pool(config, config.pool)
        .connect_with(options)
        .await
        .map_err(failed)?;
    let facts = facts(&pool, how).await?;
    Ok((Pools::Postgres(Leases::new(pool, true)), how, facts))
}

/// A pool that the caller made.
pub(crate) fn on(pool: PgPool) -> Pools {
    Pools::Postgres(Leases::new(pool, false))
}

/// What the server promises.
///
/// `synchronous_commit=off` may lose what was acknowledged when the server is killed, so
/// there is nothing between buffered and disk but a server without `fsync`.
///
/// # Errors
/// `Unsupported` if it stores no UTF-8.
pub(crate) async fn facts(pool: &PgPool, how: How) -> Result<Facts> {
    let failed = |error| from_sqlx(Dialect::Postgres, Stage::Before, error);
    let settings = sqlx::raw_sql(
        "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
         current_setting('synchronous_standby_names'), current_setting('server_encoding')",
    );
    let row = settings.fetch_one(pool).await.map_err(failed)?;
    let setting = |n: usize| row.try_get::<String, _>(n).map_err(failed);
    let (commit, fsync, standbys, encoding) = (setting(0)?, setting(1)?, setting(2)?, setting(3)?);
    if encoding != "UTF8" {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the database's encoding is {encoding}, and has to be UTF8"),
        ));
    }
    let gives = match (&*commit, &*fsync, &*standbys) {
        ("off", ..) => Durability::Buffered,
        (_, "off", _) => Durability::Process,
        ("local", ..) | (.., "") => Durability::Disk,
        _ => Durability::Replicated,
    };
    let with = if standbys.is_empty() { "no" } else { "some" };
    // A message has at most 1 GiB, and as text each byte takes two.
    let most = if how == How::Literal {
        256 << 20
    } else {
        512 << 20
    };
    Ok(Facts {
        gives,
        because: format!(
            "synchronous_commit={commit}, fsync={fsync} and {with} synchronous standbys"
        ),
        max_value_bytes: most / 2,
        max_commit_bytes: most,
    })
}
