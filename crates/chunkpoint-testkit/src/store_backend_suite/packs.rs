//! A pack is alive exactly while its item's row lists it, and goes in a sweep.

use chunkpoint_core::store_backend::{Changed, Expect, ItemChange, SweepItems};

use super::Fixture;
use super::support::*;

/// A put goes on using the packs of the version it expects.
pub async fn a_put_may_use_earlier_packs(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut there = put(&backend, packed(key("a"), None)).await;
    for _ in 0..10 {
        there = put(&backend, packed(key("a"), Some(&there))).await;
        assert_intact(&backend, &there).await;
    }
    assert_eq!(there.packs.len(), 11);
    sweep(&backend, LATER).await;
    assert_intact(&backend, &there).await;
}

/// Packs that are not listed any more are read until they are swept, and not after.
pub async fn unlisted_packs_go_in_a_sweep(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = put(&backend, packed(key("a"), None)).await;
    let second = put(&backend, packed(key("a"), Some(&first))).await;
    let mut third = packed(key("a"), Some(&second));
    third.row.packs.retain(|pack| *pack != first.version);
    let third = put(&backend, third).await;
    assert!(has_pack(&backend, &key("a"), first.version).await);
    let swept = sweep(&backend, LATER).await;
    assert_eq!((swept.expired, swept.packs), (0, 1));
    assert!(!has_pack(&backend, &key("a"), first.version).await);
    assert_intact(&backend, &third).await;
    assert_eq!(sweep(&backend, LATER).await.packs, 0);
}

/// What became garbage after the time given stays: readers may still need it.
pub async fn young_garbage_stays(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = put(&backend, packed(key("a"), None)).await;
    let second = put(&backend, item_at(key("a"), NOW + 10)).await;
    assert_eq!(sweep(&backend, NOW + 9).await.packs, 0);
    assert!(has_pack(&backend, &key("a"), first.version).await);
    assert_eq!(sweep(&backend, NOW + 10).await.packs, 1);
    assert!(!has_pack(&backend, &key("a"), first.version).await);
    assert_intact(&backend, &second).await;
}

/// The packs of a removed item are garbage as of its removal.
pub async fn packs_of_a_removed_item_go(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let there = put(&backend, packed(key("a"), None)).await;
    let removal = removal_at(key("a"), Expect::Any, NOW + 10);
    created(change(&backend, removal).await.unwrap());
    sweep(&backend, NOW + 9).await;
    assert!(has_pack(&backend, &key("a"), there.version).await);
    sweep(&backend, LATER).await;
    assert!(!has_pack(&backend, &key("a"), there.version).await);
    let again = put(&backend, packed(key("a"), None)).await;
    assert_intact(&backend, &again).await;
}

/// What a put that failed brought is garbage.
pub async fn packs_of_a_refused_put_go(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let there = put(&backend, packed(key("a"), None)).await;
    let mut refused = packed(key("a"), None);
    refused.expect = Expect::Absent;
    let pack = refused.row.version;
    let changed = change(&backend, of(refused)).await.unwrap();
    assert!(matches!(changed, Changed::Conflict(_)));
    sweep(&backend, LATER).await;
    assert!(!has_pack(&backend, &key("a"), pack).await);
    assert_intact(&backend, &there).await;
}

/// A put that uses a pack which was swept, or never was, is a conflict.
pub async fn a_put_using_a_swept_pack_is_a_conflict(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = put(&backend, packed(key("a"), None)).await;
    let second = put(&backend, packed(key("a"), None)).await;
    sweep(&backend, LATER).await;
    for (pack, expect) in [
        (first.version, Expect::Any),
        (first.version, Expect::Version(second.version)),
        (write_id(), Expect::Version(second.version)),
    ] {
        let mut refused = packed(key("a"), None);
        refused.row.packs.push(pack);
        refused.expect = expect;
        let changed = change(&backend, of(refused)).await.unwrap();
        assert_eq!(changed, Changed::Conflict(Some(second.version)));
        assert_intact(&backend, &second).await;
    }
}

