//! What the tests of the long-term store share.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::*;
use chunkpoint_core::{Error, Result};
use chunkpoint_fs::FsBackend;
use futures::StreamExt;

use super::unique;

pub(crate) fn namespace(labels: &[&str]) -> Namespace {
    Namespace::new(labels).unwrap()
}

pub(crate) fn item(labels: &[&str], key: &str) -> ItemKey {
    ItemKey {
        namespace: namespace(labels),
        key: key.into(),
    }
}

/// A put whatever is there, at time `now`.
pub(crate) fn put(key: ItemKey, now: u64, body: impl Into<Bytes>, chunks: Vec<Bytes>) -> PutItem {
    let version = PackId(unique());
    PutItem {
        row: ItemRow {
            key,
            version,
            created_ms: now,
            updated_ms: now,
            ttl_ms: None,
            expires_ms: None,
            packs: if chunks.is_empty() {
                vec![]
            } else {
                vec![version]
            },
            body: body.into(),
        },
        expect: Expect::Any,
        chunks,
        value: None,
    }
}

pub(crate) async fn change(backend: &FsBackend, change: ItemChange) -> Result<Changed> {
    let mut done = backend.change_items(vec![change]).await?;
    assert_eq!(done.len(), 1);
    done.remove(0)
}

pub(crate) async fn do_put(backend: &FsBackend, put: PutItem) -> Changed {
    change(backend, ItemChange::Put(Box::new(put)))
        .await
        .unwrap()
}

pub(crate) async fn row(backend: &FsBackend, key: &ItemKey) -> Result<Option<ItemRow>> {
    let mut rows = backend.items(std::slice::from_ref(key)).await?;
    assert_eq!(rows.len(), 1);
    Ok(rows.remove(0))
}

/// All rows of a scan, and all errors in it.
pub(crate) async fn scan(backend: &FsBackend, query: ScanItems) -> (Vec<ItemRow>, Vec<Error>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let mut stream = backend.scan(query).await.unwrap();
    while let Some(row) = stream.next().await {
        match row {
            Ok(row) => rows.push(row),
            Err(error) => errors.push(error),
        }
    }
    (rows, errors)
}

pub(crate) async fn scan_all(backend: &FsBackend) -> Vec<ItemRow> {
    let (rows, errors) = scan(backend, ScanItems::default()).await;
    assert!(errors.is_empty(), "{errors:?}");
    rows
}

/// Sweeps until there is nothing more; gives how much was swept in all.
pub(crate) async fn sweep_all(backend: &FsBackend, before_ms: u64, limit: usize) -> SweptItems {
    let mut all = SweptItems::default();
    for _ in 0..10_000 {
        let swept = backend
            .sweep(SweepItems { before_ms, limit })
            .await
            .unwrap();
        all.expired += swept.expired;
        all.packs += swept.packs;
        if !swept.more {
            return all;
        }
    }
    panic!("sweeping does not end");
}

/// All files below a directory whose names end so.
pub(crate) fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The file of items of the only namespace.
pub(crate) fn items_file(dir: &Path) -> PathBuf {
    let mut found = files(&dir.join("s"), ".items");
    found.retain(|path| !path.ends_with("names.items"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
