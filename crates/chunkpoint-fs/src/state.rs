//! What is kept in memory of a thread: enough to place a commit without
//! reading, and to find the rest with a few reads.
//!
//! Ids mostly ascend in a namespace, and are mostly removed oldest first. So a
//! namespace is an *order* (records whose id was greater than any before, each
//! frame pointing at the one before), of which only both ends are kept, and
//! *exceptions*, kept one by one: what was replaced, pinned, hidden, removed
//! from the middle, or came late. When the record after the *floor* becomes an
//! exception the floor moves up over it, and a removed one is forgotten. A
//! thread that is appended to and trimmed for ever so takes constant memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chunkpoint_core::backend::{Incarnation, PackId};

use crate::frame::Salt;
use crate::payload::{Action, Alter, Commit, Lift, LiftedRecord, NsRef, Order, Pack, Place};
use crate::payload::{Reclaim, Writes};

/// Records before the newest that are kept in memory, so that the checks of
/// retention and of forks from recent checkpoints need no reads.
const RECENT: usize = 128;

/// The fixed facts of one generation of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Counts compactions.
    pub(crate) generation: u64,
    /// The life of the thread that this log is.
    pub(crate) incarnation: Incarnation,
    /// Times in the log are relative to this.
    pub(crate) base_ms: u64,
    /// The thread.
    pub(crate) thread: Arc<str>,
    /// Where frames begin.
    pub(crate) start: u64,
}

impl Header {
    /// What checksums of this log start from.
    pub(crate) fn salt(&self) -> Salt {
        Salt::new(self.incarnation.0, self.generation)
    }

    /// The place of a frame, for its payload.
    pub(crate) fn place(&self, offset: u64) -> Place {
        Place {
            offset,
            base_ms: self.base_ms,
        }
    }
}

/// A record in its namespace's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: Arc<str>,
    pub(crate) pack: PackId,
    /// Its frame.
    pub(crate) loc: u64,
    /// The record before it in the order; 0 for the first.
    pub(crate) prev: u64,
    /// That record's pending writes.
    pub(crate) prev_writes: u64,
    /// Its own pending writes: the newest frame of their chain.
    pub(crate) writes: u64,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
}

/// Whether an exception is a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// There was none yet; only pending writes came.
    Awaited,
    /// It was removed.
    Removed,
    /// It is one.
    Live,
}

/// A record that is not as the order has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) life: Life,
    /// The commit that made its current or last version; 0 if awaited.
    pub(crate) loc: u64,
    /// The pack of a live one.
    pub(crate) pack: PackId,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
    pub(crate) writes: u64,
    /// Where a hidden record's body is: a frame of changes, and which one.
    pub(crate) body: Option<(u64, u32)>,
    /// Its place in the order, while the floor is below: its frame there, and
    /// the one before.
    pub(crate) base: Option<(u64, u64)>,
}

/// A record that exists, wherever it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: Arc<str>,
    pub(crate) pack: PackId,
    pub(crate) loc: u64,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
    pub(crate) writes: u64,
    pub(crate) body: Option<(u64, u32)>,
    /// Set while it is in the order: what an exception to it must carry.
    pub(crate) lift: Option<Lift>,
}

impl Found {
    /// What a frame that makes an exception of this record carries.
    pub(crate) fn lifted(&self) -> Option<LiftedRecord> {
        self.lift.map(|lift| LiftedRecord {
            lift,
            pack: self.pack,
            hidden: self.hidden,
            pinned: self.pinned,
        })
    }
}

impl From<&Record> for Found {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            pack: record.pack,
            loc: record.loc,
            hidden: record.hidden,
            pinned: record.pinned,
            writes: record.writes,
            body: None,
            lift: Some(Lift {
                prev: record.prev,
                writes: record.writes,
            }),
        }
    }
}

/// The greatest visible id of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Latest {
    /// To be found again, after it was removed or hidden.
    Unknown,
    /// This, or that there is none.
    Known(Option<Arc<str>>),
}

