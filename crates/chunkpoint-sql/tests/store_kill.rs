//! Servers killed with `SIGKILL` while items are put, patched and removed: nothing
//! acknowledged is lost, nothing is half done, and errors say truly whether it was done.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chunkpoint_core::store::{Expect, Search, Store, Ttl, item_key};
use chunkpoint_core::{ErrorKind, Memory, Result, Settings};
use chunkpoint_sql::{SqlBackend, SqlConfig};
use chunkpoint_testkit::services::{MariaDb, Postgres, Safety};
use serde_json::{Map, Value, json};

/// How often the server is killed.
const KILLS: usize = 6;

/// Changes acknowledged between two kills, at least.
const BETWEEN: u64 = 40;

/// A server that can be killed.
trait Server: Send {
    fn kill(&mut self);
    fn restart(&mut self);
}

impl Server for Postgres {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn restart(&mut self) {
        Self::restart(self).unwrap();
    }
}

impl Server for MariaDb {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn restart(&mut self) {
        Self::restart(self).unwrap();
    }
}

/// What an item may be: the number in it, or `None` where it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct May(Vec<Option<u64>>);

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    not_applied: AtomicU64,
    unknown: AtomicU64,
}

fn large(n: u64) -> Map<String, Value> {
    let mut value: Map<String, Value> = (0..40)
        .map(|m| (format!("m{m:02}"), json!("x".repeat(1000))))
        .collect();
    value.insert("n".into(), json!(n));
    value.insert(
        format!("m{:02}", n % 40),
        json!(format!("{n} {}", "y".repeat(900))),
    );
    value
}

/// The number in an item; the parts of a large one have to belong together.
async fn number(store: &Store, key: &str) -> Result<Option<u64>> {
    let Some(item) = store.get(&["killed"], key).await? else {
        return Ok(None);
    };
    let n = item.value["n"].as_u64().unwrap();
    if let Some(part) = item.value.get(&format!("m{:02}", n % 40)) {
        assert!(
            part.as_str().unwrap().starts_with(&format!("{n} ")),
            "half of a patch"
        );
    }
    Ok(Some(n))
}

/// Makes change `n` of an item, and says what the item is then.
async fn change(store: &Store, key: &str, n: u64) -> (Option<u64>, Result<()>) {
    let small = json!({"n": n});
    let done = match key.as_bytes()[0] {
        b'p' => store.put(&["killed"], key, small).await.map(drop),
        b'd' if n.is_multiple_of(2) => {
            return (None, store.delete(&["killed"], key).await);
        }
        b'd' => store.put(&["killed"], key, small).await.map(drop),
        _ if n.is_multiple_of(10) => store.put(&["killed"], key, large(n).into()).await.map(drop),
        _ => {
            let part = format!("{n} {}", "y".repeat(900));
            let patch = json!({"n": n, format!("m{:02}", n % 40): part});
            store.patch(&["killed"], key, patch).await.map(drop)
        }
    };
    (Some(n), done)
}

/// Changes one item again and again until told to stop; gives what it may be at the end.
async fn writer(store: Store, key: String, counts: Arc<Counts>, stop: Arc<AtomicBool>) -> May {
    let mut may = May(vec![None]);
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        match number(&store, &key).await {
            Ok(found) => {
                assert!(
                    may.0.contains(&found),
                    "{key} is {found:?}, and may be {may:?}"
                );
                may = May(vec![found]);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        }
        n += 1;
        let (then, done) = change(&store, &key, n).await;
        match done {
            Ok(()) => {
                counts.done.fetch_add(1, Ordering::SeqCst);
                may = May(vec![then]);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                let counter = if error.is_certainly_not_applied() {
                    &counts.not_applied
                } else {
                    may.0.push(then);
                    &counts.unknown
                };
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    may
}

fn store(backend: &Arc<SqlBackend>) -> Store {
    let settings = Settings {
        background: false,
        grace: Duration::ZERO,
        ..Settings::default()
    };
    let memory = Memory::builder(backend.clone())
        .settings(settings)
        .build()
        .unwrap();
    memory.store().unwrap()
}

async fn killed_while_writing(server: &mut dyn Server, url: String) {
    let config = SqlConfig {
        pool: 8,
        pool_timeout_ms: 5_000,
        ..SqlConfig::new(url)
    };
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let counts = Arc::new(Counts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let keys: Vec<String> = (0..6)
        .map(|n| format!("{}{n}", ["put", "deleted", "large"][n % 3]))
        .collect();
    let writers: Vec<_> = keys
        .iter()
        .map(|key| {
            tokio::spawn(writer(
                store(&backend),
                key.clone(),
                counts.clone(),
                stop.clone(),
            ))
        })
        .collect();
    for round in 0..KILLS as u64 {
        let enough = counts.done.load(Ordering::SeqCst) + BETWEEN + 7 * round;
        while counts.done.load(Ordering::SeqCst) < enough {
            assert!(
                writers.iter().all(|writer| !writer.is_finished()),
                "a writer stopped"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::task::block_in_place(|| {
            server.kill();
            server.restart();
        });
    }
    stop.store(true, Ordering::SeqCst);
    let mut mays = Vec::new();
    for writer in writers {
        mays.push(writer.await.unwrap());
    }
    tokio::task::block_in_place(|| {
        server.kill();
        server.restart();
    });
    let reader = store(&backend);
    // What the kills left of changes that were not made goes, and nothing else.
    let mut there = 0;
    for swept in [false, true] {
        there = 0;
        for (key, may) in keys.iter().zip(&mays) {
            let found = number(&reader, key).await.unwrap();
            assert!(
                may.0.contains(&found),
                "{key} is {found:?}, and may be {may:?}"
            );
            there += usize::from(found.is_some());
        }
        if !swept {
            reader.sweep().await.unwrap();
        }
    }
    let all = reader
        .search(Search::below(&["killed"]).unwrap())
        .await
        .unwrap();
    assert_eq!(all.len(), there);
    // Whoever expects a version that stands finds it.
    for item in all {
        let put = chunkpoint_core::store::Put {
            item: item_key(&["killed"], &item.key).unwrap(),
            value: item.value,
            ttl: Ttl::Never,
            expect: Expect::Version(item.version),
        };
        reader.put_with(put).await.unwrap();
    }
    println!("{counts:?} in {KILLS} kills");
    assert!(counts.done.load(Ordering::SeqCst) >= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_is_killed_while_writing() {
    match Postgres::start(Safety::Durable) {
        Ok(mut server) => {
            let url = server.url();
            killed_while_writing(&mut server, url).await;
        }
        Err(why) => println!("skipped: {why}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_is_killed_while_writing() {
    match MariaDb::start(Safety::Durable) {
        Ok(mut server) => {
            let url = server.url();
            killed_while_writing(&mut server, url).await;
        }
        Err(why) => println!("skipped: {why}"),
    }
}
