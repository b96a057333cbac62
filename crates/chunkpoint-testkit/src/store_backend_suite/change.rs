//! Putting, removing, renewing, and what must hold for it.

use chunkpoint_core::store_backend::{Changed, Expect, ItemChange};

use super::Fixture;
use super::support::*;

/// The answers are in the order of the changes; one that fails leaves the others.
pub async fn changes_are_answered_in_order(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let there = put(&backend, item(key("there"))).await;
    let mut refused = item(key("there"));
    refused.expect = Expect::Absent;
    let fresh = item(key("fresh"));
    let changes = vec![
        removal_at(key("none"), Expect::Version(write_id()), NOW),
        of(fresh.clone()),
        of(refused),
        removal(key("nothing")),
    ];
    let changed = backend.change_items(changes).await.unwrap();
    let changed: Vec<Changed> = changed.into_iter().map(Result::unwrap).collect();
    assert_eq!(changed[0], Changed::Conflict(None));
    assert_eq!(changed[1], Changed::Done { created_ms: NOW });
    assert_eq!(changed[2], Changed::Conflict(Some(there.version)));
    assert!(matches!(changed[3], Changed::Done { .. }));
    assert_intact(&backend, &there).await;
    assert_intact(&backend, &fresh.row).await;
}

/// A put replaces everything but the time of creation.
pub async fn a_put_keeps_when_it_was_created(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, item(key("a"))).await;
    let second = put(&backend, until(item_at(key("a"), NOW + 7), NOW + 99)).await;
    assert_eq!(second.created_ms, NOW);
    assert_intact(&backend, &second).await;
    let third = put(&backend, item_at(key("a"), NOW + 9)).await;
    assert_eq!(third.created_ms, NOW);
    assert_eq!(third.expires_ms, None);
    assert_intact(&backend, &third).await;
}

/// What was removed and put again is new.
pub async fn a_removed_item_is_created_anew(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, packed(key("a"), None)).await;
    remove(&backend, key("a")).await;
    let again = put(&backend, item_at(key("a"), NOW + 7)).await;
    assert_eq!(again.created_ms, NOW + 7);
    assert_intact(&backend, &again).await;
}

/// What has expired and is put again is new, at the very millisecond it expires.
pub async fn an_expired_item_is_created_anew(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, until(item(key("a")), NOW + 10)).await;
    let before = put(&backend, until(item_at(key("a"), NOW + 9), NOW + 20)).await;
    assert_eq!(before.created_ms, NOW);
    let at = put(&backend, item_at(key("a"), NOW + 20)).await;
    assert_eq!(at.created_ms, NOW + 20);
    assert_intact(&backend, &at).await;
}

/// A removed item is gone from every read at once, and from its namespace.
pub async fn a_removed_item_is_gone(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, packed(key("a"), None)).await;
    remove(&backend, key("a")).await;
    assert_eq!(row(&backend, &key("a")).await, None);
    assert_eq!(scanned(&backend, below(&[])).await, []);
    assert_eq!(namespaces(&backend, &[], None, NOW).await, []);
}

/// Removing what is not there is done, unless a version is expected.
pub async fn removing_nothing_is_done(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    created(change(&backend, removal(key("a"))).await.unwrap());
    created(
        change(&backend, removal_at(key("a"), Expect::Absent, NOW))
            .await
            .unwrap(),
    );
    let expect = Expect::Version(write_id());
    let changed = change(&backend, removal_at(key("a"), expect, NOW)).await;
    assert_eq!(changed.unwrap(), Changed::Conflict(None));
    assert_eq!(row(&backend, &key("a")).await, None);
    assert_eq!(namespaces(&backend, &[], None, NOW).await, []);
}