/// What looking in memory gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The record.
    Is(Found),
    /// There is none.
    No,
    /// The order has to be searched on disk.
    Search,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ns {
    pub(crate) name: Arc<str>,
    /// The newest record of the order, removed or not.
    pub(crate) top: Option<Record>,
    /// The newest record of the order that nothing needs to be looked up at or
    /// below: id and frame.
    pub(crate) floor: Option<(Arc<str>, u64)>,
    pub(crate) latest: Latest,
    pub(crate) exceptions: BTreeMap<Arc<str>, Exception>,
    /// Exceptions in the order, by the frame before them: finds what the floor
    /// can move over.
    by_prev: BTreeMap<u64, Arc<str>>,
}

impl Ns {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            top: None,
            floor: None,
            latest: Latest::Known(None),
            exceptions: BTreeMap::new(),
            by_prev: BTreeMap::new(),
        }
    }

    /// The frame of the floor, or 0.
    pub(crate) fn floor_loc(&self) -> u64 {
        self.floor.as_ref().map_or(0, |(_, loc)| *loc)
    }

    /// The greatest id the order ever had.
    pub(crate) fn top_id(&self) -> Option<&Arc<str>> {
        self.top.as_ref().map(|top| &top.id)
    }

    /// Adds or replaces an exception.
    pub(crate) fn insert(&mut self, id: Arc<str>, exception: Exception) {
        if let Some((_, prev)) = exception.base {
            self.by_prev.insert(prev, id.clone());
        }
        self.exceptions.insert(id, exception);
    }

    /// Looks up what the exceptions, the ends of the order, and nothing else
    /// tell.
    fn lookup(&self, id: &str) -> Lookup {
        if let Some(exception) = self.exceptions.get_key_value(id) {
            return exception
                .1
                .found(exception.0)
                .map_or(Lookup::No, Lookup::Is);
        }
        match &self.top {
            Some(top) if *id < *top.id => {}
            Some(top) if *id == *top.id && top.loc > self.floor_loc() => {
                return Lookup::Is(top.into());
            }
            _ => return Lookup::No,
        }
        match &self.floor {
            Some((floor, _)) if *id <= **floor => Lookup::No,
            _ => Lookup::Search,
        }
    }

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
                body: None,
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

impl Exception {
    /// The record, if it is one.
    pub(crate) fn found(&self, id: &Arc<str>) -> Option<Found> {
        (self.life == Life::Live).then(|| Found {
            id: id.clone(),
            pack: self.pack,
            loc: self.loc,
            hidden: self.hidden,
            pinned: self.pinned,
            writes: self.writes,
            body: self.body,
            lift: None,
        })
    }
}

/// The index of a thread as of one length of its log. Cheap to clone: what a
/// change does not touch is shared.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) header: Arc<Header>,
    /// Where the next frame goes: the end of the last whole one.
    pub(crate) end: u64,
    /// How many state frames there were.
    pub(crate) states: u64,
    /// The end of the last of them.
    pub(crate) state_end: u64,
    /// Its size.
    pub(crate) state_len: u64,
    /// At `n`, the last state frame whose number is a multiple of `2^n`.
    pub(crate) ladder: Vec<u64>,
    pub(crate) namespaces: Vec<Arc<Ns>>,
    pub(crate) by_name: Arc<HashMap<Arc<str>, u32>>,
    /// Records of the order before the top, oldest first.
    recent: VecDeque<(u32, Record)>,
    /// The last frame that condemned packs.
    pub(crate) chain: u64,
    /// Where the pack table's frame is; 0 if there is none.
    pub(crate) table: u64,
    /// Bytes in the log that a compaction would drop.
    pub(crate) garbage: u64,
    /// Chunks that were reclaimed but are still in the log: by the frame of
    /// their pack.
    pub(crate) dead: Arc<BTreeMap<u64, Arc<[u32]>>>,
}

