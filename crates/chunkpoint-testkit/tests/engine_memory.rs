//! The engine's suites on the in-memory backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkpoint_core::backend::CheckpointBackend;
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::{Item, Memory, Settings};
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::deterministic::ManualClock;
use chunkpoint_testkit::model;
use chunkpoint_testkit::target::Target;

struct InMemory;

#[async_trait]
impl Fixture for InMemory {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(MemoryBackend::new())
    }
}

chunkpoint_testkit::engine_suite!(InMemory);

/// Many seeds of the model, each on a store of its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_seeds_agree_with_the_model() {
    let open = || Target::open("model", InMemory);
    model::search(open, 200, 60).await;
}

/// What a long thread with bounded history keeps is bounded, to the byte.
#[tokio::test]
async fn removed_checkpoints_take_no_memory() {
    let backend = Arc::new(MemoryBackend::new());
    let clock = Arc::new(ManualClock::default());
    let settings = Settings {
        max_history: Some(10),
        grace: Duration::from_secs(1),
        background: false,
        ..Settings::default()
    };
    let memory = Memory::builder(backend.clone())
        .settings(settings)
        .clock(clock.clone())
        .build()
        .unwrap();
    let thread = memory.thread("t").unwrap();
    let mut sizes = Vec::new();
    for n in 0..2000 {
        let mut draft = thread.draft().await.unwrap();
        let len = draft.parent().map_or(0, |_| 40.min(n));
        if len == 40 {
            draft.splice("window", 0..1, []).unwrap();
        }
        draft
            .append(
                "window",
                [Item::text(format!("step {n} {}", "x".repeat(300)))],
            )
            .unwrap();
        thread.commit(draft).await.unwrap();
        clock.advance(Duration::from_millis(100));
        if n % 50 == 49 {
            memory.maintain().await.unwrap();
            sizes.push(backend.bytes());
        }
    }
    let late = &sizes[sizes.len() / 2..];
    let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
    assert!(*most < 200_000, "{sizes:?}");
    assert!(most - least < 50_000, "{sizes:?}");
}
