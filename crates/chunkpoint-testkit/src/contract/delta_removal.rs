//! Removing checkpoints that delta histories run through: what a kept one
//! needs stays, hidden from everyone else.

use std::time::Duration;

use chunkpoint_core::{Config, ErrorKind, PruneStrategy::KeepLatest, Settings};
use serde_json::json;

use super::delta::{counters, delta_chain, delta_link, history, snapshot, texts};
use super::support::*;

async fn reclaimed(target: &Target) {
    target.clock().advance(Duration::from_secs(3600));
    target.memory().maintain().await.unwrap();
}

/// After `prune`, the kept checkpoint's history is as it was.
pub async fn pruning_keeps_the_history(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 8).await;
    let before = history(&saver, &Config::new("t")).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    reclaimed(target).await;
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([8]));
    let saver = target.saver();
    assert_eq!(history(&saver, &Config::new("t")).await, before);
    // Again and again, for it must not be forgotten by the second time.
    saver.prune(&["t"], KeepLatest).await.unwrap();
    reclaimed(target).await;
    assert_eq!(history(&target.saver(), &Config::new("t")).await, before);
}

/// What stays for a history is not listed, not got, and no parent to fork from.
pub async fn hidden_checkpoints_are_not_there(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 4).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    let memory = target.memory();
    let thread = memory.thread("t").unwrap();
    for n in 1..4 {
        let config = Config::new("t").with_id(id(n));
        assert!(find(&saver, &config).await.is_none());
        assert!(thread.at(&id(n)).await.unwrap().is_none());
        assert_eq!(kind(thread.fork(&id(n)).await), ErrorKind::ParentGone);
        assert_eq!(kind(thread.pin(&id(n)).await), ErrorKind::NotFound);
        let late = Step::new("t", &id(9))
            .parent(&id(n))
            .carry("step", n as i64);
        assert_eq!(kind(late.try_put(&saver).await), ErrorKind::ParentGone);
    }
    let mut query = of_thread("t");
    query.checkpoint_id = Some(id(2));
    assert!(listed(&saver, query).await.is_empty());
    assert_eq!(
        memory
            .thread("t")
            .unwrap()
            .latest()
            .await
            .unwrap()
            .unwrap()
            .id(),
        id(4)
    );
}

/// Nothing stays for a history that ends at the kept checkpoint's parent, nor
/// beyond the nearest seed.
pub async fn what_no_history_needs_goes(target: &Target) {
    let saver = target.saver();
    for n in 1..=7 {
        let step = link("t", "", n);
        let step = match n {
            1 | 5 => step.set("log", n as i64, snapshot(&format!("s{n}"))),
            _ => step.empty("log", n as i64),
        };
        delta_link(&saver, step, n).await;
    }
    saver.prune(&["t"], KeepLatest).await.unwrap();
    let found = history(&saver, &Config::new("t")).await;
    assert_eq!(found.seed, Some(snapshot("s5")));
    assert_eq!(texts(&found), ["w5", "w6"]);
    // Those before the seed are gone for good: a reput of one finds no writes.
    let old = link("t", "", 3).names();
    link("t", "", 3).put(&saver).await;
    assert!(pending(&saver, &old).await.is_empty());
    assert_eq!(
        get(&saver, &old).await.parent_config,
        Some(link("t", "", 2).names())
    );
}

/// A checkpoint with a value of its own needs no history.
pub async fn a_kept_value_needs_no_history(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 3).await;
    let step = link("t", "", 4).set("log", 9, snapshot("own"));
    delta_link(&saver, step, 4).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    reclaimed(target).await;
    let left = count(target, "t").await;
    assert_eq!(left, 1, "checkpoints are left that nothing needs");
}

/// Records of a thread in the store, hidden ones too.
async fn count(target: &Target, thread: &str) -> usize {
    use chunkpoint_core::backend::{Detail, ListRecords};
    use futures::StreamExt;
    let query = ListRecords {
        thread: thread.into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Keys,
    };
    target.backend().list(query).await.unwrap().count().await
}

/// Once the checkpoint that needed them goes, the hidden ones go as well.
pub async fn hidden_checkpoints_go_when_not_needed(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 5).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    assert_eq!(count(target, "t").await, 5);
    let step = link("t", "", 6).set("log", 9, snapshot("fresh"));
    delta_link(&saver, step, 6).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    assert_eq!(count(target, "t").await, 1);
    let step = link("t", "", 7).empty("log", 10);
    delta_link(&saver, step, 7).await;
    let found = history(&saver, &Config::new("t")).await;
    assert_eq!(
        (found.seed, found.writes.len()),
        (Some(snapshot("fresh")), 1)
    );
}

