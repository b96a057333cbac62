//! [`View`]: what the objects of one life amount to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Detail, Incarnation, PackId, PendingWrite, RecordKey, RecordRef, RecordRow,
};

use super::ObjectBackend;
use super::life::Life;
use super::map::{Object, Pack, Verdict, Writes};
use super::names;

/// One reading of a life, judged. See the [module](super) for the rules.
#[derive(Debug, Default)]
pub(super) struct View {
    incarnation: Option<Incarnation>,
    packs: BTreeMap<PackId, Arc<Pack>>,
    /// Packs that are there although they are not in `packs`: they came while
    /// it was read.
    arrived: BTreeSet<PackId>,
    decisions: BTreeMap<PackId, bool>,
    marks: BTreeMap<PackId, Marks>,
    pins: BTreeMap<PackId, bool>,
    /// By record, in the order of their names, which is that of the calls.
    writes: BTreeMap<RecordKey, BTreeMap<String, Arc<Writes>>>,
    /// Names of writes that went with a removed record. Only those that were
    /// there when it was removed: later ones are the next record's.
    dead_writes: BTreeSet<String>,
    standings: BTreeMap<PackId, Standing>,
    /// The packs of each record that count, by rank; the last is current
    /// unless it is removed.
    groups: BTreeMap<RecordKey, BTreeMap<(u64, PackId), Arc<Pack>>>,
}

/// What is said about one pack.
#[derive(Debug, Default)]
struct Marks {
    verdicts: BTreeMap<String, Verdict>,
    last: Option<Arc<BTreeSet<PackId>>>,
    adopted: BTreeSet<PackId>,
    gone: BTreeSet<u32>,
}

/// Whether a pack counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does, removed or not.
    Counts,
    /// It does not, and never will.
    Excluded,
    /// Its fence is not decided yet.
    Undecided,
    /// This reading cannot tell: it came during the reading.
    Unknown,
}

impl ObjectBackend {
    /// Reads a life, and settles what it finds condemned and not settled.
    ///
    /// The order of the listings matters, for they are not one moment:
    ///
    /// * writes before packs before decisions before marks: whatever a mark
    ///   says about an effective pack of the view and the view does not
    ///   have, was said after the pack became effective;
    /// * packs and writes once more at the end: an object's marks are deleted
    ///   only after it, so if it is still there, none was missed. If one went,
    ///   all is read again.
    ///
    /// A view must not lack both a condemned pack and a child that counts in
    /// spite of it: what only the two of them need would look unreachable. So
    /// a view with condemned packs is given only once all of them have
    /// their final, and if no pack came while it was read.
    pub(super) async fn load(&self, life: &Life) -> Result<View> {
        loop {
            let Some(mut view) = self.read(life).await else {
                continue;
            };
            view.judge(self.conditional);
            if !self.conditional {
                return Ok(view);
            }
            let mut settled = true;
            let mut open = Vec::new();
            for (id, _) in view.effective() {
                let Some(time_ms) = view.condemned(id) else {
                    continue;
                };
                settled &= view.arrived.is_empty();
                if view.removed(id).is_none() {
                    self.condemn(life, id, time_ms).await;
                }
                if view.is_open(id) {
                    open.push(id);
                }
            }
            if open.is_empty() && settled {
                return Ok(view);
            }
            self.settle(life, &open).await?;
        }
    }

    /// Marks a pack as removed whose record has another.
    async fn condemn(&self, life: &Life, pack: PackId, time_ms: u64) {
        let verdict = Verdict::Removed {
            time_ms,
            writes: Vec::new(),
        };
        let name = life.mark(pack, format!("verdict/{}", self.unique()));
        self.map.put(&name, Object::Verdict(verdict)).await;
    }

