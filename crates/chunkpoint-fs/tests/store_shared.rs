//! Several backends on one long-term store, in one process and in more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{CheckpointBackend, PackId};
use chunkpoint_core::store_backend::*;
use chunkpoint_fs::FsBackend;
use support::items::*;
use support::*;

const DIR: &str = "CHUNKPOINT_ITEMS_DIR";

#[tokio::test]
async fn two_backends_see_each_other_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let backends = [open(dir.path()), open(dir.path())];
    let key = item(&["a", "b"], "k");
    let mut version = None;
    for n in 0..600u64 {
        let (writer, reader) = (&backends[n as usize % 2], &backends[(n as usize + 1) % 2]);
        let mut put = put(key.clone(), n, vec![n as u8; 700], vec![]);
        put.expect = version.map_or(Expect::Absent, Expect::Version);
        let done = do_put(writer, put.clone()).await;
        assert_eq!(
            done,
            Changed::Done {
                created_ms: n / 100 * 100
            }
        );
        let there = row(reader, &key).await.unwrap().unwrap();
        assert_eq!((there.version, there.body), (put.row.version, put.row.body));
        version = Some(put.row.version);
        if n % 100 == 99 {
            let delete = ItemChange::Delete {
                key: key.clone(),
                write_id: PackId(unique()),
                expect: Expect::Version(version.take().unwrap()),
                now_ms: n,
            };
            change(writer, delete).await.unwrap();
            assert_eq!(row(reader, &key).await.unwrap(), None);
            // One removes the file, the other goes on.
            sweep_all(reader, n, 100).await;
            assert_eq!(files(&dir.path().join("s"), ".items").len(), 1);
        }
    }
}

/// What the processes of the next test do: count up one item, taking turns by its
/// version alone, and put others.
async fn count_up(dir: &Path) {
    let backend = open(dir);
    let key = item(&["shared"], "counter");
    let mut done = 0;
    while done < 200 {
        let there = row(&backend, &key).await.unwrap().unwrap();
        let n: u64 = std::str::from_utf8(&there.body).unwrap().parse().unwrap();
        let mut put = put(key.clone(), n, (n + 1).to_string(), vec![]);
        // Write ids of two processes must differ.
        put.row.version.0[..4].copy_from_slice(&std::process::id().to_be_bytes());
        put.expect = Expect::Version(there.version);
        let mut other = support::items::put(
            item(&["shared"], &format!("{}-{done}", std::process::id())),
            n,
            vec![7; 500],
            vec![vec![8; 100].into()],
        );
        other.row.version.0[..4].copy_from_slice(&std::process::id().to_be_bytes());
        other.row.packs = vec![other.row.version];
        let puts = [put, other].map(|put| ItemChange::Put(Box::new(put)));
        let results = backend.change_items(puts.into()).await.unwrap();
        match results[0].as_ref().unwrap() {
            Changed::Done { .. } => done += 1,
            Changed::Conflict(_) => {}
        }
    }
    backend.close().await.unwrap();
}

#[tokio::test]
async fn a_process_that_counts() {
    // On its own this test has nothing to do: the next one runs it.
    if let Some(dir) = std::env::var_os(DIR) {
        count_up(dir.as_ref()).await;
    }
}

#[tokio::test]
async fn two_processes_never_both_win() {
    let dir = tempfile::tempdir().unwrap();
    let key = item(&["shared"], "counter");
    do_put(&open(dir.path()), put(key.clone(), 0, "0", vec![])).await;
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_counts"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children = [spawn(), spawn(), spawn()];
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let backend = open(dir.path());
    let there = row(&backend, &key).await.unwrap().unwrap();
    assert_eq!(there.body, "600");
    assert_eq!(scan_all(&backend).await.len(), 601);
}

const KILL: &str = "CHUNKPOINT_ITEMS_KILL";

