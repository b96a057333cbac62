//! The export's lines: a golden file that every later version has to read, and files that
//! are none, cut or changed. `CHUNKPOINT_BLESS=1` writes the golden file of a new version;
//! one that exists is never written again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunkpoint_core::export::{Count, Scope};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::store::{Put, Ttl};
use chunkpoint_core::{
    Checkpoint, Clock, Config, DELTA_SNAPSHOT_TAG, Error, ErrorKind, Item, ListQuery, Memory,
    PruneStrategy, Result, Settings, Value, Version,
};
use futures::TryStreamExt;
use serde_json::json;

/// A clock that goes on by a second at each look.
#[derive(Debug, Default)]
struct Steps(AtomicU64);

impl Clock for Steps {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + 1000 * self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn memory() -> Memory {
    Memory::builder(Arc::new(MemoryBackend::new()))
        .settings(Settings {
            background: false,
            ..Settings::default()
        })
        .clock(Arc::new(Steps::default()))
        .build()
        .unwrap()
}

async fn exported(memory: &Memory) -> String {
    let lines = memory.export(Scope::all(), |_| {});
    let lines: Vec<Bytes> = lines.try_collect().await.unwrap();
    String::from_utf8(lines.concat()).unwrap()
}

async fn import(memory: &Memory, text: &str) -> Result<Count> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let pieces = futures::stream::iter([Ok(bytes)]);
    memory.import(pieces, Scope::all(), |_| {}).await
}

/// One of everything.
async fn write(memory: &Memory) {
    let thread = memory.thread("support-4711").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.set_id("01").unwrap();
    draft
        .append(
            "messages",
            [
                Item::json(&json!({"role": "user", "content": "Where is my parcel?"})).unwrap(),
                Item::text("plain text, \"quoted\", ü"),
            ],
        )
        .unwrap();
    let files = BTreeMap::from([
        ("a.txt".to_owned(), Item::text("one")),
        ("b.bin".to_owned(), Item::new("bytes", vec![0, 255, 7])),
    ]);
    draft.set("files", files).unwrap();
    draft.set("customer", Item::text("Ada")).unwrap();
    draft.metadata(json!({"step": 1, "cost": 0.1}).as_object().unwrap().clone());
    let first = thread.commit(draft).await.unwrap();
    let mut draft = first.draft().unwrap();
    draft.set_id("02").unwrap();
    draft
        .append("messages", [Item::json(&json!(null)).unwrap()])
        .unwrap();
    draft.remove("customer").unwrap();
    thread.commit(draft).await.unwrap();
    let mut draft = thread.fork("01").await.unwrap();
    draft.set_id("03").unwrap();
    draft
        .splice(
            "messages",
            0..1,
            [Item::text("shorter"), Item::text("newer")],
        )
        .unwrap();
    let files = BTreeMap::from([
        ("b.bin".to_owned(), Item::new("bytes", vec![0, 255, 7])),
        ("c.txt".to_owned(), Item::text("three")),
    ]);
    draft.set("files", files).unwrap();
    thread.commit(draft).await.unwrap();
    thread.pin("03").await.unwrap();

    let saver = memory.saver();
    let mut config = Config::new("graph").with_ns("sub");
    for step in 1..4 {
        let channels = BTreeMap::from([
            (
                "count".to_owned(),
                Value::Item(Item::new("msgpack", vec![step])),
            ),
            (
                "messages".to_owned(),
                Value::List(vec![Item::text("x"); step.into()]),
            ),
        ]);
        let mut versions: BTreeMap<String, Version> = channels
            .keys()
            .map(|name| (name.clone(), Version::Text(format!("{step:03}").into())))
            .collect();
        versions.insert("empty".into(), Version::Int(step.into()));
        let mut values = channels;
        if step == 1 {
            let seed = Item::new(DELTA_SNAPSHOT_TAG, vec![1, 2, 3]);
            values.insert("log".into(), Value::Item(seed));
            versions.insert("log".into(), Version::Float(1.5));
        }
        let checkpoint = Checkpoint {
            v: 4,
            id: format!("1f-{step}"),
            ts: "2026-01-02T03:04:05+00:00".into(),
            channel_values: values,
            channel_versions: versions.clone(),
            versions_seen: BTreeMap::from([("node".to_owned(), versions.clone())]),
            updated_channels: Some(vec!["messages".into()]),
        };
        let metadata = json!({"counters_since_delta_snapshot": {"log": step}, "run_id": "r"});
        let metadata = metadata.as_object().unwrap().clone();
        config = saver
            .put(&config, checkpoint, metadata, &versions)
            .await
            .unwrap();
        let writes = vec![
            ("log".to_owned(), Item::text(format!("write {step}"))),
            ("__error__".to_owned(), Item::text("failed")),
        ];
        saver
            .put_writes(&config, writes, "task", "~0")
            .await
            .unwrap();
    }
    saver
        .prune(&["graph"], PruneStrategy::KeepLatest)
        .await
        .unwrap();

    let store = memory.store().unwrap();
    store
        .put(
            &["users", "ada"],
            "profile",
            json!({"city": "London", "age": 36}),
        )
        .await
        .unwrap();
    let put = Put::new(&["users"], "session", json!({"token": null})).unwrap();
    store.put_with(put.ttl(Ttl::Minutes(1e6))).await.unwrap();
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/export-v1.jsonl")
}

