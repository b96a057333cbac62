//! Reading rows in order, and listing namespaces.

use std::sync::Arc;

use chunkpoint_core::store::Filter;
use chunkpoint_core::store_backend::{ItemKey, Namespace, ScanItems};
use futures::TryStreamExt;
use serde_json::json;

use super::Fixture;
use super::support::*;

/// Names whose order is easily got wrong, in their order.
fn ordered() -> Vec<ItemKey> {
    let names: &[(&[&str], &str)] = &[
        (&["A"], "z"),
        (&["a"], "\u{1}"),
        (&["a"], " "),
        (&["a"], "B"),
        (&["a"], "a"),
        (&["a"], "a b"),
        (&["a"], "aa"),
        (&["a"], "ä"),
        (&["a"], "\u{ffff}"),
        (&["a"], "🦀"),
        (&["a", "\u{1}"], "k"),
        (&["a", "b"], "k"),
        (&["a", "b", "c"], "k"),
        (&["a", "b "], "k"),
        (&["a\u{1}"], "k"),
        (&["a\u{1}", "b"], "k"),
        (&["a b"], "k"),
        (&["a/b"], "k"),
        (&["ab"], "k"),
        (&["ä"], "k"),
        (&["\u{ffff}"], "k"),
        (&["🦀"], "k"),
    ];
    names
        .iter()
        .map(|(labels, key)| key_in(labels, key))
        .collect()
}

/// By namespace, label by label, then by key, all by their UTF-8 bytes.
pub async fn a_scan_is_in_order(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let expected = ordered();
    assert!(expected.is_sorted());
    put_all(&backend, expected.iter().rev().cloned()).await;
    assert_eq!(scanned_keys(&backend, below(&[])).await, expected);
}

/// A prefix matches whole labels: `["a"]` not `["ab"]`, `["a b"]` or `["a\u{1}"]`.
pub async fn a_prefix_is_of_whole_labels(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let all = ordered();
    put_all(&backend, all.clone()).await;
    for prefix in [
        &["a"][..],
        &["a", "b"],
        &["ab"],
        &["a b"],
        &["a\u{1}"],
        &["A"],
        &["ä"],
        &["none"],
        &["a", "b", "c", "d"],
        &["%"],
        &["*"],
    ] {
        let wanted = namespace(prefix);
        let expected: Vec<_> = all
            .iter()
            .filter(|key| key.namespace.starts_with(&wanted))
            .collect();
        let found = scanned_keys(&backend, below(prefix)).await;
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            expected,
            "below {prefix:?}"
        );
        let listed = namespaces(&backend, prefix, None, NOW).await;
        let mut expected: Vec<_> = expected.iter().map(|key| key.namespace.clone()).collect();
        expected.dedup();
        assert_eq!(listed, expected, "below {prefix:?}");
    }
}

/// `after` leaves out what comes before, whether its item exists or not.
pub async fn a_scan_goes_on_after_any_item(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let all = ordered();
    put_all(&backend, all.clone()).await;
    let mut places = all.clone();
    places.extend([
        key_in(&["a"], "aaa"),
        key_in(&["a", "a"], "x"),
        key_in(&["0"], "x"),
        key_in(&["a"], "🦀🦀"),
        key_in(&["🦀🦀"], "x"),
    ]);
    for prefix in [&[][..], &["a"], &["a", "b"]] {
        for after in &places {
            let query = ScanItems {
                after: Some(after.clone()),
                ..below(prefix)
            };
            let wanted = namespace(prefix);
            let expected: Vec<_> = all
                .iter()
                .filter(|key| key.namespace.starts_with(&wanted) && *key > after)
                .cloned()
                .collect();
            let found = scanned_keys(&backend, query).await;
            assert_eq!(found, expected, "below {prefix:?} after {after}");
        }
    }
}

/// How much the reader is likely to take changes nothing.
pub async fn the_likely_number_is_only_a_hint(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let all = ordered();
    put_all(&backend, all.clone()).await;
    for likely in [0, 1, 5, 1_000_000, usize::MAX] {
        let query = ScanItems {
            likely: Some(likely),
            ..below(&[])
        };
        assert_eq!(scanned_keys(&backend, query).await, all, "{likely}");
    }
}

