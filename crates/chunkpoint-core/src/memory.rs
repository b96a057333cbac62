//! [`MemoryBackend`]: checkpoints in this process's memory.
//!
//! It is both the backend behind `memory:` and the model that other backends
//! are compared with, so it is written to be read beside the contract in
//! [`crate::backend`]: one lock, one map of threads, and each method a plain
//! transcription of its bullets. Nothing blocks while the lock is held, and no
//! lock is held across an await.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::backend::{
    Alter, Altered, Base, Capabilities, Change, CheckpointBackend, ChunkName, Commit, Committed,
    Condemned, CondemnedPack, Detail, Incarnation, ListCondemned, ListRecords, ListThreads, PackId,
    PendingWrite, Pick, PutWrites, Reclaim, Reclaimed, RecordIndex, RecordKey, RecordRef,
    RecordRow,
};
use crate::error::{Error, ErrorKind, Result, quote};

/// Rows that [`MemoryBackend::list`] copies out under one taking of the lock.
const LIST_PAGE: usize = 256;

/// Keeps checkpoints in memory. Everything is gone with the last handle.
///
/// Bodies, chunks and values are kept as the [`Bytes`] they came as, not
/// copied: a caller that hands in a slice of a large buffer keeps the buffer.
#[derive(Default)]
pub struct MemoryBackend {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    threads: BTreeMap<Arc<str>, Life>,
}

/// One incarnation of one thread.
#[derive(Clone)]
struct Life {
    incarnation: Incarnation,
    /// By namespace, then id. A namespace that has lost its last record has no entry.
    records: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Record>>,
    /// Every pack known: those of records, and condemned ones until all their
    /// chunks are reclaimed.
    packs: BTreeMap<PackId, Pack>,
    /// Pending writes, whether their checkpoint exists or not.
    writes: BTreeMap<RecordKey, Writes>,
}

#[derive(Clone)]
struct Record {
    pack: PackId,
    hidden: bool,
    pinned: bool,
    index: RecordIndex,
    body: Bytes,
}

#[derive(Clone)]
struct Pack {
    /// By ordinal; `None` once reclaimed.
    chunks: Vec<Option<Bytes>>,
    /// When its record was replaced or removed; `None` while it is current.
    condemned_ms: Option<u64>,
}

/// The pending writes of one checkpoint.
#[derive(Clone, Default)]
struct Writes {
    /// The calls that are in already. Needed because a repeated `replace`
    /// must not undo a later one.
    calls: BTreeSet<PackId>,
    /// By (task, idx): when it came, and the write.
    slots: BTreeMap<(Arc<str>, i32), (u64, PendingWrite)>,
}

impl MemoryBackend {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of all bodies, chunks and pending values that are kept; names
    /// and indexes are not counted.
    pub fn bytes(&self) -> u64 {
        lock(&self.state).threads.values().map(Life::bytes).sum()
    }

    fn open(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        open(&self.state, operation)
    }
}

/// Takes the lock. A panic elsewhere cannot leave the state half changed in a
/// way that matters to a test that is failing already, so poison is ignored.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock of a backend that is not closed.
fn open<'a>(state: &'a Mutex<State>, operation: &'static str) -> Result<MutexGuard<'a, State>> {
    let guard = lock(state);
    if guard.closed {
        return Err(Error::new(ErrorKind::Unavailable, "the backend is closed")
            .retryable(false)
            .operation(operation));
    }
    Ok(guard)
}

impl Life {
    fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            records: BTreeMap::new(),
            packs: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    fn record(&self, key: &RecordKey) -> Option<&Record> {
        self.records.get(&key.namespace)?.get(&key.id)
    }

    fn record_mut(&mut self, key: &RecordKey) -> Option<&mut Record> {
        self.records.get_mut(&key.namespace)?.get_mut(&key.id)
    }

    /// The greatest visible id of a namespace and its record.
    fn latest(&self, namespace: &str) -> Option<(&Arc<str>, &Record)> {
        let ids = self.records.get(namespace)?;
        ids.iter().rev().find(|(_, record)| !record.hidden)
    }

    fn has_visible(&self) -> bool {
        let mut all = self.records.values().flat_map(BTreeMap::values);
        all.any(|record| !record.hidden)
    }

