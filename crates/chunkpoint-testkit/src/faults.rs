//! Chains of commits while something is done to the server: nothing acknowledged is lost,
//! nothing is there by half, and errors tell the truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkpoint_core::backend::{
    Base, CheckpointBackend, ChunkName, Commit, Committed, Detail, Incarnation, PackId, Pick,
    RecordIndex, RecordKey, RecordRef,
};
use chunkpoint_core::{Error, Result};

/// Commits of each of the tasks below.
const STEPS: usize = 50;

const TASKS: usize = 4;

/// A commit to the thread of a task, on what the task committed before.
pub fn commit(task: usize, step: usize, parent: Option<(&Commit, Committed)>) -> Commit {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let unique = || {
        NEXT.fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let pack = PackId(unique().to_be_bytes());
    let base = match parent {
        None => Base::Root {
            fresh: Incarnation(unique().to_be_bytes()),
        },
        Some((parent, committed)) => Base::Borrow {
            incarnation: committed.incarnation,
            from: vec![RecordRef {
                key: parent.key.clone(),
                pack: parent.pack,
            }],
        },
    };
    // Every tenth has chunks in rows of their own.
    let len = if step % 10 == 9 { 20_000 } else { 300 };
    Commit {
        thread: format!("thread {task}").into(),
        key: RecordKey {
            namespace: "".into(),
            id: format!("{step:04}").into(),
        },
        pack,
        base,
        expect_latest: None,
        index: RecordIndex {
            time_ms: 1,
            ..RecordIndex::default()
        },
        body: Bytes::from(format!("body of {pack}")),
        chunks: vec![vec![task as u8; len].into(), vec![step as u8; len].into()],
        metadata: Arc::default(),
    }
}

/// Commits that were tried, and what was answered.
type Tried = Vec<(Commit, Result<Committed, Error>)>;

/// A chain of commits; one that fails is tried anew as another one, until it succeeds.
async fn chain(backend: Arc<dyn CheckpointBackend>, task: usize, done: Arc<AtomicU64>) -> Tried {
    let mut tried: Tried = Vec::new();
    let mut last: Option<(Commit, Committed)> = None;
    for step in 0..STEPS {
        loop {
            let parent = last
                .as_ref()
                .map(|(commit, committed)| (commit, *committed));
            let next = commit(task, step, parent);
            let result = backend.commit(next.clone()).await;
            tried.push((next.clone(), result));
            match &tried[tried.len() - 1].1 {
                Ok(committed) => {
                    last = Some((next, *committed));
                    break;
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
    tried
}

/// Reads, again where a connection is found to be lost: what was done to it may come late.
async fn patiently<T>(read: impl AsyncFn() -> Result<T, Error>) -> T {
    let mut tries = 0;
    loop {
        match read().await {
            Ok(read) => return read,
            Err(error) => assert!(error.is_retryable() && tries < 100, "{error:?}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Compares what was answered with what is there.
async fn check(backend: &dyn CheckpointBackend, tried: &Tried) {
    let (mut unknown, mut refused) = (0, 0);
    for (commit, result) in tried {
        let incarnation = patiently(async || backend.incarnation(&commit.thread).await)
            .await
            .unwrap();
        let names: Vec<_> = (0..2)
            .map(|ordinal| ChunkName {
                pack: commit.pack,
                ordinal,
                locator: 0,
                len: 0,
            })
            .collect();
        let chunks =
            patiently(async || backend.chunks(&commit.thread, incarnation, &names).await).await;
        let there = chunks.iter().all(Option::is_some);
        assert!(
            there || chunks.iter().all(Option::is_none),
            "a commit is there by half"
        );
        if there {
            let expected: Vec<_> = commit.chunks.iter().cloned().map(Some).collect();
            assert!(chunks == expected);
        }
        let picks = [Pick::At(commit.key.clone())];
        let rows =
            patiently(async || backend.get(&commit.thread, &picks, Detail::Bodies).await).await;
        match (result, &rows[0]) {
            (Ok(_), Some(row)) => {
                assert!(there, "an acknowledged commit is lost");
                assert_eq!(row.body, commit.body);
            }
            (Ok(_), None) => panic!("an acknowledged commit is lost"),
            (Err(error), _) if error.is_certainly_not_applied() => {
                refused += 1;
                assert!(!there, "a commit that was not applied is there: {error}");
            }
            (Err(_), _) => unknown += 1,
        }
    }
    println!(
        "{} tried, {refused} not applied, {unknown} unknown",
        tried.len()
    );
}

/// Runs 200 commits in four chains, with something done to the server meanwhile, which is told
/// how many are done.
pub async fn through(backend: Arc<dyn CheckpointBackend>, fault: impl AsyncFnOnce(&AtomicU64)) {
    let done = Arc::new(AtomicU64::new(0));
    let chains = (0..TASKS).map(|task| tokio::spawn(chain(backend.clone(), task, done.clone())));
    let chains: Vec<_> = chains.collect();
    fault(&done).await;
    let mut tried = Vec::new();
    for chain in chains {
        tried.extend(chain.await.unwrap());
    }
    assert!(
        tried.iter().any(|(_, result)| result.is_err()),
        "nothing went wrong"
    );
    check(&*backend, &tried).await;
}

/// Waits until so many are done.
pub async fn until(done: &AtomicU64, count: u64) {
    while done.load(Ordering::SeqCst) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
