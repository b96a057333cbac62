//! Logs with room: how it comes and goes, and what crashes and damage leave in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::*;

use super::*;
use crate::FsBackend;
use crate::store::{key_of, log_names};

const THREAD: &str = "t";

fn commit(n: u32) -> Commit {
    Commit {
        thread: THREAD.into(),
        key: RecordKey {
            namespace: "".into(),
            id: format!("{n:04}").into(),
        },
        pack: PackId(u64::from(n).to_be_bytes()),
        base: Base::Root {
            fresh: Incarnation([1; 8]),
        },
        expect_latest: None,
        index: RecordIndex::default(),
        body: Bytes::from(vec![n as u8 | 1; 700]),
        chunks: vec![Bytes::from(vec![n as u8 | 1; 300])],
        metadata: std::sync::Arc::default(),
    }
}

async fn fill(backend: &FsBackend, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        backend.commit(commit(n)).await.unwrap();
    }
}

/// The number of the latest record, whose body and chunk are right.
async fn latest(backend: &FsBackend) -> chunkpoint_core::Result<u32> {
    let namespace = "".into();
    let picks = [Pick::Latest { namespace }];
    let row = backend.get(THREAD, &picks, Detail::Bodies).await?;
    let row = row[0].clone().expect("there are records");
    let n: u32 = row.record.key.id.parse().unwrap();
    let expected = commit(n);
    assert_eq!(row.body, expected.body);
    let name = ChunkName {
        pack: expected.pack,
        ordinal: 0,
        locator: row.locator,
        len: 300,
    };
    let chunks = backend.chunks(THREAD, row.incarnation, &[name]).await?;
    assert_eq!(chunks, [Some(expected.chunks[0].clone())]);
    Ok(n)
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join(log_names(&key_of(THREAD)).1)
}

/// The log's bytes, and how many of them zeros at the end are.
fn bytes(dir: &Path) -> (Vec<u8>, usize) {
    let bytes = std::fs::read(log_of(dir)).unwrap();
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    (bytes, zeros)
}

/// What a writer leaves that is killed right after a commit went into room.
struct Killed {
    dir: tempfile::TempDir,
    log: Vec<u8>,
    /// Where the last commit begins and ends.
    start: usize,
    end: usize,
    /// Its number.
    last: u32,
}

/// After at least `last` commits, one that ends where `fits` says.
async fn killed(mut last: u32, fits: impl Fn(usize) -> bool) -> Killed {
    let dir = tempfile::tempdir().unwrap();
    let backend = FsBackend::open(dir.path()).unwrap();
    fill(&backend, 1..=last - 1).await;
    loop {
        let (before, zeros) = bytes(dir.path());
        let start = before.len() - zeros;
        fill(&backend, last..=last).await;
        let (log, zeros) = bytes(dir.path());
        let end = log.len() - zeros;
        // Neither a state frame behind it, nor the room's end close by.
        if log.len() == before.len() && end - start < 1100 && zeros > 2500 && fits(end) {
            return Killed {
                dir,
                log,
                start,
                end,
                last,
            };
        }
        last += 1;
    }
}

#[tokio::test]
async fn a_log_that_is_written_to_has_room_until_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FsBackend::open(dir.path()).unwrap();
    fill(&backend, 1..=10).await;
    assert!(bytes(dir.path()).1 < 64, "a short log has none");
    fill(&backend, 11..=100).await;
    let (log, zeros) = bytes(dir.path());
    assert!(zeros > 0 && zeros as u64 <= MOST + BLOCK);
    assert_eq!(log.len() as u64 % BLOCK, 0);
    let stats = backend.io_stats();
    assert!(stats.zeros_written > 0 && stats.zeros_written < 2 * stats.bytes_written);
    backend.close().await.unwrap();
    let (closed, zeros) = bytes(dir.path());
    assert!(zeros < 64, "closing takes it back");
    assert_eq!(log[..closed.len()], closed);
    assert_eq!(
        latest(&FsBackend::open(dir.path()).unwrap()).await.unwrap(),
        100
    );
}

#[tokio::test]
async fn room_is_taken_back_from_logs_that_are_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FsBackend::open(dir.path()).unwrap();
    fill(&backend, 1..=60).await;
    assert!(bytes(dir.path()).1 > 512);
    for n in 0..2 * LOGS {
        let mut other = commit(1);
        other.thread = format!("other {n}").into();
        backend.commit(other).await.unwrap();
    }
    assert!(bytes(dir.path()).1 < 64);
    fill(&backend, 61..=61).await;
    assert_eq!(latest(&backend).await.unwrap(), 61);
}

