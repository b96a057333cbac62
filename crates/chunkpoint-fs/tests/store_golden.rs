//! Files of the long-term store written by format 1, byte for byte, which every later
//! version must still read.
//!
//! `CHUNKPOINT_GOLDEN=write cargo test -p chunkpoint-fs --test store_golden` writes
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
use chunkpoint_core::backend::{ChunkName, PackId};
use chunkpoint_core::store_backend::*;
use chunkpoint_fs::FsBackend;
use support::items::*;
use support::*;

const LABELS: &[&str] = &["golden", "ü"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/items")
        .join(name)
}

fn id(n: u64) -> PackId {
    PackId([n as u8, 1, 2, 3, 4, 5, (n >> 8) as u8, 7])
}

fn numbered(n: u64) -> PutItem {
    let key = if n.is_multiple_of(9) {
        "long ".repeat(30)
    } else {
        "k".to_owned()
    };
    let chunks: Vec<Bytes> = (0..n % 3)
        .map(|k| vec![(n ^ k) as u8; 40 + n as usize].into())
        .collect();
    let now = 1_700_000_000_000 + n * 777;
    let mut put = put(
        item(LABELS, &format!("{key}{n}")),
        now,
        format!("body {n}"),
        chunks,
    );
    put.row.version = id(n);
    if !put.row.packs.is_empty() {
        put.row.packs = vec![id(n)];
    }
    if n.is_multiple_of(4) {
        put.row.ttl_ms = Some(60_000);
        put.row.expires_ms = Some(now + 60_000);
    }
    put
}

/// A namespace with one of everything.
async fn fill(backend: &FsBackend) {
    for n in 0..40 {
        do_put(backend, numbered(n)).await;
    }
    for n in (0..40).step_by(5) {
        let mut again = numbered(n);
        again.row.version = id(100 + n);
        again.row.updated_ms += 5;
        again.expect = Expect::Version(id(n));
        // Half of them go on using the pack of before.
        if n.is_multiple_of(2) {
            again.chunks.clear();
        } else if !again.chunks.is_empty() {
            again.row.packs = vec![id(100 + n)];
        }
        do_put(backend, again).await;
    }
    for n in [7, 8, 11] {
        let delete = ItemChange::Delete {
            key: numbered(n).row.key,
            write_id: id(200 + n),
            expect: Expect::Any,
            now_ms: 1_700_000_100_000 + n,
        };
        change(backend, delete).await.unwrap();
    }
    let renew = ItemChange::Renew {
        key: numbered(12).row.key,
        version: id(12),
        expires_ms: 1_700_000_500_000,
    };
    change(backend, renew).await.unwrap();
    sweep_all(backend, 1_700_000_070_000, 100).await;
}

/// Has the tail merged, and appends a little.
async fn merge(backend: &FsBackend, dir: &Path) {
    let generation = || fs::read(items_file(dir)).unwrap()[12];
    let mut big = put(
        item(LABELS, "big"),
        1_700_000_200_000,
        vec![5; 66_000],
        vec![],
    );
    big.row.version = id(500);
    do_put(backend, big).await;
    while generation() == 1 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    do_put(backend, numbered(70)).await;
}

/// All that can be read, as text.
async fn told(backend: &FsBackend) -> String {
    let mut out = String::new();
    for mut row in scan_all(backend).await {
        if row.body.len() > 1000 {
            row.body = format!("{} bytes", row.body.len()).into();
        }
        writeln!(out, "{row:?}").unwrap();
    }
    let all = ListNamespaces {
        now_ms: 1_700_000_100_000,
        ..ListNamespaces::default()
    };
    let names: Vec<_> = futures::StreamExt::collect(backend.namespaces(all).await.unwrap()).await;
    writeln!(out, "{names:?}").unwrap();
    for n in (0..40).chain([70]) {
        let key = numbered(n).row.key;
        for pack in [id(n), id(100 + n)] {
            let name = |ordinal| ChunkName {
                pack,
                ordinal,
                locator: 0,
                len: 50,
            };
            let names = [name(0), name(1)];
            let chunks = backend.item_chunks(&key, &names).await.unwrap();
            let chunks = chunks
                .iter()
                .map(|chunk| chunk.as_ref().map(|bytes| crc32c::crc32c(bytes)));
            writeln!(
                out,
                "chunks of {n} {pack}: {:?}",
                chunks.collect::<Vec<_>>()
            )
            .unwrap();
        }
    }
    out
}

/// The files of the long-term store, by their names below `s`.
fn stored(dir: &Path) -> Vec<PathBuf> {
    let mut all = files(&dir.join("s"), ".items");
    all.extend(files(&dir.join("s"), ".packs"));
    all
}

fn flat_name(dir: &Path, file: &Path) -> String {
    let below = file.strip_prefix(dir.join("s")).unwrap();
    below.file_name().unwrap().to_str().unwrap().to_owned()
}

async fn write_golden(backend: &FsBackend, dir: &Path, name: &str) {
    fs::create_dir_all(golden(name)).unwrap();
    for file in stored(dir) {
        fs::copy(&file, golden(name).join(flat_name(dir, &file))).unwrap();
    }
    fs::write(golden(&format!("{name}.txt")), told(backend).await).unwrap();
}

/// A directory with these files in their places.
fn with_files(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    for entry in fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let mut to = dir.path().join("s");
        if file != "names.items" {
            to.push(&file[..2]);
            fs::create_dir_all(&to).unwrap();
        }
        fs::copy(&path, to.join(file)).unwrap();
    }
    dir
}

#[tokio::test]
async fn items_of_format_1_are_read() {
    if std::env::var_os("CHUNKPOINT_GOLDEN").is_some() {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(dir.path());
        fill(&backend).await;
        write_golden(&backend, dir.path(), "appended").await;
        merge(&backend, dir.path()).await;
        write_golden(&backend, dir.path(), "merged").await;
    }
    for (name, generation) in [("appended", 1), ("merged", 2)] {
        let dir = with_files(name);
        assert_eq!(fs::read(items_file(dir.path())).unwrap()[12], generation);
        let backend = open(dir.path());
        let expected = fs::read_to_string(golden(&format!("{name}.txt"))).unwrap();
        assert_eq!(told(&backend).await, expected, "{name}");
        // They can be written to as well, and what they remember is.
        do_put(&backend, numbered(99)).await;
        assert!(
            row(&backend, &numbered(99).row.key)
                .await
                .unwrap()
                .is_some()
        );
        let done = do_put(&backend, numbered(5)).await;
        let created_ms = numbered(5).row.created_ms;
        assert_eq!(done, Changed::Done { created_ms });
        let there = row(&backend, &numbered(5).row.key).await.unwrap().unwrap();
        assert_eq!(there.version, id(105));
    }
}

#[tokio::test]
async fn the_same_changes_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    fill(&backend).await;
    for file in stored(dir.path()) {
        let expected = fs::read(golden("appended").join(flat_name(dir.path(), &file))).unwrap();
        assert!(
            fs::read(file).unwrap() == expected,
            "the format has changed"
        );
    }
}
