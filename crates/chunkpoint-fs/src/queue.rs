//! Group commit: mutations of one thread or namespace wait in a queue, and whoever
//! comes first writes for all that came meanwhile, with one write and one sync.
//!
//! The work is done by a blocking task that no caller can cancel: a caller that
//! goes away before its turn is skipped, and later its operation is complete or
//! not there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Operations written at once.
const MOST_OPS: usize = 1024;

/// Bytes after which a group takes no more operations.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A mutation that waits.
pub(crate) trait Queued: Send + 'static {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;

    /// About how many bytes it will write.
    fn bytes(&self) -> usize;
}

/// Mutations that wait for the same file.
#[derive(Debug)]
pub(crate) struct Queue<O> {
    inner: Mutex<Waiting<O>>,
}

#[derive(Debug)]
struct Waiting<O> {
    ops: VecDeque<O>,
    /// Whether somebody is writing, and will look here again.
    led: bool,
}

impl<O> Default for Queue<O> {
    fn default() -> Self {
        let ops = VecDeque::new();
        Self {
            inner: Mutex::new(Waiting { ops, led: false }),
        }
    }
}

impl<O> Queue<O> {
    fn lock(&self) -> MutexGuard<'_, Waiting<O>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Queued> Queue<O> {
    /// The next group; empty once the leader may go.
    fn take(&self) -> Vec<O> {
        let waiting = &mut *self.lock();
        let mut bytes = 0;
        let mut ops = Vec::new();
        while ops.len() < MOST_OPS
            && bytes < MOST_BYTES
            && let Some(op) = waiting.ops.pop_front()
        {
            if !op.is_abandoned() {
                bytes += op.bytes();
                ops.push(op);
            }
        }
        waiting.led = !ops.is_empty();
        ops
    }
}

/// Leads a queue. Dropped early, by a panic or a runtime that shuts down, it
/// lets those who wait know, and another lead.
struct Leader<O> {
    queue: Arc<Queue<O>>,
    /// Once the queue was found empty, it may have another leader.
    leads: bool,
}

impl<O: Queued> Leader<O> {
    /// The next group; after `None` it leads no more.
    fn next(&mut self) -> Option<Vec<O>> {
        let ops = self.queue.take();
        self.leads = !ops.is_empty();
        self.leads.then_some(ops)
    }
}

impl<O> Drop for Leader<O> {
    fn drop(&mut self) {
        if self.leads {
            let abandoned = {
                let mut waiting = self.queue.lock();
                waiting.led = false;
                std::mem::take(&mut waiting.ops)
            };
            drop(abandoned);
        }
    }
}

/// Has an operation written, by `write`, with others of its queue.
pub(crate) fn enqueue<O: Queued>(
    queue: Arc<Queue<O>>,
    op: O,
    mut write: impl FnMut(Vec<O>) + Send + 'static,
) {
    let leads = {
        let mut waiting = queue.lock();
        waiting.ops.push_back(op);
        !std::mem::replace(&mut waiting.led, true)
    };
    if leads {
        let mut leader = Leader { queue, leads: true };
        tokio::task::spawn_blocking(move || {
            while let Some(ops) = leader.next() {
                write(ops);
            }
        });
    }
}
