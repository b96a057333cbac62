//! The long-term store on damaged files: torn writes are cut, flipped bits are told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::ChunkName;
use chunkpoint_core::store_backend::*;
use chunkpoint_fs::FsBackend;
use support::items::*;
use support::*;

fn key(n: u64) -> ItemKey {
    item(&["users", "ada"], &format!("key {n:04}"))
}

/// Puts `count` items; gives the length of the file after each, too.
async fn fill(dir: &Path, count: u64) -> Vec<(PutItem, u64)> {
    let backend = open(dir);
    let mut rng = Rng(count);
    let mut stored = Vec::new();
    for n in 0..count {
        let chunks = if n % 4 == 3 {
            vec![rng.bytes(300)]
        } else {
            vec![]
        };
        let len = 20 + rng.below(200) as usize;
        let put = put(key(n), 1000 + n, rng.bytes(len), chunks);
        do_put(&backend, put.clone()).await;
        stored.push((put, fs::metadata(items_file(dir)).unwrap().len()));
    }
    stored
}

/// Has the tail merged into the sorted part.
async fn compact(dir: &Path) {
    let backend = open(dir);
    let generation = || fs::read(items_file(dir)).unwrap()[12];
    let before = generation();
    for n in 0.. {
        let big = put(item(&["users", "ada"], "zz"), 1, vec![1; 30_000], vec![]);
        do_put(&backend, big).await;
        for _ in 0..100 {
            if generation() > before {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(n < 100, "no compaction");
    }
}

async fn check_row(backend: &FsBackend, put: &PutItem) -> chunkpoint_core::Result<bool> {
    let Some(row) = row(backend, &put.row.key).await? else {
        return Ok(false);
    };
    assert_eq!(row, put.row);
    for (ordinal, chunk) in put.chunks.iter().enumerate() {
        let name = ChunkName {
            pack: put.row.version,
            ordinal: ordinal as u32,
            locator: 0,
            len: chunk.len() as u32,
        };
        let found = backend.item_chunks(&put.row.key, &[name]).await?;
        assert_eq!(found, [Some(chunk.clone())]);
    }
    Ok(true)
}

#[tokio::test]
async fn what_was_whole_before_a_cut_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path(), 12).await;
    let file = items_file(dir.path());
    let whole = fs::read(&file).unwrap();
    let start = stored[0].1 as usize;
    for len in start..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        let backend = open(dir.path());
        for (put, end) in &stored {
            let there = check_row(&backend, put).await.unwrap();
            assert_eq!(there, *end <= len as u64, "{} at {len}", put.row.key);
        }
        // The next writer cuts what is left, and goes on.
        let next = put(key(5000), 5, "next", vec![]);
        do_put(&backend, next.clone()).await;
        let backend = open(dir.path());
        assert!(check_row(&backend, &next).await.unwrap());
        let there = stored.iter().filter(|(_, end)| *end <= len as u64).count();
        assert_eq!(scan_all(&backend).await.len(), there + 1, "at {len}");
    }
}

#[tokio::test]
async fn zeros_at_the_end_are_a_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path(), 5).await;
    let file = items_file(dir.path());
    for zeros in [1, 10, 100, 10_000] {
        let mut bytes = fs::read(&file).unwrap();
        bytes.resize(bytes.len() + zeros, 0);
        fs::write(&file, &bytes).unwrap();
        let backend = open(dir.path());
        let next = put(key(zeros as u64 + 1000), 5, "next", vec![]);
        do_put(&backend, next.clone()).await;
        assert!(check_row(&open(dir.path()), &next).await.unwrap());
        assert!(check_row(&open(dir.path()), &stored[0].0).await.unwrap());
    }
}