/// A scan gives whole rows, also of large bodies.
pub async fn a_scan_gives_whole_rows(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut expected = Vec::new();
    for n in 0..50usize {
        let mut put_of = until(packed(key(&format!("{n:02}")), None), NOW + 99);
        put_of.row.body = vec![n as u8; n * 300].into();
        expected.push(put(&backend, put_of).await);
    }
    assert_eq!(scanned(&backend, below(&["ns"])).await, expected);
}

/// Thousands of items over many namespaces, each exactly once.
pub async fn a_long_scan_gives_everything_once(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut expected = Vec::new();
    for space in 0..4 {
        let label = format!("{space}");
        let keys: Vec<_> = (0..600)
            .map(|n| key_in(&["all", &label], &format!("{n:03}")))
            .collect();
        put_all(&backend, keys.clone()).await;
        expected.extend(keys);
    }
    put_all(&backend, [key_in(&["al"], "x"), key_in(&["all!"], "x")]).await;
    assert_eq!(scanned_keys(&backend, below(&["all"])).await, expected);
}

/// What stays is given exactly once while other items come, change and go.
pub async fn what_stays_is_given_exactly_once(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let name = |n: usize| key(&format!("{n:04}"));
    let stays: Vec<_> = (0..1200).step_by(2).map(name).collect();
    put_all(&backend, (0..1200).map(name)).await;
    let mut rows = backend.scan(below(&["ns"])).await.unwrap();
    let (mut found, mut n) = (Vec::new(), 0usize);
    while let Some(row) = rows.try_next().await.unwrap() {
        found.push(row.key);
        if n.is_multiple_of(40) {
            // Behind, around and before the place where the scan is.
            let at = ((n * 7919) % 1200) | 1;
            remove(&backend, name(at)).await;
            put_all(
                &backend,
                [
                    key(&format!("{:04}+", n)),
                    key(&format!("{:04}-", 1200 - n)),
                ],
            )
            .await;
            put(&backend, packed(name(((n * 31) % 1200) & !1), None)).await;
        }
        n += 1;
    }
    assert!(found.is_sorted(), "a scan is in order");
    found.dedup();
    assert_eq!(found.len(), n, "nothing is given twice");
    found.retain(|key| stays.contains(key));
    assert_eq!(found, stays);
}

/// A scan that is dropped half-way leaves nothing behind that would block.
pub async fn a_dropped_scan_locks_nothing(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put_all(&backend, (0..600).map(|n| key(&format!("{n:03}")))).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut rows = backend.scan(below(&["ns"])).await.unwrap();
        assert!(rows.try_next().await.unwrap().is_some());
        held.push(rows);
    }
    put(&backend, item(key("000"))).await;
    remove(&backend, key("001")).await;
    drop(held);
    put(&backend, item(key("002"))).await;
    assert_eq!(scanned(&backend, below(&["ns"])).await.len(), 599);
}

/// A predicate leaves out no row whose value fulfils it, and none whose value the backend
/// was not told; the rows come in order, on every page.
pub async fn what_may_match_is_given(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let values = [
        json!({}),
        json!({"a": 1, "b": {"c": "x"}}),
        json!({"a": 1.0, "b": {"c": "X"}}),
        json!({"a": "1", "b": {"c": ["x"]}}),
        json!({"a": true, "b": "x"}),
        json!({"a": null, "b": null}),
        json!({"a": -5, "b": {"c": "it's \"x\"\n\\ \u{7}ü🦀"}}),
        json!({"a": 9_007_199_254_740_993_i64, "b": {"c": "\0"}}),
        json!({"a": 1e300, "b": {"c": null}}),
        json!({"a": [1], "-": 1, "a b": {"$x": false}}),
        json!({"a": {"b": 1}, "ü:@*": "x"}),
    ];
    let mut changes = Vec::new();
    let mut all = Vec::new();
    for n in 0..300 {
        let value = values[n % values.len()]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let mut put_of = item(key(&format!("{n:03}")));
        put_of.value = Some(Arc::new(value.clone()));
        changes.push(of(put_of));
        all.push((key(&format!("{n:03}")), value));
    }
    for changed in backend.change_items(changes).await.unwrap() {
        created(changed.unwrap());
    }
    // One has another value now, of which nothing was said.
    let mut untold = item(key("000"));
    untold.value = None;
    put(&backend, untold).await;
    for filter in [
        json!({"a": 1}),
        json!({"a": "1"}),
        json!({"a": true}),
        json!({"a": null}),
        json!({"a": {"$gt": 0}}),
        json!({"a": {"$lte": 1}}),
        json!({"a": {"$gt": 9_007_199_254_740_992_i64}}),
        json!({"a": {"$lt": "2"}}),
        json!({"a": {"$in": [1, null, "1"]}}),
        json!({"a": {"$exists": false}}),
        json!({"a.b": 1}),
        json!({"b.c": "x"}),
        json!({"b": {"c": "it's \"x\"\n\\ \u{7}ü🦀"}}),
        json!({"b.c": {"$gte": "X"}}),
        json!({"b.c": {"$exists": true}, "a": {"$gte": -5}}),
        json!({"-": 1}),
        json!({"a b.\\$x": false}),
        json!({"ü:@*": "x"}),
        json!({"$or": [{"a": -5}, {"b": "x"}]}),
        json!({"$or": []}),
    ] {
        let predicate = Filter::parse(&filter).unwrap().predicate();
        let predicate = predicate.expect("it can be looked for");
        let query = ScanItems {
            matching: Some(Arc::new(predicate.clone())),
            likely: Some(7),
            ..below(&["ns"])
        };
        let found = scanned_keys(&backend, query).await;
        assert!(found.is_sorted(), "{filter}");
        assert!(found.contains(&key("000")), "{filter}");
        for (key, value) in &all {
            let wanted = predicate.holds(value);
            assert!(!wanted || found.contains(key), "{filter} of {value:?}");
        }
    }
}

