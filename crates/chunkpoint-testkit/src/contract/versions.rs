//! The fields of a checkpoint beside its values: versions of every type, what
//! nodes have seen, metadata, and any of them grown large.

use std::collections::BTreeMap;

use chunkpoint_core::Version;
use serde_json::json;

use super::support::*;

/// Whole, fractional and textual versions keep their type and value.
pub async fn versions_keep_their_type(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", "1");
    let whole = [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1];
    for (n, version) in whole.into_iter().enumerate() {
        step = step.set(&format!("whole {n}"), version, text("x"));
    }
    for (n, version) in [0.5, 1.0, -0.0, 1e300, 0.1 + 0.2].into_iter().enumerate() {
        step = step.set(&format!("fraction {n}"), version, text("x"));
    }
    for (n, version) in ["", "1", "1.0", "ü"].into_iter().enumerate() {
        step = step.set(&format!("text {n}"), version, text("x"));
    }
    let config = step.put(&saver).await;
    let found = checkpoint(&target.saver(), &config).await;
    assert_eq!(found.channel_versions, step.checkpoint.channel_versions);
    // Equality of floats does not tell 0.0 from -0.0.
    assert!(
        matches!(found.channel_versions["fraction 2"], Version::Float(f) if f.is_sign_negative())
    );
}

/// The versions in `versions_seen` keep their type as well.
pub async fn seen_versions_keep_their_type(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "1")
        .seen("n", "whole", 3)
        .seen("n", "large", i64::MAX)
        .seen("n", "fraction", 1.0)
        .seen("n", "text", "3.0.123");
    let config = step.put(&saver).await;
    let found = checkpoint(&target.saver(), &config).await;
    assert_eq!(found.versions_seen, step.checkpoint.versions_seen);
}

/// `v` and `ts` come back as they were given, whatever they say.
pub async fn shape_version_and_time_come_back(target: &Target) {
    let saver = target.saver();
    let given = [
        (0, ""),
        (4, "yesterday"),
        (u64::from(u32::MAX), "2026-03-01T12:00:00Z"),
    ];
    for (n, (v, ts)) in given.into_iter().enumerate() {
        let mut step = Step::new("t", &id(n + 1));
        step.checkpoint.v = v;
        step.checkpoint.ts = ts.into();
        let config = step.put(&saver).await;
        let found = checkpoint(&target.saver(), &config).await;
        assert_eq!((found.v, found.ts.as_str()), (v, ts));
    }
}

/// `updated_channels` that are absent, empty or out of order come back so.
pub async fn updated_channels_come_back(target: &Target) {
    let saver = target.saver();
    let given = [
        None,
        Some(vec![]),
        Some(vec![
            "b".to_owned(),
            "a".to_owned(),
            "not a channel".to_owned(),
        ]),
    ];
    for (n, updated) in given.into_iter().enumerate() {
        let mut step = Step::new("t", &id(n + 1)).set("a", 1, text("x"));
        step.checkpoint.updated_channels = updated.clone();
        let config = step.put(&saver).await;
        let found = checkpoint(&target.saver(), &config).await;
        assert_eq!(found.updated_channels, updated);
    }
}

/// Metadata of a megabyte comes back, and can be filtered by.
pub async fn large_metadata_comes_back(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", "1").meta("one large", json!("x".repeat(600_000)));
    for n in 0..5000 {
        let value =
            json!({"n": n, "text": format!("value number {n} of many, and then some more")});
        step = step.meta(&format!("key {n}"), value);
    }
    let config = step.put(&saver).await;
    let found = get(&target.saver(), &config).await;
    assert!(found.metadata == step.metadata, "the metadata is altered");
    let mut query = of_thread("t");
    query.filter = object(json!({"key 4321": step.metadata["key 4321"].clone()}));
    assert_eq!(listed_ids(&saver, query).await, ["1"]);
}

/// Metadata that grows and changes along a chain comes back at every step.
pub async fn changing_large_metadata_comes_back(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", &id(1));
    for n in 1..=30_usize {
        step.checkpoint.id = id(n);
        step.config.checkpoint_id = (n > 1).then(|| id(n - 1));
        for key in 0..20 {
            let value = json!(format!("step {n}, key {key}: {}", "text ".repeat(20)));
            step.metadata.insert(format!("{n}/{key}"), value);
        }
        step.metadata.insert("step".into(), json!(n));
        step.metadata.remove(&format!("{}/3", n / 2));
        step.put(&saver).await;
        let found = get(&target.saver(), &step.names()).await.metadata;
        assert!(
            found == step.metadata,
            "the metadata of step {n} is altered"
        );
    }
}

/// `versions_seen` of hundreds of nodes comes back at every step.
pub async fn large_versions_seen_come_back(target: &Target) {
    let saver = target.saver();
    let mut step = Step::new("t", &id(1));
    for node in 0..400 {
        for channel in 0..5 {
            step = step.seen(&format!("node {node}"), &format!("branch:to:{channel}"), 1);
        }
    }
    for n in 1..=10_usize {
        step.checkpoint.id = id(n);
        step.config.checkpoint_id = (n > 1).then(|| id(n - 1));
        let seen = BTreeMap::from([("messages".to_owned(), Version::Int(n as i64))]);
        let nodes = &mut step.checkpoint.versions_seen;
        nodes.insert(format!("node {}", n * 31), seen.clone());
        nodes.insert("__snapshot_bumps__".into(), seen);
        step.put(&saver).await;
        let found = checkpoint(&target.saver(), &step.names()).await;
        assert!(found == step.checkpoint, "checkpoint {n} is altered");
    }
}
