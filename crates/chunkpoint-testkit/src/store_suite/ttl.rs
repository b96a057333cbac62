//! How long items live.

use std::time::Duration;

use chunkpoint_core::store::{Get, Put, Store, Ttl};
use chunkpoint_core::store_backend::Expect;
use chunkpoint_core::{ErrorKind, Settings};

use super::support::*;

async fn expires(store: &Store, key: &str) -> Option<u64> {
    item(store, key).await.expect("it is there").expires_ms
}

async fn reading(store: &Store, key: &str, refresh_ttl: Option<bool>) {
    let get = Get {
        item: name(NS, key),
        refresh_ttl,
    };
    store.get_with(get).await.unwrap().expect("it is there");
}

/// Items live for ever unless a put or the settings say otherwise.
pub async fn items_live_for_ever_unless_said(target: &Target) {
    let store = target.store();
    put(&store, "a", json!({})).await;
    assert_eq!(expires(&store, "a").await, None);
    target.clock().advance(minutes(60.0 * 24.0 * 365.0 * 100.0));
    assert_eq!(value(&store, "a").await, Some(json!({})));
    let store = target.store_with(Settings {
        store_ttl: Some(minutes(2.0)),
        ..target.settings()
    });
    put(&store, "b", json!({})).await;
    store.patch(NS, "c", json!({"x": 1})).await.unwrap();
    let at = now(target) + 120_000;
    assert_eq!(expires(&store, "b").await, Some(at));
    assert_eq!(expires(&store, "c").await, Some(at));
    let never = Put {
        ttl: Ttl::Never,
        ..putting(NS, "d", json!({}))
    };
    store.put_with(never).await.unwrap();
    assert_eq!(expires(&store, "d").await, None);
    put_for(&store, "e", 0.5).await;
    assert_eq!(expires(&store, "e").await, Some(now(target) + 30_000));
}

/// An item is gone from every read at the very millisecond it expires, swept or not.
pub async fn an_expired_item_is_gone_at_once(target: &Target) {
    let store = target.store();
    put_for(&store, "a", 1.0).await;
    target.clock().advance(Duration::from_millis(59_999));
    assert!(value(&store, "a").await.is_some());
    assert_eq!(found(&store, below(&[])).await, ["a"]);
    target.clock().advance(Duration::from_millis(1));
    assert_eq!(store.get(NS, "a").await.unwrap(), None);
    assert_eq!(found(&store, below(&[])).await, [""; 0]);
    assert_eq!(matching(&store, json!({"key": "a"})).await, [""; 0]);
    let listed = store.list_namespaces(Default::default()).await.unwrap();
    assert_eq!(listed, []);
}

/// Minutes may be fractions, and keep them when a life is renewed.
pub async fn minutes_may_be_fractions(target: &Target) {
    let store = target.store();
    for fraction in [0.001, 0.01, 0.5, 1.25] {
        put_for(&store, "a", fraction).await;
        let ms = (fraction * 60_000.0) as u64;
        assert_eq!(expires(&store, "a").await, Some(now(target) + ms));
        target.clock().advance(Duration::from_millis(ms - 1));
        reading(&store, "a", Some(true)).await;
        assert_eq!(expires(&store, "a").await, Some(now(target) + ms));
        target.clock().advance(Duration::from_millis(ms));
        assert_eq!(value(&store, "a").await, None);
    }
}

/// A life of no length, or of none that is a number, is refused; a very long one is
/// as good as for ever.
pub async fn impossible_lives_are_refused(target: &Target) {
    let store = target.store();
    for minutes in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-9] {
        let put = Put {
            ttl: Ttl::Minutes(minutes),
            ..putting(NS, "a", json!({}))
        };
        assert_eq!(kind(store.put_with(put).await), ErrorKind::InvalidInput);
    }
    assert_eq!(value(&store, "a").await, None);
    for minutes in [1e12, 1e300] {
        put_for(&store, "a", minutes).await;
        let at = expires(&store, "a").await.expect("it expires some day");
        assert!(at < 1 << 53, "every storage can keep it: {at}");
        assert!(at > 1 << 52);
        reading(&store, "a", Some(true)).await;
    }
    let store = target.store_with(Settings {
        store_ttl: Some(Duration::MAX),
        ..target.settings()
    });
    put(&store, "b", json!({})).await;
    assert!(expires(&store, "b").await.is_some_and(|at| at > 1 << 52));
}

