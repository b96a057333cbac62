//! The engine of Chunkpoint: durable memory for AI agents.
#![allow(missing_docs)]
pub mod backend;
mod background;
mod cache;
mod codec;
mod commit;
mod draft;
mod engine;
mod error;
mod filter;
mod handle;
mod ids;
pub mod memory;
mod record;
mod removal;
mod retention;
mod saver;
mod settings;
mod snapshot;
mod thread;
mod tree;
pub mod types;
mod wire;

pub use codec::Compression;
pub use commit::DELTA_SNAPSHOT_TAG;
pub use draft::Draft;
pub use error::{Applied, Error, ErrorKind, Result, quote};
pub use handle::{Memory, MemoryBuilder};
pub use record::Version;
pub use retention::Maintained;
pub use saver::{
    Checkpoint, CheckpointTuple, Config, DeltaChannelHistory, ListQuery, PruneStrategy, Saver,
    Write,
};
pub use settings::{Clock, Entropy, Settings, SystemClock, SystemEntropy};
pub use snapshot::{List, Map, Snapshot};
pub use thread::{HistoryQuery, Thread};
pub use types::{Item, Value, ValueKind};
