//! Mutations whose caller has gone.
//!
//! A mutation runs in a task of its own, to its end: dropped half-way, it would leave a
//! transaction on a connection that is in nobody's hands. If its caller is dropped
//! meanwhile, nobody knows what comes of it. So the next call for the same thread waits
//! until that is decided: what it then finds does not change any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How many mutations of each thread have lost their callers and not ended yet.
#[derive(Debug)]
pub(crate) struct Orphans {
    counts: watch::Sender<HashMap<Arc<str>, usize>>,
    /// Whether there are any; nearly always not.
    any: AtomicBool,
}

/// A mutation, as its caller and as its task have it; whichever is dropped first says so.
#[derive(Debug)]
pub(crate) struct Half {
    orphans: Arc<Orphans>,
    thread: Arc<str>,
    /// Whether the other half was dropped.
    alone: Arc<AtomicBool>,
    is_task: bool,
}

impl Orphans {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            counts: watch::Sender::new(HashMap::new()),
            any: AtomicBool::new(false),
        })
    }

    /// The two halves of a mutation: its caller's, and its task's.
    pub(crate) fn halves(self: &Arc<Self>, thread: &Arc<str>) -> (Half, Half) {
        let alone = Arc::new(AtomicBool::new(false));
        let half = |is_task| Half {
            orphans: self.clone(),
            thread: thread.clone(),
            alone: alone.clone(),
            is_task,
        };
        (half(false), half(true))
    }

    /// Waits until nothing is undecided for a thread; for any, if none is named.
    pub(crate) async fn decided(&self, thread: Option<&str>) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let mut counts = self.counts.subscribe();
        let decided = counts.wait_for(|counts| match thread {
            Some(thread) => !counts.contains_key(thread),
            None => counts.is_empty(),
        });
        // It fails once there are no more changes, and thus nothing to wait for.
        decided.await.ok();
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Both halves decide inside, so that one is first.
        self.orphans.counts.send_modify(|counts| {
            let other_has_gone = self.alone.swap(true, Ordering::SeqCst);
            match (self.is_task, other_has_gone) {
                // The caller has gone before its task has ended.
                (false, false) => *counts.entry(self.thread.clone()).or_default() += 1,
                // That task ends.
                (true, true) => {
                    if let Some(count) = counts.get_mut(&self.thread) {
                        *count -= 1;
                        if *count == 0 {
                            counts.remove(&self.thread);
                        }
                    }
                }
                _ => {}
            }
            self.orphans.any.store(!counts.is_empty(), Ordering::SeqCst);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn the_next_call_waits_for_what_is_undecided() {
        let orphans = Orphans::new();
        let thread: Arc<str> = "t".into();
        let (caller, task) = orphans.halves(&thread);
        drop(task);
        drop(caller);
        assert!(orphans.decided(None).now_or_never().is_some());
        let (caller, task) = orphans.halves(&thread);
        drop(caller);
        assert!(orphans.decided(Some("t")).now_or_never().is_none());
        assert!(orphans.decided(None).now_or_never().is_none());
        assert!(orphans.decided(Some("u")).now_or_never().is_some());
        drop(task);
        assert!(orphans.decided(Some("t")).now_or_never().is_some());
    }
}
