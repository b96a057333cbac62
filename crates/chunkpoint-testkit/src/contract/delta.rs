//! `get_delta_channel_history`: what replays into a channel whose values are
//! not stored at every step.

use chunkpoint_core::{Config, DELTA_SNAPSHOT_TAG, DeltaChannelHistory, Item, Saver, Value};
use serde_json::json;

use super::support::*;

/// A delta channel's snapshot, as a binding tags it.
pub(super) fn snapshot(content: &str) -> Value {
    Value::Item(Item::new(DELTA_SNAPSHOT_TAG, content.as_bytes().to_vec()))
}

/// Metadata that names `log` as a delta channel.
pub(super) fn counters() -> serde_json::Value {
    json!({"log": [1, 1]})
}

/// Checkpoint `n` of a chain with the delta channel `log`, and its write `w<n>`.
pub(super) async fn delta_link(saver: &Saver, step: Step, n: usize) {
    let step = step.meta("counters_since_delta_snapshot", counters());
    step.put(saver).await;
    write(
        saver,
        &step.names(),
        &format!("task {n}"),
        &[("log", &format!("w{n}"))],
    )
    .await;
}

/// A chain of `count` whose first checkpoint has a snapshot of `log`.
pub(super) async fn delta_chain(saver: &Saver, thread: &str, count: usize) {
    for n in 1..=count {
        let mut step = link(thread, "", n);
        step = match n {
            1 => step.set("log", 1, snapshot("seed")),
            _ => step.empty("log", n as i64),
        };
        delta_link(saver, step, n).await;
    }
}

/// The history of `log`.
pub(super) async fn history(saver: &Saver, config: &Config) -> DeltaChannelHistory {
    let mut histories = saver
        .get_delta_channel_history(config, &["log"])
        .await
        .unwrap();
    assert_eq!(histories.len(), 1);
    histories.remove("log").unwrap()
}

/// The texts of a history's writes.
pub(super) fn texts(history: &DeltaChannelHistory) -> Vec<String> {
    history.writes.iter().map(|write| told(write).2).collect()
}

/// The writes come oldest first.
pub async fn delta_writes_come_oldest_first(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 4).await;
    let found = history(&saver, &Config::new("t").with_id(id(4))).await;
    assert_eq!(texts(&found), ["w1", "w2", "w3"]);
    // The latest is what a config without an id means.
    assert_eq!(history(&saver, &Config::new("t")).await, found);
}

/// The seed is the nearest value before the checkpoint.
pub async fn the_seed_is_the_nearest_value(target: &Target) {
    let saver = target.saver();
    for n in 1..=6 {
        let step = link("t", "", n);
        let step = match n {
            1 | 3 | 6 => step.set("log", n as i64, snapshot(&format!("s{n}"))),
            _ => step.empty("log", n as i64),
        };
        delta_link(&saver, step, n).await;
    }
    // The checkpoint's own value is not its history.
    for (n, seed, writes) in [
        (2, "s1", vec!["w1"]),
        (3, "s1", vec!["w1", "w2"]),
        (4, "s3", vec!["w3"]),
        (6, "s3", vec!["w3", "w4", "w5"]),
    ] {
        let found = history(&saver, &Config::new("t").with_id(id(n))).await;
        assert_eq!(found.seed, Some(snapshot(seed)), "of {n}");
        assert_eq!(texts(&found), writes, "of {n}");
    }
}

/// The checkpoint's own pending writes are not its history.
pub async fn own_writes_are_not_history(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 2).await;
    let found = history(&saver, &Config::new("t").with_id(id(2))).await;
    assert_eq!(texts(&found), ["w1"]);
    let found = history(&saver, &Config::new("t").with_id(id(1))).await;
    assert_eq!(found, DeltaChannelHistory::default());
}

/// Each of several channels stops at its own seed; what the seed's checkpoint
/// wrote is replayed on it.
pub async fn channels_stop_at_their_own_seeds(target: &Target) {
    let saver = target.saver();
    for n in 1..=4 {
        let mut step = link("t", "", n);
        if n == 1 {
            step = step.set("a", 1, snapshot("a1"));
        }
        if n == 3 {
            step = step.set("b", 1, snapshot("b3"));
        }
        step.put(&saver).await;
        let value = n.to_string();
        write(
            &saver,
            &step.names(),
            "task",
            &[("a", &value), ("b", &value), ("c", &value)],
        )
        .await;
    }
    let config = Config::new("t").with_id(id(4));
    let found = saver
        .get_delta_channel_history(&config, &["a", "b"])
        .await
        .unwrap();
    assert_eq!(texts(&found["a"]), ["1", "2", "3"]);
    assert_eq!(found["a"].seed, Some(snapshot("a1")));
    assert_eq!(texts(&found["b"]), ["3"]);
    assert_eq!(found["b"].seed, Some(snapshot("b3")));
    assert_eq!(found.len(), 2);
}

/// No channels have no histories.
pub async fn no_channels_have_no_history(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 2).await;
    let found = saver
        .get_delta_channel_history(&Config::new("t"), &[])
        .await;
    assert!(found.unwrap().is_empty());
}

/// A walk to the root that meets no value has no seed.
pub async fn a_walk_to_the_root_has_no_seed(target: &Target) {
    let saver = target.saver();
    for n in 1..=3 {
        delta_link(&saver, link("t", "", n), n).await;
    }
    let found = history(&saver, &Config::new("t").with_id(id(3))).await;
    assert_eq!(texts(&found), ["w1", "w2"]);
    assert_eq!(found.seed, None);
}

