//! What goes over the wire: round trips and bytes, counted between the backend and the
//! server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::{Item, Memory, Settings};
use chunkpoint_sql::SqlBackend;
use chunkpoint_testkit::proxy::proxy;
use support::Place;

fn message(n: usize) -> Item {
    Item::text(format!("message {n} {}", "x".repeat(480)))
}

fn memory(backend: &Arc<SqlBackend>) -> Memory {
    let backend: Arc<dyn CheckpointBackend> = backend.clone();
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    Memory::builder(backend).settings(settings).build().unwrap()
}

async fn step_and_load(place: &Place, step_trips: u64, step_bytes: u64) {
    let mut config = place.config();
    let (through, counted) = proxy(&config.url).await;
    config.url = through;
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let writer = memory(&backend);
    let thread = writer.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", (0..5_000).map(message)).unwrap();
    let mut last = thread.commit(draft).await.unwrap();
    let mut step = async |n: usize| {
        let mut draft = last.draft().unwrap();
        draft.append("messages", [message(n)]).unwrap();
        last = thread.commit(draft).await.unwrap();
    };
    // Statements are prepared on the connection that all of this is on.
    for n in 0..3 {
        step(n).await;
    }
    counted.take();
    const STEPS: u64 = 100;
    for n in 0..STEPS {
        step(n as usize).await;
    }
    let [trips, sent, _] = counted.take();
    println!("{place:?}: {trips} round trips and {sent} bytes in {STEPS} steps");
    assert_eq!(trips, step_trips * STEPS);
    assert!(sent / STEPS <= step_bytes, "{} bytes a step", sent / STEPS);

    // Twice, as the first prepares.
    for _ in 0..2 {
        counted.take();
        let latest = memory(&backend)
            .thread("t")
            .unwrap()
            .latest()
            .await
            .unwrap()
            .unwrap();
        let tail = latest
            .list("messages")
            .await
            .unwrap()
            .tail(20)
            .await
            .unwrap();
        assert_eq!(tail.len(), 20);
    }
    let [trips, _, received] = counted.take();
    println!("{place:?}: {trips} round trips and {received} bytes to load the tail");
    assert!(trips <= 2, "{trips} round trips");
    assert!(received <= 64 << 10, "{received} bytes");
    place.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_on_postgres_is_one_round_trip() {
    if let Some(place) = Place::postgres() {
        step_and_load(&place, 1, 4096).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_through_pgbouncer_is_one_round_trip() {
    if let Some(place) = Place::pgbouncer() {
        // As text, each byte takes two.
        step_and_load(&place, 1, 8192).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_on_mysql_is_one_round_trip() {
    if let Some(place) = Place::mysql() {
        step_and_load(&place, 1, 4096).await;
    }
}
