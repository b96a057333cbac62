//! Walking and searching a namespace's order.
//!
//! Each record of the order points at the one before. State frames tell the
//! top of every namespace at their time, and point at earlier state frames in
//! a ladder of growing distances. So a record is found by going down the
//! ladder to the last state frame whose top is past it, which takes a number of
//! small reads that grows with the logarithm of the log, and from there back
//! over the few records between two state frames.

use std::ops::Bound;
use std::sync::Arc;

use chunkpoint_core::Result;

use crate::frame::Kind;
use crate::log::{Going, Reader};
use crate::payload::{Commit, Order};
use crate::scan::{Met, Scan};
use crate::snapshot;
use crate::state::{Found, Latest, Lookup, Record, State};

/// A step from a record to the one before.
enum Step {
    To(Record),
    End,
    /// The record before cannot be read; here are its place and the one before.
    Over(u64, Option<Record>),
}

/// The record of the order at `loc`.
fn read_record(reader: &mut Reader, ns: u32, loc: u64, writes: u64) -> Result<Option<Record>> {
    let Some(frame) = reader.frame(loc, Going::Backward)? else {
        return Ok(None);
    };
    if frame.kind != Kind::Commit {
        return Ok(None);
    }
    let place = reader.log().header.place(loc);
    let Some(commit) = Commit::decode(&frame.payload, place) else {
        return Ok(None);
    };
    let Order::Next { prev, prev_writes } = commit.order else {
        return Ok(None);
    };
    Ok((commit.ns.index == ns).then_some(Record {
        id: commit.id,
        pack: commit.pack,
        loc,
        prev,
        prev_writes,
        writes,
        hidden: commit.hidden,
        pinned: commit.pinned,
    }))
}

/// The record before `record`, as long as it is above `floor`.
fn step(reader: &mut Reader, state: &State, ns: u32, record: &Record, floor: u64) -> Result<Step> {
    if record.prev <= floor {
        return Ok(Step::End);
    }
    if let Some(before) = read_record(reader, ns, record.prev, record.prev_writes)? {
        return Ok(Step::To(before));
    }
    let rest = top_before(reader, state, ns, record.prev)?.filter(|rest| rest.loc > floor);
    Ok(Step::Over(record.prev, rest))
}

/// The newest record of the order before `loc`, found without what is there:
/// by what the state frame before it knew, and what came since.
fn top_before(reader: &mut Reader, state: &State, ns: u32, loc: u64) -> Result<Option<Record>> {
    let mut ladder = state.ladder.clone();
    let mut past = State::new((*state.header).clone());
    loop {
        let near = ladder.iter().copied().find(|offset| *offset < loc);
        // Of those behind `loc`, the nearest has the ladder to go on with.
        let behind = ladder.iter().copied().rfind(|offset| *offset > loc);
        if let Some(behind) = behind
            && let Some(earlier) = read_state(reader, state, behind)?
            && !earlier.1.is_empty()
        {
            ladder = earlier.1;
            continue;
        }
        if let Some(near) = near
            && let Some((earlier, _)) = read_state(reader, state, near)?
        {
            past = earlier;
        }
        break;
    }
    let from = past.end;
    let mut scan = Scan::new(reader, from, loc);
    while let Some(met) = scan.next()? {
        if let Met::Frame(frame, event, end) = met {
            past.apply(frame.offset, end, &event);
        }
    }
    Ok(past
        .namespaces
        .get(ns as usize)
        .and_then(|ns| ns.top.clone()))
}

/// The state at a state frame, and the ladder of frames before it.
fn read_state(reader: &mut Reader, state: &State, at: u64) -> Result<Option<(State, Vec<u64>)>> {
    let Some(frame) = reader.frame(at, Going::Only)? else {
        return Ok(None);
    };
    if frame.kind != Kind::State {
        return Ok(None);
    }
    let Some(earlier) = snapshot::decode(&state.header, &frame) else {
        return Ok(None);
    };
    Ok(Some((
        earlier,
        snapshot::ladder(&frame).unwrap_or_default(),
    )))
}

/// What a search gives.
#[derive(Debug, Default)]
pub(crate) struct Sought {
    /// The greatest record of the order within the bound.
    pub(crate) record: Option<Record>,
    /// Set to its place if a record that may be greater could not be read.
    pub(crate) damage: Option<u64>,
}

