//! What a sweep takes, and what it leaves.

use chunkpoint_core::Settings;

use super::support::*;

/// Expired items are removed for good once the grace period has passed as well.
pub async fn expired_items_are_removed_for_good(target: &Target) {
    let store = target.store();
    for n in 0..10 {
        put_for(&store, &n.to_string(), if n < 6 { 1.0 } else { 1e6 }).await;
    }
    put(&store, "for ever", json!({})).await;
    target.clock().advance(minutes(1.0));
    assert_eq!(store.sweep().await.unwrap().expired, 0, "within the grace");
    target.clock().advance(target.settings().grace);
    assert_eq!(store.sweep().await.unwrap().expired, 6);
    assert_eq!(store.sweep().await.unwrap().expired, 0);
    assert_eq!(found(&store, below(&[])).await.len(), 5);
}

/// More than one slice of a sweep holds are all removed.
pub async fn a_sweep_goes_on_until_all_is_done(target: &Target) {
    let store = target.store();
    let ops = (0..1200).map(|n| {
        let mut put = putting(NS, &format!("{n:04}"), json!({"n": n}));
        put.ttl = chunkpoint_core::store::Ttl::Minutes(1.0);
        chunkpoint_core::store::StoreOp::Put(put)
    });
    for answer in store.batch(ops.collect()).await.unwrap() {
        answer.unwrap();
    }
    put(&store, "stays", json!({})).await;
    assert_eq!(sweep(target).await.expired, 1200);
    assert!(target.watch().sweeps() > 1);
    assert_eq!(found(&store, below(&[])).await, ["stays"]);
}

/// An item that was read, patched or put again in time stays.
pub async fn renewed_items_stay(target: &Target) {
    let store = target.store();
    for key in ["read", "found", "patched", "put", "left"] {
        put_for(&store, key, 2.0).await;
    }
    target.clock().advance(minutes(1.5));
    store.get(NS, "read").await.unwrap();
    let mut search = below(&[]).filter(&json!({"key": "found"})).unwrap();
    search.refresh_ttl = None;
    assert_eq!(found(&store, search).await, ["found"]);
    store.patch(NS, "patched", json!({"x": 1})).await.unwrap();
    put(&store, "put", json!({})).await;
    // What was not renewed is past its life and the grace period; the others are not
    // past their lives.
    target.clock().advance(minutes(1.9));
    assert_eq!(store.sweep().await.unwrap().expired, 1);
    let all = ["found", "patched", "put", "read"];
    assert_eq!(found(&store, below(&[])).await, all);
    assert_eq!(sweep(target).await.expired, 3);
    assert_eq!(found(&store, below(&[])).await, ["put"]);
}

/// Sweeping at once from several places does no harm.
pub async fn sweeps_may_run_at_once(target: &Target) {
    let store = target.store();
    for n in 0..30u64 {
        put_for(&store, &format!("mortal {n}"), 1.0).await;
        put(&store, "kept", json!({"text": text(n, 20_000)})).await;
    }
    target.clock().advance(minutes(60.0));
    let sweeps = (0..6).map(|_| {
        let store = target.store();
        tokio::spawn(async move { store.sweep().await.unwrap() })
    });
    for swept in futures::future::join_all(sweeps).await {
        swept.unwrap();
    }
    assert_eq!(found(&store, below(&[])).await, ["kept"]);
    let kept = value(&target.store(), "kept").await;
    assert!(kept == Some(json!({"text": text(29, 20_000)})));
}

/// With background work on, using the store sweeps it now and then, by the clock given.
pub async fn the_background_sweeps_now_and_then(target: &Target) {
    let store = target.store_with(Settings {
        background: true,
        store_sweep: minutes(10.0),
        ..target.settings()
    });
    put_for(&store, "mortal", 1.0).await;
    for round in 1..4 {
        target.clock().advance(minutes(11.0));
        let before = target.watch().sweeps();
        put(&store, "a", json!({"round": round})).await;
        while target.watch().sweeps() == before {
            tokio::task::yield_now().await;
        }
    }
    // Nothing is left for a sweep by hand.
    assert_eq!(target.store().sweep().await.unwrap().expired, 0);
    let rows = store.backend().items(&[name(NS, "mortal")]).await.unwrap();
    assert_eq!(rows, [None]);
}

/// Without background work nothing is swept unless asked.
pub async fn nothing_is_swept_unless_asked(target: &Target) {
    let store = target.store();
    put_for(&store, "mortal", 1.0).await;
    for _ in 0..5 {
        target.clock().advance(minutes(1000.0));
        put(&store, "a", json!({})).await;
        store.get(NS, "a").await.unwrap();
        store.search(below(&[])).await.unwrap();
    }
    assert_eq!(target.watch().sweeps(), 0);
    assert_eq!(store.sweep().await.unwrap().expired, 1);
}
