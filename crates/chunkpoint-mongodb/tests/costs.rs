//! Round trips and bytes, counted on the wire between the backend and the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::{Item, Memory, Settings};
use chunkpoint_mongodb::{MongoBackend, MongoConfig};
use chunkpoint_testkit::proxy::{Counted, proxy};
use support::Place;

/// A memory through a counting proxy, which the driver's own looks at the server do not
/// disturb: the next comes after a minute.
async fn counted(place: &Place) -> (Memory, Arc<Counted>) {
    let (url, wire) = proxy(&place.url).await;
    let config = MongoConfig {
        url: format!(
            "{url}/?directConnection=true&heartbeatFrequencyMS=60000&serverMonitoringMode=poll"
        ),
        ..place.config()
    };
    let backend = Arc::new(MongoBackend::from_config(config).await.unwrap());
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    let memory = Memory::builder(backend).settings(settings).build().unwrap();
    (memory, wire)
}

/// A message of 500 bytes: words in an order that does not come again.
fn message(n: usize) -> Item {
    let mut state = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = String::with_capacity(512);
    while text.len() < 500 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS[(state >> 40) as usize % WORDS.len()]);
        text.push(' ');
    }
    text.truncate(500);
    Item::text(text)
}

const WORDS: [&str; 16] = [
    "parcel",
    "where",
    "is",
    "the",
    "Rotterdam",
    "since",
    "Tuesday",
    "order",
    "number",
    "please",
    "refund",
    "address",
    "changed",
    "delivery",
    "thanks",
    "tomorrow",
];

/// Some runs, of which the driver's own looks at the server disturb few.
const RUNS: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_and_the_tail_of_a_long_thread_cost_little() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let (memory, wire) = counted(&place).await;
    let thread = memory.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", (0..5_000).map(message)).unwrap();
    let mut snapshot = thread.commit(draft).await.unwrap();
    let (mut least, mut sent) = (u64::MAX, 0);
    for n in 0..RUNS {
        let mut draft = snapshot.draft().unwrap();
        let next = message(10_000 + n as usize);
        draft.append("messages", [next]).unwrap();
        wire.take();
        snapshot = thread.commit(draft).await.unwrap();
        let [trips, bytes, _] = wire.take();
        least = least.min(trips);
        sent += bytes;
    }
    println!(
        "append 500 bytes to 5,000 messages: {least} round trips, {} bytes sent",
        sent / RUNS
    );
    assert_eq!(least, 2, "an insert and one look");
    assert!(sent / RUNS <= 4 << 10, "{} bytes", sent / RUNS);
    memory.close().await.unwrap();

    // By clients that have nothing in their caches.
    let mut least = [u64::MAX; 3];
    for _ in 0..5 {
        let (cold, wire) = counted(&place).await;
        let thread = cold.thread("t").unwrap();
        wire.take();
        let latest = thread.latest().await.unwrap().unwrap();
        let messages = latest.list("messages").await.unwrap();
        let tail = messages.tail(20).await.unwrap();
        assert_eq!(tail.len(), 20);
        least = least.min(wire.take());
        cold.close().await.unwrap();
    }
    let [trips, _, received] = least;
    println!("open it and read the last 20: {trips} round trips, {received} bytes received");
    assert!(trips <= 2, "{trips}");
    assert!(
        (4_000..=64 << 10).contains(&received),
        "{received} bytes for 20 messages"
    );
    place.database().await.drop().await.unwrap();
}
