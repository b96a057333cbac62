//! The long-term store's side of a backend.

mod change;
mod direct;
mod locked;
mod path;
mod predicate;
mod read;
mod row;
mod scan;
mod sweep;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{Capabilities, CheckpointBackend, ChunkName};
use chunkpoint_core::store_backend::{
    Changed, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems, StoreBackend,
    SweepItems, SweptItems,
};
use futures::stream::{BoxStream, TryStreamExt};

use crate::backend::{SqlBackend, to_its_end};

#[async_trait]
impl StoreBackend for SqlBackend {
    fn store_capabilities(&self) -> Capabilities {
        self.inner().capabilities().clone()
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        let read = self.open()?.items(keys).await;
        read.map_err(|error| error.operation("items"))
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        let read = self.open()?.item_chunks(key, names).await;
        read.map_err(|error| error.operation("item_chunks"))
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        let inner = self.open()?;
        to_its_end(
            "change_items",
            async move { inner.change_items(changes).await },
        )
        .await
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        let rows = self.open()?.scan(&query);
        Ok(Box::pin(rows.map_err(|error| error.operation("scan"))))
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        let listed = self.open()?.namespaces(&query);
        Ok(Box::pin(
            listed.map_err(|error| error.operation("namespaces")),
        ))
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let inner = self.open()?;
        to_its_end("sweep", async move { inner.sweep(sweep).await }).await
    }

    async fn close_store(&self) -> Result<()> {
        CheckpointBackend::close(self).await
    }
}
