//! The payloads of what happens to records after their commit: pending writes,
//! alterations, reclaims.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{PackId, PendingWrite};

use super::{Lift, NsRef, Place};
use crate::state::Found;
use crate::wire::{Cursor, put_bytes, put_id, put_signed, put_varint};

/// The payload of pending writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writes {
    pub(crate) ns: NsRef,
    pub(crate) id: Arc<str>,
    pub(crate) write_id: PackId,
    pub(crate) time_ms: u64,
    /// The writes for the same checkpoint before these.
    pub(crate) prev: u64,
    /// Set if the checkpoint was in the order, and not its end, until now.
    pub(crate) late: Option<LateRecord>,
    pub(crate) writes: Vec<PendingWrite>,
}

/// A record that gets writes after its successor was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LateRecord {
    /// Its frame.
    pub(crate) loc: u64,
    pub(crate) pack: PackId,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
    /// The record before it in the order.
    pub(crate) prev: u64,
}

impl Writes {
    pub(crate) fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::new();
        self.ns.put(&mut out);
        put_id(&mut out, &self.id);
        out.extend_from_slice(&self.write_id.0);
        place.put_time(&mut out, self.time_ms);
        place.put_back(&mut out, self.prev);
        match &self.late {
            None => out.push(0),
            Some(late) => {
                out.push(1 | u8::from(late.hidden) << 1 | u8::from(late.pinned) << 2);
                place.put_back(&mut out, late.loc);
                out.extend_from_slice(&late.pack.0);
                place.put_back(&mut out, late.prev);
            }
        }
        put_varint(&mut out, self.writes.len() as u64);
        for write in &self.writes {
            put_id(&mut out, &write.task_id);
            put_bytes(&mut out, write.task_path.as_bytes());
            put_signed(&mut out, i64::from(write.idx));
            put_bytes(&mut out, write.channel.as_bytes());
            out.push(u8::from(write.replace));
            put_bytes(&mut out, &write.value);
        }
        out
    }

    pub(crate) fn decode(payload: &Bytes, place: Place) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let cursor = &mut cursor;
        let ns = NsRef::read(cursor)?;
        let id = cursor.id()?;
        let write_id = PackId(cursor.array()?);
        let time_ms = place.time(cursor)?;
        let prev = place.back(cursor)?;
        let late = match cursor.u8()? {
            0 => None,
            flags => Some(LateRecord {
                loc: place.back(cursor)?,
                pack: PackId(cursor.array()?),
                hidden: flags & 2 != 0,
                pinned: flags & 4 != 0,
                prev: place.back(cursor)?,
            }),
        };
        let count = cursor.varint()?;
        let mut writes = Vec::with_capacity(count.min(1024) as usize);
        for _ in 0..count {
            let task_id = cursor.id()?;
            let path_len = cursor.varint()?;
            let task_path = cursor.text(path_len)?;
            let idx = cursor.signed()?.try_into().ok()?;
            let channel_len = cursor.varint()?;
            let channel = cursor.text(channel_len)?;
            let replace = cursor.u8()? != 0;
            let value = Bytes::copy_from_slice(cursor.bytes()?);
            writes.push(PendingWrite {
                task_id,
                task_path,
                idx,
                channel,
                value,
                replace,
            });
        }
        cursor.is_empty().then_some(Self {
            ns,
            id,
            write_id,
            time_ms,
            prev,
            late,
            writes,
        })
    }
}

/// What happens to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is removed; so many bytes of record are left behind.
    Remove { garbage: u64 },
    /// It is hidden.
    Hide,
    /// It is pinned or unpinned.
    Pin(bool),
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) ns: u32,
    pub(crate) id: Arc<str>,
    /// The record's frame.
    pub(crate) loc: u64,
    /// Set if the record was in the order until now, with what it was.
    pub(crate) lift: Option<LiftedRecord>,
    pub(crate) action: Action,
}

impl Change {
    /// A change of a record that was found.
    pub(crate) fn of(ns: u32, found: &Found, action: Action) -> Self {
        Self {
            ns,
            id: found.id.clone(),
            loc: found.loc,
            lift: found.lifted(),
            action,
        }
    }
}

/// What a record in the order was when it became an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiftedRecord {
    pub(crate) lift: Lift,
    pub(crate) pack: PackId,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
}

/// The payload of changes that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alter {
    pub(crate) time_ms: u64,
    /// The frame that condemned before this one. Meaningful where one of the
    /// changes removes.
    pub(crate) chain: u64,
    pub(crate) changes: Vec<Change>,
}

