//! Random operations on Redis and in memory have the same results.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_testkit::backend_suite::random::compare_with_memory;
use support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_does_what_memory_does() {
    if Place::redis().is_some() {
        compare_with_memory(4, 700, || Place::redis().unwrap(), |_| {}).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_does_what_memory_does() {
    if Place::cluster().is_some() {
        compare_with_memory(2, 700, || Place::cluster().unwrap(), |_| {}).await;
    }
}
