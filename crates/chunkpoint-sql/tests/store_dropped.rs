//! Changes whose future is dropped: what becomes of one is decided before the next call for
//! its item.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkpoint_core::backend::{CheckpointBackend, PackId};
use chunkpoint_core::store_backend::{
    Changed, Expect, ItemChange, ItemKey, ItemRow, Namespace, PutItem, ScanItems, StoreBackend,
};
use chunkpoint_sql::SqlBackend;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use support::each;

type Store = Arc<dyn StoreBackend>;

const NOW: u64 = 1_700_000_000_000;

fn write_id() -> PackId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    PackId(NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes())
}

fn key(n: usize) -> ItemKey {
    ItemKey {
        namespace: Namespace::new(["ns"]).unwrap(),
        key: format!("{n:03}").into(),
    }
}

fn put(key: ItemKey, packed: bool) -> ItemChange {
    let version = write_id();
    let (packs, chunks) = match packed {
        true => (vec![version], vec![Bytes::from_static(b"chunk")]),
        false => Default::default(),
    };
    let row = ItemRow {
        key,
        version,
        created_ms: NOW,
        updated_ms: NOW,
        ttl_ms: None,
        expires_ms: None,
        packs,
        body: Bytes::from(format!("body of {version}")),
    };
    ItemChange::Put(Box::new(PutItem {
        row,
        expect: Expect::Any,
        chunks,
        value: None,
    }))
}

fn removal(key: ItemKey) -> ItemChange {
    ItemChange::Delete {
        key,
        write_id: write_id(),
        expect: Expect::Any,
        now_ms: NOW,
    }
}

async fn change(store: &Store, change: ItemChange) {
    let changed = store.change_items(vec![change]).await.unwrap().remove(0);
    assert!(matches!(changed.unwrap(), Changed::Done { .. }));
}

async fn row(store: &Store, key: &ItemKey) -> Option<ItemRow> {
    let mut rows = store.items(std::slice::from_ref(key)).await.unwrap();
    rows.remove(0)
}

async fn all(store: &Store) -> Vec<ItemRow> {
    let rows = store.scan(ScanItems::default()).await.unwrap();
    rows.try_collect().await.unwrap()
}

/// Polls a change so often, unless it ends before, then drops it.
async fn dropped_after<T>(polls: usize, mut change: BoxFuture<'_, T>) {
    for _ in 0..polls {
        if futures::poll!(change.as_mut()).is_ready() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// What is read of an item after a change of it was dropped stays, and what is written is
/// not overwritten by that change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_change_does_not_land_later() {
    for place in each() {
        let backend = SqlBackend::from_config(place.config()).await.unwrap();
        let store = Arc::new(backend).store().unwrap();
        let mut left = Vec::new();
        for round in 0..60 {
            let (key, polls) = (key(round), 1 + round / 12);
            let dropped = match round % 2 {
                0 => vec![put(key.clone(), false)],
                _ => vec![put(self::key(1000 + round), false), put(key.clone(), true)],
            };
            dropped_after(polls, store.change_items(dropped)).await;
            match round % 3 {
                0 => change(&store, put(key.clone(), false)).await,
                1 => change(&store, removal(key.clone())).await,
                // Whichever it is.
                _ => {}
            }
            let found = row(&store, &key).await;
            left.push((key, found));
        }
        // Time for what is still under way, if it is.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for (key, expected) in left {
            assert_eq!(row(&store, &key).await, expected, "{key} on {place:?}");
        }
        place.drop().await;
    }
}

/// Whoever goes through many items waits for what was dropped of any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_waits_for_dropped_changes() {
    for place in each() {
        let backend = SqlBackend::from_config(place.config()).await.unwrap();
        let store = Arc::new(backend).store().unwrap();
        let changes = (0..40).map(|n| put(key(n), n % 2 == 0)).collect();
        dropped_after(1, store.change_items(changes)).await;
        let found = all(&store).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(all(&store).await, found, "{place:?}");
        place.drop().await;
    }
}
