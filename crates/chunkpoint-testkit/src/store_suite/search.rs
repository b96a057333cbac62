//! Finding items below a namespace.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::store::{Order, Search};

use super::support::*;

/// Items of several namespaces, in the order of their names.
async fn filled(target: &Target) -> chunkpoint_core::store::Store {
    let store = target.store();
    for (n, (namespace, key)) in [
        (&["a"][..], "3"),
        (&["b"], "1"),
        (&["a", "x"], "2"),
        (&["a"], "1"),
        (&["ab"], "1"),
        (&["a", "x", "y"], "1"),
        (&["a"], "2"),
    ]
    .into_iter()
    .enumerate()
    {
        let value = json!({"n": n, "even": n % 2 == 0});
        store.put(namespace, key, value).await.unwrap();
        target.clock().advance(minutes(1.0));
    }
    store
}

async fn numbers(store: &chunkpoint_core::store::Store, search: Search) -> Vec<u64> {
    let items = store.search(search).await.unwrap();
    let number = |item: &chunkpoint_core::store::StoreItem| item.value["n"].as_u64().unwrap();
    items.iter().map(number).collect()
}

/// A search gives whole items, in the order of their names.
pub async fn a_search_gives_items_in_order(target: &Target) {
    let store = filled(target).await;
    assert_eq!(numbers(&store, below(&[])).await, [3, 6, 0, 2, 5, 4, 1]);
    for item in store.search(below(&[])).await.unwrap() {
        let labels: Vec<&str> = item.namespace.labels().iter().map(|l| &**l).collect();
        assert_eq!(item_in(&store, &labels, &item.key).await, Some(item));
    }
}

/// A prefix is of whole labels.
pub async fn a_prefix_is_of_whole_labels(target: &Target) {
    let store = filled(target).await;
    assert_eq!(numbers(&store, below(&["a"])).await, [3, 6, 0, 2, 5]);
    assert_eq!(numbers(&store, below(&["a", "x"])).await, [2, 5]);
    assert_eq!(numbers(&store, below(&["ab"])).await, [4]);
    assert_eq!(numbers(&store, below(&["x"])).await, [0; 0]);
}

/// Ten items unless said, none if none are wanted.
pub async fn ten_items_unless_said(target: &Target) {
    let store = target.store();
    for n in 0..25 {
        put(&store, &format!("{n:02}"), json!({"n": n})).await;
    }
    let search = Search::below(NS).unwrap();
    assert_eq!(numbers(&store, search.clone()).await, Vec::from_iter(0..10));
    assert_eq!(numbers(&store, search.clone().limit(0)).await, [0; 0]);
    assert_eq!(numbers(&store, search.clone().limit(3)).await, [0, 1, 2]);
    let all = Vec::from_iter(0..25);
    assert_eq!(numbers(&store, search.clone().limit(usize::MAX)).await, all);
    let far = search.limit(usize::MAX).offset(usize::MAX);
    assert_eq!(numbers(&store, far).await, [0; 0]);
}

/// Pages by offset hold every item once, in every order, with and without a filter.
pub async fn pages_by_offset_hold_everything_once(target: &Target) {
    let store = target.store();
    for n in 0..43u64 {
        let value = json!({"n": n, "third": n % 3 == 0});
        put(&store, &format!("{:02}", n * 17 % 43), value).await;
        target.clock().advance(minutes(1.0));
    }
    for order in [Order::Key, Order::Updated, Order::Created] {
        for filter in [json!({}), json!({"third": true})] {
            let search = below(&[]).filter(&filter).unwrap().order(order);
            let all = numbers(&store, search.clone()).await;
            assert_eq!(all.len(), if filter == json!({}) { 43 } else { 15 });
            for size in [1, 4, 7, 50] {
                let mut paged = Vec::new();
                for page in 0.. {
                    let page = search.clone().limit(size).offset(page * size);
                    let found = numbers(&store, page).await;
                    paged.extend_from_slice(&found);
                    if found.len() < size {
                        break;
                    }
                }
                assert_eq!(paged, all, "{order:?}, pages of {size}");
            }
        }
    }
}

/// Pages that go on after the last item hold every item once.
pub async fn pages_after_the_last_item_hold_everything_once(target: &Target) {
    let store = filled(target).await;
    for prefix in [&[][..], &["a"]] {
        let all = numbers(&store, below(prefix)).await;
        for size in [1, 2, 3] {
            let (mut paged, mut search) = (Vec::new(), below(prefix).limit(size));
            loop {
                let items = store.search(search.clone()).await.unwrap();
                let Some(last) = items.last() else { break };
                search = search.after(last.item_key());
                paged.extend(items.iter().map(|item| item.value["n"].as_u64().unwrap()));
            }
            assert_eq!(paged, all);
        }
    }
    let after = below(&[])
        .after(name(&["a", "x"], "none"))
        .offset(1)
        .limit(2);
    assert_eq!(numbers(&store, after).await, [4, 1]);
}