    async fn read(&self, life: &Life) -> Option<View> {
        let mut view = View {
            incarnation: Some(life.incarnation),
            ..View::default()
        };
        let writes = self.list_in(life, "write/").await;
        let packs = self.list_in(life, "pack/").await;
        let decisions = self.list_in(life, "decision/").await;
        let marks = self.list_in(life, "mark/").await;
        let pins = self.list_in(life, "pin/").await;
        for name in &writes {
            view.add_writes(name, self.map.get(name).await?)?;
        }
        for name in &packs {
            view.packs.insert(pack_of(name)?, self.pack(name).await?);
        }
        for name in decisions {
            if let Some(Object::Decision { committed }) = self.map.get(&name).await {
                view.decisions.insert(pack_of(&name)?, committed);
            }
        }
        for name in marks {
            // One that is gone is of a pack that is gone, which shows below.
            if let Some(object) = self.immutable(&name).await {
                view.add_mark(&name, object);
            }
        }
        for name in pins {
            // In the order of their names, so the last one stays.
            if let Some(Object::Pin(pinned)) = self.map.get(&name).await {
                view.pins.insert(pack_of(name.rsplit_once('/')?.0)?, pinned);
            }
        }
        let still = self.list_in(life, "pack/").await;
        let still_writes = self.list_in(life, "write/").await;
        if !all_in(&packs, &still) || !all_in(&writes, &still_writes) {
            return None;
        }
        let there = still.iter().filter_map(|name| pack_of(name));
        view.arrived = there
            .filter(|pack| !view.packs.contains_key(pack))
            .collect();
        Some(view)
    }

    /// Lists part of a life's data, wherever it lies.
    pub(super) async fn list_in(&self, life: &Life, part: &str) -> Vec<String> {
        let mut all = Vec::new();
        for data in &life.data {
            all.extend(self.map.list(&format!("{data}{part}")).await);
        }
        all
    }
}

/// Whether all of the names are among the others; both are in the order that
/// a listing gives.
fn all_in(names: &[String], others: &[String]) -> bool {
    let mut others = others.iter();
    names.iter().all(|name| others.any(|other| other == name))
}

/// The pack that a name ends in.
fn pack_of(name: &str) -> Option<PackId> {
    names::parse_pack(name.rsplit('/').next()?)
}

impl View {
    fn add_writes(&mut self, name: &str, object: Object) -> Option<()> {
        let Object::Writes(writes) = object else {
            return None;
        };
        let mut parts = name.rsplit('/').skip(1);
        let id = names::unhex_id(parts.next()?)?;
        let namespace = names::unhex_id(parts.next()?)?;
        let key = RecordKey { namespace, id };
        self.writes
            .entry(key)
            .or_default()
            .insert(name.into(), writes);
        Some(())
    }

    fn add_mark(&mut self, name: &str, object: Object) {
        let mut parts = name.split('/').skip(3);
        let (pack, mark, last) = (parts.next(), parts.next(), parts.next());
        let Some(pack) = pack.and_then(names::parse_pack) else {
            return;
        };
        let marks = self.marks.entry(pack).or_default();
        let last = last.unwrap_or_default();
        match object {
            Object::Verdict(verdict) => {
                if let Verdict::Removed { writes, .. } = &verdict {
                    self.dead_writes.extend(writes.iter().cloned());
                }
                marks.verdicts.insert(last.into(), verdict);
            }
            Object::Final(there) => marks.last = Some(there),
            Object::Flag if mark == Some("adopted") => {
                marks.adopted.extend(names::parse_pack(last));
            }
            Object::Gone(gone) => marks.gone.extend(gone),
            _ => {}
        }
    }

    fn judge(&mut self, conditional: bool) {
        for id in self.packs.keys().copied().collect::<Vec<_>>() {
            self.stand(id, conditional);
        }
        for (id, pack) in &self.packs {
            if self.standings[id] == Standing::Counts {
                let group = self.groups.entry(pack.key.clone()).or_default();
                group.insert((pack.rank, *id), pack.clone());
            }
        }
    }

    /// Finds whether a pack of the view counts, and all it builds on.
    fn stand(&mut self, id: PackId, conditional: bool) -> Standing {
        if let Some(standing) = self.standings.get(&id) {
            return *standing;
        }
        let pack = self.packs[&id].clone();
        let mut standing = match self.decisions.get(&id) {
            _ if !pack.fenced => Standing::Counts,
            Some(true) => Standing::Counts,
            Some(false) => Standing::Excluded,
            None => Standing::Undecided,
        };
        // Without create-if-absent nothing is ever deleted from a life that
        // goes on, so nothing that came too late can miss anything.
        if conditional && standing == Standing::Counts {
            for parent in &pack.from {
                standing = self.stand_on(id, *parent);
                if standing != Standing::Counts {
                    break;
                }
            }
        }
        self.standings.insert(id, standing);
        standing
    }