/// Puts until it is killed; says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_puts_until_it_is_killed() {
    use std::io::Write;
    let Some(dir) = std::env::var_os(KILL) else {
        return;
    };
    let backend = FsBackend::open(Path::new(&dir)).unwrap();
    let me = std::process::id();
    println!();
    for n in 0u64.. {
        let key = item(&["kill"], &format!("{me}-{}", n % 50));
        let chunks = if n % 5 == 0 {
            vec![vec![n as u8; 3000].into()]
        } else {
            vec![]
        };
        let mut put = put(key, n, format!("{n} {}", "x".repeat(1500)), chunks);
        put.row.version.0[..4].copy_from_slice(&me.to_be_bytes());
        if !put.row.packs.is_empty() {
            put.row.packs = vec![put.row.version];
        }
        do_put(&backend, put).await;
        if n % 30 == 29 {
            let sweep = SweepItems {
                before_ms: n - 10,
                limit: 20,
            };
            backend.sweep(sweep).await.unwrap();
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {n}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    use std::io::{BufRead, BufReader};
    let kills = std::env::var("CHUNKPOINT_KILLS").map_or(12, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(11);
    for round in 0..kills / 2 {
        let spawn = || {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "a_process_that_puts_until_it_is_killed",
                    "--nocapture",
                ])
                .env(KILL, dir.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut children = [spawn(), spawn()];
        let wait = 150 + rng.below(400);
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        for child in &mut children {
            child.kill().unwrap();
        }
        let backend = open(dir.path());
        for child in &mut children {
            let id = child.id();
            child.wait().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let acks = lines.map_while(Result::ok);
            let last: Option<u64> = acks
                .filter_map(|line| line.strip_prefix("ack ")?.parse().ok())
                .last();
            let Some(last) = last else { continue };
            // Of each key, what was acknowledged last or a later one is there.
            for n in last.saturating_sub(49)..=last {
                let key = item(&["kill"], &format!("{id}-{}", n % 50));
                let there = row(&backend, &key).await.unwrap();
                let there = there.unwrap_or_else(|| panic!("round {round}: {n} is lost"));
                let body = std::str::from_utf8(&there.body).unwrap();
                let found: u64 = body.split(' ').next().unwrap().parse().unwrap();
                assert!(found >= n && found <= last + 1, "{found} for {n} of {last}");
                for pack in &there.packs {
                    let name = chunkpoint_core::backend::ChunkName {
                        pack: *pack,
                        ordinal: 0,
                        locator: 0,
                        len: 3000,
                    };
                    let chunks = backend.item_chunks(&key, &[name]).await.unwrap();
                    assert_eq!(chunks[0].as_ref().unwrap(), &vec![found as u8; 3000]);
                }
            }
        }
    }
}

/// Callers that go away leave changes whole or absent, and lock nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_leave_no_lock_and_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut puts = Vec::new();
    for n in 0..300 {
        let put = put(
            item(&["a"], &n.to_string()),
            n,
            vec![7; 500],
            vec![vec![1; 900].into()],
        );
        puts.push(put.clone());
        let call = tokio::spawn({
            let backend = backend.clone();
            async move { do_put(&backend, put).await }
        });
        if n % 3 == 0 {
            tokio::task::yield_now().await;
        }
        call.abort();
    }
    do_put(&backend, put(item(&["a"], "last"), 0, "", vec![])).await;
    for put in &puts {
        if let Some(there) = row(&backend, &put.row.key).await.unwrap() {
            assert_eq!(there, put.row);
            let name = chunkpoint_core::backend::ChunkName {
                pack: put.row.version,
                ordinal: 0,
                locator: 0,
                len: 900,
            };
            let chunks = backend.item_chunks(&put.row.key, &[name]).await.unwrap();
            assert_eq!(chunks, [Some(put.chunks[0].clone())]);
        }
    }
}

#[tokio::test]
async fn closed_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let key = item(&["a"], "k");
    do_put(&backend, put(key.clone(), 0, "x", vec![])).await;
    backend.close_store().await.unwrap();
    let error = row(&backend, &key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let put = put(key.clone(), 0, "x", vec![]);
    let error = backend
        .change_items(vec![ItemChange::Put(Box::new(put))])
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(backend.scan(ScanItems::default()).await.is_err());
    assert!(row(&open(dir.path()), &key).await.unwrap().is_some());
}
