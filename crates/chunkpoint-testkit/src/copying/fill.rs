//! A memory of everything there is.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkpoint_core::store::{Put, Ttl};
use chunkpoint_core::{
    Checkpoint, Config, DELTA_SNAPSHOT_TAG, Item, Memory, PruneStrategy, Value, Version,
};
use serde_json::{Value as Json, json};

use crate::deterministic::{ManualClock, Rng};

/// The channel of [`fill`] whose history goes through pending writes.
pub const DELTA: &str = "log";

const THREADS: [&str; 5] = ["a", "a/b", "ä:ö|#", "\"quoted\\\"\n", "z"];
const NAMESPACES: [&str; 3] = ["", "sub", "sub|graph:1"];

fn item(rng: &mut Rng) -> Item {
    let small = !rng.one_in(6);
    match rng.below(12) {
        0 => Item::new("json", "null"),
        1 => Item::new("json", "{\"a\": [1, 2.50],\n \"b\":\"ü\"}"),
        2 => Item::new("json", "not json"),
        3 => Item::new("", vec![0, 255]),
        4 => {
            let len = rng.below(if small { 100 } else { 60_000 }) as usize;
            Item::new("msgpack", rng.bytes(len))
        }
        5 => Item::new(
            "json",
            format!(
                "\"{}\"",
                "long ".repeat(rng.below(if small { 9 } else { 9000 }) as usize)
            ),
        ),
        6 => Item::text(""),
        _ => Item::text(format!(
            "message {} {}",
            rng.next_u64(),
            "word\n\u{7f}\u{2028}".repeat(rng.below(40) as usize)
        )),
    }
}

fn items(rng: &mut Rng, most: u64) -> Vec<Item> {
    (0..rng.below(most)).map(|_| item(rng)).collect()
}

fn map(rng: &mut Rng, most: u64) -> BTreeMap<String, Item> {
    let entries = 0..rng.below(most);
    entries
        .map(|_| (format!("key {:03}", rng.below(400)), item(rng)))
        .collect()
}

fn metadata(rng: &mut Rng) -> serde_json::Map<String, Json> {
    let value = match rng.below(5) {
        0 => json!({}),
        1 => {
            json!({"step": rng.below(99), "source": "loop", "run_id": format!("run {}", rng.below(3))})
        }
        2 => {
            json!({"score": 0.1 + rng.below(1000) as f64 / 7.0, "deep": {"a": [null, 1e300, -0.0]}})
        }
        3 => json!({"big": "x".repeat(rng.below(5000) as usize), "n": u64::MAX}),
        _ => json!({"counters_since_delta_snapshot": {DELTA: 1}}),
    };
    value.as_object().expect("it is an object").clone()
}

/// Does `steps` things at random, the clock going on between them.
///
/// # Panics
/// If the memory fails.
pub async fn fill(memory: &Memory, clock: &ManualClock, seed: u64, steps: u64) {
    let mut rng = Rng::new(seed);
    for step in 0..steps {
        clock.advance(Duration::from_millis(rng.below(5000)));
        let thread = *rng.pick(&THREADS);
        let namespace = *rng.pick(&NAMESPACES);
        match rng.below(20) {
            0..8 => draft(memory, &mut rng, thread, namespace).await,
            8..14 => put(memory, &mut rng, thread, namespace, step).await,
            14..17 => writes(memory, &mut rng, thread, namespace).await,
            17 => pin(memory, &mut rng, thread, namespace).await,
            18 => prune(memory, &mut rng, thread).await,
            _ if rng.one_in(4) => memory.saver().delete_thread(thread).await.expect("it goes"),
            _ => {}
        }
    }
}

