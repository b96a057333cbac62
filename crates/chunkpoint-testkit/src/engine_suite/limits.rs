//! Ids at their limits, sizes over theirs, and what is closed.

use chunkpoint_core::types::{MAX_CHECKPOINT_ID_BYTES, MAX_ID_BYTES, MAX_ITEM_BYTES};
use chunkpoint_core::{Checkpoint, Config, ErrorKind, Item, Value, Version};
use futures::TryStreamExt;

use super::support::*;

/// Names that are syntax somewhere: to a path, a URL, SQL, a shell, a pattern.
fn awkward() -> Vec<String> {
    let mut names: Vec<String> = [
        "../x",
        "..",
        ".",
        "/",
        "/etc/passwd",
        "a/../b",
        "a//b",
        "a:b|c/d#e",
        "a b",
        " ",
        "a\nb",
        "a\\b",
        "C:\\x",
        "con",
        "a'b",
        "a\"b",
        "'; DROP TABLE threads; --",
        "%",
        "_",
        "*",
        "?",
        "[a-z]",
        "{a}",
        "{t}:r",
        "$where",
        "a\u{1}b",
        "\u{7f}",
        "ü",
        "u\u{308}",
        "😀",
        "\u{feff}",
        "a.",
        "a%00b",
        "a%2Fb",
        "~",
        "-rf",
        "A",
        "a",
    ]
    .map(str::to_owned)
    .into();
    names.push("long ".repeat(2048));
    names.push("ü".repeat(5000));
    names
}

/// Any thread id works, and none meets another.
pub async fn awkward_threads_work(target: &Target) {
    let memory = target.memory();
    let names = awkward();
    for name in &names {
        append(&memory.thread(name).unwrap(), name).await;
    }
    let memory = target.memory();
    for name in &names {
        let thread = memory.thread(name).unwrap();
        let found = thread.latest().await.unwrap().unwrap();
        assert_eq!(
            value(&found, "list").await,
            Some(Value::List(items([name])))
        );
        assert_eq!(
            history(&thread, Default::default()).await.len(),
            1,
            "{name:?}"
        );
    }
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let listed = memory.threads("", None, 1000).await.unwrap();
    assert!(
        listed
            .iter()
            .map(|id| &**id)
            .eq(sorted.iter().map(String::as_str))
    );
    memory.thread(&names[0]).unwrap().delete().await.unwrap();
    assert_eq!(
        memory.threads("", None, 1000).await.unwrap().len(),
        names.len() - 1
    );
}

/// Any namespace, channel, task and checkpoint id works.
pub async fn awkward_names_work(target: &Target) {
    let memory = target.memory();
    let saver = memory.saver();
    let names = awkward();
    for name in &names {
        let id = if name.len() <= MAX_CHECKPOINT_ID_BYTES {
            name
        } else {
            "of the long"
        };
        let versions = [(name.clone(), Version::Text(name.as_str().into()))];
        let checkpoint = Checkpoint {
            id: id.to_owned(),
            channel_values: [(name.clone(), Value::Item(Item::text(name.as_str())))].into(),
            channel_versions: versions.clone().into(),
            versions_seen: [(name.clone(), versions.clone().into())].into(),
            updated_channels: Some(vec![name.clone()]),
            ..Checkpoint::default()
        };
        let config = Config::new("t").with_ns(name);
        let metadata = [(name.clone(), name.as_str().into())].into_iter().collect();
        let new = versions.into();
        let config = saver
            .put(&config, checkpoint.clone(), metadata, &new)
            .await
            .unwrap();
        let writes = vec![(name.clone(), Item::text(name.as_str()))];
        saver.put_writes(&config, writes, name, name).await.unwrap();
        let found = target.saver().get_tuple(&config).await.unwrap().unwrap();
        assert_eq!(found.checkpoint().await.unwrap(), checkpoint);
        assert_eq!(found.metadata[name], name.as_str());
        let write = &found.pending_writes[0];
        assert!(
            [&write.channel, &write.task_id, &write.task_path]
                .iter()
                .all(|n| ***n == **name)
        );
    }
    let all: Vec<_> = saver.list(Default::default()).try_collect().await.unwrap();
    assert_eq!(all.len(), names.len());
}

/// Ids of the greatest length work, one byte more does not.
pub async fn ids_have_a_greatest_length(target: &Target) {
    let memory = target.memory();
    let most = "x".repeat(MAX_ID_BYTES);
    let thread = memory.thread(&most).unwrap().with_namespace(&most).unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.set(&most, Item::text("x")).unwrap();
    named(&mut draft, &"i".repeat(MAX_CHECKPOINT_ID_BYTES));
    let snapshot = commit(&thread, draft).await;
    assert_eq!(
        cold(target, &snapshot).await[&most],
        Value::Item(Item::text("x"))
    );
    let over = "x".repeat(MAX_ID_BYTES + 1);
    assert_eq!(kind(memory.thread(&over)), ErrorKind::InvalidInput);
    assert_eq!(kind(thread.with_namespace(&over)), ErrorKind::InvalidInput);
    let mut draft = snapshot.draft();
    if let Ok(draft) = &mut draft {
        assert_eq!(
            kind(draft.set(&over, Item::text("x")).map(|_| ())),
            ErrorKind::InvalidInput
        );
    }
    let long = "i".repeat(MAX_CHECKPOINT_ID_BYTES + 1);
    assert_eq!(kind(thread.at(&long).await), ErrorKind::InvalidInput);
}

