//! Several operations in one call.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::store::{
    Delete, Get, LabelMatch, NamespaceQuery, Order, Put, Store, StoreAnswer, StoreItem, StoreOp,
    Ttl,
};
use chunkpoint_core::store_backend::Expect;

use super::support::*;

fn get(key: &str) -> StoreOp {
    Get::new(NS, key).unwrap().into()
}

fn set(key: &str, value: Json) -> StoreOp {
    putting(NS, key, value).into()
}

fn patch(key: &str, patch: Json) -> StoreOp {
    patching(key, patch).into()
}

fn delete(key: &str) -> StoreOp {
    Delete::new(NS, key).unwrap().into()
}

fn list() -> StoreOp {
    NamespaceQuery::default().into()
}

async fn run(store: &Store, ops: Vec<StoreOp>) -> Vec<StoreAnswer> {
    let answers = store.batch(ops).await.unwrap();
    answers.into_iter().map(Result::unwrap).collect()
}

fn value_of(answer: &StoreAnswer) -> Option<Json> {
    match answer {
        StoreAnswer::Item(item) => {
            let value = |item: &StoreItem| Json::Object(item.value.clone());
            item.as_ref().map(value)
        }
        other => panic!("{other:?} is no answer to a get"),
    }
}

fn keys_of(answer: &StoreAnswer) -> Vec<&str> {
    match answer {
        StoreAnswer::Items(items) => items.iter().map(|item| &*item.key).collect(),
        other => panic!("{other:?} is no answer to a search"),
    }
}

/// The answers are in the order of the operations, whatever their kinds.
pub async fn answers_are_in_order(target: &Target) {
    let store = target.store();
    put(&store, "a", json!({"n": 1})).await;
    put(&store, "b", json!({"n": 2})).await;
    let answers = run(
        &store,
        vec![
            get("b"),
            set("c", json!({"n": 3})),
            StoreOp::Search(below(NS)),
            delete("a"),
            get("none"),
            list(),
            patch("b", json!({"p": 1})),
            get("a"),
        ],
    )
    .await;
    assert_eq!(value_of(&answers[0]), Some(json!({"n": 2})));
    assert!(matches!(&answers[1], StoreAnswer::Written(Some(_))));
    assert_eq!(keys_of(&answers[2]), ["a", "b"]);
    assert_eq!(answers[3], StoreAnswer::Deleted);
    assert_eq!(value_of(&answers[4]), None);
    assert_eq!(answers[5], StoreAnswer::Namespaces(spaces(&[NS])));
    assert!(matches!(&answers[6], StoreAnswer::Written(Some(_))));
    assert_eq!(value_of(&answers[7]), Some(json!({"n": 1})));
    assert_eq!(found(&store, below(NS)).await, ["b", "c"]);
    assert_eq!(value(&store, "b").await, Some(json!({"n": 2, "p": 1})));
}

/// Reads see what was before the batch's writes, wherever they stand.
pub async fn reads_see_what_was_before(target: &Target) {
    let store = target.store();
    let ops = || {
        vec![
            set("a", json!({"n": 1})),
            get("a"),
            StoreOp::Search(below(&[])),
            list(),
        ]
    };
    let answers = run(&store, ops()).await;
    assert_eq!(value_of(&answers[1]), None);
    assert_eq!(keys_of(&answers[2]), [""; 0]);
    assert_eq!(answers[3], StoreAnswer::Namespaces(Vec::new()));
    let answers = run(&store, ops()).await;
    assert_eq!(value_of(&answers[1]), Some(json!({"n": 1})));
    let answers = run(
        &store,
        vec![delete("a"), get("a"), patch("a", json!({"p": 1}))],
    )
    .await;
    assert_eq!(value_of(&answers[1]), Some(json!({"n": 1})));
    assert_eq!(value(&store, "a").await, Some(json!({"p": 1})));
}

/// Of several writes to one item the last put or removal counts, and is one write.
pub async fn the_last_write_of_an_item_counts(target: &Target) {
    let store = target.store();
    let before = target.watch().changes();
    let answers = run(
        &store,
        vec![
            set("a", json!({"n": 1})),
            set("b", json!({"n": 1})),
            set("a", json!({"n": 2})),
            delete("b"),
            delete("c"),
            set("c", json!({"n": 3})),
        ],
    )
    .await;
    assert_eq!(target.watch().changes() - before, 1);
    assert_eq!(answers[0], StoreAnswer::Written(None));
    assert_eq!(answers[1], StoreAnswer::Written(None));
    assert!(matches!(&answers[2], StoreAnswer::Written(Some(_))));
    assert_eq!(answers[3], StoreAnswer::Deleted);
    assert_eq!(value(&store, "a").await, Some(json!({"n": 2})));
    assert_eq!(value(&store, "b").await, None);
    assert_eq!(value(&store, "c").await, Some(json!({"n": 3})));
}

/// A patch is applied to what the batch has made of the item so far.
pub async fn patches_apply_in_order(target: &Target) {
    let store = target.store();
    for key in ["twice", "removed", "replaced"] {
        put(&store, key, json!({"old": 1})).await;
    }
    run(
        &store,
        vec![
            patch("twice", json!({"a": {"x": 1}, "b": 1})),
            patch("twice", json!({"a": {"y": 2}, "b": null})),
            delete("removed"),
            patch("removed", json!({"new": 1})),
            set("put", json!({"p": 1, "q": 1})),
            patch("put", json!({"p": null, "r": 1})),
            patch("replaced", json!({"a": 1})),
            set("replaced", json!({"b": 1})),
            patch("none", json!({"a": null, "b": 1})),
        ],
    )
    .await;
    for (key, expected) in [
        ("twice", json!({"old": 1, "a": {"x": 1, "y": 2}})),
        ("removed", json!({"new": 1})),
        ("put", json!({"q": 1, "r": 1})),
        ("replaced", json!({"b": 1})),
        ("none", json!({"b": 1})),
    ] {
        assert_eq!(value(&store, key).await, Some(expected), "{key}");
    }
}

