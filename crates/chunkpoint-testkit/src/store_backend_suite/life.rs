//! A store from its opening to its end.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::store_backend::{ListNamespaces, SweepItems};
use futures::TryStreamExt;

use super::Fixture;
use super::support::*;

async fn assert_closed(backend: &Backend) {
    let unavailable = ErrorKind::Unavailable;
    let a = key("a");
    let read = backend.items(std::slice::from_ref(&a)).await;
    assert_eq!(kind(read), unavailable);
    let read = backend.item_chunks(&a, &names(write_id())).await;
    assert_eq!(kind(read), unavailable);
    assert_eq!(kind(change(backend, removal(a)).await), unavailable);
    let swept = backend.sweep(SweepItems {
        before_ms: LATER,
        limit: 10,
    });
    assert_eq!(kind(swept.await), unavailable);
    // A stream may say so when it is opened or when it is read.
    let rows = match backend.scan(below(&[])).await {
        Ok(rows) => rows.try_collect::<Vec<_>>().await,
        Err(error) => Err(error),
    };
    assert_eq!(kind(rows), unavailable);
    let listed = match backend.namespaces(ListNamespaces::default()).await {
        Ok(listed) => listed.try_collect::<Vec<_>>().await,
        Err(error) => Err(error),
    };
    assert_eq!(kind(listed), unavailable);
}

/// A closed store answers every call with `Unavailable`.
pub async fn a_closed_store_is_unavailable(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, packed(key("a"), None)).await;
    backend.close_store().await.unwrap();
    assert_closed(&backend).await;
}

/// Checkpoints and long-term store of one backend close as a whole, from either side.
pub async fn both_sides_close_as_a_whole(fixture: &dyn Fixture) {
    let whole = fixture.open().await;
    let backend = whole.clone().store().expect("the backend has a store");
    put(&backend, item(key("a"))).await;
    whole.close().await.unwrap();
    assert_closed(&backend).await;
}

/// Each handle that `store` gives is of the same store.
pub async fn every_handle_is_of_the_same_store(fixture: &dyn Fixture) {
    let whole: std::sync::Arc<dyn CheckpointBackend> = fixture.open().await;
    let one = whole.clone().store().expect("the backend has a store");
    let other = whole.store().expect("the backend has a store");
    let there = put(&one, packed(key("a"), None)).await;
    assert_intact(&other, &there).await;
    remove(&other, key("a")).await;
    assert_eq!(row(&one, &key("a")).await, None);
}

/// What was acknowledged is there after the store was closed and opened again:
/// rows, packs, write ids, and what was removed stays so.
pub async fn everything_is_there_after_a_reopen(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    if !backend.store_capabilities().persistent {
        return skipped("everything_is_there_after_a_reopen", "it keeps nothing");
    }
    let first = packed(key("a"), None);
    let before = put(&backend, first.clone()).await;
    let there = put(&backend, until(packed(key("a"), Some(&before)), LATER)).await;
    let garbage = put(&backend, packed(key("b"), None)).await;
    let replaced = put(&backend, item(key("b"))).await;
    put(&backend, packed(key("c"), None)).await;
    remove(&backend, key("c")).await;
    backend.close_store().await.unwrap();
    drop(backend);
    let backend = open(fixture).await;
    for row in [&there, &replaced] {
        assert_intact(&backend, row).await;
    }
    assert_eq!(row(&backend, &key("c")).await, None);
    assert_eq!(
        scanned_keys(&backend, below(&[])).await,
        [key("a"), key("b")]
    );
    created(change(&backend, of(first)).await.unwrap());
    assert_intact(&backend, &there).await;
    assert!(has_pack(&backend, &key("b"), garbage.version).await);
    sweep(&backend, NOW).await;
    assert!(!has_pack(&backend, &key("b"), garbage.version).await);
    for row in [&there, &replaced] {
        assert_intact(&backend, row).await;
    }
}

/// Where the storage is shared, a second handle sees what the first acknowledged.
pub async fn a_second_handle_sees_everything(fixture: &dyn Fixture) {
    let one = open(fixture).await;
    if !one.store_capabilities().shared {
        return skipped("a_second_handle_sees_everything", "it is not shared");
    }
    let other = open(fixture).await;
    let mut there = put(&one, packed(key("a"), None)).await;
    for n in 0..10 {
        let (from, to) = if n % 2 == 0 {
            (&other, &one)
        } else {
            (&one, &other)
        };
        assert_intact(from, &there).await;
        there = put(from, packed(key("a"), Some(&there))).await;
        assert_intact(to, &there).await;
        assert_eq!(scanned(to, below(&[])).await, [there.clone()]);
    }
    remove(&other, key("a")).await;
    assert_eq!(row(&one, &key("a")).await, None);
}
