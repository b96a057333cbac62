//! What each frame does to the state: the same when it is appended as when it
//! is read again.

use std::sync::Arc;

use chunkpoint_core::backend::PackId;

use super::{Event, Exception, Latest, Life, Ns, Record, State};
use crate::payload::{Action, Alter, Commit, Lift, LiftedRecord, NsRef, Order, Reclaim, Writes};

/// Records before the newest that are kept in memory, so that the checks of
/// retention and of forks from recent checkpoints need no reads.
const RECENT: usize = 128;

impl State {
    /// Takes over a frame that lies at `offset` and ends, tail included, at
    /// `end`. Gives `false` if it refers to what is not known.
    pub(crate) fn apply(&mut self, offset: u64, end: u64, event: &Event) -> bool {
        let known = match event {
            Event::Commit(commit) => self.apply_commit(offset, commit),
            Event::Writes(writes) => self.apply_writes(offset, writes),
            Event::Alter(alter) => self.apply_alter(offset, end, alter),
            Event::Reclaim(reclaim) => self.apply_reclaim(offset, end, reclaim),
            Event::Pack(_) => {
                self.chain = offset;
                true
            }
            Event::State => {
                self.step_ladder(offset, end);
                true
            }
            Event::Table => {
                self.table = offset;
                true
            }
        };
        self.end = end;
        known
    }

    /// Notes a new state frame.
    pub(crate) fn step_ladder(&mut self, offset: u64, end: u64) {
        let level = match self.states {
            // Number 0 is a multiple of everything, but there is nothing to skip yet.
            0 => 0,
            number => number.trailing_zeros() as usize,
        };
        if self.ladder.len() <= level {
            self.ladder.resize(level + 1, offset);
        }
        self.ladder[..=level].fill(offset);
        self.states += 1;
        self.state_end = end;
        self.state_len = end - offset;
        self.garbage += end - offset;
    }

    fn apply_commit(&mut self, offset: u64, commit: &Commit) -> bool {
        let index = commit.ns.index;
        let Some(ns) = self.ns_mut(&commit.ns) else {
            return false;
        };
        match &commit.order {
            Order::Next { prev, prev_writes } => {
                // Writes that came before their checkpoint are its own now.
                let awaited = ns.exceptions.remove(&commit.id);
                let record = Record {
                    id: commit.id.clone(),
                    pack: commit.pack,
                    loc: offset,
                    prev: *prev,
                    prev_writes: *prev_writes,
                    writes: awaited.map_or(0, |awaited| awaited.writes),
                    hidden: commit.hidden,
                    pinned: commit.pinned,
                };
                let former = ns.top.replace(record);
                if !commit.hidden {
                    // Nothing can be greater, so this is known even if the
                    // former latest was not.
                    ns.latest = Latest::Known(Some(commit.id.clone()));
                }
                if let Some(former) = former {
                    if self.recent.len() == RECENT {
                        self.recent.pop_front();
                    }
                    self.recent.push_back((index, former));
                }
            }
            Order::Exception {
                older,
                condemns,
                lift,
            } => {
                if let Some(lift) = lift {
                    let lifted = LiftedRecord {
                        lift: *lift,
                        pack: PackId([0; 8]),
                        hidden: false,
                        pinned: false,
                    };
                    ns.lift(&commit.id, *older, &lifted);
                }
                let former = ns.exceptions.get(&commit.id);
                let exception = Exception {
                    life: Life::Live,
                    loc: offset,
                    pack: commit.pack,
                    hidden: commit.hidden,
                    pinned: commit.pinned,
                    writes: former.map_or(0, |former| former.writes),
                    base: former.and_then(|former| former.base),
                };
                ns.insert(commit.id.clone(), exception);
                ns.fold();
                if commit.hidden {
                    ns.vanished(&commit.id);
                } else {
                    ns.appeared(&commit.id);
                }
                if let Some(condemns) = condemns {
                    self.chain = offset;
                    self.garbage += condemns.garbage;
                }
            }
        }
        true
    }