/// By time there is no place after an item: that is refused, with what to do instead.
pub async fn only_in_the_order_of_names_a_search_goes_on_after_an_item(target: &Target) {
    let store = filled(target).await;
    for order in [Order::Updated, Order::Created] {
        for limit in [0, 5] {
            let search = below(&[]).order(order).limit(limit);
            let found = store.search(search.after(name(&["a"], "1"))).await;
            let error = found.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains("page by `offset`"), "{error}");
        }
    }
}

/// The filter is applied before paging: pages are full while there are items.
pub async fn pages_of_a_filter_are_full(target: &Target) {
    let store = target.store();
    for n in 0..600u64 {
        let value = json!({"n": n, "rare": n % 50 == 49});
        put(&store, &format!("{n:03}"), value).await;
    }
    let rare = below(&[]).filter(&json!({"rare": true})).unwrap();
    let page = numbers(&store, rare.clone().limit(5)).await;
    assert_eq!(page, [49, 99, 149, 199, 249]);
    let page = numbers(&store, rare.limit(5).offset(10)).await;
    assert_eq!(page, [549, 599]);
}

/// By the time of the last put or patch, the newest first, then by name.
pub async fn what_was_updated_last_may_come_first(target: &Target) {
    let store = filled(target).await;
    let search = below(&[]).order(Order::Updated);
    assert_eq!(numbers(&store, search.clone()).await, [6, 5, 4, 3, 2, 1, 0]);
    store
        .patch(&["b"], "1", json!({"touched": true}))
        .await
        .unwrap();
    store.put(&["a"], "3", json!({"n": 0})).await.unwrap();
    assert_eq!(numbers(&store, search.clone()).await, [0, 1, 6, 5, 4, 3, 2]);
    assert_eq!(numbers(&store, search.limit(2).offset(1)).await, [1, 6]);
}

/// By the time of creation, which an overwrite does not change.
pub async fn what_was_created_last_may_come_first(target: &Target) {
    let store = filled(target).await;
    store.put(&["a"], "3", json!({"n": 0})).await.unwrap();
    let search = below(&[]).order(Order::Created);
    assert_eq!(numbers(&store, search.clone()).await, [6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(numbers(&store, search.limit(3)).await, [6, 5, 4]);
}

/// Removed and expired items are not found, and take no place on a page.
pub async fn what_is_gone_takes_no_place(target: &Target) {
    let store = target.store();
    for n in 0..30 {
        put_for(
            &store,
            &format!("{n:02}"),
            if n % 2 == 0 { 1.0 } else { 9.0 },
        )
        .await;
    }
    store.delete(NS, "01").await.unwrap();
    target.clock().advance(minutes(1.0));
    let page = found(&store, below(&[]).limit(4)).await;
    assert_eq!(page, ["03", "05", "07", "09"]);
    for order in [Order::Updated, Order::Created] {
        let page = found(&store, below(&[]).order(order).limit(4)).await;
        assert_eq!(page, ["03", "05", "07", "09"]);
    }
    assert_eq!(found(&store, below(&[])).await.len(), 14);
}

/// Large values are found by what is anywhere in them, also right after a patch.
pub async fn large_values_are_found_by_any_member(target: &Target) {
    let store = target.store();
    for n in 0..12u64 {
        let value = json!({"n": n, "long": text(n, 30_000), "z": {"deep": [n, {"x": n * 10}]}});
        put(&store, &format!("{n:02}"), value).await;
    }
    assert_eq!(
        matching(&store, json!({"z.deep.1.x": {"$gte": 100}})).await,
        ["10", "11"]
    );
    store
        .patch(NS, "03", json!({"z": {"deep": [0, {"x": 1000}]}}))
        .await
        .unwrap();
    for store in [&store, &target.store()] {
        let found = matching(store, json!({"z.deep.1.x": {"$gte": 100}})).await;
        assert_eq!(found, ["03", "10", "11"]);
        assert_eq!(
            matching(store, json!({"long": text(5, 30_000)})).await,
            ["05"]
        );
        assert_eq!(
            matching(store, json!({"z.deep": [3, {"x": 30}]})).await,
            [""; 0]
        );
    }
}

/// A search in an empty store, or below what does not exist, finds nothing.
pub async fn a_search_of_nothing_finds_nothing(target: &Target) {
    let store = target.store();
    assert_eq!(found(&store, below(&[])).await, [""; 0]);
    put(&store, "a", json!({})).await;
    assert_eq!(found(&store, below(&["none"])).await, [""; 0]);
    assert_eq!(found(&store, below(&["users", "ada", "a"])).await, [""; 0]);
}