/// A put whose expectation does not hold changes nothing, and says what is there.
pub async fn an_expectation_that_does_not_hold_is_a_conflict(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let there = put(&backend, packed(key("a"), None)).await;
    for expect in [Expect::Absent, Expect::Version(write_id())] {
        let mut refused = packed(key("a"), None);
        refused.expect = expect;
        let changed = change(&backend, of(refused)).await.unwrap();
        assert_eq!(changed, Changed::Conflict(Some(there.version)));
        let changed = change(&backend, removal_at(key("a"), expect, NOW)).await;
        assert_eq!(changed.unwrap(), Changed::Conflict(Some(there.version)));
        assert_intact(&backend, &there).await;
    }
    let mut refused = item(key("none"));
    refused.expect = Expect::Version(there.version);
    let changed = change(&backend, of(refused)).await.unwrap();
    assert_eq!(changed, Changed::Conflict(None));
    assert_eq!(row(&backend, &key("none")).await, None);
}

/// A change whose expectation holds is made.
pub async fn an_expectation_that_holds_lets_it_through(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut first = item(key("a"));
    first.expect = Expect::Absent;
    let first = put(&backend, first).await;
    let mut second = item(key("a"));
    second.expect = Expect::Version(first.version);
    let second = put(&backend, second).await;
    assert_intact(&backend, &second).await;
    let expect = Expect::Version(second.version);
    let changed = change(&backend, removal_at(key("a"), expect, NOW)).await;
    created(changed.unwrap());
    assert_eq!(row(&backend, &key("a")).await, None);
}

/// What has expired counts as not there, by the time of the change.
pub async fn an_expired_item_counts_as_not_there(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let old = put(&backend, until(packed(key("a"), None), NOW + 10)).await;
    let expecting = |expect, now_ms| {
        let mut put = item_at(key("a"), now_ms);
        put.expect = expect;
        of(put)
    };
    let version = Expect::Version(old.version);
    for (change_of, found) in [
        (expecting(Expect::Absent, NOW + 9), Some(old.version)),
        (expecting(version, NOW + 10), None),
        (removal_at(key("a"), version, NOW + 10), None),
    ] {
        let changed = change(&backend, change_of).await.unwrap();
        assert_eq!(changed, Changed::Conflict(found));
    }
    let changed = change(&backend, expecting(Expect::Absent, NOW + 10)).await;
    assert_eq!(created(changed.unwrap()), NOW + 10);
}

/// A renewal changes when an item expires, and nothing else.
pub async fn a_renewal_changes_only_the_expiry(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut there = put(&backend, until(packed(key("a"), None), NOW + 10)).await;
    for expires_ms in [NOW + 50, NOW + 50, NOW + 20] {
        let (key, version) = (there.key.clone(), there.version);
        let renewal = ItemChange::Renew {
            key,
            version,
            expires_ms,
        };
        let changed = change(&backend, renewal).await.unwrap();
        assert_eq!(changed, Changed::Done { created_ms: NOW });
        there.expires_ms = Some(expires_ms);
        assert_intact(&backend, &there).await;
    }
}

/// A renewal of another version, or of nothing, does nothing.
pub async fn a_renewal_is_of_one_version(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let old = put(&backend, until(item(key("a")), NOW + 10)).await;
    let there = put(&backend, until(item(key("a")), NOW + 20)).await;
    for (key_of, found) in [("a", Some(there.version)), ("none", None)] {
        let renewal = ItemChange::Renew {
            key: key(key_of),
            version: old.version,
            expires_ms: LATER,
        };
        let changed = change(&backend, renewal).await.unwrap();
        assert_eq!(changed, Changed::Conflict(found));
    }
    assert_intact(&backend, &there).await;
    assert_eq!(row(&backend, &key("none")).await, None);
    assert_eq!(
        scanned_keys(&backend, below(&[])).await,
        [key("a")],
        "a renewal makes no item"
    );
}

/// A renewal does not make the write ids forgotten: it has none of its own.
pub async fn renewals_do_not_push_write_ids_out(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = until(item(key("a")), NOW + 10);
    let there = put(&backend, first.clone()).await;
    for n in 0..20 {
        let renewal = ItemChange::Renew {
            key: key("a"),
            version: there.version,
            expires_ms: NOW + 100 + n,
        };
        created(change(&backend, renewal).await.unwrap());
    }
    created(change(&backend, of(first)).await.unwrap());
    let expires = row(&backend, &key("a")).await.unwrap().expires_ms;
    assert_eq!(
        expires,
        Some(NOW + 119),
        "the repeat must not undo the renewals"
    );
}