#[tokio::test]
async fn version_1_is_read_and_written() {
    let from = memory();
    write(&from).await;
    let text = exported(&from).await;
    if std::env::var_os("CHUNKPOINT_BLESS").is_some() && !golden().exists() {
        std::fs::write(golden(), &text).unwrap();
    }
    let golden = std::fs::read_to_string(golden()).unwrap();
    assert_eq!(text, golden);
    let to = memory();
    let count = import(&to, &golden).await.unwrap();
    assert_eq!((count.checkpoints, count.items), (6, 2));
    assert_eq!(exported(&to).await, golden);
    assert!(
        from.compare(&to, &Scope::all(), |_| {})
            .await
            .unwrap()
            .is_equal()
    );
    let state = to
        .thread("support-4711")
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap();
    let messages = state.list("messages").await.unwrap().tail(9).await.unwrap();
    assert_eq!(messages[1], Item::text("newer"));
    assert_eq!(messages.len(), 3);
    assert!(state.is_pinned());
    let config = Config::new("graph").with_ns("sub");
    let history = to
        .saver()
        .get_delta_channel_history(&config, &["log"])
        .await
        .unwrap();
    assert_eq!(history["log"].writes.len(), 2);
    assert!(history["log"].seed.is_some());
}

const FIRST: &str = r#"{"chunkpoint":"export","version":1}"#;

fn file(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in std::iter::once(&FIRST).chain(lines) {
        text += line;
        text.push('\n');
    }
    text
}

/// Lines by hand: continued, in parts, withdrawn.
#[tokio::test]
async fn a_file_made_by_hand_is_read() {
    let text = file(&[
        r#"{"checkpoint":"1","thread":"t","time_ms":5,"channels":{"a":{"list":[{"text":"x"}]}},"more":true}"#,
        r#"{"continues":"1","channel":"a","items":[{"json":1.50}],"channels":{"b":{"map":[["k",{"text":"v"}]]}},"more":true}"#,
        r#"{"continues":"1","channel":"b","entries":[["l",{"tag":"","base64":"AP8="}]]}"#,
        r#"{"part":"{\"checkpoint\":\"2\",\"thread\":\"t\",\"time_ms\":6,"}"#,
        r#"{"part":"\"base\":\"1\",\"gone\":[\"b\"]}","last":true}"#,
        r#"{"checkpoint":"3","thread":"t","time_ms":7,"channels":{"c":{"list":[]}},"more":true}"#,
        r#"{"continues":"3","withdrawn":true}"#,
        r#"{"checkpoint":"4","thread":"t","time_ms":8,"base":"1","channels":{"a":{"version":{"bits":"7ff0000000000000"},"same":true},"b":{"entries":[["k"],[["a",{"text":"new"}],["l",{"text":"other"}]]]}}}"#,
        r#"{"item":"k","namespace":["n"],"created_ms":1,"updated_ms":2,"value":{}}"#,
        r#"{"item":"old","namespace":["n"],"created_ms":1,"updated_ms":2,"expires_ms":3,"value":{}}"#,
        r#"{"end":true,"lines":11,"checkpoints":3,"items":2}"#,
    ]);
    let to = memory();
    let count = import(&to, &text.replace('\n', "\r\n")).await.unwrap();
    assert_eq!((count.checkpoints, count.items, count.expired), (3, 1, 1));
    let listed = to.saver().list(ListQuery::default());
    let all: Vec<_> = listed.try_collect().await.unwrap();
    assert_eq!(all.len(), 3);
    let newest = all[0].checkpoint().await.unwrap();
    let map = [("a", Item::text("new")), ("l", Item::text("other"))];
    let map = map.map(|(key, item)| (key.to_owned(), item));
    assert_eq!(newest.channel_values["b"], Value::Map(BTreeMap::from(map)));
    assert_eq!(newest.channel_versions["a"], Version::Float(f64::INFINITY));
    let all = &all[1..];
    let values = all[1].snapshot.load().await.unwrap();
    let list = vec![Item::text("x"), Item::new("json", "1.50")];
    assert_eq!(values["a"], Value::List(list));
    let map = [("k", Item::text("v")), ("l", Item::new("", vec![0, 255]))];
    let map = map.map(|(key, item)| (key.to_owned(), item));
    assert_eq!(values["b"], Value::Map(BTreeMap::from(map)));
    assert_eq!(all[0].snapshot.channels().count(), 1);
    assert_eq!(all[0].snapshot.time_ms(), 6);
}

