//! What the methods of the long-term store cost at 1,000 and at 100,000 items, counted.
//!
//! `CHUNKPOINT_ITEMS=1000000 cargo test -p chunkpoint-fs --test store_cost -- --nocapture`
//! looks at a million in place of 100,000.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;
use std::time::Instant;

use chunkpoint_core::store_backend::*;
use chunkpoint_fs::{FsBackend, IoStats};
use futures::StreamExt;
use support::items::*;
use support::*;

fn key(labels: &[&str], n: u64) -> ItemKey {
    item(
        labels,
        &format!("item-{:08}", n.wrapping_mul(2_654_435_761) % 100_000_000),
    )
}

/// Puts items of 400 bytes into one namespace, 100 a call; each has an expiry.
async fn fill(dir: &Path, labels: &[&str], count: u64) {
    let backend = open(dir);
    let mut rng = Rng(count);
    for first in (0..count).step_by(100) {
        let changes = (first..(first + 100).min(count)).map(|n| {
            let mut put = put(key(labels, n), n, rng.bytes(400), vec![]);
            put.row.expires_ms = Some(1_000_000 + n);
            ItemChange::Put(Box::new(put))
        });
        for done in backend.change_items(changes.collect()).await.unwrap() {
            done.unwrap();
        }
    }
    println!("\n{count} items: {:?}", backend.io_stats());
    // A compaction may be under way, and due again once it is done.
    for n in 0..3 {
        while std::fs::read_dir(dir.join("trash")).unwrap().count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        do_put(&backend, put(key(labels, 0), n, vec![1; 400], vec![])).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn cost<T>(
    what: &str,
    backend: &FsBackend,
    work: impl AsyncFnOnce(&FsBackend) -> T,
) -> (T, IoStats) {
    let (before, start) = (backend.io_stats(), Instant::now());
    let out = work(backend).await;
    let (after, took) = (backend.io_stats(), start.elapsed());
    let mut io = after;
    io.reads -= before.reads;
    io.bytes_read -= before.bytes_read;
    io.writes -= before.writes;
    io.bytes_written -= before.bytes_written;
    io.syncs -= before.syncs;
    println!("{what}: {took:?} {io:?}");
    (out, io)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_do_not_grow_with_the_number_of_items() {
    let dir = tempfile::tempdir().unwrap();
    let many = std::env::var("CHUNKPOINT_ITEMS").map_or(100_000, |n| n.parse().unwrap());
    for (labels, count) in [(&["few"][..], 1000), (&["many"][..], many)] {
        let start = Instant::now();
        fill(dir.path(), labels, count).await;
        println!("put in {:?}", start.elapsed());
        let backend = open(dir.path());
        let (found, io) = cost("get, cold", &backend, async |backend| {
            row(backend, &key(labels, 5)).await.unwrap()
        })
        .await;
        assert!(found.is_some());
        assert!(io.bytes_read < 20 << 20 && io.reads < 300, "{io:?}");
        let (_, io) = cost("100 gets", &backend, async |backend| {
            for n in 0..100 {
                let key = key(labels, n * 7 % count);
                assert!(row(backend, &key).await.unwrap().is_some());
            }
        })
        .await;
        assert!(io.reads <= 300 && io.bytes_read < 100 * 16 * 1024, "{io:?}");
        let (_, io) = cost("100 puts", &backend, async |backend| {
            for n in 0..100 {
                do_put(
                    backend,
                    put(key(labels, n * 7 % count), n, vec![1; 400], vec![]),
                )
                .await;
            }
        })
        .await;
        assert!(count < 10_000 || io.bytes_written < 100 * 1024, "{io:?}");
        let query = ScanItems {
            prefix: namespace(labels),
            after: Some(key(labels, count / 2)),
            likely: Some(10),
            ..ScanItems::default()
        };
        let (_, io) = cost("scan of 10", &backend, async |backend| {
            let stream = backend.scan(query.clone()).await.unwrap();
            assert_eq!(stream.take(10).count().await, 10);
        })
        .await;
        assert!(io.bytes_read < 256 * 1024, "{io:?}");
        let query = ScanItems {
            prefix: namespace(labels),
            ..ScanItems::default()
        };
        let (rows, _) = cost("scan of all", &backend, async |backend| {
            scan(backend, query.clone()).await.0
        })
        .await;
        assert_eq!(rows.len() as u64, count);
        let sweep = SweepItems {
            before_ms: 999_999,
            limit: 100,
        };
        let (_, io) = cost("sweep, nothing due", &backend, async |backend| {
            assert_eq!(backend.sweep(sweep).await.unwrap().expired, 0);
        })
        .await;
        assert!(io.reads < 10, "{io:?}");
        let sweep = SweepItems {
            before_ms: 1_000_000 + 5_000,
            limit: 100,
        };
        let (swept, _) = cost("sweep of 100", &backend, async |backend| {
            backend.sweep(sweep).await.unwrap()
        })
        .await;
        assert_eq!((swept.expired, swept.more), (100, true));
        let size: u64 = files(dir.path(), ".items")
            .iter()
            .map(|file| std::fs::metadata(file).unwrap().len())
            .sum();
        println!("{size} bytes in all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_reads_no_other_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    for n in 0..3000 {
        let name = format!("user {n}");
        let put = put(item(&["users", &name], "k"), n, vec![1; 400], vec![]);
        do_put(&backend, put).await;
    }
    let backend = open(dir.path());
    let query = ScanItems {
        prefix: namespace(&["users", "user 777"]),
        ..ScanItems::default()
    };
    let ((rows, _), io) = cost("a namespace among 3,000, cold", &backend, async |backend| {
        scan(backend, query.clone()).await
    })
    .await;
    assert_eq!(rows.len(), 1);
    assert!(io.reads < 12 && io.bytes_read < 300 * 1024, "{io:?}");
    let listing = ListNamespaces {
        prefix: namespace(&["users"]),
        ..ListNamespaces::default()
    };
    let (count, _) = cost("list of 3,000 namespaces", &backend, async |backend| {
        backend
            .namespaces(listing.clone())
            .await
            .unwrap()
            .count()
            .await
    })
    .await;
    assert_eq!(count, 3000);
}

/// One write and one sync a change, and one of each more for chunks; all that come at
/// the same time share them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_takes_one_write_and_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FsBackend::open(dir.path()).unwrap();
    let key = |n: u64| item(&["a"], &n.to_string());
    do_put(&backend, put(key(0), 0, "x", vec![])).await;
    let (_, io) = cost("a put", &backend, async |backend| {
        do_put(backend, put(key(1), 0, "x", vec![])).await;
    })
    .await;
    assert_eq!((io.reads, io.writes, io.syncs), (0, 1, 1));
    do_put(&backend, put(key(2), 0, "x", vec!["chunk".into()])).await;
    let (_, io) = cost("a put with chunks", &backend, async |backend| {
        do_put(backend, put(key(3), 0, "x", vec!["chunk".into()])).await;
    })
    .await;
    assert_eq!((io.reads, io.writes, io.syncs), (0, 2, 2));
    let (_, io) = cost("100 puts at once", &backend, async |backend| {
        let puts = (100..200).map(|n| do_put(backend, put(key(n), 0, "x", vec![])));
        futures::future::join_all(puts).await;
    })
    .await;
    assert!(io.syncs < 50, "{io:?}");
    // Whoever did it may have been killed before its sync; what is refused costs none.
    let again = put(key(1), 0, "x", vec![]);
    let other = FsBackend::open(dir.path()).unwrap();
    do_put(&backend, again.clone()).await;
    do_put(&other, put(key(4), 0, "x", vec![])).await;
    let (_, io) = cost("a repeated put", &other, async |backend| {
        do_put(backend, again.clone()).await;
    })
    .await;
    assert_eq!((io.writes, io.syncs), (0, 1));
    let (_, io) = cost("a refused put", &other, async |backend| {
        let mut refused = put(key(1), 0, "x", vec![]);
        refused.expect = Expect::Absent;
        do_put(backend, refused).await;
    })
    .await;
    assert_eq!((io.writes, io.syncs), (0, 0));
    backend.close_store().await.unwrap();
}
