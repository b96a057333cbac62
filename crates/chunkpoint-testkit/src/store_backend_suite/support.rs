//! What the behaviours are written with: puts that are easy to tell apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunkpoint_core::backend::{ChunkName, PackId};
use chunkpoint_core::store_backend::{
    Changed, Expect, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, PutItem, ScanItems,
    StoreBackend, SweepItems, SweptItems,
};
use chunkpoint_core::{Error, Result};
use futures::TryStreamExt;

use super::Fixture;

/// The store under test.
pub(super) type Backend = Arc<dyn StoreBackend>;

/// When everything happens unless a behaviour is about time.
pub(super) const NOW: u64 = 1_700_000_000_000;

/// Later than anything that happens.
pub(super) const LATER: u64 = NOW + 1_000_000_000;

/// Opens the fixture's store, which it must have.
pub(super) async fn open(fixture: &dyn Fixture) -> Backend {
    let backend = fixture.open().await;
    backend.store().expect("the backend has a long-term store")
}

/// An id no other has, in no order.
pub(super) fn write_id() -> PackId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    // An odd factor makes it a permutation of the numbers.
    PackId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
}

pub(super) fn namespace(labels: &[&str]) -> Namespace {
    Namespace::new(labels).unwrap()
}

pub(super) fn key_in(labels: &[&str], key: &str) -> ItemKey {
    ItemKey {
        namespace: namespace(labels),
        key: key.into(),
    }
}

/// In the namespace most behaviours are about.
pub(super) fn key(key: &str) -> ItemKey {
    key_in(&["ns"], key)
}

/// A put without chunks, of a body that no other put has.
pub(super) fn item(key: ItemKey) -> PutItem {
    let version = write_id();
    PutItem {
        row: ItemRow {
            key,
            version,
            created_ms: NOW,
            updated_ms: NOW,
            ttl_ms: None,
            expires_ms: None,
            packs: Vec::new(),
            body: Bytes::from(format!("body of {version}")),
        },
        expect: Expect::Any,
        chunks: Vec::new(),
        value: Some(Arc::default()),
    }
}

/// As [`item`], at another time.
pub(super) fn item_at(key: ItemKey, now_ms: u64) -> PutItem {
    let mut put = item(key);
    put.row.created_ms = now_ms;
    put.row.updated_ms = now_ms;
    put
}

/// A put of two chunks, on top of the packs of `before`, whose version it expects.
pub(super) fn packed(key: ItemKey, before: Option<&ItemRow>) -> PutItem {
    let mut put = item(key);
    let version = put.row.version;
    put.chunks = (0..2)
        .map(|n| Bytes::from(format!("chunk {n} of {version}")))
        .collect();
    put.row.packs = vec![version];
    if let Some(before) = before {
        put.row.packs.splice(0..0, before.packs.iter().copied());
        put.expect = Expect::Version(before.version);
    }
    put
}

/// As it was put, to expire then.
pub(super) fn until(mut put: PutItem, expires_ms: u64) -> PutItem {
    put.row.ttl_ms = Some(expires_ms.saturating_sub(put.row.updated_ms));
    put.row.expires_ms = Some(expires_ms);
    put
}

/// A removal, without an expectation.
pub(super) fn removal(key: ItemKey) -> ItemChange {
    removal_at(key, Expect::Any, NOW)
}

pub(super) fn removal_at(key: ItemKey, expect: Expect, now_ms: u64) -> ItemChange {
    ItemChange::Delete {
        key,
        write_id: write_id(),
        expect,
        now_ms,
    }
}

/// Changes one item.
pub(super) async fn change(backend: &Backend, change: ItemChange) -> Result<Changed> {
    let mut changed = backend.change_items(vec![change]).await?;
    assert_eq!(changed.len(), 1, "one answer for each change");
    changed.remove(0)
}

/// Puts, which must succeed; gives the row that must be read from now on.
pub(super) async fn put(backend: &Backend, put: PutItem) -> ItemRow {
    let mut row = put.row.clone();
    row.created_ms = created(change(backend, of(put)).await.unwrap());
    row
}

/// The time of a change that must be done.
pub(super) fn created(changed: Changed) -> u64 {
    match changed {
        Changed::Done { created_ms } => created_ms,
        Changed::Conflict(found) => panic!("it must be done, and found {found:?}"),
    }
}

