//! Hashes, references, and the four kinds of chunk.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::edge::Edge;
use super::element::Element;
use crate::backend::{ChunkName, PackId};
use crate::error::{Error, Result};
use crate::wire::{Put, Reader};

/// The first 128 bits of a BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hash(pub(crate) [u8; 16]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Hash {
    fn of_bytes(bytes: &[u8]) -> Self {
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(out)
    }

    pub(crate) fn of(hasher: &blake3::Hasher) -> Self {
        let mut out = [0; 16];
        out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(out)
    }
}

/// Points at a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ref {
    /// Hash of the content.
    pub(crate) hash: Hash,
    pub(crate) pack: PackId,
    pub(crate) ordinal: u32,
    /// See [`ChunkName::locator`].
    pub(crate) locator: u64,
    /// Stored bytes.
    pub(crate) stored: u32,
    /// Elements below; bytes below, in a tree of pieces.
    pub(crate) items: u64,
    /// Whether a leaf below refers to large values: finding what is reachable
    /// then needs that leaf, and can do without the others.
    pub(crate) has_large: bool,
}

impl Ref {
    /// A reference to no chunk there is.
    pub(crate) fn to_nothing() -> Self {
        Self {
            hash: Hash([0; 16]),
            pack: PackId([0; 8]),
            ordinal: 0,
            locator: 0,
            stored: 0,
            items: 0,
            has_large: false,
        }
    }

    pub(crate) fn name(&self) -> ChunkName {
        ChunkName {
            pack: self.pack,
            ordinal: self.ordinal,
            locator: self.locator,
            len: self.stored,
        }
    }
}

const OWN: u64 = 0;
const SAME: u64 = 1;
const OTHER: u64 = 2;

/// Writes references: to the pack being written, to the pack of the reference
/// before, or to any other.
pub(crate) struct RefWriter {
    own: PackId,
    last: PackId,
    locator: u64,
}

impl RefWriter {
    pub(crate) fn new(own: PackId) -> Self {
        Self {
            own,
            last: own,
            locator: 0,
        }
    }

    pub(crate) fn write(&mut self, r: &Ref, out: &mut Vec<u8>) {
        let kind = match r.pack {
            pack if pack == self.own => OWN,
            pack if pack == self.last => SAME,
            _ => OTHER,
        };
        out.put_varint(u64::from(r.ordinal) << 3 | u64::from(r.has_large) << 2 | kind);
        if kind == OTHER {
            out.extend_from_slice(&r.pack.0);
            out.put_signed(r.locator.wrapping_sub(self.locator) as i64);
            self.last = r.pack;
            self.locator = r.locator;
        }
        out.extend_from_slice(&r.hash.0);
        out.put_varint(u64::from(r.stored));
        out.put_varint(r.items);
    }

    pub(crate) fn write_all(&mut self, refs: &[Ref], out: &mut Vec<u8>) {
        out.put_varint(refs.len() as u64);
        for r in refs {
            self.write(r, out);
        }
    }
}

/// Reads what a [`RefWriter`] wrote into the pack `own`.
pub(crate) struct RefReader {
    own: (PackId, u64),
    last: (PackId, u64),
}

impl RefReader {
    pub(crate) fn new(own: PackId, locator: u64) -> Self {
        Self {
            own: (own, locator),
            last: (own, 0),
        }
    }

    pub(crate) fn read(&mut self, reader: &mut Reader) -> Result<Ref> {
        let head = reader.varint()?;
        let (pack, locator) = match head & 3 {
            OWN => self.own,
            SAME => self.last,
            OTHER => {
                let pack = PackId(reader.array()?);
                let locator = self.last.1.wrapping_add(reader.signed()? as u64);
                self.last = (pack, locator);
                self.last
            }
            _ => return Err(Error::corrupt("a reference of no known kind")),
        };
        let ordinal =
            u32::try_from(head >> 3).map_err(|_| Error::corrupt("an ordinal is over 32 bits"))?;
        Ok(Ref {
            pack,
            locator,
            ordinal,
            hash: Hash(reader.array()?),
            stored: reader.small()?,
            items: reader.varint()?,
            has_large: head & 4 != 0,
        })
    }

