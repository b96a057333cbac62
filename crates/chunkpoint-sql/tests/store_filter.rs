//! Filters in the database: they spare rows, and change no answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::store::{Filter, Search};
use chunkpoint_core::store_backend::{Namespace, ScanItems};
use chunkpoint_core::{Memory, Settings};
use chunkpoint_sql::SqlBackend;
use chunkpoint_testkit::deterministic::Rng;
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use support::{Place, each};

async fn open(place: &Place) -> Arc<SqlBackend> {
    Arc::new(SqlBackend::from_config(place.config()).await.unwrap())
}

fn memory(backend: Arc<SqlBackend>) -> Memory {
    Memory::builder(backend)
        .settings(Settings::default())
        .build()
        .unwrap()
}

/// Of a thousand items, the rows that leave the database.
async fn moved(backend: &Arc<SqlBackend>, filter: Value) -> usize {
    let store = backend.clone().store().unwrap();
    let filter = Filter::parse(&filter).unwrap();
    let query = ScanItems {
        prefix: Namespace::new(["all"]).unwrap(),
        matching: filter.predicate().map(Arc::new),
        ..ScanItems::default()
    };
    let rows: Vec<_> = store
        .scan(query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    rows.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_match_stay_in_the_database() {
    for place in each() {
        let backend = open(&place).await;
        let store = memory(backend.clone()).store().unwrap();
        for n in 0..1000 {
            let value = json!({
                "n": n, "kind": if n % 100 == 0 { "rare" } else { "common" },
                "in": {"even": n % 2 == 0}
            });
            store
                .put(&["all"], &format!("{n:04}"), value)
                .await
                .unwrap();
        }
        for (filter, expected) in [
            (json!({"kind": "rare"}), 10),
            (json!({"n": 7}), 1),
            (json!({"n": {"$gte": 990}}), 10),
            (json!({"n": {"$lt": 20}, "in.even": true}), 10),
            (json!({"kind": {"$in": ["rare", "none"]}}), 10),
            (json!({"$or": [{"n": 1}, {"n": 2}]}), 2),
            (json!({"kind": {"$exists": false}}), 0),
            (json!({"kind": {"$ne": "rare"}}), 1000),
            (json!({}), 1000),
        ] {
            assert_eq!(
                moved(&backend, filter.clone()).await,
                expected,
                "{place:?}: {filter}"
            );
        }
        // Patched where only a part of it was read, the value beside is not what it was.
        let long = "x".repeat(20_000);
        store
            .put(&["all"], "0001", json!({"kind": "common", "long": long}))
            .await
            .unwrap();
        store
            .patch(&["all"], "0001", json!({"kind": "rare"}))
            .await
            .unwrap();
        let search = Search::below(&["all"]).unwrap().limit(100);
        let found = store
            .search(search.filter(&json!({"kind": "rare"})).unwrap())
            .await
            .unwrap();
        assert_eq!(found.len(), 11, "{place:?}");
        place.drop().await;
    }
}

/// Texts that mean something to a parser of JSON, of paths or of SQL.
const TEXTS: &[&str] = &[
    "a", "b", "A", "", " ", "a ", "ä", "é", "e\u{301}", "🦀", "'", "\"", "\\", "\n", "\0", "\u{1}",
    "%", "_", "1", "01", "1.0", "true", "null", "[1]", "{}", "a.b", "$", "$.a", "--", "?", "/",
    "\u{7f}",
];

const NAMES: &[&str] = &[
    "a", "b", "A", "n", "a b", "ä", "-", "-a", "+", "1", "*", "[0]", "**", "a'b", "?", "$x", "@:",
    "#-1", "{}",
];

fn one<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.below(of.len() as u64) as usize]
}

fn scalar(rng: &mut Rng) -> Value {
    let near = 1_i64 << 53;
    match rng.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3..=5 => json!(rng.below(5) as i64 - 2),
        6 => json!((rng.below(9) as f64 - 4.0) / 2.0),
        7 => json!(near + rng.below(5) as i64 - 2),
        8 => json!(
            [u64::MAX as f64, 1e-300, -0.0, 1e22, 4.999_999_999_999_999_6][rng.below(5) as usize]
        ),
        9 => json!([u64::MAX, i64::MAX as u64, 0][rng.below(3) as usize]),
        _ => json!(one(rng, TEXTS)),
    }
}

fn value(rng: &mut Rng, depth: u64) -> Value {
    match rng.below(4) {
        0 if depth > 0 => Value::Object(members(rng, depth - 1)),
        1 if depth > 0 => (0..rng.below(3)).map(|_| value(rng, depth - 1)).collect(),
        _ => scalar(rng),
    }
}

/// What something can be more or less than.
fn ordered(rng: &mut Rng) -> Value {
    loop {
        let value = scalar(rng);
        if value.is_number() || value.is_string() || value.is_boolean() {
            return value;
        }
    }
}

fn members(rng: &mut Rng, depth: u64) -> Map<String, Value> {
    let count = rng.below(5);
    (0..count)
        .map(|_| (one(rng, NAMES).to_owned(), value(rng, depth)))
        .collect()
}

fn filter(rng: &mut Rng, depth: u64) -> Value {
    if depth > 0 && rng.below(4) == 0 {
        let joint = one(rng, &["$and", "$or"]);
        let list: Vec<Value> = (0..rng.below(3)).map(|_| filter(rng, depth - 1)).collect();
        return json!({ joint: list });
    }
    let mut path = one(rng, NAMES).replace('$', "\\$");
    if rng.below(2) == 0 {
        path = format!("{path}.{}", one(rng, NAMES).replace('$', "\\$"));
    }
    let condition = match rng.below(6) {
        0 | 1 => json!({"$eq": value(rng, 1)}),
        2 => {
            let operator = one(rng, &["$gt", "$gte", "$lt", "$lte", "$ne"]);
            json!({ operator: ordered(rng) })
        }
        3 => json!({"$in": [scalar(rng), scalar(rng), scalar(rng)]}),
        4 => json!({"$exists": rng.below(2) == 0}),
        _ => json!({"$gte": ordered(rng), "$lt": ordered(rng)}),
    };
    json!({ path: condition })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_filters_find_what_they_match() {
    for place in each() {
        let store = memory(open(&place).await).store().unwrap();
        let mut rng = Rng::new(7);
        let mut values = Vec::new();
        for n in 0..400 {
            let value = members(&mut rng, 2);
            store
                .put(&["v"], &format!("{n:03}"), value.clone().into())
                .await
                .unwrap();
            values.push(value);
        }
        let (mut found_some, mut pushed) = (0, 0);
        for _ in 0..600 {
            let filter = filter(&mut rng, 2);
            let parsed = Filter::parse(&filter).unwrap();
            let search = Search::below(&["v"])
                .unwrap()
                .filter(&filter)
                .unwrap()
                .limit(1000);
            let found = store.search(search).await.unwrap();
            let found: BTreeSet<usize> =
                found.iter().map(|item| item.key.parse().unwrap()).collect();
            let expected: BTreeSet<usize> = (0..values.len())
                .filter(|n| parsed.matches(&values[*n]))
                .collect();
            assert_eq!(found, expected, "{place:?}: {filter}");
            found_some += usize::from(!found.is_empty());
            pushed += usize::from(parsed.predicate().is_some());
        }
        assert!(found_some > 100 && pushed > 200, "{found_some} {pushed}");
        place.drop().await;
    }
}
