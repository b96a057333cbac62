//! The checkpoints' side of a backend.

mod alter;
mod commit;
mod copy;
mod list;
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
use futures::stream::BoxStream;

use crate::backend::RedisBackend;

#[async_trait]
impl CheckpointBackend for RedisBackend {
    fn capabilities(&self) -> Capabilities {
        self.inner().capabilities().clone()
    }

    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        Some(self)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let done = self.open()?.commit(&commit).await;
        done.map_err(|error| error.operation("commit"))
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        let read = self.open()?.get(thread, picks, detail).await;
        read.map_err(|error| error.operation("get"))
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let read = self.open()?.clone().list(query).await;
        read.map_err(|error| error.operation("list"))
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let read = self.open()?.chunks(thread, incarnation, names).await;
        read.map_err(|error| error.operation("chunks"))
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        let done = self.open()?.put_writes(&writes).await;
        done.map_err(|error| error.operation("put_writes"))
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        let done = self.open()?.alter(&alter).await;
        done.map_err(|error| error.operation("alter"))
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        let read = self.open()?.condemned(&query).await;
        read.map_err(|error| error.operation("condemned"))
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        let done = self.open()?.reclaim(&reclaim).await;
        done.map_err(|error| error.operation("reclaim"))
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let done = self.open()?.delete_thread(thread, incarnation).await;
        done.map_err(|error| error.operation("delete_thread"))
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        let done = self.open()?.copy_thread(source, target, fresh).await;
        done.map_err(|error| error.operation("copy_thread"))
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let read = self.open()?.incarnation(thread).await;
        read.map_err(|error| error.operation("incarnation"))
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        let read = self.open()?.threads(&query).await;
        read.map_err(|error| error.operation("threads"))
    }

    async fn close(&self) -> Result<()> {
        self.inner().close();
        Ok(())
    }
}
