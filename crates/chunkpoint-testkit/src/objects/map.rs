//! [`ObjectMap`]: an object store cut down to what every S3 can do.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use chunkpoint_core::backend::{Incarnation, PackId, PendingWrite, RecordIndex, RecordKey};
use chunkpoint_core::{Error, ErrorKind, Result};

/// Objects by name. Each method is one request to one object, or one page of
/// a listing, and nothing else is atomic.
///
/// Every request yields to the executor once before it takes effect. Under a
/// [`Scheduler`](super::Scheduler) that makes each request one step of a
/// schedule, and a client that is dropped between two of them has crashed.
#[derive(Debug)]
pub struct ObjectMap {
    objects: Mutex<BTreeMap<String, Object>>,
    conditional: bool,
    page: usize,
    next_client: AtomicU64,
}

/// What an object holds. The model keeps values, not bytes: how they would be
/// encoded does not matter to the protocols.
#[derive(Debug, Clone)]
pub(super) enum Object {
    /// Existence is all it says.
    Flag,
    /// One life of a thread, and the prefix of its data.
    Life(Incarnation, String),
    /// One commit.
    Pack(Arc<Pack>),
    /// What became of a want.
    Verdict(Verdict),
    /// The packs that were there after one was removed.
    Final(Arc<BTreeSet<PackId>>),
    /// Chunks that nobody needs any more.
    Gone(BTreeSet<u32>),
    /// Who may commit next to what they expect.
    Fence(PackId),
    /// Whether a fenced pack counts.
    Decision { committed: bool },
    /// Pinned, or no longer.
    Pin(bool),
    /// One call's pending writes.
    Writes(Arc<Writes>),
}

/// Everything one commit adds.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) key: RecordKey,
    pub(super) index: RecordIndex,
    pub(super) body: Bytes,
    pub(super) chunks: Vec<Bytes>,
    /// The packs it borrows from.
    pub(super) from: Vec<PackId>,
    /// Of packs of one record, the greatest (rank, id) is current.
    pub(super) rank: u64,
    /// The first pack of the record that this one is a version of.
    pub(super) lineage: PackId,
    /// Counts only once it has a [`Object::Decision`] that says so.
    pub(super) fenced: bool,
}

/// A change of one record, wanted or decided.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It goes, with the pending writes of these names.
    Removed { time_ms: u64, writes: Vec<String> },
    /// It becomes hidden.
    Hidden,
    /// Nothing happens: it is pinned.
    Kept,
}

#[derive(Debug)]
pub(super) struct Writes {
    pub(super) time_ms: u64,
    pub(super) writes: Vec<PendingWrite>,
}

impl ObjectMap {
    /// An empty store, with create-if-absent or without. Listings come in
    /// pages of at most `page` names.
    pub fn new(conditional: bool, page: usize) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::new(BTreeMap::new()),
            conditional,
            page: page.max(1),
            next_client: AtomicU64::new(0),
        })
    }

    /// Whether it has create-if-absent.
    pub fn is_conditional(&self) -> bool {
        self.conditional
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of objects that hold a commit.
    pub fn packs(&self) -> usize {
        let objects = self.lock();
        let packs = objects.values().filter(|o| matches!(o, Object::Pack(_)));
        packs.count()
    }

    /// Tells clients of one store apart.
    pub(super) fn client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) async fn get(&self, name: &str) -> Option<Object> {
        step().await;
        self.lock().get(name).cloned()
    }

    pub(super) async fn put(&self, name: &str, object: Object) {
        step().await;
        self.lock().insert(name.into(), object);
    }

    /// Puts the object if there is none of the name, and says whether.
    pub(super) async fn create(&self, name: &str, object: Object) -> Result<bool> {
        if !self.conditional {
            let message = "the object store has no create-if-absent";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        step().await;
        let mut objects = self.lock();
        if objects.contains_key(name) {
            return Ok(false);
        }
        objects.insert(name.into(), object);
        Ok(true)
    }

    pub(super) async fn delete(&self, name: &str) {
        step().await;
        self.lock().remove(name);
    }

    /// One page of the names with a prefix, in order, after `start_after`.
    async fn list_page(&self, prefix: &str, start_after: Option<&str>) -> Vec<String> {
        step().await;
        let from = start_after.map_or(Bound::Included(prefix), Bound::Excluded);
        let objects = self.lock();
        let names = objects.range::<str, _>((from, Bound::Unbounded));
        let names = names.map(|(name, _)| name);
        let names = names.take_while(|name| name.starts_with(prefix));
        names.take(self.page).cloned().collect()
    }

    /// All names with a prefix. Several pages are *not* one moment: a name
    /// that stays is listed, what comes or goes meanwhile may be.
    pub(super) async fn list(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let last = names.last().map(String::as_str);
            let page = self.list_page(prefix, last).await;
            let full = page.len() == self.page;
            names.extend(page);
            if !full {
                return names;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives way once.
async fn step() {
    let mut given = false;
    poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