async fn draft(memory: &Memory, rng: &mut Rng, thread: &str, namespace: &str) {
    let thread = memory.thread(thread).expect("an id");
    let thread = thread.with_namespace(namespace).expect("a namespace");
    let mut draft = match some_id(memory, rng, thread.id(), namespace).await {
        Some(id) if rng.one_in(4) => thread.fork(&id).await.expect("it is there"),
        _ => thread.draft().await.expect("it is readable"),
    };
    if rng.one_in(6) {
        // Below its parent's, or a re-put.
        let id = format!("0{}", rng.below(20));
        draft.set_id(&id).expect("an id");
    }
    for _ in 0..1 + rng.below(3) {
        match rng.below(7) {
            0..3 => {
                let new = items(rng, 12);
                draft.append("messages", new).expect("a list");
            }
            3 => {
                let new = items(rng, 400);
                draft.set("long", Value::List(new)).expect("a channel");
            }
            4 => {
                let new = map(rng, 200);
                draft.set("map", new).expect("a channel");
            }
            5 => {
                draft.set("single", item(rng)).expect("a channel");
            }
            _ => {
                draft.remove("single").expect("a channel");
            }
        }
    }
    if rng.one_in(4)
        && let Some(parent) = draft.parent().cloned()
        && let Ok(list) = parent.list("messages").await
        && list.len() > 3
        && parent.id() != draft.id()
    {
        let at = rng.below(list.len() - 2);
        let new = items(rng, 3);
        draft
            .splice("messages", at..at + 2, new)
            .expect("they are there");
    }
    if rng.one_in(3)
        && let Some(parent) = draft.parent().cloned()
        && let Ok(Some(Value::Map(mut entries))) = parent.value("map").await
    {
        let keys: Vec<String> = entries.keys().cloned().collect();
        if !keys.is_empty() {
            entries.remove(rng.pick(&keys));
            entries.insert(rng.pick(&keys).clone(), item(rng));
            entries.insert("new".into(), item(rng));
            draft.set("map", entries).expect("a channel");
        }
    }
    draft.metadata(metadata(rng));
    thread.commit(draft).await.expect("it is committed");
}

async fn some_id(memory: &Memory, rng: &mut Rng, thread: &str, namespace: &str) -> Option<String> {
    let thread = memory.thread(thread).expect("an id");
    let thread = thread.with_namespace(namespace).expect("a namespace");
    let all: Vec<_> = futures::TryStreamExt::try_collect(thread.history(Default::default()))
        .await
        .expect("it is readable");
    let ids: Vec<&str> = all.iter().map(|state| state.id()).collect();
    (!ids.is_empty()).then(|| (*rng.pick(&ids)).to_owned())
}

async fn put(memory: &Memory, rng: &mut Rng, thread: &str, namespace: &str, step: u64) {
    let saver = memory.saver();
    let mut config = Config::new(thread).with_ns(namespace);
    let parent = some_id(memory, rng, thread, namespace).await;
    let mut checkpoint = Checkpoint::default();
    let mut versions = BTreeMap::new();
    let named = match (&parent, rng.below(6)) {
        (_, 0) => Some("no such parent".to_owned()),
        (_, 1) | (None, _) => None,
        (Some(parent), _) => Some(parent.clone()),
    };
    if let Some(parent) = named.clone() {
        config = config.with_id(parent.clone());
        if let Some(tuple) = saver.get_tuple(&config).await.expect("it is readable") {
            let old = tuple.checkpoint().await.expect("it is readable");
            versions.clone_from(&old.channel_versions);
            checkpoint.channel_values = old.channel_values;
        }
    }
    checkpoint.v = rng.below(5);
    checkpoint.id = match rng.below(8) {
        0 => format!("0{}", rng.below(20)),
        _ => format!("1f{:06}-{step}", rng.below(1_000_000)),
    };
    checkpoint.ts = "2026-01-01T00:00:00+00:00".into();
    let mut new = BTreeMap::new();
    for channel in ["messages", "state", "empty", DELTA] {
        if rng.one_in(2) {
            continue;
        }
        let version = match rng.below(3) {
            0 => Version::Int(rng.below(1000) as i64),
            1 => Version::Float(rng.below(1000) as f64 / 3.0),
            _ => Version::Text(format!("{:032}.0.{}", rng.below(100), rng.below(9)).into()),
        };
        versions.insert(channel.to_owned(), version.clone());
        new.insert(channel.to_owned(), version);
        match channel {
            "messages" => {
                let mut list = match checkpoint.channel_values.remove(channel) {
                    Some(Value::List(list)) => list,
                    _ => Vec::new(),
                };
                list.extend(items(rng, 5));
                checkpoint
                    .channel_values
                    .insert(channel.into(), Value::List(list));
            }
            "state" => {
                checkpoint
                    .channel_values
                    .insert(channel.into(), Value::Item(item(rng)));
            }
            DELTA if rng.one_in(3) => {
                let seed = Item::new(DELTA_SNAPSHOT_TAG, rng.bytes(200));
                checkpoint
                    .channel_values
                    .insert(channel.into(), Value::Item(seed));
            }
            _ => {
                checkpoint.channel_values.remove(channel);
            }
        }
    }
    checkpoint
        .versions_seen
        .insert("node".into(), versions.clone());
    checkpoint.channel_versions = versions;
    checkpoint.updated_channels = rng.one_in(2).then(|| new.keys().cloned().collect());
    if named.is_some() && named != parent {
        // Nothing can be borrowed from a parent that is not there.
        checkpoint
            .channel_versions
            .retain(|name, _| new.contains_key(name));
    }
    let metadata = metadata(rng);
    saver
        .put(&config, checkpoint, metadata, &new)
        .await
        .expect("it is put");
}

