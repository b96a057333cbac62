//! The payload of a commit: pack id and chunk directory, the fields of the
//! record index, and the body.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{PackId, RecordIndex};

use super::{Condemns, Directory, Lift, NsRef, Place};
use crate::wire::{Cursor, put_bytes, put_varint, uuid_bytes, uuid_text};

/// How a commit stands to its namespace's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Its id is greater than any before.
    Next {
        /// The record before it in the order.
        prev: u64,
        /// The pending writes of that record.
        prev_writes: u64,
    },
    /// It is an exception: it replaces a record, or came late.
    Exception {
        /// The version of this id before it, if any was stored.
        older: u64,
        /// Set if that version was a record until now.
        condemns: Option<Condemns>,
        /// Set if that version was in the order until now.
        lift: Option<Lift>,
    },
}

/// The payload of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) pack: PackId,
    pub(crate) directory: Directory,
    pub(crate) ns: NsRef,
    pub(crate) id: Arc<str>,
    pub(crate) index: RecordIndex,
    pub(crate) order: Order,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
    pub(crate) body: Bytes,
}

// Bits of a commit's first flag byte. What is common is 0 or sits here, so that
// the second byte is rarely needed.
const TEXT_ID: u8 = 1;
const PARENT_UUID: u8 = 2;
const PARENT_TEXT: u8 = 4;
const RUN_UUID: u8 = 8;
const RUN_TEXT: u8 = 16;
const DELTA: u8 = 32;
const BYTES: u8 = 64;
const MORE: u8 = 128;
// Bits of the second.
const EXCEPTION: u8 = 1;
const CONDEMNS: u8 = 2;
const LIFT: u8 = 4;
const HIDDEN: u8 = 8;
const PINNED: u8 = 16;

fn put_text(out: &mut Vec<u8>, text: &str) {
    match uuid_bytes(text) {
        Some(bytes) => out.extend_from_slice(&bytes),
        None => put_bytes(out, text.as_bytes()),
    }
}

fn read_text(cursor: &mut Cursor<'_>, uuid: bool) -> Option<Arc<str>> {
    if uuid {
        return Some(uuid_text(&cursor.array()?));
    }
    let len = cursor.varint()?;
    cursor.text(len)
}

impl Commit {
    pub(crate) fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + self.directory.0.len() * 7 + 96);
        out.extend_from_slice(&self.pack.0);
        self.directory.put(&mut out);
        let optional = |text: &Option<Arc<str>>, uuid: u8, plain: u8| match text {
            None => 0,
            Some(text) if uuid_bytes(text).is_some() => uuid,
            Some(_) => plain,
        };
        let stored = self.body.len() as u64 + self.directory.tail_len();
        let mut flags = if uuid_bytes(&self.id).is_some() {
            0
        } else {
            TEXT_ID
        } | optional(&self.index.parent, PARENT_UUID, PARENT_TEXT)
            | optional(&self.index.run_id, RUN_UUID, RUN_TEXT);
        flags |= if self.index.delta { DELTA } else { 0 };
        flags |= if self.index.pack_bytes == stored {
            0
        } else {
            BYTES
        };
        let mut more = if self.hidden { HIDDEN } else { 0 } | if self.pinned { PINNED } else { 0 };
        if let Order::Exception { condemns, lift, .. } = &self.order {
            more |= EXCEPTION;
            more |= if condemns.is_some() { CONDEMNS } else { 0 };
            more |= if lift.is_some() { LIFT } else { 0 };
        }
        if more == 0 {
            out.push(flags);
        } else {
            out.extend_from_slice(&[flags | MORE, more]);
        }
        self.ns.put(&mut out);
        put_text(&mut out, &self.id);
        for text in [&self.index.parent, &self.index.run_id]
            .into_iter()
            .flatten()
        {
            put_text(&mut out, text);
        }
        place.put_time(&mut out, self.index.time_ms);
        if flags & BYTES != 0 {
            put_varint(&mut out, self.index.pack_bytes);
        }
        match &self.order {
            Order::Next { prev, prev_writes } => {
                place.put_back(&mut out, *prev);
                if *prev != 0 {
                    place.put_back(&mut out, *prev_writes);
                }
            }
            Order::Exception {
                older,
                condemns,
                lift,
            } => {
                place.put_back(&mut out, *older);
                if let Some(condemns) = condemns {
                    place.put_back(&mut out, condemns.chain);
                    put_varint(&mut out, condemns.garbage);
                }
                if let Some(lift) = lift {
                    lift.put(&mut out, place);
                }
            }
        }
        out.extend_from_slice(&self.body);
        out
    }

    pub(crate) fn decode(payload: &Bytes, place: Place) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let pack = PackId(cursor.array()?);
        let directory = Directory::read(&mut cursor)?;
        let flags = cursor.u8()?;
        let more = if flags & MORE == 0 { 0 } else { cursor.u8()? };
        let ns = NsRef::read(&mut cursor)?;
        let id = read_text(&mut cursor, flags & TEXT_ID == 0)?;
        let mut optional = |uuid: u8, plain: u8| match flags & (uuid | plain) {
            0 => Some(None),
            set => read_text(&mut cursor, set == uuid).map(Some),
        };
        let parent = optional(PARENT_UUID, PARENT_TEXT)?;
        let run_id = optional(RUN_UUID, RUN_TEXT)?;
        let time_ms = place.time(&mut cursor)?;
        let pack_bytes = if flags & BYTES == 0 {
            None
        } else {
            Some(cursor.varint()?)
        };
        let order = if more & EXCEPTION == 0 {
            let prev = place.back(&mut cursor)?;
            let prev_writes = if prev == 0 {
                0
            } else {
                place.back(&mut cursor)?
            };
            Order::Next { prev, prev_writes }
        } else {
            let older = place.back(&mut cursor)?;
            let condemns = if more & CONDEMNS == 0 {
                None
            } else {
                Some(Condemns {
                    chain: place.back(&mut cursor)?,
                    garbage: cursor.varint()?,
                })
            };
            let lift = if more & LIFT == 0 {
                None
            } else {
                Some(Lift::read(&mut cursor, place)?)
            };
            Order::Exception {
                older,
                condemns,
                lift,
            }
        };
        let body = payload.slice(cursor.position()..);
        let stored = body.len() as u64 + directory.tail_len();
        Some(Self {
            pack,
            directory,
            ns,
            id,
            index: RecordIndex {
                parent,
                time_ms,
                run_id,
                delta: flags & DELTA != 0,
                pack_bytes: pack_bytes.unwrap_or(stored),
            },
            order,
            hidden: more & HIDDEN != 0,
            pinned: more & PINNED != 0,
            body,
        })
    }
}
