//! What opening and reading a long thread costs, counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;

use chunkpoint_core::backend::*;
use chunkpoint_fs::{FsBackend, IoStats};
use support::*;

const RECORDS: u64 = 20_000;

async fn long_thread(dir: &Path) -> Vec<(Commit, u64)> {
    let backend = open(dir);
    let mut rng = Rng(3);
    let mut stored = Vec::new();
    for n in 1..=RECORDS {
        let mut commit = root("t", &uuid(n), rng.bytes(400), vec![rng.bytes(500)]);
        commit.index.parent = Some(uuid(n - 1).into());
        commit.index.time_ms += n * 1000;
        let committed = backend.commit(commit.clone()).await.unwrap();
        stored.push((commit, committed.locator));
    }
    stored
}

/// What a backend opened just now reads for this.
async fn cost<T>(dir: &Path, work: impl AsyncFnOnce(&FsBackend) -> T) -> (T, IoStats) {
    let backend = open(dir);
    let before = backend.io_stats();
    assert_eq!(before.reads, 0);
    let out = work(&backend).await;
    (out, backend.io_stats())
}

#[tokio::test]
async fn a_long_thread_is_opened_and_searched_with_few_reads() {
    let dir = tempfile::tempdir().unwrap();
    let stored = long_thread(dir.path()).await;
    let size = std::fs::metadata(log_of(dir.path())).unwrap().len();
    let content = RECORDS * 900;
    let overhead = (size - content) as f64 / RECORDS as f64;
    println!("{overhead:.1} bytes a commit beyond body and chunk, of {size}");
    assert!(overhead < 75.0, "{overhead}");

    let (row, io) = cost(dir.path(), async |backend| latest(backend, "t").await).await;
    println!("latest: {io:?}");
    let row = row.unwrap().unwrap();
    assert_eq!(row.body, stored.last().unwrap().0.body);
    assert!(io.reads <= 3 && io.bytes_read <= 64 * 1024, "{io:?}");

    // The latest and the last 20 chunks.
    let last: Vec<ChunkName> = stored[stored.len() - 20..]
        .iter()
        .flat_map(|(commit, locator)| names(commit, *locator))
        .collect();
    let (chunks, io) = cost(dir.path(), async |backend| {
        let row = latest(backend, "t").await.unwrap().unwrap();
        backend.chunks("t", row.incarnation, &last).await
    })
    .await;
    println!("latest and 20 chunks: {io:?}");
    let chunks: Vec<_> = chunks.unwrap().into_iter().flatten().collect();
    let expected = stored[stored.len() - 20..]
        .iter()
        .map(|(commit, _)| commit.chunks[0].clone());
    assert_eq!(chunks, expected.collect::<Vec<_>>());
    assert!(io.reads <= 4 && io.bytes_read <= 64 * 1024, "{io:?}");

    let mut most = IoStats::default();
    for n in (0..RECORDS as usize).step_by(499) {
        let (commit, _) = &stored[n];
        let (row, io) = cost(dir.path(), async |backend| {
            get(backend, "t", &commit.key.id).await
        })
        .await;
        let row = row.unwrap().unwrap();
        assert_eq!(
            (row.body, row.index),
            (commit.body.clone(), commit.index.clone())
        );
        most.reads = most.reads.max(io.reads);
        most.bytes_read = most.bytes_read.max(io.bytes_read);
    }
    println!("any record: at most {most:?}");
    assert!(
        most.reads <= 60 && most.bytes_read <= 400 * 1024,
        "{most:?}"
    );

    let (page, io) = cost(dir.path(), async |backend| {
        let query = ListRecords {
            before: Some(uuid(RECORDS / 2).into()),
            limit: Some(10),
            ..listing("t")
        };
        rows(backend, query).await.0
    })
    .await;
    println!("ten in the middle: {io:?}");
    assert_eq!(&*page[0].record.key.id, uuid(RECORDS / 2 - 1));
    assert!(io.reads <= 60 && io.bytes_read <= 400 * 1024, "{io:?}");
}

#[tokio::test]
async fn a_warm_commit_reads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut row = None;
    for n in 1..500 {
        let mut commit = root("t", &uuid(n), "body", vec![]);
        if let Some(RecordRow {
            incarnation,
            record,
            ..
        }) = row.take()
        {
            commit.base = Base::Borrow {
                incarnation,
                from: vec![record],
            };
            commit.expect_latest = Some(Some(uuid(n - 1).into()));
        }
        let before = backend.io_stats();
        let Committed { incarnation, .. } = backend.commit(commit.clone()).await.unwrap();
        let after = backend.io_stats();
        assert_eq!(after.reads, before.reads);
        assert!(after.writes - before.writes <= if n == 1 { 3 } else { 2 });
        let record = RecordRef {
            key: commit.key.clone(),
            pack: commit.pack,
        };
        row = latest(&backend, "t").await.unwrap();
        assert_eq!(
            row.as_ref().map(|row| (row.incarnation, &row.record)),
            Some((incarnation, &record))
        );
    }
}

