//! [`SqlBuilder`]: a backend from a URL or from a pool that is there already.

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::{Capabilities, Durability};
use chunkpoint_core::{Error, ErrorKind, Result};
#[cfg(feature = "mysql")]
use sqlx::MySqlPool;
#[cfg(feature = "postgres")]
use sqlx::PgPool;
#[cfg(feature = "sqlite")]
use sqlx::SqlitePool;

use crate::backend::{Inner, SqlBackend};
use crate::config::{Setup, SqlConfig, shown};
use crate::db::{Db, Facts, How, Pools};
use crate::dialect::{Dialect, Sql};
use crate::names::Place;
use crate::schema;

/// Where the connections come from.
#[derive(Debug, Clone)]
enum Source {
    Url,
    #[cfg(feature = "sqlite")]
    Sqlite(SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(PgPool),
    #[cfg(feature = "mysql")]
    MySql(MySqlPool),
}

/// Builds a [`SqlBackend`].
#[derive(Debug, Clone)]
pub struct SqlBuilder {
    source: Source,
    config: SqlConfig,
}

impl SqlBuilder {
    /// A backend with this configuration.
    pub fn new(config: SqlConfig) -> Self {
        Self {
            source: Source::Url,
            config,
        }
    }

    /// A backend on an SQLite pool. The pool's connections should be in WAL mode and have
    /// a busy timeout; more than one of them is needed to read while listing.
    #[cfg(feature = "sqlite")]
    pub fn on_sqlite(pool: SqlitePool) -> Self {
        Self::on(Source::Sqlite(pool), "sqlite:")
    }

    /// A backend on a PostgreSQL pool.
    #[cfg(feature = "postgres")]
    pub fn on_postgres(pool: PgPool) -> Self {
        Self::on(Source::Postgres(pool), "postgres:")
    }

    /// A backend on a MySQL or MariaDB pool.
    #[cfg(feature = "mysql")]
    pub fn on_mysql(pool: MySqlPool) -> Self {
        Self::on(Source::MySql(pool), "mysql:")
    }

    fn on(source: Source, shown: &str) -> Self {
        Self {
            source,
            config: SqlConfig::new(shown),
        }
    }

    /// What an acknowledged mutation survives; `Disk` unless told otherwise. On a pool
    /// that is there already it is compared with what the pool's connections give.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// Most connections (10); a pool that is there already keeps its own.
    #[must_use]
    pub fn pool(mut self, connections: u32) -> Self {
        self.config.pool = connections;
        self
    }

    /// Longest wait for a free connection (30 s); a pool that is there already keeps its
    /// own.
    #[must_use]
    pub fn pool_timeout(mut self, timeout: Duration) -> Self {
        self.config.pool_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// PostgreSQL only: the schema the tables are in.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.config.schema = Some(schema.into());
        self
    }

    /// What table names start with (`chunkpoint_`).
    #[must_use]
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.config.table_prefix = prefix.into();
        self
    }

    /// PostgreSQL only: whether PgBouncer hands out another connection for each
    /// transaction.
    #[must_use]
    pub fn pgbouncer(mut self, pgbouncer: bool) -> Self {
        self.config.pgbouncer = pgbouncer;
        self
    }

    /// Whether opening may create and migrate tables.
    #[must_use]
    pub fn setup(mut self, setup: Setup) -> Self {
        self.config.setup = setup;
        self
    }

    /// Connects, looks whether the server gives what was asked for, and makes sure that
    /// the tables are there.
    ///
    /// # Errors
    /// `InvalidInput` for a configuration that makes no sense, `Unsupported` for a
    /// durability that the server does not give or tables that are newer than this
    /// program, `Unavailable` where it cannot be reached, refuses, or has no tables.
    pub async fn open(self) -> Result<SqlBackend> {
        self.open_inner()
            .await
            .map_err(|error| error.operation("open"))
    }

    async fn open_inner(self) -> Result<SqlBackend> {
        let config = self.config;
        config.check()?;
        let (dialect, (pools, how, facts)) = match self.source {
            Source::Url => {
                let dialect = config.dialect()?;
                (dialect, connect(dialect, &config).await?)
            }
            #[cfg(feature = "sqlite")]
            Source::Sqlite(pool) => {
                let facts = crate::db::sqlite::facts(&pool).await?;
                let pools = crate::db::sqlite::on(pool);
                (Dialect::Sqlite, (pools, How::Prepared, facts))
            }
            #[cfg(feature = "postgres")]
            Source::Postgres(pool) => {
                let how = if config.pgbouncer {
                    How::Literal
                } else {
                    How::Prepared
                };
                let facts = crate::db::postgres::facts(&pool, how).await?;
                (
                    Dialect::Postgres,
                    (crate::db::postgres::on(pool), how, facts),
                )
            }
            #[cfg(feature = "mysql")]
            Source::MySql(pool) => {
                let facts = crate::db::mysql::facts(&pool).await?;
                (
                    Dialect::MySql,
                    (crate::db::mysql::on(pool), How::Prepared, facts),
                )
            }
        };
        if facts.gives < config.durability {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "durability {} was asked for, and with {} the most is {}",
                    name(config.durability),
                    facts.because,
                    name(facts.gives)
                ),
            ));
        }
        let place = Place::new(config.schema.as_deref(), &config.table_prefix)?;
        let sql = Arc::new(Sql::new(dialect, place));
        let db = Db::new(sql, pools, how);
        schema::set_up(&db, config.setup).await?;
        db.prepare(crate::checkpoints::hot(&db)).await?;
        // What a process left that was stopped meanwhile.
        crate::checkpoints::purge_leftovers(&db).await;
        Ok(SqlBackend::new(Inner::new(
            db,
            capabilities(dialect, &facts, &config),
            shown(&config.url),
        )))
    }
}

fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Buffered => "buffered",
        Durability::Process => "process",
        Durability::Disk => "disk",
        Durability::Replicated => "replicated",
    }
}

fn capabilities(dialect: Dialect, facts: &Facts, config: &SqlConfig) -> Capabilities {
    let in_memory = config.url.contains(":memory:");
    let levels = [
        Durability::Buffered,
        Durability::Process,
        Durability::Disk,
        Durability::Replicated,
    ];
    let mut capabilities = Capabilities::new(dialect.scheme());
    capabilities.durability = levels
        .into_iter()
        .filter(|level| *level <= facts.gives)
        .collect();
    capabilities.max_value_bytes = facts.max_value_bytes;
    capabilities.max_commit_bytes = facts.max_commit_bytes;
    capabilities.persistent = !in_memory;
    capabilities.shared = !in_memory;
    capabilities
}

async fn connect(dialect: Dialect, config: &SqlConfig) -> Result<(Pools, How, Facts)> {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => crate::db::sqlite::connect(config).await,
        #[cfg(feature = "postgres")]
        Dialect::Postgres => crate::db::postgres::connect(config).await,
        #[cfg(feature = "mysql")]
        Dialect::MySql => crate::db::mysql::connect(config).await,
        #[allow(unreachable_patterns, reason = "there are builds with fewer databases")]
        other => Err(Error::invalid(format!(
            "this build has no {other}; build it with its feature"
        ))),
    }
}
