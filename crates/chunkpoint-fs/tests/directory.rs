//! Directories that are not ours, not writable or full, and ids that are no
//! file names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;

use bytes::Bytes;
use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::*;
use chunkpoint_fs::FsBackend;
use chunkpoint_testkit::mounted::Mounted;
use support::*;

fn listing_all() -> ListThreads {
    ListThreads {
        limit: 100,
        ..ListThreads::default()
    }
}

#[test]
fn a_directory_of_another_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error = FsBackend::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.message().contains("belongs to another program"),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was added"
    );
}

#[test]
fn the_root_of_an_empty_filesystem_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    FsBackend::open(dir.path()).unwrap();
}

#[test]
fn a_newer_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let marker = dir.path().join("CHUNKPOINT");
    fs::write(&marker, r#"{"format":2,"program":"chunkpoint-fs"}"#).unwrap();
    let error = FsBackend::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("upgrade"), "{error}");
    fs::write(&marker, "nonsense").unwrap();
    assert_eq!(
        FsBackend::open(dir.path()).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[tokio::test]
async fn a_newer_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    backend
        .commit(root("t", "1", "body", vec![]))
        .await
        .unwrap();
    let log = log_of(dir.path());
    let mut bytes = fs::read(&log).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..41]);
    bytes[41..45].copy_from_slice(&crc.to_le_bytes());
    fs::write(&log, &bytes).unwrap();
    let error = latest(&open(dir.path()), "t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("upgrade"), "{error}");
}

#[test]
fn what_a_filesystem_cannot_give_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let builder = FsBackend::builder(dir.path());
    let error = builder
        .clone()
        .durability(Durability::Replicated)
        .open()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        builder.open_files(0).open().unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let backend = open(dir.path());
    assert_eq!(
        backend.to_string(),
        format!("file://{}", dir.path().display())
    );
}

#[tokio::test]
async fn ids_are_no_paths() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(10_000);
    let ids = [
        "../x",
        "a:b|c/d#e",
        "/etc/passwd",
        ".",
        "CON",
        "a\\b",
        "\u{202e}é",
        &long,
    ];
    let backend = FsBackend::open(dir.path().join("inside")).unwrap();
    for id in ids {
        let mut commit = root(
            id,
            &id[..id.len().min(255)],
            "body",
            vec![Bytes::from("chunk")],
        );
        commit.key.namespace = id.into();
        commit.index.parent = Some(id.into());
        commit.index.run_id = Some(id.into());
        backend.commit(commit).await.unwrap();
    }
    backend.close().await.unwrap();
    let backend = open(&dir.path().join("inside"));
    for id in ids {
        let (rows, _) = rows(&backend, listing(id)).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].index.parent.as_deref(), Some(id));
        assert_eq!(&*rows[0].record.key.namespace, id);
    }
    let mut threads = ids.map(String::from);
    threads.sort();
    assert_eq!(
        backend.threads(listing_all()).await.unwrap(),
        threads.map(Into::into)
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing escaped"
    );
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new("a_full_disk_stores_nothing_and_says_so", dir.path(), "256k")
    else {
        return;
    };
    let backend = open(disk.path());
    let room = tempfile::NamedTempFile::new_in(disk.path().join("locks")).unwrap();
    fs::write(room.path(), vec![1; 32 * 1024]).unwrap();
    let mut rng = Rng(11);
    let mut stored = Vec::new();
    let error = loop {
        let commit = root("t", &uuid(stored.len() as u64), "", vec![rng.bytes(9_000)]);
        match backend.commit(commit.clone()).await {
            Ok(committed) => stored.push((commit, committed)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("disk full"), "{error}");
    assert!(error.is_certainly_not_applied());
    // A new thread finds no room either, and leaves nothing behind.
    let other = backend
        .commit(root("other", "1", "", vec![rng.bytes(9_000)]))
        .await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fs::read_dir(disk.path().join("trash")).unwrap().count(), 0);
    drop(room);
    for backend in [backend, open(disk.path())] {
        assert_eq!(ids(&backend, "t").await.len(), stored.len());
        for (commit, committed) in &stored {
            let names = names(commit, committed.locator);
            let chunks = backend
                .chunks("t", committed.incarnation, &names)
                .await
                .unwrap();
            assert_eq!(chunks, [Some(commit.chunks[0].clone())]);
        }
        // Once there is room again, writing goes on: what failed was cut off.
        let small = root("t", &uuid(1000 + stored.len() as u64), "s", vec![]);
        backend.commit(small).await.unwrap();
        let last = latest(&backend, "t").await.unwrap().unwrap();
        let alter = Alter {
            thread: "t".into(),
            incarnation: last.incarnation,
            time_ms: 0,
            changes: vec![(last.record, Change::Remove)],
        };
        assert_eq!(backend.alter(alter).await.unwrap(), [Altered::Done]);
    }
}

