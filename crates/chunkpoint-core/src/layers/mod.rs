//! Decorators: backends around a backend.
//!
//! A [`Layer`] says what happens around a call; [`Around`] applies it to
//! every method of a trait, so that no decorator repeats one: as [`Layered`] to
//! those of [`CheckpointBackend`], as [`LayeredStore`] to those of
//! [`StoreBackend`]. The store of a layered backend is layered by itself. Layers
//! stack, the first applied innermost. The usual order, from the outside in:
//!
//! ```text
//! Retry -> Timeout -> Metrics -> (Faults, in tests) -> the backend
//! ```
//!
//! * [`Retry`] is outside [`Timeout`], so that every attempt has its own time
//!   and one that hangs is tried again.
//! * [`Metrics`] is inside both: it counts what reached the backend. A second
//!   one outside counts what the engine asked for.
//!
//! Repeating a mutation is safe because each carries a write id, or names
//! exactly what it changes; see [`crate::backend`].

mod faults;
mod metrics;
mod retry;
mod rng;
mod store;
mod timeout;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::backend::{
    Alter, Altered, Capabilities, CheckpointBackend, ChunkName, Commit, Committed, Condemned,
    Detail, Incarnation, ListCondemned, ListRecords, ListThreads, PendingWrite, Pick, PutWrites,
    Reclaim, Reclaimed, RecordRow,
};
use crate::error::{Error, Result};
use crate::store_backend::StoreBackend;

pub use faults::{Fault, Faults, Rule};
pub use metrics::{MethodMetrics, Metrics, MetricsSnapshot};
pub use retry::{Retry, RetryPolicy};
pub use timeout::Timeout;

/// The methods of [`CheckpointBackend`] and [`StoreBackend`] that a layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// [`CheckpointBackend::commit`]
    Commit,
    /// [`CheckpointBackend::get`]
    Get,
    /// [`CheckpointBackend::list`]
    List,
    /// [`CheckpointBackend::chunks`]
    Chunks,
    /// [`CheckpointBackend::put_writes`]
    PutWrites,
    /// [`CheckpointBackend::alter`]
    Alter,
    /// [`CheckpointBackend::condemned`]
    Condemned,
    /// [`CheckpointBackend::reclaim`]
    Reclaim,
    /// [`CheckpointBackend::delete_thread`]
    DeleteThread,
    /// [`CheckpointBackend::copy_thread`]
    CopyThread,
    /// [`CheckpointBackend::incarnation`]
    Incarnation,
    /// [`CheckpointBackend::threads`]
    Threads,
    /// [`CheckpointBackend::close`]
    Close,
    /// [`StoreBackend::items`]
    Items,
    /// [`StoreBackend::item_chunks`]
    ItemChunks,
    /// [`StoreBackend::change_items`]
    ChangeItems,
    /// [`StoreBackend::scan`]
    Scan,
    /// [`StoreBackend::namespaces`]
    Namespaces,
    /// [`StoreBackend::sweep`]
    Sweep,
    /// [`StoreBackend::close_store`]
    CloseStore,
}

impl Method {
    /// All of them, in the order of the traits.
    pub const ALL: [Self; 20] = [
        Self::Commit,
        Self::Get,
        Self::List,
        Self::Chunks,
        Self::PutWrites,
        Self::Alter,
        Self::Condemned,
        Self::Reclaim,
        Self::DeleteThread,
        Self::CopyThread,
        Self::Incarnation,
        Self::Threads,
        Self::Close,
        Self::Items,
        Self::ItemChunks,
        Self::ChangeItems,
        Self::Scan,
        Self::Namespaces,
        Self::Sweep,
        Self::CloseStore,
    ];

    /// The method's name in its trait.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Get => "get",
            Self::List => "list",
            Self::Chunks => "chunks",
            Self::PutWrites => "put_writes",
            Self::Alter => "alter",
            Self::Condemned => "condemned",
            Self::Reclaim => "reclaim",
            Self::DeleteThread => "delete_thread",
            Self::CopyThread => "copy_thread",
            Self::Incarnation => "incarnation",
            Self::Threads => "threads",
            Self::Close => "close",
            Self::Items => "items",
            Self::ItemChunks => "item_chunks",
            Self::ChangeItems => "change_items",
            Self::Scan => "scan",
            Self::Namespaces => "namespaces",
            Self::Sweep => "sweep",
            Self::CloseStore => "close_store",
        }
    }

    /// Whether it changes what is stored.
    pub fn mutates(self) -> bool {
        match self {
            Self::Commit
            | Self::PutWrites
            | Self::Alter
            | Self::Reclaim
            | Self::DeleteThread
            | Self::CopyThread
            | Self::ChangeItems
            | Self::Sweep => true,
            Self::Get
            | Self::List
            | Self::Chunks
            | Self::Condemned
            | Self::Incarnation
            | Self::Threads
            | Self::Close
            | Self::Items
            | Self::ItemChunks
            | Self::Scan
            | Self::Namespaces
            | Self::CloseStore => false,
        }
    }
}

/// One call, as a layer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The method called.
    pub method: Method,
    /// Bytes of bodies, chunks and values handed to the backend.
    pub bytes_sent: u64,
}

/// An answer of a trait, or a row of one.
pub trait Answer: Send {
    /// The bytes of bodies, chunks and values in it; names and numbers are not counted.
    fn payload_bytes(&self) -> u64 {
        0
    }

