//! What is measured: the variants, behind one interface.
//!
//! A [`Subject`] is a variant on freshly opened storage; a [`Session`] is one
//! thread of it. The models drive these and nothing else, so every variant goes
//! through the same code, is timed at the same place and checked the same way. Those
//! of the long-term store are in [`items`].

mod bare;
mod driver;
mod engine;
mod floor;
pub mod items;
mod ledger;
pub mod mongodb;
mod noop;
pub mod own;
pub mod peer;
pub mod redis;
mod site;
mod snapshot;
pub mod sql;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::backend::Durability;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::measure::Io;
use crate::scenario::EngineSettings;
use crate::workload::Conversation;

pub use ledger::{Entry, Ledger};
pub use site::{Server, ServerUrl, Site};
pub use snapshot::encoded_len as snapshot_len;
pub use store::{Footprint, Store, directory_footprint, file_config};

/// What a thread's messages are called in every variant that has names.
const MESSAGES: &str = "messages";
/// The value that a step may replace.
const SCRATCH: &str = "scratch";

/// Where checkpoints and items are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Files in a directory.
    File,
    /// The memory of the process.
    Memory,
    /// A file of SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    #[serde(rename = "mysql")]
    #[value(name = "mysql")]
    MySql,
    /// MongoDB, or what speaks its protocol.
    #[serde(rename = "mongodb")]
    #[value(name = "mongodb")]
    MongoDb,
    /// Redis or Valkey, one server.
    Redis,
    /// A backend of one's own: see [`own`].
    Own,
}

/// What is done with every state, or with every item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The engine with its default settings: by drafts; items by patches.
    Default,
    /// The engine, handed the whole list at every step: it finds what changed. Of an
    /// item, the whole value is read, changed and put again.
    WholeValue,
    /// The whole state in one value at every step, uncompressed, straight to the
    /// same backend: what checkpoint savers commonly do.
    FullSnapshot,
    /// Bare files (or memory, or a database's bare driver) moving as many bytes as an
    /// engine beside it stores and reads, with the same durability.
    Floor,
    /// Chunking off: the whole state in one value, compressed, at every step. With one
    /// value a state, nothing of it can be read alone or be kept in a cache for another.
    NoChunking,
    /// Lazy loading off: who reads a part of a state loads all of it.
    NoLazyLoading,
    /// The engine's cache off.
    NoCache,
    /// Compression off.
    NoCompression,
    /// The pool of connections off: one connection, which all clients wait for.
    NoPooling,
    /// Nothing: what the harness itself costs.
    NoOp,
    /// LangGraph's own saver for the backend, in a process of its own.
    #[serde(rename = "langgraph")]
    #[value(name = "langgraph")]
    LangGraph,
}

impl Variant {
    /// Whether it writes the whole state at every step, so that a long workload has to be
    /// sampled.
    pub fn writes_whole_states(self) -> bool {
        matches!(
            self,
            Self::FullSnapshot | Self::NoChunking | Self::LangGraph
        )
    }

    /// Whether the long-term store can be driven by it.
    pub fn has_items(self) -> bool {
        matches!(
            self,
            Self::Default | Self::WholeValue | Self::Floor | Self::NoOp
        )
    }

    /// Whether there is such a thing on a backend.
    pub fn is_for(self, backend: BackendKind) -> bool {
        use BackendKind::{Memory, MySql, Postgres, Sqlite};
        match self {
            Self::LangGraph => matches!(backend, Memory | Sqlite | Postgres | MySql),
            Self::NoPooling => matches!(backend, Postgres | MySql),
            Self::Floor => backend != BackendKind::Own,
            _ => true,
        }
    }
}

impl BackendKind {
    /// What an acknowledged commit on it can be asked to survive; the default last.
    pub fn durabilities(self) -> &'static [Durability] {
        match self {
            Self::File | Self::Sqlite => {
                &[Durability::Buffered, Durability::Process, Durability::Disk]
            }
            Self::Memory => &[Durability::Buffered],
            // Between these two it has nothing.
            Self::Postgres => &[Durability::Buffered, Durability::Disk],
            // The server's to decide, for all who use it.
            Self::MySql | Self::Redis => &[Durability::Disk],
            Self::Own => match own::registered().map(|own| own.durability()) {
                Some(Durability::Buffered) => &[Durability::Buffered],
                Some(Durability::Process) => &[Durability::Process],
                Some(Durability::Replicated) => &[Durability::Replicated],
                Some(Durability::Disk) | None => &[Durability::Disk],
            },
            // Between these two it has nothing.
            Self::MongoDb => &[Durability::Buffered, Durability::Disk],
        }
    }

    /// Whether it is a server, which a network is in between of.
    pub fn is_server(self) -> bool {
        matches!(
            self,
            Self::Postgres | Self::MySql | Self::Redis | Self::MongoDb
        )
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::MongoDb => "mongodb",
            Self::Redis => "redis",
            Self::Own => "own",
        })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::WholeValue => "whole-value",
            Self::FullSnapshot => "full-snapshot",
            Self::Floor => "floor",
            Self::NoChunking => "no-chunking",
            Self::NoLazyLoading => "no-lazy-loading",
            Self::NoCache => "no-cache",
            Self::NoCompression => "no-compression",
            Self::NoPooling => "no-pooling",
            Self::NoOp => "no-op",
            Self::LangGraph => "langgraph",
        })
    }
}

/// How a state differs from the one before it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The channel it is about.
    pub channel: usize,
    /// Messages dropped from the front.
    pub dropped: usize,
    /// The messages added at the end: one, unless a state is put as a whole.
    pub messages: Vec<Bytes>,
    /// The new value that stands beside the messages, if it has one.
    pub scratch: Option<Bytes>,
}