    fn apply_writes(&mut self, offset: u64, writes: &Writes) -> bool {
        let Some(ns) = self.ns_mut(&writes.ns) else {
            return false;
        };
        if let Some(late) = &writes.late {
            let lift = Lift {
                prev: late.prev,
                writes: writes.prev,
            };
            let lifted = LiftedRecord {
                lift,
                pack: late.pack,
                hidden: late.hidden,
                pinned: late.pinned,
            };
            ns.lift(&writes.id, late.loc, &lifted);
        }
        if let Some(exception) = ns.exceptions.get_mut(&writes.id) {
            exception.writes = offset;
        } else if let Some(top) = ns.top.as_mut().filter(|top| top.id == writes.id)
            && ns.floor.as_ref().is_none_or(|(_, floor)| *floor < top.loc)
        {
            top.writes = offset;
        } else {
            let awaited = Exception {
                life: Life::Awaited,
                loc: 0,
                pack: PackId([0; 8]),
                hidden: false,
                pinned: false,
                writes: offset,
                base: None,
            };
            ns.insert(writes.id.clone(), awaited);
        }
        if writes.late.is_some() {
            ns.fold();
        }
        true
    }

    fn apply_alter(&mut self, offset: u64, end: u64, alter: &Alter) -> bool {
        let mut known = true;
        self.garbage += end - offset;
        for change in &alter.changes {
            let Some(ns) = self
                .namespaces
                .get_mut(change.ns as usize)
                .map(Arc::make_mut)
            else {
                known = false;
                continue;
            };
            if let Some(lifted) = &change.lift {
                ns.lift(&change.id, change.loc, lifted);
            }
            let Some(exception) = ns.exceptions.get_mut(&change.id) else {
                known = false;
                continue;
            };
            match &change.action {
                Action::Remove { garbage } => {
                    exception.life = Life::Removed;
                    exception.writes = 0;
                    ns.vanished(&change.id);
                    self.garbage += garbage;
                }
                Action::Hide => {
                    exception.hidden = true;
                    ns.vanished(&change.id);
                }
                Action::Pin(pinned) => exception.pinned = *pinned,
            }
            ns.fold();
        }
        if alter.condemns() {
            self.chain = offset;
        }
        known
    }

    fn apply_reclaim(&mut self, offset: u64, end: u64, reclaim: &Reclaim) -> bool {
        if !reclaim.dead.is_empty() {
            let dead = Arc::make_mut(&mut self.dead);
            for (loc, ordinals) in &reclaim.dead {
                let mut all = ordinals.clone();
                all.extend(dead.get(loc).into_iter().flat_map(|before| before.iter()));
                all.sort_unstable();
                all.dedup();
                dead.insert(*loc, all.into());
            }
        }
        for (ns, id) in &reclaim.orphans {
            let Some(ns) = self.namespaces.get_mut(*ns as usize).map(Arc::make_mut) else {
                return false;
            };
            match ns.exceptions.get_mut(id) {
                Some(exception) if exception.life == Life::Removed && exception.base.is_some() => {
                    exception.writes = 0;
                }
                Some(exception) if exception.life != Life::Live => {
                    ns.exceptions.remove(id);
                }
                _ => {}
            }
        }
        self.garbage += reclaim.garbage + (end - offset);
        true
    }

    fn ns_mut(&mut self, ns: &NsRef) -> Option<&mut Ns> {
        if let Some(name) = &ns.name {
            self.name_ns(ns.index, name);
        }
        self.namespaces
            .get_mut(ns.index as usize)
            .map(Arc::make_mut)
    }
}

impl Ns {
    /// Turns a record of the order into an exception, unless it is one.
    fn lift(&mut self, id: &Arc<str>, loc: u64, record: &LiftedRecord) {
        if !self.exceptions.contains_key(id) {
            let exception = Exception {
                life: Life::Live,
                loc,
                pack: record.pack,
                hidden: record.hidden,
                pinned: record.pinned,
                writes: record.lift.writes,
                base: Some((loc, record.lift.prev)),
            };
            self.insert(id.clone(), exception);
        }
    }

    /// Moves the floor up over exceptions.
    fn fold(&mut self) {
        while let Some(id) = self.by_prev.remove(&self.floor_loc()) {
            let Some(exception) = self.exceptions.get_mut(&id) else {
                continue;
            };
            let Some((loc, _)) = exception.base.take() else {
                continue;
            };
            if exception.life == Life::Removed && exception.writes == 0 {
                self.exceptions.remove(&id);
            }
            self.floor = Some((id, loc));
        }
    }

    /// Notes that `id` became visible.
    fn appeared(&mut self, id: &Arc<str>) {
        if let Latest::Known(latest) = &mut self.latest
            && latest.as_ref().is_none_or(|latest| latest <= id)
        {
            *latest = Some(id.clone());
        }
    }

    /// Notes that `id` is no longer visible.
    fn vanished(&mut self, id: &Arc<str>) {
        if matches!(&self.latest, Latest::Known(Some(latest)) if latest == id) {
            self.latest = Latest::Unknown;
        }
    }
}
