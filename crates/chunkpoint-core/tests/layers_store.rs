//! The decorators around the long-term store, on the in-memory backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::backend::{Capabilities, CheckpointBackend, ChunkName, PackId};
use chunkpoint_core::layers::{
    Fault, Faults, Layer, Layered, LayeredStore, Method, Metrics, Retry, RetryPolicy, Rule, Timeout,
};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::store::{StoreOp, item_key};
use chunkpoint_core::store_backend::*;
use chunkpoint_core::{Error, ErrorKind, Memory, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

fn memory() -> Arc<dyn StoreBackend> {
    Arc::new(MemoryBackend::new())
}

fn layered(inner: Arc<dyn StoreBackend>, layer: impl Layer) -> Arc<dyn StoreBackend> {
    Arc::new(LayeredStore::new(inner, layer))
}

fn patient() -> Retry {
    Retry::new(RetryPolicy::default(), 7)
}

fn key(name: &str) -> ItemKey {
    item_key(&["n"], name).unwrap()
}

fn put(name: &str, n: u8, expect: Expect) -> ItemChange {
    ItemChange::Put(Box::new(PutItem {
        row: ItemRow {
            key: key(name),
            version: PackId([n; 8]),
            created_ms: 1,
            updated_ms: 1,
            ttl_ms: None,
            expires_ms: None,
            packs: vec![PackId([n; 8])],
            body: Bytes::from_static(b"body"),
        },
        expect,
        chunks: vec![Bytes::from_static(b"chunk")],
        value: None,
    }))
}

async fn version(backend: &Arc<dyn StoreBackend>, name: &str) -> Option<PackId> {
    let rows = backend.items(&[key(name)]).await.unwrap();
    rows[0].as_ref().map(|row| row.version)
}

#[tokio::test(start_paused = true)]
async fn retry_repeats_a_change_without_making_it_twice() {
    let faults = Faults::new(1).rule(Rule::new(Fault::After).on(&[Method::ChangeItems]).nth(1));
    let backend = layered(layered(memory(), faults.clone()), patient());
    let done = backend
        .change_items(vec![put("a", 1, Expect::Absent)])
        .await
        .unwrap();
    assert!(matches!(done[0], Ok(Changed::Done { .. })), "{done:?}");
    assert_eq!(faults.struck(), 1);
}

#[tokio::test(start_paused = true)]
async fn timeout_bounds_the_store_and_its_listings() {
    let slow = Faults::new(1).rule(Rule::new(Fault::Delay(Duration::from_secs(9))));
    let backend = layered(
        layered(memory(), slow),
        Timeout::new(Duration::from_secs(1)),
    );
    let changed = backend.change_items(vec![put("a", 1, Expect::Any)]).await;
    let changed = changed.unwrap_err();
    let read = backend.items(&[key("a")]).await.unwrap_err();
    for error in [&changed, &read] {
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
    assert!(!changed.is_certainly_not_applied());
    assert!(read.is_certainly_not_applied());
    let Err(scan) = backend.scan(ScanItems::default()).await else {
        panic!("the scan opened in time");
    };
    assert_eq!(
        (scan.kind(), scan.operation_name()),
        (ErrorKind::Timeout, "scan")
    );
}

#[tokio::test]
async fn the_store_of_a_layered_memory_is_counted() {
    let metrics = Metrics::new();
    let backend = Layered::new(Arc::new(MemoryBackend::new()), metrics.clone());
    let store = Memory::new(backend).unwrap().store().unwrap();
    store.put(&["n"], "a", json!({"x": 1})).await.unwrap();
    store.get(&["n"], "a").await.unwrap().unwrap();
    let found = store.search(chunkpoint_core::store::Search::below(&["n"]).unwrap());
    assert_eq!(found.await.unwrap().len(), 1);

    let snapshot = metrics.snapshot();
    let put = snapshot.method(Method::ChangeItems);
    assert_eq!((put.calls, put.errors), (1, 0));
    assert!(put.bytes_sent > 0);
    for method in [Method::Items, Method::Scan] {
        let read = snapshot.method(method);
        assert_eq!(
            (read.calls, read.bytes_received),
            (1, put.bytes_sent),
            "{method:?}"
        );
    }
    assert_eq!(snapshot.total().calls, 3);
}

#[tokio::test]
async fn a_patch_without_effect_changes_nothing() {
    let metrics = Metrics::new();
    let backend = Layered::new(Arc::new(MemoryBackend::new()), metrics.clone());
    let store = Memory::new(backend).unwrap().store().unwrap();
    let changes = || metrics.snapshot().method(Method::ChangeItems).calls;
    for long in ["short".into(), "long ".repeat(5_000)] {
        let value = json!({"x": 1, "long": long});
        let put = store.put(&["n"], "a", value).await.unwrap();
        let before = changes();
        let patch = json!({"x": 1, "gone": null});
        let patched = store.patch(&["n"], "a", patch).await.unwrap();
        assert_eq!((patched.version, patched.bytes_written), (put.version, 0));
        assert_eq!(patched.created_ms, put.created_ms);
        assert_eq!(changes(), before);
    }
}

#[tokio::test]
async fn faults_can_break_a_scan() {
    let faults = Faults::new(1).rule(
        Rule::new(Fault::BreakList { rows: 1 })
            .on(&[Method::Scan])
            .nth(1),
    );
    let backend = layered(memory(), faults);
    let changes = ["a", "b"].map(|name| put(name, 1, Expect::Any)).to_vec();
    backend.change_items(changes).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let rows = backend.scan(ScanItems::default()).await.unwrap();
        let rows: Vec<_> = rows.map(|row| row.is_ok()).collect().await;
        seen.push(rows);
    }
    assert_eq!(seen, [[true, false], [true, true]]);
}

/// What a test has happen to the changes of a store.
#[async_trait]
trait Changes: fmt::Debug + Send + Sync + 'static {
    async fn change(
        &self,
        inner: &dyn StoreBackend,
        changes: Vec<ItemChange>,
    ) -> Result<Vec<Result<Changed>>>;
}