    fn condemn(&mut self, pack: PackId, time_ms: u64) {
        if let Some(pack) = self.packs.get_mut(&pack) {
            pack.condemned_ms = Some(time_ms);
        }
    }

    fn bytes(&self) -> u64 {
        let records = self.records.values().flat_map(BTreeMap::values);
        let bodies: usize = records.map(|record| record.body.len()).sum();
        let chunks = self.packs.values().flat_map(|pack| &pack.chunks).flatten();
        let chunks: usize = chunks.map(Bytes::len).sum();
        let writes = self.writes.values().flat_map(|w| w.slots.values());
        let writes: usize = writes.map(|(_, write)| write.value.len()).sum();
        (bodies + chunks + writes) as u64
    }

    fn row(&self, namespace: &Arc<str>, id: &Arc<str>, record: &Record, d: Detail) -> RecordRow {
        let key = RecordKey {
            namespace: namespace.clone(),
            id: id.clone(),
        };
        let writes = match self.writes.get(&key) {
            Some(writes) if d >= Detail::Writes => {
                writes.slots.values().map(|(_, w)| w.clone()).collect()
            }
            _ => Vec::new(),
        };
        RecordRow {
            incarnation: self.incarnation,
            record: RecordRef {
                key,
                pack: record.pack,
            },
            locator: 0,
            hidden: record.hidden,
            pinned: record.pinned,
            index: record.index.clone(),
            body: if d >= Detail::Bodies {
                record.body.clone()
            } else {
                Bytes::new()
            },
            writes,
        }
    }

    fn pick(&self, pick: &Pick, detail: Detail) -> Option<RecordRow> {
        match pick {
            Pick::Latest { namespace } => {
                let (id, record) = self.latest(namespace)?;
                Some(self.row(namespace, id, record, detail))
            }
            Pick::At(key) => {
                let record = self.record(key)?;
                Some(self.row(&key.namespace, &key.id, record, detail))
            }
        }
    }

    /// The next at most `limit` rows of `query`, those after `cursor`.
    fn page(&self, query: &ListRecords, cursor: &Cursor, limit: usize) -> Vec<RecordRow> {
        let mut found = Vec::new();
        for (namespace, ids) in &self.records {
            if query.namespace.as_ref().is_some_and(|n| n != namespace) {
                continue;
            }
            let below = match cursor {
                Cursor::Start(None) => Bound::Unbounded,
                Cursor::Start(Some(id)) => Bound::Excluded(&**id),
                // At one id, namespaces ascend: those after the last still have it to come.
                Cursor::After(id, last) if namespace > last => Bound::Included(&**id),
                Cursor::After(id, _) => Bound::Excluded(&**id),
            };
            let ids = ids.range::<str, _>((Bound::Unbounded, below)).rev();
            let ids = ids.filter(|(_, record)| query.hidden || !record.hidden);
            found.extend(ids.take(limit).map(|(id, record)| (id, namespace, record)));
        }
        found.sort_by(|a, b| b.0.cmp(a.0).then(a.1.cmp(b.1)));
        found.truncate(limit);
        let rows = found.into_iter();
        rows.map(|(id, namespace, record)| self.row(namespace, id, record, query.detail))
            .collect()
    }

    fn commit(&mut self, commit: Commit) {
        let ids = self.records.entry(commit.key.namespace).or_default();
        let mut record = Record {
            pack: commit.pack,
            hidden: false,
            pinned: false,
            index: commit.index,
            body: commit.body,
        };
        let mut replaced = None;
        if let Some(old) = ids.get(&commit.key.id) {
            record.pinned = old.pinned;
            record.index.parent = old.index.parent.clone();
            replaced = Some((old.pack, record.index.time_ms));
        }
        ids.insert(commit.key.id, record);
        if let Some((pack, time_ms)) = replaced {
            self.condemn(pack, time_ms);
        }
        let pack = Pack {
            chunks: commit.chunks.into_iter().map(Some).collect(),
            condemned_ms: None,
        };
        self.packs.insert(commit.pack, pack);
    }

