//! What frames say: commits, packs, writes, alterations and reclaims.
//!
//! Places in the log are stored as distances back from the frame that names
//! them, which keeps them to two or three bytes and lets a frame be read by
//! itself; 0 means *none*. Times are signed differences from the time in the
//! log's header. A namespace is a number; the first frame to use one names it.

mod commit;
mod events;

use std::sync::Arc;

use chunkpoint_core::backend::PackId;

use crate::wire::{Cursor, put_bytes, put_signed, put_varint};

pub(crate) use commit::{Commit, Order};
pub(crate) use events::{Action, Alter, Change, LateRecord, LiftedRecord, Reclaim, Writes};

/// Where a payload stands; distances and times are relative to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Offset of the frame.
    pub(crate) offset: u64,
    /// The time in the log's header.
    pub(crate) base_ms: u64,
}

impl Place {
    pub(super) fn put_back(&self, out: &mut Vec<u8>, target: u64) {
        let distance = if target == 0 { 0 } else { self.offset - target };
        put_varint(out, distance);
    }

    pub(super) fn back(&self, cursor: &mut Cursor<'_>) -> Option<u64> {
        match cursor.varint()? {
            0 => Some(0),
            distance => self.offset.checked_sub(distance),
        }
    }

    pub(super) fn put_time(&self, out: &mut Vec<u8>, time_ms: u64) {
        put_signed(out, time_ms.wrapping_sub(self.base_ms) as i64);
    }

    pub(super) fn time(&self, cursor: &mut Cursor<'_>) -> Option<u64> {
        Some(self.base_ms.wrapping_add(cursor.signed()? as u64))
    }
}

/// A namespace by number, with its name where this frame introduces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NsRef {
    /// Its number in this log.
    pub(crate) index: u32,
    /// Its name, if it was not used before.
    pub(crate) name: Option<Arc<str>>,
}

impl NsRef {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(
            out,
            u64::from(self.index) << 1 | u64::from(self.name.is_some()),
        );
        if let Some(name) = &self.name {
            put_bytes(out, name.as_bytes());
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let tag = cursor.varint()?;
        let name = if tag & 1 == 1 {
            let len = cursor.varint()?;
            Some(cursor.text(len)?)
        } else {
            None
        };
        Some(Self {
            index: (tag >> 1).try_into().ok()?,
            name,
        })
    }
}

/// One chunk in a pack's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Its length, and the CRC32C of pack id, ordinal and bytes.
    Here { len: u32, crc: u32 },
    /// It was reclaimed.
    Gone,
}

/// The checksum of a chunk: it holds for these bytes under this name only.
pub(crate) fn chunk_crc(pack: PackId, ordinal: u32, bytes: &[u8]) -> u32 {
    let name = crc32c::crc32c_append(crc32c::crc32c(&pack.0), &ordinal.to_le_bytes());
    crc32c::crc32c_append(name, bytes)
}

/// The chunks of a pack, in the order of their ordinals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Directory(pub(crate) Vec<Slot>);

impl Directory {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        for slot in &self.0 {
            match slot {
                Slot::Gone => out.push(0),
                Slot::Here { len, crc } => {
                    put_varint(out, u64::from(*len) + 1);
                    out.extend_from_slice(&crc.to_le_bytes());
                }
            }
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let count = cursor.varint()?;
        let mut slots = Vec::with_capacity(count.min(4096) as usize);
        for _ in 0..count {
            slots.push(match cursor.varint()? {
                0 => Slot::Gone,
                len => Slot::Here {
                    len: (len - 1).try_into().ok()?,
                    crc: cursor.u32()?,
                },
            });
        }
        Some(Self(slots))
    }

    /// Bytes of all chunks: the length of the frame's tail.
    pub(crate) fn tail_len(&self) -> u64 {
        self.present().map(|(_, _, len, _)| u64::from(len)).sum()
    }

    /// The chunks that are here: ordinal, position in the tail, length, CRC.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u32, u64, u32, u32)> + '_ {
        let mut at = 0;
        self.0
            .iter()
            .zip(0u32..)
            .filter_map(move |(slot, ordinal)| match *slot {
                Slot::Gone => None,
                Slot::Here { len, crc } => {
                    let start = at;
                    at += u64::from(len);
                    Some((ordinal, start, len, crc))
                }
            })
    }
}

/// Tells of a record that was in its namespace's order until this frame made
/// an exception of it: what the index must know of it without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lift {
    /// The record before it in the order.
    pub(crate) prev: u64,
    /// Its pending writes.
    pub(crate) writes: u64,
}

impl Lift {
    fn put(&self, out: &mut Vec<u8>, place: Place) {
        place.put_back(out, self.prev);
        place.put_back(out, self.writes);
    }

    fn read(cursor: &mut Cursor<'_>, place: Place) -> Option<Self> {
        Some(Self {
            prev: place.back(cursor)?,
            writes: place.back(cursor)?,
        })
    }
}

/// A link in the chain of frames that condemned packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condemns {
    /// The frame that did so before.
    pub(crate) chain: u64,
    /// Bytes this leaves behind, chunks not counted.
    pub(crate) garbage: u64,
}

/// Pack id and directory of a commit or a pack, read from as much of the
/// payload as there is.
pub(crate) fn read_directory(payload: &[u8]) -> Option<(PackId, Directory)> {
    let mut cursor = Cursor::new(payload);
    Some((PackId(cursor.array()?), Directory::read(&mut cursor)?))
}

/// The payload of a condemned pack, kept for chunks that others still need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pack {
    pub(crate) pack: PackId,
    pub(crate) directory: Directory,
    /// When it was condemned.
    pub(crate) time_ms: u64,
    /// The frame that condemned before this one.
    pub(crate) chain: u64,
}

impl Pack {
    pub(crate) fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.pack.0);
        self.directory.put(&mut out);
        place.put_time(&mut out, self.time_ms);
        place.put_back(&mut out, self.chain);
        out
    }

    pub(crate) fn decode(payload: &[u8], place: Place) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        Some(Self {
            pack: PackId(cursor.array()?),
            directory: Directory::read(&mut cursor)?,
            time_ms: place.time(&mut cursor)?,
            chain: place.back(&mut cursor)?,
        })
    }
}
