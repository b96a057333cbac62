//! What can be wrong when a backend is opened, and what others keep in our collections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chunkpoint_core::backend::Durability;
use chunkpoint_core::store::Search;
use chunkpoint_core::{ErrorKind, HistoryQuery, Item, Memory};
use chunkpoint_mongodb::{MongoBackend, MongoConfig};
use chunkpoint_testkit::services::{MongoDb, Safety};
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde_json::json;
use support::Place;

async fn refused(config: MongoConfig) -> chunkpoint_core::Error {
    let since = Instant::now();
    let error = MongoBackend::from_config(config).await.unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(30), "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2"), "{text}");
    error
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let config = MongoConfig {
        timeout_ms: 500,
        ..MongoConfig::new("mongodb://me:hunter2@127.0.0.1:1")
    };
    let error = refused(config).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable() && error.is_certainly_not_applied());
}

#[tokio::test]
async fn wrong_credentials_are_told() {
    if Place::mongodb().is_none() {
        return;
    }
    let dir = std::env::temp_dir();
    let Ok(server) = MongoDb::start_with(Safety::Throwaway, &dir, &["--auth"]) else {
        return;
    };
    let url = server.url().replace("://", "://me:hunter2@");
    let config = MongoConfig {
        timeout_ms: 2_000,
        ..MongoConfig::new(url)
    };
    let error = refused(config).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("user or the password"), "{error}");
    // None at all.
    let config = MongoConfig {
        timeout_ms: 2_000,
        ..MongoConfig::new(server.url())
    };
    let error = refused(config).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_durability_that_is_not_given_is_refused() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let config = MongoConfig {
        durability: Durability::Replicated,
        ..place.config()
    };
    if let Err(error) = MongoBackend::from_config(config).await {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("replica set"), "{error}");
    }
}

#[tokio::test]
async fn an_index_of_another_kind_is_told() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let database = place.database().await;
    let records = database.collection::<Document>("chunkpoint.checkpoints");
    let index = mongodb::IndexModel::builder()
        .keys(doc! { "fence": 1 })
        .build();
    records.create_index(index).await.unwrap();
    let error = refused(place.config()).await;
    assert!(error.message().contains("fence"), "{error}");
    database.drop().await.unwrap();
}

#[tokio::test]
async fn what_others_have_in_our_collections_is_passed_over_or_told() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let backend = Arc::new(place.backend().await);
    let database = place.database().await;
    for name in [
        "threads",
        "checkpoints",
        "parts",
        "writes",
        "items",
        "packs",
    ] {
        let collection = database.collection::<Document>(&format!("chunkpoint.{name}"));
        let theirs = [
            doc! { "name": "of another program" },
            doc! { "_id": 7, "pack": "x", "life": 3, "state": "new", "due": "now" },
        ];
        collection.insert_many(theirs).await.unwrap();
    }
    let memory = Memory::builder(backend).build().unwrap();
    let thread = memory.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", [Item::text("hello")]).unwrap();
    thread.commit(draft).await.unwrap();
    assert_eq!(memory.threads("", None, 10).await.unwrap().len(), 1);
    assert_eq!(
        thread.latest().await.unwrap().unwrap().channels().count(),
        1
    );
    let store = memory.store().unwrap();
    store.put(&["a"], "k", json!({ "n": 1 })).await.unwrap();
    assert!(store.get(&["a"], "k").await.unwrap().is_some());

    // One that lies exactly where ours would.
    let checkpoints = database.collection::<Document>("chunkpoint.checkpoints");
    let ours = checkpoints
        .find_one(doc! { "thread": "t" })
        .await
        .unwrap()
        .unwrap();
    let id = ours.get_str("_id").unwrap().to_owned();
    let theirs = doc! { "$set": { "time_ms": "now" } };
    checkpoints
        .update_one(doc! { "_id": &id }, theirs)
        .await
        .unwrap();
    let error = thread.latest().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("checkpoints"), "{error}");
    memory.close().await.unwrap();
    database.drop().await.unwrap();
}