    pub(crate) fn read_all(&mut self, reader: &mut Reader) -> Result<Vec<Ref>> {
        let count = reader.count()?;
        (0..count).map(|_| self.read(reader)).collect()
    }
}

/// A chunk, unpacked and verified.
#[derive(Debug)]
pub(crate) enum Decoded {
    Leaf(Vec<Element>),
    Node(Vec<Ref>),
    Piece(Bytes),
    Edge(Arc<Edge>),
}

pub(super) const LEAF: u8 = 1;
pub(super) const KEYED_LEAF: u8 = 2;
pub(super) const NODE: u8 = 3;
pub(super) const PIECE: u8 = 4;
pub(super) const EDGE: u8 = 5;

pub(crate) fn leaf_hash(keyed: bool, elements: &[Element]) -> Hash {
    // One contiguous run: BLAKE3 is several times faster on it than on pieces.
    let bytes: usize = elements.iter().map(|element| element.weight() + 16).sum();
    let mut content = Vec::with_capacity(bytes + 1);
    content.push(if keyed { KEYED_LEAF } else { LEAF });
    for element in elements {
        element.write_content(&mut content);
    }
    Hash::of_bytes(&content)
}

pub(crate) fn node_hash<'a>(children: impl Iterator<Item = (&'a Hash, u64)>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[NODE]);
    for (hash, items) in children {
        hasher.update(&hash.0);
        hasher.update(&items.to_le_bytes());
    }
    Hash::of(&hasher)
}

pub(crate) fn piece_hash(bytes: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[PIECE]);
    hasher.update(bytes);
    Hash::of(&hasher)
}

/// Reads an unpacked chunk and checks it against the reference's hash.
pub(crate) fn decode(raw: Bytes, r: &Ref) -> Result<Decoded> {
    let mut reader = Reader::new(raw);
    let mut refs = RefReader::new(r.pack, r.locator);
    let kind = reader.byte()?;
    if kind != PIECE {
        let sum = u32::from_le_bytes(reader.array()?);
        if sum != crc32c::crc32c(reader.peek()) {
            return Err(Error::corrupt("the chunk's checksum does not match"));
        }
    }
    let (decoded, hash) = match kind {
        LEAF | KEYED_LEAF => {
            let keyed = kind == KEYED_LEAF;
            let mut elements = Vec::new();
            while !reader.is_empty() {
                elements.push(Element::read(keyed, &mut refs, &mut reader)?);
            }
            let hash = leaf_hash(keyed, &elements);
            (Decoded::Leaf(elements), hash)
        }
        NODE => {
            let children = refs.read_all(&mut reader)?;
            reader.finish()?;
            let hash = node_hash(children.iter().map(|child| (&child.hash, child.items)));
            (Decoded::Node(children), hash)
        }
        PIECE => {
            let bytes = reader.rest();
            let hash = piece_hash(&bytes);
            (Decoded::Piece(bytes), hash)
        }
        EDGE => {
            let edge = Edge::read(&mut refs, &mut reader)?;
            reader.finish()?;
            let hash = edge.hash();
            (Decoded::Edge(Arc::new(edge)), hash)
        }
        other => {
            return Err(Error::corrupt(format!(
                "chunk kind {other} is not known to this version"
            )));
        }
    };
    if hash != r.hash {
        return Err(Error::corrupt(format!(
            "the content's hash is {hash:?}, the reference says {:?}",
            r.hash
        )));
    }
    Ok(decoded)
}

impl Decoded {
    /// Bytes it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        const REF: usize = size_of::<Ref>();
        64 + match self {
            Self::Leaf(elements) => elements.iter().map(Element::memory).sum::<usize>(),
            Self::Node(children) => children.len() * REF,
            Self::Piece(bytes) => bytes.len(),
            Self::Edge(edge) => edge.memory(),
        }
    }
}
