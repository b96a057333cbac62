//! Drafts: what each change does, alone and with others.

use std::collections::BTreeMap;

use chunkpoint_core::{ErrorKind, Item, Snapshot, Value, ValueKind};

use super::support::*;

/// A first draft makes the first checkpoint.
pub async fn a_first_draft_has_no_parent(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    assert!(thread.latest().await.unwrap().is_none());
    let draft = thread.draft().await.unwrap();
    assert!(draft.parent().is_none());
    let id = draft.id().to_owned();
    let first = commit(&thread, draft).await;
    assert_eq!((first.id(), first.parent_id()), (id.as_str(), None));
    assert_eq!(first.channels().count(), 0);
    assert_eq!(thread.latest().await.unwrap().unwrap().id(), id);
}

/// `set` takes a value of each kind, and another kind afterwards.
pub async fn set_replaces_a_value(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let map = BTreeMap::from([("k".to_owned(), Item::text("v"))]);
    let values = [
        Value::Item(Item::text("one")),
        Value::List(items(["a", "b"])),
        Value::Map(map),
        Value::List(Vec::new()),
        Value::Map(BTreeMap::new()),
        Value::Item(Item::new("", Vec::new())),
    ];
    let mut snapshots = Vec::new();
    for value in &values {
        let snapshot = step(&thread, |draft| {
            draft.set("c", value.clone()).unwrap();
        });
        snapshots.push(snapshot.await);
    }
    for (snapshot, expected) in snapshots.iter().zip(&values) {
        assert_eq!(value(snapshot, "c").await.as_ref(), Some(expected));
        assert_eq!(cold(target, snapshot).await["c"], *expected);
    }
}

/// `append` makes a list where there is none, and extends one.
pub async fn append_extends_a_list(target: &Target) {
    let memory = target.memory();
    let snapshots = appended(&thread(&memory), 40).await;
    for (n, snapshot) in (1..).zip(&snapshots) {
        assert_eq!(snapshot.list("list").await.unwrap().len(), n as u64);
        assert_eq!(value(snapshot, "list").await, Some(up_to(n)));
        assert_eq!(cold(target, snapshot).await["list"], up_to(n));
    }
}

/// `append` of nothing makes an empty list.
pub async fn append_of_nothing_makes_an_empty_list(target: &Target) {
    let memory = target.memory();
    let first = step(&thread(&memory), |draft| {
        draft.append("list", []).unwrap();
    })
    .await;
    assert_eq!(value(&first, "list").await, Some(Value::List(Vec::new())));
    assert!(first.list("list").await.unwrap().is_empty());
    let channels: Vec<_> = first.channels().collect();
    assert_eq!(channels, [("list", ValueKind::List, 0)]);
}

/// `splice` replaces any range by any number of items, on a list that has
/// chunks of its own.
pub async fn splice_replaces_a_range(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut rng = Rng::new(5);
    let mut model = random_items(1, 300, 100);
    let mut at = step(&thread, |draft| {
        draft.set("list", model.clone()).unwrap();
    })
    .await;
    for seed in 0..60 {
        let start = rng.below(model.len() as u64 + 1);
        let end = start + rng.below(model.len() as u64 + 1 - start).min(60);
        let new = random_items(100 + seed, rng.below(40) as usize, 100);
        at = step_on(&at, |draft| {
            draft.splice("list", start..end, new.clone()).unwrap();
        })
        .await;
        model.splice(start as usize..end as usize, new);
        let expected = Some(Value::List(model.clone()));
        assert!(value(&at, "list").await == expected, "after splice {seed}");
    }
    assert!(cold(target, &at).await["list"] == Value::List(model));
}

/// `remove` takes a channel away; one that is not there is no error.
pub async fn remove_takes_a_channel_away(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    let second = step(&thread, |draft| {
        draft.remove("list").unwrap().remove("never there").unwrap();
    })
    .await;
    assert_eq!(value(&second, "list").await, None);
    assert_eq!(second.channels().count(), 0);
    assert!(second.list("list").await.unwrap().is_empty());
    assert_eq!(value(&first, "list").await, Some(Value::List(items(["x"]))));
}