/// How a state is made from an old one.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The message that is another in it; `None`: one is added at the end.
    pub at: Option<usize>,
    /// What the message is.
    pub message: Bytes,
}

/// The reads of a newest state, as they are named in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// All of it.
    Load,
    /// Its end.
    Tail,
    /// Its end, by a process that has read nothing before.
    ColdTail,
}

impl Op {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load-latest",
            Self::Tail => "tail-read",
            Self::ColdTail => "cold-tail",
        }
    }

    /// How its figures' names start.
    pub fn prefix(self) -> String {
        self.name().replace('-', "_")
    }
}

/// What a read gives back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Messages, and the value beside them.
    State {
        /// The messages, or the last of them.
        messages: Vec<Bytes>,
        /// The value beside them.
        scratch: Option<Bytes>,
    },
    /// Bytes without meaning: the floor's. Only their number can be checked.
    Opaque {
        /// Bytes that were read.
        read: u64,
        /// Bytes that should have been.
        expected: u64,
    },
}

/// What counts its traffic with the storage.
pub trait Counted {
    /// Traffic since it was opened.
    fn io(&self) -> Io;

    /// Whether that can be told.
    fn counts(&self) -> bool {
        true
    }
}

/// A variant on opened storage.
#[async_trait]
pub trait Subject: Counted + fmt::Debug + Send + Sync {
    /// Opens the thread of `conversation`, which is number `number` of the
    /// workload. No I/O.
    fn session(&self, number: u32, conversation: &Arc<Conversation>) -> Result<Box<dyn Session>>;

    /// The process that does its work, where that is not this one: memory and processor
    /// time are measured there.
    fn process(&self) -> Option<u32> {
        None
    }

    /// What a reader must know of it, such as versions.
    fn about(&self) -> Option<String> {
        None
    }

    /// Does all upkeep that is due.
    async fn maintain(&self) -> Result<()>;

    /// Makes everything durable and lets go.
    async fn close(&self) -> Result<()>;
}

/// What an operation took by the clock of the process that did it.
#[derive(Debug, Clone, Copy)]
pub struct OwnTime {
    /// The call itself.
    pub service: Duration,
    /// From when it was asked for.
    pub response: Duration,
}

/// One thread of a subject. What is behind a method is what is timed.
#[async_trait]
pub trait Session: Send {
    /// Tells the floor what the engine beside it moved for the next operation.
    fn follow(&mut self, moved: Io) {
        let _ = moved;
    }

    /// What the system calls of the last operation took, if that is less than
    /// the operation.
    fn bare(&self) -> Option<Duration> {
        None
    }

    /// What the last operation took, where another process did it and took the time.
    fn own_time(&self) -> Option<OwnTime> {
        None
    }

    /// Takes note of a state that is not committed, because the variant is
    /// sampled. Not timed.
    fn skip(&mut self, change: Change) {
        let _ = change;
    }

    /// Commits the next state and gives the checkpoint's id.
    async fn put(&mut self, change: Change) -> Result<String>;

    /// Reads all of the newest state; `None` if there is none.
    async fn latest(&mut self) -> Result<Option<Answer>>;

    /// Finds the newest state and reads its last `count` messages.
    async fn tail(&mut self, count: usize) -> Result<Option<Answer>>;

    /// Reads all of one state; `None` if it is not there.
    async fn at(&mut self, id: &str) -> Result<Option<Answer>>;

    /// Commits a state that is made from the state `id`, in a way that
    /// [`Revision`] says, and gives its id. Finding the old state is part of it.
    async fn fork(&mut self, id: &str, revision: Revision) -> Result<String> {
        let _ = (id, revision);
        Err(Error::Cell(
            "this variant makes no state from an old one".into(),
        ))
    }

    /// The ids of all states that are kept, newest first.
    async fn history(&mut self) -> Result<Vec<String>>;
}

/// Opens a variant on a store. `settings` are the engine's.
///
/// # Errors
/// Those of the store.
pub async fn open(
    variant: Variant,
    store: &Store,
    settings: &EngineSettings,
) -> Result<Arc<dyn Subject>> {
    let pooled;
    let store = match (variant, store) {
        (Variant::NoPooling, Store::Sql { place, wire }) => {
            pooled = Store::Sql {
                place: place.with_one_connection(),
                wire: wire.clone(),
            };
            &pooled
        }
        _ => store,
    };
    Ok(match variant {
        Variant::Default
        | Variant::WholeValue
        | Variant::NoLazyLoading
        | Variant::NoCache
        | Variant::NoCompression
        | Variant::NoPooling => Arc::new(engine::Engine::open(store, settings, variant).await?),
        Variant::FullSnapshot => Arc::new(snapshot::FullSnapshot::open(store, false).await?),
        Variant::NoChunking => Arc::new(snapshot::FullSnapshot::open(store, true).await?),
        Variant::Floor => match store {
            Store::Sql { place, .. } => Arc::new(driver::DriverFloor::new(Arc::new(
                Box::pin(place.floor()).await?,
            ))),
            Store::Redis { place, .. } => Arc::new(driver::DriverFloor::new(Arc::new(
                Box::pin(place.floor()).await?,
            ))),
            Store::MongoDb { place, .. } => Arc::new(driver::DriverFloor::new(Arc::new(
                Box::pin(place.floor()).await?,
            ))),
            Store::File { .. } | Store::Memory { .. } => Arc::new(floor::Floor::open(store)?),
            Store::Own { .. } => {
                let what = "of a backend of one's own no bare driver is known";
                return Err(Error::Usage(what.into()));
            }
        },
        Variant::NoOp => Arc::new(noop::NoOp),
        Variant::LangGraph => Arc::new(peer::LangGraph::open(store).await?),
    })
}
