//! Durable memory for AI agents.
//!
//! An agent saves its state after every step, and the state holds a growing
//! list of messages. Chunkpoint keeps **every** state loadable and writes only
//! what changed: a step costs a few KiB whether the thread has ten messages
//! or a hundred thousand.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> chunkpoint::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let url = format!("file://{}", dir.path().display());
//! use chunkpoint::Item;
//!
//! let memory = chunkpoint::open(&url).await?;         // file:///var/lib/agents
//! let thread = memory.thread("support-4711")?;
//!
//! // A step: start from the latest state, say what changed, commit.
//! let mut draft = thread.draft().await?;
//! draft.append("messages", [Item::text("Where is my parcel?")])?;
//! draft.set("customer", Item::text("Ada"))?;
//! let asked = thread.commit(draft).await?;
//!
//! let mut draft = asked.draft()?;
//! draft.append("messages", [Item::text("In Rotterdam since Tuesday.")])?;
//! thread.commit(draft).await?;
//!
//! // Later, in another process: nothing is read before it is asked for.
//! let latest = thread.latest().await?.expect("two steps were committed");
//! let messages = latest.list("messages").await?;
//! assert_eq!(messages.len(), 2);
//! assert_eq!(messages.tail(1).await?[0], Item::text("In Rotterdam since Tuesday."));
//!
//! // Every state is still there, and any can be gone on from.
//! let fork = thread.fork(asked.id()).await?;
//! assert_eq!(fork.parent().map(|parent| parent.id()), Some(asked.id()));
//! memory.close().await?;
//! # Ok(()) }
//! ```
//!
//! # URLs
//!
//! | URL | backend | feature |
//! |---|---|---|
//! | `memory:` | this process's memory: tests and prototypes | always there |
//! | `file:///dir` | a directory | `fs` (default) |
//! | `sqlite:///file.db`, `sqlite::memory:` | an SQLite file; one in memory | `sqlite` |
//! | `postgres://user:password@host/database` | PostgreSQL 13 and later | `postgres` |
//! | `mysql://user:password@host/database` | MySQL 8, MariaDB 10.6 and later | `mysql` |
//! | `redis://user:password@host:6379/0`, `rediss://…` | Redis 7, a Redis Cluster | `redis` |
//! | `mongodb://user:password@host,host/database`, `mongodb+srv://…` | MongoDB 5 and later | `mongodb` |
//!
//! Options follow a question mark: those of [`Settings`] (`max_history`,
//! `max_age`, `cache_bytes`, `compression`, `grace`, `background`, `store_ttl`,
//! `store_refresh`, `store_sweep`) for any URL, and the backend's own. An option nobody knows is an error that lists
//! the known ones.
//!
//! # LangGraph
//!
//! [`Memory::saver`] has LangGraph's checkpointer contract under its own names:
//! `put`, `put_writes`, `get_tuple`, `list`, `delete_thread`,
//! `delete_for_runs`, `copy_thread`, `prune`, `get_delta_channel_history`.
//!
//! # Moving
//!
//! [`Memory::export`] gives a whole memory as JSON lines, [`Memory::import`] takes them
//! into any other backend, and [`Memory::compare`] proves that both hold the same; so does
//! the command `chunkpoint`. See [`export`].

use std::sync::Arc;

use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::memory::MemoryBackend;
use url::Url;

pub use chunkpoint_core::{
    Applied, Checkpoint, CheckpointTuple, Clock, Compression, Config, DELTA_SNAPSHOT_TAG,
    DeltaChannelHistory, Draft, Entropy, Error, ErrorKind, HistoryQuery, Item, List, ListQuery,
    Maintained, Map, Memory, MemoryBuilder, PruneStrategy, Result, Saver, Settings, Snapshot,
    SystemClock, SystemEntropy, Thread, Value, ValueKind, Version, Write, backend, export, layers,
    memory, store, store_backend,
};
#[cfg(feature = "fs")]
pub use chunkpoint_fs as fs;
#[cfg(feature = "mongodb")]
pub use chunkpoint_mongodb as mongodb;
#[cfg(feature = "redis")]
pub use chunkpoint_redis as redis;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use chunkpoint_sql as sql;

/// The examples of the guide to the long-term store, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/store.md")]
mod guide {}

/// URL schemes this build knows.
pub const SCHEMES: &[&str] = &[
    "memory:",
    #[cfg(feature = "fs")]
    "file:///dir",
    #[cfg(feature = "sqlite")]
    "sqlite:///file.db",
    #[cfg(feature = "postgres")]
    "postgres://",
    #[cfg(feature = "mysql")]
    "mysql://",
    #[cfg(feature = "redis")]
    "redis://",
    #[cfg(feature = "mongodb")]
    "mongodb://",
];

/// Schemes of backends that a build may lack, and the features that bring them.
const FEATURES: &[(&str, &str)] = &[
    ("file", "fs"),
    ("sqlite", "sqlite"),
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("mysql", "mysql"),
    ("mariadb", "mysql"),
    ("redis", "redis"),
    ("rediss", "redis"),
    ("redis+unix", "redis"),
    ("mongodb", "mongodb"),
    ("mongodb+srv", "mongodb"),
];

