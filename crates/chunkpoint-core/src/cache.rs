//! What the engine keeps in memory, under one byte budget.
//!
//! Chunks are immutable and named for ever, so they are cached without asking
//! the backend again; a decoded record is shared only after the backend has
//! said that its pack is still current. Eviction is quick_cache's S3-FIFO:
//! what is read once does not push out what is read often.
//!
//! Handles that are open at once share one decoded copy even after it left
//! the cache: a table of weak references finds it while anyone holds it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use quick_cache::{Weighter, sync};

use crate::backend::{Incarnation, PackId};
use crate::record::Record;
use crate::tree::Decoded;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Chunk(Incarnation, PackId, u32),
    /// A hidden record has another body under the same pack.
    Record(Incarnation, PackId, bool),
}

#[derive(Clone)]
enum Entry {
    Chunk(Arc<Decoded>),
    Record(Arc<Record>),
}

enum Handle {
    Chunk(Weak<Decoded>),
    Record(Weak<Record>),
}

impl Entry {
    fn downgrade(&self) -> Handle {
        match self {
            Self::Chunk(chunk) => Handle::Chunk(Arc::downgrade(chunk)),
            Self::Record(record) => Handle::Record(Arc::downgrade(record)),
        }
    }
}

impl Handle {
    fn upgrade(&self) -> Option<Entry> {
        match self {
            Self::Chunk(chunk) => chunk.upgrade().map(Entry::Chunk),
            Self::Record(record) => record.upgrade().map(Entry::Record),
        }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Entry> for Weigh {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        // The entry's own place in the tables counts as well.
        const PLACE: u64 = 128;
        PLACE
            + match entry {
                Entry::Chunk(chunk) => chunk.weight() as u64,
                Entry::Record(record) => record.weight() as u64,
            }
    }
}

/// Bytes an entry is expected to weigh: sizes the tables only.
const EXPECTED: u64 = 3000;

pub(crate) struct Cache {
    kept: sync::Cache<Key, Entry, Weigh>,
    shared: Mutex<HashMap<Key, Handle>>,
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = (bytes / EXPECTED).clamp(16, 1 << 22) as usize;
        Self {
            kept: sync::Cache::with_weighter(entries, bytes, Weigh),
            shared: Mutex::default(),
        }
    }

    fn get(&self, key: Key) -> Option<Entry> {
        if let Some(entry) = self.kept.get(&key) {
            return Some(entry);
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.get(&key)?.upgrade()
    }

    /// Shares `entry`, or gives the copy that is shared already.
    fn insert(&self, key: Key, entry: Entry, keep: bool) -> Entry {
        let entry = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            match shared.get(&key).and_then(Handle::upgrade) {
                Some(earlier) => earlier,
                None => {
                    // Out of room: the dead go first, so that the table grows with what
                    // is alive and not with what was.
                    if shared.len() == shared.capacity() {
                        shared.retain(|_, handle| match handle {
                            Handle::Chunk(chunk) => chunk.strong_count() > 0,
                            Handle::Record(record) => record.strong_count() > 0,
                        });
                    }
                    shared.insert(key, entry.downgrade());
                    entry
                }
            }
        };
        if keep {
            self.kept.insert(key, entry.clone());
        }
        entry
    }

    pub(crate) fn chunk(
        &self,
        incarnation: Incarnation,
        pack: PackId,
        ordinal: u32,
    ) -> Option<Arc<Decoded>> {
        match self.get(Key::Chunk(incarnation, pack, ordinal))? {
            Entry::Chunk(chunk) => Some(chunk),
            Entry::Record(_) => None,
        }
    }

    /// `keep` is false for one pass over much: it shall push nothing out.
    pub(crate) fn insert_chunk(
        &self,
        incarnation: Incarnation,
        pack: PackId,
        ordinal: u32,
        chunk: Arc<Decoded>,
        keep: bool,
    ) -> Arc<Decoded> {
        let key = Key::Chunk(incarnation, pack, ordinal);
        match self.insert(key, Entry::Chunk(chunk.clone()), keep) {
            Entry::Chunk(shared) => shared,
            Entry::Record(_) => chunk,
        }
    }

    pub(crate) fn record(
        &self,
        incarnation: Incarnation,
        pack: PackId,
        hidden: bool,
    ) -> Option<Arc<Record>> {
        match self.get(Key::Record(incarnation, pack, hidden))? {
            Entry::Record(record) => Some(record),
            Entry::Chunk(_) => None,
        }
    }

    pub(crate) fn insert_record(
        &self,
        incarnation: Incarnation,
        pack: PackId,
        hidden: bool,
        record: Arc<Record>,
    ) -> Arc<Record> {
        let key = Key::Record(incarnation, pack, hidden);
        match self.insert(key, Entry::Record(record.clone()), true) {
            Entry::Record(shared) => shared,
            Entry::Chunk(_) => record,
        }
    }

    /// Keeps a record no longer, unless a handle holds it.
    pub(crate) fn forget_record(&self, incarnation: Incarnation, pack: PackId) {
        self.kept.remove(&Key::Record(incarnation, pack, false));
    }

    /// Bytes kept now.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    pub(crate) fn clear(&self) {
        self.kept.clear();
    }
}
