//! `kill -9` of a process that puts, patches a large value, deletes and sweeps.
//!
//! `CHUNKPOINT_KILLS=200 cargo test -p chunkpoint-fs --test store_kill` kills 200
//! processes; without the variable it is 10.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::store::Store;
use chunkpoint_core::{Memory, Settings};
use chunkpoint_testkit::deterministic::Rng;
use serde_json::{Map, Value, json};

const DIR: &str = "CHUNKPOINT_PATCH_DIR";

const NAMESPACE: [&str; 2] = ["kill", "patch"];

/// Members of the large value, about half a KiB each.
const MEMBERS: u64 = 200;

/// Items that are put and deleted beside it.
const SMALL: u64 = 20;

fn memory(dir: &Path) -> Memory {
    // Nothing is kept for others, so that each sweep frees what was replaced.
    let settings = Settings {
        background: false,
        grace: Duration::ZERO,
        ..Settings::default()
    };
    Memory::builder(Arc::new(support::open(dir)))
        .settings(settings)
        .build()
        .unwrap()
}

/// Step `n` changes this member.
fn member(n: u64) -> u64 {
    n * 37 % MEMBERS
}

fn text(member: u64) -> String {
    format!("{member} {}", "what was said ".repeat(40))
}

/// The last step up to `n` that `is` so.
fn last(n: u64, span: u64, is: impl Fn(u64) -> bool) -> Option<u64> {
    (n.saturating_sub(span - 1).max(1)..=n)
        .rev()
        .find(|n| is(*n))
}

/// The small item with this number after step `n`.
fn small_after(small: u64, n: u64) -> Option<Value> {
    let step = last(n, SMALL, |step| step % SMALL == small)?;
    (step % 3 != 0).then(|| json!({"n": step, "text": text(step)}))
}

async fn large(store: &Store) -> Option<Map<String, Value>> {
    let item = store.get(&NAMESPACE, "large").await.unwrap();
    item.map(|item| item.value)
}

/// One step after the other; each is told once it is done.
async fn step_until_killed(dir: &Path) {
    let memory = memory(dir);
    let store = memory.store().unwrap();
    let done = match large(&store).await {
        Some(value) => value["n"].as_u64().unwrap(),
        None => {
            let members = (0..MEMBERS).map(|m| (m.to_string(), json!({"n": 0, "text": text(m)})));
            let mut value: Map<String, Value> = members.collect();
            value.insert("n".into(), json!(0));
            store.put(&NAMESPACE, "large", value.into()).await.unwrap();
            0
        }
    };
    println!();
    for n in done + 1.. {
        // Small ones first: a step whose patch is there is there as a whole.
        let key = (n % SMALL).to_string();
        match small_after(n % SMALL, n) {
            Some(value) => drop(store.put(&NAMESPACE, &key, value).await.unwrap()),
            None => store.delete(&NAMESPACE, &key).await.unwrap(),
        }
        let changed = json!({"n": n, member(n).to_string(): {"n": n}});
        store.patch(&NAMESPACE, "large", changed).await.unwrap();
        println!("done {n}");
        std::io::stdout().flush().unwrap();
        if n % 10 == 0 {
            store.sweep().await.unwrap();
        }
    }
}

/// Checks that all up to step `acknowledged` is there, and nothing but what a process
/// that was killed in the step after it can leave. Gives the last step of which all is
/// there.
async fn check(dir: &Path, acknowledged: u64) -> u64 {
    let memory = memory(dir);
    let store = memory.store().unwrap();
    let Some(value) = large(&store).await else {
        assert_eq!(acknowledged, 0, "the large value is lost");
        return 0;
    };
    let n = value["n"].as_u64().unwrap();
    assert!(
        n == acknowledged || n == acknowledged + 1,
        "step {n} is there, and {acknowledged} were acknowledged"
    );
    assert_eq!(value.len() as u64, MEMBERS + 1);
    for m in 0..MEMBERS {
        let step = last(n, MEMBERS, |step| member(step) == m).unwrap_or(0);
        let expected = json!({"n": step, "text": text(m)});
        assert_eq!(value[&m.to_string()], expected, "member {m} after step {n}");
    }
    for small in 0..SMALL {
        let item = store.get(&NAMESPACE, &small.to_string()).await.unwrap();
        let value = item.map(|item| Value::Object(item.value));
        assert!(
            [n, n + 1].iter().any(|n| small_after(small, *n) == value),
            "item {small} after step {n}: {value:?}"
        );
    }
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_patches_until_it_is_killed() {
    // On its own this test has nothing to do: the next one runs it.
    if let Some(dir) = std::env::var_os(DIR) {
        step_until_killed(dir.as_ref()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_are_whole_and_none_acknowledged_is_lost_by_kill_9() {
    use std::io::{BufRead, BufReader};
    let kills: u64 = std::env::var("CHUNKPOINT_KILLS").map_or(10, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(17);
    let mut done = 0;
    for _ in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_process_that_patches_until_it_is_killed",
                "--nocapture",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wait = Duration::from_millis(100 + rng.below(300));
        tokio::time::sleep(wait).await;
        // SIGKILL: the child has no chance to tidy up.
        child.kill().unwrap();
        child.wait().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("done ")?.parse().ok())
            .last();
        done = check(dir.path(), told.unwrap_or(done)).await;
    }
    println!("{done} steps");
    assert!(
        done > kills,
        "processes were killed before they did anything"
    );
}
