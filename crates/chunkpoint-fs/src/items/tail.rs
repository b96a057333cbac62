//! The tail of a file: what was appended since the sorted part was written.
//!
//! A process knows of each key in the tail where its last entry lies. What cannot be
//! read is told apart by what it can come from. A write that was cut short was never
//! acknowledged: it is ignored, and cut off by the next writer. Anything else is
//! damage: as nobody can tell which keys were in it, no key is answered whose last
//! entry lies before it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use chunkpoint_core::Result;

use crate::frame::{Frame, Kind, MAX_PREFIX, Prefix};
use crate::items::entry::Entry;
use crate::items::file::{Frames, ItemsFile};
use crate::wait::Wait;

/// Read at once.
const AHEAD: usize = 128 * 1024;

/// Bytes that a torn write leaves as zeros come in units of this.
const SECTOR: u64 = 512;

/// Bytes that a key takes in memory besides its own.
const SLOT_WEIGHT: usize = 96;

/// The last entry of a key in the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Where its frame is.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) due: u64,
    pub(crate) is_gone: bool,
}

/// What is known of the tail.
#[derive(Debug)]
pub(crate) struct Tail {
    slots: BTreeMap<Box<[u8]>, Slot>,
    /// Where the next entry goes.
    pub(crate) end: u64,
    /// The last damage.
    pub(crate) hole: Option<(u64, u64)>,
    /// What the catalog was told about when anything is due.
    pub(crate) announced: u64,
    /// Bytes of packs that are of no use.
    pub(crate) dead: u64,
    pub(crate) weight: usize,
}

/// An entry of the tail that was read or written.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) key: Bytes,
    pub(crate) slot: Slot,
    pub(crate) announced: Option<u64>,
    pub(crate) freed: u64,
}

impl Met {
    pub(crate) fn new(key: Bytes, entry: &Entry, offset: u64, len: u32) -> Self {
        let freed = match entry {
            Entry::Gone { freed } => *freed,
            _ => 0,
        };
        let announced = match entry {
            Entry::Due(due) if key.is_empty() => Some(*due),
            _ => None,
        };
        let slot = Slot {
            offset,
            len,
            due: entry.due(),
            is_gone: matches!(entry, Entry::Gone { .. }),
        };
        Self {
            key,
            slot,
            announced,
            freed,
        }
    }
}

/// What was found behind what is known.
#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) met: Vec<Met>,
    pub(crate) hole: Option<(u64, u64)>,
    pub(crate) end: u64,
}

