//! How often the engine asks for memory, on a fixed workload: a count that no machine changes,
//! so that a change which makes it grow is seen at once.
//!
//! ```sh
//! cargo test -p chunkpoint-core --test allocations -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "common/words.rs"]
mod words;

use std::sync::Arc;

use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::types::Item;
use chunkpoint_core::{Memory, Settings};
use words::message;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Appends measured at each length.
const APPENDS: u64 = 200;

fn blocks() -> u64 {
    dhat::HeapStats::get().total_blocks
}

#[test]
fn commits_and_reads_ask_for_memory_as_often_as_before() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    let memory = Memory::builder(Arc::new(MemoryBackend::default()))
        .settings(settings)
        .build()
        .unwrap();
    let mut appends = Vec::new();
    for length in [100, 10_000] {
        let thread = memory.thread(&format!("thread-{length}")).unwrap();
        let items: Vec<_> = (0..length)
            .map(|n| Item::new("json", message(n, 500)))
            .collect();
        let more: Vec<_> = (0..APPENDS as usize)
            .map(|n| Item::new("json", message(length + n, 500)))
            .collect();
        runtime.block_on(async {
            let mut draft = thread.draft().await.unwrap();
            draft.append("messages", items).unwrap();
            let mut snapshot = thread.commit(draft).await.unwrap();
            let before = blocks();
            for item in more {
                let mut draft = snapshot.draft().unwrap();
                draft.append("messages", [item]).unwrap();
                snapshot = thread.commit(draft).await.unwrap();
            }
            let per_append = (blocks() - before) as f64 / APPENDS as f64;

            let before = blocks();
            let list = snapshot.list("messages").await.unwrap();
            let tail = list.tail(20).await.unwrap();
            let per_tail = blocks() - before;
            assert_eq!(tail.len(), 20);
            println!(
                "{length} messages: {per_append:.1} allocations an append, {per_tail} a read of \
                 the last 20"
            );
            appends.push((per_append, per_tail));
        });
    }
    let [(short, short_tail), (long, long_tail)] = appends[..] else {
        unreachable!("two lengths")
    };
    // Measured bounds, with room for the standard library's and the dependencies' changes.
    assert!(short < MOST_APPEND, "{short}");
    assert!(
        long < short * 1.5,
        "{long} at 10,000 messages, {short} at 100"
    );
    assert!(short_tail < MOST_TAIL && long_tail < MOST_TAIL);
}

/// The most allocations an append of one message may make.
const MOST_APPEND: f64 = 36.0;
/// The most that a read of the last 20 messages may.
const MOST_TAIL: u64 = 95;
