//! Closing: what was answered without a sync is synced then, all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{Durability, PackId};
use chunkpoint_core::store_backend::*;

use crate::config::FsConfig;
use crate::fault::Call;
use crate::items::file::Place;
use crate::items::group::{Op, submit};
use crate::store::Store;
use crate::unsynced::UNSYNCED;

fn open(path: &Path) -> Arc<Store> {
    let config = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(path)
    };
    Arc::new(Store::open(&config).unwrap())
}

/// Puts an item with a chunk in namespace `n`; gives the files that hold it.
async fn put(store: &Arc<Store>, n: usize) -> [String; 2] {
    let namespace = Namespace::new([n.to_string()]).unwrap();
    let version = PackId((n as u64 + 1).to_be_bytes());
    let put = PutItem {
        row: ItemRow {
            key: ItemKey {
                namespace: namespace.clone(),
                key: "k".into(),
            },
            version,
            created_ms: 0,
            updated_ms: 0,
            ttl_ms: None,
            expires_ms: None,
            packs: vec![version],
            body: Bytes::from_static(b"body"),
        },
        expect: Expect::Any,
        chunks: vec![Bytes::from_static(b"chunk")],
        value: None,
    };
    let place = Place::of(&namespace);
    let files = [place.items(), place.packs(1)];
    let changes = vec![ItemChange::Put(Box::new(put))];
    let done = submit(store, place, |sender| Op::Change(changes, sender));
    for done in done.await.unwrap() {
        assert_eq!(done.unwrap(), Changed::Done { created_ms: 0 });
    }
    files
}

/// Syncs of files of items and packs.
fn files(synced: &[String]) -> usize {
    let ends = [".items", ".packs"];
    let is_file = |name: &&String| ends.iter().any(|end| name.ends_with(end));
    synced.iter().filter(is_file).count()
}

#[tokio::test]
async fn every_namespace_is_synced_by_the_time_of_closing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let faults = &store.dir.counters.faults;
    let (mut written, mut synced) = (HashSet::new(), Vec::new());
    for n in 0..2 * UNSYNCED {
        written.extend(put(&store, n).await);
        let now = faults.take_synced();
        // A put writes two files, and the catalog.
        assert!(files(&now) <= 3 * UNSYNCED / 2, "one put syncs {now:?}");
        synced.extend(now);
    }
    assert!(files(&synced) > 0, "nothing is synced before closing");
    written.insert(Place::names().items());
    store.close().unwrap();
    let rest = store.dir.counters.faults.take_synced();
    for name in &written {
        let shard = name.rsplit_once('/').unwrap().0;
        let is_whole = [&synced, &rest].into_iter().any(|synced| {
            [name, shard, "s"]
                .iter()
                .all(|name| synced.iter().any(|synced| synced == name))
        });
        assert!(is_whole, "{name} and its directory");
    }
}

#[tokio::test]
async fn what_could_not_be_synced_fails_no_put_and_is_told_by_closing() {
    // While others are put, and while closing.
    for puts in [2 * UNSYNCED, 1] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.dir.counters.faults.fail_after(Call::Sync, 0);
        for n in 0..puts {
            put(&store, n).await;
        }
        if puts > UNSYNCED {
            store.dir.counters.faults.clear();
        }
        let error = store.close().unwrap_err();
        assert!(error.message().contains("syncing s/"), "{error}");
        // It is told once.
        store.close().unwrap();
    }
}

#[tokio::test]
async fn one_file_that_cannot_be_synced_keeps_no_other_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut written = Vec::new();
    for n in 0..8 {
        written.extend(put(&store, n).await);
    }
    store.dir.counters.faults.take_synced();
    store.dir.counters.faults.fail_after(Call::Sync, 2);
    store.close().unwrap_err();
    let tried = store.dir.counters.faults.take_synced();
    for name in &written {
        assert!(tried.contains(name), "{name} was not tried");
    }
}