/// `delete_for_runs` keeps the histories of other runs.
pub async fn deleting_runs_keeps_the_history(target: &Target) {
    let saver = target.saver();
    for n in 1..=6 {
        let mut step = link("t", "", n).meta("run_id", json!(format!("run-{}", n % 2)));
        if n == 1 {
            step = step.set("log", 1, snapshot("seed"));
        }
        delta_link(&saver, step, n).await;
    }
    let config = Config::new("t").with_id(id(6));
    let before = history(&saver, &config).await;
    saver.delete_for_runs(&["run-1"]).await.unwrap();
    reclaimed(target).await;
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([6, 4, 2]));
    let saver = target.saver();
    assert_eq!(history(&saver, &config).await, before);
    let found = history(&saver, &Config::new("t").with_id(id(4))).await;
    assert_eq!(texts(&found), ["w1", "w2", "w3"]);
}

/// Retention keeps the histories of what it keeps.
pub async fn retention_keeps_the_history(target: &Target) {
    let settings = Settings {
        max_history: Some(3),
        ..target.settings()
    };
    let memory = target.memory_with(settings);
    let saver = memory.saver();
    delta_chain(&saver, "t", 10).await;
    let before = history(&saver, &Config::new("t")).await;
    memory.maintain().await.unwrap();
    reclaimed(target).await;
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([10, 9, 8]));
    assert_eq!(history(&target.saver(), &Config::new("t")).await, before);
    let found = history(&target.saver(), &Config::new("t").with_id(id(8))).await;
    assert_eq!(texts(&found).len(), 7);
}

/// A channel that only its tag tells is kept as well, however its value was stored.
pub async fn tagged_snapshots_are_recognised(target: &Target) {
    let saver = target.saver();
    let large = "a snapshot of some size. ".repeat(2000);
    for n in 1..=4 {
        let step = link("t", "", n);
        let step = match n {
            1 => step.set("log", 1, snapshot(&large)),
            _ => step,
        };
        step.put(&saver).await;
        write(&saver, &step.names(), "task", &[("log", &format!("w{n}"))]).await;
    }
    saver.prune(&["t"], KeepLatest).await.unwrap();
    reclaimed(target).await;
    let found = history(&target.saver(), &Config::new("t")).await;
    assert_eq!(texts(&found), ["w1", "w2", "w3"]);
    assert_eq!(found.seed, Some(snapshot(&large)));
}

/// A reput of a hidden id makes it visible, with its first parent and writes.
pub async fn a_reput_shows_a_hidden_checkpoint(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 4).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    let reput = Step::new("t", &id(2)).set("a", 1, text("again"));
    let reput = reput.meta("counters_since_delta_snapshot", counters());
    let config = reput.put(&saver).await;
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([4, 2]));
    let found = get(&saver, &config).await;
    assert_eq!(found.parent_config, Some(Config::new("t").with_id(id(1))));
    assert_eq!(written(&found), told_as(&[("task 2", "log", "w2")]));
    let found = history(&saver, &Config::new("t")).await;
    assert_eq!(texts(&found), ["w1", "w2", "w3"]);
}

/// A draft on a snapshot of what was hidden since is refused or whole: nothing
/// that it borrows goes meanwhile.
pub async fn a_hidden_parent_lends_what_it_has(target: &Target) {
    let memory = target.memory();
    let saver = memory.saver();
    let big = vec!["an item that takes some room, many times"; 400];
    let step = link("t", "", 1).set("big", 1, list(&big));
    delta_link(&saver, step.set("log", 1, snapshot("seed")), 1).await;
    let step = link("t", "", 2).carry("big", 1);
    delta_link(&saver, step, 2).await;
    let thread = memory.thread("t").unwrap();
    let old = thread.at(&id(2)).await.unwrap().unwrap();
    delta_link(&saver, link("t", "", 3), 3).await;
    saver.prune(&["t"], KeepLatest).await.unwrap();
    reclaimed(target).await;
    let mut draft = old.draft().unwrap();
    draft.set("a", chunkpoint_core::Item::text("late")).unwrap();
    match thread.commit(draft).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::ParentGone),
        Ok(late) => {
            reclaimed(target).await;
            // Through a memory that has none of it in its cache.
            let late = Config::new("t").with_id(late.id());
            let found = values(&target.saver(), &late).await;
            assert!(found["big"] == list(&big));
        }
    }
}
