//! The promises of the trait, and those of the engine on top of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_fs::FsBackend;
use chunkpoint_testkit::backend_suite::Fixture;

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait::async_trait]
impl Fixture for Directory {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(FsBackend::open(self.0.path()).unwrap())
    }
}

mod backend {
    use super::Directory;
    chunkpoint_testkit::backend_suite!(Directory::new());
}

mod engine {
    use super::Directory;
    chunkpoint_testkit::engine_suite!(Directory::new());
}

mod store {
    use super::Directory;
    chunkpoint_testkit::store_backend_suite!(Directory::new());
}

mod store_engine {
    use super::Directory;
    chunkpoint_testkit::store_suite!(Directory::new());
}