    /// Whether a pack counts as far as this parent is concerned.
    fn stand_on(&mut self, id: PackId, parent: PackId) -> Standing {
        if self.packs.contains_key(&parent) {
            let there = self.marks.get(&parent).and_then(|marks| marks.last.clone());
            return match self.stand(parent, true) {
                Standing::Counts if self.removed(parent).is_none() => Standing::Counts,
                Standing::Counts => match there {
                    Some(there) if !there.contains(&id) => Standing::Excluded,
                    // Nobody has said who stays: see `load`.
                    _ => Standing::Counts,
                },
                // A parent that does not count cannot be read, so it was not
                // borrowed from by anyone who looked again afterwards.
                Standing::Undecided => Standing::Unknown,
                other => other,
            };
        }
        if self.arrived.contains(&parent) {
            return Standing::Unknown;
        }
        let adopted = self
            .marks
            .get(&id)
            .is_some_and(|m| m.adopted.contains(&parent));
        if adopted {
            Standing::Counts
        } else {
            Standing::Excluded
        }
    }

    /// Whether nobody has said which children of a pack count.
    pub(super) fn is_open(&self, id: PackId) -> bool {
        self.marks.get(&id).is_none_or(|marks| marks.last.is_none())
    }

    /// The pack's own object.
    pub(super) fn pack(&self, id: PackId) -> Option<&Arc<Pack>> {
        self.packs.get(&id)
    }

    /// All packs in the view, whether they count or not.
    pub(super) fn packs(&self) -> impl Iterator<Item = (PackId, &Arc<Pack>)> {
        self.packs.iter().map(|(id, pack)| (*id, pack))
    }

    /// Whether a pack is there, in the view or arrived since.
    pub(super) fn is_there(&self, id: PackId) -> bool {
        self.packs.contains_key(&id) || self.arrived.contains(&id)
    }

    /// The packs that count: of records, and replaced or removed since.
    pub(super) fn effective(&self) -> impl Iterator<Item = (PackId, &Arc<Pack>)> {
        let groups = self.groups.values().flatten();
        groups.map(|((_, id), pack)| (*id, pack))
    }

    pub(super) fn standing(&self, id: PackId) -> Option<Standing> {
        self.standings.get(&id).copied()
    }

