//! The envelope around everything in a log: what kind of thing it is, how long
//! it is, and a checksum that holds only in this place of this log.
//!
//! ```text
//! u8      kind, and 0x80 if the frame is the first of one write
//! u8      check: low byte of the CRC of kind and length
//! varint  length of the payload
//! ...     payload
//! u32     CRC32C of all of the above
//! ...     tail (chunks, or the pages of a pack table); has its own checksums
//! ```
//!
//! Both checksums start from a *salt*, made of the log's incarnation and
//! generation, and the frame's offset. So a frame that is stored as somebody's
//! value, left over from another log, or found at a place where it was not
//! written is never taken for one of this log's: scanning for the next whole
//! frame after damage may trust what it finds.

use bytes::Bytes;

use crate::wire::{Cursor, put_varint};

/// Set in the kind byte of the first frame of each write.
pub(crate) const FIRST: u8 = 0x80;

/// Most bytes of an envelope before the payload.
pub(crate) const MAX_PREFIX: usize = 2 + 10;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record and its chunks.
    Commit,
    /// Pending writes of one task.
    Writes,
    /// Removals, hidings and pins.
    Alter,
    /// Chunks that nothing reaches.
    Reclaim,
    /// A condemned pack: chunks without a record.
    Pack,
    /// The index of the thread as of here.
    State,
    /// Where packs are, by pack id.
    Table,
    /// An entry of a namespace's items.
    Item,
    /// A node of a namespace's sorted items.
    Node,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Commit => b'C',
            Self::Writes => b'W',
            Self::Alter => b'A',
            Self::Reclaim => b'R',
            Self::Pack => b'P',
            Self::State => b'S',
            Self::Table => b'T',
            Self::Item => b'I',
            Self::Node => b'N',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Some(match byte & !FIRST {
            b'C' => Self::Commit,
            b'W' => Self::Writes,
            b'A' => Self::Alter,
            b'R' => Self::Reclaim,
            b'P' => Self::Pack,
            b'S' => Self::State,
            b'T' => Self::Table,
            b'I' => Self::Item,
            b'N' => Self::Node,
            _ => return None,
        })
    }
}

/// What ties checksums to one generation of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    /// The salt of a log.
    pub(crate) fn new(incarnation: [u8; 8], generation: u64) -> Self {
        Self(crc32c::crc32c_append(
            crc32c::crc32c(&incarnation),
            &generation.to_le_bytes(),
        ))
    }

    fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
    }
}

/// Appends a frame without its tail. `offset` is where its first byte will lie.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    salt: Salt,
    offset: u64,
    kind: Kind,
    first: bool,
    payload: &[u8],
) {
    let start = out.len();
    out.push(kind.byte() | if first { FIRST } else { 0 });
    out.push(0);
    put_varint(out, payload.len() as u64);
    out[start + 1] = check(salt, offset, &out[start..]);
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c_append(salt.at(offset), &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// The low byte of the checksum of the kind and the length: cheap to test, so
/// that a scan for frames rarely has to sum up what is none.
fn check(salt: Salt, offset: u64, prefix: &[u8]) -> u8 {
    crc32c::crc32c_append(
        crc32c::crc32c_append(salt.at(offset), &prefix[..1]),
        &prefix[2..],
    ) as u8
}

/// The envelope's start, enough to know how much more to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    /// What it holds.
    pub(crate) kind: Kind,
    /// Whether it begins a write.
    pub(crate) first: bool,
    /// Bytes before the payload.
    pub(crate) len: usize,
    /// Bytes of the payload.
    pub(crate) payload: u64,
}

impl Prefix {
    /// Reads a prefix at the start of `bytes`; `None` if there is none.
    pub(crate) fn parse(salt: Salt, offset: u64, bytes: &[u8]) -> Option<Self> {
        let kind = Kind::of(*bytes.first()?)?;
        let mut cursor = Cursor::new(bytes.get(2..)?);
        let payload = cursor.varint()?;
        let len = 2 + cursor.position();
        (check(salt, offset, &bytes[..len]) == bytes[1]).then_some(Self {
            kind,
            first: bytes[0] & FIRST != 0,
            len,
            payload,
        })
    }

    /// Whether `bytes`, all there is, may be the beginning of a prefix.
    pub(crate) fn is_begun(bytes: &[u8]) -> bool {
        let kind = bytes.first().is_some_and(|kind| Kind::of(*kind).is_some());
        kind && bytes.len() < MAX_PREFIX && bytes.iter().skip(2).all(|byte| byte & 0x80 != 0)
    }

    /// Bytes of the whole envelope, without a tail. `None` if it cannot be.
    pub(crate) fn envelope_len(&self) -> Option<u64> {
        self.payload.checked_add(self.len as u64 + 4)
    }
}

/// A frame whose checksum holds.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// What it holds.
    pub(crate) kind: Kind,
    /// Whether it begins a write.
    pub(crate) first: bool,
    /// Where it starts.
    pub(crate) offset: u64,
    /// The payload.
    pub(crate) payload: Bytes,
    /// Where the envelope ends and the tail starts.
    pub(crate) tail: u64,
}

impl Frame {
    /// Reads the frame at the start of `bytes`, which lies at `offset`. `None`
    /// if it is not whole or its checksum does not hold.
    pub(crate) fn parse(salt: Salt, offset: u64, bytes: &Bytes) -> Option<Self> {
        let prefix = Prefix::parse(salt, offset, bytes)?;
        let len = usize::try_from(prefix.envelope_len()?).ok()?;
        let envelope = bytes.get(..len)?;
        let (body, crc) = envelope.split_at(len - 4);
        if crc32c::crc32c_append(salt.at(offset), body).to_le_bytes() != crc {
            return None;
        }
        Some(Self {
            kind: prefix.kind,
            first: prefix.first,
            offset,
            payload: bytes.slice(prefix.len..len - 4),
            tail: offset + len as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(
            &mut out,
            Salt::new([1; 8], 1),
            offset,
            Kind::Alter,
            true,
            b"payload",
        );
        out
    }

    #[test]
    fn a_frame_holds_only_in_its_place() {
        let bytes = Bytes::from(sealed(96));
        let frame = Frame::parse(Salt::new([1; 8], 1), 96, &bytes).unwrap();
        assert_eq!((frame.kind, frame.first), (Kind::Alter, true));
        assert_eq!(&frame.payload[..], b"payload");
        assert_eq!(frame.tail, 96 + bytes.len() as u64);
        assert!(Frame::parse(Salt::new([1; 8], 1), 97, &bytes).is_none());
        assert!(Frame::parse(Salt::new([1; 8], 2), 96, &bytes).is_none());
        assert!(Frame::parse(Salt::new([2; 8], 1), 96, &bytes).is_none());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let whole = sealed(7);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Frame::parse(Salt::new([1; 8], 1), 7, &bytes.into()).is_none(),
                "bit {bit}"
            );
        }
        for len in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..len]);
            assert!(
                Frame::parse(Salt::new([1; 8], 1), 7, &cut).is_none(),
                "{len} bytes"
            );
        }
    }
}
