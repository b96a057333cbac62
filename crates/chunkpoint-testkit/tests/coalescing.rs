//! Loads at once share what they read, and none of them reads anything older than it
//! would have read alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunkpoint_core::layers::{
    Answer, Call, Fault, Faults, Layer, Layered, Method, Metrics, Operation, Rule,
};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::{Error, ErrorKind, Item, Memory, Result, Settings, Thread, Value};
use chunkpoint_testkit::deterministic::{ManualClock, Rng, SeededEntropy};
use futures::future::{join_all, try_join_all};
use tokio::time::{sleep, timeout};

/// How long a call of [`Slow`] takes on its way, and its answer on its way back.
const WAY: Duration = Duration::from_millis(10);

/// A backend far away: a call reaches it after a while, and so does its answer.
#[derive(Debug)]
struct Slow {
    /// Ways of random length, up to `2 * WAY`; else each takes `WAY`.
    random: Option<Mutex<Rng>>,
}

impl Slow {
    async fn way(&self) {
        let way = match &self.random {
            Some(rng) => 2 * WAY * rng.lock().unwrap().below(100) as u32 / 100,
            None => WAY,
        };
        sleep(way).await;
    }
}

impl Layer for Slow {
    async fn around<'a, T: Answer + 'a>(&'a self, _: Operation, call: Call<'a, T>) -> Result<T> {
        self.way().await;
        let answer = call().await;
        self.way().await;
        answer
    }
}

/// A memory on a slow backend, what is asked of that, and what fails there.
struct Scene {
    memory: Memory,
    calls: Metrics,
    faults: Faults,
}

impl Scene {
    fn new(slow: Slow, cache_bytes: u64) -> Self {
        let (calls, faults) = (Metrics::new(), Faults::new(0));
        let faulty = Layered::new(Arc::new(MemoryBackend::new()), faults.clone());
        let slow = Layered::new(Arc::new(faulty), slow);
        let counted = Layered::new(Arc::new(slow), calls.clone());
        let settings = Settings {
            cache_bytes,
            background: false,
            ..Settings::default()
        };
        let memory = Memory::builder(Arc::new(counted))
            .settings(settings)
            .clock(Arc::new(ManualClock::default()))
            .entropy(Arc::new(SeededEntropy::new(1)))
            .build()
            .unwrap();
        Self {
            memory,
            calls,
            faults,
        }
    }

    fn steady() -> Self {
        Self::new(Slow { random: None }, 64 << 20)
    }

    fn thread(&self) -> Thread {
        self.memory.thread("t").unwrap()
    }

    fn count(&self, method: Method) -> u64 {
        self.calls.snapshot().method(method).calls
    }
}

/// 200 messages of some 500 bytes.
fn conversation() -> Vec<Item> {
    let mut rng = Rng::new(7);
    (0..200)
        .map(|_| Item::new("bytes", rng.bytes(500)))
        .collect()
}

async fn commit(thread: &Thread, items: Vec<Item>) -> String {
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", items).unwrap();
    thread.commit(draft).await.unwrap().id().to_owned()
}

/// Loads the newest state from a handle that has read nothing.
async fn load(thread: Thread) -> Result<Vec<Item>> {
    let snapshot = thread.latest().await?.unwrap();
    match snapshot.value("messages").await? {
        Some(Value::List(items)) => Ok(items),
        other => panic!("a list was put, {other:?} is there"),
    }
}

/// What so many loads at once ask of the backend: reads of records, and of chunks.
async fn reads_of(loads: usize, cache_bytes: u64) -> (u64, u64) {
    let scene = Scene::new(Slow { random: None }, cache_bytes);
    let messages = conversation();
    commit(&scene.thread(), messages.clone()).await;
    let before = (scene.count(Method::Get), scene.count(Method::Chunks));
    let loads = (0..loads).map(|_| tokio::spawn(load(scene.thread())));
    let loaded = try_join_all(loads.collect::<Vec<_>>()).await.unwrap();
    for items in loaded {
        assert_eq!(items.unwrap(), messages);
    }
    (
        scene.count(Method::Get) - before.0,
        scene.count(Method::Chunks) - before.1,
    )
}

