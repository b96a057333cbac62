//! [`ObjectBackend`]: checkpoints on an object store cut down to S3's powers.
//!
//! It shows that the trait can be kept by the weakest storage there is: get,
//! put, create-if-absent, ordered list and delete, each of one object, and
//! nothing that spans two. Its speed does not matter (it reads a whole
//! life for every call); its protocols do. What follows holds where the
//! store has create-if-absent; the last section says what is left without.
//!
//! # A commit is one object
//!
//! A pack's object holds the record and its chunks and never changes. It is
//! **effective** from the moment it is put. Of the packs of one record the one
//! of greatest (rank, id) is current, so a re-put is a put as well. What
//! happens to a pack later is written beside it, as marks.
//!
//! # Removal
//!
//! Nothing can check a parent and put a child in one step. So each side writes
//! first and looks afterwards:
//!
//! * A remover of P writes the **verdict** *removed* beside it. A re-put condemns the
//!   pack that it replaces in the same way.
//! * A committer puts its pack A, then looks whether a parent is condemned. If
//!   none is, it acknowledges.
//! * Whoever reads a condemned P **settles** it before acting on what it read: it
//!   lists the packs that are effective and writes them down as P's **final**,
//!   with create-if-absent. The first final is the only one. A child of P
//!   counts if it is in the final. A committer that finds itself in
//!   acknowledges; else it deletes its pack and returns `ParentGone`.
//!
//! Every acknowledged child is in the final: if it saw no verdict, it was
//! effective before the verdict, hence before any scan. No child is first seen
//! and then excluded: while there is no verdict, a child that can be seen is
//! effective already; afterwards nobody answers before the final. And nobody
//! waits: a client that crashes leaves a state that the next one settles.
//!
//! That *every* condemned pack is settled by *every* reader is not pedantry.
//! Say P needs a chunk of Q, which is condemned and settled; P is removed, and an
//! engine lists the records. If it could do so without settling P, a child A
//! of P could be put next, settle P itself, find itself in, and acknowledge:
//! it needs the chunk of Q too, and nothing that was listed says so. For the
//! same reason a view with condemned packs is given only if no pack came
//! while it was read.
//!
//! # Reclaim
//!
//! The engine asks what is condemned, *then* lists the records and works out what
//! they reach, then names the rest. A commit that the listing misses either
//! borrows from a record in it, and so needs nothing else; or from one that was
//! condemned, whose final is older than the listing and does not have it.
//!
//! A pack without a living chunk is deleted. First every child that counts
//! is marked as having been **adopted** from it; the pack's object is the
//! switch from *look into the final* to *look for the adoption*; its marks
//! go after it. So the marks left are in proportion to the packs left, and a
//! commit that arrives years late still finds that its parent is gone.
//! Chunks of a pack that has others alive are only written off.
//!
//! # Fencing
//!
//! A fenced pack is effective not when it is put but when its **decision** is
//! created. Before, its writer takes the next **fence** of the id that it
//! expects to be the latest. Who finds the fence taken decides for its
//! holder that it will not commit, unless it has, takes the next, and looks at
//! the latest id again. So of the writers that expect one id at most one commits,
//! and a crashed one costs the next a decision. Writers that do not ask are not
//! seen: fencing is cooperative.
//!
//! # Pins and hiding
//!
//! A removal and a pin of one record exclude each other the same way: the remover
//! writes a **want**, looks for a pin, and creates the want's verdict; the
//! pinner writes the pin, looks for wants, and creates the verdict *kept* for
//! each that has none. The first verdict stands. Pins belong to a **lineage**,
//! the versions of a record between its first commit and its removal.
//!
//! # Lives
//!
//! A life begins by creating `life/<n>` and ends with `end/<n>`; n is found by
//! listing. A commit need not look again whether its life has ended: if it
//! has, it ended while the commit ran, and the commit counts as made just
//! before. A copy is written where nobody reads it, and begins the
//! target's life with one create.
//!
//! # Without create-if-absent
//!
//! Put and list alone cannot make two clients agree if either may crash
//! (registers have consensus number one: M. Herlihy, "Wait-free
//! synchronization", 1991), and whether a late child of a removed parent
//! counts is such an agreement: its own writer, a reader and a reclaimer must
//! find the same. Scans of several helpers differ; taking their union brings
//! back what a first one let be reclaimed, taking what they share loses
//! what was acknowledged to a second commit in between. So without it, **no
//! chunk is deleted before its life ends**: then a late child misses nothing
//! and every child counts. Removed records are gone from reads as before,
//! `reclaim` only writes off. Further: fencing is refused; two copies that
//! begin one life at the same time both end up in it; a pin that meets a
//! removal under way is `Unavailable`, also if that was broken off by a crash.

