//! What a namespace's file holds: entries under byte-string keys.
//!
//! An item's row is under the item's key. A pack that its row listed once is under
//! the key, a NUL, and the pack's id: as no key has a NUL, it comes right behind its
//! row. Under the empty key is what the catalog was told about the namespace. The
//! catalog of namespaces is a file of the same form: its keys are namespaces.

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{ItemKey, ItemRow, Namespace, REMEMBERED};

use crate::wire::{Cursor, put_bytes, put_signed, put_varint};

/// Nothing is due, ever.
pub(crate) const NEVER: u64 = u64::MAX;

const GONE: u8 = 0;
const ROW: u8 = 1;
const DELETED: u8 = 2;
const CONDEMNED: u8 = 3;
const DUE: u8 = 4;

/// Flags of a row.
const TTL: u8 = 1;
const EXPIRES: u8 = 2;

/// Where a pack lies in the namespace's packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackAt {
    pub(crate) id: PackId,
    pub(crate) offset: u64,
    /// Bytes of its frame, chunks included.
    pub(crate) len: u64,
}

/// A write id, and what the change it stands for answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) id: PackId,
    pub(crate) created_ms: u64,
}

/// An item that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: PackId,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) packs: Vec<PackAt>,
    pub(crate) remembered: Vec<Remembered>,
    pub(crate) body: Bytes,
}

impl Row {
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }

    /// As the engine wants it.
    pub(crate) fn into_item(self, key: ItemKey) -> ItemRow {
        ItemRow {
            key,
            version: self.version,
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
            ttl_ms: self.ttl_ms,
            expires_ms: self.expires_ms,
            packs: self.packs.iter().map(|pack| pack.id).collect(),
            body: self.body,
        }
    }
}

/// What is under a key. The last one written counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing any more; so many bytes of packs are of no use since.
    Gone { freed: u64 },
    /// An item.
    Row(Row),
    /// An item was deleted.
    Deleted {
        at_ms: u64,
        remembered: Vec<Remembered>,
    },
    /// A pack that its item's row ceased to list.
    Condemned { at_ms: u64, pack: PackAt },
    /// When something in a namespace is due to be swept.
    Due(u64),
}

impl Entry {
    /// From when on a sweep has something to do about it.
    pub(crate) fn due(&self) -> u64 {
        match self {
            Self::Gone { .. } => NEVER,
            Self::Row(row) => row.expires_ms.unwrap_or(NEVER),
            Self::Deleted { at_ms, .. } | Self::Condemned { at_ms, .. } => *at_ms,
            Self::Due(due) => *due,
        }
    }

    /// The write ids that are remembered, newest first.
    pub(crate) fn remembered(&self) -> &[Remembered] {
        match self {
            Self::Row(row) => &row.remembered,
            Self::Deleted { remembered, .. } => remembered,
            _ => &[],
        }
    }

    /// The packs that are in use because of it.
    pub(crate) fn packs_mut(&mut self) -> &mut [PackAt] {
        match self {
            Self::Row(row) => &mut row.packs,
            Self::Condemned { pack, .. } => std::slice::from_mut(pack),
            _ => &mut [],
        }
    }

    /// Appends key and entry.
    pub(crate) fn encode(&self, key: &[u8], out: &mut Vec<u8>) {
        put_bytes(out, key);
        match self {
            Self::Gone { freed } => {
                out.push(GONE);
                put_varint(out, *freed);
            }
            Self::Row(row) => {
                out.push(ROW);
                let flags = [(TTL, row.ttl_ms), (EXPIRES, row.expires_ms)];
                let set = flags.iter().filter(|(_, time)| time.is_some());
                out.push(set.map(|(flag, _)| flag).sum());
                out.extend_from_slice(&row.version.0);
                put_varint(out, row.created_ms);
                put_apart(out, row.updated_ms, row.created_ms);
                if let Some(ttl_ms) = row.ttl_ms {
                    put_varint(out, ttl_ms);
                }
                if let Some(expires_ms) = row.expires_ms {
                    put_apart(out, expires_ms, row.updated_ms);
                }
                put_varint(out, row.packs.len() as u64);
                row.packs.iter().for_each(|pack| put_pack(out, pack));
                put_remembered(out, &row.remembered, row.created_ms);
                put_bytes(out, &row.body);
            }
            Self::Deleted { at_ms, remembered } => {
                out.push(DELETED);
                put_varint(out, *at_ms);
                put_remembered(out, remembered, *at_ms);
            }
            Self::Condemned { at_ms, pack } => {
                out.push(CONDEMNED);
                put_varint(out, *at_ms);
                put_pack(out, pack);
            }
            Self::Due(due) => {
                out.push(DUE);
                // Most often never, which takes one byte this way.
                put_varint(out, due.wrapping_add(1));
            }
        }
    }