#[tokio::test(start_paused = true)]
async fn a_thousand_loads_read_the_record_twice_and_its_chunks_once() {
    // A batch for each level of the tree.
    let alone = reads_of(1, 64 << 20).await;
    assert_eq!(alone, (1, 2));
    // The first comer reads at once; who comes meanwhile reads together. Their chunks
    // are those that the first one is reading, or has read.
    assert_eq!(reads_of(1000, 64 << 20).await, (2, alone.1));
    // With a cache that can hold nothing of it, what was read may be gone again.
    let (records, batches) = reads_of(1000, 1 << 10).await;
    assert_eq!(records, 2);
    assert!(batches <= 2 * alone.1, "{batches} batches");
}

#[tokio::test(start_paused = true)]
async fn a_load_sees_what_was_acknowledged_before_it_began() {
    let (mut reads, mut loads) = (0, 0);
    for seed in 0..200 {
        let random = Some(Mutex::new(Rng::new(seed)));
        let scene = Scene::new(Slow { random }, 64 << 20);
        let mut rng = Rng::new(!seed);
        commit(&scene.thread(), vec![Item::text("0")]).await;
        let acknowledged = Arc::new(AtomicU64::new(1));
        let writer = {
            let (thread, acknowledged) = (scene.thread(), acknowledged.clone());
            let mut snapshot = thread.latest().await.unwrap().unwrap();
            async move {
                for n in 2..=12 {
                    let mut draft = snapshot.draft().unwrap();
                    draft.append("messages", [Item::text("more")]).unwrap();
                    snapshot = thread.commit(draft).await.unwrap();
                    acknowledged.store(n, Ordering::SeqCst);
                }
            }
        };
        let before = scene.count(Method::Get);
        let readers = (0..40).map(|_| {
            let (thread, acknowledged) = (scene.thread(), acknowledged.clone());
            let start = Duration::from_millis(rng.below(300));
            // Some are dropped while they read, the first of a round among them.
            let patience = rng.one_in(4).then(|| Duration::from_millis(rng.below(40)));
            async move {
                sleep(start).await;
                let least = acknowledged.load(Ordering::SeqCst);
                let read = timeout(patience.unwrap_or(Duration::MAX), thread.latest());
                match read.await {
                    Ok(read) => {
                        let snapshot = read.unwrap().unwrap();
                        let list = snapshot.list("messages").await.unwrap();
                        assert!(list.len() >= least, "seed {seed}: {least} were there");
                    }
                    Err(_) => assert!(patience.is_some()),
                }
            }
        });
        tokio::join!(writer, join_all(readers.collect::<Vec<_>>()));
        reads += scene.count(Method::Get) - before;
        loads += 40;
    }
    assert!(reads * 4 < loads * 3, "{reads} reads for {loads} loads");
}

#[tokio::test(start_paused = true)]
async fn when_who_reads_is_dropped_the_next_one_reads() {
    // Dropped on the way to the record, and, later, on the way to the chunks.
    for patience in [WAY / 2, 5 * WAY / 2] {
        let scene = Scene::steady();
        let messages = conversation();
        commit(&scene.thread(), messages.clone()).await;
        let impatient = timeout(patience, load(scene.thread()));
        let patient = (0..10).map(|_| load(scene.thread()));
        let (dropped, loaded) = tokio::join!(impatient, join_all(patient));
        assert!(dropped.is_err());
        for items in loaded {
            assert_eq!(items.unwrap(), messages);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_for_those_who_read_together_and_no_one_later() {
    let scene = Scene::steady();
    let messages = conversation();
    commit(&scene.thread(), messages.clone()).await;
    let fail_first = |method, rounds| {
        let fault = Rule::new(Fault::Before(ErrorKind::Unavailable));
        scene.faults.add(fault.on(&[method]).first(rounds));
        scene.count(method)
    };
    let check = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable());
    };
    // Of the first comer, and of those who wait for it.
    let before = fail_first(Method::Get, 2);
    let thread = scene.thread();
    for outcome in join_all((0..10).map(|_| thread.latest())).await {
        check(outcome.unwrap_err());
    }
    assert_eq!(scene.count(Method::Get) - before, 2);

    let snapshot = thread.latest().await.unwrap().unwrap();
    let before = fail_first(Method::Chunks, 1);
    for outcome in join_all((0..10).map(|_| snapshot.value("messages"))).await {
        check(outcome.unwrap_err());
    }
    assert_eq!(scene.count(Method::Chunks) - before, 1);
    assert_eq!(load(scene.thread()).await.unwrap(), messages);
}