mod change;
mod commit;
mod life;
mod map;
mod names;
mod reclaim;
mod schedule;
mod view;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::backend::{
    Alter, Altered, Capabilities, CheckpointBackend, ChunkName, Commit, Committed, Condemned,
    Detail, Fencing, Incarnation, ListCondemned, ListRecords, ListThreads, PackId, Pick, PutWrites,
    Reclaim, Reclaimed, RecordRow,
};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

pub use map::ObjectMap;
pub use schedule::Scheduler;

use map::{Object, Pack, Writes};

/// One client of an [`ObjectMap`].
pub struct ObjectBackend {
    map: Arc<ObjectMap>,
    conditional: bool,
    client: u64,
    next_unique: AtomicU64,
    /// Objects that never change, by name.
    cache: Mutex<HashMap<String, Object>>,
    closed: AtomicBool,
}

impl ObjectBackend {
    /// A new client.
    pub fn new(map: Arc<ObjectMap>) -> Self {
        Self {
            conditional: map.is_conditional(),
            client: map.client(),
            map,
            next_unique: AtomicU64::new(0),
            cache: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Part of a name that nobody else uses.
    fn unique(&self) -> String {
        let n = self.next_unique.fetch_add(1, Ordering::Relaxed);
        format!("{:04}-{n:08}", self.client)
    }

    /// Gets an object that never changes while it is there. Whether it is
    /// still there, listings tell.
    async fn immutable(&self, name: &str) -> Option<Object> {
        let cached = self.cached().get(name).cloned();
        if cached.is_some() {
            return cached;
        }
        let object = self.map.get(name).await?;
        self.cached().insert(name.into(), object.clone());
        Some(object)
    }

    async fn pack(&self, name: &str) -> Option<Arc<Pack>> {
        match self.immutable(name).await? {
            Object::Pack(pack) => Some(pack),
            _ => None,
        }
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, HashMap<String, Object>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            let error = Error::new(ErrorKind::Unavailable, "the backend is closed");
            return Err(error.retryable(false).operation(operation));
        }
        Ok(())
    }

    async fn put_call(&self, put: PutWrites) -> Result<()> {
        // Sent again after the life it had started was ended: there is nothing
        // left to add to.
        let Some(life) = self.start(&put.thread, put.fresh).await? else {
            return Ok(());
        };
        let calls = self.list_in(&life, &names::writes(&put.key)).await;
        let call = format!("-{}", put.write_id);
        if calls.iter().any(|name| name.ends_with(&call)) {
            return Ok(());
        }
        // Calls that run at once may take the same number; their ids order them.
        let last = calls.iter().map(|name| names::number(name)).max();
        let seq = names::sorted(last.map_or(0, |last| last + 1));
        let name = life.name(format!("{}{seq}{call}", names::writes(&put.key)));
        let writes = Writes {
            time_ms: put.time_ms,
            writes: put.writes,
        };
        self.map.put(&name, Object::Writes(writes.into())).await;
        Ok(())
    }

    async fn read_chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let lives = self.lives(thread).await?;
        let current = lives.current.filter(|life| life.incarnation == incarnation);
        let mut ended = lives
            .ended
            .into_iter()
            .filter(|(ended, _)| *ended == incarnation);
        let Some(data) = current
            .map(|life| life.data)
            .or_else(|| Some(ended.next()?.1))
        else {
            return Ok(vec![None; names.len()]);
        };
        let mut packs: HashMap<PackId, Option<Arc<Pack>>> = HashMap::new();
        let mut chunks = Vec::with_capacity(names.len());
        for name in names {
            if let Entry::Vacant(place) = packs.entry(name.pack) {
                let mut found = None;
                for data in &data {
                    if let Some(Object::Pack(pack)) =
                        self.map.get(&format!("{data}pack/{}", name.pack)).await
                    {
                        found = Some(pack);
                    }
                }
                place.insert(found);
            }
            let pack = packs.get(&name.pack).and_then(Option::as_ref);
            chunks.push(pack.and_then(|pack| pack.chunks.get(name.ordinal as usize).cloned()));
        }
        Ok(chunks)
    }

