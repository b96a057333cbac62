//! A server that is still loading its data says so, and can be tried again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_core::{Error, ErrorKind};
use chunkpoint_redis::{RedisBackend, RedisConfig};
use chunkpoint_testkit::faults::commit;
use chunkpoint_testkit::services::{Redis, Safety};
use support::Place;

/// Keys that slow loading down, and by how many microseconds each.
const KEYS: &str = "1000";
const DELAY: &str = "10000";

fn is_loading(error: &Error) -> bool {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable(), "{error}");
    let loading = error.message().contains("is loading its data");
    // Before that, the connection to the server that was killed is found to be lost.
    assert!(
        loading || error.message().contains("connection") || error.message().contains("reached"),
        "{error}"
    );
    assert!(!loading || error.is_certainly_not_applied(), "{error}");
    loading
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_loading_can_be_tried_again() {
    if Place::redis().is_none() {
        return;
    }
    let options = [
        "--enable-debug-command",
        "yes",
        "--dbfilename",
        "dump.rdb",
        "--key-load-delay",
        DELAY,
        // So that it answers between two keys.
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let dir = std::env::temp_dir();
    let mut server = Redis::start_with(Safety::Throwaway, &dir, &options).unwrap();
    let config = RedisConfig {
        durability: Durability::Buffered,
        ..RedisConfig::new(server.url())
    };
    let backend = RedisBackend::from_config(config.clone()).await.unwrap();
    let first = commit(0, 0, None);
    let committed = backend.commit(first.clone()).await.unwrap();
    server
        .command(&["debug", "populate", KEYS, "other", "500"])
        .unwrap();
    server.command(&["save"]).unwrap();
    server.kill();
    server.restart().unwrap();

    let error = RedisBackend::from_config(config.clone()).await.unwrap_err();
    assert!(is_loading(&error), "{error}");
    let next = commit(0, 1, Some((&first, committed)));
    let mut told = false;
    let mut tries = 0;
    loop {
        match backend.commit(next.clone()).await {
            Ok(_) => break,
            Err(error) => told |= is_loading(&error),
        }
        assert!(tries < 1_200, "it is never done");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told, "it was never loading");
    RedisBackend::from_config(config).await.unwrap();
}
