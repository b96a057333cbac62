//! The long-term store's suite on the in-memory backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use async_trait::async_trait;
use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::layers::{Fault, Faults, Layered, Method, Retry, RetryPolicy, Rule};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::store::Written;
use chunkpoint_core::{ErrorKind, Memory};
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::store_model;
use chunkpoint_testkit::target::Target;
use serde_json::{Value, json};

struct InMemory;

#[async_trait]
impl Fixture for InMemory {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(MemoryBackend::new())
    }
}

chunkpoint_testkit::store_suite!(InMemory);

/// Many more seeds of the model than a slow backend would have time for.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_seeds_agree_with_the_model() {
    let target = Target::open("model", InMemory).await;
    store_model::search(&target, 200, 80).await;
}

/// A memory that tries again, on a store whose first answer to a change is lost; before
/// the second attempt, others patch the item `writers` times.
async fn patched_in_doubt(target: &Target, patch: Value, theirs: &Value, writers: u64) -> Outcome {
    let store = target.store();
    store.put(&["n"], "a", json!({"n": 0})).await.unwrap();
    let others = {
        let (store, theirs) = (store.clone(), theirs.clone());
        async move {
            for n in 0..writers {
                let mut patch = theirs.clone();
                patch["count"] = n.into();
                store.patch(&["n"], "a", patch).await.unwrap();
            }
        }
    };
    let watch = target.watch().clone();
    target
        .watch()
        .before_next_change(async move { watch.before_next_change(others) });
    let lost = Rule::new(Fault::After).on(&[Method::ChangeItems]).first(1);
    let losing = Arc::new(Layered::new(target.watched(), Faults::new(1).rule(lost)));
    let patient = Layered::new(losing, Retry::new(RetryPolicy::default(), 7));
    let memory = Memory::builder(Arc::new(patient)).clock(target.clock_handle());
    let patient = memory
        .settings(target.settings())
        .build()
        .unwrap()
        .store()
        .unwrap();
    let first = patient.patch(&["n"], "a", patch.clone()).await;
    let then = Value::Object(store.get(&["n"], "a").await.unwrap().unwrap().value);
    patient.patch(&["n"], "a", patch).await.unwrap();
    let repeated = Value::Object(store.get(&["n"], "a").await.unwrap().unwrap().value);
    Outcome {
        first,
        then,
        repeated,
    }
}

struct Outcome {
    first: chunkpoint_core::Result<Written>,
    /// The item after it, ...
    then: Value,
    /// ... and after the same patch once more.
    repeated: Value,
}

/// A patch whose answer was lost: it knows itself again while the row remembers it, and
/// else says that it cannot know, which is true, and may be made again.
#[tokio::test]
async fn a_patch_whose_answer_was_lost_claims_no_more_than_it_knows() {
    let ours = json!({"ours": 1});
    let target = Target::open("remembered", InMemory).await;
    let few = patched_in_doubt(&target, ours.clone(), &json!({"theirs": 1}), 2).await;
    assert!(few.first.is_ok(), "{:?}", few.first);
    assert_eq!(
        few.then,
        json!({"n": 0, "ours": 1, "theirs": 1, "count": 1})
    );
    assert_eq!(few.repeated, few.then);

    let target = Target::open("forgotten", InMemory).await;
    let many = patched_in_doubt(&target, ours.clone(), &json!({"theirs": 1}), 20).await;
    let error = many.first.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!error.is_certainly_not_applied(), "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert!(error.to_string().contains("\"a\""), "{error}");
    // It had been applied, so to say "not applied" would have been wrong ...
    assert_eq!(
        many.then,
        json!({"n": 0, "ours": 1, "theirs": 1, "count": 19})
    );
    assert_eq!(many.repeated, many.then);

    // ... and to apply it again unasked as well, where others changed the same since.
    let target = Target::open("overtaken", InMemory).await;
    let over = patched_in_doubt(&target, ours, &json!({"ours": 2}), 20).await;
    assert!(
        over.first
            .is_err_and(|error| !error.is_certainly_not_applied())
    );
    assert_eq!(over.then, json!({"n": 0, "ours": 2, "count": 19}));
    assert_eq!(over.repeated, json!({"n": 0, "ours": 1, "count": 19}));
}
