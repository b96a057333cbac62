//! `get_tuple`: one checkpoint, by id or the latest, with its surroundings.

use chunkpoint_core::{Config, ErrorKind, Item};
use serde_json::json;

use super::support::*;

/// A thread that does not exist has no checkpoint.
pub async fn an_unknown_thread_has_none(target: &Target) {
    assert!(find(&target.saver(), &Config::new("t")).await.is_none());
}

/// Without an id, the greatest is found, whichever came last.
pub async fn the_latest_is_the_greatest_id(target: &Target) {
    let saver = target.saver();
    for id in ["2", "9", "10", "3"] {
        Step::new("t", id).put(&saver).await;
    }
    let found = get(&saver, &Config::new("t")).await;
    assert_eq!(found.config.checkpoint_id.as_deref(), Some("9"));
}

/// With an id, that one is found.
pub async fn a_checkpoint_is_found_by_id(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    let config = Config::new("t").with_id(id(2));
    let found = checkpoint(&saver, &config).await;
    assert_eq!(found.id, id(2));
    assert_eq!(found, link("t", "", 2).checkpoint);
}

/// The config found names thread, namespace and checkpoint.
pub async fn the_config_found_is_complete(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").ns("child").put(&saver).await;
    let latest = Config::new("t").with_ns("child");
    for asked in [&latest, &config] {
        assert_eq!(get(&saver, asked).await.config, config);
    }
}

/// Every field of the checkpoint is found.
pub async fn every_field_is_found(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1").set("a", 1, text("x")).seen("n", "a", 1);
    let config = step.put(&saver).await;
    let found = checkpoint(&saver, &config).await;
    assert_eq!(found.v, 1);
    assert!(!found.ts.is_empty());
    assert_eq!(found, step.checkpoint);
}

/// The metadata is found, negative steps too.
pub async fn metadata_is_found(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1")
        .meta("source", json!("input"))
        .meta("step", json!(-1));
    let found = get(&saver, &step.put(&saver).await).await;
    assert_eq!(found.metadata["source"], "input");
    assert_eq!(found.metadata["step"], -1);
}

/// A first checkpoint has no parent, a second has the first.
pub async fn the_parent_is_found(target: &Target) {
    let saver = target.saver();
    for namespace in ["", "child"] {
        chain(&saver, "t", namespace, 2).await;
        let config = Config::new("t").with_ns(namespace);
        let first = get(&saver, &config.clone().with_id(id(1))).await;
        assert_eq!(first.parent_config, None);
        let second = get(&saver, &config).await;
        assert_eq!(second.parent_config, Some(first.config));
    }
}

/// The pending writes are found with the checkpoint, by id and as the latest.
pub async fn pending_writes_are_found(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 2).await;
    let config = Config::new("t").with_id(id(2));
    write(&saver, &config, "task", &[("a", "x"), ("b", "y")]).await;
    let expected = told_as(&[("task", "a", "x"), ("task", "b", "y")]);
    for asked in [config, Config::new("t")] {
        assert_eq!(pending(&saver, &asked).await, expected);
    }
    let first = Config::new("t").with_id(id(1));
    assert!(pending(&saver, &first).await.is_empty());
}

/// The latest is that of the namespace asked for.
pub async fn the_latest_is_of_its_namespace(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").put(&saver).await;
    Step::new("t", "2").ns("child").put(&saver).await;
    let root = get(&saver, &Config::new("t")).await;
    assert_eq!(root.config.checkpoint_id.as_deref(), Some("1"));
    let child = get(&saver, &Config::new("t").with_ns("child")).await;
    assert_eq!(child.config.checkpoint_id.as_deref(), Some("2"));
}

/// An id that does not exist is not found.
pub async fn an_unknown_id_is_not_found(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 2).await;
    for id in ["00000", "0000011", "7f8f7b4a-1c2d-4e5f-8a9b-000000000000"] {
        let config = Config::new("t").with_id(id);
        assert!(find(&saver, &config).await.is_none(), "{id}");
    }
}

/// A config without a thread is refused.
pub async fn get_tuple_needs_a_thread(target: &Target) {
    let result = target.saver().get_tuple(&Config::new("")).await;
    assert_eq!(kind(result), ErrorKind::InvalidInput);
}

/// A binding that moves the sends of old checkpoints (`v` below 4) into a
/// channel finds them among the parent's writes.
pub async fn the_parents_writes_can_be_read(target: &Target) {
    let saver = target.saver();
    let parent = Step::new("t", "1").put(&saver).await;
    for (path, task, send) in [
        ("~1", "t2", "send-2"),
        ("", "t1", "send-1"),
        ("~2", "t0", "send-3"),
    ] {
        write_at(&saver, &parent, task, path, &[("__pregel_tasks", send)]).await;
    }
    let child = Step::new("t", "2").parent("1").put(&saver).await;
    write(&saver, &child, "t9", &[("__pregel_tasks", "not this")]).await;
    let child = get(&saver, &child).await;
    let parent = get(&saver, child.parent_config.as_ref().unwrap()).await;
    let sends: Vec<Item> = parent
        .pending_writes
        .into_iter()
        .filter(|write| &*write.channel == "__pregel_tasks")
        .map(|write| write.value)
        .collect();
    assert_eq!(sends, ["send-1", "send-2", "send-3"].map(Item::text));
}

/// What is read once is not changed by what follows.
pub async fn a_tuple_is_of_one_moment(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let found = get(&saver, &config).await;
    write(&saver, &config, "task", &[("a", "y")]).await;
    Step::new("t", "1").set("a", 1, text("z")).put(&saver).await;
    assert!(found.pending_writes.is_empty());
    let found = found.checkpoint().await.unwrap();
    assert_eq!(found.channel_values, expected([("a", text("x"))]));
}
