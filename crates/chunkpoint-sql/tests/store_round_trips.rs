//! What the long-term store sends over the wire, counted between the backend and the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::store::{Delete, Expect, Put, Search, Store, StoreOp, Ttl, item_key};
use chunkpoint_core::{Memory, Settings};
use chunkpoint_sql::SqlBackend;
use chunkpoint_testkit::proxy::{Counted, proxy};
use serde_json::{Map, Value, json};
use support::Place;

fn value(n: u64) -> Map<String, Value> {
    let value = json!({"n": n, "kind": "usual", "text": "x".repeat(300)});
    value.as_object().unwrap().clone()
}

fn put(key: &str, n: u64, expect: Expect) -> Put {
    Put {
        item: item_key(&["users", "ada"], key).unwrap(),
        value: value(n),
        ttl: Ttl::Minutes(60.0),
        expect,
    }
}

/// Runs something, after it was once before so that its statements are prepared, and
/// gives its round trips. There is one connection.
async fn trips(counted: &Counted, what: &str, mut run: impl AsyncFnMut(u64)) -> u64 {
    for n in 0..3 {
        run(n).await;
    }
    counted.take();
    run(3).await;
    let [trips, sent, received] = counted.take();
    println!("{what}: {trips} round trips, {sent} bytes sent, {received} received");
    trips
}

async fn store(place: &Place) -> (Store, Arc<Counted>) {
    let mut config = place.config();
    let (through, counted) = proxy(&config.url).await;
    config.url = through;
    config.pool = 1;
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let settings = Settings {
        background: false,
        store_refresh: false,
        grace: Duration::ZERO,
        ..Settings::default()
    };
    let memory = Memory::builder(backend).settings(settings).build().unwrap();
    (memory.store().unwrap(), counted)
}

/// A change of one item, and every read, is one statement on every server.
async fn one_each(place: &Place) {
    let (store, counted) = store(place).await;
    let users = ["users", "ada"];
    let overwrite = trips(&counted, "overwrite", async |n| {
        store.put_with(put("a", n, Expect::Any)).await.unwrap();
    });
    assert_eq!(overwrite.await, 1);
    let create = trips(&counted, "create", async |n| {
        store
            .put_with(put(&format!("new {n}"), n, Expect::Any))
            .await
            .unwrap();
    });
    assert_eq!(create.await, 1);
    let absent = trips(&counted, "create if absent", async |n| {
        store
            .put_with(put(&format!("absent {n}"), n, Expect::Absent))
            .await
            .unwrap();
    });
    assert_eq!(absent.await, 1);
    let mut version = store.get(&users, "a").await.unwrap().unwrap().version;
    let expecting = trips(&counted, "overwrite a version", async |n| {
        let written = store
            .put_with(put("a", n, Expect::Version(version)))
            .await
            .unwrap();
        version = written.version;
    });
    assert_eq!(expecting.await, 1);
    let patch = trips(&counted, "patch", async |n| {
        store.patch(&users, "a", json!({"n": n})).await.unwrap();
    });
    assert_eq!(patch.await, 2, "it reads, and writes");
    let delete = trips(&counted, "delete", async |n| {
        let item = item_key(&users, &format!("new {n}")).unwrap();
        store
            .delete_with(Delete {
                item,
                expect: Expect::Any,
            })
            .await
            .unwrap();
    });
    assert_eq!(delete.await, 1);
    let get = trips(&counted, "get", async |_| {
        assert!(store.get(&users, "a").await.unwrap().is_some());
    });
    assert_eq!(get.await, 1);
    let search = trips(&counted, "search", async |_| {
        let search = Search::below(&users)
            .unwrap()
            .filter(&json!({"kind": "usual"}))
            .unwrap();
        assert!(!store.search(search).await.unwrap().is_empty());
    });
    assert_eq!(search.await, 1);
    let namespaces = trips(&counted, "list_namespaces", async |_| {
        assert_eq!(
            store
                .list_namespaces(Default::default())
                .await
                .unwrap()
                .len(),
            1
        );
    });
    assert_eq!(namespaces.await, 1);
    let conflict = trips(&counted, "conflict", async |n| {
        store
            .put_with(put("a", n, Expect::Absent))
            .await
            .unwrap_err();
    });
    assert_eq!(conflict.await, 2, "it says which version is there");
    let batch = trips(&counted, "batch of 64 puts", async |n| {
        let puts = (0..64).map(|key| StoreOp::Put(put(&format!("batch {key}"), n, Expect::Any)));
        for answer in store.batch(puts.collect()).await.unwrap() {
            answer.unwrap();
        }
    });
    assert!(batch.await <= 5);
    let large = trips(&counted, "put of 100 KB", async |n| {
        let mut value: Map<String, Value> = (0..100)
            .map(|m| (format!("m{m}"), json!("y".repeat(1000))))
            .collect();
        value.insert("n".into(), json!(n));
        store.put(&users, "large", value.into()).await.unwrap();
    });
    assert!(large.await <= 8);
    place.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_reads_are_one_round_trip_each() {
    for place in [Place::postgres(), Place::pgbouncer(), Place::mysql()]
        .into_iter()
        .flatten()
    {
        println!("{place:?}");
        one_each(&place).await;
    }
}