    async fn list_rows(&self, query: ListRecords) -> Result<Vec<RecordRow>> {
        let Some(life) = self.current(&query.thread).await? else {
            return Ok(Vec::new());
        };
        let view = self.load(&life).await?;
        let keys = view.current_records().map(|(key, _)| key);
        let mut keys: Vec<_> = keys
            .filter(|key| query.namespace.as_ref().is_none_or(|n| *n == key.namespace))
            .filter(|key| query.before.as_ref().is_none_or(|before| key.id < *before))
            .collect();
        keys.sort_by(|a, b| b.id.cmp(&a.id).then(a.namespace.cmp(&b.namespace)));
        let rows = keys
            .into_iter()
            .filter_map(|key| view.row(key, query.detail));
        let rows = rows.filter(|row| query.hidden || !row.hidden);
        Ok(rows.take(query.limit.unwrap_or(usize::MAX)).collect())
    }

    async fn list_threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        let mut threads = Vec::new();
        for name in self.map.list(&names::index(&query.prefix)).await {
            if threads.len() == query.limit {
                break;
            }
            let Some(thread) = name.rsplit('/').next().and_then(names::unhex_id) else {
                continue;
            };
            if query.after.as_ref().is_some_and(|after| thread <= *after) {
                continue;
            }
            let Some(life) = self.current(&thread).await? else {
                continue;
            };
            if query.all || self.load(&life).await?.has_visible() {
                threads.push(thread);
            }
        }
        Ok(threads)
    }
}

#[async_trait]
impl CheckpointBackend for ObjectBackend {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new("objects");
        capabilities.fencing = if self.conditional {
            Fencing::Cooperative
        } else {
            Fencing::None
        };
        capabilities.persistent = true;
        capabilities.shared = true;
        capabilities.atomic_parent_check = false;
        capabilities
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.open("commit")?;
        self.commit_pack(commit)
            .await
            .map_err(|e| e.operation("commit"))
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        self.open("get")?;
        let Some(life) = self.current(thread).await? else {
            return Ok(vec![None; picks.len()]);
        };
        let view = self.load(&life).await?;
        let rows = picks.iter().map(|pick| match pick {
            Pick::At(key) => view.row(key, detail),
            Pick::Latest { namespace } => {
                let id = view.latest(namespace)?.clone();
                let namespace = namespace.clone();
                view.row(
                    &chunkpoint_core::backend::RecordKey { namespace, id },
                    detail,
                )
            }
        });
        Ok(rows.collect())
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        self.open("list")?;
        let rows = self.list_rows(query).await?;
        Ok(stream::iter(rows.into_iter().map(Ok)).boxed())
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        self.open("chunks")?;
        self.read_chunks(thread, incarnation, names).await
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        self.open("put_writes")?;
        self.put_call(writes).await
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        self.open("alter")?;
        self.alter_all(alter).await
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        self.open("condemned")?;
        self.condemned_packs(query).await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        self.open("reclaim")?;
        self.reclaim_chunks(reclaim).await
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        self.open("delete_thread")?;
        self.end(thread, incarnation).await
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        self.open("copy_thread")?;
        let copied = self.copy(source, target, fresh).await;
        copied.map_err(|e| e.operation("copy_thread"))
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        self.open("incarnation")?;
        Ok(self.current(thread).await?.map(|life| life.incarnation))
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        self.open("threads")?;
        self.list_threads(query).await
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl fmt::Display for ObjectBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "objects: (client {})", self.client)
    }
}

impl fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBackend")
            .field("client", &self.client)
            .field("conditional", &self.conditional)
            .finish_non_exhaustive()
    }
}
