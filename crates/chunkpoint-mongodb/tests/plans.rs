//! Every query that a load, a commit or a scan waits for is served by an index, by the plan
//! that the server gives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use support::Place;

fn bytes(byte: u8) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: vec![byte; 16],
    })
}

/// The plan that a server has for a query.
struct Plan {
    winning: Document,
    /// Its stages, from the last one on.
    stages: Vec<String>,
}

impl Plan {
    async fn of(database: &mongodb::Database, find: &Document) -> Self {
        let explain = doc! { "explain": find.clone(), "verbosity": "queryPlanner" };
        let plan = database.run_command(explain).await.unwrap();
        let planner = plan.get_document("queryPlanner").unwrap();
        let winning = planner.get_document("winningPlan").unwrap().clone();
        let mut stages = Vec::new();
        collect_stages(&winning.clone().into(), &mut stages);
        Self { winning, stages }
    }

    /// Whether it goes by an index, reads no document but those, and sorts none.
    fn is_by_index(&self) -> bool {
        let by_index = |stage: &String| {
            stage.contains("IXSCAN") || stage.contains("IDHACK") || stage.contains("EXPRESS")
        };
        let slow = |stage: &String| stage == "COLLSCAN" || stage == "SORT";
        self.stages.iter().any(by_index) && !self.stages.iter().any(slow)
    }
}

fn collect_stages(plan: &Bson, found: &mut Vec<String>) {
    match plan {
        Bson::Document(document) => {
            found.extend(document.get_str("stage").map(str::to_owned));
            let inner = document.iter();
            inner.for_each(|(_, inner)| collect_stages(inner, found));
        }
        Bson::Array(array) => array.iter().for_each(|inner| collect_stages(inner, found)),
        _ => {}
    }
}

#[tokio::test]
async fn hot_queries_are_served_by_indexes() {
    let Some(place) = Place::mongodb() else {
        return;
    };
    let backend = place.backend().await;
    let database = place.database().await;
    let within = doc! { "$gte": "t\0\0", "$lt": "t\0\u{1}" };
    let life = doc! { "$gte": bytes(0), "$lte": bytes(255) };
    let queries = [
        (
            "latest",
            "checkpoints",
            doc! { "thread": "t", "_id": within.clone(), "state": 0 },
            doc! { "_id": -1 },
        ),
        (
            "a page of a namespace",
            "checkpoints",
            doc! { "thread": "t", "_id": within.clone(), "pack": life.clone(), "state": 0 },
            doc! { "_id": -1 },
        ),
        (
            "chunks, parents",
            "checkpoints",
            doc! { "pack": { "$in": [bytes(1), bytes(2)] } },
            doc! {},
        ),
        (
            "children",
            "checkpoints",
            doc! { "from": { "$in": [bytes(1)] } },
            doc! {},
        ),
        (
            "condemned packs",
            "checkpoints",
            doc! { "condemned": life.clone(), "condemned_ms": { "$lte": 5_i64 } },
            doc! { "condemned": 1 },
        ),
        ("a fence", "checkpoints", doc! { "fence": "x" }, doc! {}),
        ("a thread", "threads", doc! { "_id": "t" }, doc! {}),
        (
            "pending writes",
            "writes",
            doc! { "of": { "$in": ["a", "b"] } },
            doc! {},
        ),
        (
            "items",
            "items",
            doc! { "_id": { "$in": ["a", "b"] }, "gone_ms": { "$exists": false } },
            doc! {},
        ),
        (
            "a scan",
            "items",
            doc! { "_id": { "$gte": "a\0", "$lt": "a\u{1}" }, "gone_ms": { "$exists": false } },
            doc! { "_id": 1 },
        ),
        (
            "what has expired",
            "items",
            doc! { "expires_ms": { "$lte": 5_i64 } },
            doc! { "expires_ms": 1 },
        ),
        (
            "chunks that may be nobody's",
            "packs",
            doc! { "due": { "$lte": 5_i64 } },
            doc! { "due": 1 },
        ),
        (
            "what is due",
            "items",
            doc! { "due": { "$lte": 5_i64 } },
            doc! { "due": 1 },
        ),
    ];
    for (name, of, filter, sort) in queries {
        let mut find = doc! { "find": format!("chunkpoint.{of}"), "filter": filter };
        if !sort.is_empty() {
            find.insert("sort", sort.clone());
        }
        let mut plan = Plan::of(&database, &find).await;
        // By the order of a sparse index, SecantusDB reads only if it is told to.
        if !plan.is_by_index() && !sort.is_empty() {
            find.insert("hint", sort);
            plan = Plan::of(&database, &find).await;
            println!("{name}, told to: {}", plan.stages.join(" < "));
        } else {
            println!("{name}: {}", plan.stages.join(" < "));
        }
        assert!(plan.is_by_index(), "{name}: {}", plan.winning);
    }
    drop(backend);
    database.drop().await.unwrap();
}