/// Whatever bit changes, no answer is wrong: it is what was stored, or an error that
/// tells the place.
async fn flip_every_byte(dir: &Path, file: &Path, stored: &[(PutItem, u64)], step: usize) {
    let whole = fs::read(file).unwrap();
    let mut told = 0;
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(file, &bytes).unwrap();
        let backend = open(dir);
        let mut errors = Vec::new();
        for (put, _) in stored {
            match check_row(&backend, put).await {
                Ok(there) => assert!(there, "{} is lost, byte {at}", put.row.key),
                Err(error) => errors.push(error),
            }
        }
        let (rows, scanned) = scan(&backend, ScanItems::default()).await;
        assert!(
            rows.len() >= stored.len() || !scanned.is_empty(),
            "byte {at}"
        );
        errors.extend(scanned);
        told += usize::from(!errors.is_empty());
        for error in &errors {
            let kind = error.kind();
            let is_told = kind == ErrorKind::Corrupt || kind == ErrorKind::Unsupported;
            assert!(is_told, "byte {at}: {error}");
        }
        let place = errors
            .iter()
            .all(|error| error.message().contains("offset"));
        assert!(place || at < 200, "byte {at}: {errors:?}");
    }
    // Padding of no use there is none, but nodes of nothing asked for.
    assert!(told * 10 >= whole.len().div_ceil(step) * 9, "{told}");
    fs::write(file, &whole).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_a_tail_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path(), 8).await;
    flip_every_byte(dir.path(), &items_file(dir.path()), &stored, 1).await;
}

#[tokio::test]
async fn a_flipped_bit_in_a_sorted_part_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path(), 200).await;
    compact(dir.path()).await;
    flip_every_byte(dir.path(), &items_file(dir.path()), &stored, 97).await;
}

#[tokio::test]
async fn a_flipped_bit_in_packs_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path(), 8).await;
    let packs = files(dir.path(), ".packs").remove(0);
    let whole = fs::read(&packs).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&packs, &bytes).unwrap();
        let backend = open(dir.path());
        let mut told = 0;
        for (put, _) in &stored {
            match check_row(&backend, put).await {
                Ok(there) => assert!(there),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    assert!(error.message().contains("offset"), "{error}");
                    told += 1;
                }
            }
        }
        assert_eq!(told, 1, "byte {at}");
    }
}

#[tokio::test]
async fn behind_damage_in_a_tail_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path(), 8).await;
    let file = items_file(dir.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[stored[3].1 as usize + 20] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let backend = open(dir.path());
    // Behind the damage all is sure, ...
    for (put, _) in &stored[5..] {
        assert!(check_row(&backend, put).await.unwrap());
    }
    let mut again = stored[6].0.clone();
    again.row.version = chunkpoint_core::backend::PackId(unique());
    again.row.packs = vec![];
    again.chunks = vec![];
    again.row.body = Bytes::from_static(b"again");
    do_put(&backend, again.clone()).await;
    again.row.created_ms = stored[6].0.row.created_ms;
    assert!(check_row(&open(dir.path()), &again).await.unwrap());
    // ... and of what comes before it nothing is: it may have been changed there.
    for n in [0, 4, 4000] {
        let error = row(&backend, &key(n)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let put = put(key(n), 5, "x", vec![]);
        let error = change(&backend, ItemChange::Put(Box::new(put))).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    // Another namespace has nothing to do with it.
    let other = put(item(&["users"], "x"), 5, "x", vec![]);
    do_put(&backend, other.clone()).await;
    assert!(check_row(&backend, &other).await.unwrap());
    let query = ScanItems {
        prefix: namespace(&["users"]),
        ..ScanItems::default()
    };
    let (rows, errors) = scan(&backend, query).await;
    assert_eq!((rows.len(), errors.len()), (1, 1), "{errors:?}");
    sweep_all(&backend, 10_000, 100).await;
}

#[tokio::test]
async fn a_damaged_catalog_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let names = dir.path().join("s/names.items");
    let keys: Vec<ItemKey> = ["a", "b", "ü"]
        .iter()
        .map(|label| item(&[label, "x"], "k"))
        .collect();
    let backend = open(dir.path());
    for key in &keys {
        do_put(&backend, put(key.clone(), 0, "x", vec![])).await;
    }
    drop(backend);
    let whole = fs::read(&names).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&names, &bytes).unwrap();
        let backend = open(dir.path());
        match at % 3 {
            0 => assert_eq!(scan_all(&backend).await.len(), 3, "byte {at}"),
            1 => {
                let delete = ItemChange::Delete {
                    key: keys[1].clone(),
                    write_id: chunkpoint_core::backend::PackId(unique()),
                    expect: Expect::Any,
                    now_ms: 5,
                };
                // A format that seems to be newer is for a newer version to judge.
                if !(8..10).contains(&at) {
                    change(&backend, delete).await.unwrap();
                    do_put(&backend, put(keys[1].clone(), 0, "x", vec![])).await;
                }
            }
            _ => {
                sweep_all(&backend, 10, 1).await;
            }
        }
    }
    fs::write(&names, &whole).unwrap();
    assert_eq!(scan_all(&open(dir.path())).await.len(), 3);
}
