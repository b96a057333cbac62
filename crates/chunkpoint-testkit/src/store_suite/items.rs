//! Putting, getting and removing single items.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::store::{Delete, Get, LabelMatch, NamespaceQuery, Put, Search};
use chunkpoint_core::store_backend::{Expect, ItemKey};

use super::support::*;

/// What was put comes back, with its name, its times and its version.
pub async fn an_item_comes_back(target: &Target) {
    let store = target.store();
    let written = put(&store, "profile", json!({"city": "London"})).await;
    for store in [&store, &target.store()] {
        let item = store
            .get(NS, "profile")
            .await
            .unwrap()
            .expect("it is there");
        assert_eq!(item.namespace.labels(), ["users".into(), "ada".into()]);
        assert_eq!(&*item.key, "profile");
        assert_eq!(Json::Object(item.value), json!({"city": "London"}));
        assert_eq!(item.version, written.version);
        let now = now(target);
        assert_eq!((item.created_ms, item.updated_ms), (now, now));
        assert_eq!(item.expires_ms, None);
    }
}

/// What was never put is not there, also in a namespace that has other items.
pub async fn what_was_never_put_is_none(target: &Target) {
    let store = target.store();
    assert_eq!(value(&store, "a").await, None);
    put(&store, "a", json!({})).await;
    assert_eq!(value(&store, "b").await, None);
    assert_eq!(item_in(&store, &["users"], "a").await, None);
    assert_eq!(item_in(&store, &["users", "ada", "x"], "a").await, None);
    assert_eq!(value(&store, "a").await, Some(json!({})));
}

/// A put replaces the whole value.
pub async fn a_put_replaces_the_whole_value(target: &Target) {
    let store = target.store();
    put(&store, "a", json!({"x": 1, "y": {"z": 2}})).await;
    put(&store, "a", json!({"y": {"w": 3}})).await;
    assert_eq!(value(&store, "a").await, Some(json!({"y": {"w": 3}})));
}

/// An overwrite keeps when the item was created; its version changes.
pub async fn an_overwrite_keeps_created(target: &Target) {
    let store = target.store();
    let first = put(&store, "a", json!({"n": 1})).await;
    let created = now(target);
    target.clock().advance(minutes(1.0));
    let second = put(&store, "a", json!({"n": 1})).await;
    assert_eq!(second.created_ms, created);
    assert_ne!(first.version, second.version);
    let item = item(&store, "a").await.expect("it is there");
    assert_eq!((item.created_ms, item.updated_ms), (created, now(target)));
    assert_eq!(item.version, second.version);
}

/// A removed item is gone, and new when it is put again.
pub async fn a_removed_item_is_gone(target: &Target) {
    let store = target.store();
    put(&store, "a", json!({"n": 1})).await;
    put(&store, "b", json!({"n": 2})).await;
    store.delete(NS, "a").await.unwrap();
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(found(&store, below(&[])).await, ["b"]);
    target.clock().advance(minutes(1.0));
    let again = put(&store, "a", json!({"n": 3})).await;
    assert_eq!(again.created_ms, now(target));
    assert_eq!(value(&store, "a").await, Some(json!({"n": 3})));
}

/// Removing what is not there is no error, also twice.
pub async fn removing_nothing_is_no_error(target: &Target) {
    let store = target.store();
    store.delete(NS, "a").await.unwrap();
    put(&store, "a", json!({})).await;
    store.delete(NS, "a").await.unwrap();
    store.delete(NS, "a").await.unwrap();
    assert_eq!(value(&store, "a").await, None);
}