    fn alter(&mut self, target: &RecordRef, change: Change, time_ms: u64) -> Altered {
        let Some(record) = self.record_mut(&target.key) else {
            return Altered::Gone;
        };
        if record.pack != target.pack {
            return Altered::Gone;
        }
        match change {
            Change::Pin(pinned) => record.pinned = pinned,
            Change::Remove | Change::Hide { .. } if record.pinned => return Altered::Pinned,
            // A repeat changes nothing, not even the body.
            Change::Hide { .. } if record.hidden => {}
            Change::Hide { body } => {
                record.hidden = true;
                record.body = body;
            }
            Change::Remove => {
                if let Some(ids) = self.records.get_mut(&target.key.namespace) {
                    ids.remove(&target.key.id);
                    if ids.is_empty() {
                        self.records.remove(&target.key.namespace);
                    }
                }
                self.writes.remove(&target.key);
                self.condemn(target.pack, time_ms);
            }
        }
        Altered::Done
    }

    fn reclaim(&mut self, reclaim: &Reclaim) {
        let due = |pack: &Pack| pack.condemned_ms.is_some_and(|at| at <= reclaim.before_ms);
        for (pack, ordinals) in &reclaim.dead {
            let Some(pack) = self.packs.get_mut(pack).filter(|pack| due(pack)) else {
                continue;
            };
            for &ordinal in ordinals {
                if let Some(chunk) = pack.chunks.get_mut(ordinal as usize) {
                    *chunk = None;
                }
            }
        }
        // What is left of a pack without chunks only recognises a repeated
        // commit, which nobody sends any more once the grace has passed.
        self.packs
            .retain(|_, pack| !due(pack) || pack.chunks.iter().any(Option::is_some));
        let records = &self.records;
        self.writes.retain(|key, writes| {
            let ids = records.get(&key.namespace);
            if ids.is_some_and(|ids| ids.contains_key(&key.id)) {
                return true;
            }
            writes
                .slots
                .retain(|_, (came_ms, _)| *came_ms > reclaim.before_ms);
            !writes.slots.is_empty()
        });
    }
}

/// Where a listing has got to.
enum Cursor {
    /// Nowhere yet; only ids before this one, if any.
    Start(Option<Arc<str>>),
    /// The last row given had this id and namespace.
    After(Arc<str>, Arc<str>),
}

#[async_trait]
impl CheckpointBackend for MemoryBackend {
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
        let life = life.or_insert_with(|| Life::new(incarnation));
        life.commit(commit);
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
        let listing = Listing {
            state: self.state.clone(),
            incarnation: life.incarnation,
            cursor: Cursor::Start(query.before.clone()),
            left: query.limit.unwrap_or(usize::MAX),
            query,
        };
        let pages = stream::unfold(listing, |mut listing| async move {
            let page = listing.next_page();
            let more = !matches!(&page, Ok(rows) if rows.is_empty());
            more.then_some((page, listing))
        });
        let rows = pages.flat_map(|page| {
            let rows = match page {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(rows)
        });
        Ok(rows.boxed())
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
        let life = life.or_insert_with(|| Life::new(put.fresh));
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
            Some(life) => life.alter(&target, change, alter.time_ms),
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
        life.reclaim(&reclaim);
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
        let mut copy = life.clone();
        copy.incarnation = fresh;
        state.threads.insert(target.into(), copy);
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
        lock(&self.state).closed = true;
        Ok(())
    }
}

/// A listing between two pages.
struct Listing {
    state: Arc<Mutex<State>>,
    incarnation: Incarnation,
    query: ListRecords,
    cursor: Cursor,
    left: usize,
}

impl Listing {
    /// The next rows; none at the end, or once the incarnation has ended.
    fn next_page(&mut self) -> Result<Vec<RecordRow>> {
        let state = open(&self.state, "list")?;
        let life = state.threads.get(&self.query.thread);
        let Some(life) = life.filter(|life| life.incarnation == self.incarnation) else {
            return Ok(Vec::new());
        };
        let rows = life.page(&self.query, &self.cursor, self.left.min(LIST_PAGE));
        if let Some(last) = rows.last() {
            let key = &last.record.key;
            self.cursor = Cursor::After(key.id.clone(), key.namespace.clone());
        }
        self.left -= rows.len();
        Ok(rows)
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
        let state = lock(&self.state);
        f.debug_struct("MemoryBackend")
            .field("threads", &state.threads.len())
            .field("closed", &state.closed)
            .finish()
    }
}
