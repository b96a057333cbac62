//! `put`: what goes in comes back, under its own name only.

use chunkpoint_core::{Config, ErrorKind, Item, Value};
use serde_json::json;

use super::support::*;

/// `put` answers with the config that names the checkpoint.
pub async fn put_names_the_checkpoint(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1").ns("child").set("a", 1, text("x"));
    let config = step.put(&saver).await;
    assert_eq!(config, Config::new("t").with_ns("child").with_id("1"));
}

/// A checkpoint comes back with its id and values.
pub async fn a_checkpoint_comes_back(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let found = checkpoint(&saver, &config).await;
    assert_eq!(found.id, "1");
    assert_eq!(found.channel_values, expected([("a", text("x"))]));
}

/// A checkpoint comes back without alteration: every field of it.
pub async fn a_checkpoint_is_not_altered(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", "1")
        .set("a", 1, text("x"))
        .set("b", 2, list(&["y", "z"]))
        .seen("node", "a", 1)
        .seen("other", "b", 2);
    step.checkpoint.updated_channels = Some(vec!["b".into(), "a".into()]);
    let config = step.put(&saver).await;
    assert_eq!(checkpoint(&saver, &config).await, step.checkpoint);
    assert_eq!(checkpoint(&target.saver(), &config).await, step.checkpoint);
}

/// Text, numbers, lists, maps, bytes and nothing at all come back as they were.
pub async fn every_kind_of_value_comes_back(target: &Target) {
    let saver = target.saver();
    let map: std::collections::BTreeMap<_, _> = [("k", "v"), ("", "empty"), ("ä/|", "odd")]
        .map(|(k, v)| (k.to_owned(), Item::text(v)))
        .into();
    let values = [
        ("text", text("some text")),
        ("number", Value::Item(Item::json(&42).unwrap())),
        ("nothing", Value::Item(Item::new("null", Vec::new()))),
        (
            "bytes",
            Value::Item(Item::new("bytes", (0..=255).collect::<Vec<u8>>())),
        ),
        ("list", list(&["a", "", "a"])),
        ("no items", Value::List(Vec::new())),
        ("map", Value::Map(map)),
        ("no keys", Value::Map(Default::default())),
    ];
    let mut step = Step::new("t", "1");
    for (name, value) in values.clone() {
        step = step.set(name, 1, value);
    }
    let config = step.put(&saver).await;
    for saver in [saver, target.saver()] {
        assert_eq!(
            super::support::values(&saver, &config).await,
            expected(values.clone())
        );
    }
}

/// The version of every channel comes back.
pub async fn channel_versions_come_back(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1")
        .set("a", 7, text("x"))
        .set("b", "00000000000000000000000000000003.0.4521", text("y"))
        .set("c", 1.5, text("z"));
    let config = step.put(&saver).await;
    let found = checkpoint(&saver, &config).await;
    assert_eq!(found.channel_versions, step.checkpoint.channel_versions);
}

/// Every node of `versions_seen` comes back, those that saw nothing too.
pub async fn nodes_of_versions_seen_come_back(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", "1")
        .set("a", 1, text("x"))
        .seen("node", "a", 1);
    let seen = &mut step.checkpoint.versions_seen;
    seen.insert("__input__".into(), Default::default());
    let config = step.put(&saver).await;
    let found = checkpoint(&saver, &config).await.versions_seen;
    assert!(found.keys().eq(["__input__", "node"]), "{found:?}");
}

/// The versions that each node has seen come back.
pub async fn values_of_versions_seen_come_back(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1")
        .set("a", 3, text("x"))
        .seen("n1", "a", 2)
        .seen("n2", "a", 3)
        .seen("n2", "__start__", 1);
    let config = step.put(&saver).await;
    let found = checkpoint(&saver, &config).await;
    assert_eq!(found.versions_seen, step.checkpoint.versions_seen);
}

/// Metadata comes back, keys that the contract does not know too.
pub async fn metadata_comes_back(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1")
        .meta("source", json!("input"))
        .meta("step", json!(-1))
        .meta("parents", json!({"": "0"}))
        .meta("my key", json!({"deep": [1, 2.5, null, {"x": "ü"}]}));
    let config = step.put(&saver).await;
    assert_eq!(get(&saver, &config).await.metadata, step.metadata);
}

/// Nothing gets into the metadata that the caller did not give.
pub async fn metadata_is_not_altered(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", "1").ns("child").parent("0");
    step.metadata = Default::default();
    let config = step.put(&saver).await;
    assert_eq!(get(&saver, &config).await.metadata, object(json!({})));
}

/// The metadata's `run_id` comes back.
pub async fn run_id_comes_back(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1").meta("run_id", json!("run-1"));
    let config = step.put(&saver).await;
    assert_eq!(get(&saver, &config).await.metadata["run_id"], "run-1");
}

/// A checkpoint of the root namespace is found there.
pub async fn the_root_namespace_is_the_empty_one(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").ns("").put(&saver).await;
    assert_eq!(config.checkpoint_ns, "");
    assert_eq!(get(&saver, &config).await.config, config);
}

