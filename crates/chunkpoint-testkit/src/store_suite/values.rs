//! Values of every size.

use super::support::*;

/// A hundred bytes are one row: no chunk is written or read.
pub async fn a_small_value_is_one_row(target: &Target) {
    let store = target.store();
    let small = json!({"text": text(1, 80)});
    let written = put(&store, "a", small.clone()).await;
    assert!(written.bytes_written < 400, "{}", written.bytes_written);
    assert_eq!(target.watch().changes(), 1);
    assert_eq!(value(&target.store(), "a").await, Some(small));
    assert_eq!(target.watch().chunk_reads(), 0);
}

/// Values around the size at which they no longer fit into a row come back.
pub async fn values_around_the_limit_of_a_row_come_back(target: &Target) {
    let store = target.store();
    for len in (8150..8220).chain([16_000, 16_384, 16_400, 40_000]) {
        let long = json!({"text": text(len as u64, len)});
        put(&store, "a", long.clone()).await;
        assert_eq!(value(&target.store(), "a").await, Some(long), "{len} bytes");
    }
}

/// A megabyte in a thousand members comes back, in few calls.
pub async fn a_megabyte_in_many_members_comes_back(target: &Target) {
    if !takes_large(target) {
        return;
    }
    let store = target.store();
    let value_of = large(1);
    let written = put(&store, "a", value_of.clone()).await;
    assert!(
        written.bytes_written < 1_400_000,
        "{}",
        written.bytes_written
    );
    let calls = || target.watch().chunk_reads() + target.watch().row_reads();
    let before = calls();
    assert!(value(&target.store(), "a").await == Some(value_of));
    assert!(calls() - before <= 3, "{} calls", calls() - before);
}

/// A megabyte in one text comes back.
pub async fn a_megabyte_in_one_text_comes_back(target: &Target) {
    if !takes_large(target) || target.capabilities().max_value_bytes < 2 << 20 {
        return target.skipped("the backend takes no megabyte in one piece");
    }
    let value_of = json!({"text": text(1, 1 << 20), "after": [1]});
    put(&target.store(), "a", value_of.clone()).await;
    assert!(value(&target.store(), "a").await == Some(value_of));
}

/// Several megabytes in lists, objects and long texts come back.
pub async fn several_megabytes_of_any_shape_come_back(target: &Target) {
    let capabilities = target.capabilities();
    if capabilities.max_commit_bytes < 8 << 20 || capabilities.max_value_bytes < 4 << 20 {
        return target.skipped("the backend takes no several megabytes");
    }
    let value_of = json!({
        "list": (0..20_000).map(|n| json!([n, text(n, 50)])).collect::<Vec<_>>(),
        "object": large(2),
        "text": text(3, 1_500_000),
        "none": {},
    });
    put(&target.store(), "a", value_of.clone()).await;
    assert!(value(&target.store(), "a").await == Some(value_of));
}

/// Small and large values take each other's place.
pub async fn sizes_may_change_with_every_put(target: &Target) {
    if !takes_large(target) {
        return;
    }
    let store = target.store();
    for n in 0..4 {
        for value_of in [json!({"n": n}), large(n), json!({"text": text(n, 30_000)})] {
            put(&store, "a", value_of.clone()).await;
            sweep(target).await;
            assert!(value(&target.store(), "a").await == Some(value_of.clone()));
            assert!(value(&store, "a").await == Some(value_of));
        }
    }
}

/// Large values of many items do not get mixed up, whichever memory reads them.
pub async fn large_values_stay_apart(target: &Target) {
    let store = target.store();
    let value_of = |n: u64| json!({"n": n, "text": text(n, 20_000)});
    for n in 0..20 {
        put(&store, &n.to_string(), value_of(n)).await;
    }
    let other = target.store();
    for n in 0..20 {
        assert!(value(&other, &n.to_string()).await == Some(value_of(n)));
    }
    for item in store.search(below(&[])).await.unwrap() {
        let n: u64 = item.key.parse().unwrap();
        assert!(Json::Object(item.value) == value_of(n));
    }
}

/// What large values leave behind goes in a sweep: as much as was written, but the
/// last.
pub async fn replaced_and_removed_values_are_swept(target: &Target) {
    let store = target.store();
    for n in 0..10 {
        put(&store, "a", json!({"text": text(n, 30_000)})).await;
        put(&store, "b", json!({"text": text(n, 30_000)})).await;
    }
    store.delete(NS, "b").await.unwrap();
    let swept = sweep(target).await;
    assert_eq!((swept.expired, swept.packs), (0, 19));
    let again = sweep(target).await;
    assert_eq!((again.expired, again.packs), (0, 0));
    let left = value(&target.store(), "a").await;
    assert!(left == Some(json!({"text": text(9, 30_000)})));
}

/// Values over the backend's limit are refused, and leave what is there.
pub async fn a_value_over_the_limit_is_refused(target: &Target) {
    let commit = target.capabilities().max_commit_bytes;
    if commit > 32 << 20 {
        return target.skipped("the limit is beyond what a test should write");
    }
    let store = target.store();
    put(&store, "a", json!({"n": 1})).await;
    // Text does not compress to less than half.
    let long = json!({"text": text(1, 2 * commit as usize + 1)});
    let refused = store.put(NS, "a", long).await;
    assert_eq!(kind(refused), chunkpoint_core::ErrorKind::TooLarge);
    assert_eq!(value(&store, "a").await, Some(json!({"n": 1})));
}
