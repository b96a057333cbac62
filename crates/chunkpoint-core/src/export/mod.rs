//! A whole memory as JSON lines, out and in again, between any two backends.
//!
//! [`Memory::export`] gives every checkpoint with its history, and every item of the
//! long-term store, as lines; [`Memory::import`] takes them in; [`Memory::compare`]
//! tells whether two memories hold the same. `docs/export.md` has the lines, field by
//! field.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use chunkpoint_core::export::Scope;
//! use chunkpoint_core::{Item, Memory, memory::MemoryBackend};
//!
//! let from = Memory::new(MemoryBackend::new())?;
//! let thread = from.thread("support-4711")?;
//! let mut draft = thread.draft().await?;
//! draft.append("messages", [Item::text("Where is my parcel?")])?;
//! thread.commit(draft).await?;
//!
//! let to = Memory::new(MemoryBackend::new())?;
//! let lines = from.export(Scope::all(), |_| {});
//! let imported = to.import(lines, Scope::all(), |_| {}).await?;
//! assert_eq!(imported.checkpoints, 1);
//! assert!(from.compare(&to, &Scope::all(), |_| {}).await?.is_equal());
//! # Ok::<(), chunkpoint_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! It is here and not in a crate of its own because a faithful copy needs what the
//! engine keeps to itself: commit times, hidden records, and trees compared by hash. It
//! does no I/O: lines are a stream of bytes, and files are the caller's.
//!
//! # Memory
//!
//! Out of one thread, the ids of its checkpoints are in memory, and one value at a time;
//! a list or map goes through in parts. An import holds the pack of one checkpoint, as
//! every commit does.

mod compare;
mod items;
mod line;
mod lines;
mod order;
mod read;
mod source;
mod take;
mod there;
mod write;

use std::fmt;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, Stream};

use self::lines::{Lines, Out};
use crate::error::{Error, Result};
use crate::handle::Memory;
use crate::store_backend::Namespace;

pub use compare::{Comparison, Side};

/// Which part of a memory is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The checkpoints of threads that start with this; `None`: no checkpoints.
    pub threads: Option<String>,
    /// The store's items at and below this namespace; `None`: no items.
    pub items: Option<Namespace>,
}

impl Scope {
    /// Everything.
    pub fn all() -> Self {
        Self {
            threads: Some(String::new()),
            items: Some(Namespace::default()),
        }
    }

    fn has_thread(&self, thread: &str) -> bool {
        let prefix = self.threads.as_deref();
        prefix.is_some_and(|prefix| thread.starts_with(prefix))
    }

    fn has_namespace(&self, namespace: &Namespace) -> bool {
        let prefix = self.items.as_ref();
        prefix.is_some_and(|prefix| namespace.starts_with(prefix))
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::all()
    }
}

/// How far an export, import or comparison is, and what it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Count {
    /// Lines written or read.
    pub lines: u64,
    /// Bytes of lines written or read; of a comparison: bytes of values stored.
    pub bytes: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Items of the store.
    pub items: u64,
    /// Of the checkpoints and items, those that an import found there, equal, from an
    /// earlier run.
    pub present: u64,
    /// Items that an import left out because their time to live was over.
    pub expired: u64,
    /// Checkpoints and items that an import left out because they are not in its scope.
    pub skipped: u64,
}

/// Shows a [`Count`] to whoever wants to know.
struct Progress(Box<dyn FnMut(&Count) + Send>);

impl Progress {
    fn show(&mut self, count: &Count) {
        (self.0)(count);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Memory {
    /// Everything in `scope` as JSON lines, each with its line feed. The last line
    /// says that it was all; a stream that ends without it ended with an error.
    ///
    /// Parents come before their children, and a value that is the same as in the
    /// parent, or that grew, is written as what changed. A memory may be written to
    /// meanwhile: what is committed or removed during the export may be in it or not.
    /// Pending writes whose checkpoint does not exist, items that have expired, and the
    /// versions that [`Expect::Version`](crate::store_backend::Expect::Version) goes by
    /// are not in it.
    ///
    /// `progress` is called after each line. A backend without a store exports none.
    ///
    /// # Errors
    /// In the stream: `Corrupt` if something stored is damaged; what the backend reports.
    pub fn export(
        &self,
        scope: Scope,
        progress: impl FnMut(&Count) + Send + 'static,
    ) -> BoxStream<'static, Result<Bytes>> {
        // Lines are made while those before are taken, two of them ahead.
        let (to, from) = futures::channel::mpsc::channel(1);
        let memory = self.clone();
        let mut failed = to.clone();
        let work = async move {
            let out = Out::new(to, Progress(Box::new(progress)));
            if let Err(error) = write::export(&memory, &scope, out).await {
                let error = error.operation("export");
                futures::SinkExt::send(&mut failed, Err(error)).await.ok();
            }
        };
        let work = futures::stream::once(work).filter_map(|()| std::future::ready(None));
        futures::stream::select(from, work).boxed()
    }

    /// Takes in lines that [`export`](Self::export) made, in pieces of any size; of
    /// them, what is in `scope`.
    ///
    /// Each checkpoint and each item is stored in one step, complete with its time,
    /// history and pending writes (pins and hiding follow at once), and is acknowledged
    /// as every commit is; of items, up to 500 or 1 MiB in one call. **An import that was interrupted is started again from the
    /// beginning**: what is there already is compared with its line and passed over.
    /// Retention does not run before the next commit.
    ///
    /// `progress` is called after each checkpoint and each item's line; items are counted
    /// once they are stored.
    ///
    /// # Errors
    /// Each names its line, or the lines of the items that were to be stored in one call. `InvalidInput` for lines that are none of an export,
    /// `Unsupported` for those of a newer program, `Corrupt` for a file that was cut or
    /// changed, `Conflict` if something of the same name is there and different; what
    /// the stream and the backend report. What was imported until then stays.
    pub async fn import(
        &self,
        lines: impl Stream<Item = Result<Bytes>> + Send + 'static,
        scope: Scope,
        progress: impl FnMut(&Count) + Send + 'static,
    ) -> Result<Count> {
        let lines = Lines::new(lines.fuse().boxed());
        let import = read::Import::new(self, scope, Progress(Box::new(progress)));
        import
            .run(lines)
            .await
            .map_err(|e: Error| e.operation("import"))
    }

    /// Compares what two memories hold in `scope`: every checkpoint (values, history,
    /// metadata, times, pins, pending writes, hidden ones too) and every item. Reads,
    /// and so verifies, every chunk on both sides once, and compares states by hash.
    ///
    /// # Errors
    /// `Corrupt` if something stored is damaged; what the backends report.
    pub async fn compare(
        &self,
        other: &Self,
        scope: &Scope,
        progress: impl FnMut(&Count) + Send + 'static,
    ) -> Result<Comparison> {
        compare::compare(self, other, scope, Progress(Box::new(progress)))
            .await
            .map_err(|e| e.operation("compare"))
    }

    /// Whether its backend keeps a long-term store.
    pub fn has_store(&self) -> bool {
        self.engine.backend.clone().store().is_some()
    }
}
