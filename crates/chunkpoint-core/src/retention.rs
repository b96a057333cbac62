//! Which checkpoints go, and when: `max_history`, `max_age`, pins.
//!
//! Retention runs in bounded slices after commits, off the request path, and
//! by [`Memory::maintain`](crate::Memory::maintain). It counts the commits it
//! sees itself, so that most commits cost it nothing; what it does is decided
//! by what it then finds in the backend, so any number of processes may run
//! it at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;

use crate::backend::{Detail, ListRecords, ListThreads, RecordRow};
use crate::engine::Engine;
use crate::error::Result;
use crate::removal::{Failures, Removed, remove};

/// Namespaces whose commits are counted; beyond that, counting starts anew.
const COUNTED: usize = 16 * 1024;
/// Records removed in one slice.
const SLICE: usize = 512;
/// With `max_age` alone, a namespace is looked at every so many commits.
const LOOK_EVERY: usize = 64;
/// The count of a namespace that was not looked at yet. It is due: the first
/// commit seen has the rest counted.
const UNKNOWN: usize = usize::MAX / 2;
/// Below this many removed bytes, reclaiming is not worth its work.
const LEAST_RECLAIM: u64 = 256 << 10;

/// What [`Memory::maintain`](crate::Memory::maintain) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Maintained {
    /// Threads looked at.
    pub threads: u64,
    /// Checkpoints removed.
    pub removed: u64,
    /// Bytes freed, as far as the backend knows: none before the grace period of what
    /// was removed has passed.
    pub freed_bytes: u64,
}

type ThreadNamespace = (Arc<str>, Arc<str>);

#[derive(Default)]
pub(crate) struct Retention {
    counts: Mutex<HashMap<ThreadNamespace, usize>>,
    pressure: Mutex<HashMap<Arc<str>, Pressure>>,
}

/// How much a thread has lost since it was last reclaimed.
#[derive(Debug, Clone, Copy, Default)]
struct Pressure {
    /// Bytes of the packs removed since: an upper bound of what is dead.
    removed: u64,
    /// What the thread took after the last reclaim.
    live: u64,
}

impl Retention {
    fn committed(&self, thread: &Arc<str>, namespace: &Arc<str>) -> usize {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED {
            counts.clear();
        }
        let count = counts
            .entry((thread.clone(), namespace.clone()))
            .or_insert(UNKNOWN);
        *count += 1;
        *count
    }

    fn count(&self, thread: &Arc<str>, namespace: &Arc<str>) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (thread.clone(), namespace.clone());
        counts.get(&key).copied().unwrap_or(UNKNOWN)
    }

    /// Says that of the commits counted up to `before`, so many are left.
    /// Those counted since are to be added: whoever looked may have missed them.
    fn counted(&self, thread: &Arc<str>, namespace: &Arc<str>, before: usize, left: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts
            .entry((thread.clone(), namespace.clone()))
            .or_insert(before);
        *count = left + count.saturating_sub(before);
    }

    pub(crate) fn forget(&self, thread: &str) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(counted, _), _| &**counted != thread);
        self.pressure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(thread);
    }

    /// Adds removed bytes; tells whether reclaiming is due: when as much was removed
    /// as half of what stays, so that the work is a constant factor of the writes.
    pub(crate) fn removed(&self, thread: &Arc<str>, bytes: u64) -> bool {
        let mut pressure = self.pressure.lock().unwrap_or_else(PoisonError::into_inner);
        if pressure.len() >= COUNTED {
            pressure.clear();
        }
        let entry = pressure.entry(thread.clone()).or_default();
        entry.removed += bytes;
        entry.removed >= LEAST_RECLAIM.max(entry.live / 2)
    }

    fn is_pressed(&self, thread: &Arc<str>) -> bool {
        self.removed(thread, 0)
    }

    pub(crate) fn reclaimed(&self, thread: &Arc<str>, live: u64) {
        let mut pressure = self.pressure.lock().unwrap_or_else(PoisonError::into_inner);
        pressure.insert(thread.clone(), Pressure { removed: 0, live });
    }
}

impl Engine {
    fn retains(&self) -> bool {
        self.settings.max_history.is_some() || self.settings.max_age.is_some()
    }

    /// Called after each commit. Returns at once unless removal has fallen so
    /// far behind that the writer has to wait for it.
    pub(crate) async fn after_commit(engine: &Arc<Self>, thread: &Arc<str>, namespace: &Arc<str>) {
        if !engine.retains() || !engine.background.enabled() {
            return;
        }
        let count = engine.retention.committed(thread, namespace);
        let due = match engine.settings.max_history {
            Some(most) => most.saturating_add((most / 4).max(8)),
            None => LOOK_EVERY,
        };
        if count < due {
            return;
        }
        let behind = count < UNKNOWN && count > due.saturating_add(4 * SLICE);
        let (task, thread, namespace) = (Arc::downgrade(engine), thread.clone(), namespace.clone());
        let name = format!("trim {thread}\0{namespace}");
        let work = async move {
            // Work that waits for its turn does not keep a dropped memory alive.
            while let Some(task) = task.upgrade() {
                if let Err(error) = task.trim_and_reclaim(&thread, &namespace).await {
                    // The next commit, or maintain(), tries again.
                    tracing::warn!(%error, "retention stopped");
                    return;
                }
                // Commits that came meanwhile found somebody at work, and left.
                // A writer that waits has done enough.
                if behind || task.retention.count(&thread, &namespace) < due {
                    return;
                }
            }
        };
        if behind {
            work.await;
        } else {
            engine.background.spawn(name, work);
        }
    }