/// Every kind of JSON comes back as it was.
pub async fn every_kind_of_json_comes_back(target: &Target) {
    let store = target.store();
    let all = json!({
        "null": null, "true": true, "false": false, "text": "x", "empty text": "",
        "zero": 0, "minus": -1, "i64": i64::MIN, "u64": u64::MAX, "float": 1.5,
        "large": 1e300, "small": 5e-324, "whole float": 1.0, "minus zero": -0.0,
        "list": [1, "x", null, [], {}, [[1], {"a": [null]}]], "empty list": [],
        "object": {"a": {"b": {"c": null}}}, "empty object": {},
        "": "a member without a name", "a.b": 1, "$set": 2, "\u{0}": "\u{0}", "\u{1}": 3,
        "unicode": "Zoë 日本語 🦀 e\u{301} \u{202e}", "control": "\r\n\t\u{7f}\u{0}",
        "quotes": "\"'`\\",
    });
    put(&store, "a", all.clone()).await;
    assert_eq!(value(&target.store(), "a").await, Some(all.clone()));
    let wide = json!({"all": all, "long": text(1, 20_000)});
    put(&store, "a", wide.clone()).await;
    assert_eq!(value(&target.store(), "a").await, Some(wide));
}

/// Floats come back to the last bit: embeddings are compared for equality.
pub async fn floats_come_back_to_the_last_bit(target: &Target) {
    let store = target.store();
    let mut rng = Rng::new(7);
    let floats: Vec<f64> = std::iter::repeat_with(|| f64::from_bits(rng.next_u64()))
        .filter(|float| float.is_finite())
        .take(2000)
        .collect();
    for (key, floats) in [("inline", &floats[..200]), ("pages", &floats[..])] {
        put(&store, key, json!({"floats": floats})).await;
        let read = value(&target.store(), key).await.expect("it is there");
        for (n, float) in floats.iter().enumerate() {
            let came = read["floats"][n].as_f64().expect("a number");
            assert_eq!(
                came.to_bits(),
                float.to_bits(),
                "{float:e} came as {came:e}"
            );
        }
    }
}

/// Text that is not ASCII comes back in labels, keys and values, and is found.
pub async fn text_that_is_not_ascii_comes_back(target: &Target) {
    let store = target.store();
    let texts = [
        "这是中文",
        "これは日本語です",
        "هذا عربي",
        "Ünïcödé",
        "🦀👩‍💻",
        "é",
        "e\u{301}",
    ];
    for text in texts {
        store
            .put(&["t", text], text, json!({"text": text}))
            .await
            .unwrap();
    }
    for text in texts {
        let item = item_in(&store, &["t", text], text)
            .await
            .expect("it is there");
        assert_eq!(item.value["text"], text);
        assert_eq!(matching(&store, json!({"text": text})).await, [text]);
    }
}

/// Line ends and blanks at the end of labels, keys and text are kept.
pub async fn trailing_newlines_are_kept(target: &Target) {
    let store = target.store();
    for end in ["", "\n", "\r\n", " ", "\n\n"] {
        let (label, key) = (format!("l{end}"), format!("k{end}"));
        let text = json!({"text": format!("v{end}")});
        store.put(&[&label], &key, text).await.unwrap();
    }
    assert_eq!(store.search(below(&[])).await.unwrap().len(), 5);
    for end in ["", "\n", "\r\n", " ", "\n\n"] {
        let (label, key) = (format!("l{end}"), format!("k{end}"));
        let item = item_in(&store, &[&label], &key).await.expect("it is there");
        assert_eq!(item.value["text"], format!("v{end}"));
        assert_eq!(found(&store, below(&[&label])).await, [key]);
    }
}

/// A value is an object; anything else is refused.
pub async fn only_objects_are_values(target: &Target) {
    let store = target.store();
    for value in [json!(null), json!(1), json!("x"), json!([{}]), json!(true)] {
        assert_eq!(
            kind(store.put(NS, "a", value.clone()).await),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            kind(store.patch(NS, "a", value).await),
            ErrorKind::InvalidInput
        );
    }
    assert_eq!(value(&store, "a").await, None);
}