#[tokio::test]
async fn two_writers_share_room_and_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let writers = [
        FsBackend::open(dir.path()).unwrap(),
        FsBackend::open(dir.path()).unwrap(),
    ];
    for n in 1..=200 {
        let turn = (n / 3 % 2) as usize;
        fill(&writers[turn], n..=n).await;
        assert_eq!(latest(&writers[1 - turn]).await.unwrap(), n);
    }
    assert!(bytes(dir.path()).1 > 512);
    writers[0].close().await.unwrap();
    fill(&writers[1], 201..=202).await;
    writers[1].close().await.unwrap();
    assert!(bytes(dir.path()).1 < 64);
    assert_eq!(
        latest(&FsBackend::open(dir.path()).unwrap()).await.unwrap(),
        202
    );
}

#[tokio::test]
async fn a_bit_that_changes_before_room_is_damage() {
    let Killed {
        dir,
        log,
        start,
        end,
        last,
    } = killed(70, |_| true).await;
    let mut unseen = Vec::new();
    for at in (start..start + 48)
        .chain((start..end).step_by(5))
        .chain(end - 8..end)
    {
        let mut damaged = log.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(log_of(dir.path()), &damaged).unwrap();
        let backend = FsBackend::open(dir.path()).unwrap();
        match latest(&backend).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            other => unseen.push((at, other)),
        }
        // What comes behind it is whole, and nothing was cut.
        fill(&backend, last + 1..=last + 1).await;
        assert_eq!(latest(&backend).await.unwrap(), last + 1);
        assert_eq!(bytes(dir.path()).0[start..end], damaged[start..end]);
        let again = FsBackend::open(dir.path()).unwrap();
        assert_eq!(latest(&again).await.unwrap(), last + 1);
    }
    assert!(unseen.is_empty(), "not reported: {unseen:?}");
}

#[tokio::test]
async fn sectors_that_were_lost_within_room_are_a_torn_write() {
    let Killed {
        dir,
        log,
        start,
        end,
        last,
    } = killed(70, |end| end % 512 >= 2).await;
    let first = start / 512;
    let sectors = end.div_ceil(512) - first;
    assert!(sectors >= 3);
    for lost in 1u32..1 << sectors {
        let mut torn = log.clone();
        for sector in (0..sectors).filter(|n| lost >> n & 1 == 1) {
            let from = (first + sector) * 512;
            torn[from.max(start)..(from + 512).min(log.len())].fill(0);
        }
        std::fs::write(log_of(dir.path()), &torn).unwrap();
        let backend = FsBackend::open(dir.path()).unwrap();
        let found = latest(&backend).await.unwrap();
        assert_eq!(found, last - 1, "lost {lost:b}");
        fill(&backend, last..=last + 2).await;
        assert_eq!(latest(&backend).await.unwrap(), last + 2);
        let again = FsBackend::open(dir.path()).unwrap();
        assert_eq!(latest(&again).await.unwrap(), last + 2);
    }
}

#[tokio::test]
async fn a_write_that_was_killed_within_room_is_cut_by_whoever_writes_next() {
    // The next frame crosses the end of a block: a write is killed between two.
    let block = BLOCK as usize;
    let Killed {
        dir,
        log,
        end,
        last,
        ..
    } = killed(70, |end| end % block > block - 900).await;
    let kill = end.next_multiple_of(block);
    let writer = FsBackend::open(dir.path()).unwrap();
    fill(&writer, last + 1..=last + 1).await;
    let (next, zeros) = bytes(dir.path());
    assert!(kill < next.len() - zeros);
    std::fs::write(log_of(dir.path()), &log).unwrap();
    let alive = FsBackend::open(dir.path()).unwrap();
    assert_eq!(latest(&alive).await.unwrap(), last);
    let mut torn = log.clone();
    torn[end..kill].copy_from_slice(&next[end..kill]);
    std::fs::write(log_of(dir.path()), &torn).unwrap();
    let other = FsBackend::open(dir.path()).unwrap();
    for backend in [&alive, &other] {
        assert_eq!(latest(backend).await.unwrap(), last);
    }
    // Shorter than what was torn: nothing of that may stay behind it.
    let mut short = commit(last + 2);
    (short.body, short.chunks) = (Bytes::new(), Vec::new());
    alive.commit(short).await.unwrap();
    let (log, _) = bytes(dir.path());
    assert!(log.len() < kill, "the rest was cut: {} bytes", log.len());
    fill(&other, last + 3..=last + 9).await;
    for backend in [&alive, &other, &FsBackend::open(dir.path()).unwrap()] {
        assert_eq!(latest(backend).await.unwrap(), last + 9);
    }
}