/// If one operation cannot be accepted, nothing is done.
pub async fn nothing_is_done_if_one_cannot_be(target: &Target) {
    let store = target.store();
    put(&store, "old", json!({"n": 1})).await;
    let deep = (0..200).fold(json!({}), |inner, _| json!({"a": inner}));
    let reserved = || {
        let mut put = putting(NS, "a", json!({}));
        put.item = name(&["langgraph"], "a");
        StoreOp::Put(put)
    };
    let mortal = |minutes: f64| {
        StoreOp::Put(Put {
            ttl: Ttl::Minutes(minutes),
            ..putting(NS, "a", json!({}))
        })
    };
    for bad in [
        reserved(),
        mortal(-1.0),
        mortal(f64::NAN),
        set("a", deep.clone()),
        patch("a", deep),
        StoreOp::Search(below(&[]).order(Order::Updated).after(name(NS, "old"))),
        StoreOp::ListNamespaces(NamespaceQuery {
            prefix: vec![LabelMatch::Is("a.b".into())],
            ..NamespaceQuery::default()
        }),
    ] {
        let ops = vec![
            set("x", json!({})),
            delete("old"),
            bad,
            patch("y", json!({"a": 1})),
        ];
        let error = store.batch(ops).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(found(&store, below(&[])).await, ["old"]);
    }
}

/// Items are changed independently: what conflicts says which it is, the others are
/// done.
pub async fn a_conflict_names_its_item(target: &Target) {
    let store = target.store();
    let there = put(&store, "there", json!({"n": 1})).await;
    let stale = Expect::Version(there.version);
    put(&store, "there", json!({"n": 2})).await;
    let absent = StoreOp::Put(Put {
        expect: Expect::Absent,
        ..putting(NS, "there", json!({}))
    });
    let mut stale_patch = patching("other", json!({"a": 1}));
    stale_patch.expect = stale;
    let ops = vec![
        set("x", json!({})),
        absent,
        StoreOp::Patch(stale_patch),
        set("y", json!({})),
        patch("z", json!({})),
    ];
    let answers = store.batch(ops).await.unwrap();
    for (n, key) in [(1, "there"), (2, "other")] {
        let error = answers[n].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(key), "{error}");
    }
    assert!(answers[0].is_ok() && answers[3].is_ok() && answers[4].is_ok());
    assert_eq!(found(&store, below(&[])).await, ["there", "x", "y", "z"]);
    assert_eq!(value(&store, "there").await, Some(json!({"n": 2})));
}

/// What is expected of an item that the batch writes twice would mean nothing.
pub async fn an_expectation_allows_one_write(target: &Target) {
    let store = target.store();
    let absent = || {
        StoreOp::Put(Put {
            expect: Expect::Absent,
            ..putting(NS, "a", json!({}))
        })
    };
    for ops in [
        vec![absent(), set("a", json!({}))],
        vec![delete("a"), absent()],
        vec![absent(), patch("a", json!({"x": 1}))],
    ] {
        let error = store.batch(ops).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("\"a\""), "{error}");
    }
    assert_eq!(value(&store, "a").await, None);
}

/// No operations, no answers; the same get twice, the same answer twice.
pub async fn a_batch_may_be_empty_or_repeat_itself(target: &Target) {
    let store = target.store();
    assert_eq!(run(&store, Vec::new()).await, []);
    put(&store, "a", json!({"n": 1})).await;
    let answers = run(&store, vec![get("a"), get("a"), get("none"), get("a")]).await;
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[3]);
    assert_eq!(value_of(&answers[2]), None);
}

/// A thousand operations take a few calls of the backend.
pub async fn a_large_batch_is_few_calls(target: &Target) {
    let store = target.store();
    let before = (target.watch().changes(), target.watch().row_reads());
    let sets = (0..500).map(|n| set(&format!("{n:03}"), json!({"n": n})));
    let gets = (0..500).map(|n| get(&format!("{n:03}")));
    run(&store, sets.chain(gets).collect()).await;
    assert_eq!(target.watch().changes() - before.0, 1);
    assert_eq!(target.watch().row_reads() - before.1, 1);
    let gets = (0..500).map(|n| get(&format!("{n:03}"))).collect();
    for (n, answer) in run(&store, gets).await.iter().enumerate() {
        assert_eq!(value_of(answer), Some(json!({"n": n})));
    }
}

/// Large values go through a batch like any other.
pub async fn large_values_go_through_a_batch(target: &Target) {
    let store = target.store();
    let long = |n: u64| json!({"n": n, "text": text(n, 20_000)});
    let sets = (0..20).map(|n| set(&n.to_string(), long(n))).collect();
    run(&store, sets).await;
    let patches = (0..20).map(|n| patch(&n.to_string(), json!({"p": n})));
    run(&store, patches.collect()).await;
    let gets = (0..20).map(|n| get(&n.to_string())).collect();
    for (n, answer) in (0u64..).zip(run(&target.store(), gets).await) {
        let mut expected = long(n);
        expected["p"] = json!(n);
        assert!(value_of(&answer) == Some(expected));
    }
}
