//! [`Life`]: what is kept of one incarnation of a thread, and what a change
//! makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{
    Altered, Change, Commit, Detail, Incarnation, PackId, PendingWrite, Pick, Reclaim, RecordIndex,
    RecordKey, RecordRef, RecordRow,
};

/// One incarnation of one thread.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) incarnation: Incarnation,
    /// By namespace, then id. A namespace that has lost its last record has no entry.
    pub(super) records: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Record>>,
    /// Every pack known: those of records, and condemned ones until all their
    /// chunks are reclaimed.
    pub(super) packs: BTreeMap<PackId, Pack>,
    /// Pending writes, whether their checkpoint exists or not.
    pub(super) writes: BTreeMap<RecordKey, Writes>,
}

#[derive(Clone)]
pub(super) struct Record {
    pub(super) pack: PackId,
    pub(super) hidden: bool,
    pinned: bool,
    index: RecordIndex,
    body: Bytes,
}

#[derive(Clone)]
pub(super) struct Pack {
    /// By ordinal; `None` once reclaimed.
    pub(super) chunks: Vec<Option<Bytes>>,
    /// When its record was replaced or removed; `None` while it is current.
    pub(super) condemned_ms: Option<u64>,
}

/// The pending writes of one checkpoint.
#[derive(Clone, Default)]
pub(super) struct Writes {
    /// The calls that are in already. Needed because a repeated `replace`
    /// must not undo a later one.
    pub(super) calls: BTreeSet<PackId>,
    /// By (task, idx): when it came, and the write.
    pub(super) slots: BTreeMap<(Arc<str>, i32), (u64, PendingWrite)>,
}

impl Life {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            records: BTreeMap::new(),
            packs: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    pub(super) fn record(&self, key: &RecordKey) -> Option<&Record> {
        self.records.get(&key.namespace)?.get(&key.id)
    }

    fn record_mut(&mut self, key: &RecordKey) -> Option<&mut Record> {
        self.records.get_mut(&key.namespace)?.get_mut(&key.id)
    }

    /// The greatest visible id of a namespace and its record.
    pub(super) fn latest(&self, namespace: &str) -> Option<(&Arc<str>, &Record)> {
        let ids = self.records.get(namespace)?;
        ids.iter().rev().find(|(_, record)| !record.hidden)
    }

    pub(super) fn has_visible(&self) -> bool {
        let mut all = self.records.values().flat_map(BTreeMap::values);
        all.any(|record| !record.hidden)
    }

    fn condemn(&mut self, pack: PackId, time_ms: u64) {
        if let Some(pack) = self.packs.get_mut(&pack) {
            pack.condemned_ms = Some(time_ms);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let records = self.records.values().flat_map(BTreeMap::values);
        let bodies: usize = records.map(|record| record.body.len()).sum();
        let chunks = self.packs.values().flat_map(|pack| &pack.chunks).flatten();
        let chunks: usize = chunks.map(Bytes::len).sum();
        let writes = self.writes.values().flat_map(|w| w.slots.values());
        let writes: usize = writes.map(|(_, write)| write.value.len()).sum();
        (bodies + chunks + writes) as u64
    }

    pub(super) fn row(
        &self,
        namespace: &Arc<str>,
        id: &Arc<str>,
        record: &Record,
        d: Detail,
    ) -> RecordRow {
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

    pub(super) fn pick(&self, pick: &Pick, detail: Detail) -> Option<RecordRow> {
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

    pub(super) fn commit(&mut self, commit: Commit) {
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

    pub(super) fn alter(&mut self, target: &RecordRef, change: Change, time_ms: u64) -> Altered {
        let Some(record) = self.record_mut(&target.key) else {
            return Altered::Gone;
        };
        if record.pack != target.pack {
            return Altered::Gone;
        }
        match change {
            Change::Pin(pinned) => record.pinned = pinned,
            Change::Remove | Change::Hide if record.pinned => return Altered::Pinned,
            Change::Hide => record.hidden = true,
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

    pub(super) fn reclaim(&mut self, reclaim: &Reclaim) {
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
