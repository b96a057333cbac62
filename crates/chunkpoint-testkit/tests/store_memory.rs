//! The long-term store's suite on the in-memory backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use async_trait::async_trait;
use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::store_model;
use chunkpoint_testkit::target::Target;

struct InMemory;

#[async_trait]
impl Fixture for InMemory {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(MemoryBackend::new())
    }
}

chunkpoint_testkit::store_suite!(InMemory);

/// Many more seeds of the model than a slow backend would have time for.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_seeds_agree_with_the_model() {
    let target = Target::open("model", InMemory).await;
    store_model::search(&target, 200, 80).await;
}
