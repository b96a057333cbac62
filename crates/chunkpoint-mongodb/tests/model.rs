//! Random operations on MongoDB and in memory have the same results.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_testkit::backend_suite::random::compare_with_memory;
use support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_does_what_memory_does() {
    if Place::mongodb().is_some() {
        compare_with_memory(4, 400, || Place::mongodb().unwrap(), |_| {}).await;
    }
}
