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

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{Capabilities, CheckpointBackend, ChunkName};
use chunkpoint_core::store_backend::{
    Changed, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems, StoreBackend,
    SweepItems, SweptItems,
};
use futures::FutureExt;
use futures::stream::{BoxStream, TryStreamExt};

use crate::backend::{Inner, SqlBackend};

#[async_trait]
impl StoreBackend for SqlBackend {
    fn store_capabilities(&self) -> Capabilities {
        self.inner().capabilities().clone()
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        let inner = self.settled_items(|item| keys.contains(item)).await?;
        let read = inner.items(keys).await;
        read.map_err(|error| error.operation("items"))
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        let inner = self.settled_items(|item| item == key).await?;
        let read = inner.item_chunks(key, names).await;
        read.map_err(|error| error.operation("item_chunks"))
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        let items = changes.iter().map(|change| change.key().clone()).collect();
        let work = |inner: Arc<Inner>| async move { inner.change_items(changes).await }.boxed();
        self.mutate_items("change_items", items, work).await
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        let below = |item: &ItemKey| item.namespace.starts_with(&query.prefix);
        let rows = self.settled_items(below).await?.scan(&query);
        Ok(Box::pin(rows.map_err(|error| error.operation("scan"))))
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        let below = |item: &ItemKey| item.namespace.starts_with(&query.prefix);
        let listed = self.settled_items(below).await?.namespaces(&query);
        Ok(Box::pin(
            listed.map_err(|error| error.operation("namespaces")),
        ))
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        // It names no item, and nobody has to wait for one that lost its caller: whenever
        // it takes a row, it looks whether that is due still.
        let work = |inner: Arc<Inner>| async move { inner.sweep(sweep).await }.boxed();
        self.mutate_items("sweep", [].into(), work).await
    }

    async fn close_store(&self) -> Result<()> {
        CheckpointBackend::close(self).await
    }
}