/// A checkpoint of a child namespace is found there, and nowhere else.
pub async fn a_child_namespace_is_its_own(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").ns("child:abc").put(&saver).await;
    assert_eq!(get(&saver, &config).await.config, config);
    for namespace in ["", "child", "child:abc|", "child:abcd"] {
        let other = config.clone().with_ns(namespace);
        assert!(find(&saver, &other).await.is_none(), "{namespace}");
    }
}

/// A config that names no namespace means the root.
pub async fn the_root_namespace_is_the_default(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").put(&saver).await;
    assert_eq!(config.checkpoint_ns, "");
    let default = Config {
        thread_id: "t".into(),
        ..Config::default()
    };
    assert_eq!(get(&saver, &default).await.config, config);
}

/// Each of several checkpoints of a thread is found by its id.
pub async fn checkpoints_of_a_thread_are_found_by_id(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    for n in 1..=3 {
        let found = values(&saver, &Config::new("t").with_id(id(n))).await;
        assert_eq!(found, expected([("step", text(&format!("t//{n}")))]));
    }
}

/// One channel at one version in two threads are two values.
pub async fn threads_share_nothing(target: &Target) {
    let saver = target.saver();
    for thread in ["t1", "t2"] {
        let step = Step::new(thread, "1").set("a", 1, text(thread));
        step.put(&saver).await;
    }
    for thread in ["t1", "t2"] {
        let found = values(&saver, &Config::new(thread)).await;
        assert_eq!(found, expected([("a", text(thread))]));
    }
}

/// The parent is the checkpoint that the config names.
pub async fn the_config_names_the_parent(target: &Target) {
    let saver = target.saver();
    let first = Step::new("t", "1").put(&saver).await;
    let second = Step::new("t", "2").parent("1").put(&saver).await;
    assert_eq!(get(&saver, &second).await.parent_config, Some(first));
}

/// Writing one channel leaves the other as it was, and the parent untouched.
pub async fn a_changed_channel_leaves_the_others(target: &Target) {
    let saver = target.saver();
    let first = Step::new("t", "1")
        .set("a", 1, text("v1"))
        .set("b", 1, text("v2"))
        .put(&saver)
        .await;
    let second = Step::new("t", "2")
        .parent("1")
        .set("a", 2, text("new"))
        .keep("b", 1, text("v2"))
        .put(&saver)
        .await;
    let found = values(&saver, &second).await;
    assert_eq!(found, expected([("a", text("new")), ("b", text("v2"))]));
    let found = values(&saver, &first).await;
    assert_eq!(found, expected([("a", text("v1")), ("b", text("v2"))]));
}

/// A channel that appears is there beside those carried over.
pub async fn a_channel_may_appear(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let second = Step::new("t", "2")
        .parent("1")
        .keep("a", 1, text("x"))
        .set("b", 1, text("y"))
        .put(&saver)
        .await;
    let found = values(&saver, &second).await;
    assert_eq!(found, expected([("a", text("x")), ("b", text("y"))]));
}

/// A channel that `channel_versions` no longer names is gone.
pub async fn a_channel_may_disappear(target: &Target) {
    let saver = target.saver();
    let first = Step::new("t", "1")
        .set("a", 1, text("x"))
        .set("b", 1, text("y"));
    first.put(&saver).await;
    let second = Step::new("t", "2").parent("1").keep("a", 1, text("x"));
    let second = second.put(&saver).await;
    let found = checkpoint(&saver, &second).await;
    assert_eq!(found.channel_values, expected([("a", text("x"))]));
    assert!(found.channel_versions.keys().eq(["a"]));
}

/// A new version without a value empties the channel.
pub async fn a_channel_may_become_empty(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let second = Step::new("t", "2").parent("1").empty("a", 2);
    let config = second.put(&saver).await;
    let found = checkpoint(&saver, &config).await;
    assert_eq!(found.channel_values, expected([]));
    assert_eq!(found.channel_versions, second.checkpoint.channel_versions);
}

/// Of the values given, only those whose versions are new are stored, small
/// ones too.
pub async fn only_new_versions_are_stored(target: &Target) {
    let saver = target.saver();
    let whole = |id: &str| {
        Step::new("t", id)
            .keep("foo", 1, text("bar"))
            .keep("baz", 1, text("qux"))
    };
    let none = whole("1").put(&saver).await;
    assert_eq!(values(&saver, &none).await, expected([]));
    let one = whole("2").set("foo", 1, text("bar")).put(&saver).await;
    assert_eq!(values(&saver, &one).await, expected([("foo", text("bar"))]));
    let both = whole("3")
        .set("foo", 1, text("bar"))
        .set("baz", 1, text("qux"))
        .put(&saver)
        .await;
    let found = values(&saver, &both).await;
    assert_eq!(
        found,
        expected([("foo", text("bar")), ("baz", text("qux"))])
    );
}

/// A config without a thread is refused, and stores nothing.
pub async fn put_needs_a_thread(target: &Target) {
    let saver = target.saver();
    let result = Step::new("", "1").try_put(&saver).await;
    assert_eq!(kind(result), ErrorKind::InvalidInput);
    assert!(listed(&saver, Default::default()).await.is_empty());
}
