//! What the tests of this crate share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod items;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunkpoint_core::backend::*;
use chunkpoint_core::{Error, Result};
use chunkpoint_fs::FsBackend;
use futures::StreamExt;

/// A backend that does not sync: most tests are not about that.
pub(crate) fn open(dir: &Path) -> FsBackend {
    FsBackend::builder(dir)
        .durability(Durability::Process)
        .open()
        .unwrap()
}

/// Eight bytes that were not given before.
pub(crate) fn unique() -> [u8; 8] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Spread over all values, as random ids are.
    NEXT.fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes()
}

/// A UUID that sorts by `n`.
pub(crate) fn uuid(n: u64) -> String {
    format!(
        "{:08x}-{:04x}-7000-8000-{:012x}",
        n >> 16,
        n & 0xffff,
        n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff_ffff
    )
}

pub(crate) fn key(namespace: &str, id: &str) -> RecordKey {
    RecordKey {
        namespace: namespace.into(),
        id: id.into(),
    }
}

/// A commit without a parent.
pub(crate) fn root(thread: &str, id: &str, body: impl Into<Bytes>, chunks: Vec<Bytes>) -> Commit {
    let body = body.into();
    let pack_bytes = (body.len() + chunks.iter().map(Bytes::len).sum::<usize>()) as u64;
    Commit {
        thread: thread.into(),
        key: key("", id),
        pack: PackId(unique()),
        base: Base::Root {
            fresh: Incarnation(unique()),
        },
        expect_latest: None,
        index: RecordIndex {
            time_ms: 1_700_000_000_000,
            pack_bytes,
            ..RecordIndex::default()
        },
        body,
        chunks,
        metadata: Arc::default(),
    }
}

pub(crate) async fn get(backend: &FsBackend, thread: &str, id: &str) -> Result<Option<RecordRow>> {
    let picks = [Pick::At(key("", id))];
    let mut rows = backend.get(thread, &picks, Detail::Writes).await?;
    Ok(rows.remove(0))
}

pub(crate) async fn latest(backend: &FsBackend, thread: &str) -> Result<Option<RecordRow>> {
    let picks = [Pick::Latest {
        namespace: "".into(),
    }];
    let mut rows = backend.get(thread, &picks, Detail::Bodies).await?;
    Ok(rows.remove(0))
}

pub(crate) fn listing(thread: &str) -> ListRecords {
    ListRecords {
        thread: thread.into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Bodies,
    }
}

/// All rows of a listing, and all errors in it.
pub(crate) async fn rows(backend: &FsBackend, query: ListRecords) -> (Vec<RecordRow>, Vec<Error>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let mut stream = backend.list(query).await.unwrap();
    while let Some(row) = stream.next().await {
        match row {
            Ok(row) => rows.push(row),
            Err(error) => errors.push(error),
        }
    }
    (rows, errors)
}

pub(crate) async fn ids(backend: &FsBackend, thread: &str) -> Vec<String> {
    let (rows, errors) = rows(backend, listing(thread)).await;
    assert!(errors.is_empty(), "{errors:?}");
    rows.iter()
        .map(|row| row.record.key.id.to_string())
        .collect()
}

/// The names of a commit's chunks, with this locator.
pub(crate) fn names(commit: &Commit, locator: u64) -> Vec<ChunkName> {
    (0..)
        .zip(&commit.chunks)
        .map(|(ordinal, chunk)| ChunkName {
            pack: commit.pack,
            ordinal,
            locator,
            len: chunk.len() as u32,
        })
        .collect()
}

/// The log of the only thread of a directory.
pub(crate) fn log_of(dir: &Path) -> PathBuf {
    let shard = std::fs::read_dir(dir.join("t"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut logs = std::fs::read_dir(shard.path()).unwrap();
    logs.next().unwrap().unwrap().path()
}

/// A small generator of numbers that are the same every time.
#[derive(Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Bytes {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
