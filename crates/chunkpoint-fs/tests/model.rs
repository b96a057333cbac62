//! Random operations on the filesystem and in memory have the same results, whatever is
//! reopened, compacted or read through old locators in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::backend_suite::random::compare_with_memory;
use support::*;

struct Directory(tempfile::TempDir);

#[async_trait::async_trait]
impl Fixture for Directory {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(open(self.0.path()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filesystem_does_what_memory_does() {
    let mut compactions = 0;
    let directory = || Directory(tempfile::tempdir().unwrap());
    let count = |directory: &Directory| {
        let log = std::fs::read(log_of(directory.0.path())).unwrap();
        compactions += log[12] - 1;
    };
    compare_with_memory(6, 900, directory, count).await;
    println!("{compactions} compactions");
    assert!(
        compactions > 0,
        "the header counts what this is meant to test"
    );
}
