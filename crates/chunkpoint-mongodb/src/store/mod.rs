//! The long-term store: a document an item, whose update is the atomic step.

mod change;
mod predicate;
mod read;
mod row;
mod scan;
mod sweep;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{Capabilities, ChunkName};
use chunkpoint_core::store_backend::{
    Changed, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems, StoreBackend,
    SweepItems, SweptItems,
};
use futures::stream::{BoxStream, TryStreamExt};

use crate::backend::MongoBackend;
use crate::error::uncertain;

#[async_trait]
impl StoreBackend for MongoBackend {
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
        let changed = self.open()?.change_items(changes).await.into_iter();
        Ok(changed
            .map(|one| one.map_err(|error| uncertain(error).operation("change_items")))
            .collect())
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        let rows = self.open()?.clone().scan(&query);
        Ok(Box::pin(rows.map_err(|error| error.operation("scan"))))
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        let listed = self.open()?.clone().namespaces(&query);
        Ok(Box::pin(
            listed.map_err(|error| error.operation("namespaces")),
        ))
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let swept = self.open()?.sweep(sweep).await;
        swept.map_err(|error| error.operation("sweep"))
    }

    async fn close_store(&self) -> Result<()> {
        self.shut_down().await
    }
}
