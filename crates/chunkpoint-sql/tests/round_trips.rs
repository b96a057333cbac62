//! What goes over the wire: round trips and bytes, counted between the backend and the
//! server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunkpoint_core::backend::{
    Alter, Base, Change, CheckpointBackend, Commit, Incarnation, PackId, PutWrites, RecordIndex,
    RecordKey, RecordRef,
};
use chunkpoint_core::{Item, Memory, Settings};
use chunkpoint_sql::SqlBackend;
use chunkpoint_testkit::proxy::{Counted, proxy};
use support::Place;

fn message(n: usize) -> Item {
    Item::text(format!("message {n} {}", "x".repeat(480)))
}

fn memory(backend: &Arc<SqlBackend>) -> Memory {
    let backend: Arc<dyn CheckpointBackend> = backend.clone();
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    Memory::builder(backend).settings(settings).build().unwrap()
}

async fn step_and_load(place: &Place, step_trips: u64, step_bytes: u64) {
    let mut config = place.config();
    let (through, counted) = proxy(&config.url).await;
    config.url = through;
    let through_proxy = config.clone();
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let writer = memory(&backend);
    let thread = writer.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", (0..100_000).map(message)).unwrap();
    let mut last = thread.commit(draft).await.unwrap();
    let mut step = async |n: usize| {
        let mut draft = last.draft().unwrap();
        draft.append("messages", [message(n)]).unwrap();
        last = thread.commit(draft).await.unwrap();
    };
    // Statements are prepared on the connection that all of this is on.
    for n in 0..3 {
        step(n).await;
    }
    counted.take();
    const STEPS: u64 = 100;
    for n in 0..STEPS {
        step(n as usize).await;
    }
    let [trips, sent, _] = counted.take();
    println!("{place:?}: {trips} round trips and {sent} bytes in {STEPS} steps");
    assert_eq!(trips, step_trips * STEPS);
    assert!(sent / STEPS <= step_bytes, "{} bytes a step", sent / STEPS);

    // Whoever opens the database finds the thread's tail so, from the first time on.
    let opened = Arc::new(SqlBackend::from_config(through_proxy).await.unwrap());
    for what in ["first", "second"] {
        counted.take();
        let thread = memory(&opened).thread("t").unwrap();
        let latest = thread.latest().await.unwrap().unwrap();
        let list = latest.list("messages").await.unwrap();
        assert_eq!(list.tail(20).await.unwrap().len(), 20);
        let [trips, _, received] = counted.take();
        println!("{place:?}: {trips} round trips and {received} bytes to load the {what} tail");
        assert!(trips <= 2, "{trips} round trips for the {what}");
        assert!(received <= 64 << 10, "{received} bytes");
    }
    place.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_on_postgres_is_one_round_trip() {
    if let Some(place) = Place::postgres() {
        step_and_load(&place, 1, 4096).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_through_pgbouncer_is_one_round_trip() {
    if let Some(place) = Place::pgbouncer() {
        // As text, each byte takes two.
        step_and_load(&place, 1, 8192).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_on_mysql_is_one_round_trip() {
    if let Some(place) = Place::mysql() {
        step_and_load(&place, 1, 4096).await;
    }
}

fn unique() -> [u8; 8] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// A commit of a checkpoint of that id, with a chunk of so many bytes, that begins a thread.
fn root(thread: &str, id: &str, bytes: usize) -> Commit {
    Commit {
        thread: thread.into(),
        key: RecordKey {
            namespace: "".into(),
            id: id.into(),
        },
        pack: PackId(unique()),
        base: Base::Root {
            fresh: Incarnation(unique()),
        },
        expect_latest: None,
        index: RecordIndex::default(),
        body: Bytes::from_static(b"body"),
        chunks: vec![vec![7; bytes].into()],
        metadata: Arc::default(),
    }
}

fn reference(commit: &Commit) -> RecordRef {
    RecordRef {
        key: commit.key.clone(),
        pack: commit.pack,
    }
}

/// A commit on top of another.
fn child(parent: &Commit, incarnation: Incarnation, id: &str, bytes: usize) -> Commit {
    Commit {
        base: Base::Borrow {
            incarnation,
            from: vec![reference(parent)],
        },
        ..root(&parent.thread, id, bytes)
    }
}

/// What the calls that are not the usual step take, in the order of the test below; on a
/// thread of its own, so that it can be done again.
async fn unusual(
    backend: &SqlBackend,
    counted: &Counted,
    thread: &str,
) -> Vec<(&'static str, u64)> {
    let mut taken = Vec::new();
    let mut note = |what| taken.push((what, counted.take()[0]));
    let first = root(thread, "1", 300);
    counted.take();
    let incarnation = backend.commit(first.clone()).await.unwrap().incarnation;
    note("a thread's first commit");
    let mut other = root(thread, "1", 300);
    other.key.namespace = "other".into();
    backend.commit(other).await.unwrap();
    note("a namespace's first commit");
    let second = child(&first, incarnation, "2", 300);
    backend.commit(second.clone()).await.unwrap();
    note("the usual commit");
    let again = child(&first, incarnation, "2", 300);
    backend.commit(again.clone()).await.unwrap();
    note("a re-put");
    backend.commit(again.clone()).await.unwrap();
    note("a repeated commit");
    let mut fenced = child(&again, incarnation, "3", 300);
    fenced.expect_latest = Some(Some("2".into()));
    backend.commit(fenced.clone()).await.unwrap();
    note("an expectation");
    backend
        .commit(child(&fenced, incarnation, "4", 20_000))
        .await
        .unwrap();
    note("20 KB of chunks");
    let writes = |thread: &str| PutWrites {
        thread: thread.into(),
        key: fenced.key.clone(),
        write_id: PackId(unique()),
        fresh: Incarnation(unique()),
        time_ms: 1,
        writes: Vec::new(),
    };
    backend.put_writes(writes(thread)).await.unwrap();
    note("writes");
    backend
        .put_writes(writes(&format!("{thread} of writes")))
        .await
        .unwrap();
    note("a thread's first writes");
    let alter = Alter {
        thread: thread.into(),
        incarnation,
        time_ms: 1,
        changes: vec![
            (reference(&first), Change::Remove),
            (reference(&again), Change::Hide),
            (reference(&fenced), Change::Pin(true)),
        ],
    };
    backend.alter(alter).await.unwrap();
    note("an alter");
    let copy = format!("copy of {thread}");
    backend
        .copy_thread(thread, &copy, Incarnation(unique()))
        .await
        .unwrap();
    note("a copy");
    taken
}

/// The round trips of each of these on PostgreSQL, and on MySQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_takes_many_round_trips() {
    const POSTGRES: [u64; 11] = [1, 1, 1, 2, 1, 1, 1, 1, 1, 3, 8];
    const MYSQL: [u64; 11] = [2, 3, 1, 4, 4, 3, 3, 1, 3, 3, 6];
    let places = [
        (Place::postgres(), POSTGRES),
        (Place::pgbouncer(), POSTGRES),
        (Place::mysql(), MYSQL),
    ];
    for (place, expected) in places {
        let Some(place) = place else { continue };
        let mut config = place.config();
        let (through, counted) = proxy(&config.url).await;
        config.url = through;
        config.pool = 1;
        let backend = SqlBackend::from_config(config).await.unwrap();
        // The first time prepares.
        unusual(&backend, &counted, "a").await;
        let taken = unusual(&backend, &counted, "b").await;
        println!("{place:?}: {taken:?}");
        let trips: Vec<u64> = taken.iter().map(|(_, trips)| *trips).collect();
        assert_eq!(trips, expected, "{place:?}: {taken:?}");
        place.drop().await;
    }
}
