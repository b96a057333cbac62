//! A server that is killed, connections that are cut: nothing acknowledged is lost, nothing
//! is there by half.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_mongodb::{MongoBackend, MongoConfig};
use chunkpoint_testkit::faults::{through, until};
use chunkpoint_testkit::proxy::proxy;
use chunkpoint_testkit::services::{MongoDb, Safety};
use support::Place;

async fn open(config: MongoConfig) -> Arc<dyn CheckpointBackend> {
    Arc::new(MongoBackend::from_config(config).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing() {
    if Place::mongodb().is_none() {
        return;
    }
    // One of the test's own: which can be killed wherever the others are.
    let Ok(mut server) = MongoDb::start(Safety::Durable) else {
        return;
    };
    // Without the driver's own repetition, which would hide what goes wrong.
    let url = format!("{}/?retryWrites=false&retryReads=false", server.url());
    let backend = open(MongoConfig {
        durability: Durability::Disk,
        ..MongoConfig::new(url)
    });
    through(backend.await, async |done| {
        until(done, 60).await;
        server.kill();
        server.restart().unwrap();
        until(done, 120).await;
        server.kill();
        server.restart().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let (url, wire) = proxy(&place.url).await;
    let backend = open(MongoConfig {
        // Else the driver goes to where the server says that it is; and repeats by itself what
        // was cut, so that nothing goes wrong.
        url: format!("{url}/?directConnection=true&retryWrites=false&retryReads=false"),
        ..place.config()
    });
    through(backend.await, async |done| {
        for n in 1..9 {
            until(done, 20 * n).await;
            // The server has done what its client is not told any more.
            wire.cut(2);
        }
    })
    .await;
    place.database().await.drop().await.unwrap();
}