    async fn trim_and_reclaim(
        self: &Arc<Self>,
        thread: &Arc<str>,
        namespace: &Arc<str>,
    ) -> Result<()> {
        self.trim(thread, namespace).await?;
        if self.retention.is_pressed(thread) {
            self.reclaim(thread).await?;
        }
        Ok(())
    }

    /// Removes what retention does not keep of one namespace.
    pub(crate) async fn trim(
        self: &Arc<Self>,
        thread: &Arc<str>,
        namespace: &Arc<str>,
    ) -> Result<u64> {
        let (mut total, mut delta) = (0, None);
        loop {
            let before = self.retention.count(thread, namespace);
            let (victims, kept, more) = self.victims(thread, namespace, &mut delta).await?;
            // With `max_age` alone, what is kept says nothing about when to look next.
            let left = self.settings.max_history.map_or(0, |_| kept);
            self.retention.counted(thread, namespace, before, left);
            if victims.is_empty() {
                return Ok(total);
            }
            let delta = delta.unwrap_or(false);
            let Removed { records, bytes } =
                remove(self, thread, namespace, victims, delta).await?;
            total += records;
            self.retention.removed(thread, bytes);
            if !more || records == 0 {
                return Ok(total);
            }
        }
    }

    /// The records of one slice that have to go, how many stay, and whether
    /// there may be more to go. Sees to it that `delta` says whether delta histories
    /// run through the namespace, for which it looks at all of it once.
    async fn victims(
        &self,
        thread: &Arc<str>,
        namespace: &Arc<str>,
        delta: &mut Option<bool>,
    ) -> Result<(Vec<RecordRow>, usize, bool)> {
        let oldest = self
            .settings
            .max_age
            .map(|age| self.clock.now_ms().saturating_sub(age.as_millis() as u64));
        let most = self.settings.max_history.unwrap_or(usize::MAX);
        let mut rows = self
            .backend
            .list(ListRecords {
                thread: thread.clone(),
                namespace: Some(namespace.clone()),
                before: None,
                limit: None,
                hidden: false,
                detail: Detail::Keys,
            })
            .await?;
        let (mut kept, mut victims, mut newest) = (0, Vec::new(), true);
        let (looks, mut found) = (delta.is_none(), delta.unwrap_or(false));
        while let Some(row) = rows.next().await {
            let row = row?;
            found |= row.index.delta;
            *delta = Some(found);
            if victims.len() == SLICE {
                continue;
            }
            let too_old = oldest.is_some_and(|oldest| row.index.time_ms < oldest) && !newest;
            newest = false;
            if row.pinned {
                continue;
            }
            if kept >= most || too_old {
                victims.push(row);
                if victims.len() == SLICE && !looks {
                    break;
                }
            } else {
                kept += 1;
            }
        }
        let more = victims.len() == SLICE;
        Ok((victims, kept, more))
    }

    pub(crate) async fn maintain(engine: &Arc<Self>) -> Result<Maintained> {
        let mut done = Maintained::default();
        let mut failures = Failures::default();
        let mut after = None;
        loop {
            let page = ListThreads {
                prefix: String::new(),
                after,
                limit: 256,
                // Pending writes whose checkpoint never came are swept also where
                // nothing else is, and what was left when the last record went.
                all: true,
            };
            let threads = engine.backend.threads(page).await?;
            let Some(last) = threads.last() else {
                return failures.into_result().map(|()| done);
            };
            after = Some(last.clone());
            for thread in threads {
                engine.check_open()?;
                done.threads += 1;
                let maintained = engine.maintain_thread(&thread, &mut done).await;
                failures.note(&thread, maintained);
            }
        }
    }

    async fn maintain_thread(
        self: &Arc<Self>,
        thread: &Arc<str>,
        done: &mut Maintained,
    ) -> Result<()> {
        if self.retains() {
            for namespace in self.namespaces(thread).await? {
                done.removed += self.trim(thread, &namespace).await?;
            }
        }
        done.freed_bytes += self.reclaim(thread).await?;
        Ok(())
    }

    /// The namespaces of a thread that have records. Lists every record's key.
    pub(crate) async fn namespaces(&self, thread: &Arc<str>) -> Result<Vec<Arc<str>>> {
        let mut rows = self
            .backend
            .list(ListRecords {
                thread: thread.clone(),
                namespace: None,
                before: None,
                limit: None,
                hidden: true,
                detail: Detail::Keys,
            })
            .await?;
        let mut namespaces = std::collections::BTreeSet::new();
        while let Some(row) = rows.next().await {
            namespaces.insert(row?.record.key.namespace);
        }
        Ok(namespaces.into_iter().collect())
    }
}
