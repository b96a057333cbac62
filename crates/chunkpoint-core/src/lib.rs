//! The engine of Chunkpoint: durable memory for AI agents, on any storage
//! that implements [`backend::CheckpointBackend`].
//!
//! An agent's state is a few *channels*, one of them a growing list of
//! messages. A [`Thread`] keeps a checkpoint of it after every step. The
//! engine cuts lists, maps and large values into content-defined chunks, so
//! that a step writes what it changed and borrows the rest from its parent;
//! every [`Snapshot`] stays readable, lazily, for ever or as long as
//! [`Settings::max_history`] says.
//!
//! Most programs use the `chunkpoint` crate, which opens a memory by URL, or
//! one backend crate and [`Memory::new`]:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use chunkpoint_core::{HistoryQuery, Item, Memory, memory::MemoryBackend};
//! use futures::TryStreamExt;
//!
//! let memory = Memory::new(MemoryBackend::new())?;
//! let thread = memory.thread("support-4711")?;
//! let mut draft = thread.draft().await?;
//! for text in ["Where is my parcel?", "In Rotterdam since Tuesday.", "Oh."] {
//!     draft.append("messages", [Item::text(text)])?;
//!     draft = thread.commit(draft).await?.draft()?;
//! }
//! // Newest first; values are read when asked for.
//! let history: Vec<_> = thread.history(HistoryQuery::default()).try_collect().await?;
//! let lengths: Vec<u64> =
//!     history.iter().flat_map(|state| state.channels().map(|(_, _, len)| len)).collect();
//! assert_eq!(lengths, [3, 2, 1]);
//! # Ok::<(), chunkpoint_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Where things are
//!
//! * [`Memory`], [`Thread`], [`Draft`], [`Snapshot`], [`List`], [`Map`]: what
//!   a program uses.
//! * [`Saver`]: the LangGraph checkpointer contract over the same checkpoints.
//! * [`backend`]: the seam to storage, with the contract of every method.
//! * [`layers`]: retry, timeout, metrics and fault injection around any backend.
//! * [`memory`]: the backend that keeps everything in this process.

pub mod backend;
mod background;
#[doc(hidden)]
pub mod benching;
mod cache;
mod coalesce;
mod codec;
mod commit;
mod draft;
mod engine;
mod error;
pub mod export;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod ids;
mod json;
pub mod layers;
pub mod memory;
#[doc(hidden)]
pub mod pending;
mod record;
mod removal;
mod retention;
mod saver;
mod settings;
mod snapshot;
pub mod store;
pub mod store_backend;
mod thread;
mod tree;
pub mod types;
#[doc(hidden)]
pub mod wire;

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
