//! The checkpoints' side of a backend.

mod alter;
mod chunks;
mod commit;
mod ended;
mod insert;
mod list;
mod metadata;
mod pack;
mod put_writes;
mod read;
mod reclaim;
mod row;
mod threads;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Alter, Altered, Capabilities, CheckpointBackend, ChunkName, Commit, Committed, Condemned,
    Detail, Incarnation, ListCondemned, ListRecords, ListThreads, Pick, PutWrites, Reclaim,
    Reclaimed, RecordRow,
};
use chunkpoint_core::store_backend::StoreBackend;
use futures::FutureExt;
use futures::stream::BoxStream;

pub(crate) use self::ended::purge_leftovers;
pub(crate) use self::read::hot;
use crate::backend::{Inner, SqlBackend};
use crate::names::Key;
use crate::value::Value;

/// The condition that `c` is in a namespace, and its parameters. All but the root have an
/// index of their own, which databases only use if they see that it is not the root.
fn in_namespace(namespace: &str) -> (&'static str, [Value; 2]) {
    let condition = if namespace.is_empty() {
        "c.namespace = ? AND c.namespace_hash = ?"
    } else {
        "c.namespace <> '' AND c.namespace = ? AND c.namespace_hash = ?"
    };
    (condition, Key::new(namespace).indexed())
}

#[async_trait]
impl CheckpointBackend for SqlBackend {
    fn capabilities(&self) -> Capabilities {
        self.inner().capabilities().clone()
    }

    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        Some(self)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let thread = commit.thread.clone();
        let work = |inner: Arc<Inner>| async move { inner.commit(&commit).await }.boxed();
        self.mutate("commit", &thread, work).await
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        let read = self
            .settled(Some(thread))
            .await?
            .get(thread, picks, detail)
            .await;
        read.map_err(|error| error.operation("get"))
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let read = self.settled(Some(&query.thread)).await?.list(query).await;
        read.map_err(|error| error.operation("list"))
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let read = self
            .settled(Some(thread))
            .await?
            .chunks(thread, incarnation, names)
            .await;
        read.map_err(|error| error.operation("chunks"))
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        let thread = writes.thread.clone();
        let work = |inner: Arc<Inner>| async move { inner.put_writes(&writes).await }.boxed();
        self.mutate("put_writes", &thread, work).await
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        let thread = alter.thread.clone();
        let work = |inner: Arc<Inner>| async move { inner.alter(&alter).await }.boxed();
        self.mutate("alter", &thread, work).await
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        let read = self
            .settled(Some(&query.thread))
            .await?
            .condemned(&query)
            .await;
        read.map_err(|error| error.operation("condemned"))
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        let thread = reclaim.thread.clone();
        let work = |inner: Arc<Inner>| async move { inner.reclaim(&reclaim).await }.boxed();
        self.mutate("reclaim", &thread, work).await
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let thread: Arc<str> = thread.into();
        let name = thread.clone();
        let work = |inner: Arc<Inner>| {
            async move { inner.delete_thread(&name, incarnation).await }.boxed()
        };
        self.mutate("delete_thread", &thread, work).await
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        let (source, target): (Arc<str>, Arc<str>) = (source.into(), target.into());
        let name = target.clone();
        let work = |inner: Arc<Inner>| {
            async move { inner.copy_thread(&source, &name, fresh).await }.boxed()
        };
        self.mutate("copy_thread", &target, work).await
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let read = self.settled(Some(thread)).await?.incarnation(thread).await;
        read.map_err(|error| error.operation("incarnation"))
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        let read = self.settled(None).await?.threads(query).await;
        read.map_err(|error| error.operation("threads"))
    }

    async fn close(&self) -> Result<()> {
        self.inner().close().await;
        Ok(())
    }
}
