//! `copy_thread`.

use chunkpoint_core::{Config, ErrorKind, ListQuery, Saver};
use serde_json::json;

use super::support::*;

/// What both sides of a copy must have: three root checkpoints, a child
/// namespace of two, and writes.
async fn source(saver: &Saver) {
    for n in 1..=3 {
        // One version for values that change: what the source returns for
        // each id is what the copy must.
        let step = link("t", "", n).set("a", 1, list(&vec!["item"; n * 40]));
        let step = step
            .meta("custom", json!({"n": n}))
            .meta("run_id", json!("r"));
        step.put(saver).await;
    }
    chain(saver, "t", "child", 2).await;
    write(
        saver,
        &Config::new("t").with_id(id(2)),
        "task",
        &[("a", "x"), ("b", "y")],
    )
    .await;
    write_at(
        saver,
        &Config::new("t").with_id(id(2)),
        "other",
        "~1",
        &[("__error__", "z")],
    )
    .await;
}

async fn copied(target: &Target) -> Saver {
    let saver = target.saver();
    source(&saver).await;
    saver.copy_thread("t", "copy").await.unwrap();
    saver
}

/// All checkpoints are there.
pub async fn a_copy_has_all_checkpoints(target: &Target) {
    let saver = copied(target).await;
    assert_eq!(listed(&saver, of_ns("copy", "")).await.len(), 3);
    assert_eq!(listed(&saver, of_thread("copy")).await.len(), 5);
}

/// Each checkpoint of the copy is that of the source, to the byte.
pub async fn a_copy_has_the_same_content(target: &Target) {
    let saver = copied(target).await;
    for copy in listed(&target.saver(), of_thread("copy")).await {
        let config = Config {
            thread_id: "t".into(),
            ..copy.config.clone()
        };
        let original = checkpoint(&saver, &config).await;
        assert_eq!(copy.checkpoint().await.unwrap(), original);
    }
}

/// All keys of the metadata.
pub async fn a_copy_has_the_metadata(target: &Target) {
    let saver = copied(target).await;
    for copy in listed(&saver, of_thread("copy")).await {
        let config = Config {
            thread_id: "t".into(),
            ..copy.config.clone()
        };
        assert_eq!(copy.metadata, get(&saver, &config).await.metadata);
    }
}

/// All namespaces.
pub async fn a_copy_has_the_namespaces(target: &Target) {
    let saver = copied(target).await;
    assert_eq!(
        listed_ids(&saver, of_ns("copy", "child")).await,
        ids([2, 1])
    );
    let child = Config::new("copy").with_ns("child");
    let found = values(&saver, &child).await;
    assert_eq!(found, link("t", "child", 2).checkpoint.channel_values);
}

/// The pending writes, those without a checkpoint too.
pub async fn a_copy_has_the_writes(target: &Target) {
    let saver = target.saver();
    source(&saver).await;
    write(
        &saver,
        &Config::new("t").with_id(id(4)),
        "early",
        &[("a", "w")],
    )
    .await;
    saver.copy_thread("t", "copy").await.unwrap();
    let found = pending(&saver, &Config::new("copy").with_id(id(2))).await;
    let expected = told_as(&[
        ("task", "a", "x"),
        ("task", "b", "y"),
        ("other", "__error__", "z"),
    ]);
    assert_eq!(found, expected);
    let config = Step::new("copy", &id(4)).put(&saver).await;
    assert_eq!(
        pending(&saver, &config).await,
        told_as(&[("early", "a", "w")])
    );
}

/// The same ids in the same order, with the same parents.
pub async fn a_copy_has_the_same_order(target: &Target) {
    let saver = copied(target).await;
    let found = listed(&saver, of_thread("copy")).await;
    let originals = listed(&saver, of_thread("t")).await;
    assert_eq!(found.len(), originals.len());
    for (copy, original) in found.iter().zip(&originals) {
        assert_eq!(copy.config.checkpoint_id, original.config.checkpoint_id);
        assert_eq!(copy.config.checkpoint_ns, original.config.checkpoint_ns);
        let parent = |tuple: &chunkpoint_core::CheckpointTuple| {
            tuple
                .parent_config
                .as_ref()
                .and_then(|config| config.checkpoint_id.clone())
        };
        assert_eq!(parent(copy), parent(original));
    }
}

/// The source is as it was, and neither changes with the other.
pub async fn source_and_copy_are_independent(target: &Target) {
    let saver = copied(target).await;
    Step::new("copy", &id(3))
        .set("a", 1, text("changed"))
        .put(&saver)
        .await;
    Step::new("copy", &id(4))
        .parent(&id(2))
        .carry("a", 1)
        .put(&saver)
        .await;
    assert_eq!(listed_ids(&saver, of_ns("t", "")).await, ids([3, 2, 1]));
    let found = values(&saver, &Config::new("t")).await;
    assert_eq!(found["a"], list(&vec!["item"; 120]));
    saver.delete_thread("t").await.unwrap();
    target.clock().advance(std::time::Duration::from_secs(3600));
    target.memory().maintain().await.unwrap();
    let found = values(&target.saver(), &Config::new("copy").with_id(id(4))).await;
    assert_eq!(found, expected([("a", list(&vec!["item"; 80]))]));
}

/// A source that does not exist is `NotFound`, and makes no target.
pub async fn a_copy_of_nothing_is_not_found(target: &Target) {
    let saver = target.saver();
    let result = saver.copy_thread("nothing", "copy").await;
    assert_eq!(kind(result), ErrorKind::NotFound);
    assert!(listed(&saver, ListQuery::default()).await.is_empty());
}

/// A target that exists is `Conflict`, and stays as it was.
pub async fn a_copy_onto_a_thread_is_a_conflict(target: &Target) {
    let saver = target.saver();
    source(&saver).await;
    chain(&saver, "copy", "", 1).await;
    let result = saver.copy_thread("t", "copy").await;
    assert_eq!(kind(result), ErrorKind::Conflict);
    let result = saver.copy_thread("t", "t").await;
    assert_eq!(kind(result), ErrorKind::Conflict);
    assert_eq!(listed_ids(&saver, of_thread("copy")).await, ids([1]));
    // Once it is deleted, there is room.
    saver.delete_thread("copy").await.unwrap();
    saver.copy_thread("t", "copy").await.unwrap();
    assert_eq!(listed(&saver, of_thread("copy")).await.len(), 5);
}

/// Pins come along, and so do the hidden checkpoints of delta histories.
pub async fn a_copy_has_pins_and_hidden_checkpoints(target: &Target) {
    use super::delta::{delta_chain, history, texts};
    let saver = target.saver();
    delta_chain(&saver, "t", 6).await;
    let memory = target.memory();
    memory.thread("t").unwrap().pin(&id(4)).await.unwrap();
    let before = history(&saver, &Config::new("t").with_id(id(6))).await;
    assert_eq!(texts(&before), ["w1", "w2", "w3", "w4", "w5"]);
    saver.prune(&["t"], Default::default()).await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([6, 4]));
    saver.copy_thread("t", "copy").await.unwrap();
    saver.delete_thread("t").await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("copy")).await, ids([6, 4]));
    let found = history(&target.saver(), &Config::new("copy").with_id(id(6))).await;
    assert_eq!(texts(&found), texts(&before));
    assert_eq!(found.seed, before.seed);
    saver.prune(&["copy"], Default::default()).await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("copy")).await, ids([6, 4]));
}
