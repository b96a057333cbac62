//! Compaction that is stopped where a crash may stop it, and that meets others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::*;
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use tokio::runtime::Runtime;

use super::{Dead, Point, compact, hex, visit};
use crate::FsBackend;
use crate::config::FsConfig;
use crate::store::{Store, key_of};
use crate::wait::Wait;

const POINTS: [Point; 4] = [Point::Copied, Point::Locked, Point::Synced, Point::Renamed];

fn commit(n: u32) -> Commit {
    let id: Arc<str> = format!("{n:04}").into();
    let namespace = if n.is_multiple_of(5) { "child" } else { "" };
    Commit {
        thread: "t".into(),
        key: RecordKey {
            namespace: namespace.into(),
            id,
        },
        pack: PackId(
            u64::from(n)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes(),
        ),
        base: Base::Root {
            fresh: Incarnation([1; 8]),
        },
        expect_latest: None,
        index: RecordIndex {
            time_ms: u64::from(n),
            pack_bytes: 1,
            ..RecordIndex::default()
        },
        body: Bytes::from(vec![n as u8; 200]),
        chunks: vec![
            Bytes::from(vec![n as u8; 300]),
            Bytes::from(vec![n as u8; 50]),
        ],
        metadata: Arc::default(),
    }
}

async fn everything(backend: &FsBackend) -> Vec<RecordRow> {
    let query = ListRecords {
        thread: "t".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Writes,
    };
    let mut rows: Vec<RecordRow> = backend
        .list(query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    rows.iter_mut().for_each(|row| row.locator = 0);
    rows
}

/// 200 records of which 100 were removed, with the locators of all packs.
async fn filled(dir: &Path) -> (Vec<RecordRow>, Vec<ChunkName>) {
    let config = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(dir)
    };
    let backend = FsBackend::from_config(config).unwrap();
    let mut names = Vec::new();
    let mut changes = Vec::new();
    for n in 0..200 {
        let commit = commit(n);
        let locator = backend.commit(commit.clone()).await.unwrap().locator;
        for (ordinal, chunk) in (0..).zip(&commit.chunks) {
            let len = chunk.len() as u32;
            names.push(ChunkName {
                pack: commit.pack,
                ordinal,
                locator,
                len,
            });
        }
        if n < 100 {
            changes.push((
                RecordRef {
                    key: commit.key,
                    pack: commit.pack,
                },
                Change::Remove,
            ));
        }
    }
    let incarnation = Incarnation([1; 8]);
    let alter = Alter {
        thread: "t".into(),
        incarnation,
        time_ms: 1000,
        changes,
    };
    backend.alter(alter).await.unwrap();
    (everything(&backend).await, names)
}

/// Compacts with the packs of the first 50 records dead.
fn compacted(dir: &Path, stop: impl Fn(Point) -> Result<()>) -> Result<Option<u64>> {
    let config = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(dir)
    };
    let store = Store::open(&config)?;
    let key = key_of("t");
    let view = store.view(&key, "t", Wait::Yes)?.unwrap();
    let mut dead = Dead::new();
    visit(&mut view.reader(), &view.state, |pack| {
        if (0..50).any(|n| commit(n).pack == pack.pack) {
            dead.insert(pack.loc, vec![0, 1]);
        }
        Ok(())
    })?;
    compact(&store, key, &"t".into(), &view, &dead, 2000, stop)
}

/// All records are there, and all chunks but those of the first `gone` packs.
async fn check(dir: &Path, rows: &[RecordRow], names: &[ChunkName], gone: usize) {
    let backend = FsBackend::open(dir).unwrap();
    assert_eq!(everything(&backend).await, rows);
    let chunks = backend
        .chunks("t", Incarnation([1; 8]), names)
        .await
        .unwrap();
    for (nth, (name, chunk)) in names.iter().zip(chunks).enumerate() {
        let n = nth / 2;
        let expected = (n >= gone).then(|| commit(n as u32).chunks[name.ordinal as usize].clone());
        assert_eq!(chunk, expected, "chunk {} of {n}", name.ordinal);
    }
    assert_eq!(
        std::fs::read_dir(dir.join("trash")).unwrap().count(),
        0,
        "leftovers"
    );
}

#[test]
fn a_crash_leaves_the_old_log_or_the_new() {
    let runtime = Runtime::new().unwrap();
    for point in POINTS {
        let dir = tempfile::tempdir().unwrap();
        let (rows, names) = runtime.block_on(filled(dir.path()));
        let stopped = compacted(dir.path(), |at| {
            let crash = Error::new(ErrorKind::Other, "crash");
            if at == point { Err(crash) } else { Ok(()) }
        });
        assert!(stopped.is_err());
        let gone = if point == Point::Renamed { 50 } else { 0 };
        runtime.block_on(check(dir.path(), &rows, &names, gone));
        assert!(compacted(dir.path(), |_| Ok(())).unwrap().is_some());
        runtime.block_on(check(dir.path(), &rows, &names, 50));
    }
}