async fn refused(text: &str) -> (Error, u64) {
    let to = memory();
    let error = import(&to, text).await.unwrap_err();
    let listed = to.saver().list(ListQuery::default());
    let all: Vec<_> = listed.try_collect().await.unwrap();
    // What is there is whole.
    for tuple in &all {
        tuple.checkpoint().await.unwrap();
    }
    (error, all.len() as u64)
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_line() {
    const GOOD: &str =
        r#"{"checkpoint":"1","thread":"t","time_ms":5,"channels":{"a":{"list":[{"text":"x"}]}}}"#;
    let with = |fields: &str| {
        format!(r#"{{"checkpoint":"2","thread":"t","time_ms":6,"base":"1",{fields}}}"#)
    };
    let cases: Vec<(String, ErrorKind, &[&str])> = vec![
        (String::new(), ErrorKind::InvalidInput, &["empty"]),
        (
            "{}\n".into(),
            ErrorKind::InvalidInput,
            &["line 1", "first line"],
        ),
        (
            "PK\u{3}\u{4}\n".into(),
            ErrorKind::InvalidInput,
            &["line 1", "another file"],
        ),
        (
            "{\"chunkpoint\":\"export\",\"version\":2,\"new\":[]}\n".into(),
            ErrorKind::Unsupported,
            &["line 1", "version 2", "later"],
        ),
        (
            file(&[GOOD]),
            ErrorKind::Corrupt,
            &["cut", "import it again"],
        ),
        (
            file(&[GOOD, "{\"end\":tr"]).trim_end().into(),
            ErrorKind::Corrupt,
            &["line 3", "cut"],
        ),
        (
            file(&[GOOD, "[1]"]),
            ErrorKind::InvalidInput,
            &["line 3", "JSON object"],
        ),
        (
            file(&[GOOD, "{\"x\":1}"]),
            ErrorKind::InvalidInput,
            &["line 3", "none of the fields"],
        ),
        (
            file(&[GOOD, &with("\"colour\":1")]),
            ErrorKind::InvalidInput,
            &["line 3", "colour"],
        ),
        (
            file(&[GOOD, &with("\"time_ms\":7")]),
            ErrorKind::InvalidInput,
            &["line 3", "time_ms"],
        ),
        (
            file(&[GOOD, &with(r#""channels":{"a":{"append":[],"none":true}}"#)]),
            ErrorKind::InvalidInput,
            &["line 3", "\"a\"", "exactly one"],
        ),
        (
            file(&[GOOD, &with(r#""channels":{"a":{"splice":[1,1,[]]}}"#)]),
            ErrorKind::InvalidInput,
            &["line 3", "\"a\"", "has 1"],
        ),
        (
            file(&[GOOD, &with(r#""channels":{"b":{"append":[]}}"#)]),
            ErrorKind::InvalidInput,
            &["line 3", "no channel \"b\""],
        ),
        (
            file(&[GOOD, &with(r#""channels":{"a":{"entries":[["k"],[]]}}"#)]),
            ErrorKind::InvalidInput,
            &["line 3", "no map"],
        ),
        (
            file(&[
                GOOD,
                &with(r#""channels":{"b":{"map":[["k",{"text":""}],["k",{"text":""}]]}}"#),
            ]),
            ErrorKind::InvalidInput,
            &["line 3", "\"k\"", "ascend"],
        ),
        (
            file(&[
                GOOD,
                &with(r#""channels":{"b":{"item":{"tag":"x","base64":"!"}}}"#),
            ]),
            ErrorKind::InvalidInput,
            &["line 3", "\"b\"", "base64"],
        ),
        (
            file(&[
                GOOD,
                &with(r#""channels":{"b":{"item":{"text":"x","json":1}}}"#),
            ]),
            ErrorKind::InvalidInput,
            &["line 3", "exactly one of json, text and base64"],
        ),
        (
            file(&[r#"{"checkpoint":"2","thread":"t","time_ms":6,"base":"1"}"#]),
            ErrorKind::ParentGone,
            &["line 2", "\"1\"", "not there"],
        ),
        (
            file(&[r#"{"checkpoint":"","thread":"t","time_ms":6}"#]),
            ErrorKind::InvalidInput,
            &["line 2", "checkpoint id is empty"],
        ),
        (
            file(&[
                GOOD,
                &with("\"more\":true"),
                "{\"end\":true,\"lines\":3,\"checkpoints\":2,\"items\":0}",
            ]),
            ErrorKind::Corrupt,
            &["line 4", "continues checkpoint \"2\"", "missing"],
        ),
        (
            file(&[GOOD, "{\"continues\":\"1\"}"]),
            ErrorKind::InvalidInput,
            &["line 3", "not continued"],
        ),
        (
            file(&[
                GOOD,
                "{\"end\":true,\"lines\":9,\"checkpoints\":1,\"items\":0}",
            ]),
            ErrorKind::Corrupt,
            &["line 3", "counts 9 lines", "missing"],
        ),
        (
            file(&[
                GOOD,
                r#"{"end":true,"lines":2,"checkpoints":1,"items":0,"blake3":"00"}"#,
            ]),
            ErrorKind::Corrupt,
            &["line 3", "hash", "changed"],
        ),
        (
            file(&[
                GOOD,
                "{\"end\":true,\"lines\":2,\"checkpoints\":1,\"items\":0}",
                GOOD,
            ]),
            ErrorKind::InvalidInput,
            &["line 4", "after the last line"],
        ),
        (
            file(&[GOOD, FIRST]),
            ErrorKind::InvalidInput,
            &["line 3", "second first line"],
        ),
        (
            file(&[GOOD, "{\"part\":\"{\"}"]),
            ErrorKind::Corrupt,
            &["cut"],
        ),
        (
            file(&[
                GOOD,
                r#"{"item":"k","namespace":[],"created_ms":1,"updated_ms":1,"value":{}}"#,
            ]),
            ErrorKind::InvalidInput,
            &["line 3", "no labels"],
        ),
    ];
    for (text, kind, parts) in cases {
        let (error, stored) = refused(&text).await;
        let message = error.to_string();
        assert_eq!(error.kind(), kind, "{message}\n{text}");
        for part in parts {
            assert!(message.contains(part), "{message}\nhas no {part:?}");
        }
        assert_eq!(stored, u64::from(text.contains(GOOD)), "{text}");
    }
}

/// Wherever a byte is changed or the file cut: an error, or the same content.
#[tokio::test]
async fn damage_anywhere_is_found() {
    let golden = std::fs::read_to_string(golden()).unwrap();
    for at in (1..golden.len() - 1).step_by(7) {
        if !golden.is_char_boundary(at) {
            continue;
        }
        refused(&golden[..at]).await;
        let mut bytes = golden.clone().into_bytes();
        if bytes[at].is_ascii_alphanumeric() {
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            refused(std::str::from_utf8(&bytes).unwrap()).await;
        }
    }
}
