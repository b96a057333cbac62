//! The engine's suites on the object store, with and without create-if-absent.

use std::sync::Arc;

use async_trait::async_trait;
use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::objects::{ObjectBackend, ObjectMap};

struct Objects(Arc<ObjectMap>);

#[async_trait]
impl Fixture for Objects {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(ObjectBackend::new(self.0.clone()))
    }
}

mod conditional {
    use super::*;
    chunkpoint_testkit::engine_suite!(Objects(ObjectMap::new(true, 1_000)));
}

mod unconditional {
    use super::*;
    chunkpoint_testkit::engine_suite!(Objects(ObjectMap::new(false, 1_000)));
}
