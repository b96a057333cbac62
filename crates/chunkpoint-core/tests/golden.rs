//! Files of format 1 that every later version has to read, and, uncompressed,
//! to write just so. `CHUNKPOINT_BLESS=1` writes files for a new version;
//! those that exist are never written again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chunkpoint_core::backend::{
    Base, CheckpointBackend, ChunkName, Commit, Detail, Incarnation, ListRecords, PackId,
    RecordIndex, RecordKey,
};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::{Checkpoint, Compression, Config, Item, Memory, Value, Version};
use futures::TryStreamExt;
use serde_json::{Value as Json, json};
use support::*;

fn text(n: u64) -> Item {
    Item::text(format!(
        "message {n}: {}",
        "all work and no play ".repeat(1 + n as usize % 9)
    ))
}

fn large(n: u64) -> Item {
    let bytes: Vec<u8> = (0..6000)
        .flat_map(|i: u64| (i * i * (n + 1)).to_le_bytes())
        .collect();
    Item::new("application/x-numbers", bytes)
}

fn step_1() -> Json {
    json!({"source": "loop", "step": 1})
}

/// One of everything, in four checkpoints.
async fn write(memory: &Memory) {
    let thread = memory.thread("golden").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", (0..400).map(text)).unwrap();
    draft.set("blob", large(0)).unwrap();
    draft
        .set("short", Item::json(&json!({"a": 1})).unwrap())
        .unwrap();
    let map: BTreeMap<String, Item> = (0..90).map(|n| (format!("key {n:03}"), text(n))).collect();
    draft.set("map", map).unwrap();
    draft.set("empty", Value::List(vec![])).unwrap();
    draft.metadata(step_1().as_object().unwrap().clone());
    let first = thread.commit(draft).await.unwrap();
    let mut draft = first.draft().unwrap();
    draft.append("messages", (400..403).map(text)).unwrap();
    let second = thread.commit(draft).await.unwrap();
    let mut draft = second.draft().unwrap();
    draft
        .splice("messages", 100..120, [large(1), text(1)])
        .unwrap();
    draft.remove("short").unwrap();
    let third = thread.commit(draft).await.unwrap();
    let version = |n| Version::Text(format!("{n:032}.0.5").into());
    let checkpoint = Checkpoint {
        v: 4,
        id: "ffffffff-0000-7000-8000-000000000000".into(),
        ts: "2026-01-01T00:00:00Z".into(),
        channel_values: [(
            "messages".to_owned(),
            Value::List((0..9).map(text).collect()),
        )]
        .into(),
        channel_versions: [
            ("messages".to_owned(), version(3)),
            ("gone".to_owned(), Version::Int(-4)),
            ("half".to_owned(), Version::Float(0.5)),
        ]
        .into(),
        versions_seen: [(
            "agent".to_owned(),
            [("messages".to_owned(), version(2))].into(),
        )]
        .into(),
        updated_channels: Some(vec!["messages".into()]),
    };
    let new = checkpoint.channel_versions.clone();
    let config = Config::new("golden").with_id(third.id());
    memory
        .saver()
        .put(&config, checkpoint, Default::default(), &new)
        .await
        .unwrap();
}

async fn check(memory: &Memory) {
    let thread = memory.thread("golden").unwrap();
    let states: Vec<_> = thread
        .history(Default::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(states.len(), 4);
    let mut messages: Vec<Item> = (0..403).map(text).collect();
    let list = |value: &Value| match value {
        Value::List(items) => items.clone(),
        _ => panic!("no list"),
    };
    let first = states[3].load().await.unwrap();
    assert_eq!(list(&first["messages"]), messages[..400]);
    assert_eq!(first["blob"], Value::Item(large(0)));
    assert_eq!(
        first["short"],
        Value::Item(Item::json(&json!({"a": 1})).unwrap())
    );
    assert_eq!(first["empty"], Value::List(vec![]));
    let map = states[3].map("map").await.unwrap();
    assert_eq!(map.len(), 90);
    assert_eq!(map.get("key 042").await.unwrap(), Some(text(42)));
    assert_eq!(Json::Object(states[3].metadata().await.unwrap()), step_1());
    assert_eq!(list(&states[2].load().await.unwrap()["messages"]), messages);
    messages.splice(100..120, [large(1), text(1)]);
    let third = states[1].load().await.unwrap();
    assert_eq!(list(&third["messages"]), messages);
    assert!(!third.contains_key("short"));
    let tuple = memory
        .saver()
        .get_tuple(&Config::new("golden"))
        .await
        .unwrap()
        .unwrap();
    let checkpoint = tuple.checkpoint().await.unwrap();
    assert_eq!((checkpoint.v, &*checkpoint.ts), (4, "2026-01-01T00:00:00Z"));
    assert_eq!(checkpoint.channel_versions["half"], Version::Float(0.5));
    assert_eq!(checkpoint.channel_versions["gone"], Version::Int(-4));
    assert_eq!(checkpoint.channel_values.len(), 1);
    assert_eq!(
        checkpoint.updated_channels,
        Some(vec!["messages".to_owned()])
    );
    assert_eq!(checkpoint.versions_seen["agent"].len(), 1);
}

async fn dump(backend: &MemoryBackend) -> Json {
    let query = ListRecords {
        thread: "golden".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Bodies,
    };
    let mut rows: Vec<_> = backend
        .list(query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    rows.reverse();
    let mut commits = Vec::new();
    for row in rows {
        let mut chunks = Vec::new();
        for ordinal in 0.. {
            let name = ChunkName {
                pack: row.record.pack,
                ordinal,
                locator: 0,
                len: 0,
            };
            let found = backend
                .chunks("golden", row.incarnation, &[name])
                .await
                .unwrap();
            let Some(chunk) = &found[0] else { break };
            chunks.push(hex(chunk));
        }
        commits.push(json!({
            "id": &*row.record.key.id,
            "pack": hex(&row.record.pack.0),
            "body": hex(&row.body),
            "chunks": chunks,
        }));
    }
    json!({"format": 1, "commits": commits})
}

async fn restore(golden: &Json) -> MemoryBackend {
    let backend = MemoryBackend::new();
    for commit in golden["commits"].as_array().unwrap() {
        let commit = Commit {
            thread: "golden".into(),
            key: RecordKey {
                namespace: "".into(),
                id: commit["id"].as_str().unwrap().into(),
            },
            pack: PackId(unhex(&commit["pack"])[..].try_into().unwrap()),
            base: Base::Root {
                fresh: Incarnation([1; 8]),
            },
            expect_latest: None,
            index: RecordIndex::default(),
            body: unhex(&commit["body"]),
            chunks: commit["chunks"]
                .as_array()
                .unwrap()
                .iter()
                .map(unhex)
                .collect(),
            metadata: Arc::default(),
        };
        backend.commit(commit).await.unwrap();
    }
    backend
}

async fn golden(compression: Compression, name: &str) {
    let backend = Arc::new(MemoryBackend::new());
    let memory = fixed_memory(backend.clone(), compression);
    write(&memory).await;
    check(&memory).await;
    let now = dump(&backend).await;
    let kept = kept(name, &now);
    check(&Memory::new(restore(&kept).await).unwrap()).await;
    check_format(compression, &now, &kept);
}

#[tokio::test]
async fn format_1_raw() {
    golden(Compression::None, "v1-none.json").await;
}

#[tokio::test]
async fn format_1_lz4() {
    golden(Compression::Lz4, "v1-lz4.json").await;
}

#[tokio::test]
async fn format_1_zstd() {
    golden(Compression::Zstd, "v1-zstd.json").await;
}
