//! `kill -9`, again and again: writers in child processes, and a parent that
//! kills them at random moments and then reads everything back.
//!
//! A child commits to threads of its own and to one that all share, with
//! retention, reclamation and compaction running, and prints a line after
//! each acknowledged commit. What a state holds follows from its step number,
//! so the parent needs no other record of what was written:
//!
//! * the latest state is at least the last acknowledged one;
//! * the newest [`HISTORY`] states are all there, without a gap;
//! * every state there is loads, and is what its step says.
//!
//! Beside that it stores checkpoints with the saver, and again, with pending
//! writes, deletes runs and prunes: see `saver`.

mod saver;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use chunkpoint_core::{ErrorKind, HistoryQuery, Item, Memory, Settings, Snapshot, Value};
use futures::TryStreamExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// States that retention keeps of each thread.
pub const HISTORY: usize = 20;

/// The longest wait for the first thing that a child writes.
const FIRST: Duration = Duration::from_secs(20);

/// Threads that each child writes to alone.
const OWN: u64 = 2;

/// The settings that children and parent open the storage with: everything
/// that removes is switched on, and nothing waits.
pub fn settings() -> Settings {
    Settings {
        max_history: Some(HISTORY),
        grace: Duration::ZERO,
        cache_bytes: 1 << 20,
        ..Settings::default()
    }
}

/// The first message that the state of step `step` still has.
fn first(step: u64) -> u64 {
    if step <= 300 {
        1
    } else {
        (step - 300).div_ceil(100) * 100 + 1
    }
}

fn message(thread: &str, step: u64) -> Item {
    Item::text(format!(
        "{thread} {step} {}",
        "lorem ipsum ".repeat(step as usize % 23)
    ))
}

