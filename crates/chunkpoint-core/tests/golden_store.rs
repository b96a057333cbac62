//! Bodies and pages of the long-term store, format 1: every later version has to read
//! them, and, uncompressed, to write them just so. See `golden.rs` for how files are made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::{ChunkName, PackId};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::store::{Store, item_key};
use chunkpoint_core::store_backend::{
    Changed, Expect, ItemChange, ItemRow, PutItem, ScanItems, StoreBackend,
};
use chunkpoint_core::{Compression, Memory};
use futures::TryStreamExt;
use serde_json::{Value as Json, json};
use support::*;

const NAMESPACE: [&str; 2] = ["users", "ada"];

/// Members of several KiB, with the characters that paths escape, and objects in them.
fn large() -> Json {
    let text = |n: usize| format!("note {n}: {}", "all work and no play ".repeat(20 + n % 30));
    let notes: serde_json::Map<String, Json> = (0..60)
        .map(|n| (format!("n{n:02}"), text(n).into()))
        .collect();
    json!({
        "notes": notes,
        "empty": {},
        "deep": {"a": {"b": [1, 2.5, null, true, "ü"]}},
        "odd \u{0} and \u{1} names": {"\u{1}\u{0}": "kept apart", "": "no name"},
        "number": -7,
    })
}

fn patch() -> Json {
    json!({
        "notes": {"n07": "replaced", "n31": null},
        "deep": {"a": {"c": {"d": false}}},
        "number": 8,
    })
}

fn patched() -> Json {
    let mut value = large();
    let notes = value["notes"].as_object_mut().unwrap();
    notes.insert("n07".into(), "replaced".into());
    notes.remove("n31");
    value["deep"]["a"]["c"] = json!({"d": false});
    value["number"] = json!(8);
    value
}

/// A large value, one that was patched, and a short one.
fn expected() -> [(&'static str, Json); 3] {
    [
        ("large", large()),
        ("patched", patched()),
        (
            "short",
            json!({"city": "Köln", "age": 36, "tags": ["a", "b"]}),
        ),
    ]
}

async fn write(store: &Store) {
    for (key, value) in expected() {
        let first = if key == "patched" { large() } else { value };
        store.put(&NAMESPACE, key, first).await.unwrap();
    }
    store.patch(&NAMESPACE, "patched", patch()).await.unwrap();
}

async fn check(store: &Store) {
    for (key, value) in expected() {
        let item = store.get(&NAMESPACE, key).await.unwrap().unwrap();
        assert!(Json::Object(item.value) == value, "{key}");
    }
    // What is there can be patched on.
    let patch = json!({"notes": {"n59": "the last"}});
    store.patch(&NAMESPACE, "patched", patch).await.unwrap();
    let item = store.get(&NAMESPACE, "patched").await.unwrap().unwrap();
    assert_eq!(item.value["notes"]["n59"], "the last");
    assert_eq!(item.value["notes"]["n07"], "replaced");
}

async fn dump(backend: &MemoryBackend) -> Json {
    let rows: Vec<ItemRow> = backend
        .scan(ScanItems::default())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let mut items = Vec::new();
    for row in rows {
        let mut packs = Vec::new();
        for pack in &row.packs {
            let mut chunks = Vec::new();
            for ordinal in 0.. {
                let name = ChunkName {
                    pack: *pack,
                    ordinal,
                    locator: 0,
                    len: 0,
                };
                let found = backend.item_chunks(&row.key, &[name]).await.unwrap();
                let Some(chunk) = &found[0] else { break };
                chunks.push(hex(chunk));
            }
            packs.push(json!({"id": hex(&pack.0), "chunks": chunks}));
        }
        items.push(json!({"key": &*row.key.key, "body": hex(&row.body), "packs": packs}));
    }
    json!({"format": 1, "items": items})
}

/// Each pack is the pack of a put of its own: rows list packs of puts before them.
async fn restore(golden: &Json) -> MemoryBackend {
    let backend = MemoryBackend::new();
    for item in golden["items"].as_array().unwrap() {
        let key = item_key(&NAMESPACE, item["key"].as_str().unwrap()).unwrap();
        let packs = item["packs"].as_array().unwrap();
        let ids: Vec<_> = packs
            .iter()
            .map(|pack| PackId(unhex(&pack["id"])[..].try_into().unwrap()))
            .collect();
        // A value in its body has no pack, and is put by an id of its own.
        for at in 0..packs.len().max(1) {
            let chunks = packs.get(at).and_then(|pack| pack["chunks"].as_array());
            let row = ItemRow {
                key: key.clone(),
                version: ids.get(at).copied().unwrap_or(PackId([1; 8])),
                created_ms: 1,
                updated_ms: 1,
                ttl_ms: None,
                expires_ms: None,
                packs: ids.iter().take(at + 1).copied().collect(),
                body: unhex(&item["body"]),
            };
            let put = PutItem {
                row,
                expect: Expect::Any,
                chunks: chunks.into_iter().flatten().map(unhex).collect(),
                value: None,
            };
            let done = backend
                .change_items(vec![ItemChange::Put(Box::new(put))])
                .await;
            assert!(matches!(done.unwrap()[..], [Ok(Changed::Done { .. })]));
        }
    }
    backend
}

async fn golden(compression: Compression, name: &str) {
    let backend = Arc::new(MemoryBackend::new());
    let store = fixed_memory(backend.clone(), compression).store().unwrap();
    write(&store).await;
    let now = dump(&backend).await;
    check(&store).await;
    let kept = kept(name, &now);
    let store = Memory::new(restore(&kept).await).unwrap().store().unwrap();
    check(&store).await;
    check_format(compression, &now, &kept);
}

#[tokio::test]
async fn bodies_and_pages_raw() {
    golden(Compression::None, "store-v1-none.json").await;
}

#[tokio::test]
async fn bodies_and_pages_lz4() {
    golden(Compression::Lz4, "store-v1-lz4.json").await;
}

#[tokio::test]
async fn bodies_and_pages_zstd() {
    golden(Compression::Zstd, "store-v1-zstd.json").await;
}