/// Values that are too deep to be read again are refused, and no others.
pub async fn values_have_a_greatest_depth(target: &Target) {
    let deep = |levels: usize, list: bool| {
        (0..levels).fold(json!(1), |inner, _| match list {
            true => json!([inner]),
            false => json!({"a": inner}),
        })
    };
    let store = target.store();
    for list in [true, false] {
        for padding in [String::new(), text(3, 20_000)] {
            let fits = json!({"v": deep(90, list), "padding": padding});
            put(&store, "a", fits.clone()).await;
            assert_eq!(value(&target.store(), "a").await, Some(fits));
            for levels in [130, 400] {
                let too_deep = json!({"v": deep(levels, list), "padding": padding});
                let refused = store.put(NS, "b", too_deep.clone()).await;
                assert_eq!(kind(refused), ErrorKind::InvalidInput);
                let refused = store.patch(NS, "a", too_deep).await;
                assert_eq!(kind(refused), ErrorKind::InvalidInput);
            }
        }
    }
    assert_eq!(found(&store, below(&[])).await, ["a"]);
}

/// Labels and keys that cannot be are refused by every operation.
pub async fn impossible_names_are_refused(target: &Target) {
    let store = target.store();
    let refused = ErrorKind::InvalidInput;
    let long = "x".repeat(16 * 1024 + 1);
    let namespaces: [&[&str]; 6] = [&[], &[""], &["a", ""], &["a.b"], &["a\0"], &[&long]];
    for namespace in namespaces {
        assert_eq!(kind(store.put(namespace, "k", json!({})).await), refused);
        assert_eq!(kind(store.patch(namespace, "k", json!({})).await), refused);
        assert_eq!(kind(store.get(namespace, "k").await), refused);
        assert_eq!(kind(store.delete(namespace, "k").await), refused);
        if !namespace.is_empty() {
            assert_eq!(kind(Search::below(namespace)), refused);
            assert_eq!(kind(NamespaceQuery::labels(namespace)), refused);
        }
    }
    for key in ["", "a\0b", &long] {
        assert_eq!(kind(store.put(NS, key, json!({})).await), refused);
        assert_eq!(kind(store.patch(NS, key, json!({})).await), refused);
        assert_eq!(kind(store.get(NS, key).await), refused);
        assert_eq!(kind(store.delete(NS, key).await), refused);
    }
    assert_eq!(found(&store, below(&[])).await, [""; 0]);
}

/// Names made by hand are checked as well.
pub async fn names_made_by_hand_are_checked(target: &Target) {
    let store = target.store();
    let root = || ItemKey {
        namespace: chunkpoint_core::store::StoreNamespace::default(),
        key: "k".into(),
    };
    let nul = || ItemKey {
        key: "a\0b".into(),
        ..name(NS, "k")
    };
    for item in [root(), nul()] {
        let refused = ErrorKind::InvalidInput;
        let get = Get {
            item: item.clone(),
            refresh_ttl: None,
        };
        assert_eq!(kind(store.get_with(get).await), refused);
        let put = Put {
            item: item.clone(),
            ..putting(NS, "k", json!({}))
        };
        assert_eq!(kind(store.put_with(put).await), refused);
        let mut patch = patching("k", json!({"a": 1}));
        patch.item = item.clone();
        assert_eq!(kind(store.patch_with(patch).await), refused);
        let expect = Expect::Any;
        assert_eq!(
            kind(store.delete_with(Delete { item, expect }).await),
            refused
        );
    }
    let after = below(&[]).after(nul());
    assert_eq!(kind(store.search(after).await), ErrorKind::InvalidInput);
    let query = NamespaceQuery {
        prefix: vec![LabelMatch::Is("a.b".into())],
        ..NamespaceQuery::default()
    };
    assert_eq!(
        kind(store.list_namespaces(query).await),
        ErrorKind::InvalidInput
    );
}

/// The root label `langgraph` is reserved; it is an ordinary label elsewhere.
pub async fn the_reserved_root_is_refused(target: &Target) {
    let store = target.store();
    let refused = store.put(&["langgraph", "x"], "k", json!({})).await;
    assert_eq!(kind(refused), ErrorKind::InvalidInput);
    let refused = store.patch(&["langgraph"], "k", json!({})).await;
    assert_eq!(kind(refused), ErrorKind::InvalidInput);
    store
        .put(&["x", "langgraph"], "k", json!({}))
        .await
        .unwrap();
    store.put(&["langgraph2"], "k", json!({})).await.unwrap();
    assert_eq!(store.get(&["langgraph"], "k").await.unwrap(), None);
}

