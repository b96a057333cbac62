//! What filters mean, on items that a backend has stored.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::store::{Search, Store};

use super::support::*;

async fn people(target: &Target) -> Store {
    let store = target.store();
    for (key, value) in [
        (
            "ada",
            json!({"age": 36, "city": "London", "tags": ["math", "poetry"], "ok": true}),
        ),
        (
            "bob",
            json!({"age": 9, "city": "Bonn", "tags": [], "ok": false, "mail": null}),
        ),
        (
            "cyd",
            json!({"age": 9.5, "city": "london", "home": {"zip": "53111", "no": 7}}),
        ),
        (
            "dan",
            json!({"age": "10", "city": "Bonn", "home": {"zip": "10115"}, "ok": 1}),
        ),
        (
            "eve",
            json!({"city": "Zürich", "home": {"zip": "53111"}, "tags": ["poetry"]}),
        ),
        (
            "fay",
            json!({"age": 100, "home": "none", "a.b": 1, "$d": 2, "": 3}),
        ),
    ] {
        put(&store, key, value).await;
    }
    store
}

async fn assert_all(store: &Store, cases: &[(Json, &[&str])]) {
    for (filter, expected) in cases {
        assert_eq!(matching(store, filter.clone()).await, *expected, "{filter}");
    }
}

/// Equality is that of JSON: by type, and case counts.
pub async fn equality_is_that_of_json(target: &Target) {
    let store = people(target).await;
    assert_all(
        &store,
        &[
            (json!({"city": "London"}), &["ada"]),
            (json!({"city": {"$eq": "Bonn"}}), &["bob", "dan"]),
            (json!({"city": "zürich"}), &[]),
            (json!({"city": "Zürich"}), &["eve"]),
            (json!({"age": 9}), &["bob"]),
            (json!({"age": 9.0}), &["bob"]),
            (json!({"age": 10}), &[]),
            (json!({"age": "10"}), &["dan"]),
            (json!({"ok": true}), &["ada"]),
            (json!({"ok": 1}), &["dan"]),
            (json!({"ok": "true"}), &[]),
            (json!({"tags": []}), &["bob"]),
            (json!({"tags": ["poetry"]}), &["eve"]),
            (json!({"tags": ["poetry", "math"]}), &[]),
            (json!({"tags": "poetry"}), &[]),
        ],
    )
    .await;
}

/// Numbers are compared as numbers, whatever their length and however large.
pub async fn numbers_are_compared_as_numbers(target: &Target) {
    let store = people(target).await;
    assert_all(
        &store,
        &[
            (json!({"age": {"$gt": 9}}), &["ada", "cyd", "fay"]),
            (json!({"age": {"$gte": 9}}), &["ada", "bob", "cyd", "fay"]),
            (json!({"age": {"$lt": 36}}), &["bob", "cyd"]),
            (json!({"age": {"$lte": 36.0}}), &["ada", "bob", "cyd"]),
            (json!({"age": {"$gt": 9, "$lt": 100}}), &["ada", "cyd"]),
            (json!({"age": {"$gt": "1"}}), &["dan"]),
        ],
    )
    .await;
    let two_to_53 = 1u64 << 53;
    for (key, n) in [("x", two_to_53), ("y", two_to_53 + 1), ("z", u64::MAX)] {
        put(&store, key, json!({"big": n})).await;
    }
    assert_all(
        &store,
        &[
            (json!({"big": {"$gt": two_to_53}}), &["y", "z"]),
            (json!({"big": two_to_53 + 1}), &["y"]),
            (json!({"big": {"$gt": -1e300}}), &["x", "y", "z"]),
        ],
    )
    .await;
}

/// What is missing, or cannot be compared, is neither less nor greater; no error.
pub async fn what_cannot_be_compared_does_not_match(target: &Target) {
    let store = people(target).await;
    assert_all(
        &store,
        &[
            (json!({"none": {"$gt": 0}}), &[]),
            (json!({"mail": {"$lte": 0}}), &[]),
            (json!({"home": {"$gt": 0}}), &[]),
            (json!({"tags": {"$gte": 0}}), &[]),
            (json!({"mail": {"$lte": false}}), &[]),
            (json!({"mail": null}), &["bob"]),
            (json!({"none": null}), &[]),
        ],
    )
    .await;
}

