//! Export and import of directories: everything readable comes back, and `kill -9`
//! during an import loses nothing that was acknowledged.
//!
//! `CHUNKPOINT_IMPORT_KILLS=200 cargo test -p chunkpoint-fs --test export` kills 200
//! imports; without the variable it is 12.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::export::Scope;
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::store::Search;
use chunkpoint_core::{Clock, HistoryQuery, ListQuery, Memory, Settings};
use chunkpoint_fs::FsBackend;
use chunkpoint_testkit::copying::{assert_same, exported, fill, fill_store, import};
use chunkpoint_testkit::deterministic::{ManualClock, Rng};
use futures::TryStreamExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const DIR: &str = "CHUNKPOINT_IMPORT_DIR";
const FILE: &str = "CHUNKPOINT_IMPORT_FILE";
/// When it is for the child: what expires has not expired yet.
const NOW: &str = "CHUNKPOINT_IMPORT_NOW";

fn settings() -> Settings {
    Settings {
        background: false,
        ..Settings::default()
    }
}

fn in_memory(clock: &Arc<ManualClock>) -> Memory {
    Memory::builder(Arc::new(MemoryBackend::new()))
        .settings(settings())
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn directory(dir: &Path, clock: &Arc<ManualClock>) -> Memory {
    Memory::builder(Arc::new(FsBackend::open(dir).unwrap()))
        .settings(settings())
        .clock(clock.clone())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_readable_comes_back() {
    for seed in 100..104 {
        let clock = Arc::new(ManualClock::default());
        let from = in_memory(&clock);
        fill(&from, &clock, seed, 50).await;
        fill_store(&from, &clock, seed, 50).await;
        let text = exported(&from).await;
        let dir = tempfile::tempdir().unwrap();
        let fs = directory(dir.path(), &clock);
        import(&fs, &text, 10_000).await.unwrap();
        assert_equal(&from, &fs).await;
        // Again from what the disk has.
        fs.close().await.unwrap();
        let fs = directory(dir.path(), &clock);
        let again = exported(&fs).await;
        assert_eq!(again, text, "seed {seed}");
        let back = in_memory(&clock);
        import(&back, &again, 777).await.unwrap();
        assert_same(&from, &back).await;
    }
}

/// That both have the same checkpoints and items.
async fn assert_equal(a: &Memory, b: &Memory) {
    let compared = a.compare(b, &Scope::all(), |_| {}).await.unwrap();
    assert!(compared.is_equal(), "{:?}", compared.told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_imports_until_it_is_killed() {
    // On its own this test has nothing to do: the next one runs it.
    let (Some(dir), Some(file)) = (std::env::var_os(DIR), std::env::var_os(FILE)) else {
        return;
    };
    let now = std::env::var(NOW).unwrap().parse().unwrap();
    let memory = directory(dir.as_ref(), &Arc::new(ManualClock::new(now)));
    let pieces: Vec<_> = std::fs::read(file)
        .unwrap()
        .chunks(4096)
        .map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    let told = |count: &chunkpoint_core::export::Count| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {} {}", count.checkpoints, count.items)
            .and_then(|()| out.flush())
            .unwrap();
    };
    let pieces = futures::stream::iter(pieces);
    memory.import(pieces, Scope::all(), told).await.unwrap();
    println!("complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9_and_the_import_goes_on() {
    let kills = std::env::var("CHUNKPOINT_IMPORT_KILLS").map_or(12, |n| n.parse().unwrap());
    let clock = Arc::new(ManualClock::default());
    let mut rng = Rng::new(5);
    let (mut killed, mut killed_in_items, mut seed) = (0, 0, 200);
    while killed < kills {
        let from = in_memory(&clock);
        fill(&from, &clock, seed, 120).await;
        fill_store(&from, &clock, seed, 120).await;
        seed += 1;
        let text = exported(&from).await;
        let lines = text.lines().count() as u64;
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("export.jsonl");
        std::fs::write(&file, &text).unwrap();
        let dir = scratch.path().join("memory");
        // Each run gets a little further than the one before, then is killed.
        let mut runs = 0;
        loop {
            runs += 1;
            let stop_after = 1 + rng.below(lines / 4 + 1) * runs;
            let now = clock.now_ms();
            let (complete, checkpoints, items) = run(&dir, &file, now, stop_after, &mut rng).await;
            if complete {
                break;
            }
            killed += 1;
            let memory = directory(&dir, &clock);
            let there = readable(&memory).await;
            assert!(
                there + hidden(&text) >= checkpoints,
                "{checkpoints} were acknowledged, {there} are there"
            );
            let there = readable_items(&memory).await;
            assert!(
                there >= items,
                "{items} items were acknowledged, {there} are there"
            );
            killed_in_items += u64::from(items > 0);
            memory.close().await.unwrap();
        }
        assert_equal(&from, &directory(&dir, &clock)).await;
    }
    println!("{killed} killed, {killed_in_items} of them while importing items");
}

/// Imports in another process, which is killed some time after it acknowledged so many
/// checkpoints and items. Whether it came to the end before, and how many of each it
/// acknowledged.
async fn run(
    dir: &Path,
    file: &Path,
    now: u64,
    stop_after: u64,
    rng: &mut Rng,
) -> (bool, u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_that_imports_until_it_is_killed",
            "--nocapture",
        ])
        .env(DIR, dir)
        .env(FILE, file)
        .env(NOW, now.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut checkpoints, mut items, mut complete) = (0, 0, false);
    let mut due = false;
    while let Ok(Some(line)) = lines.next_line().await {
        complete |= line.contains("complete");
        if let Some((_, counts)) = line.rsplit_once("acknowledged ") {
            let (first, second) = counts.split_once(' ').unwrap();
            (checkpoints, items) = (first.parse().unwrap(), second.parse().unwrap());
        }
        if checkpoints + items >= stop_after && !due {
            due = true;
            tokio::time::sleep(Duration::from_micros(rng.below(3000))).await;
            // SIGKILL: the child has no chance to tidy up.
            child.start_kill().unwrap();
        }
    }
    let status = child.wait().await.unwrap();
    assert!(due || status.success(), "the import failed by itself");
    (complete, checkpoints, items)
}

/// How many checkpoints can be read, every value of each.
async fn readable(memory: &Memory) -> u64 {
    let listed = memory.saver().list(ListQuery::default());
    let all: Vec<_> = listed.try_collect().await.unwrap();
    for tuple in &all {
        tuple.checkpoint().await.unwrap();
    }
    for thread in memory.threads("", None, 100).await.unwrap() {
        let history = memory.thread(&thread).unwrap();
        let history = history.history(HistoryQuery::default());
        history.try_collect::<Vec<_>>().await.unwrap();
    }
    all.len() as u64
}

/// How many items can be read.
async fn readable_items(memory: &Memory) -> u64 {
    // Reading must not renew what the comparison looks at.
    let search = Search {
        refresh_ttl: Some(false),
        ..Search::below::<&str>(&[]).unwrap().limit(usize::MAX)
    };
    let found = memory.store().unwrap().search(search).await.unwrap();
    found.len() as u64
}

/// Checkpoints that are imported but cannot be listed.
fn hidden(text: &str) -> u64 {
    text.matches("\"hidden\":true").count() as u64
}
