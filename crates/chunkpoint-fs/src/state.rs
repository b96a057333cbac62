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

mod apply;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chunkpoint_core::backend::{Incarnation, PackId};

use crate::frame::Salt;
use crate::payload::{Alter, Commit, Lift, LiftedRecord, NsRef, Pack, Place, Reclaim, Writes};

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
    /// Damaged parts of the log that were met before they could be taken over:
    /// from where to where. What is not found may have been in one.
    pub(crate) holes: Vec<(u64, u64)>,
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
            holes: Vec::new(),
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