/// What is put on condition that it is not there is put once.
pub async fn a_put_may_expect_nothing_there(target: &Target) {
    let store = target.store();
    let put_of = |n: u64| Put {
        expect: Expect::Absent,
        ..putting(NS, "a", json!({"n": n}))
    };
    store.put_with(put_of(1)).await.unwrap();
    let error = store.put_with(put_of(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.to_string().contains("\"a\""),
        "it names the item: {error}"
    );
    assert_eq!(value(&store, "a").await, Some(json!({"n": 1})));
    store.delete(NS, "a").await.unwrap();
    store.put_with(put_of(3)).await.unwrap();
}

/// Put, patch and removal may expect a version, that of any earlier one is a conflict.
pub async fn a_write_may_expect_a_version(target: &Target) {
    let store = target.store();
    let first = put(&store, "a", json!({"n": 1})).await;
    let expect = Expect::Version(first.version);
    let second = Put {
        expect,
        ..putting(NS, "a", json!({"n": 2}))
    };
    let written = store.put_with(second.clone()).await.unwrap();
    assert_eq!(kind(store.put_with(second).await), ErrorKind::Conflict);
    let mut patch = patching("a", json!({"p": 1}));
    patch.expect = expect;
    assert_eq!(
        kind(store.patch_with(patch.clone()).await),
        ErrorKind::Conflict
    );
    let mut delete = Delete {
        item: name(NS, "a"),
        expect,
    };
    assert_eq!(
        kind(store.delete_with(delete.clone()).await),
        ErrorKind::Conflict
    );
    assert_eq!(value(&store, "a").await, Some(json!({"n": 2})));
    patch.expect = Expect::Version(written.version);
    let written = store.patch_with(patch).await.unwrap();
    assert_eq!(value(&store, "a").await, Some(json!({"n": 2, "p": 1})));
    delete.expect = Expect::Version(written.version);
    store.delete_with(delete.clone()).await.unwrap();
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(kind(store.delete_with(delete).await), ErrorKind::Conflict);
}

/// The store of a closed memory is unavailable.
pub async fn a_closed_memory_is_unavailable(target: &Target) {
    let memory = target.store_memory(target.settings());
    let store = memory.store().unwrap();
    put(&store, "a", json!({})).await;
    memory.close().await.unwrap();
    let unavailable = ErrorKind::Unavailable;
    assert_eq!(kind(store.get(NS, "a").await), unavailable);
    assert_eq!(kind(store.put(NS, "a", json!({})).await), unavailable);
    assert_eq!(
        kind(store.patch(NS, "a", json!({"x": 1})).await),
        unavailable
    );
    assert_eq!(kind(store.delete(NS, "a").await), unavailable);
    assert_eq!(kind(store.search(below(&[])).await), unavailable);
    let listed = store.list_namespaces(NamespaceQuery::default()).await;
    assert_eq!(kind(listed), unavailable);
    assert_eq!(kind(store.sweep().await), unavailable);
}

/// Everything is there after the storage was closed and opened again.
pub async fn a_reopened_store_has_everything(target: &Target) {
    let store = target.store();
    put(&store, "small", json!({"n": 1})).await;
    put(&store, "long", json!({"text": text(1, 100_000)})).await;
    store.patch(NS, "long", json!({"n": 1})).await.unwrap();
    put(&store, "gone", json!({"n": 1})).await;
    store.delete(NS, "gone").await.unwrap();
    put_for(&store, "mortal", 5.0).await;
    let before = store.search(below(&[])).await.unwrap();
    let Some(reopened) = target.reopened().await else {
        return;
    };
    let store = reopened.store();
    assert_eq!(store.search(below(&[])).await.unwrap(), before);
    assert_eq!(value(&store, "gone").await, None);
    reopened.clock().advance(minutes(5.0));
    assert_eq!(value(&store, "mortal").await, None);
}
