//! Logs written by format 1, byte for byte, which every later version must
//! still read.
//!
//! `CHUNKPOINT_GOLDEN=write cargo test -p chunkpoint-fs --test golden` writes
//! them anew; that is right only for a format that was never released.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkpoint_core::backend::*;
use chunkpoint_fs::FsBackend;
use support::*;

const LIFE: Incarnation = Incarnation(*b"incarnat");

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn commit(n: u8, id: &str, namespace: &str) -> Commit {
    let chunks = (0..n % 4)
        .map(|k| Bytes::from(vec![n ^ k; usize::from(n) * 3]))
        .collect();
    let mut commit = root("golden/ü", id, format!("body of {id}"), chunks);
    commit.key = key(namespace, id);
    commit.pack = PackId([n.wrapping_mul(41), 1, 2, 3, 4, 5, 6, n]);
    commit.base = Base::Root { fresh: LIFE };
    commit.index.time_ms += u64::from(n) * 777;
    commit.index.delta = n.is_multiple_of(2);
    commit.index.run_id =
        [None, Some("a run".into()), Some(uuid(9).into())][usize::from(n % 3)].clone();
    commit
}

/// A thread with one of everything.
async fn fill(backend: &FsBackend) {
    let mut parent: Option<String> = None;
    for n in 1..=40u8 {
        let id = if n.is_multiple_of(7) {
            format!("~{n:03}")
        } else {
            uuid(u64::from(n))
        };
        let namespace = ["", "child:1", "child:2"][usize::from(n % 5).saturating_sub(2)];
        let mut commit = commit(n, &id, namespace);
        commit.index.parent = parent.replace(id.clone()).map(Into::into);
        backend.commit(commit).await.unwrap();
        if n.is_multiple_of(3) {
            let writes = (0..2)
                .map(|k| PendingWrite {
                    task_id: if k == 0 {
                        uuid(77).into()
                    } else {
                        "task".into()
                    },
                    task_path: "~__pregel_pull, x".into(),
                    idx: k - 1,
                    channel: "messages".into(),
                    value: Bytes::from(vec![n; 5]),
                    replace: k == 0,
                })
                .collect();
            let put = PutWrites {
                thread: "golden/ü".into(),
                // Sometimes for the one before, sometimes for one that never came.
                key: key(namespace, if n == 9 { "nothing" } else { &id }),
                write_id: PackId([n; 8]),
                fresh: LIFE,
                time_ms: 1_700_000_000_000,
                writes,
            };
            backend.put_writes(put).await.unwrap();
        }
    }
    let mut late = commit(50, &uuid(3), "");
    late.index.parent = Some("none such".into());
    backend.commit(late).await.unwrap();
    let (rows, _) = rows(backend, listing("golden/ü")).await;
    let record = |at: usize| rows[at].record.clone();
    let changes = vec![
        (record(rows.len() - 1), Change::Remove),
        (record(5), Change::Remove),
        (record(6), Change::Hide),
        (record(7), Change::Pin(true)),
    ];
    let alter = Alter {
        thread: "golden/ü".into(),
        incarnation: LIFE,
        time_ms: 1_700_000_100_000,
        changes,
    };
    assert_eq!(backend.alter(alter).await.unwrap(), [Altered::Done; 4]);
}

/// Leaves only the newest ten and has the log compacted.
async fn trim(backend: &FsBackend) {
    let big = commit(60, &uuid(60), "");
    let big = Commit {
        chunks: vec![vec![1; 60_000].into()],
        ..big
    };
    backend.commit(big.clone()).await.unwrap();
    let (rows, _) = rows(backend, listing("golden/ü")).await;
    let mut changes: Vec<_> = rows[12..]
        .iter()
        .map(|row| (row.record.clone(), Change::Remove))
        .collect();
    changes.push((
        RecordRef {
            key: big.key,
            pack: big.pack,
        },
        Change::Remove,
    ));
    let thread: std::sync::Arc<str> = "golden/ü".into();
    let (incarnation, time_ms) = (LIFE, 1_700_000_200_000);
    backend
        .alter(Alter {
            thread: thread.clone(),
            incarnation,
            time_ms,
            changes,
        })
        .await
        .unwrap();
    let dead = vec![
        (big.pack, vec![0]),
        (PackId([82, 1, 2, 3, 4, 5, 6, 2]), vec![1]),
    ];
    backend
        .reclaim(Reclaim {
            thread,
            incarnation,
            before_ms: time_ms,
            dead,
        })
        .await
        .unwrap();
    let mut after = commit(61, &uuid(61), "child:1");
    after.index.parent = Some(uuid(40).into());
    backend.commit(after).await.unwrap();
}