pub(super) fn of(put: PutItem) -> ItemChange {
    ItemChange::Put(Box::new(put))
}

/// Puts items of these keys.
pub(super) async fn put_all(backend: &Backend, keys: impl IntoIterator<Item = ItemKey>) {
    let changes = keys.into_iter().map(|key| of(item(key))).collect();
    for changed in backend.change_items(changes).await.unwrap() {
        created(changed.unwrap());
    }
}

pub(super) async fn remove(backend: &Backend, key: ItemKey) {
    created(change(backend, removal(key)).await.unwrap());
}

pub(super) async fn row(backend: &Backend, key: &ItemKey) -> Option<ItemRow> {
    let mut rows = backend.items(std::slice::from_ref(key)).await.unwrap();
    assert_eq!(rows.len(), 1, "one answer for each key");
    rows.remove(0)
}

/// The names of the chunks that [`packed`] brought as `pack`.
pub(super) fn names(pack: PackId) -> Vec<ChunkName> {
    (0..2)
        .map(|ordinal| ChunkName {
            pack,
            ordinal,
            locator: 0,
            len: format!("chunk {ordinal} of {pack}").len() as u32,
        })
        .collect()
}

/// Whether the chunks of a pack that [`packed`] brought are there. Half of them is wrong.
pub(super) async fn has_pack(backend: &Backend, key: &ItemKey, pack: PackId) -> bool {
    let chunks = backend.item_chunks(key, &names(pack)).await.unwrap();
    assert_eq!(chunks.len(), 2, "one answer for each name");
    for (n, chunk) in chunks.iter().enumerate() {
        if let Some(chunk) = chunk {
            assert_eq!(chunk, format!("chunk {n} of {pack}").as_bytes());
        }
    }
    assert_eq!(
        chunks[0].is_some(),
        chunks[1].is_some(),
        "a pack goes as a whole"
    );
    chunks[0].is_some()
}

/// The row is as it must be, and all its chunks are there.
pub(super) async fn assert_intact(backend: &Backend, expected: &ItemRow) {
    let found = row(backend, &expected.key).await;
    assert_eq!(found.as_ref(), Some(expected));
    for pack in &expected.packs {
        assert!(
            has_pack(backend, &expected.key, *pack).await,
            "pack {pack} is listed"
        );
    }
}

pub(super) async fn scanned(backend: &Backend, query: ScanItems) -> Vec<ItemRow> {
    let rows = backend.scan(query).await.unwrap();
    rows.try_collect().await.unwrap()
}

pub(super) fn below(labels: &[&str]) -> ScanItems {
    ScanItems {
        prefix: namespace(labels),
        ..ScanItems::default()
    }
}

/// The names of what a scan gives.
pub(super) async fn scanned_keys(backend: &Backend, query: ScanItems) -> Vec<ItemKey> {
    let rows = scanned(backend, query).await;
    rows.into_iter().map(|row| row.key).collect()
}

pub(super) async fn namespaces(
    backend: &Backend,
    prefix: &[&str],
    after: Option<&[&str]>,
    now_ms: u64,
) -> Vec<Namespace> {
    let query = ListNamespaces {
        prefix: namespace(prefix),
        after: after.map(namespace),
        now_ms,
    };
    let listed = backend.namespaces(query).await.unwrap();
    listed.try_collect().await.unwrap()
}

/// Sweeps until there is no more to do.
pub(super) async fn sweep(backend: &Backend, before_ms: u64) -> SweptItems {
    let mut all = SweptItems::default();
    for _ in 0..10_000 {
        let limit = 100;
        let swept = backend.sweep(SweepItems { before_ms, limit }).await;
        let swept = swept.unwrap();
        all.expired += swept.expired;
        all.packs += swept.packs;
        if !swept.more {
            return all;
        }
    }
    panic!("sweeping does not come to an end");
}

pub(super) fn kind<T: std::fmt::Debug>(result: Result<T>) -> chunkpoint_core::ErrorKind {
    result.map_err(|e: Error| e.kind()).unwrap_err()
}

/// Says that a behaviour was not tested, and why.
pub(super) fn skipped(behaviour: &str, why: &str) {
    println!("skipped {behaviour}: {why}");
}