const ACTION: u8 = 3;
const LIFTED: u8 = 4;
const WAS_HIDDEN: u8 = 8;
const WAS_PINNED: u8 = 16;

impl Alter {
    /// Whether it condemns a pack, and so is part of the chain.
    pub(crate) fn condemns(&self) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change.action, Action::Remove { .. }))
    }

    pub(crate) fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::new();
        place.put_time(&mut out, self.time_ms);
        place.put_back(&mut out, self.chain);
        put_varint(&mut out, self.changes.len() as u64);
        for change in &self.changes {
            let mut flags = match &change.action {
                Action::Remove { .. } => 0,
                Action::Hide => 1,
                Action::Pin(false) => 2,
                Action::Pin(true) => 3,
            };
            if let Some(lifted) = &change.lift {
                flags |= LIFTED
                    | if lifted.hidden { WAS_HIDDEN } else { 0 }
                    | if lifted.pinned { WAS_PINNED } else { 0 };
            }
            out.push(flags);
            put_varint(&mut out, u64::from(change.ns));
            put_id(&mut out, &change.id);
            place.put_back(&mut out, change.loc);
            if let Some(lifted) = &change.lift {
                lifted.lift.put(&mut out, place);
                // A removed record's pack is read from its frame if ever asked for.
                if !matches!(change.action, Action::Remove { .. }) {
                    out.extend_from_slice(&lifted.pack.0);
                }
            }
            if let Action::Remove { garbage } = change.action {
                put_varint(&mut out, garbage);
            }
        }
        out
    }

    pub(crate) fn decode(payload: &Bytes, place: Place) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let cursor = &mut cursor;
        let time_ms = place.time(cursor)?;
        let chain = place.back(cursor)?;
        let count = cursor.varint()?;
        let mut changes = Vec::with_capacity(count.min(1024) as usize);
        for _ in 0..count {
            let flags = cursor.u8()?;
            let ns = cursor.varint_u32()?;
            let id = cursor.id()?;
            let loc = place.back(cursor)?;
            let lift = if flags & LIFTED == 0 {
                None
            } else {
                Some(LiftedRecord {
                    lift: Lift::read(cursor, place)?,
                    pack: PackId(if flags & ACTION == 0 {
                        [0; 8]
                    } else {
                        cursor.array()?
                    }),
                    hidden: flags & WAS_HIDDEN != 0,
                    pinned: flags & WAS_PINNED != 0,
                })
            };
            let action = match flags & ACTION {
                0 => Action::Remove {
                    garbage: cursor.varint()?,
                },
                1 => Action::Hide,
                set => Action::Pin(set == 3),
            };
            changes.push(Change {
                ns,
                id,
                loc,
                lift,
                action,
            });
        }
        cursor.is_empty().then_some(Self {
            time_ms,
            chain,
            changes,
        })
    }
}

/// The payload of a reclaim that left the bytes where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reclaim {
    /// Bytes this leaves behind.
    pub(crate) garbage: u64,
    /// Frames of packs, and the ordinals that are gone from each.
    pub(crate) dead: Vec<(u64, Vec<u32>)>,
    /// Checkpoints whose orphaned writes go: namespace and id.
    pub(crate) orphans: Vec<(u32, Arc<str>)>,
}

impl Reclaim {
    pub(crate) fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.garbage);
        put_varint(&mut out, self.dead.len() as u64);
        for (loc, ordinals) in &self.dead {
            place.put_back(&mut out, *loc);
            put_varint(&mut out, ordinals.len() as u64);
            ordinals
                .iter()
                .for_each(|ordinal| put_varint(&mut out, u64::from(*ordinal)));
        }
        put_varint(&mut out, self.orphans.len() as u64);
        for (ns, id) in &self.orphans {
            put_varint(&mut out, u64::from(*ns));
            put_id(&mut out, id);
        }
        out
    }

    pub(crate) fn decode(payload: &[u8], place: Place) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let cursor = &mut cursor;
        let garbage = cursor.varint()?;
        let mut dead = Vec::new();
        for _ in 0..cursor.varint()? {
            let loc = place.back(cursor)?;
            let mut ordinals = Vec::new();
            for _ in 0..cursor.varint()? {
                ordinals.push(cursor.varint_u32()?);
            }
            dead.push((loc, ordinals));
        }
        let mut orphans = Vec::new();
        for _ in 0..cursor.varint()? {
            orphans.push((cursor.varint_u32()?, cursor.id()?));
        }
        cursor.is_empty().then_some(Self {
            garbage,
            dead,
            orphans,
        })
    }
}
