//! Checkpoints in SQL databases: SQLite, PostgreSQL, MySQL and MariaDB, through sqlx.
//!
//! ```no_run
//! # #[cfg(feature = "sqlite")]
//! # async fn open() -> chunkpoint_core::Result<()> {
//! use chunkpoint_sql::{SqlBackend, SqlConfig};
//!
//! let config = SqlConfig::from_url("sqlite:///var/lib/agent.db?durability=disk")?;
//! let backend = SqlBackend::from_config(config).await?;
//! # drop(backend); Ok(())
//! # }
//! ```
//!
//! A pool that a program has already is taken by [`SqlBuilder`].
//!
//! # How it works
//!
//! A commit is one row: the checkpoint's columns, its body, and its new chunks one after
//! the other. Tables, statements and locks, and why they are so: `docs/format-sql.md`.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("chunkpoint-sql needs one of its features: sqlite, postgres, mysql");

mod backend;
mod builder;
mod checkpoints;
mod config;
mod db;
mod dialect;
mod error;
mod names;
mod orphans;
#[cfg(all(test, feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod plans;
mod schema;
mod store;
mod value;

pub use backend::SqlBackend;
pub use builder::SqlBuilder;
pub use config::{Setup, SqlConfig};
pub use dialect::Dialect;
pub use schema::schema_sql;
