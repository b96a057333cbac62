//! Runs that end early leave nothing behind: no half result, no process, no directory.

#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::Place;

/// How long a run has to begin, and then to end.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(place: &Place) -> Child {
    Command::new(env!("CARGO_BIN_EXE_chunkpoint-bench"))
        .args(["run", "long-running", "--variant", "default"])
        .args(["--dir", "data", "--machine", "test"])
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until `there` gives something.
fn wait<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The directory of a cell that has begun to write.
fn cell_of(place: &Place) -> std::path::PathBuf {
    wait("the cell's data", || {
        let run = std::fs::read_dir(place.path().join("data")).ok()?.next()?;
        let store = run.unwrap().path().join("store-default");
        store.exists().then_some(store)
    })
}

fn signal(number: &str, process: u32) {
    let status = Command::new("kill")
        .args([number, &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let place = Place::new();
    place.scenario("long-running", &[]);
    let mut run = start(&place);
    cell_of(&place);
    signal("-INT", run.id());
    let status = wait("the end", || run.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    assert!(place.results().is_empty(), "a half result");
    let left = std::fs::read_dir(place.path().join("data")).unwrap();
    assert_eq!(left.count(), 0, "a directory is left");
}

#[test]
fn the_process_of_a_cell_ends_with_a_run_that_is_killed() {
    let place = Place::new();
    place.scenario("long-running", &[]);
    let mut run = start(&place);
    let store = cell_of(&place);
    signal("-KILL", run.id());
    run.wait().unwrap();
    // A process that went on would go on writing.
    let size = || -> u64 {
        let mut left = vec![store.clone()];
        let mut bytes = 0;
        while let Some(directory) = left.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries {
                let entry = entry.unwrap();
                match entry.metadata() {
                    Ok(of) if of.is_dir() => left.push(entry.path()),
                    Ok(of) => bytes += of.len(),
                    Err(_) => {}
                }
            }
        }
        bytes
    };
    wait("the cell's end", || {
        let before = size();
        std::thread::sleep(Duration::from_millis(500));
        (size() == before).then_some(())
    });
}

#[test]
fn a_server_that_has_to_be_there_is_named() {
    let place = Place::new();
    let output = Command::new(env!("CARGO_BIN_EXE_chunkpoint-bench"))
        .args([
            "run",
            "quick",
            "--quick",
            "--backend",
            "redis",
            "--dir",
            "data",
        ])
        .current_dir(place.path())
        .env_remove("CHUNKPOINT_REDIS_URL")
        .env("CHUNKPOINT_REDIS_SERVER", "/nonexistent/redis-server")
        .env("CHUNKPOINT_REQUIRE_SERVICES", "redis")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("redis") && said.contains("is required"),
        "{said}"
    );
}
