//! Threads that nobody uses expire by the engine's clock, whole, and not while they are read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chunkpoint_core::backend::{CheckpointBackend, Detail, ListRecords, ListThreads, Pick};
use chunkpoint_core::{Clock, ErrorKind};
use chunkpoint_redis::{RedisBackend, RedisBuilder};
use chunkpoint_testkit::faults::commit;
use futures::TryStreamExt;
use support::Place;

/// A clock that stands still unless it is told to go on.
#[derive(Debug)]
struct Told(AtomicU64);

impl Told {
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Told {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

const TTL: u64 = 60_000;

async fn open(place: &Place) -> (RedisBackend, Arc<Told>) {
    let clock = Arc::new(Told(AtomicU64::new(1_700_000_000_000)));
    let builder = RedisBuilder::new(place.config())
        .clock(clock.clone())
        .thread_ttl(Duration::from_millis(TTL));
    (builder.open().await.unwrap(), clock)
}

fn all_threads() -> ListThreads {
    ListThreads {
        limit: 10,
        all: true,
        ..ListThreads::default()
    }
}

async fn records(backend: &RedisBackend) -> usize {
    let query = ListRecords {
        thread: "thread 0".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Bodies,
    };
    let rows = backend.list(query).await.unwrap();
    rows.try_collect::<Vec<_>>().await.unwrap().len()
}

async fn expires_whole(place: Place) {
    let (backend, clock) = open(&place).await;
    let first = commit(0, 0, None);
    let committed = backend.commit(first.clone()).await.unwrap();
    // Each read renews it, to the millisecond.
    for _ in 0..5 {
        clock.pass(TTL - 1);
        let picks = [Pick::At(first.key.clone())];
        let rows = backend.get("thread 0", &picks, Detail::Bodies).await;
        assert!(rows.unwrap()[0].is_some());
    }
    clock.pass(TTL - 1);
    assert_eq!(records(&backend).await, 1);
    let second = commit(0, 1, Some((&first, committed)));
    clock.pass(TTL - 1);
    let committed = backend.commit(second.clone()).await.unwrap();
    clock.pass(TTL);
    // Gone from every read, and nothing builds on it.
    assert_eq!(backend.incarnation("thread 0").await.unwrap(), None);
    assert_eq!(records(&backend).await, 0);
    let error = backend
        .commit(commit(0, 2, Some((&second, committed))))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ParentGone, "{error}");
    assert!(backend.threads(all_threads()).await.unwrap().is_empty());
    // Another life has nothing of it.
    let anew = commit(0, 3, None);
    let started = backend.commit(anew).await.unwrap();
    assert_ne!(started.incarnation, committed.incarnation);
    assert_eq!(records(&backend).await, 1);
    assert_eq!(backend.threads(all_threads()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_thread_expires_whole() {
    if let Some(place) = Place::redis() {
        expires_whole(place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_thread_expires_whole_on_a_cluster() {
    if let Some(place) = Place::cluster() {
        expires_whole(place).await;
    }
}

/// The server itself drops what has expired, later by a margin, and the head first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_collects_what_has_expired() {
    let Some(place) = Place::redis() else {
        return;
    };
    let (backend, _clock) = open(&place).await;
    let first = commit(0, 0, None);
    backend.commit(first).await.unwrap();
    let mut connection = place.connection().await;
    let mut lives = Vec::new();
    for key in place.keys().await {
        if !key.contains('{') {
            continue; // the index
        }
        let mut pttl = redis::cmd("PTTL");
        let left: i64 = pttl.arg(&key).query_async(&mut connection).await.unwrap();
        assert!(left > TTL as i64, "{key} goes in {left} ms");
        lives.push((key, left));
    }
    assert!(lives.len() >= 3, "{lives:?}");
    lives.sort_by_key(|(_, left)| *left);
    assert!(lives[0].0.ends_with('}'), "the head goes first: {lives:?}");
}