/// A plain value, of the time before the channel was a delta one, is a seed.
pub async fn a_plain_value_is_a_seed(target: &Target) {
    let saver = target.saver();
    link("t", "", 1)
        .set("log", 1, list(&["old", "values"]))
        .put(&saver)
        .await;
    for n in 2..=3 {
        delta_link(&saver, link("t", "", n), n).await;
    }
    let found = history(&saver, &Config::new("t").with_id(id(3))).await;
    assert_eq!(found.seed, Some(list(&["old", "values"])));
    assert_eq!(texts(&found), ["w2"]);
}

/// The writes of the seed's own checkpoint are replayed on it.
pub async fn writes_of_the_seeds_checkpoint_are_replayed(target: &Target) {
    let saver = target.saver();
    link("t", "", 1)
        .set("log", 1, text("plain"))
        .put(&saver)
        .await;
    write(
        &saver,
        &Config::new("t").with_id(id(1)),
        "task",
        &[("log", "own")],
    )
    .await;
    delta_link(&saver, link("t", "", 2), 2).await;
    let found = history(&saver, &Config::new("t").with_id(id(2))).await;
    assert_eq!(found.seed, Some(text("plain")));
    assert_eq!(texts(&found), ["own"]);
}

/// A checkpoint that does not exist has an empty history of each channel.
pub async fn nothing_has_an_empty_history(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 2).await;
    for config in [
        Config::new("u"),
        Config::new("t").with_id("9"),
        Config::new("t").with_ns("x"),
    ] {
        let found = saver
            .get_delta_channel_history(&config, &["log", "b"])
            .await
            .unwrap();
        assert!(found.keys().eq(["b", "log"]));
        assert!(
            found
                .values()
                .all(|history| *history == DeltaChannelHistory::default())
        );
    }
}

/// Writes of one checkpoint replay by path, task and index.
pub async fn concurrent_delta_writes_are_ordered(target: &Target) {
    let saver = target.saver();
    link("t", "", 1).put(&saver).await;
    let first = Config::new("t").with_id(id(1));
    for (path, task) in [("~1", "b"), ("", "c"), ("~1", "a"), ("~0", "z")] {
        let (one, two) = (format!("{task}1"), format!("{task}2"));
        write_at(
            &saver,
            &first,
            task,
            path,
            &[("log", &one), ("x", "no"), ("log", &two)],
        )
        .await;
    }
    link("t", "", 2).put(&saver).await;
    let found = history(&saver, &Config::new("t")).await;
    assert_eq!(
        texts(&found),
        ["c1", "c2", "z1", "z2", "a1", "a2", "b1", "b2"]
    );
}

/// Only the checkpoints on the way to the root count, not those of forks.
pub async fn forks_do_not_mix(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 3).await;
    let fork = |n: usize, parent: usize| Step::new("t", &id(n)).parent(&id(parent));
    delta_link(&saver, fork(4, 1), 4).await;
    delta_link(&saver, fork(5, 3), 5).await;
    delta_link(&saver, fork(6, 4), 6).await;
    let found = history(&saver, &Config::new("t").with_id(id(6))).await;
    assert_eq!(texts(&found), ["w1", "w4"]);
    let found = history(&saver, &Config::new("t").with_id(id(5))).await;
    assert_eq!(texts(&found), ["w1", "w2", "w3"]);
    assert_eq!(found.seed, Some(snapshot("seed")));
}

/// Parents are followed by name where their ids go up and down.
pub async fn parents_may_have_greater_ids(target: &Target) {
    let saver = target.saver();
    for chain in [
        [5, 2, 7, 4, 8, 6, 3],
        [2, 4, 7, 1, 9, 3, 5],
        [9, 8, 7, 6, 5, 4, 3],
    ] {
        saver.delete_thread("t").await.unwrap();
        let mut parent = None;
        for n in chain {
            let mut step = Step::new("t", &id(n));
            if let Some(parent) = parent {
                step = step.parent(&id(parent));
            }
            delta_link(&saver, step, n).await;
            parent = Some(n);
        }
        let found = history(&saver, &Config::new("t").with_id(id(chain[6]))).await;
        assert!(
            texts(&found)
                .into_iter()
                .eq(chain[..6].iter().map(|n| format!("w{n}")))
        );
    }
}

/// Parents in a circle end the walk, and nothing is replayed twice.
pub async fn parents_in_a_circle_end(target: &Target) {
    let saver = target.saver();
    // Parents are taken as given, so a circle can be made.
    for (n, parent) in [(1, 3), (2, 1), (3, 2)] {
        delta_link(&saver, Step::new("t", &id(n)).parent(&id(parent)), n).await;
    }
    let found = history(&saver, &Config::new("t").with_id(id(3))).await;
    let mut found = texts(&found);
    found.sort_unstable();
    assert_eq!(found[..2], ["w1", "w2"]);
    assert!(found[2..].len() <= 1, "{found:?}");
}

/// A parent that never existed ends the walk as the root does.
pub async fn a_missing_parent_ends_the_walk(target: &Target) {
    let saver = target.saver();
    delta_link(&saver, Step::new("t", &id(2)).parent(&id(1)), 2).await;
    delta_link(&saver, Step::new("t", &id(3)).parent(&id(2)), 3).await;
    let found = history(&saver, &Config::new("t")).await;
    assert_eq!(texts(&found), ["w2"]);
    assert_eq!(found.seed, None);
}

/// A long history comes whole.
pub async fn a_long_history_comes_whole(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 600).await;
    let found = history(&target.saver(), &Config::new("t")).await;
    assert!(
        texts(&found)
            .into_iter()
            .eq((1..600).map(|n| format!("w{n}")))
    );
    assert_eq!(found.seed, Some(snapshot("seed")));
}