    /// The packs that something is said about.
    pub(super) fn marked(&self) -> impl Iterator<Item = PackId> + '_ {
        self.marks.keys().copied()
    }

    /// When a pack was removed, if it was.
    pub(super) fn removed(&self, id: PackId) -> Option<u64> {
        let verdicts = self.marks.get(&id)?.verdicts.values();
        let times = verdicts.filter_map(|verdict| match verdict {
            Verdict::Removed { time_ms, .. } => Some(*time_ms),
            _ => None,
        });
        times.min()
    }

    /// When a pack was condemned, if it was: removed, or replaced by the next.
    pub(super) fn condemned(&self, id: PackId) -> Option<u64> {
        self.removed(id).or_else(|| self.replaced(id))
    }

    /// When a pack that counts was replaced, if it was.
    pub(super) fn replaced(&self, id: PackId) -> Option<u64> {
        let pack = self.packs.get(&id)?;
        let group = self.groups.get(&pack.key)?;
        group.get(&(pack.rank, id))?;
        let mut after = group.range((pack.rank, id)..).skip(1);
        after.next().map(|(_, next)| next.index.time_ms)
    }

    /// Whether a pack's record is hidden.
    pub(super) fn hidden(&self, id: PackId) -> bool {
        let marks = self.marks.get(&id);
        let mut verdicts = marks.into_iter().flat_map(|marks| marks.verdicts.values());
        verdicts.any(|verdict| matches!(verdict, Verdict::Hidden))
    }

    /// The lineages that pins were put on, or taken off.
    pub(super) fn pinned_lineages(&self) -> impl Iterator<Item = PackId> + '_ {
        self.pins.keys().copied()
    }

    /// Bytes of all bodies and chunks there are.
    pub(super) fn bytes(&self) -> u64 {
        let packs = self.packs.values();
        let bytes =
            packs.map(|pack| pack.body.len() + pack.chunks.iter().map(Bytes::len).sum::<usize>());
        bytes.sum::<usize>() as u64
    }

    pub(super) fn pinned(&self, lineage: PackId) -> bool {
        self.pins.get(&lineage).copied().unwrap_or_default()
    }

    /// Ordinals of chunks that were reclaimed.
    pub(super) fn gone(&self, id: PackId) -> &BTreeSet<u32> {
        static NONE: BTreeSet<u32> = BTreeSet::new();
        self.marks.get(&id).map_or(&NONE, |marks| &marks.gone)
    }

    /// The pack a record has now.
    pub(super) fn current(&self, key: &RecordKey) -> Option<(PackId, &Arc<Pack>)> {
        let ((_, id), pack) = self.groups.get(key)?.last_key_value()?;
        self.removed(*id).is_none().then_some((*id, pack))
    }

    /// The rank of the next pack of a record.
    pub(super) fn next_rank(&self, key: &RecordKey) -> u64 {
        let last = self
            .groups
            .get(key)
            .and_then(|group| group.last_key_value());
        last.map_or(0, |((rank, _), _)| rank + 1)
    }

    /// The greatest visible id of a namespace.
    pub(super) fn latest(&self, namespace: &str) -> Option<&Arc<str>> {
        let visible = self
            .current_records()
            .filter(|(key, id)| &*key.namespace == namespace && !self.hidden(*id));
        visible.map(|(key, _)| &key.id).max()
    }

    /// All records with their packs, visible and hidden.
    pub(super) fn current_records(&self) -> impl Iterator<Item = (&RecordKey, PackId)> {
        let keys = self.groups.keys();
        keys.filter_map(|key| Some((key, self.current(key)?.0)))
    }

    /// Whether there is a visible record.
    pub(super) fn has_visible(&self) -> bool {
        let mut records = self.current_records();
        records.any(|(_, id)| !self.hidden(id))
    }

    /// Names of writes that went with a removed record.
    pub(super) fn dead_writes(&self) -> &BTreeSet<String> {
        &self.dead_writes
    }

    /// All writes that did not go with a removed record.
    pub(super) fn live_writes(&self) -> impl Iterator<Item = (&RecordKey, &str, &Arc<Writes>)> {
        let all = self.writes.iter();
        let all = all.flat_map(|(key, calls)| calls.iter().map(move |(name, w)| (key, &**name, w)));
        all.filter(|(_, name, _)| !self.dead_writes.contains(*name))
    }

    /// The names of a record's writes.
    pub(super) fn write_names(&self, key: &RecordKey) -> Vec<String> {
        let calls = self.writes.get(key).into_iter().flatten();
        calls.map(|(name, _)| name.clone()).collect()
    }

    /// A record's calls of `put_writes`, dead ones included.
    fn calls(&self, key: &RecordKey) -> impl Iterator<Item = (&str, &Arc<Writes>)> {
        let calls = self.writes.get(key).into_iter().flatten();
        calls.map(|(name, writes)| (name.as_str(), writes))
    }

    fn merged_writes(&self, key: &RecordKey) -> Vec<PendingWrite> {
        let mut slots = BTreeMap::new();
        let calls = self
            .calls(key)
            .filter(|(name, _)| !self.dead_writes.contains(*name));
        for write in calls.flat_map(|(_, call)| &call.writes) {
            let slot = (write.task_id.clone(), write.idx);
            if write.replace || !slots.contains_key(&slot) {
                slots.insert(slot, write.clone());
            }
        }
        slots.into_values().collect()
    }

    /// The row of a record.
    pub(super) fn row(&self, key: &RecordKey, detail: Detail) -> Option<RecordRow> {
        let (id, pack) = self.current(key)?;
        Some(RecordRow {
            incarnation: self.incarnation?,
            record: RecordRef {
                key: key.clone(),
                pack: id,
            },
            locator: 0,
            hidden: self.hidden(id),
            pinned: self.pinned(pack.lineage),
            index: pack.index.clone(),
            body: if detail >= Detail::Bodies {
                pack.body.clone()
            } else {
                Bytes::new()
            },
            writes: if detail >= Detail::Writes {
                self.merged_writes(key)
            } else {
                Vec::new()
            },
        })
    }
}