    /// The parts of it that failed by themselves, as single changes of a batch do.
    fn failures(&mut self) -> Vec<&mut Error> {
        Vec::new()
    }
}

/// Starts the call on the backend inside; each time it is invoked, anew.
pub type Call<'a, T> = &'a (dyn Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a);

/// Rows of a listing.
pub type Rows<T> = BoxStream<'static, Result<T>>;

/// What a decorator does around calls.
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// Runs one operation: starts `call` as often as it sees fit, usually
    /// once, and answers.
    fn around<'a, T: Answer + 'a>(
        &'a self,
        operation: Operation,
        call: Call<'a, T>,
    ) -> impl Future<Output = Result<T>> + Send + 'a;

    /// Wraps the rows of a listing by `method`, whose opening went through
    /// [`around`](Self::around). Passes them through unless a layer has something
    /// to add.
    fn rows<T: Answer + 'static>(&self, method: Method, rows: Rows<T>) -> Rows<T> {
        let _ = method;
        rows
    }
}

/// A backend with a [`Layer`] around each call. `B` is the trait that it is a backend
/// of.
pub struct Around<B: ?Sized, L> {
    inner: Arc<B>,
    /// Shared between a backend and its store.
    layer: Arc<L>,
}

/// A [`CheckpointBackend`] with a [`Layer`] around each call.
pub type Layered<L> = Around<dyn CheckpointBackend, L>;

/// A [`StoreBackend`] with a [`Layer`] around each call.
pub type LayeredStore<L> = Around<dyn StoreBackend, L>;

impl<B: ?Sized, L: Layer> Around<B, L> {
    /// Puts `layer` around `inner`.
    pub fn new(inner: Arc<B>, layer: L) -> Self {
        let layer = Arc::new(layer);
        Self { inner, layer }
    }

    /// The layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// The backend inside.
    pub fn inner(&self) -> &Arc<B> {
        &self.inner
    }

    fn run<'a, T: Answer + 'a>(
        &'a self,
        method: Method,
        bytes_sent: u64,
        call: Call<'a, T>,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        let operation = Operation { method, bytes_sent };
        self.layer.around(operation, call)
    }
}

impl<B: fmt::Display + ?Sized, L> fmt::Display for Around<B, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<B: fmt::Debug + ?Sized, L: fmt::Debug> fmt::Debug for Around<B, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered")
            .field("layer", &self.layer)
            .field("inner", &self.inner)
            .finish()
    }
}

#[async_trait]
impl<L: Layer> CheckpointBackend for Layered<L> {
    /// That of the backend inside, with the same layer around it.
    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        let inner = self.inner.clone().store()?;
        let layer = self.layer.clone();
        Some(Arc::new(LayeredStore { inner, layer }))
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let sent = commit.body.len() + commit.chunks.iter().map(Bytes::len).sum::<usize>();
        let call = || self.inner.commit(commit.clone());
        self.run(Method::Commit, sent as u64, &call).await
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        let call = || self.inner.get(thread, picks, detail);
        self.run(Method::Get, 0, &call).await
    }

    async fn list(&self, query: ListRecords) -> Result<Rows<RecordRow>> {
        let call = || self.inner.list(query.clone());
        let rows = self.run(Method::List, 0, &call).await?;
        Ok(self.layer.rows(Method::List, rows))
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let call = || self.inner.chunks(thread, incarnation, names);
        self.run(Method::Chunks, 0, &call).await
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        let sent = values(&writes.writes);
        let call = || self.inner.put_writes(writes.clone());
        self.run(Method::PutWrites, sent, &call).await
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        let call = || self.inner.alter(alter.clone());
        self.run(Method::Alter, 0, &call).await
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        let call = || self.inner.condemned(query.clone());
        self.run(Method::Condemned, 0, &call).await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        let call = || self.inner.reclaim(reclaim.clone());
        self.run(Method::Reclaim, 0, &call).await
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let call = || self.inner.delete_thread(thread, incarnation);
        self.run(Method::DeleteThread, 0, &call).await
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        let call = || self.inner.copy_thread(source, target, fresh);
        self.run(Method::CopyThread, 0, &call).await
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let call = || self.inner.incarnation(thread);
        self.run(Method::Incarnation, 0, &call).await
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        let call = || self.inner.threads(query.clone());
        self.run(Method::Threads, 0, &call).await
    }

    async fn close(&self) -> Result<()> {
        let call = || self.inner.close();
        self.run(Method::Close, 0, &call).await
    }
}

fn values(writes: &[PendingWrite]) -> u64 {
    writes.iter().map(|write| write.value.len() as u64).sum()
}

impl Answer for RecordRow {
    fn payload_bytes(&self) -> u64 {
        self.body.len() as u64 + values(&self.writes)
    }
}

impl Answer for Bytes {
    fn payload_bytes(&self) -> u64 {
        self.len() as u64
    }
}

/// What was asked for, by name.
impl<T: Answer> Answer for Vec<Option<T>> {
    fn payload_bytes(&self) -> u64 {
        self.iter().flatten().map(T::payload_bytes).sum()
    }
}

// The rows are counted as they come, by `Layer::rows`.
impl<T> Answer for Rows<T> {}
impl Answer for Committed {}
impl Answer for Vec<Altered> {}
impl Answer for Option<Condemned> {}
impl Answer for Reclaimed {}
impl Answer for Option<Incarnation> {}
impl Answer for Vec<Arc<str>> {}
impl Answer for () {}