/// Opens a memory by URL, with default settings but for the URL's options.
///
/// # Errors
/// `InvalidInput` for a URL, scheme or option that is not known; what the
/// backend reports. The URL itself is never in a message: it may hold a password.
pub async fn open(url: &str) -> Result<Memory> {
    open_with(url, Settings::default()).await
}

/// Opens a memory by URL. Options in the URL go over `settings`.
///
/// # Errors
/// As [`open`].
pub async fn open_with(url: &str, mut settings: Settings) -> Result<Memory> {
    #[cfg(feature = "mongodb")]
    if url.starts_with("mongodb:") || url.starts_with("mongodb+srv:") {
        return open_mongodb(url, settings).await;
    }
    let mut url = Url::parse(url).map_err(|e| {
        Error::invalid(format!(
            "not a URL; expected is one of {}. That of a directory is file:// and its absolute \
             path",
            SCHEMES.join(", ")
        ))
        .source(e)
    })?;
    let mut left = Vec::new();
    for (name, value) in url.query_pairs() {
        if Settings::OPTIONS.contains(&&*name) {
            settings
                .set(&name, &value)
                .map_err(|e| e.context(format_args!("option {name}")))?;
        } else {
            left.push((name.into_owned(), value.into_owned()));
        }
    }
    url.set_query(None);
    if !left.is_empty() {
        url.query_pairs_mut().extend_pairs(&left);
    }
    let backend = backend(&url).await?;
    Memory::builder(backend).settings(settings).build()
}

async fn backend(url: &Url) -> Result<Arc<dyn CheckpointBackend>> {
    match url.scheme() {
        "memory" => {
            check_options(url, &[])?;
            Ok(Arc::new(MemoryBackend::new()))
        }
        #[cfg(feature = "fs")]
        "file" => {
            check_options(url, chunkpoint_fs::FsConfig::OPTIONS)?;
            let config = chunkpoint_fs::FsConfig::from_url(url.as_str())?;
            // Opening syncs, and removes what crashes left.
            let open = || chunkpoint_fs::FsBackend::from_config(config);
            let opened = tokio::task::spawn_blocking(open).await;
            let opened = opened.unwrap_or_else(|e| {
                Err(Error::new(ErrorKind::Other, "opening was stopped").source(e))
            });
            Ok(Arc::new(opened?))
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => open_sql(url, chunkpoint_sql::Dialect::Sqlite).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => open_sql(url, chunkpoint_sql::Dialect::Postgres).await,
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => open_sql(url, chunkpoint_sql::Dialect::MySql).await,
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+unix" => {
            check_options(url, chunkpoint_redis::RedisConfig::OPTIONS)?;
            let config = chunkpoint_redis::RedisConfig::from_url(url.as_str())?;
            let backend = chunkpoint_redis::RedisBackend::from_config(config).await?;
            Ok(Arc::new(backend))
        }
        scheme => {
            let known = SCHEMES.join(", ");
            let lacking = FEATURES.iter().find(|(of, _)| *of == scheme);
            Err(Error::invalid(match lacking {
                Some((_, feature)) => format!(
                    "this build has no {scheme}: it needs the feature {feature} of the crate \
                     chunkpoint; it knows {known}"
                ),
                None => {
                    let scheme = chunkpoint_core::quote(scheme);
                    format!("unknown scheme {scheme}; this build knows {known}")
                }
            }))
        }
    }
}

/// A URL of MongoDB may name several hosts, and have options that only the driver knows.
#[cfg(feature = "mongodb")]
async fn open_mongodb(url: &str, mut settings: Settings) -> Result<Memory> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut left = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let of_pair = url::form_urlencoded::parse(pair.as_bytes()).next();
        let (name, value) = of_pair.unwrap_or_default();
        if Settings::OPTIONS.contains(&&*name) {
            settings
                .set(&name, &value)
                .map_err(|e| e.context(format_args!("option {name}")))?;
        } else {
            left.push(pair);
        }
    }
    let url = match left.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", left.join("&")),
    };
    let config = chunkpoint_mongodb::MongoConfig::from_url(&url).map_err(|error| {
        let known = Settings::OPTIONS.join(", ");
        error.context(format_args!("options of any URL are {known}"))
    })?;
    let backend = chunkpoint_mongodb::MongoBackend::from_config(config).await?;
    Memory::builder(Arc::new(backend))
        .settings(settings)
        .build()
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
async fn open_sql(
    url: &Url,
    dialect: chunkpoint_sql::Dialect,
) -> Result<Arc<dyn CheckpointBackend>> {
    let known = chunkpoint_sql::SqlConfig::options(dialect);
    check_options(url, &known)?;
    let config = chunkpoint_sql::SqlConfig::from_url(url.as_str())?;
    Ok(Arc::new(
        chunkpoint_sql::SqlBackend::from_config(config).await?,
    ))
}

/// Refuses options that neither the settings nor the backend know.
fn check_options(url: &Url, backend: &[&str]) -> Result<()> {
    let unknown = url
        .query_pairs()
        .find(|(name, _)| !backend.contains(&&**name));
    let Some((name, _)) = unknown else {
        return Ok(());
    };
    let mut known: Vec<&str> = Settings::OPTIONS.to_vec();
    known.extend_from_slice(backend);
    Err(Error::invalid(format!(
        "unknown option {}; known are {}",
        chunkpoint_core::quote(&name),
        known.join(", ")
    )))
}
