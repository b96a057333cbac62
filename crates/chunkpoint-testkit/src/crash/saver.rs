//! The saver's calls under `kill -9`: checkpoints stored again, their pending
//! writes, and removals of runs and by pruning.
//!
//! Each child has a thread of its own for them, so that what it was told of is
//! all that may have happened, but for the one call it was killed in.

use std::collections::{BTreeMap, BTreeSet};

use chunkpoint_core::{
    Checkpoint, Config, Item, ListQuery, Memory, PruneStrategy, Saver, Value, Version,
};
use futures::TryStreamExt;
use serde_json::json;

use super::{HISTORY, id};

/// Every so many steps a run is deleted, and the thread pruned.
const DELETE_EVERY: u64 = 5;
const PRUNE_EVERY: u64 = 16;

/// What was acknowledged of one thread, by step.
#[derive(Debug, Default)]
pub(super) struct Said {
    put: u64,
    written: BTreeSet<u64>,
    put_again: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    pruned: u64,
}

impl Said {
    /// Takes a line of the child's: what was done, and at which step.
    pub(super) fn hear(&mut self, what: &str, step: u64) {
        match what {
            "put" => self.put = self.put.max(step),
            "written" => _ = self.written.insert(step),
            "again" => _ = self.put_again.insert(step),
            "deleted" => _ = self.deleted.insert(step),
            "pruned" => self.pruned = self.pruned.max(step),
            other => panic!("a child did {other:?}"),
        }
    }
}

fn text(step: u64, version: i64) -> Value {
    Value::Item(Item::text(format!("{step} {version}").repeat(30)))
}

fn write(step: u64) -> Item {
    Item::text(format!("write of {step} ").repeat(1 + step as usize % 40))
}

fn run(name: &str, step: u64) -> String {
    format!("{name} {step}")
}

async fn put(saver: &Saver, name: &str, step: u64, version: i64) {
    let version_of = BTreeMap::from([("a".to_owned(), Version::Int(version))]);
    let checkpoint = Checkpoint {
        v: 1,
        id: id(step),
        ts: "2026-03-01T12:00:00.000001+00:00".to_owned(),
        channel_values: BTreeMap::from([("a".to_owned(), text(step, version))]),
        channel_versions: version_of.clone(),
        ..Checkpoint::default()
    };
    let metadata = json!({"source": "loop", "step": step, "run_id": run(name, step)});
    let metadata = metadata.as_object().cloned().unwrap_or_default();
    saver
        .put(&Config::new(name), checkpoint, metadata, &version_of)
        .await
        .unwrap_or_else(|error| panic!("put of step {step} of {name}: {error}"));
}

/// One step of a child; says what it was told is done.
pub(super) async fn step(memory: &Memory, name: &str, say: impl Fn(&str, u64)) {
    let saver = memory.saver();
    let latest = saver
        .get_tuple(&Config::new(name))
        .await
        .expect("the latest checkpoint is readable");
    let step = 1 + latest.map_or(0, |latest| super::step_of(&latest.snapshot));
    put(&saver, name, step, 1).await;
    say("put", step);
    let config = Config::new(name).with_id(id(step));
    saver
        .put_writes(&config, vec![("c".into(), write(step))], "task", "path")
        .await
        .unwrap_or_else(|error| panic!("writes of step {step} of {name}: {error}"));
    say("written", step);
    if step.is_multiple_of(3) {
        put(&saver, name, step, 2).await;
        say("again", step);
    }
    if step.is_multiple_of(DELETE_EVERY) {
        let gone = step - 2;
        saver
            .delete_for_runs(&[&run(name, gone)])
            .await
            .unwrap_or_else(|error| panic!("deletion of run {gone} of {name}: {error}"));
        say("deleted", gone);
    }
    if step.is_multiple_of(PRUNE_EVERY) {
        saver
            .prune(&[name], PruneStrategy::KeepLatest)
            .await
            .unwrap_or_else(|error| panic!("pruning of {name} at {step}: {error}"));
        say("pruned", step);
    }
}

/// Reads the thread back; gives the number of checkpoints.
///
/// # Panics
/// If what was acknowledged is not so.
pub(super) async fn check(memory: &Memory, name: &str, said: &Said) -> u64 {
    let query = ListQuery {
        thread_id: Some(name.to_owned()),
        ..ListQuery::default()
    };
    let tuples: Vec<_> = memory
        .saver()
        .list(query)
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("list of {name}: {error}"));
    let there: BTreeMap<u64, _> = tuples
        .iter()
        .map(|tuple| (super::step_of(&tuple.snapshot), tuple))
        .collect();
    let latest = there.keys().next_back().copied().unwrap_or(0);
    assert!(
        latest >= said.put,
        "{name}: step {} was acknowledged, {latest} is the latest",
        said.put
    );
    // Retention may have taken what is older, and a pruning that was not
    // acknowledged what is before it.
    let kept = (latest + 1).saturating_sub(HISTORY as u64);
    let kept = kept.max(latest / PRUNE_EVERY * PRUNE_EVERY).max(1);
    for step in kept..=latest {
        let may_be_deleted = (step + 2).is_multiple_of(DELETE_EVERY) && step + 2 <= latest;
        assert!(
            there.contains_key(&step) || may_be_deleted,
            "{name}: step {step} of {latest} is gone"
        );
    }
    for (step, tuple) in &there {
        assert!(!said.deleted.contains(step), "{name}: {step} is back");
        assert!(*step >= said.pruned, "{name}: {step} was pruned");
        let checkpoint = tuple
            .checkpoint()
            .await
            .unwrap_or_else(|error| panic!("{name}, step {step}: {error}"));
        let value = checkpoint.channel_values.get("a");
        let first = value == Some(&text(*step, 1)) && !said.put_again.contains(step);
        assert!(
            first || value == Some(&text(*step, 2)),
            "{name}, step {step}: wrong value"
        );
        let writes: Vec<&Item> = tuple.pending_writes.iter().map(|w| &w.value).collect();
        assert!(
            writes == [&write(*step)] || writes.is_empty() && !said.written.contains(step),
            "{name}, step {step}: wrong writes"
        );
    }
    there.len() as u64
}
