//! [`MemoryBackend`]: checkpoints in this process's memory.
//!
//! It is both the backend behind `memory:` and the model that other backends
//! are compared with, so it is written to be read beside the contract in
//! [`crate::backend`]: one lock, one map of threads, and each method a plain
//! transcription of its bullets. Nothing blocks while the lock is held, and no
//! lock is held across an await.

mod items;
mod life;
mod listing;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use self::items::Items;
use self::life::Life;
use self::listing::Listing;
use crate::backend::{
    Alter, Altered, Base, Capabilities, CheckpointBackend, ChunkName, Commit, Committed, Condemned,
    CondemnedPack, Detail, Incarnation, ListCondemned, ListRecords, ListThreads, Pick, PutWrites,
    Reclaim, Reclaimed, RecordRow,
};
use crate::error::{Error, ErrorKind, Result, quote};
use crate::store_backend::StoreBackend;

/// Keeps checkpoints in memory. Everything is gone with the last handle.
///
/// Bodies, chunks and values are kept as the [`Bytes`] they came as, not
/// copied: a caller that hands in a slice of a large buffer keeps the buffer.
#[derive(Default)]
pub struct MemoryBackend {
    state: Mutex<State>,
    items: Arc<Items>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Shared with the listings that are under way: what they began with is
    /// copied before it changes.
    threads: BTreeMap<Arc<str>, Arc<Life>>,
}

impl MemoryBackend {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of all bodies, chunks and pending values that are kept, those of the
    /// long-term store too; names and indexes are not counted.
    pub fn bytes(&self) -> u64 {
        let checkpoints: u64 = self.lock().threads.values().map(|life| life.bytes()).sum();
        checkpoints + self.items.bytes()
    }

    /// Takes the lock. A panic elsewhere cannot leave the state half changed in
    /// a way that matters to a test that is failing already, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock, unless the backend is closed.
    fn open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Unavailable, "the backend is closed")
                .retryable(false)
                .operation(operation));
        }
        Ok(state)
    }
}

