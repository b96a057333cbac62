//! Checkpoints and the long-term store in Redis 7 and later, Valkey, and clusters of
//! them, without modules.
//!
//! ```no_run
//! # async fn open() -> chunkpoint_core::Result<()> {
//! use chunkpoint_redis::{RedisBackend, RedisConfig};
//!
//! let config = RedisConfig::from_url("redis://localhost:6379/0?durability=process")?;
//! let backend = RedisBackend::from_config(config).await?;
//! # drop(backend); Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! All keys of a thread share one cluster slot, and each call is one script on them, run by
//! its hash. Keys, fields and scripts, and why they are so: `docs/format-redis.md`.

mod backend;
mod builder;
mod checkpoints;
mod config;
mod error;
mod index;
mod link;
mod names;
mod reply;
mod script;
mod server;
mod store;

pub use backend::RedisBackend;
pub use builder::RedisBuilder;
pub use config::RedisConfig;
