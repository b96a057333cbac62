//! A long-term store that counts what is asked of it, and into which a
//! behaviour can slip work at the worst moment.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Alter, Altered, Capabilities, CheckpointBackend, ChunkName, Commit, Committed, Condemned,
    Detail, Incarnation, ListCondemned, ListRecords, ListThreads, Pick, PutWrites, Reclaim,
    Reclaimed, RecordRow,
};
use chunkpoint_core::store_backend::{
    Changed, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems, StoreBackend,
    SweepItems, SweptItems,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// What was asked of a store, and what is to happen in between.
#[derive(Default)]
pub struct Watch {
    bytes_sent: AtomicU64,
    changes: AtomicU64,
    chunk_reads: AtomicU64,
    rows: AtomicU64,
    sweeps: AtomicU64,
    before_chunks: Mutex<Vec<BoxFuture<'static, ()>>>,
    before_change: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl Watch {
    /// Bytes of bodies and chunks that were handed over.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::SeqCst)
    }

    /// Calls that changed items.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Calls that read chunks.
    pub fn chunk_reads(&self) -> u64 {
        self.chunk_reads.load(Ordering::SeqCst)
    }

    /// Calls that read rows by name.
    pub fn row_reads(&self) -> u64 {
        self.rows.load(Ordering::SeqCst)
    }

    /// Slices of sweeps that have ended.
    pub fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::SeqCst)
    }

    /// Does `work` right before the next call that reads chunks.
    pub fn before_next_chunks(&self, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.before_chunks).push(Box::pin(work));
    }

    /// Does `work` right before the next call that changes items.
    pub fn before_next_change(&self, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.before_change).push(Box::pin(work));
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was to happen is taken out first: it may itself call the store.
async fn happen(works: &Mutex<Vec<BoxFuture<'static, ()>>>) {
    let works = std::mem::take(&mut *lock(works));
    for work in works {
        work.await;
    }
}

/// A backend whose long-term store is watched.
pub(crate) struct Watched {
    inner: Arc<dyn CheckpointBackend>,
    watch: Arc<Watch>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn CheckpointBackend>, watch: Arc<Watch>) -> Self {
        Self { inner, watch }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl CheckpointBackend for Watched {
    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        let inner = self.inner.clone().store()?;
        let watch = self.watch.clone();
        Some(Arc::new(WatchedStore { inner, watch }))
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.inner.commit(commit).await
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        self.inner.get(thread, picks, detail).await
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        self.inner.list(query).await
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        self.inner.chunks(thread, incarnation, names).await
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        self.inner.put_writes(writes).await
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        self.inner.alter(alter).await
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        self.inner.condemned(query).await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        self.inner.reclaim(reclaim).await
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        self.inner.delete_thread(thread, incarnation).await
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        self.inner.copy_thread(source, target, fresh).await
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        self.inner.incarnation(thread).await
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        self.inner.threads(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[derive(Debug)]
struct WatchedStore {
    inner: Arc<dyn StoreBackend>,
    watch: Arc<Watch>,
}

impl fmt::Display for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl StoreBackend for WatchedStore {
    fn store_capabilities(&self) -> Capabilities {
        self.inner.store_capabilities()
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        self.watch.rows.fetch_add(1, Ordering::SeqCst);
        self.inner.items(keys).await
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        self.watch.chunk_reads.fetch_add(1, Ordering::SeqCst);
        happen(&self.watch.before_chunks).await;
        self.inner.item_chunks(key, names).await
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        happen(&self.watch.before_change).await;
        self.watch.changes.fetch_add(1, Ordering::SeqCst);
        let bytes = |change: &ItemChange| match change {
            ItemChange::Put(put) => {
                put.row.body.len() + put.chunks.iter().map(Bytes::len).sum::<usize>()
            }
            _ => 0,
        };
        let sent: usize = changes.iter().map(bytes).sum();
        self.watch
            .bytes_sent
            .fetch_add(sent as u64, Ordering::SeqCst);
        self.inner.change_items(changes).await
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        self.inner.scan(query).await
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        self.inner.namespaces(query).await
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let swept = self.inner.sweep(sweep).await;
        self.watch.sweeps.fetch_add(1, Ordering::SeqCst);
        swept
    }

    async fn close_store(&self) -> Result<()> {
        self.inner.close_store().await
    }
}
