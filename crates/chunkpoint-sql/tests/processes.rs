//! Many at once: workers on one backend, and processes on one database, of which some are
//! killed.
//!
//! `CHUNKPOINT_KILLS=200 cargo test --release -p chunkpoint-sql --test processes` kills 200
//! processes on SQLite; without the variable it is 20.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;
use std::sync::Arc;

use chunkpoint_core::{Item, Memory, Settings, Snapshot};
use chunkpoint_sql::{SqlBackend, SqlConfig};
use chunkpoint_testkit::crash;
use futures::future::join_all;
use support::each;
use tokio::process::Command;

/// The configuration that a child opens, as JSON, and which of the children it is.
const CONFIG: &str = "CHUNKPOINT_TEST_CONFIG";
const WORKER: &str = "CHUNKPOINT_TEST_WORKER";

async fn open(config: SqlConfig, settings: Settings) -> Memory {
    let backend = SqlBackend::from_config(config).await.unwrap();
    let memory = Memory::builder(Arc::new(backend)).settings(settings);
    memory.build().unwrap()
}

fn config_of_parent() -> Option<SqlConfig> {
    let config = std::env::var(CONFIG).ok()?;
    Some(serde_json::from_str(&config).unwrap())
}

/// This program again, running one test as a child.
fn child(test: &str, config: &SqlConfig, worker: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CONFIG, serde_json::to_string(config).unwrap())
        .env(WORKER, worker.to_string());
    command
}

async fn step(memory: &Memory, thread: &str, parent: Option<&Snapshot>, n: usize) -> Snapshot {
    let thread = memory.thread(thread).unwrap();
    let mut draft = match parent {
        Some(parent) => parent.draft().unwrap(),
        None => thread.draft().await.unwrap(),
    };
    let message = Item::text(format!("message {n} {}", "x".repeat(200)));
    draft.append("messages", [message]).unwrap();
    thread.commit(draft).await.unwrap()
}

/// 16 workers take 64 threads through 200 steps each, a step of one after a step of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_workers_commit_to_sixty_four_threads() {
    const WORKERS: usize = 16;
    const THREADS: usize = 64;
    const STEPS: usize = 200;
    for place in each() {
        let memory = open(place.config(), Settings::default()).await;
        let workers = (0..WORKERS).map(|worker| {
            let memory = memory.clone();
            tokio::spawn(async move {
                let threads = (worker..THREADS).step_by(WORKERS);
                let names: Vec<String> = threads.map(|n| format!("thread {n}")).collect();
                let mut last: Vec<Option<Snapshot>> = vec![None; names.len()];
                for n in 0..STEPS {
                    for (name, last) in names.iter().zip(&mut last) {
                        *last = Some(step(&memory, name, last.as_ref(), n).await);
                    }
                }
            })
        });
        for worker in join_all(workers).await {
            worker.unwrap();
        }
        let reader = open(place.config(), Settings::default()).await;
        for n in 0..THREADS {
            let thread = reader.thread(&format!("thread {n}")).unwrap();
            let latest = thread.latest().await.unwrap().unwrap();
            let messages = latest.list("messages").await.unwrap();
            assert_eq!(messages.len(), STEPS as u64, "thread {n} on {place:?}");
            let last = messages.tail(1).await.unwrap();
            assert!(last[0].bytes.starts_with(b"message 199 "));
        }
        reader.close().await.unwrap();
        memory.close().await.unwrap();
        place.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_opens_and_commits() {
    // On its own this test has nothing to do: the next one runs it.
    let Some(config) = config_of_parent() else {
        return;
    };
    let memory = open(config, Settings::default()).await;
    let thread = format!("of process {}", std::env::var(WORKER).unwrap());
    step(&memory, &thread, None, 0).await;
    memory.close().await.unwrap();
}

/// Ten processes find an empty database at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_open_a_fresh_database() {
    for place in each() {
        let config = place.config();
        let children = (0..10).map(|worker| {
            let mut child = child("a_child_that_opens_and_commits", &config, worker);
            async move { child.output().await.unwrap() }
        });
        for output in join_all(children).await {
            let said = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place:?}: {said}{error}");
            assert!(said.contains("1 passed"), "{said}");
        }
        let memory = open(config, Settings::default()).await;
        for worker in 0..10 {
            let thread = memory.thread(&format!("of process {worker}")).unwrap();
            let latest = thread.latest().await.unwrap();
            assert!(latest.is_some(), "process {worker} on {place:?}");
        }
        memory.close().await.unwrap();
        place.drop().await;
    }
}

fn on_file(dir: &Path) -> SqlConfig {
    SqlConfig::new(format!("sqlite://{}/memory.db", dir.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_writes_until_it_is_killed() {
    let Some(config) = config_of_parent() else {
        return;
    };
    let worker = std::env::var(WORKER).unwrap().parse().unwrap();
    let memory = open(config, crash::settings()).await;
    crash::write_until_killed(memory, worker).await;
}

/// Two processes write to one SQLite file, at times to the same thread, until they are
/// killed with `SIGKILL`; again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_loses_nothing_acknowledged_by_kill_9() {
    let kills = std::env::var("CHUNKPOINT_KILLS").map_or(20, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = on_file(dir.path());
    let writer = |worker: u64| child("a_child_that_writes_until_it_is_killed", &config, worker);
    let reopen = async || open(config.clone(), crash::settings()).await;
    let survived = crash::kill_and_check(kills, 7, writer, reopen).await;
    println!("{survived:?}");
    assert!(
        survived.acknowledged >= kills / 2,
        "children were killed before they wrote: {survived:?}"
    );
}
