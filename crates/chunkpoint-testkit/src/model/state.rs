//! The model: what a memory must hold, in plain maps, written down without
//! any thought of how it is stored.

use std::collections::{BTreeMap, BTreeSet};

use chunkpoint_core::{Item, Value, Version};
use serde_json::{Map as JsonMap, Value as Json};

/// The channel whose history is kept by deltas, in namespaces that have one.
pub(super) const LOG: &str = "log";

/// The metadata key that names delta channels.
pub(super) const COUNTERS: &str = "counters_since_delta_snapshot";

/// One channel of one checkpoint.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cell {
    pub(super) version: Option<Version>,
    pub(super) value: Option<Value>,
}

/// One checkpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// Unlike that of every other commit.
    pub(super) commit: u64,
    pub(super) parent: Option<String>,
    pub(super) time_ms: u64,
    pub(super) v: u64,
    pub(super) ts: String,
    pub(super) updated: Option<Vec<String>>,
    pub(super) metadata: JsonMap<String, Json>,
    pub(super) seen: BTreeMap<String, BTreeMap<String, Version>>,
    pub(super) cells: BTreeMap<String, Cell>,
    pub(super) pinned: bool,
    /// Removed, but for the delta walk.
    pub(super) hidden: bool,
}

impl Record {
    pub(super) fn has_value(&self, channel: &str) -> bool {
        self.cells
            .get(channel)
            .is_some_and(|cell| cell.value.is_some())
    }

    /// The values, as a load gives them.
    pub(super) fn values(&self) -> BTreeMap<String, Value> {
        let cells = self.cells.iter();
        cells
            .filter_map(|(name, cell)| Some((name.clone(), cell.value.clone()?)))
            .collect()
    }

    /// The versions, as the contract gives them.
    pub(super) fn versions(&self) -> BTreeMap<String, Version> {
        let cells = self.cells.iter();
        cells
            .filter_map(|(name, cell)| Some((name.clone(), cell.version.clone()?)))
            .collect()
    }
}

/// One pending write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    pub(super) path: String,
    pub(super) channel: String,
    pub(super) item: Item,
    pub(super) came_ms: u64,
    /// It has expired in a thread that maintenance does not visit: it may be
    /// there or not.
    pub(super) doubtful: bool,
}

/// (namespace, id)
pub(super) type Key = (String, String);

/// Pending writes by (task, index).
pub(super) type Writes = BTreeMap<(String, i32), Pending>;

/// One life of a thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    /// Unlike that of every other.
    pub(super) number: u64,
    pub(super) records: BTreeMap<Key, Record>,
    pub(super) writes: BTreeMap<Key, Writes>,
}

impl Life {
    /// The visible checkpoints of a namespace, newest first.
    pub(super) fn visible<'a>(&'a self, namespace: &'a str) -> Vec<(&'a str, &'a Record)> {
        let records = self.records.iter().rev();
        records
            .filter(|((ns, _), record)| ns == namespace && !record.hidden)
            .map(|((_, id), record)| (id.as_str(), record))
            .collect()
    }

    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        self.records.keys().map(|(ns, _)| ns.clone()).collect()
    }

    fn has_visible(&self) -> bool {
        self.records.values().any(|record| !record.hidden)
    }

    /// The checkpoints that the history of [`LOG`] of `key` runs through, from
    /// its parent to the first that has a value.
    fn walk(&self, key: &Key) -> Vec<Key> {
        let mut passed = Vec::new();
        let mut at = self
            .records
            .get(key)
            .and_then(|record| record.parent.clone());
        while let Some(id) = at {
            let key = (key.0.clone(), id);
            if passed.contains(&key) {
                break;
            }
            let Some(record) = self.records.get(&key) else {
                break;
            };
            at = record.parent.clone();
            let ends = record.has_value(LOG);
            passed.push(key);
            if ends {
                break;
            }
        }
        passed
    }

    /// The writes to replay, oldest first, and the value to replay them on.
    pub(super) fn history(&self, key: &Key) -> (Vec<(String, i32, Item)>, Option<Value>) {
        let passed = self.walk(key);
        let seed = passed.last().and_then(|last| {
            let cell = self.records[last].cells.get(LOG)?;
            cell.value.clone()
        });
        let mut replayed = Vec::new();
        for key in passed.iter().rev() {
            for ((task, idx), write) in self.ordered_writes(key) {
                if write.channel == LOG {
                    replayed.push((task, idx, write.item));
                }
            }
        }
        (replayed, seed)
    }

    /// The writes of a checkpoint by path, task and index.
    pub(super) fn ordered_writes(&self, key: &Key) -> Vec<((String, i32), Pending)> {
        let writes = self.writes.get(key).into_iter().flatten();
        let mut writes: Vec<_> = writes
            .map(|(slot, write)| (slot.clone(), write.clone()))
            .collect();
        writes.sort_by(|(a, x), (b, y)| (&x.path, &a.0, a.1).cmp(&(&y.path, &b.0, b.1)));
        writes
    }

    /// Removes checkpoints of one namespace, but hides those that the history
    /// of a kept one runs through.
    pub(super) fn remove(&mut self, namespace: &str, victims: &BTreeSet<String>) {
        if victims.is_empty() {
            return;
        }
        let of_namespace = self.records.keys().filter(|(ns, _)| ns == namespace);
        let (mut goes, mut needed) = (Vec::new(), BTreeSet::new());
        // Where nothing is a delta channel, nothing is needed.
        let has_delta = self
            .records
            .iter()
            .any(|((ns, _), record)| ns == namespace && record.metadata.contains_key(COUNTERS));
        for key in of_namespace {
            let record = &self.records[key];
            if record.hidden || victims.contains(&key.1) {
                goes.push(key.clone());
            } else if has_delta && !record.has_value(LOG) {
                needed.extend(self.walk(key));
            }
        }
        for key in goes {
            if needed.contains(&key) {
                if let Some(record) = self.records.get_mut(&key) {
                    record.hidden = true;
                }
            } else {
                self.records.remove(&key);
                self.writes.remove(&key);
            }
        }
    }

    /// What retention does to one namespace.
    pub(super) fn trim(&mut self, namespace: &str, most: Option<usize>, oldest_ms: Option<u64>) {
        let (mut kept, mut victims) = (0, BTreeSet::new());
        for (place, (id, record)) in self.visible(namespace).into_iter().enumerate() {
            if record.pinned {
                continue;
            }
            let too_old = place > 0 && oldest_ms.is_some_and(|oldest| record.time_ms < oldest);
            if too_old || most.is_some_and(|most| kept >= most) {
                victims.insert(id.to_owned());
            } else {
                kept += 1;
            }
        }
        self.remove(namespace, &victims);
    }

    /// What reclaiming does: it takes nothing that can be seen, but writes
    /// whose checkpoint never came.
    pub(super) fn reclaim(&mut self, before_ms: u64) {
        let visited = self.has_visible();
        let records = &self.records;
        self.writes.retain(|key, writes| {
            if !records.contains_key(key) {
                if visited {
                    writes.retain(|_, write| write.came_ms > before_ms);
                } else {
                    for write in writes.values_mut() {
                        write.doubtful |= write.came_ms <= before_ms;
                    }
                }
            }
            !writes.is_empty()
        });
    }
}

