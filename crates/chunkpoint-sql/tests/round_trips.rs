//! What goes over the wire: round trips and bytes, counted between the backend and the
//! server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::{Item, Memory, Settings};
use chunkpoint_sql::SqlBackend;
use support::Place;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What went through a proxy.
#[derive(Debug, Default)]
struct Counted {
    trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Whether the server spoke last.
    answered: AtomicBool,
}

impl Counted {
    fn take(&self) -> [u64; 3] {
        [&self.trips, &self.sent, &self.received].map(|counter| counter.swap(0, Ordering::SeqCst))
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counted: Arc<Counted>,
    asking: bool,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let before = counted.answered.swap(!asking, Ordering::SeqCst);
        if asking {
            // A round trip begins when the client speaks after the server did.
            counted.trips.fetch_add(u64::from(before), Ordering::SeqCst);
            counted.sent.fetch_add(len as u64, Ordering::SeqCst);
        } else {
            counted.received.fetch_add(len as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

/// A proxy before a server; gives the URL that goes through it.
async fn proxy(url: &str) -> (String, Arc<Counted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = url
        .split('@')
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let port = listener.local_addr().unwrap().port();
    let through = url.replace(&server, &format!("127.0.0.1:{port}"));
    let counted = Arc::new(Counted::default());
    let counters = counted.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            for socket in [&client, &server] {
                socket.set_nodelay(true).unwrap();
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass(from_client, to_server, counters.clone(), true));
            tokio::spawn(pass(from_server, to_client, counters.clone(), false));
        }
    });
    (through, counted)
}

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
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let writer = memory(&backend);
    let thread = writer.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", (0..5_000).map(message)).unwrap();
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

    // Twice, as the first prepares.
    for _ in 0..2 {
        counted.take();
        let latest = memory(&backend)
            .thread("t")
            .unwrap()
            .latest()
            .await
            .unwrap()
            .unwrap();
        let tail = latest
            .list("messages")
            .await
            .unwrap()
            .tail(20)
            .await
            .unwrap();
        assert_eq!(tail.len(), 20);
    }
    let [trips, _, received] = counted.take();
    println!("{place:?}: {trips} round trips and {received} bytes to load the tail");
    assert!(trips <= 2, "{trips} round trips");
    assert!(received <= 64 << 10, "{received} bytes");
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
