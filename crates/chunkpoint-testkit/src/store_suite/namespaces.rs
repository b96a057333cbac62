//! Listing namespaces.

use chunkpoint_core::store::{LabelMatch, Namespace, NamespaceQuery, Store};

use super::support::*;

fn matching_labels(labels: &[&str]) -> Vec<LabelMatch> {
    NamespaceQuery::labels(labels).unwrap()
}

fn query(prefix: &[&str], suffix: &[&str]) -> NamespaceQuery {
    let query = NamespaceQuery::default().prefix(prefix).unwrap();
    query.suffix(suffix).unwrap()
}

async fn listed(store: &Store, query: NamespaceQuery) -> Vec<Namespace> {
    store.list_namespaces(query).await.unwrap()
}

async fn filled(target: &Target) -> Store {
    let store = target.store();
    let all: [&[&str]; 9] = [
        &["a", "b", "c"],
        &["a", "b", "d", "e"],
        &["a", "b", "d", "i"],
        &["a", "b", "f"],
        &["a", "c", "f"],
        &["b", "a", "f"],
        &["users", "123"],
        &["users", "456", "settings"],
        &["admin", "users", "789"],
    ];
    for namespace in all {
        store.put(namespace, "k", json!({})).await.unwrap();
        store.put(namespace, "l", json!({})).await.unwrap();
    }
    store
}

/// All of them, each once, in order, without a condition.
pub async fn all_are_listed_without_a_condition(target: &Target) {
    let store = filled(target).await;
    let expected = spaces(&[
        &["a", "b", "c"],
        &["a", "b", "d", "e"],
        &["a", "b", "d", "i"],
        &["a", "b", "f"],
        &["a", "c", "f"],
        &["admin", "users", "789"],
        &["b", "a", "f"],
        &["users", "123"],
        &["users", "456", "settings"],
    ]);
    assert_eq!(listed(&store, NamespaceQuery::default()).await, expected);
}

/// By prefix, by suffix, and by both, which must both hold.
pub async fn prefix_and_suffix_must_both_hold(target: &Target) {
    let store = filled(target).await;
    let found = listed(&store, query(&["a", "b"], &[])).await;
    let of_ab = spaces(&[
        &["a", "b", "c"],
        &["a", "b", "d", "e"],
        &["a", "b", "d", "i"],
        &["a", "b", "f"],
    ]);
    assert_eq!(found, of_ab);
    let found = listed(&store, query(&[], &["f"])).await;
    assert_eq!(
        found,
        spaces(&[&["a", "b", "f"], &["a", "c", "f"], &["b", "a", "f"]])
    );
    let found = listed(&store, query(&["a"], &["f"])).await;
    assert_eq!(found, spaces(&[&["a", "b", "f"], &["a", "c", "f"]]));
    assert_eq!(listed(&store, query(&["users"], &["f"])).await, []);
    // They may overlap.
    let found = listed(&store, query(&["users", "123"], &["users", "123"])).await;
    assert_eq!(found, spaces(&[&["users", "123"]]));
    let longer = query(&["users", "123", "x"], &[]);
    assert_eq!(listed(&store, longer).await, []);
}

/// A star stands for exactly one label, in prefix and suffix.
pub async fn a_star_stands_for_one_label(target: &Target) {
    let store = filled(target).await;
    let found = listed(&store, query(&["a", "*", "f"], &[])).await;
    assert_eq!(found, spaces(&[&["a", "b", "f"], &["a", "c", "f"]]));
    let found = listed(&store, query(&["*", "users"], &[])).await;
    assert_eq!(found, spaces(&[&["admin", "users", "789"]]));
    let found = listed(&store, query(&[], &["d", "*"])).await;
    assert_eq!(
        found,
        spaces(&[&["a", "b", "d", "e"], &["a", "b", "d", "i"]])
    );
    let found = listed(&store, query(&["*", "*", "*", "*"], &[])).await;
    assert_eq!(
        found,
        spaces(&[&["a", "b", "d", "e"], &["a", "b", "d", "i"]])
    );
    let found = listed(&store, query(&["users", "*"], &[])).await;
    let both = spaces(&[&["users", "123"], &["users", "456", "settings"]]);
    assert_eq!(found, both);
}

/// A star is a label like any other where it is stored, and can be asked for as such.
pub async fn a_stored_star_is_a_label(target: &Target) {
    let store = filled(target).await;
    store.put(&["a", "*"], "k", json!({})).await.unwrap();
    store.put(&["*"], "k", json!({})).await.unwrap();
    let literal = NamespaceQuery {
        prefix: vec![LabelMatch::Is("*".into())],
        ..NamespaceQuery::default()
    };
    assert_eq!(listed(&store, literal).await, spaces(&[&["*"]]));
    let literal = NamespaceQuery {
        suffix: vec![LabelMatch::Is("*".into())],
        ..NamespaceQuery::default()
    };
    assert_eq!(
        listed(&store, literal).await,
        spaces(&[&["*"], &["a", "*"]])
    );
    assert_eq!(found(&store, below(&["*"])).await, ["k"]);
}