#[tokio::test]
async fn trimming_for_ever_keeps_file_and_index_small() {
    const KEEP: u64 = 50;
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut rng = Rng(8);
    let mut most = 0;
    let mut first = None;
    let mut packs = std::collections::VecDeque::new();
    for n in 1..=12_000u64 {
        let mut commit = root("t", &uuid(n), rng.bytes(200), vec![rng.bytes(300)]);
        commit.index.time_ms += n;
        let incarnation = backend.commit(commit.clone()).await.unwrap().incarnation;
        packs.push_back(RecordRef {
            key: commit.key,
            pack: commit.pack,
        });
        if n % 64 == 0 {
            let changes = (KEEP..packs.len() as u64)
                .filter_map(|_| packs.pop_front())
                .map(|record| (record, Change::Remove))
                .collect();
            let time_ms = commit.index.time_ms;
            let alter = Alter {
                thread: "t".into(),
                incarnation,
                time_ms,
                changes,
            };
            let answers = backend.alter(alter).await.unwrap();
            assert!(answers.iter().all(|answer| *answer == Altered::Done));
            let query = ListCondemned {
                thread: "t".into(),
                before_ms: time_ms,
                after: None,
                limit: usize::MAX,
            };
            let condemned = backend.condemned(query).await.unwrap().unwrap();
            let dead = condemned
                .packs
                .into_iter()
                .map(|pack| (pack.pack, pack.chunks))
                .collect();
            let reclaim = Reclaim {
                thread: "t".into(),
                incarnation,
                before_ms: time_ms,
                dead,
            };
            backend.reclaim(reclaim).await.unwrap();
            let size = std::fs::metadata(log_of(dir.path())).unwrap().len();
            first.get_or_insert(size);
            most = most.max(size);
        }
    }
    // 50 to 114 records of about 570 bytes are live.
    println!("at most {most} bytes");
    assert!(most <= 2 * 114 * 570 + 64 * 1024, "{most}");
    let (row, io) = cost(dir.path(), async |backend| latest(backend, "t").await).await;
    assert_eq!(&*row.unwrap().unwrap().record.key.id, uuid(12_000));
    assert!(io.reads <= 3 && io.bytes_read <= 64 * 1024, "{io:?}");
}

/// As above, but nothing is reclaimed: the index alone has to stay small.
#[tokio::test]
async fn the_index_of_a_trimmed_thread_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut packs = std::collections::VecDeque::new();
    for n in 1..=8_000u64 {
        let commit = root("t", &uuid(n), "some body of a record", vec![]);
        let incarnation = backend.commit(commit.clone()).await.unwrap().incarnation;
        packs.push_back(RecordRef {
            key: commit.key,
            pack: commit.pack,
        });
        if packs.len() > 60 {
            let changes = packs.pop_front().map(|record| (record, Change::Remove));
            let changes = changes.into_iter().collect();
            let alter = Alter {
                thread: "t".into(),
                incarnation,
                time_ms: 1,
                changes,
            };
            assert_eq!(backend.alter(alter).await.unwrap(), [Altered::Done]);
        }
    }
    let (row, io) = cost(dir.path(), async |backend| latest(backend, "t").await).await;
    assert_eq!(&*row.unwrap().unwrap().record.key.id, uuid(8_000));
    assert!(io.reads <= 3 && io.bytes_read <= 40 * 1024, "{io:?}");
    assert_eq!(ids(&backend, "t").await.len(), 60);
}

/// Many short threads, as real conversations are: headers, catalog, locks and
/// all.
#[tokio::test]
async fn short_threads_cost_little_more_than_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut rng = Rng(2);
    let (mut content, mut commits) = (0, 0);
    for thread in 0..100 {
        for n in 0..37 {
            let chunks = (0..n % 2).map(|_| rng.bytes(900)).collect();
            let mut commit = root(&uuid(thread), &uuid(n), rng.bytes(700), chunks);
            commit.index.parent = n.checked_sub(1).map(|n| uuid(n).into());
            commit.index.run_id = Some(uuid(thread).into());
            commit.index.time_ms += n * 20_000;
            content += commit.index.pack_bytes;
            commits += 1;
            backend.commit(commit).await.unwrap();
        }
    }
    let overhead = (backend.bytes_at_rest().unwrap() - content) as f64 / f64::from(commits);
    println!("{overhead:.1} bytes a commit, with a run id in each");
    assert!(overhead < 90.0, "{overhead}");
}