/// `$ne` and `$nin` hold for what is missing; `$in` for one of several.
pub async fn sets_and_their_opposites(target: &Target) {
    let store = people(target).await;
    assert_all(
        &store,
        &[
            (
                json!({"city": {"$in": ["Bonn", "Zürich"]}}),
                &["bob", "dan", "eve"],
            ),
            (json!({"city": {"$in": []}}), &[]),
            (
                json!({"city": {"$nin": ["Bonn", "London"]}}),
                &["cyd", "eve", "fay"],
            ),
            (
                json!({"city": {"$ne": "Bonn"}}),
                &["ada", "cyd", "eve", "fay"],
            ),
            (json!({"age": {"$in": [9.0, "10"]}}), &["bob", "dan"]),
            (json!({"mail": {"$in": [null]}}), &["bob"]),
            (json!({"tags": {"$in": [["poetry"]]}}), &["eve"]),
            (json!({"mail": {"$exists": true}}), &["bob"]),
            (json!({"age": {"$exists": false}}), &["eve"]),
        ],
    )
    .await;
}

/// Objects match by what the filter names, at any depth, or with `$eq` as a whole.
pub async fn objects_match_by_their_members(target: &Target) {
    let store = people(target).await;
    assert_all(
        &store,
        &[
            (json!({"home": {"zip": "53111"}}), &["cyd", "eve"]),
            (json!({"home.zip": "53111"}), &["cyd", "eve"]),
            (json!({"home": {"$eq": {"zip": "53111"}}}), &["eve"]),
            (json!({"home": {"no": {"$gt": 6}}}), &["cyd"]),
            (json!({"home.no": {"$lt": 6}}), &[]),
            (json!({"tags.0": "poetry"}), &["eve"]),
            (json!({"tags.1": "poetry"}), &["ada"]),
            (json!({"home": "none"}), &["fay"]),
            (json!({"a.b": 1}), &[]),
            (json!({"a\\.b": 1}), &["fay"]),
            (json!({"\\$d": 2}), &["fay"]),
            (json!({"": 3}), &["fay"]),
        ],
    )
    .await;
}

/// Conditions are joined by and, or, not; several members must all hold.
pub async fn conditions_are_joined(target: &Target) {
    let store = people(target).await;
    assert_all(
        &store,
        &[
            (json!({}), &["ada", "bob", "cyd", "dan", "eve", "fay"]),
            (json!({"city": "Bonn", "age": 9}), &["bob"]),
            (
                json!({"$or": [{"city": "London"}, {"age": 100}]}),
                &["ada", "fay"],
            ),
            (json!({"$or": []}), &[]),
            (json!({"$and": [{"city": "Bonn"}, {"ok": 1}]}), &["dan"]),
            (
                json!({"$and": []}),
                &["ada", "bob", "cyd", "dan", "eve", "fay"],
            ),
            (
                json!({"$not": {"city": "Bonn"}}),
                &["ada", "cyd", "eve", "fay"],
            ),
            (
                json!({"age": {"$not": {"$lt": 36}}}),
                &["ada", "dan", "eve", "fay"],
            ),
            (
                json!({"city": "Bonn", "$or": [{"age": 9}, {"$not": {"ok": false}}]}),
                &["bob", "dan"],
            ),
        ],
    )
    .await;
}

/// A filter that is none is refused before anything is read, and says why.
pub async fn what_is_no_filter_is_refused(target: &Target) {
    drop(people(target).await);
    for (filter, word) in [
        (json!([]), "object"),
        (json!("x"), "object"),
        (json!({"age": {"$near": 1}}), "$near"),
        (json!({"$xor": []}), "$xor"),
        (json!({"age": {"$in": 1}}), "list"),
        (json!({"age": {"$exists": 1}}), "true or false"),
        (json!({"tags": {"$gte": []}}), "a list"),
        (json!({"age": {"$gt": null}}), "null"),
        (json!({"home": {"$not": {"$lt": {"no": 7}}}}), "an object"),
        (json!({"age": {"$gt": 1, "x": 2}}), "$eq"),
    ] {
        let error = Search::below(NS).unwrap().filter(&filter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// The value's own bytes are the truth: a filter sees a value as the last put, patch or
/// removal left it.
pub async fn filters_see_the_last_write(target: &Target) {
    let store = people(target).await;
    store
        .patch(NS, "ada", json!({"city": "Bonn", "age": null}))
        .await
        .unwrap();
    put(&store, "bob", json!({"city": "Rom"})).await;
    store.delete(NS, "dan").await.unwrap();
    assert_all(
        &store,
        &[
            (json!({"city": "Bonn"}), &["ada"]),
            (json!({"age": {"$exists": false}}), &["ada", "bob", "eve"]),
            (json!({"city": "Rom"}), &["bob"]),
            (json!({"ok": 1}), &[]),
        ],
    )
    .await;
}