/// A frame, decoded.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A commit.
    Commit(Commit),
    /// Pending writes.
    Writes(Writes),
    /// Changes of records.
    Alter(Alter),
    /// Dead chunks.
    Reclaim(Reclaim),
    /// A condemned pack.
    Pack(Pack),
    /// An index; its payload is read where it is needed.
    State,
    /// A pack table.
    Table,
}

impl State {
    /// The state of a log that has only its header.
    pub(crate) fn new(header: Header) -> Self {
        let root: Arc<str> = "".into();
        Self {
            end: header.start,
            state_end: header.start,
            header: Arc::new(header),
            states: 0,
            state_len: 0,
            ladder: Vec::new(),
            namespaces: vec![Arc::new(Ns::new(root.clone()))],
            by_name: Arc::new(HashMap::from([(root, 0)])),
            recent: VecDeque::new(),
            chain: 0,
            table: 0,
            garbage: 0,
            dead: Arc::default(),
        }
    }

    /// The number of a namespace, and how a frame refers to it.
    pub(crate) fn ns_ref(&self, name: &Arc<str>) -> NsRef {
        match self.by_name.get(name) {
            Some(&index) => NsRef { index, name: None },
            None => NsRef {
                index: self.namespaces.len() as u32,
                name: Some(name.clone()),
            },
        }
    }

    /// A namespace that was used before.
    pub(crate) fn ns(&self, name: &str) -> Option<(u32, &Ns)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.namespaces.get(index as usize)?))
    }

    fn ns_mut(&mut self, ns: &NsRef) -> Option<&mut Ns> {
        if let Some(name) = &ns.name {
            self.name_ns(ns.index, name);
        }
        self.namespaces
            .get_mut(ns.index as usize)
            .map(Arc::make_mut)
    }

    /// Gives the namespace `index` its name. Numbers that damage took the names
    /// of get one that no namespace can have.
    pub(crate) fn name_ns(&mut self, index: u32, name: &Arc<str>) {
        while self.namespaces.len() <= index as usize {
            let lost: Arc<str> = format!("\0{}", self.namespaces.len()).into();
            self.namespaces.push(Arc::new(Ns::new(lost)));
        }
        Arc::make_mut(&mut self.namespaces[index as usize]).name = name.clone();
        Arc::make_mut(&mut self.by_name).insert(name.clone(), index);
    }

    /// Looks a record up in memory.
    pub(crate) fn lookup(&self, ns: u32, id: &str) -> Lookup {
        let Some(space) = self.namespaces.get(ns as usize) else {
            return Lookup::No;
        };
        match space.lookup(id) {
            Lookup::Search => match self.recent(ns).find(|record| *record.id == *id) {
                Some(record) => Lookup::Is(record.into()),
                None => Lookup::Search,
            },
            other => other,
        }
    }

    /// Recent records of a namespace's order, newest first, the top included.
    pub(crate) fn recent(&self, ns: u32) -> impl Iterator<Item = &Record> {
        let top = self
            .namespaces
            .get(ns as usize)
            .and_then(|ns| ns.top.as_ref());
        let older = self.recent.iter().rev().filter(move |(of, _)| *of == ns);
        top.into_iter().chain(older.map(|(_, record)| record))
    }

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
                    body: None,
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
                body: None,
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
        for (nth, change) in (0u32..).zip(&alter.changes) {
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
                    exception.body = None;
                    ns.vanished(&change.id);
                    self.garbage += garbage;
                }
                Action::Hide { .. } => {
                    exception.hidden = true;
                    exception.body = Some((offset, nth));
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

    /// About how many bytes this takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let namespaces: usize = self
            .namespaces
            .iter()
            .map(|ns| 300 + ns.name.len() + ns.exceptions.len() * 220)
            .sum();
        let dead: usize = self
            .dead
            .values()
            .map(|ordinals| 48 + ordinals.len() * 4)
            .sum();
        600 + namespaces + dead + self.recent.len() * 160
    }
}