/// A pack of another item is not there for this one.
pub async fn packs_are_not_shared_between_items(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let a = put(&backend, packed(key("a"), None)).await;
    let mut b = packed(key("b"), None);
    b.row.packs.push(a.version);
    let changed = change(&backend, of(b)).await.unwrap();
    assert_eq!(changed, Changed::Conflict(None));
    assert_eq!(row(&backend, &key("b")).await, None);
}

/// A put that lists a pack again which no row lists, but which is still there: a
/// conflict, or the pack is alive again.
pub async fn a_pack_listed_again_is_alive(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = put(&backend, packed(key("a"), None)).await;
    let second = put(&backend, item(key("a"))).await;
    let third = packed(key("a"), Some(&first));
    let mut third_of = third;
    third_of.expect = Expect::Version(second.version);
    let there = match change(&backend, of(third_of.clone())).await.unwrap() {
        Changed::Done { .. } => third_of.row,
        Changed::Conflict(_) => second,
    };
    sweep(&backend, LATER).await;
    assert_intact(&backend, &there).await;
}

/// Expired items go for good, at the very millisecond they expire, and not before.
pub async fn expired_items_go_in_a_sweep(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let there = put(&backend, until(packed(key("a"), None), NOW + 10)).await;
    let other = put(&backend, packed(key("b"), None)).await;
    assert_eq!(sweep(&backend, NOW + 9).await.expired, 0);
    assert_intact(&backend, &there).await;
    assert_eq!(sweep(&backend, NOW + 10).await.expired, 1);
    assert_eq!(row(&backend, &key("a")).await, None);
    assert_eq!(scanned_keys(&backend, below(&[])).await, [key("b")]);
    sweep(&backend, LATER).await;
    assert!(!has_pack(&backend, &key("a"), there.version).await);
    assert_intact(&backend, &other).await;
}

/// An item whose life was renewed stays, and so does one that was put again.
pub async fn renewed_items_stay(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut renewed = put(&backend, until(packed(key("renewed"), None), NOW + 10)).await;
    let renewal = ItemChange::Renew {
        key: key("renewed"),
        version: renewed.version,
        expires_ms: NOW + 30,
    };
    created(change(&backend, renewal).await.unwrap());
    renewed.expires_ms = Some(NOW + 30);
    put(&backend, until(item(key("again")), NOW + 10)).await;
    let again = put(&backend, until(item_at(key("again"), NOW + 5), NOW + 30)).await;
    put(&backend, until(item(key("for ever")), NOW + 10)).await;
    let for_ever = put(&backend, item(key("for ever"))).await;
    assert_eq!(sweep(&backend, NOW + 20).await.expired, 0);
    for there in [&renewed, &again, &for_ever] {
        assert_intact(&backend, there).await;
    }
    assert_eq!(sweep(&backend, NOW + 30).await.expired, 2);
    assert_intact(&backend, &for_ever).await;
}

/// One slice of a sweep takes about as many as it may, and says that there are more.
pub async fn a_sweep_is_bounded(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let puts = (0..300).map(|n| of(until(item(key(&format!("{n:03}"))), NOW + 1)));
    for changed in backend.change_items(puts.collect()).await.unwrap() {
        created(changed.unwrap());
    }
    let (mut slices, mut expired) = (0, 0);
    loop {
        let swept = backend.sweep(SweepItems {
            before_ms: LATER,
            limit: 50,
        });
        let swept = swept.await.unwrap();
        assert!(swept.expired <= 150, "about 50, not {}", swept.expired);
        expired += swept.expired;
        slices += 1;
        if !swept.more {
            break;
        }
        assert!(slices < 1000, "sweeping does not come to an end");
    }
    assert_eq!(expired, 300);
    assert!(slices > 1);
    assert_eq!(scanned(&backend, below(&[])).await, []);
}

/// A sweep with nothing to do does nothing, on an empty store too.
pub async fn a_sweep_of_nothing_does_nothing(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let nothing = chunkpoint_core::store_backend::SweptItems::default();
    assert_eq!(sweep(&backend, LATER).await, nothing);
    let there = put(&backend, packed(key("a"), None)).await;
    assert_eq!(sweep(&backend, LATER).await, nothing);
    assert_eq!(sweep(&backend, 0).await, nothing);
    assert_intact(&backend, &there).await;
}