#[async_trait]
impl CheckpointBackend for MemoryBackend {
    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        Some(self)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("memory")
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let mut state = self.open("commit")?;
        let life = state.threads.get(&commit.thread);
        let current = life.map(|life| life.incarnation);
        if let Some(life) = life
            && life.packs.contains_key(&commit.pack)
        {
            return Ok(Committed {
                incarnation: life.incarnation,
                locator: 0,
            });
        }
        let incarnation = match &commit.base {
            Base::Root { fresh } => current.unwrap_or(*fresh),
            Base::Borrow { incarnation, from } => {
                let Some(life) = life.filter(|life| life.incarnation == *incarnation) else {
                    return Err(parent_gone("the thread was deleted"));
                };
                for parent in from {
                    if life.record(&parent.key).map(|r| r.pack) != Some(parent.pack) {
                        return Err(parent_gone(&format!(
                            "checkpoint {} was removed or replaced",
                            quote(&parent.key.id)
                        )));
                    }
                }
                *incarnation
            }
        };
        if let Some(expected) = &commit.expect_latest {
            let latest = life.and_then(|life| life.latest(&commit.key.namespace));
            if latest.map(|(id, _)| id) != expected.as_ref() {
                let found = match latest {
                    Some((id, _)) => quote(id),
                    None => "none".into(),
                };
                let message = format!("the latest checkpoint is not as expected but {found}");
                return Err(Error::new(ErrorKind::Conflict, message).operation("commit"));
            }
        }
        let life = state.threads.entry(commit.thread.clone());
        let life = life.or_insert_with(|| Life::new(incarnation).into());
        Arc::make_mut(life).commit(commit);
        Ok(Committed {
            incarnation,
            locator: 0,
        })
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        let state = self.open("get")?;
        let life = state.threads.get(thread);
        let rows = picks.iter().map(|pick| life?.pick(pick, detail));
        Ok(rows.collect())
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let state = self.open("list")?;
        let Some(life) = state.threads.get(&query.thread) else {
            return Ok(stream::empty().boxed());
        };
        Ok(Listing::new(life.clone(), query).into_rows())
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let state = self.open("chunks")?;
        let life = state.threads.get(thread);
        let life = life.filter(|life| life.incarnation == incarnation);
        let chunks = names.iter().map(|name| {
            let pack = life?.packs.get(&name.pack)?;
            pack.chunks.get(name.ordinal as usize)?.clone()
        });
        Ok(chunks.collect())
    }

    async fn put_writes(&self, put: PutWrites) -> Result<()> {
        let mut state = self.open("put_writes")?;
        let life = state.threads.entry(put.thread);
        let life = Arc::make_mut(life.or_insert_with(|| Life::new(put.fresh).into()));
        let writes = life.writes.entry(put.key).or_default();
        if !writes.calls.insert(put.write_id) {
            return Ok(());
        }
        for write in put.writes {
            let slot = (write.task_id.clone(), write.idx);
            if write.replace || !writes.slots.contains_key(&slot) {
                writes.slots.insert(slot, (put.time_ms, write));
            }
        }
        Ok(())
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        let mut state = self.open("alter")?;
        let life = state.threads.get_mut(&alter.thread);
        let mut life = life.filter(|life| life.incarnation == alter.incarnation);
        let changes = alter.changes.into_iter();
        let altered = changes.map(|(target, change)| match &mut life {
            Some(life) => Arc::make_mut(life).alter(&target, change, alter.time_ms),
            None => Altered::Gone,
        });
        Ok(altered.collect())
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        let state = self.open("condemned")?;
        let Some(life) = state.threads.get(&query.thread) else {
            return Ok(None);
        };
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let packs = life.packs.range((after, Bound::Unbounded));
        let due = packs.filter(|(_, p)| p.condemned_ms.is_some_and(|at| at <= query.before_ms));
        let packs = due.map(|(&pack, stored)| {
            let chunks = (0..).zip(&stored.chunks);
            let chunks = chunks.filter_map(|(n, chunk)| chunk.as_ref().map(|_| n));
            CondemnedPack {
                pack,
                chunks: chunks.collect(),
            }
        });
        let packs = packs.filter(|pack| !pack.chunks.is_empty());
        Ok(Some(Condemned {
            incarnation: life.incarnation,
            packs: packs.take(query.limit).collect(),
        }))
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        let mut state = self.open("reclaim")?;
        let life = state.threads.get_mut(&reclaim.thread);
        let Some(life) = life.filter(|life| life.incarnation == reclaim.incarnation) else {
            return Ok(Reclaimed::default());
        };
        let before = life.bytes();
        Arc::make_mut(life).reclaim(&reclaim);
        let live_bytes = life.bytes();
        Ok(Reclaimed {
            freed_bytes: before.saturating_sub(live_bytes),
            live_bytes,
        })
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let mut state = self.open("delete_thread")?;
        let life = state.threads.get(thread);
        if life.is_some_and(|life| life.incarnation == incarnation) {
            state.threads.remove(thread);
        }
        Ok(())
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        let mut state = self.open("copy_thread")?;
        if let Some(life) = state.threads.get(target) {
            if life.incarnation == fresh {
                return Ok(());
            }
            let message = format!("thread {} exists", quote(target));
            return Err(Error::new(ErrorKind::Conflict, message).operation("copy_thread"));
        }
        let Some(life) = state.threads.get(source) else {
            let message = format!("there is no thread {}", quote(source));
            return Err(Error::new(ErrorKind::NotFound, message).operation("copy_thread"));
        };
        let mut copy = Life::clone(life);
        copy.incarnation = fresh;
        state.threads.insert(target.into(), copy.into());
        Ok(())
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let state = self.open("incarnation")?;
        Ok(state.threads.get(thread).map(|life| life.incarnation))
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        let state = self.open("threads")?;
        // Whichever comes later of the prefix itself and what follows `after`.
        let from = match query.after.as_deref() {
            Some(after) if after >= query.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(query.prefix.as_str()),
        };
        let threads = state.threads.range::<str, _>((from, Bound::Unbounded));
        let threads = threads
            .take_while(|(thread, _)| thread.starts_with(&query.prefix))
            .filter(|(_, life)| query.all || life.has_visible());
        Ok(threads
            .take(query.limit)
            .map(|(thread, _)| thread.clone())
            .collect())
    }

    async fn close(&self) -> Result<()> {
        self.lock().closed = true;
        Ok(())
    }
}

fn parent_gone(message: &str) -> Error {
    Error::new(ErrorKind::ParentGone, message).operation("commit")
}

impl fmt::Display for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}

impl fmt::Debug for MemoryBackend {
    // Counts only: what is stored are the user's conversations.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryBackend")
            .field("threads", &state.threads.len())
            .field("closed", &state.closed)
            .finish()
    }
}
