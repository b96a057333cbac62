//! The decorators, on the in-memory backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{
    Base, CheckpointBackend, Commit, Detail, Incarnation, ListRecords, PackId, Pick, RecordIndex,
    RecordKey,
};
use chunkpoint_core::layers::{
    Fault, Faults, Layer, Layered, Method, Metrics, Retry, RetryPolicy, Rule, Timeout,
};
use chunkpoint_core::memory::MemoryBackend;
use futures::StreamExt;

fn layered(inner: Arc<dyn CheckpointBackend>, layer: impl Layer) -> Arc<dyn CheckpointBackend> {
    Arc::new(Layered::new(inner, layer))
}

fn faulty(faults: &Faults) -> Arc<dyn CheckpointBackend> {
    layered(Arc::new(MemoryBackend::new()), faults.clone())
}

fn commit(n: u8) -> Commit {
    Commit {
        thread: "t".into(),
        key: key(n),
        pack: PackId([n; 8]),
        base: Base::Root {
            fresh: Incarnation([n; 8]),
        },
        expect_latest: None,
        index: RecordIndex::default(),
        body: Bytes::from_static(b"body"),
        chunks: vec![Bytes::from_static(b"chunk"), Bytes::from_static(b"another")],
        metadata: Arc::default(),
    }
}

fn key(n: u8) -> RecordKey {
    RecordKey {
        namespace: "".into(),
        id: n.to_string().into(),
    }
}

fn everything() -> ListRecords {
    ListRecords {
        thread: "t".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Bodies,
    }
}

async fn is_there(backend: &Arc<dyn CheckpointBackend>, n: u8) -> bool {
    let picks = [Pick::At(key(n))];
    let rows = backend.get("t", &picks, Detail::Keys).await.unwrap();
    rows[0].is_some()
}

fn patient() -> Retry {
    Retry::new(RetryPolicy::default(), 7)
}

#[tokio::test(start_paused = true)]
async fn retry_tries_again_until_it_works() {
    let faults = Faults::new(1).rule(Rule::new(Fault::Before(ErrorKind::Unavailable)).first(3));
    let backend = layered(faulty(&faults), patient());
    backend.commit(commit(1)).await.unwrap();
    assert_eq!(faults.struck(), 3);
    assert!(is_there(&backend, 1).await);
}

