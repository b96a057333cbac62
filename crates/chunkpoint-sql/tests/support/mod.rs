//! Places to test on: an SQLite file, a schema of PostgreSQL, a table prefix of MySQL.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::str::FromStr;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_sql::{SqlBackend, SqlConfig};
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::services;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnectOptions;

/// An empty place in a database, which no other test uses.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Sqlite(Arc<tempfile::TempDir>),
    InMemory,
    Postgres {
        url: String,
        schema: String,
        pgbouncer: bool,
    },
    MySql {
        url: String,
        prefix: String,
    },
}

fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t{}_{n}_", std::process::id())
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(Arc::new(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn in_memory() -> Self {
        Self::InMemory
    }

    pub(crate) fn postgres() -> Option<Self> {
        Some(Self::Postgres {
            url: services::postgres()?.url().into(),
            schema: unique(),
            pgbouncer: false,
        })
    }

    pub(crate) fn pgbouncer() -> Option<Self> {
        Some(Self::Postgres {
            url: services::pgbouncer()?.url().into(),
            schema: unique(),
            pgbouncer: true,
        })
    }

    pub(crate) fn mysql() -> Option<Self> {
        Some(Self::MySql {
            url: services::mysql()?.url().into(),
            prefix: unique(),
        })
    }

    pub(crate) fn config(&self) -> SqlConfig {
        // What syncing adds is tested elsewhere; here it only takes time.
        let durability = Durability::Process;
        match self {
            Self::Sqlite(dir) => SqlConfig {
                durability,
                ..SqlConfig::new(format!("sqlite://{}/test.db", dir.path().display()))
            },
            Self::InMemory => SqlConfig::new("sqlite::memory:"),
            Self::Postgres {
                url,
                schema,
                pgbouncer,
            } => SqlConfig {
                durability,
                schema: Some(schema.clone()),
                pgbouncer: *pgbouncer,
                ..SqlConfig::new(url)
            },
            Self::MySql { url, prefix } => SqlConfig {
                durability,
                table_prefix: prefix.clone(),
                ..SqlConfig::new(url)
            },
        }
    }

    fn fill(&self, statement: &str) -> String {
        let to = match self {
            Self::Sqlite(_) | Self::InMemory => "chunkpoint_".to_owned(),
            Self::Postgres { schema, .. } => format!("{schema}.chunkpoint_"),
            Self::MySql { prefix, .. } => prefix.clone(),
        };
        statement.replace('{', &to).replace('}', "")
    }

    /// Runs a statement past the backend; `{name}` is the table of that name.
    pub(crate) async fn execute(&self, statement: &str) {
        let text = self.fill(statement);
        let safe = || AssertSqlSafe(text.clone());
        match self {
            Self::InMemory => panic!("nobody else reaches a database in memory"),
            Self::Sqlite(_) => {
                let pool = sqlx::SqlitePool::connect(&self.config().url).await.unwrap();
                sqlx::raw_sql(safe()).execute(&pool).await.unwrap();
                pool.close().await;
            }
            Self::Postgres { url, .. } => {
                let options = PgConnectOptions::from_str(url).unwrap();
                let options = options.extra_float_digits(None);
                let pool = sqlx::PgPool::connect_with(options).await.unwrap();
                let mut tries = 0;
                while let Err(error) = sqlx::raw_sql(safe()).execute(&pool).await {
                    deadlocked(&error, "40P01", &mut tries);
                }
                pool.close().await;
            }
            Self::MySql { url, .. } => {
                let pool = sqlx::MySqlPool::connect(url).await.unwrap();
                let mut tries = 0;
                while let Err(error) = sqlx::raw_sql(safe()).execute(&pool).await {
                    deadlocked(&error, "40001", &mut tries);
                }
                pool.close().await;
            }
        }
    }

    /// Removes everything.
    pub(crate) async fn drop(&self) {
        match self {
            Self::Sqlite(_) | Self::InMemory => {}
            Self::Postgres { schema, .. } => {
                self.execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
            }
            Self::MySql { .. } => {
                self.execute(
                    "DROP VIEW IF EXISTS {history}, {store}; \
                     DROP TABLE IF EXISTS {schema_version}, \
                     {threads}, {ended}, {checkpoints}, {chunks}, {writes}, \
                     {items}, {item_packs}, {item_chunks}",
                )
                .await;
            }
        }
    }
}

/// Fails, unless the error is a deadlock: dropping locks one table after another, whatever an
/// engine does in the background may hold one and wait for the next, and then a database ends
/// either.
fn deadlocked(error: &sqlx::Error, code: &str, tries: &mut usize) {
    let database = error.as_database_error().and_then(|error| error.code());
    assert!(database.as_deref() == Some(code) && *tries < 10, "{error}");
    *tries += 1;
}

#[async_trait::async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(SqlBackend::from_config(self.config()).await.unwrap())
    }

    async fn teardown(&self) {
        self.drop().await;
    }
}

/// All databases that are at hand.
pub(crate) fn each() -> Vec<Place> {
    let mut places = vec![Place::sqlite()];
    places.extend(Place::postgres());
    places.extend(Place::mysql());
    places
}
