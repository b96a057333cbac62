//! Checkpoints: documents, and the protocols on them. See `docs/mongodb.md`.

mod alter;
mod commit;
mod copy;
pub(crate) mod life;
mod list;
mod read;
mod reclaim;
mod replace;
mod row;
mod settle;
mod threads;
mod writes;

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

use crate::backend::MongoBackend;
use crate::error::uncertain;

/// Names the operation that failed.
macro_rules! named {
    ($name:literal, $call:expr) => {
        $call.await.map_err(|error| error.operation($name))
    };
}

/// The same of a mutation, which may have been made in part, or as a whole, before what failed.
macro_rules! changing {
    ($name:literal, $call:expr) => {
        $call
            .await
            .map_err(|error| uncertain(error).operation($name))
    };
}

#[async_trait]
impl CheckpointBackend for MongoBackend {
    fn capabilities(&self) -> Capabilities {
        self.inner().capabilities().clone()
    }

    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        Some(self)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        changing!("commit", self.open()?.commit(commit))
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        named!("get", self.open()?.get(thread, picks, detail))
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        named!("list", self.open()?.list(query))
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        named!("chunks", self.open()?.chunks(thread, incarnation, names))
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        changing!("put_writes", self.open()?.put_writes(writes))
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        changing!("alter", self.open()?.alter(alter))
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        named!("condemned", self.open()?.condemned(query))
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        changing!("reclaim", self.open()?.reclaim(reclaim))
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        changing!("delete_thread", self.open()?.end(thread, incarnation))
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        changing!("copy_thread", self.open()?.copy(source, target, fresh))
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let head = named!("incarnation", self.open()?.head(thread))?;
        Ok(head.map(|head| head.life))
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        named!("threads", self.open()?.threads(query))
    }

    async fn close(&self) -> Result<()> {
        self.shut_down().await
    }
}