    /// Reads an entry behind its key. `None` if it makes no sense.
    fn read(cursor: &mut Cursor<'_>, payload: &Bytes) -> Option<Self> {
        Some(match cursor.u8()? {
            GONE => Self::Gone {
                freed: cursor.varint()?,
            },
            ROW => {
                let flags = cursor.u8()?;
                let version = PackId(cursor.array()?);
                let created_ms = cursor.varint()?;
                let updated_ms = apart(cursor, created_ms)?;
                let mut ttl_ms = None;
                if flags & TTL != 0 {
                    ttl_ms = Some(cursor.varint()?);
                }
                let mut expires_ms = None;
                if flags & EXPIRES != 0 {
                    expires_ms = Some(apart(cursor, updated_ms)?);
                }
                let count = cursor.varint()?;
                let packs = (0..count).map(|_| pack(cursor)).collect::<Option<_>>()?;
                let remembered = remembered(cursor, created_ms)?;
                let len = cursor.bytes()?.len();
                let end = cursor.position();
                Self::Row(Row {
                    version,
                    created_ms,
                    updated_ms,
                    ttl_ms,
                    expires_ms,
                    packs,
                    remembered,
                    body: payload.slice(end - len..end),
                })
            }
            DELETED => {
                let at_ms = cursor.varint()?;
                let remembered = remembered(cursor, at_ms)?;
                Self::Deleted { at_ms, remembered }
            }
            CONDEMNED => Self::Condemned {
                at_ms: cursor.varint()?,
                pack: pack(cursor)?,
            },
            DUE => Self::Due(cursor.varint()?.wrapping_sub(1)),
            _ => return None,
        })
    }

    /// Reads what [`encode`](Self::encode) wrote: key and entry.
    pub(crate) fn decode(payload: &Bytes) -> Option<(Bytes, Self)> {
        let mut cursor = Cursor::new(payload);
        let len = cursor.bytes()?.len();
        let end = cursor.position();
        let entry = Self::read(&mut cursor, payload)?;
        cursor
            .is_empty()
            .then(|| (payload.slice(end - len..end), entry))
    }
}

/// Appends a time as its distance from another, whatever the two are.
fn put_apart(out: &mut Vec<u8>, time_ms: u64, from_ms: u64) {
    put_signed(out, time_ms.wrapping_sub(from_ms) as i64);
}

fn apart(cursor: &mut Cursor<'_>, from_ms: u64) -> Option<u64> {
    Some(from_ms.wrapping_add(cursor.signed()? as u64))
}

fn put_pack(out: &mut Vec<u8>, pack: &PackAt) {
    out.extend_from_slice(&pack.id.0);
    put_varint(out, pack.offset);
    put_varint(out, pack.len);
}

fn pack(cursor: &mut Cursor<'_>) -> Option<PackAt> {
    Some(PackAt {
        id: PackId(cursor.array()?),
        offset: cursor.varint()?,
        len: cursor.varint()?,
    })
}

fn put_remembered(out: &mut Vec<u8>, all: &[Remembered], from_ms: u64) {
    put_varint(out, all.len() as u64);
    for one in all {
        out.extend_from_slice(&one.id.0);
        put_apart(out, one.created_ms, from_ms);
    }
}

fn remembered(cursor: &mut Cursor<'_>, from_ms: u64) -> Option<Vec<Remembered>> {
    let count = cursor.varint()?;
    (0..count)
        .map(|_| {
            Some(Remembered {
                id: PackId(cursor.array()?),
                created_ms: apart(cursor, from_ms)?,
            })
        })
        .collect()
}

/// A write id before those that were remembered already, as many as are to be.
pub(crate) fn remember(new: Remembered, before: &[Remembered]) -> Vec<Remembered> {
    let older = before.iter().take(REMEMBERED - 1);
    std::iter::once(&new).chain(older).copied().collect()
}

/// The key of a pack that its item's row ceased to list.
pub(crate) fn condemned_key(key: &[u8], pack: PackId) -> Vec<u8> {
    [key, &[0], &pack.0].concat()
}

/// The item that a key is of, if it is that of a row; `None` for the others.
pub(crate) fn item_key(namespace: &Namespace, key: &[u8]) -> Option<ItemKey> {
    if key.is_empty() || key.contains(&0) {
        return None;
    }
    Some(ItemKey {
        namespace: namespace.clone(),
        key: std::str::from_utf8(key).ok()?.into(),
    })
}

/// The smallest key behind this one.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack_at(n: u8) -> PackAt {
        PackAt {
            id: PackId([n; 8]),
            offset: u64::from(n) << 20,
            len: u64::from(n) * 100,
        }
    }

    #[test]
    fn entries_come_back() {
        let remembered = vec![
            Remembered {
                id: PackId([3; 8]),
                created_ms: 1_700_000_000_000,
            },
            Remembered {
                id: PackId([4; 8]),
                created_ms: 0,
            },
        ];
        let row = |ttl_ms, expires_ms, body: &'static [u8]| {
            Entry::Row(Row {
                version: PackId([3; 8]),
                created_ms: 1_700_000_000_000,
                updated_ms: 5,
                ttl_ms,
                expires_ms,
                packs: vec![pack_at(1), pack_at(2)],
                remembered: remembered.clone(),
                body: Bytes::from_static(body),
            })
        };
        for entry in [
            Entry::Gone { freed: 7 },
            row(None, None, b""),
            row(Some(u64::MAX), Some(u64::MAX), b"body"),
            row(Some(0), Some(0), b"x"),
            Entry::Deleted {
                at_ms: 9,
                remembered: remembered.clone(),
            },
            Entry::Condemned {
                at_ms: 0,
                pack: pack_at(9),
            },
            Entry::Due(NEVER),
            Entry::Due(0),
        ] {
            for key in [&b""[..], b"key", b"k\0packpack"] {
                let mut out = Vec::new();
                entry.encode(key, &mut out);
                let out = Bytes::from(out);
                let (found, decoded) = Entry::decode(&out).unwrap();
                assert_eq!((&found[..], &decoded), (key, &entry));
                for len in 0..out.len() {
                    assert!(Entry::decode(&out.slice(..len)).is_none(), "{entry:?}");
                }
            }
        }
    }
}