/// Ids that are empty, hold a NUL or are too long are refused everywhere, and
/// nothing is stored.
pub async fn impossible_ids_are_refused(target: &Target) {
    let memory = target.memory();
    let saver = memory.saver();
    let over = "x".repeat(MAX_ID_BYTES + 1);
    let long = "x".repeat(MAX_CHECKPOINT_ID_BYTES + 1);
    let checkpoint = |id: &str, channel: &str| Checkpoint {
        id: id.to_owned(),
        channel_versions: [(channel.to_owned(), Version::Int(1))].into(),
        channel_values: [(channel.to_owned(), Value::Item(Item::text("x")))].into(),
        ..Checkpoint::default()
    };
    let good = Config::new("t");
    for (config, checkpoint) in [
        (Config::new(""), checkpoint("1", "a")),
        (Config::new("t\0"), checkpoint("1", "a")),
        (Config::new(&over), checkpoint("1", "a")),
        (good.clone().with_ns("\0"), checkpoint("1", "a")),
        (good.clone().with_ns(&over), checkpoint("1", "a")),
        (good.clone().with_id(""), checkpoint("1", "a")),
        (good.clone().with_id("p\0"), checkpoint("1", "a")),
        (good.clone(), checkpoint("", "a")),
        (good.clone(), checkpoint("1\0", "a")),
        (good.clone(), checkpoint(&long, "a")),
        (good.clone(), checkpoint("1", "")),
        (good.clone(), checkpoint("1", "a\0")),
        (good.clone(), checkpoint("1", &over)),
    ] {
        let new = checkpoint.channel_versions.clone();
        let put = saver
            .put(&config, checkpoint, Default::default(), &new)
            .await;
        assert_eq!(kind(put), ErrorKind::InvalidInput);
    }
    let one = good.clone().with_id("1");
    for (config, channel, task, path) in [
        (Config::new("").with_id("1"), "a", "task", ""),
        (good.clone(), "a", "task", ""),
        (good.clone().with_id(&long), "a", "task", ""),
        (one.clone(), "", "task", ""),
        (one.clone(), "a\0", "task", ""),
        (one.clone(), "a", "", ""),
        (one.clone(), "a", "task\0", ""),
        (one.clone(), "a", "task", "\0"),
        (one.clone(), "a", &over, ""),
    ] {
        let writes = vec![(channel.to_owned(), Item::text("x"))];
        let put = saver.put_writes(&config, writes, task, path).await;
        assert_eq!(kind(put), ErrorKind::InvalidInput);
    }
    for (source, copy) in [("", "u"), ("t", ""), ("t\0", "u"), ("t", &over)] {
        assert_eq!(
            kind(saver.copy_thread(source, copy).await),
            ErrorKind::InvalidInput
        );
    }
    assert_eq!(
        kind(saver.delete_thread("t\0").await),
        ErrorKind::InvalidInput
    );
    assert_eq!(kind(memory.thread("")), ErrorKind::InvalidInput);
    assert_eq!(kind(memory.thread("t\0")), ErrorKind::InvalidInput);
    let thread = thread(&memory);
    for id in ["", "\0", &long] {
        assert_eq!(kind(thread.at(id).await), ErrorKind::InvalidInput);
        assert_eq!(kind(thread.fork(id).await), ErrorKind::InvalidInput);
        assert_eq!(kind(thread.pin(id).await), ErrorKind::InvalidInput);
        let mut draft = thread.draft().await.unwrap();
        assert_eq!(kind(draft.set_id(id).map(|_| ())), ErrorKind::InvalidInput);
    }
    let mut draft = thread.draft().await.unwrap();
    for channel in ["", "\0", &over] {
        let refused = [
            draft.set(channel, Item::text("x")).map(|_| ()),
            draft.append(channel, []).map(|_| ()),
            draft.splice(channel, 0..0, []).map(|_| ()),
            draft.remove(channel).map(|_| ()),
        ];
        for result in refused {
            assert_eq!(kind(result), ErrorKind::InvalidInput);
        }
    }
    assert!(memory.threads("", None, 10).await.unwrap().is_empty());
    assert_eq!(target.backend().incarnation("t").await.unwrap(), None);
}

