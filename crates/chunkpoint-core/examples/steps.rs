//! A fixed piece of work, whose instructions `.ci/instructions` counts: 2,000 commits to a
//! thread in memory, the state after the last loaded, and its end read a hundred times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::types::Item;
use chunkpoint_core::{Clock, Entropy, Memory, Result, Settings};

#[path = "../tests/common/words.rs"]
mod words;

/// Commits.
const STEPS: usize = 2_000;

/// Neither the time nor chance may change what is done.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Clock for Counter {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        for part in buffer.chunks_mut(8) {
            let number = self
                .0
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            part.copy_from_slice(&number.to_be_bytes()[..part.len()]);
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    let memory = Memory::builder(Arc::new(MemoryBackend::default()))
        .settings(settings)
        .clock(Arc::new(Counter::default()))
        .entropy(Arc::new(Counter::default()))
        .build()?;
    let thread = memory.thread("steps")?;
    let mut draft = thread.draft().await?;
    for step in 0..STEPS {
        draft.append("messages", [Item::new("json", words::message(step, 500))])?;
        draft = thread.commit(draft).await?.draft()?;
    }
    let mut bytes = 0;
    for _ in 0..100 {
        if let Some(latest) = thread.latest().await? {
            let tail = latest.list("messages").await?.tail(20).await?;
            bytes += tail.iter().map(|item| item.bytes.len()).sum::<usize>();
        }
    }
    let latest = thread.latest().await?;
    let state = match &latest {
        Some(latest) => latest.load().await?.len(),
        None => 0,
    };
    println!("{bytes} bytes of tails, {state} values in the last state");
    Ok(())
}
