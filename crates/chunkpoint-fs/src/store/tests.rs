//! Closing: what was answered without a sync is synced then, all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkpoint_core::backend::*;
use chunkpoint_core::{ErrorKind, Result};

use super::{Store, key_of, log_names};
use crate::config::FsConfig;
use crate::fault::Call;
use crate::threads;
use crate::unsynced::UNSYNCED;
use crate::writer::{Op, Waits, submit};

fn open(path: &Path) -> Arc<Store> {
    let config = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(path)
    };
    Arc::new(Store::open(&config).unwrap())
}

async fn commit(store: &Arc<Store>, thread: &str) -> Result<Committed> {
    let commit = Commit {
        thread: thread.into(),
        key: RecordKey {
            namespace: "".into(),
            id: "1".into(),
        },
        pack: PackId([1; 8]),
        base: Base::Root {
            fresh: Incarnation([1; 8]),
        },
        expect_latest: None,
        index: RecordIndex::default(),
        body: Bytes::from_static(b"body"),
        chunks: Vec::new(),
        metadata: Arc::default(),
    };
    submit(store, key_of(thread), thread.into(), |sender| {
        Op::Commit(Box::new(commit), sender)
    })
    .await
}

#[tokio::test]
async fn every_log_is_synced_by_the_time_of_closing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let threads: Vec<String> = (0..UNSYNCED + 40).map(|n| format!("t{n}")).collect();
    for (n, thread) in threads.iter().enumerate() {
        commit(&store, thread).await.unwrap();
        if n == 20 {
            // What cannot be read can be synced, and stops nothing.
            std::fs::write(store.log_path(&key_of("t3")), b"damaged").unwrap();
        }
    }
    let synced = store.dir.counters.faults.take_synced();
    for name in ["threads.log", "t", ""] {
        assert!(synced.iter().any(|synced| synced == name), "{name:?}");
    }
    store.close().unwrap();
    let rest = store.dir.counters.faults.take_synced();
    for thread in &threads {
        let (shard, log) = log_names(&key_of(thread));
        let both = [&synced, &rest];
        let when = both.map(|synced| (synced.contains(&log), synced.contains(&shard)));
        assert!(
            when.contains(&(true, true)),
            "{thread} and its directory: {when:?}"
        );
    }
}

#[tokio::test]
async fn the_end_of_a_thread_is_synced_by_closing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(&store, "t").await.unwrap();
    store.close().unwrap();
    let store = open(dir.path());
    let (caller, _waits) = Waits::new();
    threads::delete(&store, &caller, &"t".into(), Incarnation([1; 8])).unwrap();
    store.close().unwrap();
    let synced = store.dir.counters.faults.take_synced();
    assert!(synced.contains(&log_names(&key_of("t")).0), "{synced:?}");
}

#[tokio::test]
async fn closing_waits_for_who_is_writing_and_refuses_who_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(&store, "other").await.unwrap();
    let (closer, done) = (store.clone(), Arc::new(std::sync::Mutex::new(None)));
    let handle = done.clone();
    store.dir.counters.faults.before(Call::Write, move || {
        let closing = std::thread::spawn(move || closer.close());
        *handle.lock().unwrap() = Some(closing);
        std::thread::sleep(Duration::from_millis(200));
    });
    commit(&store, "t").await.unwrap();
    let closing = done.lock().unwrap().take().unwrap();
    closing.join().unwrap().unwrap();
    let synced = store.dir.counters.faults.take_synced();
    assert!(synced.contains(&log_names(&key_of("t")).1), "{synced:?}");

    let store = open(dir.path());
    let late = {
        let _lock = store.dir.lock(&key_of("late")).unwrap();
        let writer = store.clone();
        let late = tokio::task::spawn(async move { commit(&writer, "late").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let closer = store.clone();
        std::thread::spawn(move || closer.close());
        tokio::time::sleep(Duration::from_millis(100)).await;
        late
    };
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("closed"), "{error}");
}
