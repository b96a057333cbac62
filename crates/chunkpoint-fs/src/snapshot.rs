//! The state frame: a [`State`] as bytes.
//!
//! One is appended whenever enough was written since the last, so opening a
//! thread reads the end of its log, finds the last state frame there, and
//! applies the few frames behind it. The ladder of earlier state frames makes
//! the log searchable by id.
//!
//! Places are absolute here: most are far away, and the frame is small.

use std::collections::BTreeMap;
use std::sync::Arc;

use chunkpoint_core::backend::PackId;

use crate::frame::Frame;
use crate::state::{Exception, Header, Latest, Life, Ns, Record, State};
use crate::wire::{Cursor, put_bytes, put_id, put_varint};

// Flags of a record in the order, and of an exception.
const HIDDEN: u8 = 1;
const PINNED: u8 = 2;
// Flags of an exception.
const LIVE: u8 = 4;
const REMOVED: u8 = 8;
const BASE: u8 = 16;
// Flags of a namespace.
const TOP: u8 = 1;
const FLOOR: u8 = 2;
const LATEST: u8 = 4 | 8 | 16;
const LATEST_NONE: u8 = 4;
const LATEST_TOP: u8 = 8;
const LATEST_OTHER: u8 = 16;

/// Encodes the state for a frame that will lie at its end.
pub(crate) fn encode(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, state.states);
    put_varint(&mut out, state.ladder.len() as u64);
    state
        .ladder
        .iter()
        .for_each(|offset| put_varint(&mut out, *offset));
    put_varint(&mut out, state.chain);
    put_varint(&mut out, state.table);
    put_varint(&mut out, state.garbage);
    put_varint(&mut out, state.dead.len() as u64);
    let mut last = 0;
    for (loc, ordinals) in state.dead.iter() {
        put_varint(&mut out, loc - last);
        last = *loc;
        put_varint(&mut out, ordinals.len() as u64);
        ordinals
            .iter()
            .for_each(|ordinal| put_varint(&mut out, u64::from(*ordinal)));
    }
    put_varint(&mut out, state.holes.len() as u64);
    for (from, to) in &state.holes {
        put_varint(&mut out, *from);
        put_varint(&mut out, *to);
    }
    put_varint(&mut out, state.namespaces.len() as u64);
    for ns in &state.namespaces {
        put_ns(&mut out, ns);
    }
    out
}

fn put_ns(out: &mut Vec<u8>, ns: &Ns) {
    put_bytes(out, ns.name.as_bytes());
    let latest = match &ns.latest {
        Latest::Unknown => 0,
        Latest::Known(None) => LATEST_NONE,
        Latest::Known(Some(id)) if Some(id) == ns.top_id() => LATEST_TOP,
        Latest::Known(Some(_)) => LATEST_OTHER,
    };
    out.push(
        latest
            | if ns.top.is_some() { TOP } else { 0 }
            | if ns.floor.is_some() { FLOOR } else { 0 },
    );
    if let (LATEST_OTHER, Latest::Known(Some(id))) = (latest, &ns.latest) {
        put_id(out, id);
    }
    if let Some(top) = &ns.top {
        put_id(out, &top.id);
        out.extend_from_slice(&top.pack.0);
        for place in [top.loc, top.prev, top.prev_writes, top.writes] {
            put_varint(out, place);
        }
        out.push(flag(top.hidden, HIDDEN) | flag(top.pinned, PINNED));
    }
    if let Some((id, loc)) = &ns.floor {
        put_id(out, id);
        put_varint(out, *loc);
    }
    put_varint(out, ns.exceptions.len() as u64);
    for (id, exception) in &ns.exceptions {
        put_exception(out, id, exception);
    }
}