/// Everything there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) threads: BTreeMap<String, Life>,
    made: u64,
}

impl Model {
    /// A number no other has.
    pub(super) fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(super) fn life(&mut self, thread: &str) -> &mut Life {
        let number = self.number();
        let life = self.threads.entry(thread.to_owned());
        life.or_insert_with(|| Life {
            number,
            ..Life::default()
        })
    }

    pub(super) fn record(&self, thread: &str, key: &Key) -> Option<&Record> {
        self.threads.get(thread)?.records.get(key)
    }

    /// A checkpoint that can be seen.
    pub(super) fn visible(&self, thread: &str, key: &Key) -> Option<&Record> {
        self.record(thread, key).filter(|record| !record.hidden)
    }

    pub(super) fn latest(&self, thread: &str, namespace: &str) -> Option<(String, Record)> {
        let life = self.threads.get(thread)?;
        let (id, record) = *life.visible(namespace).first()?;
        Some((id.to_owned(), record.clone()))
    }

    /// Stores a checkpoint, or replaces one.
    pub(super) fn commit(&mut self, thread: &str, key: &Key, mut record: Record) {
        record.commit = self.number();
        let life = self.life(thread);
        if let Some(old) = life.records.get(key) {
            record.parent.clone_from(&old.parent);
            record.pinned = old.pinned;
        }
        life.records.insert(key.clone(), record);
    }

    /// Removes the visible, unpinned checkpoints for which `goes` holds.
    pub(super) fn remove_where(
        &mut self,
        thread: &str,
        mut goes: impl FnMut(&str, &str, &Record) -> bool,
    ) {
        let Some(life) = self.threads.get_mut(thread) else {
            return;
        };
        for namespace in life.namespaces() {
            let visible = life.visible(&namespace).into_iter();
            let victims = visible
                .filter(|(id, record)| goes(&namespace, id, record) && !record.pinned)
                .map(|(id, _)| id.to_owned())
                .collect();
            life.remove(&namespace, &victims);
        }
    }

    /// (thread, namespace, id) of every visible checkpoint: newest id first,
    /// then by thread and namespace.
    pub(super) fn listed(&self) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        for (thread, life) in &self.threads {
            let visible = life.records.iter().filter(|(_, record)| !record.hidden);
            all.extend(visible.map(|((ns, id), _)| (thread.clone(), ns.clone(), id.clone())));
        }
        all.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
        all
    }

    /// Threads that have a visible checkpoint.
    pub(super) fn listed_threads(&self) -> Vec<String> {
        let threads = self.threads.iter();
        let threads = threads.filter(|(_, life)| life.has_visible());
        threads.map(|(thread, _)| thread.clone()).collect()
    }
}
