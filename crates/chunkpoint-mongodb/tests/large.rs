//! States and items that no document of the server has room for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Instant;

use chunkpoint_core::{Item, Memory, Settings};
use mongodb::bson::{Document, doc};
use support::Place;

/// Text that neither compresses nor repeats.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b' ' + (state >> 33) as u8 % 90));
    }
    text
}

async fn open(place: &Place) -> Memory {
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    let backend = Arc::new(place.backend().await);
    Memory::builder(backend).settings(settings).build().unwrap()
}

/// A state of 100 MB, a tenth of it in each step, and an item of 40 MB, in a thread and in the
/// store, read by another client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_100_mb_and_an_item_of_40_mb() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let memory = open(&place).await;
    let thread = memory.thread("large").unwrap();
    let since = Instant::now();
    let texts: Vec<String> = (0..10).map(|n| noise(n, 10 << 20)).collect();
    for text in &texts {
        let mut draft = thread.draft().await.unwrap();
        draft
            .append("messages", [Item::text(text.clone())])
            .unwrap();
        thread.commit(draft).await.unwrap();
    }
    println!("100 MB in ten commits: {:?}", since.elapsed());
    let item = noise(99, 40 << 20);
    let mut draft = thread.draft().await.unwrap();
    draft.set("item", Item::text(item.clone())).unwrap();
    thread.commit(draft).await.unwrap();
    let store = memory.store().unwrap();
    let value = serde_json::json!({ "text": item });
    store.put(&["large"], "item", value).await.unwrap();
    memory.close().await.unwrap();

    let memory = open(&place).await;
    let latest = memory.thread("large").unwrap().latest().await.unwrap();
    let latest = latest.unwrap();
    let since = Instant::now();
    let messages = latest.list("messages").await.unwrap();
    for (n, text) in texts.iter().enumerate() {
        let found = messages.get(n as u64).await.unwrap().unwrap();
        assert!(found.as_text().unwrap() == text, "message {n} differs");
    }
    println!("100 MB read: {:?}", since.elapsed());
    let value = latest.value("item").await.unwrap().unwrap();
    let chunkpoint_core::Value::Item(found) = value else {
        panic!("an item comes back as one");
    };
    assert!(found.as_text().unwrap() == item, "the item differs");
    let found = memory.store().unwrap().get(&["large"], "item").await;
    let found = found.unwrap().unwrap();
    assert!(found.value["text"] == *item, "the store's item differs");
    let records = place
        .database()
        .await
        .collection::<Document>("chunkpoint.checkpoints");
    let sizes = vec![doc! { "$project": { "bytes": { "$bsonSize": "$$ROOT" } } }];
    if let Ok(mut sizes) = records.aggregate(sizes).await {
        while sizes.advance().await.unwrap() {
            let size = sizes.current().get_i32("bytes").unwrap();
            assert!(size < 2 << 20, "a record has {size} bytes");
        }
    }
    memory.close().await.unwrap();
    place.database().await.drop().await.unwrap();
}

/// 10,000 checkpoints of one thread: the last is found and read as fast as the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_checkpoints_in_a_thread() {
    const STEPS: usize = 10_000;
    let Some(place) = Place::mongodb() else {
        return;
    };
    let memory = open(&place).await;
    let thread = memory.thread("long").unwrap();
    let since = Instant::now();
    let mut took = Vec::with_capacity(STEPS);
    let mut draft = thread.draft().await.unwrap();
    for step in 0..STEPS {
        let text = format!("message {step}");
        draft.append("messages", [Item::text(text)]).unwrap();
        let start = Instant::now();
        let snapshot = thread.commit(draft).await.unwrap();
        took.push(start.elapsed());
        draft = snapshot.draft().unwrap();
    }
    let p50 = |part: &[std::time::Duration]| {
        let mut part = part.to_vec();
        part.sort();
        part[part.len() / 2]
    };
    println!(
        "{STEPS} commits in {:?}; p50 of the first and last 500: {:?}, {:?}",
        since.elapsed(),
        p50(&took[..500]),
        p50(&took[STEPS - 500..]),
    );
    memory.close().await.unwrap();
    let memory = open(&place).await;
    let thread = memory.thread("long").unwrap();
    let since = Instant::now();
    let latest = thread.latest().await.unwrap().unwrap();
    let messages = latest.list("messages").await.unwrap();
    assert_eq!(messages.len(), STEPS as u64);
    let last = messages.tail(1).await.unwrap();
    assert_eq!(last[0].as_text().unwrap(), format!("message {}", STEPS - 1));
    println!("opened and read the tail in {:?}", since.elapsed());
    memory.close().await.unwrap();
    place.database().await.drop().await.unwrap();
}