/// A get renews the life, unless it or the settings say otherwise.
pub async fn a_get_renews_the_life(target: &Target) {
    let by_default = target.store();
    let not_by_default = target.store_with(Settings {
        store_refresh: false,
        ..target.settings()
    });
    for (store, refresh, renews) in [
        (&by_default, None, true),
        (&by_default, Some(true), true),
        (&by_default, Some(false), false),
        (&not_by_default, None, false),
        (&not_by_default, Some(true), true),
        (&not_by_default, Some(false), false),
    ] {
        let version = put_for(store, "a", 2.0).await.version;
        let first = now(target) + 120_000;
        let put_at = now(target);
        target.clock().advance(minutes(1.0));
        reading(store, "a", refresh).await;
        let expected = if renews { first + 60_000 } else { first };
        let item = item(&target.store(), "a").await.expect("it is there");
        assert_eq!(item.expires_ms, Some(expected), "{refresh:?}");
        assert_eq!((item.version, item.updated_ms), (version, put_at));
    }
}

/// The item that a renewing get gives says when it expires now.
pub async fn a_get_says_when_it_expires_now(target: &Target) {
    let store = target.store();
    put_for(&store, "a", 2.0).await;
    target.clock().advance(minutes(1.0));
    let item = store.get(NS, "a").await.unwrap().expect("it is there");
    assert_eq!(item.expires_ms, Some(now(target) + 120_000));
    assert_eq!(expires(&store, "a").await, item.expires_ms);
}

/// A search renews what it gives, and only that.
pub async fn a_search_renews_what_it_gives(target: &Target) {
    let store = target.store();
    for key in ["a", "b", "c", "d"] {
        put_for(&store, key, 2.0).await;
    }
    let first = now(target) + 120_000;
    target.clock().advance(minutes(1.0));
    let mut search = below(&[]).limit(2).offset(1);
    store.search(search.clone()).await.unwrap();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(expires(&store, key).await, Some(first), "not if it says so");
    }
    search.refresh_ttl = None;
    store.search(search).await.unwrap();
    let renewed = first + 60_000;
    for (key, expected) in [("a", first), ("b", renewed), ("c", renewed), ("d", first)] {
        assert_eq!(expires(&store, key).await, Some(expected), "{key}");
    }
}

/// Reading again and again within a hundredth of the life writes nothing.
pub async fn reading_often_writes_seldom(target: &Target) {
    let store = target.store();
    put_for(&store, "a", 100.0).await;
    let before = target.watch().changes();
    for _ in 0..200 {
        target.clock().advance(Duration::from_secs(3));
        reading(&store, "a", None).await;
    }
    let writes = target.watch().changes() - before;
    assert!(
        (5..=10).contains(&writes),
        "{writes} for ten minutes of a hundred"
    );
}

/// An overwrite sets the life anew: another length, none, or for ever.
pub async fn an_overwrite_sets_the_life_anew(target: &Target) {
    let store = target.store();
    put_for(&store, "a", 1.0).await;
    put_for(&store, "a", 5.0).await;
    assert_eq!(expires(&store, "a").await, Some(now(target) + 300_000));
    target.clock().advance(minutes(4.0));
    put_for(&store, "a", 0.5).await;
    assert_eq!(expires(&store, "a").await, Some(now(target) + 30_000));
    put(&store, "a", json!({})).await;
    assert_eq!(expires(&store, "a").await, None);
    target.clock().advance(minutes(10.0));
    assert!(value(&store, "a").await.is_some());
}

/// What has expired counts as not there for expectations, and is created anew.
pub async fn an_expired_item_counts_as_not_there(target: &Target) {
    let store = target.store();
    let old = put_for(&store, "a", 1.0).await;
    target.clock().advance(minutes(1.0));
    let stale = Put {
        expect: Expect::Version(old.version),
        ..putting(NS, "a", json!({"n": 1}))
    };
    assert_eq!(kind(store.put_with(stale).await), ErrorKind::Conflict);
    store.delete(NS, "a").await.unwrap();
    put_for(&store, "b", 1.0).await;
    target.clock().advance(minutes(1.0));
    let fresh = Put {
        expect: Expect::Absent,
        ..putting(NS, "b", json!({"n": 2}))
    };
    let written = store.put_with(fresh).await.unwrap();
    assert_eq!(written.created_ms, now(target));
    let item = item(&store, "b").await.expect("it is there");
    assert_eq!(Json::Object(item.value), json!({"n": 2}));
    assert_eq!(item.expires_ms, None);
}

/// A clock that goes backwards brings nothing to an end early, and breaks nothing.
pub async fn a_clock_may_go_backwards(target: &Target) {
    let store = target.store();
    put_for(&store, "a", 2.0).await;
    let start = now(target);
    target.clock().set(start - 3_600_000);
    assert!(store.get(NS, "a").await.unwrap().is_some());
    assert_eq!(expires(&store, "a").await, Some(start + 120_000));
    store.patch(NS, "a", json!({"x": 1})).await.unwrap();
    store.sweep().await.unwrap();
    let item = item(&store, "a").await.expect("it is there");
    assert_eq!(item.created_ms, start);
    assert_eq!(item.value["x"], 1);
}