/// Cut to a depth, and then each once.
pub async fn a_depth_cuts_and_lists_once(target: &Target) {
    let store = filled(target).await;
    let cut = |depth| NamespaceQuery {
        max_depth: Some(depth),
        ..query(&["a"], &[])
    };
    assert_eq!(listed(&store, cut(1)).await, spaces(&[&["a"]]));
    assert_eq!(
        listed(&store, cut(2)).await,
        spaces(&[&["a", "b"], &["a", "c"]])
    );
    let three = spaces(&[
        &["a", "b", "c"],
        &["a", "b", "d"],
        &["a", "b", "f"],
        &["a", "c", "f"],
    ]);
    assert_eq!(listed(&store, cut(3)).await, three);
    assert_eq!(listed(&store, cut(9)).await.len(), 5);
    // The suffix is matched before it is cut.
    let query = NamespaceQuery {
        max_depth: Some(1),
        ..query(&[], &["f"])
    };
    assert_eq!(listed(&store, query).await, spaces(&[&["a"], &["b"]]));
}

/// Pages come after sorting, cutting and listing once; offset and limit count those.
pub async fn pages_hold_each_namespace_once(target: &Target) {
    let store = target.store();
    for n in 0..130 {
        for sub in ["x", "y"] {
            let namespace = ["p", &format!("{n:03}"), sub];
            store.put(&namespace, "k", json!({})).await.unwrap();
        }
    }
    let page = |limit, offset| NamespaceQuery {
        max_depth: Some(2),
        limit,
        offset,
        ..query(&["p"], &[])
    };
    let all = listed(&store, page(Some(1000), 0)).await;
    assert_eq!(all.len(), 130);
    assert!(all.is_sorted());
    assert_eq!(
        listed(&store, page(None, 0)).await,
        all[..100],
        "100 unless said"
    );
    let mut paged = Vec::new();
    for n in 0..5 {
        paged.extend(listed(&store, page(Some(30), n * 30)).await);
    }
    assert_eq!(paged, all);
    assert_eq!(listed(&store, page(Some(0), 0)).await, []);
    assert_eq!(listed(&store, page(Some(5), 500)).await, []);
}

/// Labels are matched as wholes: no text that begins alike.
pub async fn labels_are_matched_as_wholes(target: &Target) {
    let store = target.store();
    let all: [&[&str]; 6] = [
        &["user"],
        &["user", "x"],
        &["user2", "x"],
        &["my user"],
        &["x", "user"],
        &["x", "superuser"],
    ];
    for namespace in all {
        store.put(namespace, "k", json!({})).await.unwrap();
    }
    let found = listed(&store, query(&["user"], &[])).await;
    assert_eq!(found, spaces(&[&["user"], &["user", "x"]]));
    let found = listed(&store, query(&[], &["user"])).await;
    assert_eq!(found, spaces(&[&["user"], &["x", "user"]]));
}

/// Looking for an item does not make its namespace appear.
pub async fn a_read_makes_no_namespace(target: &Target) {
    let store = target.store();
    assert_eq!(item_in(&store, &["ghost"], "k").await, None);
    store.delete(&["ghost"], "k").await.unwrap();
    assert_eq!(found(&store, below(&["ghost"])).await, [""; 0]);
    assert_eq!(listed(&store, NamespaceQuery::default()).await, []);
}

/// A namespace goes with its last item, removed or expired.
pub async fn a_namespace_goes_with_its_last_item(target: &Target) {
    let store = target.store();
    store.put(&["a"], "1", json!({})).await.unwrap();
    store.put(&["a"], "2", json!({})).await.unwrap();
    put_for(&store, "mortal", 1.0).await;
    store.delete(&["a"], "1").await.unwrap();
    let both = spaces(&[&["a"], NS]);
    assert_eq!(listed(&store, NamespaceQuery::default()).await, both);
    store.delete(&["a"], "2").await.unwrap();
    assert_eq!(
        listed(&store, NamespaceQuery::default()).await,
        spaces(&[NS])
    );
    target.clock().advance(minutes(1.0));
    assert_eq!(listed(&store, NamespaceQuery::default()).await, []);
}

/// More namespaces than any page of a storage are all seen.
pub async fn no_namespace_is_overlooked(target: &Target) {
    let store = target.store();
    for n in 0..1200 {
        let label = format!("{n:04}");
        store.put(&["all", &label], "k", json!({})).await.unwrap();
    }
    let query = NamespaceQuery {
        limit: Some(10_000),
        ..query(&["all"], &[])
    };
    assert_eq!(listed(&store, query.clone()).await.len(), 1200);
    let last = NamespaceQuery {
        suffix: matching_labels(&["1199"]),
        limit: Some(1),
        ..query
    };
    assert_eq!(listed(&store, last).await, spaces(&[&["all", "1199"]]));
}
