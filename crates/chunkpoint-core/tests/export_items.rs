//! Importing items: many in one call, with the errors and the order of one by one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::export::{Count, Scope};
use chunkpoint_core::layers::{Fault, Faults, Layered, Method, Metrics, Rule};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::{ErrorKind, Memory, Result};
use serde_json::json;

fn file(items: &[String]) -> String {
    let mut text = String::from("{\"chunkpoint\":\"export\",\"version\":1}\n");
    items.iter().for_each(|item| text += item);
    let end =
        json!({"end": true, "lines": items.len() + 1, "checkpoints": 0, "items": items.len()});
    text + &end.to_string() + "\n"
}

fn item(key: impl ToString, value: serde_json::Value) -> String {
    let key = key.to_string();
    let line = json!({"item": key, "namespace": ["n"], "created_ms": 1, "updated_ms": 2,
        "value": value});
    line.to_string() + "\n"
}

async fn import(
    memory: &Memory,
    text: &str,
    told: impl FnMut(&Count) + Send + 'static,
) -> Result<Count> {
    let pieces = futures::stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]);
    memory.import(pieces, Scope::all(), told).await
}

async fn value(memory: &Memory, key: &str) -> Option<serde_json::Value> {
    let item = memory.store().unwrap().get(&["n"], key).await.unwrap();
    item.map(|item| item.value.into())
}

/// A memory, and what counts its calls.
fn counted() -> (Memory, Metrics) {
    let metrics = Metrics::new();
    let inner: Arc<dyn CheckpointBackend> = Arc::new(MemoryBackend::new());
    let memory = Memory::new(Layered::new(inner, metrics.clone())).unwrap();
    (memory, metrics)
}

#[tokio::test]
async fn many_items_are_few_calls_and_large_ones_are_bounded() {
    let long = "x".repeat(300_000);
    for (items, calls) in [
        (
            (0..1200)
                .map(|n| item(n, json!({"n": n})))
                .collect::<Vec<_>>(),
            3,
        ),
        // Three of them have less than a mebibyte.
        (
            (0..7)
                .map(|n| item(n, json!({"n": n, "long": long})))
                .collect(),
            3,
        ),
    ] {
        let (memory, metrics) = counted();
        let text = file(&items);
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = told.clone();
        let count = import(&memory, &text, move |count| {
            note.lock().unwrap().push(count.items)
        });
        assert_eq!(count.await.unwrap().items, items.len() as u64);
        assert_eq!(metrics.snapshot().method(Method::Items).calls, calls);
        assert_eq!(metrics.snapshot().method(Method::ChangeItems).calls, calls);
        for n in 0..items.len() {
            let value = value(&memory, &n.to_string()).await.unwrap();
            assert_eq!(value["n"], n);
        }
        // What is counted is stored, and what is stored is counted soon.
        let told = told.lock().unwrap().clone();
        assert!(told.is_sorted() && told[0] == 0, "{told:?}");
        // Again: all is there, and nothing is written.
        let again = import(&memory, &text, |_| {}).await.unwrap();
        assert_eq!(again.present, items.len() as u64);
        assert_eq!(metrics.snapshot().method(Method::ChangeItems).calls, calls);
    }
}

#[tokio::test]
async fn what_comes_before_an_error_stays_and_the_error_names_line_and_item() {
    for (bad, kind, parts) in [
        (
            item("there", json!({"n": 0})),
            ErrorKind::Conflict,
            ["line 4", "\"there\""],
        ),
        (
            item("", json!({})),
            ErrorKind::InvalidInput,
            ["line 4", "key"],
        ),
        (
            "{\"item\":\"x\"}\n".into(),
            ErrorKind::InvalidInput,
            ["line 4", "item"],
        ),
        (
            "nonsense\n".into(),
            ErrorKind::InvalidInput,
            ["line 4", "JSON"],
        ),
        // The same item twice in one file, and not the same.
        (
            item("a", json!({"n": 2})),
            ErrorKind::Conflict,
            ["line 4", "\"a\""],
        ),
    ] {
        let (memory, _) = counted();
        let store = memory.store().unwrap();
        store.put(&["n"], "there", json!({"n": 1})).await.unwrap();
        let items = [
            item("a", json!({"n": 1})),
            item("b", json!({})),
            bad,
            item("c", json!({})),
        ];
        let error = import(&memory, &file(&items), |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{error}\nhas no {part}");
        }
        assert_eq!(value(&memory, "a").await, Some(json!({"n": 1})));
        assert_eq!(value(&memory, "b").await, Some(json!({})));
        assert_eq!(value(&memory, "there").await, Some(json!({"n": 1})));
        assert_eq!(value(&memory, "c").await, None);
    }
}

#[tokio::test]
async fn the_same_item_twice_is_taken_once() {
    let (memory, _) = counted();
    let twice = [item("a", json!({"n": 1})), item("a", json!({"n": 1}))];
    let count = import(&memory, &file(&twice), |_| {}).await.unwrap();
    assert_eq!((count.items, count.present), (2, 1));
}

#[tokio::test]
async fn a_call_that_fails_names_its_lines_and_counts_nothing() {
    let rule = Rule::new(Fault::Before(ErrorKind::Unavailable)).on(&[Method::ChangeItems]);
    let inner: Arc<dyn CheckpointBackend> = Arc::new(MemoryBackend::new());
    let broken = Layered::new(inner, Faults::new(1).rule(rule.first(1)));
    let memory = Memory::new(broken).unwrap();
    let items: Vec<String> = (0..10).map(|n| item(n, json!({"n": n}))).collect();
    let last = Arc::new(Mutex::new(0));
    let note = last.clone();
    let told = move |count: &Count| *note.lock().unwrap() = count.items;
    let error = import(&memory, &file(&items), told).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("lines 2 to 11"), "{error}");
    assert_eq!(*last.lock().unwrap(), 0);
    let count = import(&memory, &file(&items), |_| {}).await.unwrap();
    assert_eq!((count.items, count.present), (10, 0));
}