fn file(step: u64) -> Item {
    let version = step / 7;
    Item::new(
        "bytes",
        (0..5000)
            .flat_map(|n: u64| (n ^ version << 9).to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

fn id(step: u64) -> String {
    format!("{step:012}")
}

fn step_of(snapshot: &Snapshot) -> u64 {
    snapshot
        .id()
        .parse()
        .expect("ids of this test are step numbers")
}

/// The child's side: commits until it is killed. `worker` tells children
/// apart.
pub async fn write_until_killed(memory: Memory, worker: u64) {
    let mut names: Vec<String> = (0..OWN)
        .map(|n| format!("worker {worker} thread {n}"))
        .collect();
    names.push("shared".to_owned());
    let saved = format!("saver of worker {worker}");
    for round in 0u64.. {
        for name in &names {
            if let Some(step) = write_step(&memory, name).await {
                say(step, name);
            }
        }
        saver::step(&memory, &saved, |what, step| {
            say(step, &format!("{what}{DONE}{saved}"));
        })
        .await;
        if round % 16 == worker % 16 {
            memory
                .maintain()
                .await
                .expect("maintenance works while others write");
        }
    }
}

/// Stands between what was done with a saver, and its thread.
const DONE: &str = ": ";

fn say(step: u64, name: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{step} {name}")
        .and_then(|()| out.flush())
        .expect("the parent reads");
}

async fn write_step(memory: &Memory, name: &str) -> Option<u64> {
    let thread = memory.thread(name).expect("the name is an id");
    let mut draft = thread.draft().await.expect("the latest state is readable");
    let step = draft.parent().map_or(0, step_of) + 1;
    draft.set_id(&id(step)).expect("a number is an id");
    draft
        .append("messages", [message(name, step)])
        .expect("messages are a list");
    let gone = first(step) - first(step.max(2) - 1);
    if gone > 0 {
        draft
            .splice("messages", 0..gone, [])
            .expect("they are there");
    }
    if step % 7 == 0 {
        draft.set("file", file(step)).expect("file is a channel");
    }
    draft.expect_latest();
    match thread.commit(draft).await {
        Ok(_) => Some(step),
        // The other writer of the shared thread came first.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::ParentGone) => None,
        Err(error) => panic!("commit of step {step} of {name}: {error}"),
    }
}

/// What a run of [`kill_and_check`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survived {
    /// Processes killed.
    pub kills: u64,
    /// Commits and other calls acknowledged.
    pub acknowledged: u64,
    /// States read back and compared.
    pub states: u64,
}

/// The parent's side: `kills` times, starts two children, kills both after
/// a random time, and checks what `open` then finds.
///
/// # Panics
/// If anything acknowledged is lost or anything is not readable.
pub async fn kill_and_check(
    kills: u64,
    seed: u64,
    child: impl Fn(u64) -> Command,
    open: impl AsyncFn() -> Memory,
) -> Survived {
    let mut survived = Survived::default();
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut saved: BTreeMap<String, saver::Said> = BTreeMap::new();
    let mut random = seed;
    while survived.kills < kills {
        let mut children = Vec::new();
        let mut waits = Vec::new();
        for worker in 0..2 {
            let mut child = child(worker)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("the child starts");
            let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
            let (heard, first) = tokio::sync::oneshot::channel();
            let reader = tokio::spawn(read_all(lines, heard));
            children.push((child, reader));
            waits.push(first);
        }
        // In every other round, once both have written something, however slow that is; in
        // the others they may be killed while they open the storage.
        if survived.kills % 4 == 0 {
            for first in waits {
                tokio::time::timeout(FIRST, first).await.ok();
            }
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        tokio::time::sleep(Duration::from_micros(10_000 + (random >> 33) % 60_000)).await;
        for (mut child, reader) in children {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("a child ended by itself: {status}");
            }
            // SIGKILL: the child has no chance to tidy up.
            child.kill().await.expect("it can be killed");
            survived.kills += 1;
            for (name, step) in reader.await.expect("its output is text") {
                survived.acknowledged += 1;
                if let Some((what, name)) = name.split_once(DONE) {
                    saved.entry(name.to_owned()).or_default().hear(what, step);
                } else {
                    let last = acknowledged.entry(name).or_default();
                    *last = (*last).max(step);
                }
            }
        }
        let memory = open().await;
        for (name, step) in &acknowledged {
            survived.states += check(&memory, name, *step).await;
        }
        for (name, said) in &saved {
            survived.states += saver::check(&memory, name, said).await;
        }
        memory.close().await.expect("it closes");
    }
    survived
}

/// Gives what a child said; `heard` is told of the first.
async fn read_all(
    mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    heard: tokio::sync::oneshot::Sender<()>,
) -> Vec<(String, u64)> {
    let mut acknowledged = Vec::new();
    let mut heard = Some(heard);
    while let Ok(Some(line)) = lines.next_line().await {
        // The harness of the test program prints lines of its own.
        if let Some((step, name)) = line.split_once(' ')
            && let Ok(step) = step.parse()
        {
            acknowledged.push((name.to_owned(), step));
            if let Some(heard) = heard.take() {
                // Nobody waits in this round.
                heard.send(()).ok();
            }
        }
    }
    acknowledged
}

/// Reads a whole thread back; gives the number of states.
async fn check(memory: &Memory, name: &str, acknowledged: u64) -> u64 {
    let thread = memory.thread(name).expect("the name is an id");
    let states: Vec<Snapshot> = thread
        .history(HistoryQuery::default())
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("history of {name}: {error}"));
    let latest = states.first().map_or(0, step_of);
    assert!(
        latest >= acknowledged,
        "{name}: step {acknowledged} was acknowledged, {latest} is the latest"
    );
    let expected = (HISTORY as u64).min(latest);
    assert!(
        states.len() as u64 >= expected,
        "{name}: {} states at step {latest}",
        states.len()
    );
    for (n, state) in states.iter().take(expected as usize).enumerate() {
        assert_eq!(step_of(state), latest - n as u64, "{name} has a gap");
    }
    for state in &states {
        let step = step_of(state);
        let values = state
            .load()
            .await
            .unwrap_or_else(|error| panic!("{name}, step {step}: {error}"));
        let messages: Vec<Item> = (first(step)..=step).map(|n| message(name, n)).collect();
        assert!(
            values["messages"] == Value::List(messages),
            "{name}, step {step}: wrong messages"
        );
        let is = values.get("file");
        let should = (step >= 7).then(|| Value::Item(file(step)));
        assert!(is == should.as_ref(), "{name}, step {step}: wrong file");
    }
    states.len() as u64
}