impl Tail {
    /// The tail of a file of which nothing behind the sorted part was read.
    pub(crate) fn new(file: &ItemsFile) -> Self {
        Self {
            slots: BTreeMap::new(),
            end: file.header.base_end,
            hole: None,
            announced: file.header.announced,
            dead: file.header.dead,
            weight: 0,
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// The first key at or behind `from`.
    pub(crate) fn next(&self, from: &[u8]) -> Option<(Vec<u8>, Slot)> {
        let range = (Bound::Included(from), Bound::Unbounded);
        let mut range = self.slots.range::<[u8], _>(range);
        range.next().map(|(key, slot)| (key.to_vec(), *slot))
    }

    /// All of it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Slot)> {
        self.slots.iter().map(|(key, slot)| (&**key, slot))
    }

    /// Takes in what was found behind its end.
    pub(crate) fn apply(&mut self, more: More) {
        for met in more.met {
            self.dead += met.freed;
            if let Some(announced) = met.announced {
                self.announced = announced;
                continue;
            }
            match self.slots.get_mut(&*met.key) {
                Some(slot) => *slot = met.slot,
                None => {
                    self.weight += met.key.len() + SLOT_WEIGHT;
                    self.slots.insert(met.key[..].into(), met.slot);
                }
            }
        }
        self.hole = more.hole.or(self.hole);
        self.end = more.end;
    }
}

/// Reads an entry's frame; `None` if it makes no sense.
pub(crate) fn decode(frame: &Frame) -> Option<(Bytes, Entry)> {
    if frame.kind != Kind::Item {
        return None;
    }
    Entry::decode(&frame.payload)
}

/// Reads the tail from `from` to the file's end at `len`; `head` is what was read of
/// the file already.
pub(crate) fn replay(
    file: &ItemsFile,
    from: u64,
    len: u64,
    head: Bytes,
    wait: Wait,
) -> Result<More> {
    let mut frames = Frames::new(len, AHEAD, wait).with_head(head);
    let mut more = More {
        end: from,
        ..More::default()
    };
    while more.end < len {
        let at = more.end;
        if let Some(frame) = frames.frame(file, at)?
            && let Some((key, entry)) = decode(&frame)
        {
            let met = Met::new(key, &entry, at, (frame.tail - at) as u32);
            more.met.push(met);
            more.end = frame.tail;
            continue;
        }
        match judge(file, &mut frames, at)? {
            None => break,
            Some(next) => {
                let error = file.damaged("an entry", at);
                tracing::error!(%error, until = next, "items are damaged");
                let start = more.hole.map_or(at, |hole| hole.0);
                more.hole = Some((start, next));
                more.end = next;
            }
        }
    }
    Ok(more)
}

/// What bytes that are no entry come from: `None`, a write that was cut short; else
/// damage, and where it ends.
fn judge(file: &ItemsFile, frames: &mut Frames, at: u64) -> Result<Option<u64>> {
    let end = frames.end;
    if let Some(next) = find_frame(file, frames, at + 1)? {
        // The power may have kept an earlier part of one write from the disk and not
        // a later one. What follows such a write was never begun.
        let torn = !begins_a_write(file, frames, next)? && has_zeros(file, frames, at, next)?;
        return Ok((!torn).then_some(next));
    }
    let bytes = frames.bytes(file, at, MAX_PREFIX as u64)?;
    let promised = Prefix::parse(file.salt, at, &bytes).and_then(|prefix| prefix.envelope_len());
    let torn = match promised {
        // Its length can be trusted, and is not there.
        Some(len) if len > end - at => true,
        Some(_) => has_zeros(file, frames, at, end)?,
        // Cutting leaves the start as it was written, so that it would be read.
        None => end - at < MAX_PREFIX as u64 || has_zeros(file, frames, at, end)?,
    };
    Ok((!torn).then_some(end))
}

/// The first whole entry at or behind `from`.
fn find_frame(file: &ItemsFile, frames: &mut Frames, from: u64) -> Result<Option<u64>> {
    let mut at = from;
    while at < frames.end {
        let block = frames.bytes(file, at, 64)?;
        if block.is_empty() {
            break;
        }
        // The last bytes of a block may be the start of a prefix.
        let sure = if at + block.len() as u64 >= frames.end {
            block.len()
        } else {
            block.len() - MAX_PREFIX
        };
        for i in 0..sure {
            let offset = at + i as u64;
            if Prefix::parse(file.salt, offset, &block[i..]).is_some()
                && let Some(frame) = frames.frame(file, offset)?
                && decode(&frame).is_some()
            {
                return Ok(Some(offset));
            }
        }
        at += sure as u64;
    }
    Ok(None)
}

/// Whether a write begins at or behind `at`.
fn begins_a_write(file: &ItemsFile, frames: &mut Frames, mut at: u64) -> Result<bool> {
    loop {
        match frames.frame(file, at)? {
            Some(frame) if frame.first => return Ok(true),
            Some(frame) => at = frame.tail,
            None => match find_frame(file, frames, at + 1)? {
                Some(next) => at = next,
                None => return Ok(false),
            },
        }
    }
}

/// Whether what lies in `from..to` of some sector is zeros alone. A sector is written
/// as a whole, so of one that is not there nothing is.
fn has_zeros(file: &ItemsFile, frames: &mut Frames, from: u64, to: u64) -> Result<bool> {
    let mut at = from;
    while at < to {
        let next = ((at / SECTOR + 1) * SECTOR).min(to);
        let bytes = frames.bytes(file, at, next - at)?;
        let part = &bytes[..bytes.len().min((next - at) as usize)];
        // Of a few bytes any may be zeros.
        if part.len() >= 8 && part.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}