/// An item over the greatest size is `TooLarge`, a tag `InvalidInput`, and
/// nothing is stored.
pub async fn items_over_the_limit_are_refused(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    // Zeros that are never looked at take no memory.
    let large = Item::new("bytes", vec![0; MAX_ITEM_BYTES + 1]);
    let tagged = Item::new("t".repeat(256), vec![1]);
    for (item, expected) in [
        (large, ErrorKind::TooLarge),
        (tagged, ErrorKind::InvalidInput),
    ] {
        for value in [
            Value::Item(item.clone()),
            Value::List(vec![Item::text("small"), item.clone()]),
            Value::Map([("k".to_owned(), item.clone())].into()),
        ] {
            let mut draft = first.draft().unwrap();
            draft.set("c", value).unwrap();
            assert_eq!(kind(thread.commit(draft).await), expected);
        }
        let mut draft = first.draft().unwrap();
        draft.append("list", [item.clone()]).unwrap();
        assert_eq!(kind(thread.commit(draft).await), expected);
        let config = Config::new("t").with_id(first.id());
        let writes = vec![("a".to_owned(), Item::text("x")), ("b".to_owned(), item)];
        let put = memory.saver().put_writes(&config, writes, "task", "").await;
        assert_eq!(kind(put), expected);
        let found = memory.saver().get_tuple(&config).await.unwrap().unwrap();
        assert!(found.pending_writes.is_empty());
    }
    assert_eq!(history(&thread, Default::default()).await, [first.id()]);
}

/// A commit over what the backend takes is `TooLarge`, and nothing is stored.
pub async fn a_commit_over_the_limit_is_refused(target: &Target) {
    let most = target.capabilities().max_commit_bytes;
    if most > 256 << 20 {
        return target.skipped("the backend takes more than this test can make");
    }
    let memory = target.memory();
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    let mut draft = first.draft().unwrap();
    draft
        .set(
            "c",
            Item::new("bytes", Rng::new(1).bytes(most as usize + 1)),
        )
        .unwrap();
    assert_eq!(kind(thread.commit(draft).await), ErrorKind::TooLarge);
    assert_eq!(history(&thread, Default::default()).await, [first.id()]);
}

/// After `close`, everything is `Unavailable`, and no retry may help.
pub async fn a_closed_memory_is_unavailable(target: &Target) {
    let memory = target.memory();
    let saver = memory.saver();
    let thread = thread(&memory);
    let first = step(&thread, |draft| {
        draft.set("list", random_items(1, 500, 100)).unwrap();
    })
    .await;
    let lazy = reread(&target.memory(), &first).await.unwrap();
    let draft = first.draft().unwrap();
    memory.close().await.unwrap();
    let config = Config::new("t").with_id("1");
    let writes = || vec![("a".to_owned(), Item::text("x"))];
    let errors = [
        thread.latest().await.map(|_| ()),
        thread.at("1").await.map(|_| ()),
        thread.draft().await.map(|_| ()),
        thread.fork("1").await.map(|_| ()),
        thread.commit(draft).await.map(|_| ()),
        thread.pin("1").await,
        thread.delete().await,
        thread
            .history(Default::default())
            .try_next()
            .await
            .map(|_| ()),
        lazy.value("list").await.map(|_| ()),
        memory.threads("", None, 1).await.map(|_| ()),
        memory.maintain().await.map(|_| ()),
        saver.get_tuple(&config).await.map(|_| ()),
        saver.list(Default::default()).try_next().await.map(|_| ()),
        saver
            .put(
                &config,
                Checkpoint {
                    id: "2".into(),
                    ..Default::default()
                },
                Default::default(),
                &Default::default(),
            )
            .await
            .map(|_| ()),
        saver.put_writes(&config, writes(), "task", "").await,
        saver.delete_thread("t").await,
        saver.copy_thread("t", "u").await,
        saver.prune(&["t"], Default::default()).await,
        saver.delete_for_runs(&["run"]).await,
        saver
            .get_delta_channel_history(&config, &["a"])
            .await
            .map(|_| ()),
    ];
    for (n, result) in errors.into_iter().enumerate() {
        let error = result.expect_err("the memory is closed");
        assert_eq!(
            error.kind(),
            ErrorKind::Unavailable,
            "operation {n}: {error}"
        );
        assert!(!error.is_retryable(), "operation {n}");
    }
}

/// A run id is an id as others are.
pub async fn impossible_run_ids_are_refused(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    for run in ["a\0b".to_owned(), "r".repeat(16 * 1024 + 1)] {
        let mut draft = thread.draft().await.unwrap();
        let metadata = serde_json::json!({ "run_id": run });
        draft.metadata(metadata.as_object().unwrap().clone());
        assert_eq!(kind(thread.commit(draft).await), ErrorKind::InvalidInput);
        let deleted = memory.saver().delete_for_runs(&[&run]).await;
        assert_eq!(kind(deleted), ErrorKind::InvalidInput);
    }
    assert!(thread.latest().await.unwrap().is_none());
}
