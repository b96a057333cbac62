//! `prune`.

use chunkpoint_core::PruneStrategy::{Delete, KeepLatest};
use chunkpoint_core::{Config, ErrorKind};

use super::support::*;

/// The newest stays, the others go.
pub async fn the_newest_stays(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 5).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([5]));
    for n in 1..5 {
        let config = Config::new("t").with_id(id(n));
        assert!(find(&saver, &config).await.is_none());
    }
}

/// What stays can be read in full, after its ancestors' bytes have gone too.
pub async fn what_stays_is_whole(target: &Target) {
    let saver = target.saver();
    let long = "long enough for a chunk of its own. ".repeat(50);
    Step::new("t", &id(1))
        .set("a", 1, text(&long))
        .set("b", 1, list(&vec!["item"; 500]))
        .put(&saver)
        .await;
    for n in 2..=5 {
        let step = Step::new("t", &id(n)).parent(&id(n - 1));
        let step = step
            .carry("a", 1)
            .carry("b", 1)
            .set("n", n as i64, text("x"));
        step.put(&saver).await;
    }
    saver.prune(&["t"], KeepLatest).await.unwrap();
    target.clock().advance(std::time::Duration::from_secs(3600));
    target.memory().maintain().await.unwrap();
    let found = get(&target.saver(), &Config::new("t")).await;
    // The parent's id stays as it was given, although it is gone.
    assert_eq!(found.parent_config, Some(Config::new("t").with_id(id(4))));
    let values = found.checkpoint().await.unwrap().channel_values;
    let b = list(&vec!["item"; 500]);
    assert_eq!(
        values,
        expected([("a", text(&long)), ("b", b), ("n", text("x"))])
    );
}

/// Several threads in one call.
pub async fn several_threads_are_pruned(target: &Target) {
    let saver = target.saver();
    for thread in ["t", "u"] {
        chain(&saver, thread, "", 3).await;
    }
    saver.prune(&["t", "u"], KeepLatest).await.unwrap();
    for thread in ["t", "u"] {
        assert_eq!(listed_ids(&saver, of_thread(thread)).await, ids([3]));
    }
}

/// The newest of each namespace stays.
pub async fn the_newest_of_each_namespace_stays(target: &Target) {
    let saver = target.saver();
    for (namespace, count) in [("", 3), ("child", 5), ("other", 1)] {
        chain(&saver, "t", namespace, count).await;
    }
    saver.prune(&["t"], KeepLatest).await.unwrap();
    for (namespace, count) in [("", 3), ("child", 5), ("other", 1)] {
        assert_eq!(
            listed_ids(&saver, of_ns("t", namespace)).await,
            ids([count])
        );
        let found = values(&saver, &Config::new("t").with_ns(namespace)).await;
        assert_eq!(found, link("t", namespace, count).checkpoint.channel_values);
    }
}

/// The writes of what stays stay; those of what goes go.
pub async fn the_writes_of_the_newest_stay(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 2).await;
    for n in 1..=2 {
        write(
            &saver,
            &Config::new("t").with_id(id(n)),
            "task",
            &[("a", &id(n))],
        )
        .await;
    }
    saver.prune(&["t"], KeepLatest).await.unwrap();
    let found = pending(&saver, &Config::new("t")).await;
    assert_eq!(found, told_as(&[("task", "a", &id(2))]));
    link("t", "", 1).put(&saver).await;
    assert!(
        pending(&saver, &Config::new("t").with_id(id(1)))
            .await
            .is_empty()
    );
}

/// The other strategy deletes the threads.
pub async fn everything_may_go(target: &Target) {
    let saver = target.saver();
    for namespace in ["", "child"] {
        chain(&saver, "t", namespace, 3).await;
    }
    saver.prune(&["t"], Delete).await.unwrap();
    assert!(listed(&saver, of_thread("t")).await.is_empty());
    assert!(find(&saver, &Config::new("t")).await.is_none());
}

/// Threads that are not named stay as they are.
pub async fn other_threads_are_not_pruned(target: &Target) {
    let saver = target.saver();
    for thread in ["t", "u"] {
        chain(&saver, thread, "", 3).await;
    }
    saver.prune(&["t"], KeepLatest).await.unwrap();
    saver.prune(&["t"], Delete).await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("u")).await, ids([3, 2, 1]));
}

/// No threads are none to prune.
pub async fn no_threads_prune_nothing(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    for strategy in [KeepLatest, Delete] {
        saver.prune(&[], strategy).await.unwrap();
    }
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([3, 2, 1]));
}

/// A thread that does not exist is no error; one that cannot be is.
pub async fn pruning_nothing_is_no_error(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 2).await;
    for strategy in [KeepLatest, Delete] {
        saver.prune(&["unknown"], strategy).await.unwrap();
        let result = saver.prune(&["t", ""], strategy).await;
        assert_eq!(kind(result), ErrorKind::InvalidInput);
    }
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([2, 1]));
}

/// Pruning twice removes nothing more.
pub async fn pruning_again_changes_nothing(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    for _ in 0..2 {
        saver.prune(&["t"], KeepLatest).await.unwrap();
        assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([3]));
    }
}

/// Pinned checkpoints stay beside the newest, and go once they are not.
pub async fn pinned_checkpoints_stay(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 5).await;
    let thread = target.memory().thread("t").unwrap();
    thread.pin(&id(2)).await.unwrap();
    saver.prune(&["t"], KeepLatest).await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([5, 2]));
    thread.unpin(&id(2)).await.unwrap();
    saver.prune(&["t"], KeepLatest).await.unwrap();
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([5]));
}