/// A store in memory whose changes go through `how`.
#[derive(Debug)]
struct Through<C> {
    inner: Arc<dyn StoreBackend>,
    how: C,
}

impl<C> Through<C> {
    fn new(how: C) -> Arc<Self> {
        let inner = memory();
        Arc::new(Self { inner, how })
    }
}

impl<C> fmt::Display for Through<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<C: Changes> StoreBackend for Through<C> {
    fn store_capabilities(&self) -> Capabilities {
        self.inner.store_capabilities()
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        self.inner.items(keys).await
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        self.inner.item_chunks(key, names).await
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        self.how.change(&*self.inner, changes).await
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        self.inner.scan(query).await
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        self.inner.namespaces(query).await
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        self.inner.sweep(sweep).await
    }

    async fn close_store(&self) -> Result<()> {
        self.inner.close_store().await
    }
}

/// Fails single changes of a batch.
#[derive(Debug)]
struct Flaky {
    /// How often a change of the item `flaky` still fails.
    failures: AtomicU32,
    kind: ErrorKind,
    /// The keys of each call.
    asked: Mutex<Vec<Vec<String>>>,
}

impl Flaky {
    fn store(failures: u32, kind: ErrorKind) -> Arc<Through<Self>> {
        Through::new(Self {
            failures: AtomicU32::new(failures),
            kind,
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Changes for Flaky {
    async fn change(
        &self,
        inner: &dyn StoreBackend,
        changes: Vec<ItemChange>,
    ) -> Result<Vec<Result<Changed>>> {
        let keys = changes.iter().map(|change| change.key().key.to_string());
        self.asked.lock().unwrap().push(keys.collect());
        let mut answers = Vec::new();
        for change in changes {
            let left = &self.failures;
            let fails = &*change.key().key == "flaky"
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            answers.push(if fails {
                Err(Error::new(self.kind, "the item is being flaky"))
            } else {
                inner.change_items(vec![change]).await?.remove(0)
            });
        }
        Ok(answers)
    }
}

fn three() -> Vec<ItemChange> {
    ["a", "flaky", "z"]
        .map(|name| put(name, 1, Expect::Absent))
        .to_vec()
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_what_failed_is_tried_again() {
    let flaky = Flaky::store(2, ErrorKind::Unavailable);
    let metrics = Metrics::new();
    let backend = layered(layered(flaky.clone(), metrics.clone()), patient());
    let done = backend.change_items(three()).await.unwrap();
    assert_eq!(done.len(), 3);
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(
        flaky.how.asked(),
        [&["a", "flaky", "z"][..], &["flaky"], &["flaky"]]
    );
    assert_eq!(version(&backend, "flaky").await, Some(PackId([1; 8])));
    let counted = metrics.snapshot().method(Method::ChangeItems);
    assert_eq!((counted.calls, counted.errors), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn what_keeps_failing_says_so_and_the_rest_of_the_batch_stands() {
    let flaky = Flaky::store(u32::MAX, ErrorKind::Unavailable);
    let backend = layered(flaky.clone(), patient());
    let done = backend.change_items(three()).await.unwrap();
    assert!(done[0].is_ok() && done[2].is_ok(), "{done:?}");
    let error = done[1].as_ref().unwrap_err();
    assert!(!error.is_retryable());
    assert!(error.message().starts_with("tried 5 times in "), "{error}");
    assert_eq!(flaky.how.asked().len(), 5);

    let flaky = Flaky::store(1, ErrorKind::TooLarge);
    let backend = layered(flaky.clone(), patient());
    let done = backend.change_items(three()).await.unwrap();
    assert_eq!(done[1].as_ref().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(flaky.how.asked().len(), 1, "it is final");
}

/// The second attempt is lost as a whole: what the first settled is still known.
#[tokio::test(start_paused = true)]
async fn a_lost_attempt_does_not_take_settled_answers_with_it() {
    let flaky = Flaky::store(1, ErrorKind::Unavailable);
    let faults = Faults::new(1).rule(Rule::new(Fault::Before(ErrorKind::Corrupt)).nth(2));
    let backend = layered(layered(flaky, faults), patient());
    let done = backend.change_items(three()).await.unwrap();
    assert!(done[0].is_ok() && done[2].is_ok(), "{done:?}");
    assert_eq!(done[1].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Answers that a layer loses are lost, even those that were given before.
#[tokio::test]
async fn answers_that_were_lost_are_not_given() {
    let faults = Faults::new(1).rule(Rule::new(Fault::After));
    let backend = layered(memory(), faults);
    let error = backend.change_items(three()).await.unwrap_err();
    assert!(!error.is_certainly_not_applied());
}

/// What a scripted store does with a call that changes items.
#[derive(Debug)]
enum Step {
    /// Makes the changes, and loses the answer after so many others wrote to each item.
    Lose { writers: u8 },
    /// Makes none, and answers this.
    Answer(Result<Vec<Result<Changed>>>),
}

/// Has the first calls go by a script.
#[derive(Debug)]
struct Scripted(Mutex<VecDeque<Step>>);

impl Scripted {
    fn retried(steps: impl IntoIterator<Item = Step>) -> Arc<dyn StoreBackend> {
        let steps = steps.into_iter().collect();
        layered(Through::new(Self(Mutex::new(steps))), patient())
    }
}

#[async_trait]
impl Changes for Scripted {
    async fn change(
        &self,
        inner: &dyn StoreBackend,
        changes: Vec<ItemChange>,
    ) -> Result<Vec<Result<Changed>>> {
        let step = self.0.lock().unwrap().pop_front();
        match step {
            None => inner.change_items(changes).await,
            Some(Step::Answer(answer)) => answer,
            Some(Step::Lose { writers }) => {
                inner.change_items(changes.clone()).await?;
                for change in &changes {
                    for n in 0..writers {
                        let other = put(&change.key().key, 100 + n, Expect::Any);
                        inner.change_items(vec![other]).await?.remove(0)?;
                    }
                }
                Err(Error::new(ErrorKind::Timeout, "the answer is lost"))
            }
        }
    }
}

/// Each change fails by itself.
fn fails(kinds: [ErrorKind; 2]) -> Step {
    Step::Answer(Ok(kinds
        .map(|kind| Err(Error::new(kind, "not now")))
        .into()))
}

/// That the repeat meets a conflict does not say that the change was never made.
#[tokio::test(start_paused = true)]
async fn a_conflict_after_a_lost_answer_is_in_doubt() {
    let backend = Scripted::retried([Step::Lose { writers: 100 }]);
    let change = put("a", 1, Expect::Absent);
    let done = backend.change_items(vec![change]).await.unwrap();
    let error = done[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!error.is_certainly_not_applied(), "{error:?}");
    assert!(!error.is_retryable(), "{error:?}");
}

/// One change is settled by a final error while the other is tried again.
#[tokio::test(start_paused = true)]
async fn a_final_error_after_a_lost_answer_is_in_doubt() {
    let backend = Scripted::retried([
        Step::Lose { writers: 0 },
        fails([ErrorKind::Corrupt, ErrorKind::Unavailable]),
    ]);
    let changes = ["x", "y"].map(|name| put(name, 1, Expect::Any)).to_vec();
    let done = backend.change_items(changes).await.unwrap();
    let error = done[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!error.is_certainly_not_applied(), "{error:?}");
    assert!(done[1].is_ok(), "{done:?}");
    assert_eq!(version(&backend, "x").await, Some(PackId([1; 8])));
}

/// A change whose outcome is unknown does not make that of others unknown.
#[tokio::test(start_paused = true)]
async fn doubt_stays_with_the_change_that_it_is_about() {
    let last = [
        Step::Answer(Err(Error::new(ErrorKind::Corrupt, "as a whole"))),
        fails([ErrorKind::Corrupt, ErrorKind::Corrupt]),
    ];
    for last in last {
        let first = fails([ErrorKind::Timeout, ErrorKind::Unavailable]);
        let backend = Scripted::retried([first, last]);
        let changes = ["x", "y"].map(|name| put(name, 1, Expect::Any)).to_vec();
        let done = backend.change_items(changes).await.unwrap();
        let certain = |at: usize| done[at].as_ref().unwrap_err().is_certainly_not_applied();
        assert_eq!((certain(0), certain(1)), (false, true), "{done:?}");
    }
}

/// Through the engine: a batch of puts, one of which has to be tried again.
#[tokio::test(start_paused = true)]
async fn the_engine_sees_a_batch_that_worked() {
    let faults = Faults::new(1).rule(
        Rule::new(Fault::Before(ErrorKind::Unavailable))
            .on(&[Method::ChangeItems])
            .first(3),
    );
    let inner: Arc<dyn CheckpointBackend> = Arc::new(MemoryBackend::new());
    let inner: Arc<dyn CheckpointBackend> = Arc::new(Layered::new(inner, faults.clone()));
    let store = Memory::new(Layered::new(inner, patient()))
        .unwrap()
        .store()
        .unwrap();
    let ops = ["a", "b"].map(|name| {
        StoreOp::Put(chunkpoint_core::store::Put {
            item: key(name),
            value: json!({"x": 1}).as_object().unwrap().clone(),
            ttl: chunkpoint_core::store::Ttl::Never,
            expect: Expect::Absent,
        })
    });
    let answers = store.batch(ops.to_vec()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(faults.struck(), 3);
}