/// Changes of one draft apply in their order.
pub async fn changes_apply_in_order(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = step(&thread, |draft| {
        draft.append("list", items(["a", "b", "c"])).unwrap();
    })
    .await;
    let second = step_on(&first, |draft| {
        draft
            .append("list", items(["d"]))
            .unwrap()
            .splice("list", 0..2, items(["x"]))
            .unwrap()
            .append("list", items(["e"]))
            .unwrap()
            .splice("list", 1..1, items(["y", "z"]))
            .unwrap();
    })
    .await;
    let expected = Value::List(items(["x", "y", "z", "c", "d", "e"]));
    assert_eq!(value(&second, "list").await, Some(expected));
    let third = step_on(&second, |draft| {
        draft
            .append("list", items(["lost"]))
            .unwrap()
            .set("list", items(["m", "n"]))
            .unwrap()
            .append("list", items(["o"]))
            .unwrap()
            .splice("list", 0..1, [])
            .unwrap();
    })
    .await;
    assert_eq!(
        value(&third, "list").await,
        Some(Value::List(items(["n", "o"])))
    );
    let fourth = step_on(&third, |draft| {
        draft.remove("list").unwrap();
        draft.append("list", items(["new"])).unwrap();
        draft.set("other", Item::text("x")).unwrap();
        draft.remove("other").unwrap();
    })
    .await;
    let values = cold(target, &fourth).await;
    assert_eq!(
        values,
        BTreeMap::from([("list".into(), Value::List(items(["new"])))])
    );
}

/// A splice into what the same draft appended, when that has filled chunks.
pub async fn a_splice_may_follow_a_large_append(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let old = random_items(1, 200, 200);
    let first = step(&thread, |draft| {
        draft.set("list", old.clone()).unwrap();
    })
    .await;
    let new = random_items(2, 500, 200);
    let second = step_on(&first, |draft| {
        draft.append("list", new.clone()).unwrap();
        draft.splice("list", 150..600, items(["middle"])).unwrap();
        draft.splice("list", 0..1, []).unwrap();
    })
    .await;
    let mut expected = [old, new].concat();
    expected.splice(150..600, items(["middle"]));
    expected.remove(0);
    assert!(value(&second, "list").await == Some(Value::List(expected.clone())));
    assert!(cold(target, &second).await["list"] == Value::List(expected));
}

/// List changes of a channel that holds something else are refused, and leave
/// the draft as it was.
pub async fn kinds_are_not_mixed(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = step(&thread, |draft| {
        draft.set("item", Item::text("x")).unwrap();
        draft.set("map", BTreeMap::new()).unwrap();
        draft.set("list", items(["a"])).unwrap();
    })
    .await;
    let mut draft = first.draft().unwrap();
    for channel in ["item", "map"] {
        let result = draft.append(channel, items(["y"])).map(|_| ());
        assert_eq!(kind(result), ErrorKind::InvalidInput);
        let result = draft.splice(channel, 0..0, []).map(|_| ());
        assert_eq!(kind(result), ErrorKind::InvalidInput);
    }
    draft.set("list", Item::text("no list")).unwrap();
    let result = draft.append("list", items(["y"])).map(|_| ());
    assert_eq!(kind(result), ErrorKind::InvalidInput);
    // Once it is removed, a channel can become anything.
    draft
        .remove("item")
        .unwrap()
        .append("item", items(["z"]))
        .unwrap();
    let second = commit(&thread, draft).await;
    assert_eq!(
        value(&second, "item").await,
        Some(Value::List(items(["z"])))
    );
    assert_eq!(
        value(&second, "list").await,
        Some(Value::Item(Item::text("no list")))
    );
    assert_eq!(kind(second.list("map").await), ErrorKind::InvalidInput);
    assert_eq!(kind(second.list("list").await), ErrorKind::InvalidInput);
    assert_eq!(kind(second.map("item").await), ErrorKind::InvalidInput);
}

/// Ranges beyond the end, or turned round, are refused.
pub async fn ranges_are_checked(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = step(&thread, |draft| {
        draft.append("list", items(["a", "b"])).unwrap();
    })
    .await;
    let mut draft = first.draft().unwrap();
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    for range in [0..3, 3..3, 2..1, u64::MAX..u64::MAX] {
        let result = draft.splice("list", range, []).map(|_| ());
        assert_eq!(kind(result), ErrorKind::InvalidInput);
    }
    draft.append("list", items(["c"])).unwrap();
    draft.splice("list", 3..3, items(["d"])).unwrap();
    let second = commit(&thread, draft).await;
    let expected = Value::List(items(["a", "b", "c", "d"]));
    assert_eq!(value(&second, "list").await, Some(expected));
}

/// A map comes back with its keys in the order of their bytes, and is
/// replaced as a whole.
pub async fn maps_come_back(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut map: BTreeMap<String, Item> = (0..2000)
        .map(|n| {
            (
                format!("key {n}"),
                Item::text(format!("value {n} of this map")),
            )
        })
        .collect();
    map.insert(String::new(), Item::text("of the empty key"));
    map.insert("ключ".into(), Item::new("bytes", vec![0; 40_000]));
    let first = step(&thread, |draft| {
        draft.set("map", map.clone()).unwrap();
    })
    .await;
    map.remove("key 77");
    map.insert("key 500".into(), Item::text("changed"));
    map.insert("key 5000".into(), Item::text("added"));
    let second = step(&thread, |draft| {
        draft.set("map", map.clone()).unwrap();
    })
    .await;
    assert!(cold(target, &second).await["map"] == Value::Map(map.clone()));
    assert_eq!(first.map("map").await.unwrap().len(), 2002);
    assert_eq!(second.map("map").await.unwrap().len(), 2002);
}