async fn writes(memory: &Memory, rng: &mut Rng, thread: &str, namespace: &str) {
    let id = match some_id(memory, rng, thread, namespace).await {
        Some(id) => id,
        None => "before its checkpoint".into(),
    };
    let config = Config::new(thread).with_ns(namespace).with_id(id);
    let mut writes = vec![(DELTA.to_owned(), item(rng)), ("x".to_owned(), item(rng))];
    if rng.one_in(2) {
        writes.push(("__error__".into(), item(rng)));
    }
    let task = format!("task {}", rng.below(3));
    let path = ["", "~1", "~0"][rng.below(3) as usize];
    let saver = memory.saver();
    saver
        .put_writes(&config, writes, &task, path)
        .await
        .expect("they are put");
}

async fn pin(memory: &Memory, rng: &mut Rng, thread: &str, namespace: &str) {
    if let Some(id) = some_id(memory, rng, thread, namespace).await {
        let thread = memory.thread(thread).expect("an id");
        let thread = thread.with_namespace(namespace).expect("a namespace");
        thread.pin(&id).await.expect("it is there");
    }
}

async fn prune(memory: &Memory, rng: &mut Rng, thread: &str) {
    let saver = memory.saver();
    if rng.one_in(2) {
        saver
            .prune(&[thread], PruneStrategy::KeepLatest)
            .await
            .expect("it is pruned");
    } else {
        saver.delete_for_runs(&["run 1"]).await.expect("they go");
    }
}

/// Puts, patches and removes `count` items at random.
///
/// # Panics
/// If the memory fails or has no store.
pub async fn fill_store(memory: &Memory, clock: &ManualClock, seed: u64, count: u64) {
    let mut rng = Rng::new(seed);
    let store = memory.store().expect("it has a store");
    let namespaces: [&[&str]; 4] = [&["users"], &["users", "ada"], &["ü \"q\""], &["users2"]];
    for _ in 0..count {
        clock.advance(Duration::from_millis(rng.below(5000)));
        let namespace = *rng.pick(&namespaces);
        let key = format!("key {}\n", rng.below(count));
        match rng.below(8) {
            0 => store.delete(namespace, &key).await.expect("it goes"),
            1 => {
                let patch = json!({"a": null, "b": {"c": rng.next_u64()}});
                store
                    .patch(namespace, &key, patch)
                    .await
                    .expect("it is patched");
            }
            _ => {
                let ttl = match rng.below(4) {
                    0 => Ttl::Minutes(0.5 + rng.below(10) as f64),
                    _ => Ttl::Never,
                };
                let most = if rng.one_in(9) { 40_000 } else { 20 };
                let text = "text ".repeat(rng.below(most) as usize);
                let value = json!({"a": 0.1 * rng.below(1000) as f64, "list": [1, null, {"x": text}],
                    "many": (0..rng.below(50)).map(|n| json!({"n": n})).collect::<Vec<_>>()});
                let put = Put::new(namespace, &key, value).expect("a name and an object");
                store.put_with(put.ttl(ttl)).await.expect("it is put");
            }
        }
    }
}
