//! `put_writes`: the pending writes of tasks.

use chunkpoint_core::{Config, ErrorKind, Item};

use super::support::*;

async fn first(target: &Target) -> (chunkpoint_core::Saver, Config) {
    let saver = target.saver();
    let config = Step::new("t", "1").put(&saver).await;
    (saver, config)
}

/// A write comes back with its checkpoint.
pub async fn a_write_comes_back(target: &Target) {
    let (saver, config) = first(target).await;
    write(&saver, &config, "task", &[("a", "x")]).await;
    assert_eq!(
        pending(&saver, &config).await,
        told_as(&[("task", "a", "x")])
    );
}

/// All writes of one call come back, several to one channel too.
pub async fn all_writes_of_a_task_come_back(target: &Target) {
    let (saver, config) = first(target).await;
    write(
        &saver,
        &config,
        "task",
        &[("a", "x"), ("b", "y"), ("a", "z")],
    )
    .await;
    let expected = told_as(&[("task", "a", "x"), ("task", "b", "y"), ("task", "a", "z")]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// Writes of several tasks stand beside each other.
pub async fn tasks_stand_beside_each_other(target: &Target) {
    let (saver, config) = first(target).await;
    for task in ["t1", "t2"] {
        write(&saver, &config, task, &[("a", task)]).await;
    }
    let expected = told_as(&[("t1", "a", "t1"), ("t2", "a", "t2")]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// A task's id comes back as it was given.
pub async fn task_ids_come_back(target: &Target) {
    let (saver, config) = first(target).await;
    let tasks = [
        "00000000-0000-0000-0000-000000000000",
        "a:b/c|d#e ü",
        "task",
    ];
    for task in tasks {
        write(&saver, &config, task, &[("a", "x")]).await;
    }
    let found = pending(&saver, &config).await;
    assert!(found.iter().map(|(task, ..)| task).eq(tasks));
}

/// Channel and value come back with the value's tag.
pub async fn channels_and_values_come_back(target: &Target) {
    let (saver, config) = first(target).await;
    let writes = vec![
        (
            "json".to_owned(),
            Item::json(&serde_json::json!({"k": [1, null]})).unwrap(),
        ),
        ("none".to_owned(), Item::new("null", Vec::new())),
        ("large".to_owned(), Item::new("bytes", vec![7; 300_000])),
        ("a:b|c/d#e".to_owned(), Item::new("", vec![0, 1, 255])),
    ];
    saver
        .put_writes(&config, writes.clone(), "task", "")
        .await
        .unwrap();
    let found = get(&target.saver(), &config).await.pending_writes;
    let found: Vec<_> = found
        .into_iter()
        .map(|write| (write.channel.to_string(), write.value))
        .collect();
    assert!(found == writes, "the writes are altered");
}

/// A task path is accepted, and comes back.
pub async fn task_paths_come_back(target: &Target) {
    let (saver, config) = first(target).await;
    write_at(&saver, &config, "task", "a:b:c", &[("a", "x")]).await;
    let found = get(&saver, &config).await.pending_writes;
    assert_eq!(&*found[0].task_path, "a:b:c");
}

/// The same call twice stores each write once.
pub async fn repeated_writes_are_stored_once(target: &Target) {
    let (saver, config) = first(target).await;
    for _ in 0..2 {
        write(&saver, &config, "task", &[("a", "x"), ("b", "y")]).await;
    }
    assert_eq!(pending(&saver, &config).await.len(), 2);
}

/// Special channels stand beside each other, values and all.
pub async fn special_channels_come_back(target: &Target) {
    let (saver, config) = first(target).await;
    let writes = [
        ("__error__", "e"),
        ("__scheduled__", "s"),
        ("__interrupt__", "i"),
        ("__resume__", "r"),
        ("__error_source_node__", "n"),
    ];
    write(&saver, &config, "task", &writes).await;
    let found = get(&saver, &config).await.pending_writes;
    let indices: Vec<_> = found.iter().map(|w| (&*w.channel, w.idx)).collect();
    // By index: that of an ordinary channel is its position in the call.
    let expected = [
        ("__resume__", -4),
        ("__interrupt__", -3),
        ("__scheduled__", -2),
        ("__error__", -1),
        ("__error_source_node__", 4),
    ];
    assert_eq!(indices, expected);
}

/// Writes belong to one namespace.
pub async fn namespaces_have_their_own_writes(target: &Target) {
    let saver = target.saver();
    for namespace in ["", "child"] {
        let config = Step::new("t", "1").ns(namespace).put(&saver).await;
        write(&saver, &config, "task", &[("a", namespace)]).await;
    }
    for namespace in ["", "child"] {
        let config = Config::new("t").with_ns(namespace);
        let expected = told_as(&[("task", "a", namespace)]);
        assert_eq!(pending(&saver, &config).await, expected);
    }
}

/// A later checkpoint has none of the writes of the one before.
pub async fn the_next_checkpoint_starts_without_writes(target: &Target) {
    let (saver, config) = first(target).await;
    write(&saver, &config, "task", &[("a", "x")]).await;
    let next = Step::new("t", "2").parent("1").put(&saver).await;
    assert!(pending(&saver, &next).await.is_empty());
    assert_eq!(pending(&saver, &config).await.len(), 1);
}

/// A write at a position that a task has filled is kept as it was.
pub async fn ordinary_writes_are_kept(target: &Target) {
    let (saver, config) = first(target).await;
    write(&saver, &config, "task", &[("a", "first")]).await;
    // The position counts, not the channel; and what is beyond is new.
    write(&saver, &config, "task", &[("b", "second"), ("c", "third")]).await;
    let expected = told_as(&[("task", "a", "first"), ("task", "c", "third")]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// A write to a special channel replaces the one before.
pub async fn special_writes_are_replaced(target: &Target) {
    let (saver, config) = first(target).await;
    for value in ["first", "second"] {
        write(&saver, &config, "task", &[("__interrupt__", value)]).await;
    }
    let expected = told_as(&[("task", "__interrupt__", "second")]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// Each write of a mixed call is decided by itself.
pub async fn mixed_writes_are_decided_one_by_one(target: &Target) {
    let (saver, config) = first(target).await;
    for value in ["first", "second"] {
        let writes = [("a", value), ("__resume__", value), ("b", value)];
        write(&saver, &config, "task", &writes).await;
    }
    let expected = told_as(&[
        ("task", "__resume__", "second"),
        ("task", "a", "first"),
        ("task", "b", "first"),
    ]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// Of several writes of one call to one special channel, the last stands.
pub async fn the_last_of_a_special_channel_stands(target: &Target) {
    let (saver, config) = first(target).await;
    let writes = [("__error__", "one"), ("a", "x"), ("__error__", "two")];
    write(&saver, &config, "task", &writes).await;
    let expected = told_as(&[("task", "__error__", "two"), ("task", "a", "x")]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// Writes are ordered by the bytes of path, then task, then by index,
/// however they came.
pub async fn writes_are_ordered_by_path_task_and_index(target: &Target) {
    let (saver, config) = first(target).await;
    // UTF-16 would put U+1F600 before U+FF5E; bytes do not. A task has one path.
    let calls = [
        ("~2", "b"),
        ("\u{1f600}", "c"),
        ("~10", "d"),
        ("", "z"),
        ("\u{ff5e}", "e"),
        ("~2", "B"),
        ("~2", "a"),
    ];
    for (path, task) in calls {
        write_at(
            &saver,
            &config,
            task,
            path,
            &[("c", "0"), ("__resume__", "-4"), ("c", "2")],
        )
        .await;
    }
    let found = get(&saver, &config).await.pending_writes;
    let found: Vec<_> = found
        .iter()
        .map(|w| (w.task_path.to_string(), w.task_id.to_string(), w.idx))
        .collect();
    let mut ordered: Vec<_> = calls
        .iter()
        .flat_map(|(path, task)| [-4, 0, 2].map(|idx| (path.to_string(), task.to_string(), idx)))
        .collect();
    ordered.sort();
    assert_eq!(found, ordered);
}

/// Writes that come before their checkpoint are invisible until it does.
pub async fn writes_may_come_first(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1").set("a", 1, text("x"));
    write(&saver, &step.names(), "task", &[("a", "y")]).await;
    assert!(find(&saver, &step.names()).await.is_none());
    assert!(find(&saver, &Config::new("t")).await.is_none());
    assert!(listed(&saver, of_thread("t")).await.is_empty());
    assert!(
        target
            .memory()
            .threads("", None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    step.put(&saver).await;
    let expected = told_as(&[("task", "a", "y")]);
    assert_eq!(pending(&saver, &step.names()).await, expected);
}

/// A put after writes hides none of them, and more may follow.
pub async fn puts_and_writes_may_alternate(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1");
    write(&saver, &step.names(), "t1", &[("a", "1")]).await;
    step.put(&saver).await;
    write(&saver, &step.names(), "t2", &[("a", "2")]).await;
    step.put(&saver).await;
    write(&saver, &step.names(), "t3", &[("a", "3")]).await;
    let expected = told_as(&[("t1", "a", "1"), ("t2", "a", "2"), ("t3", "a", "3")]);
    assert_eq!(pending(&saver, &step.names()).await, expected);
}

/// Writes whose checkpoint never came are gone after the grace period.
pub async fn writes_without_a_checkpoint_expire(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").put(&saver).await;
    let never = Config::new("t").with_id("2");
    write(&saver, &never, "old", &[("a", "x")]).await;
    let memory = target.memory();
    target.clock().advance(memory.settings().grace * 2);
    write(&saver, &never, "new", &[("a", "x")]).await;
    memory.maintain().await.unwrap();
    Step::new("t", "2").put(&saver).await;
    assert_eq!(pending(&saver, &never).await, told_as(&[("new", "a", "x")]));
}

/// No writes at all are no error, and store nothing.
pub async fn no_writes_are_accepted(target: &Target) {
    let (saver, config) = first(target).await;
    write(&saver, &config, "task", &[]).await;
    assert!(pending(&saver, &config).await.is_empty());
}

/// A config without a thread or a checkpoint is refused.
pub async fn put_writes_needs_thread_and_checkpoint(target: &Target) {
    let saver = target.saver();
    for config in [Config::new("t"), Config::new("").with_id("1")] {
        let writes = vec![("a".to_owned(), Item::text("x"))];
        let result = saver.put_writes(&config, writes, "task", "").await;
        assert_eq!(kind(result), ErrorKind::InvalidInput);
    }
}