/// A store with nothing below a prefix gives nothing.
pub async fn a_scan_of_nothing_gives_nothing(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    assert_eq!(scanned(&backend, below(&[])).await, []);
    assert_eq!(scanned(&backend, below(&["a"])).await, []);
    assert_eq!(namespaces(&backend, &[], None, NOW).await, []);
    put(&backend, item(key_in(&["b"], "k"))).await;
    assert_eq!(scanned(&backend, below(&["a"])).await, []);
    assert_eq!(namespaces(&backend, &["a"], None, NOW).await, []);
}

/// Each namespace once, ascending, after any other.
pub async fn namespaces_come_once_in_order(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let all = ordered();
    put_all(&backend, all.clone()).await;
    put_all(&backend, (0..300).map(|n| key_in(&["a"], &n.to_string()))).await;
    let mut expected: Vec<Namespace> = all.iter().map(|key| key.namespace.clone()).collect();
    expected.dedup();
    assert_eq!(namespaces(&backend, &[], None, NOW).await, expected);
    for after in [&["a"][..], &["a", "b"], &["a", "none"], &["🦀🦀"], &["0"]] {
        let wanted = namespace(after);
        let rest: Vec<_> = expected
            .iter()
            .filter(|ns| **ns > wanted)
            .cloned()
            .collect();
        let found = namespaces(&backend, &[], Some(after), NOW).await;
        assert_eq!(found, rest, "after {after:?}");
    }
}

/// A namespace whose items have all expired, or were removed, is not listed.
pub async fn namespaces_have_a_living_item(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, until(item(key_in(&["a"], "1")), NOW + 10)).await;
    put(&backend, until(item(key_in(&["b"], "1")), NOW + 10)).await;
    put(&backend, item(key_in(&["b"], "2"))).await;
    put(&backend, item(key_in(&["c"], "1"))).await;
    put(&backend, item(key_in(&["d", "e"], "1"))).await;
    remove(&backend, key_in(&["c"], "1")).await;
    let (a, b, d) = (namespace(&["a"]), namespace(&["b"]), namespace(&["d", "e"]));
    let before = namespaces(&backend, &[], None, NOW + 9).await;
    assert_eq!(before, [a, b.clone(), d.clone()]);
    let after = namespaces(&backend, &[], None, NOW + 10).await;
    assert_eq!(after, [b, d]);
}

/// Thousands of namespaces are listed.
pub async fn many_namespaces_are_listed(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let keys: Vec<_> = (0..1500)
        .map(|n| key_in(&["u", &format!("{n:04}"), "p"], "k"))
        .collect();
    put_all(&backend, keys.clone()).await;
    let expected: Vec<_> = keys.into_iter().map(|key| key.namespace).collect();
    assert_eq!(namespaces(&backend, &["u"], None, NOW).await, expected);
}
