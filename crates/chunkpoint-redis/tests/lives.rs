//! Lives of threads and namespaces that were refused, ended, and begun anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::{CheckpointBackend, ListThreads};
use chunkpoint_core::{Memory, Settings};
use chunkpoint_testkit::faults::commit;
use support::Place;

async fn expiry(place: &Place, key: &str) -> i64 {
    let mut connection = place.connection().await;
    let mut pttl = redis::cmd("PTTL");
    pttl.arg(format!("{}:{key}", place.prefix));
    pttl.query_async(&mut connection).await.unwrap()
}

/// What remembers a refusal goes after a day; what lives again must not go with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_begun_anew_does_not_expire() {
    let Some(place) = Place::redis() else {
        return;
    };
    let backend: Arc<dyn CheckpointBackend> = Arc::new(place.backend().await);
    let settings = Settings {
        background: false,
        grace: std::time::Duration::ZERO,
        ..Settings::default()
    };
    let memory = Memory::builder(backend).settings(settings).build().unwrap();
    let store = memory.store().unwrap();
    let head = "store:{users}";
    for _ in 0..2 {
        let value = serde_json::json!({"a": 1});
        store.put(&["users"], "ada", value).await.unwrap();
        assert_eq!(expiry(&place, head).await, -1, "it is kept");
        store.delete(&["users"], "ada").await.unwrap();
        // What is remembered of the item goes first, then the life of the namespace.
        for _ in 0..100 {
            store.sweep().await.unwrap();
            if expiry(&place, head).await > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(expiry(&place, head).await > 0, "its life has ended");
    }
}

/// A life that was refused stays so, whatever else is refused or lives meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_once_never_begins() {
    let Some(place) = Place::redis() else {
        return;
    };
    let backend = place.backend().await;
    let mut connection = place.connection().await;
    // Commits that came as far as the index, and no further: as maintenance finds them.
    let late: Vec<_> = (0..3).map(|step| commit(0, step, None)).collect();
    for commit in &late {
        let chunkpoint_core::backend::Base::Root { fresh } = &commit.base else {
            unreachable!()
        };
        for shard in 0..16 {
            let mut add = redis::cmd("ZADD");
            let entry = [commit.thread.as_bytes(), b"\0", &fresh.0].concat();
            add.arg(format!("{}:threads:{shard:x}", place.prefix));
            add.arg(0).arg(entry);
            add.exec_async(&mut connection).await.unwrap();
        }
        let all = ListThreads {
            limit: 10,
            all: true,
            ..ListThreads::default()
        };
        assert!(backend.threads(all).await.unwrap().is_empty());
    }
    for late in &late {
        let error = backend.commit(late.clone()).await.unwrap_err();
        assert!(error.message().contains("given up"), "{error}");
        assert!(error.is_certainly_not_applied());
    }
    // Another life, and its end.
    let other = commit(0, 7, None);
    let lived = backend.commit(other).await.unwrap();
    let ended = backend.delete_thread("thread 0", lived.incarnation);
    ended.await.unwrap();
    let error = backend.commit(late[0].clone()).await.unwrap_err();
    assert!(error.message().contains("given up"), "{error}");
}
