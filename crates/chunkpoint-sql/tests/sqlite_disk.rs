//! SQLite on disks that are full or cannot be written to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chunkpoint_core::store::Store;
use chunkpoint_core::{Error, ErrorKind, HistoryQuery, Item, Memory, Settings};
use chunkpoint_sql::{SqlBackend, SqlConfig};
use chunkpoint_testkit::deterministic::Rng;
use chunkpoint_testkit::mounted::Mounted;
use futures::TryStreamExt;
use serde_json::json;

async fn open(dir: &Path) -> Result<Memory, Error> {
    let config = SqlConfig::new(format!("sqlite://{}/memory.db", dir.display()));
    let backend = SqlBackend::from_config(config).await?;
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    Memory::builder(Arc::new(backend))
        .settings(settings)
        .build()
}

/// Adds some incompressible bytes to the only thread.
async fn append(memory: &Memory, rng: &mut Rng, bytes: usize) -> Result<(), Error> {
    let thread = memory.thread("t")?;
    let mut draft = thread.draft().await?;
    draft.append("list", [Item::new("bytes", rng.bytes(bytes))])?;
    thread.commit(draft).await.map(drop)
}

/// Every state is whole; gives how many there are.
async fn states(memory: &Memory) -> usize {
    let thread = memory.thread("t").unwrap();
    let history = thread.history(HistoryQuery::default());
    let states: Vec<_> = history.try_collect().await.unwrap();
    for (n, state) in states.iter().rev().enumerate() {
        let list = state.list("list").await.unwrap();
        assert_eq!(list.len(), n as u64 + 1);
        state.load().await.unwrap();
    }
    states.len()
}

async fn put(store: &Store, rng: &mut Rng, key: usize) -> Result<(), Error> {
    let text: String = (0..2000)
        .map(|_| char::from(b'a' + rng.below(26) as u8))
        .collect();
    let value = json!({ "text": text });
    store.put(&["ns"], &key.to_string(), value).await.map(drop)
}

fn is_full(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("disk full"), "{error}");
    assert!(error.is_certainly_not_applied(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stores_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let name = "a_full_disk_stores_nothing_and_says_so";
    let Some(disk) = Mounted::new(name, dir.path(), "6m") else {
        return;
    };
    let mut rng = Rng::new(3);
    let memory = open(disk.path()).await.unwrap();
    let store = memory.store().unwrap();
    let ballast = disk.path().join("ballast");
    // As much as the log may take to be copied into the file.
    fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let mut stored = 0;
    let error = loop {
        match append(&memory, &mut rng, 9_000).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    is_full(&error);
    assert!(stored > 10, "{stored} were stored");
    let mut items = 0;
    let error = loop {
        match put(&store, &mut rng, items).await {
            Ok(()) => items += 1,
            Err(error) => break error,
        }
    };
    is_full(&error);
    // All that was acknowledged can be read, and nothing else is there.
    assert_eq!(states(&memory).await, stored);
    // Once there is room again, writing goes on.
    fs::remove_file(&ballast).unwrap();
    append(&memory, &mut rng, 9_000).await.unwrap();
    put(&store, &mut rng, items).await.unwrap();
    assert_eq!(states(&memory).await, stored + 1);
    memory.close().await.unwrap();
    let memory = open(disk.path()).await.unwrap();
    assert_eq!(states(&memory).await, stored + 1);
    let store = memory.store().unwrap();
    for key in 0..=items {
        let item = store.get(&["ns"], &key.to_string()).await.unwrap();
        assert!(item.is_some(), "item {key} of {items}");
    }
    memory.close().await.unwrap();
}

/// A disk that is full before there is a database leaves nothing that is in the way later.
#[tokio::test]
async fn a_database_is_made_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let name = "a_database_is_made_once_there_is_room";
    let Some(disk) = Mounted::new(name, dir.path(), "1m") else {
        return;
    };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; (1 << 20) - (64 << 10)]).unwrap();
    let error = open(disk.path()).await.unwrap_err();
    is_full(&error);
    fs::remove_file(&ballast).unwrap();
    let memory = open(disk.path()).await.unwrap();
    append(&memory, &mut Rng::new(1), 100).await.unwrap();
    memory.close().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_to_is_named_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let name = "a_disk_that_cannot_be_written_to_is_named_and_left_as_it_is";
    let Some(disk) = Mounted::new(name, dir.path(), "4m") else {
        return;
    };
    let refused = |error: &Error| {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(error.is_certainly_not_applied(), "{error}");
        let message = error.to_string();
        assert!(message.contains("written to"), "{message}");
    };
    // Nothing is there, and nothing can be made.
    disk.writable(false);
    refused(&open(disk.path()).await.unwrap_err());
    disk.writable(true);
    let mut rng = Rng::new(5);
    let memory = open(disk.path()).await.unwrap();
    append(&memory, &mut rng, 100).await.unwrap();
    memory.close().await.unwrap();
    // A database is there, and is opened.
    disk.writable(false);
    refused(&open(disk.path()).await.unwrap_err());
    disk.writable(true);
    let memory = open(disk.path()).await.unwrap();
    assert_eq!(states(&memory).await, 1);
    append(&memory, &mut rng, 100).await.unwrap();
    memory.close().await.unwrap();
    let memory = open(disk.path()).await.unwrap();
    assert_eq!(states(&memory).await, 2);
    memory.close().await.unwrap();
}