/// Searches the order for the greatest id up to `bound`, above `floor`.
pub(crate) fn seek(
    reader: &mut Reader,
    state: &State,
    ns: u32,
    bound: Bound<&str>,
    floor: u64,
) -> Result<Sought> {
    let fits = |record: &Record| match bound {
        Bound::Included(id) => *record.id <= *id,
        Bound::Excluded(id) => *record.id < *id,
        Bound::Unbounded => true,
    };
    let above_floor = |record: Record| (record.loc > floor).then_some(record);
    let mut after: Option<&Record> = None;
    for record in state.recent(ns) {
        if fits(record) {
            // Damage may have taken a record between the two.
            if after.is_none_or(|after| after.prev == record.loc) {
                return Ok(Sought {
                    record: above_floor(record.clone()),
                    damage: None,
                });
            }
            break;
        }
        after = Some(record);
    }
    let Some(after) = after else {
        return Ok(Sought::default());
    };
    let mut from = after.clone();
    if let Some(nearer) = descend(reader, state, ns, &fits)?
        && nearer.loc < from.loc
    {
        from = nearer;
    }
    let mut damage = None;
    loop {
        let next = match step(reader, state, ns, &from, floor)? {
            Step::To(record) => Some(record),
            Step::End => None,
            Step::Over(at, rest) => {
                damage = Some(at);
                rest
            }
        };
        match next {
            Some(record) if fits(&record) => {
                return Ok(Sought {
                    record: Some(record),
                    damage,
                });
            }
            Some(record) => {
                // What was damaged lies above this, and so out of bounds.
                damage = None;
                from = record;
            }
            None => {
                return Ok(Sought {
                    record: None,
                    damage,
                });
            }
        }
    }
}

/// Goes down the ladder to the earliest state frame whose top does not fit,
/// and gives that top.
fn descend(
    reader: &mut Reader,
    state: &State,
    ns: u32,
    fits: &impl Fn(&Record) -> bool,
) -> Result<Option<Record>> {
    let mut best = None;
    let mut ladder = state.ladder.clone();
    // Frames at or before this are known to be too early.
    let mut early = 0;
    'down: loop {
        for at in ladder.into_iter().rev() {
            if at <= early {
                continue;
            }
            // A frame that cannot be read is taken for one that is too early;
            // this only makes the walk longer.
            if let Some((earlier, next)) = read_state(reader, state, at)?
                && let Some(top) = earlier
                    .namespaces
                    .get(ns as usize)
                    .and_then(|ns| ns.top.as_ref())
                && !fits(top)
            {
                best = Some(top.clone());
                ladder = next;
                continue 'down;
            }
            early = at;
        }
        return Ok(best);
    }
}

/// Finds a record by name.
pub(crate) fn locate(
    reader: &mut Reader,
    state: &State,
    ns: u32,
    id: &str,
) -> Result<Option<Found>> {
    match state.lookup(ns, id) {
        Lookup::Is(found) => Ok(Some(found)),
        Lookup::No => Ok(None),
        Lookup::Search => {
            let floor = state.namespaces[ns as usize].floor_loc();
            let sought = seek(reader, state, ns, Bound::Included(id), floor)?;
            match (sought.record, sought.damage) {
                (Some(record), _) if *record.id == *id => Ok(Some((&record).into())),
                (_, Some(at)) => Err(reader.log().damaged("a record", at)),
                _ => Ok(None),
            }
        }
    }
}

/// Goes through the records of one namespace, newest first.
#[derive(Debug)]
pub(crate) struct Walk {
    ns: u32,
    /// The next record of the order, if it has been read.
    base: Option<Record>,
    /// The record given last, if the one before it has not been read.
    given: Option<Record>,
    /// Exceptions from this id on were given.
    bound: Option<Arc<str>>,
    /// Where a record could not be read, to be told next.
    damage: Option<u64>,
    /// Where the last one told of is.
    pub(crate) damaged: u64,
}

impl Walk {
    /// A walk from the newest record before `before`.
    pub(crate) fn new(
        reader: &mut Reader,
        state: &State,
        ns: u32,
        before: Option<&Arc<str>>,
    ) -> Result<Self> {
        let space = &state.namespaces[ns as usize];
        let sought = match before {
            None => Sought {
                record: space.top.clone().filter(|top| top.loc > space.floor_loc()),
                damage: None,
            },
            Some(before) => seek(
                reader,
                state,
                ns,
                Bound::Excluded(before),
                space.floor_loc(),
            )?,
        };
        Ok(Self {
            ns,
            base: sought.record,
            given: None,
            bound: before.cloned(),
            damage: sought.damage,
            damaged: 0,
        })
    }