/// All that can be read of the thread, as text.
async fn told(backend: &FsBackend) -> String {
    let mut out = String::new();
    let query = ListRecords {
        detail: Detail::Writes,
        ..listing("golden/ü")
    };
    let (rows, errors) = rows(backend, query).await;
    assert!(errors.is_empty(), "{errors:?}");
    for mut row in rows {
        row.writes
            .sort_by(|a, b| (&a.task_id, a.idx).cmp(&(&b.task_id, b.idx)));
        writeln!(out, "{row:?}").unwrap();
        // Contents are not in the row's `Debug`.
        writeln!(out, "  body {:?}", row.body).unwrap();
        for write in &row.writes {
            writeln!(out, "  write {:?}", write.value).unwrap();
        }
    }
    let thread: std::sync::Arc<str> = "golden/ü".into();
    let query = ListCondemned {
        thread,
        before_ms: u64::MAX,
        after: None,
        limit: 100,
    };
    let condemned = backend.condemned(query).await.unwrap().unwrap();
    for pack in &condemned.packs {
        writeln!(out, "{pack:?}").unwrap();
    }
    for n in (1..=40).chain([50, 60, 61]) {
        let names = names(
            &Commit {
                chunks: vec![Bytes::new(); 3],
                ..commit(n, "1", "")
            },
            0,
        );
        let chunks = backend.chunks("golden/ü", LIFE, &names).await.unwrap();
        let chunks = chunks
            .iter()
            .map(|chunk| chunk.as_ref().map(|bytes| crc32c::crc32c(bytes)));
        writeln!(out, "chunks of {n}: {:?}", chunks.collect::<Vec<_>>()).unwrap();
    }
    out
}

/// A directory with this log in its place.
fn with_log(log: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let hash = blake3::hash("golden/ü".as_bytes()).to_hex();
    let shard = dir.path().join("t").join(&hash[..2]);
    drop(backend);
    fs::create_dir(&shard).unwrap();
    fs::copy(log, shard.join(format!("{}.log", &hash[..32]))).unwrap();
    dir
}

#[tokio::test]
async fn logs_of_format_1_are_read() {
    if std::env::var_os("CHUNKPOINT_GOLDEN").is_some() {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(dir.path());
        fill(&backend).await;
        fs::copy(log_of(dir.path()), golden("appended.log")).unwrap();
        fs::write(golden("appended.txt"), told(&backend).await).unwrap();
        trim(&backend).await;
        fs::copy(log_of(dir.path()), golden("compacted.log")).unwrap();
        fs::write(golden("compacted.txt"), told(&backend).await).unwrap();
    }
    for name in ["appended", "compacted"] {
        let log = golden(&format!("{name}.log"));
        let dir = with_log(&log);
        let backend = open(dir.path());
        let expected = fs::read_to_string(golden(&format!("{name}.txt"))).unwrap();
        assert_eq!(told(&backend).await, expected, "{name}");
        let generation = fs::read(&log).unwrap()[12];
        assert_eq!(generation, if name == "compacted" { 2 } else { 1 });
        // It can be written to as well.
        backend.commit(commit(99, &uuid(99), "")).await.unwrap();
        assert_eq!(
            &*latest(&backend, "golden/ü")
                .await
                .unwrap()
                .unwrap()
                .record
                .key
                .id,
            "~035"
        );
    }
}

#[tokio::test]
async fn the_same_operations_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    fill(&backend).await;
    let log = fs::read(log_of(dir.path())).unwrap();
    assert!(
        log == fs::read(golden("appended.log")).unwrap(),
        "the format has changed"
    );
}