fn put_exception(out: &mut Vec<u8>, id: &str, exception: &Exception) {
    put_id(out, id);
    let life = match exception.life {
        Life::Awaited => 0,
        Life::Removed => REMOVED,
        Life::Live => LIVE,
    };
    out.push(
        life | flag(exception.hidden, HIDDEN)
            | flag(exception.pinned, PINNED)
            | flag(exception.base.is_some(), BASE),
    );
    if exception.life == Life::Live {
        out.extend_from_slice(&exception.pack.0);
    }
    put_varint(out, exception.loc);
    put_varint(out, exception.writes);
    if let Some((loc, prev)) = exception.base {
        put_varint(out, loc);
        put_varint(out, prev);
    }
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

/// Decodes a state frame into the state as of right behind it. `None` if the
/// payload makes no sense.
pub(crate) fn decode(header: &Arc<Header>, frame: &Frame) -> Option<State> {
    let mut cursor = Cursor::new(&frame.payload);
    let cursor = &mut cursor;
    let mut state = State::new(Header::clone(header));
    state.header = header.clone();
    state.states = cursor.varint()?;
    for _ in 0..cursor.varint()? {
        state.ladder.push(cursor.varint()?);
    }
    state.chain = cursor.varint()?;
    state.table = cursor.varint()?;
    state.garbage = cursor.varint()?;
    let mut dead = BTreeMap::new();
    let mut last = 0u64;
    for _ in 0..cursor.varint()? {
        last = last.checked_add(cursor.varint()?)?;
        let mut ordinals = Vec::new();
        for _ in 0..cursor.varint()? {
            ordinals.push(cursor.varint_u32()?);
        }
        dead.insert(last, ordinals.into());
    }
    state.dead = Arc::new(dead);
    for _ in 0..cursor.varint()? {
        state.holes.push((cursor.varint()?, cursor.varint()?));
    }
    for index in 0..cursor.varint_u32()? {
        let ns = read_ns(cursor)?;
        state.name_ns(index, &ns.name.clone());
        *state.namespaces.get_mut(index as usize)? = Arc::new(ns);
    }
    state.step_ladder(frame.offset, frame.tail);
    state.end = frame.tail;
    cursor.is_empty().then_some(state)
}

fn read_ns(cursor: &mut Cursor<'_>) -> Option<Ns> {
    let len = cursor.varint()?;
    let mut ns = Ns::new(cursor.text(len)?);
    let flags = cursor.u8()?;
    let other = if flags & LATEST == LATEST_OTHER {
        Some(cursor.id()?)
    } else {
        None
    };
    if flags & TOP != 0 {
        let id = cursor.id()?;
        let pack = PackId(cursor.array()?);
        let [loc, prev, prev_writes, writes] = [
            cursor.varint()?,
            cursor.varint()?,
            cursor.varint()?,
            cursor.varint()?,
        ];
        let flags = cursor.u8()?;
        ns.top = Some(Record {
            id,
            pack,
            loc,
            prev,
            prev_writes,
            writes,
            hidden: flags & HIDDEN != 0,
            pinned: flags & PINNED != 0,
        });
    }
    ns.latest = match flags & LATEST {
        0 => Latest::Unknown,
        LATEST_NONE => Latest::Known(None),
        LATEST_TOP => Latest::Known(Some(ns.top_id()?.clone())),
        LATEST_OTHER => Latest::Known(Some(other?)),
        _ => return None,
    };
    if flags & FLOOR != 0 {
        ns.floor = Some((cursor.id()?, cursor.varint()?));
    }
    for _ in 0..cursor.varint()? {
        let id = cursor.id()?;
        let exception = read_exception(cursor)?;
        ns.insert(id, exception);
    }
    Some(ns)
}

fn read_exception(cursor: &mut Cursor<'_>) -> Option<Exception> {
    let flags = cursor.u8()?;
    let life = match flags & (LIVE | REMOVED) {
        0 => Life::Awaited,
        LIVE => Life::Live,
        REMOVED => Life::Removed,
        _ => return None,
    };
    let pack = PackId(if life == Life::Live {
        cursor.array()?
    } else {
        [0; 8]
    });
    let loc = cursor.varint()?;
    let writes = cursor.varint()?;
    let base = if flags & BASE == 0 {
        None
    } else {
        Some((cursor.varint()?, cursor.varint()?))
    };
    Some(Exception {
        life,
        loc,
        pack,
        hidden: flags & HIDDEN != 0,
        pinned: flags & PINNED != 0,
        writes,
        base,
    })
}

/// The ladder of state frames before this one, nearest first.
pub(crate) fn ladder(frame: &Frame) -> Option<Vec<u64>> {
    let mut cursor = Cursor::new(&frame.payload);
    cursor.varint()?;
    let count = cursor.varint()?;
    (0..count).map(|_| cursor.varint()).collect()
}