    /// The next record, hidden ones included. An error tells of one that cannot
    /// be read; the walk goes on behind it.
    pub(crate) fn next(&mut self, reader: &mut Reader, state: &State) -> Result<Option<Found>> {
        if let Some(given) = self.given.take() {
            self.advance(reader, state, &given)?;
        }
        self.tell(reader)?;
        let space = &state.namespaces[self.ns as usize];
        while let Some(base) = self.base.take() {
            if !space.exceptions.contains_key(&base.id) {
                self.base = Some(base);
                break;
            }
            self.advance(reader, state, &base)?;
            self.tell(reader)?;
        }
        // Only exceptions above the base come before it.
        let lower = self
            .base
            .as_ref()
            .map_or(Bound::Unbounded, |base| Bound::Excluded(&*base.id));
        let upper = self
            .bound
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let exception = if is_empty(lower, upper) {
            None
        } else {
            let between = space.exceptions.range::<str, _>((lower, upper));
            between
                .rev()
                .find_map(|(id, exception)| exception.found(id))
        };
        if exception.is_none()
            && let Some(base) = self.base.take()
        {
            self.bound = Some(base.id.clone());
            let found = Found::from(&base);
            self.given = Some(base);
            return Ok(Some(found));
        }
        if let Some(exception) = &exception {
            self.bound = Some(exception.id.clone());
        }
        Ok(exception)
    }

    /// Tells of a record that could not be read.
    fn tell(&mut self, reader: &Reader) -> Result<()> {
        let Some(at) = self.damage.take() else {
            return Ok(());
        };
        self.damaged = at;
        Err(reader.log().damaged("a record", at))
    }

    fn advance(&mut self, reader: &mut Reader, state: &State, from: &Record) -> Result<()> {
        let floor = state.namespaces[self.ns as usize].floor_loc();
        self.base = match step(reader, state, self.ns, from, floor)? {
            Step::To(record) => Some(record),
            Step::End => None,
            Step::Over(at, rest) => {
                self.damage = Some(at);
                rest
            }
        };
        Ok(())
    }
}

/// Whether nothing can lie between; asking a map for such a range panics.
fn is_empty(lower: Bound<&str>, upper: Bound<&str>) -> bool {
    matches!((lower, upper), (Bound::Excluded(lower), Bound::Excluded(upper)) if lower >= upper)
}

/// The greatest visible record of a namespace.
pub(crate) fn latest(reader: &mut Reader, state: &State, ns: u32) -> Result<Option<Found>> {
    match &state.namespaces[ns as usize].latest {
        Latest::Known(None) => Ok(None),
        Latest::Known(Some(id)) => locate(reader, state, ns, id),
        Latest::Unknown => {
            let mut walk = Walk::new(reader, state, ns, None)?;
            while let Some(found) = walk.next(reader, state)? {
                if !found.hidden {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
    }
}

/// The latest visible record of a namespace.
///
/// # Errors
/// `Corrupt` if there is damage behind the last record that is known: one that
/// is later may have been there.
pub(crate) fn sure_latest(reader: &mut Reader, state: &State, ns: u32) -> Result<Option<Found>> {
    let found = latest(reader, state, ns)?;
    let top = state.namespaces[ns as usize].top.as_ref();
    let last = top
        .map_or(0, |top| top.loc)
        .max(found.as_ref().map_or(0, |found| found.loc));
    match state.holes.iter().find(|(from, _)| *from > last) {
        Some((at, _)) => Err(reader.log().damaged("a frame", *at)),
        None => Ok(found),
    }
}

/// Finds the latest of every namespace where it is not known.
pub(crate) fn settle(reader: &mut Reader, state: &mut State) -> Result<()> {
    for ns in 0..state.namespaces.len() {
        if state.namespaces[ns].latest == Latest::Unknown {
            let found = latest(reader, state, ns as u32)?;
            Arc::make_mut(&mut state.namespaces[ns]).latest =
                Latest::Known(found.map(|found| found.id));
        }
    }
    Ok(())
}
