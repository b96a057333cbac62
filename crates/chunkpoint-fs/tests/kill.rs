//! `kill -9` of writers, pruners and compactors on one directory.
//!
//! `CHUNKPOINT_KILLS=500 cargo test --release -p chunkpoint-fs --test kill`
//! kills 500 processes; without the variable it is 60.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use chunkpoint_core::Memory;
use chunkpoint_fs::FsBackend;
use chunkpoint_testkit::crash;
use tokio::process::Command;

const DIR: &str = "CHUNKPOINT_KILL_DIR";
const WORKER: &str = "CHUNKPOINT_KILL_WORKER";

fn open(dir: &Path) -> Memory {
    let backend = FsBackend::open(dir).unwrap();
    Memory::builder(Arc::new(backend))
        .settings(crash::settings())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_writes_until_it_is_killed() {
    // On its own this test has nothing to do: the next one runs it.
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let worker = std::env::var(WORKER).unwrap().parse().unwrap();
    crash::write_until_killed(open(dir.as_ref()), worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let kills = std::env::var("CHUNKPOINT_KILLS").map_or(60, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let child = |worker: u64| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "a_child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(DIR, path)
            .env(WORKER, worker.to_string());
        command
    };
    let survived = crash::kill_and_check(kills, 7, child, async || open(path)).await;
    println!("{survived:?}");
    assert!(
        survived.acknowledged > kills,
        "children were killed before they wrote: {survived:?}"
    );
}