/// Items over the size at which they are split come back, first, last and
/// between small ones.
pub async fn large_items_come_back(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut rng = Rng::new(9);
    let mut list = Vec::new();
    let mut at: Option<Snapshot> = None;
    for size in [16_384, 16_385, 20, 100_000, 16_383, 0, 300_000, 5] {
        let item = Item::new("bytes", rng.bytes(size));
        list.push(item.clone());
        let mut draft = thread.draft().await.unwrap();
        draft.append("list", [item.clone()]).unwrap();
        draft.set(&format!("item {size}"), item).unwrap();
        at = Some(commit(&thread, draft).await);
    }
    let at = at.unwrap();
    let values = cold(target, &at).await;
    assert!(values["list"] == Value::List(list.clone()));
    for item in list {
        let name = format!("item {}", item.bytes.len());
        assert!(values[&name] == Value::Item(item), "{name}");
    }
}

/// A value of a megabyte, compressible or not, comes back.
pub async fn a_megabyte_comes_back(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let random = Item::new("bytes", Rng::new(3).bytes(1 << 20));
    let zeros = Item::new("bytes", vec![0; 1 << 20]);
    let text = Item::text("the same sentence over and over. ".repeat(32_000));
    let at = step(&thread, |draft| {
        draft.set("random", random.clone()).unwrap();
        draft.set("zeros", zeros.clone()).unwrap();
        draft
            .append("list", [text.clone(), random.clone()])
            .unwrap();
    })
    .await;
    let values = cold(target, &at).await;
    assert!(values["random"] == Value::Item(random.clone()));
    assert!(values["zeros"] == Value::Item(zeros));
    assert!(values["list"] == Value::List(vec![text, random]));
}

/// Committing a draft again gives the first result: it is the same commit.
pub async fn a_draft_is_committed_once(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    append(&thread, "a").await;
    let mut draft = thread.draft().await.unwrap();
    draft.append("list", items(["b"])).unwrap();
    draft.expect_latest();
    let first = thread.commit(draft.clone()).await;
    if matches!(&first, Err(e) if e.kind() == ErrorKind::Unsupported) {
        return target.skipped("the backend does not fence");
    }
    let first = first.unwrap();
    let again = commit(&thread, draft).await;
    assert_eq!(first.id(), again.id());
    assert_eq!(history(&thread, Default::default()).await.len(), 2);
    assert_eq!(
        cold(target, &again).await["list"],
        Value::List(items(["a", "b"]))
    );
}

/// A draft is committed to the thread and namespace it is of.
pub async fn a_draft_belongs_to_its_thread(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let draft = append(&thread, "a").await.draft().unwrap();
    let others = [
        memory.thread("u").unwrap(),
        thread.with_namespace("child").unwrap(),
    ];
    for other in others {
        assert_eq!(
            kind(other.commit(draft.clone()).await),
            ErrorKind::InvalidInput
        );
        assert!(other.latest().await.unwrap().is_none());
    }
}

/// Metadata is that of each draft alone; it is not inherited.
pub async fn metadata_is_of_one_checkpoint(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let given = serde_json::json!({"source": "loop", "deep": {"n": [1, null]}});
    let given = given.as_object().unwrap().clone();
    let first = step(&thread, |draft| {
        draft.metadata(given.clone());
    })
    .await;
    let second = append(&thread, "x").await;
    assert_eq!(first.metadata().await.unwrap(), given);
    assert!(second.metadata().await.unwrap().is_empty());
    let found = reread(&target.memory(), &first).await.unwrap();
    assert_eq!(found.metadata().await.unwrap(), given);
}

/// A clone is the same draft: committed again it is the same checkpoint, and once it
/// was changed it is refused.
pub async fn a_changed_clone_is_refused(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    let mut draft = first.draft().unwrap();
    draft.append("list", items(["y"])).unwrap();
    let mut changed = draft.clone();
    changed.append("list", items(["z"])).unwrap();
    let snapshot = commit(&thread, draft.clone()).await;
    assert_eq!(commit(&thread, draft).await.id(), snapshot.id());
    assert_eq!(kind(thread.commit(changed).await), ErrorKind::InvalidInput);
    assert_eq!(
        history(&thread, Default::default()).await,
        ids_of([&snapshot, &first])
    );
    assert_eq!(
        cold(target, &snapshot).await["list"],
        Value::List(items(["x", "y"]))
    );
}
