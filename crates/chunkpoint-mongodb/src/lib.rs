//! Checkpoints and the long-term store in MongoDB 5 and later, and in what speaks its
//! protocol, without transactions.
//!
//! ```no_run
//! # async fn open() -> chunkpoint_core::Result<()> {
//! use chunkpoint_mongodb::{MongoBackend, MongoConfig};
//!
//! let config = MongoConfig::from_url("mongodb://localhost:27017/agents?durability=process")?;
//! let backend = MongoBackend::from_config(config).await?;
//! # drop(backend); Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! A checkpoint is one document in the usual case, and a commit is one insert and one look
//! afterwards. Collections, documents and protocols, and why they are so: `docs/mongodb.md`.

mod backend;
mod builder;
mod checkpoints;
mod config;
mod db;
mod doc;
mod error;
mod indexes;
mod metadata;
mod names;
mod parts;
mod store;

pub use backend::MongoBackend;
pub use builder::MongoBuilder;
pub use config::MongoConfig;
