//! Mutations whose caller has gone.
//!
//! A mutation runs in a task of its own, to its end: dropped half-way, it would leave a
//! transaction on a connection that is in nobody's hands. If its caller is dropped
//! meanwhile, nobody knows what comes of it. So the next call for the same thread, or for
//! the same item, waits until that is decided: what it then finds does not change any more,
//! and what it writes is not overtaken.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How many mutations of each `K`, a thread or an item, have lost their callers and not
/// ended yet.
#[derive(Debug)]
pub(crate) struct Orphans<K> {
    counts: watch::Sender<HashMap<K, usize>>,
    /// Whether there are any; nearly always not.
    any: AtomicBool,
}

/// A mutation, as its caller and as its task have it; whichever is dropped first says so.
#[derive(Debug)]
pub(crate) struct Half<K: Clone + Eq + Hash> {
    orphans: Arc<Orphans<K>>,
    of: Arc<[K]>,
    /// Whether the other half was dropped.
    alone: Arc<AtomicBool>,
    is_task: bool,
}

impl<K: Clone + Eq + Hash + Send + Sync> Orphans<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            counts: watch::Sender::new(HashMap::new()),
            any: AtomicBool::new(false),
        })
    }

    /// The two halves of a mutation of these: its caller's, and its task's.
    pub(crate) fn halves(self: &Arc<Self>, of: Arc<[K]>) -> (Half<K>, Half<K>) {
        let alone = Arc::new(AtomicBool::new(false));
        let half = |is_task| Half {
            orphans: self.clone(),
            of: of.clone(),
            alone: alone.clone(),
            is_task,
        };
        (half(false), half(true))
    }

    /// Waits until nothing is undecided of those for which `concerns` holds.
    pub(crate) async fn decided(&self, concerns: impl Fn(&K) -> bool + Send + Sync) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let mut counts = self.counts.subscribe();
        let decided = counts.wait_for(|counts| !counts.keys().any(&concerns));
        // It fails once there are no more changes, and thus nothing to wait for.
        decided.await.ok();
    }
}

impl<K: Clone + Eq + Hash> Drop for Half<K> {
    fn drop(&mut self) {
        // Both halves decide inside, so that one is first.
        self.orphans.counts.send_modify(|counts| {
            let other_has_gone = self.alone.swap(true, Ordering::SeqCst);
            match (self.is_task, other_has_gone) {
                // The caller has gone before its task has ended.
                (false, false) => {
                    for key in &*self.of {
                        *counts.entry(key.clone()).or_default() += 1;
                    }
                }
                // That task ends.
                (true, true) => {
                    for key in &*self.of {
                        if let Some(count) = counts.get_mut(key) {
                            *count -= 1;
                            if *count == 0 {
                                counts.remove(key);
                            }
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

    fn is_decided(
        orphans: &Orphans<&'static str>,
        concerns: impl Fn(&&'static str) -> bool + Send + Sync,
    ) -> bool {
        orphans.decided(concerns).now_or_never().is_some()
    }

    #[test]
    fn the_next_call_waits_for_what_is_undecided() {
        let orphans = Orphans::new();
        let (caller, task) = orphans.halves(["t"].into());
        drop(task);
        drop(caller);
        assert!(is_decided(&orphans, |_| true));
        let (caller, task) = orphans.halves(["t", "v"].into());
        drop(caller);
        assert!(!is_decided(&orphans, |key| *key == "t"));
        assert!(!is_decided(&orphans, |key| *key == "v"));
        assert!(!is_decided(&orphans, |_| true));
        assert!(is_decided(&orphans, |key| *key == "u"));
        let (caller, second) = orphans.halves(["t"].into());
        drop(caller);
        drop(task);
        assert!(!is_decided(&orphans, |key| *key == "t"));
        assert!(is_decided(&orphans, |key| *key == "v"));
        drop(second);
        assert!(is_decided(&orphans, |_| true));
    }
}
