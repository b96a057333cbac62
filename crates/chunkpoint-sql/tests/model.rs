//! Random operations on each database and in memory have the same results.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_testkit::backend_suite::random::compare_with_memory;
use support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_does_what_memory_does() {
    compare_with_memory(4, 700, Place::sqlite, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_what_memory_does() {
    if Place::postgres().is_some() {
        compare_with_memory(4, 700, || Place::postgres().unwrap(), |_| {}).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_does_what_memory_does() {
    if Place::mysql().is_some() {
        compare_with_memory(4, 700, || Place::mysql().unwrap(), |_| {}).await;
    }
}