#[test]
fn a_process_that_is_killed_leaves_a_file_that_is_swept() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (rows, names) = runtime.block_on(filled(dir.path()));
    let leftover = dir
        .path()
        .join(format!("trash/{}.compact", hex(&key_of("t"))));
    std::fs::write(&leftover, b"half a log").unwrap();
    assert!(compacted(dir.path(), |_| Ok(())).unwrap().is_some());
    std::fs::write(&leftover, b"half a log").unwrap();
    runtime.block_on(check(dir.path(), &rows, &names, 50));
}

#[test]
fn what_others_do_meanwhile_is_kept() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_, names) = runtime.block_on(filled(dir.path()));
    let config = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(dir.path())
    };
    let other = FsBackend::from_config(config).unwrap();
    let incarnation = Incarnation([1; 8]);
    let meanwhile = || async {
        let key = |n: u32| commit(n).key;
        let write = PendingWrite {
            task_id: "task".into(),
            task_path: "".into(),
            idx: 0,
            channel: "c".into(),
            value: Bytes::from_static(b"v"),
            replace: false,
        };
        for n in [150, 199, 500] {
            let put = PutWrites {
                thread: "t".into(),
                key: key(n),
                write_id: PackId([n as u8; 8]),
                fresh: incarnation,
                time_ms: 3000,
                writes: vec![write.clone()],
            };
            other.put_writes(put).await.unwrap();
        }
        // New ones, a late one, one replaced, ...
        for n in 200..260 {
            other.commit(commit(n)).await.unwrap();
        }
        let mut late = commit(3);
        late.pack = PackId([3; 8]);
        other.commit(late).await.unwrap();
        let mut again = commit(160);
        again.pack = PackId([4; 8]);
        again.body = Bytes::from_static(b"again");
        other.commit(again).await.unwrap();
        // ... and others removed, hidden and pinned.
        let of = |n: u32| RecordRef {
            key: key(n),
            pack: commit(n).pack,
        };
        let changes = vec![
            (of(101), Change::Remove),
            (of(120), Change::Hide),
            (of(130), Change::Pin(true)),
            (of(210), Change::Remove),
        ];
        let alter = Alter {
            thread: "t".into(),
            incarnation,
            time_ms: 3000,
            changes,
        };
        assert_eq!(other.alter(alter).await.unwrap(), [Altered::Done; 4]);
        everything(&other).await
    };
    let expected = std::cell::RefCell::new(Vec::new());
    let done = compacted(dir.path(), |point| {
        if point == Point::Copied {
            *expected.borrow_mut() = runtime.block_on(meanwhile());
        }
        Ok(())
    });
    assert!(done.unwrap().is_some());
    let expected = expected.into_inner();
    assert_eq!(runtime.block_on(everything(&other)), expected);
    runtime.block_on(check(dir.path(), &expected, &names, 50));
    let condemned = runtime.block_on(other.condemned(ListCondemned {
        thread: "t".into(),
        before_ms: 3000,
        after: None,
        limit: 1000,
    }));
    // 50 of before, one replaced, two removed.
    assert_eq!(condemned.unwrap().unwrap().packs.len(), 53);
}

#[test]
fn what_was_copied_is_synced_before_others_have_to_wait() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(filled(dir.path()));
    let store = Store::open(&FsConfig::new(dir.path())).unwrap();
    let key = key_of("t");
    let view = store.view(&key, "t", Wait::Yes).unwrap().unwrap();
    let counters = &store.dir.counters;
    let before = counters.snapshot();
    let done = compact(&store, key, &"t".into(), &view, &Dead::new(), 2000, |at| {
        let now = counters.snapshot();
        let synced = now.syncs - before.syncs;
        match at {
            Point::Copied => assert_eq!(synced, 0),
            Point::Locked => assert_eq!(synced, 1),
            Point::Synced => assert_eq!(synced, 2),
            Point::Renamed => {}
        }
        Ok(())
    });
    assert!(done.unwrap().is_some());
}

#[test]
fn two_compactions_do_not_meet() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (rows, names) = runtime.block_on(filled(dir.path()));
    let done = compacted(dir.path(), |point| {
        if point == Point::Copied {
            assert_eq!(compacted(dir.path(), |_| Ok(())).unwrap(), None);
        }
        Ok(())
    });
    assert!(done.unwrap().is_some());
    runtime.block_on(check(dir.path(), &rows, &names, 50));
}

#[test]
fn a_thread_that_ends_meanwhile_stays_ended() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(filled(dir.path()));
    let other = FsBackend::open(dir.path()).unwrap();
    let done = compacted(dir.path(), |point| {
        if point == Point::Copied {
            runtime.block_on(other.delete_thread("t", Incarnation([1; 8])))?;
        }
        Ok(())
    });
    assert_eq!(done.unwrap(), None);
    assert_eq!(runtime.block_on(other.incarnation("t")).unwrap(), None);
}