#[tokio::test]
async fn a_read_only_directory_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new("a_read_only_directory_can_be_read", dir.path(), "256k") else {
        return;
    };
    open(disk.path())
        .commit(root("t", "1", "body", vec![]))
        .await
        .unwrap();
    disk.writable(false);
    let backend = open(disk.path());
    assert_eq!(ids(&backend, "t").await, ["1"]);
    assert_eq!(backend.threads(listing_all()).await.unwrap(), ["t".into()]);
    let error = backend
        .commit(root("t", "2", "body", vec![]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_certainly_not_applied() && !error.is_retryable());
    let error = backend
        .commit(root("new", "2", "body", vec![]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_closed_backend_refuses_everything_and_what_it_had_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FsBackend::builder(dir.path())
        .durability(Durability::Buffered)
        .open()
        .unwrap();
    let committed = backend
        .commit(root("t", "1", "body", vec![]))
        .await
        .unwrap();
    assert_eq!(backend.io_stats().syncs, 0);
    backend.close().await.unwrap();
    assert!(backend.io_stats().syncs > 0, "closing makes it durable");
    let error = backend
        .commit(root("t", "2", "body", vec![]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_certainly_not_applied());
    assert_eq!(
        latest(&backend, "t").await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let deleted = backend.delete_thread("t", committed.incarnation).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(ids(&open(dir.path()), "t").await, ["1"]);
}

/// Short-lived threads leave nothing that listing has to read for ever.
#[tokio::test]
async fn the_catalog_does_not_grow_with_threads_that_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    for n in 0..300 {
        let thread = format!("t{n:03}");
        let committed = backend.commit(root(&thread, "1", "", vec![])).await;
        if n % 10 != 0 {
            let incarnation = committed.unwrap().incarnation;
            backend.delete_thread(&thread, incarnation).await.unwrap();
        }
    }
    let catalog = dir.path().join("threads.log");
    assert_eq!(fs::metadata(&catalog).unwrap().len(), 300 * 12);
    for _ in 0..2 {
        let listed = backend.threads(listing_all()).await.unwrap();
        assert_eq!(listed.len(), 30);
        assert_eq!(fs::metadata(&catalog).unwrap().len(), 30 * 12);
    }
    backend.commit(root("t001", "1", "", vec![])).await.unwrap();
    assert_eq!(backend.threads(listing_all()).await.unwrap().len(), 31);
}

/// Many more threads than files may be open.
#[tokio::test]
async fn few_files_are_kept_open() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FsBackend::builder(dir.path())
        .durability(Durability::Process)
        .open_files(8)
        .open()
        .unwrap();
    for n in 0..300 {
        backend
            .commit(root(&format!("t{n}"), "1", "body", vec![]))
            .await
            .unwrap();
    }
    let links = fs::read_dir("/proc/self/fd");
    if let Ok(links) = links {
        let open = links
            .flatten()
            .filter_map(|link| fs::read_link(link.path()).ok())
            .filter(|path| path.starts_with(dir.path().join("t")))
            .count();
        assert!(open <= 8, "{open}");
    }
    for n in 0..300 {
        assert_eq!(ids(&backend, &format!("t{n}")).await, ["1"]);
    }
    let sum = backend.bytes_at_rest().unwrap();
    assert!(sum > 300 * 50, "{sum}");
}
