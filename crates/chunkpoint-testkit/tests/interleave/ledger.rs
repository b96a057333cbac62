//! What was asked for and acknowledged, and what must follow from it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chunkpoint_core::backend::{
    CheckpointBackend, ChunkName, Commit, Detail, Incarnation, ListRecords, PackId, RecordKey,
    RecordRow,
};
use chunkpoint_testkit::objects::ObjectBackend;
use futures::TryStreamExt;

use crate::{THREADS, at_once};

/// A pack in one life of a thread.
pub(crate) type Place = (Incarnation, PackId);

/// A record's name, and its thread.
type Name = (&'static str, RecordKey);

#[derive(Default)]
pub(crate) struct Ledger {
    clock: u64,
    next: u64,
    /// When each commit to a name began, and when it succeeded if it did. Not
    /// those that failed.
    commits: BTreeMap<Name, BTreeMap<PackId, (u64, Option<u64>)>>,
    /// Acknowledged, or part of an acknowledged copy.
    acked: BTreeMap<Place, Name>,
    /// Acknowledged with an expectation: of what, and for which id.
    fenced: BTreeMap<(Incarnation, String), Vec<(PackId, Name)>>,
    failed: BTreeSet<PackId>,
    /// Commits that crashed, which another client may take up.
    pub(crate) crashed: Vec<Commit>,
    retried: BTreeSet<PackId>,
    removing: BTreeSet<Place>,
    hiding: BTreeSet<Place>,
    removed: BTreeSet<Place>,
    ending: BTreeSet<Incarnation>,
    ended: BTreeSet<Incarnation>,
    pinned: BTreeSet<Place>,
    /// Records that somebody has begun to unpin: no pin of theirs is relied on.
    unpinned: BTreeSet<(Incarnation, RecordKey)>,
    seen: BTreeSet<Place>,
    gone: BTreeSet<Place>,
}

impl Ledger {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// An id that no other has.
    pub(crate) fn unique(&mut self) -> [u8; 8] {
        self.next += 1;
        self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
    }

    pub(crate) fn commit_begins(&mut self, thread: &'static str, key: &RecordKey, pack: PackId) {
        let now = self.tick();
        let commits = self.commits.entry((thread, key.clone())).or_default();
        match commits.entry(pack) {
            // It may have happened at the first attempt already.
            Entry::Occupied(_) => {
                self.retried.insert(pack);
            }
            Entry::Vacant(place) => {
                place.insert((now, None));
            }
        }
    }

    pub(crate) fn commit_succeeds(
        &mut self,
        thread: &'static str,
        key: &RecordKey,
        place: Place,
        expected: Option<Option<&str>>,
    ) {
        let now = self.tick();
        let name = (thread, key.clone());
        let commits = self.commits.entry(name.clone()).or_default();
        commits.entry(place.1).or_insert((now, None)).1 = Some(now);
        self.acked.insert(place, name.clone());
        let Some(expected) = expected else {
            return;
        };
        let winners = (
            place.0,
            format!("{thread} {:?} {expected:?}", key.namespace),
        );
        let earlier = self.fenced.entry(winners).or_default().clone();
        for (pack, other) in &earlier {
            // One that does not move the latest may have come before the other.
            let beyond = |id: &str| expected.is_none_or(|expected| id > expected);
            let both = beyond(&other.1.id) && beyond(&key.id) && *pack != place.1;
            let before = (place.0, *pack);
            let stands = self.must_be_there(before, other) && !self.hiding.contains(&before);
            assert!(
                !(both && stands),
                "{pack} and {} both committed to the latest {expected:?}",
                place.1
            );
        }
        let winners = (
            place.0,
            format!("{thread} {:?} {expected:?}", key.namespace),
        );
        self.fenced
            .entry(winners)
            .or_default()
            .push((place.1, name));
    }

    pub(crate) fn commit_fails(&mut self, thread: &'static str, key: &RecordKey, pack: PackId) {
        if !self.retried.contains(&pack) {
            self.failed.insert(pack);
            let name = (thread, key.clone());
            self.commits.entry(name).or_default().remove(&pack);
        }
    }

    pub(crate) fn removal_begins(&mut self, place: Place) {
        self.removing.insert(place);
    }

    pub(crate) fn hide_begins(&mut self, place: Place) {
        self.hiding.insert(place);
    }

    pub(crate) fn removal_succeeds(&mut self, place: Place) {
        self.removed.insert(place);
    }

    pub(crate) fn pin_succeeds(&mut self, place: Place) {
        self.pinned.insert(place);
    }

    pub(crate) fn unpin_begins(&mut self, incarnation: Incarnation, key: &RecordKey) {
        self.unpinned.insert((incarnation, key.clone()));
    }

    pub(crate) fn delete_begins(&mut self, incarnation: Incarnation) {
        self.ending.insert(incarnation);
    }

    pub(crate) fn delete_succeeds(&mut self, incarnation: Incarnation) {
        self.ended.insert(incarnation);
    }

    /// What a copy that begins now must have unless it goes meanwhile.
    pub(crate) fn copy_begins(&mut self, source: &'static str) -> (u64, Vec<(Place, Name)>) {
        let acked = self.acked.iter();
        let here =
            acked.filter(|(place, name)| name.0 == source && self.must_be_there(**place, name));
        let here = here.map(|(place, name)| (*place, name.clone())).collect();
        (self.tick(), here)
    }

    /// Without create-if-absent, what is copied may meet what others commit
    /// to the target at the same time, and replace it.
    pub(crate) fn copy_may_replace(&mut self, source: &'static str, target: &'static str) {
        let now = self.tick();
        let names = self.commits.iter().filter(|(name, _)| name.0 == source);
        let names: Vec<_> = names
            .map(|(name, packs)| (name.1.clone(), packs.clone()))
            .collect();
        for (key, packs) in names {
            let commits = self.commits.entry((target, key)).or_default();
            for pack in packs.into_keys() {
                // As if it were being committed again, also if it was once.
                commits.entry(pack).or_insert((now, None)).1 = None;
            }
        }
    }

    pub(crate) fn copy_succeeds(
        &mut self,
        target: &'static str,
        fresh: Incarnation,
        (began, had): (u64, Vec<(Place, Name)>),
    ) {
        let now = self.tick();
        for (place, name) in had {
            if self.must_be_there(place, &name) {
                let copy = (target, name.1);
                let commits = self.commits.entry(copy.clone()).or_default();
                commits.insert(place.1, (began, Some(now)));
                self.acked.insert((fresh, place.1), copy);
            }
        }
    }

    /// Whether an acknowledged pack must be its record's current one: nobody
    /// has begun anything that may end that.
    fn must_be_there(&self, place: Place, name: &Name) -> bool {
        let commits = &self.commits[name];
        let Some((began, _)) = commits.get(&place.1) else {
            return false;
        };
        let others = commits.iter().filter(|(pack, _)| **pack != place.1);
        let mut others = others.map(|(_, (_, succeeded))| succeeded);
        let replaced = others.any(|succeeded| succeeded.is_none_or(|at| at > *began));
        let pinned =
            self.pinned.contains(&place) && !self.unpinned.contains(&(place.0, name.1.clone()));
        let removing = self.removing.contains(&place) && !pinned;
        !replaced && !removing && !self.ending.contains(&place.0)
    }

    /// Reads everything at this moment, and checks all that must hold.
    pub(crate) fn look(&mut self, observer: &ObjectBackend) {
        for thread in THREADS {
            let current = at_once(observer.incarnation(thread)).unwrap();
            let rows = read_all(observer, thread);
            let mut there = BTreeMap::new();
            for row in &rows {
                assert_eq!(Some(row.incarnation), current);
                self.check_row(observer, thread, row);
                there.insert(row.record.pack, &row.record.key);
            }
            for (place, name) in &self.acked {
                if name.0 == thread && self.must_be_there(*place, name) {
                    assert_eq!(
                        Some(place.0),
                        current,
                        "{} is in a life that nobody ended",
                        place.1
                    );
                    let found = there.get(&place.1);
                    assert_eq!(found, Some(&&name.1), "{} was acknowledged", place.1);
                }
            }
            if let Some(current) = current {
                assert!(
                    !self.ended.contains(&current),
                    "a life that was ended is back"
                );
                let lives = (current, PackId([0; 8]))..=(current, PackId([255; 8]));
                let seen: Vec<_> = self.seen.range(lives).copied().collect();
                self.gone
                    .extend(seen.iter().filter(|place| !there.contains_key(&place.1)));
                self.seen.extend(there.keys().map(|pack| (current, *pack)));
            }
        }
    }

    fn check_row(&self, observer: &ObjectBackend, thread: &str, row: &RecordRow) {
        let place = (row.incarnation, row.record.pack);
        if !self.retried.contains(&place.1) {
            assert!(
                !self.failed.contains(&place.1),
                "{} failed, and is there",
                place.1
            );
            assert!(
                !self.removed.contains(&place),
                "{} was removed, and is there",
                place.1
            );
            assert!(
                !self.gone.contains(&place),
                "{} was gone, and is back",
                place.1
            );
        }
        let needs = needs(&row.body);
        let names: Vec<_> = needs.iter().map(|need| name(*need)).collect();
        let chunks = at_once(observer.chunks(thread, row.incarnation, &names)).unwrap();
        for (need, chunk) in needs.into_iter().zip(chunks) {
            assert_eq!(chunk, Some(content(need)), "{} needs {need:?}", place.1);
        }
    }
}

fn read_all(backend: &ObjectBackend, thread: &str) -> Vec<RecordRow> {
    at_once(async {
        let rows = backend.list(everything(thread)).await.unwrap();
        rows.try_collect().await.unwrap()
    })
}

pub(crate) fn everything(thread: &str) -> ListRecords {
    ListRecords {
        thread: thread.into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Bodies,
    }
}

/// A chunk, by pack and ordinal.
pub(crate) type Need = (PackId, u32);

/// What a chunk holds.
pub(crate) fn content((pack, ordinal): Need) -> Bytes {
    format!("chunk {ordinal} of {pack}").into()
}

pub(crate) fn name((pack, ordinal): Need) -> ChunkName {
    ChunkName {
        pack,
        ordinal,
        locator: 0,
        len: 0,
    }
}

/// A record's body names the chunks it needs.
pub(crate) fn body(needs: &[Need]) -> Bytes {
    let bytes = needs.iter().flat_map(|(pack, ordinal)| {
        let pack = pack.0.into_iter();
        pack.chain(ordinal.to_be_bytes())
    });
    bytes.collect()
}

/// The chunks that a body names.
pub(crate) fn needs(body: &[u8]) -> Vec<Need> {
    let parts = body.chunks_exact(12).map(|part| {
        let (pack, ordinal) = part.split_at(8);
        let ordinal = u32::from_be_bytes(ordinal.try_into().unwrap());
        (PackId(pack.try_into().unwrap()), ordinal)
    });
    parts.collect()
}
