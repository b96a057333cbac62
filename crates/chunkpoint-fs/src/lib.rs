//! Checkpoints and long-term memory on the filesystem: one append-only, checksummed
//! log per thread, one file of items per namespace, in a directory that needs no
//! server and that several processes may share.
//!
//! ```no_run
//! # fn main() -> chunkpoint_core::Result<()> {
//! use chunkpoint_core::backend::Durability;
//! use chunkpoint_fs::FsBackend;
//!
//! let backend = FsBackend::builder("/var/lib/agent").durability(Durability::Disk).open()?;
//! # drop(backend); Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! A commit appends one frame to its thread's log with one write, then syncs
//! it; commits that come meanwhile share the next write. The frame is the
//! atomic step: one that is not whole is not there.
//!
//! Nothing else is needed to read: the index of a thread is appended to its log
//! every few commits, so opening a thread reads the last 32 KiB, whatever its
//! length, and any older checkpoint is found in a number of small reads that
//! grows with the logarithm of the log. A log is rewritten without what is dead
//! once that is half of it.
//!
//! The long-term store keeps a file of items per namespace: a search tree in the
//! order of the keys, and a tail to which changes are appended and which is merged
//! into the tree from time to time. A search opens the namespaces it is of, and no
//! others.
//!
//! The format is described byte by byte in `docs/format-fs.md`.
//!
//! # What to mind
//!
//! * The directory has to be on a filesystem with working locks (`flock`),
//!   atomic renames, and `fsync` of directories: local ones, not most network
//!   ones.
//! * Another process may see a commit between its write and its sync.
//! * A directory that cannot be written to can be read.

mod append;
mod backend;
mod catalog;
mod chunks;
mod compact;
mod condemned;
mod config;
mod dir;
mod error;
#[cfg(test)]
mod fault;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod items;
mod list;
mod load;
mod log;
mod lru;
mod merge;
mod ops;
mod order;
mod payload;
mod queue;
mod row;
mod scan;
mod snapshot;
mod state;
mod stats;
mod store;
mod table;
mod threads;
mod unsynced;
mod wait;
mod wire;
mod writer;

pub use backend::FsBackend;
pub use config::{FsBuilder, FsConfig};
pub use stats::IoStats;