#[tokio::test]
async fn ids_that_look_like_operators_are_data() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let memory = Memory::builder(Arc::new(place.backend().await))
        .build()
        .unwrap();
    let odd = [
        "$where",
        "a.b",
        "{\"$gt\":\"\"}",
        "$ne",
        "$$ROOT",
        "\u{1}",
        "~",
        "a\u{1}b",
    ];
    for name in odd {
        let thread = memory.thread(name).unwrap();
        let mut draft = thread.draft().await.unwrap();
        draft.set(name, Item::text(name)).unwrap();
        draft.append("list", [Item::text(name)]).unwrap();
        thread.commit(draft).await.unwrap();
    }
    let mut expected: Vec<String> = odd.iter().map(ToString::to_string).collect();
    expected.sort();
    let found = memory.threads("", None, 100).await.unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
    let store = memory.store().unwrap();
    for name in odd {
        let thread = memory.thread(name).unwrap();
        let latest = thread.latest().await.unwrap().unwrap();
        let value = latest.value(name).await.unwrap();
        assert!(value.is_some(), "{name}");
        let value = json!({ name: { "$gt": name, "x.y": 1 } });
        store.put(&["of"], name, value).await.unwrap();
    }
    for name in odd {
        let item = store.get(&["of"], name).await.unwrap().unwrap();
        assert!(item.value.contains_key(name), "{name}");
    }
    memory.close().await.unwrap();
    place.database().await.drop().await.unwrap();
}

/// What callers filter by is compared with, and is never an operator of the server's.
#[tokio::test]
async fn no_operator_comes_in_through_a_filter() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let memory = Memory::builder(Arc::new(place.backend().await))
        .build()
        .unwrap();
    let object = |value: serde_json::Value| value.as_object().unwrap().clone();

    let thread = memory.thread("t").unwrap();
    let theirs = [
        json!({ "user": "ada", "a.b": 1, "$where": "x" }),
        json!({ "user": { "$gt": "" }, "a": { "b": 1 } }),
    ];
    for metadata in &theirs {
        let mut draft = thread.draft().await.unwrap();
        draft.metadata(object(metadata.clone()));
        thread.commit(draft).await.unwrap();
    }
    for (filter, expected) in [
        (json!({ "user": "ada" }), vec![&theirs[0]]),
        // By the server's rules it is greater than any text but the empty one.
        (json!({ "user": { "$gt": "" } }), vec![&theirs[1]]),
        (json!({ "user": { "$ne": null } }), vec![]),
        (json!({ "a.b": 1 }), vec![&theirs[0]]),
        (json!({ "$where": "x" }), vec![&theirs[0]]),
        (json!({ "$where": "sleep(1000) || true" }), vec![]),
        (json!({ "$or": [{ "user": "ada" }] }), vec![]),
    ] {
        let query = HistoryQuery {
            filter: object(filter.clone()),
            ..HistoryQuery::default()
        };
        let found: Vec<_> = thread.history(query).try_collect().await.unwrap();
        assert_eq!(found.len(), expected.len(), "{filter}");
        for (found, expected) in found.iter().zip(expected) {
            let metadata = found.metadata().await.unwrap();
            assert_eq!(json!(metadata), *expected, "{filter}");
        }
    }

    let store = memory.store().unwrap();
    for (key, value) in [
        ("plain", json!({ "name": "ada", "n": 1 })),
        ("dollar", json!({ "$where": "ada", "name": { "$gt": "" } })),
        ("stops", json!({ "a.b": "ada", "name": "$name" })),
    ] {
        store.put(&["f"], key, value).await.unwrap();
    }
    for (filter, expected) in [
        (json!({ "name": "$name" }), vec!["stops"]),
        (json!({ "name": { "$eq": { "$gt": "" } } }), vec!["dollar"]),
        (
            json!({ "name": { "$in": ["ada", { "$gt": "" }] } }),
            vec!["dollar", "plain"],
        ),
        (
            json!({ "$not": { "name": "ada" } }),
            vec!["dollar", "stops"],
        ),
    ] {
        let search = Search::below(&["f"]).unwrap().filter(&filter).unwrap();
        let found = store.search(search).await.unwrap();
        let mut keys: Vec<&str> = found.iter().map(|item| &*item.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected, "{filter}");
    }
    // What is no operator of ours is told, not passed on.
    for filter in [
        json!({ "$where": "sleep(1000) || true" }),
        json!({ "name": { "$regex": ".*" } }),
        json!({ "name": { "$expr": {} } }),
    ] {
        let error = Search::below(&["f"]).unwrap().filter(&filter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    memory.close().await.unwrap();
    place.database().await.drop().await.unwrap();
}
