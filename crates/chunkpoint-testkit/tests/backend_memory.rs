//! The suite on the in-memory backend.
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

struct Memory;

#[async_trait]
impl Fixture for Memory {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(MemoryBackend::new())
    }
}

chunkpoint_testkit::backend_suite!(Memory);
chunkpoint_testkit::store_backend_suite!(Memory);