#[tokio::test(start_paused = true)]
async fn retry_gives_up_and_says_so() {
    let faults = Faults::new(1).rule(Rule::new(Fault::Before(ErrorKind::Unavailable)));
    let backend = layered(faulty(&faults), patient());
    let error = backend.commit(commit(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.is_retryable());
    assert!(error.is_certainly_not_applied());
    assert!(error.message().starts_with("tried 5 times in "), "{error}");
    assert_eq!(error.operation_name(), "commit");
    assert_eq!(faults.struck(), 5);
}

#[tokio::test(start_paused = true)]
async fn retry_ends_with_its_time() {
    let policy = RetryPolicy {
        attempts: 1_000,
        total: Duration::from_secs(2),
        ..RetryPolicy::default()
    };
    let faults = Faults::new(1).rule(Rule::new(Fault::Before(ErrorKind::Unavailable)));
    let backend = layered(faulty(&faults), Retry::new(policy, 7));
    let start = tokio::time::Instant::now();
    backend.incarnation("t").await.unwrap_err();
    assert!(start.elapsed() <= Duration::from_secs(2));
    assert!(faults.struck() > 3);
}

#[tokio::test(start_paused = true)]
async fn retry_leaves_final_errors_alone() {
    let faults = Faults::new(1).rule(Rule::new(Fault::Before(ErrorKind::Corrupt)));
    let backend = layered(faulty(&faults), patient());
    let error = backend.incarnation("t").await.unwrap_err();
    assert_eq!((error.kind(), faults.struck()), (ErrorKind::Corrupt, 1));
}

#[tokio::test(start_paused = true)]
async fn retry_repeats_what_was_applied_without_applying_it_twice() {
    let faults = Faults::new(1).rule(Rule::new(Fault::After).on(&[Method::Commit]).nth(1));
    let backend = layered(faulty(&faults), patient());
    backend.commit(commit(1)).await.unwrap();
    let rows = backend.list(everything()).await.unwrap();
    assert_eq!(rows.count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn doubt_about_one_attempt_is_doubt_about_all() {
    let faults = Faults::new(1)
        .rule(Rule::new(Fault::After).nth(1))
        .rule(Rule::new(Fault::Before(ErrorKind::Conflict)).nth(2));
    let backend = layered(faulty(&faults), patient());
    let error = backend.commit(commit(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!error.is_certainly_not_applied());
}

#[tokio::test(start_paused = true)]
async fn timeout_says_whether_it_may_have_happened() {
    let slow = Faults::new(1).rule(Rule::new(Fault::Delay(Duration::from_secs(9))));
    let backend = layered(faulty(&slow), Timeout::new(Duration::from_secs(1)));
    let write = backend.commit(commit(1)).await.unwrap_err();
    let read = backend.incarnation("t").await.unwrap_err();
    for error in [&write, &read] {
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_retryable());
    }
    assert!(!write.is_certainly_not_applied());
    assert!(read.is_certainly_not_applied());
}

#[tokio::test(start_paused = true)]
async fn retry_outside_timeout_ends_a_hang() {
    let slow = Faults::new(1).rule(Rule::new(Fault::Delay(Duration::from_secs(3_600))).first(2));
    let timed = layered(faulty(&slow), Timeout::new(Duration::from_secs(1)));
    let backend = layered(timed, patient());
    backend.commit(commit(1)).await.unwrap();
    assert!(is_there(&backend, 1).await);
}

#[tokio::test]
async fn metrics_count_calls_errors_and_bytes() {
    let faults = Faults::new(1).rule(Rule::new(Fault::After).on(&[Method::Chunks]));
    let metrics = Metrics::new();
    let backend = layered(faulty(&faults), metrics.clone());
    backend.commit(commit(1)).await.unwrap();
    backend.commit(commit(2)).await.unwrap();
    is_there(&backend, 1).await;
    let rows = backend.list(everything()).await.unwrap();
    assert_eq!(rows.count().await, 2);
    let life = Incarnation([1; 8]);
    backend.chunks("t", life, &[]).await.unwrap_err();
    drop(backend.incarnation("t"));

    let snapshot = metrics.snapshot();
    let commits = snapshot.method(Method::Commit);
    assert_eq!(
        (commits.calls, commits.errors, commits.bytes_sent),
        (2, 0, 32)
    );
    assert_eq!(snapshot.method(Method::Get).bytes_received, 0);
    assert_eq!(snapshot.method(Method::List).bytes_received, 8);
    assert_eq!(snapshot.method(Method::Chunks).errors, 1);
    let total = snapshot.total();
    assert_eq!((total.calls, total.errors, total.cancelled), (5, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn metrics_count_what_was_dropped() {
    let slow = Faults::new(1).rule(Rule::new(Fault::Delay(Duration::from_secs(9))));
    let metrics = Metrics::new();
    let counted = layered(faulty(&slow), metrics.clone());
    let backend = layered(counted, Timeout::new(Duration::from_secs(1)));
    backend.incarnation("t").await.unwrap_err();
    let counted = metrics.snapshot().method(Method::Incarnation);
    assert_eq!(
        (counted.calls, counted.errors, counted.cancelled),
        (1, 0, 1)
    );
}

#[tokio::test]
async fn faults_after_the_call_leave_it_applied() {
    let faults = Faults::new(1).rule(Rule::new(Fault::After).on(&[Method::Commit]));
    let backend = faulty(&faults);
    let error = backend.commit(commit(1)).await.unwrap_err();
    assert!(!error.is_certainly_not_applied());
    assert!(is_there(&backend, 1).await);
}

#[tokio::test]
async fn faults_can_drop_a_call_half_way() {
    let inner = Faults::new(1).rule(Rule::new(Fault::Delay(Duration::from_millis(1))));
    let cancel = Faults::new(1).rule(Rule::new(Fault::Cancel { polls: 1 }).on(&[Method::Commit]));
    let backend = layered(faulty(&inner), cancel.clone());
    let error = backend.commit(commit(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!is_there(&backend, 1).await);
    cancel.clear();
    backend.commit(commit(1)).await.unwrap();
    assert!(is_there(&backend, 1).await);
}

#[tokio::test]
async fn faults_can_break_a_listing() {
    let faults = Faults::new(1);
    let backend = faulty(&faults);
    for n in 1..=3 {
        backend.commit(commit(n)).await.unwrap();
    }
    faults.add(Rule::new(Fault::BreakList { rows: 2 }).nth(1));
    let rows: Vec<_> = backend.list(everything()).await.unwrap().collect().await;
    assert_eq!(
        rows.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(backend.list(everything()).await.unwrap().count().await, 3);
}

#[tokio::test]
async fn faults_follow_their_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let rule = Rule::new(Fault::Before(ErrorKind::Unavailable)).probability(0.5);
        let faults = Faults::new(seed).rule(rule);
        let backend = faulty(&faults);
        let mut run = Vec::new();
        for _ in 0..64 {
            run.push(backend.incarnation("t").await.is_ok());
        }
        faults.arm(false);
        assert!(backend.incarnation("t").await.is_ok());
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
