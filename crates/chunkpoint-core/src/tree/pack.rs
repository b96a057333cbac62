//! The pack being made: new chunks, packed as they come.

use std::collections::HashMap;

use bytes::Bytes;

use super::blob::BlobPlan;
use super::edge::Edge;
use super::element::{Data, Element, Large};
use super::node::{
    EDGE, Hash, KEYED_LEAF, LEAF, NODE, PIECE, Ref, RefWriter, leaf_hash, node_hash,
};
use crate::backend::PackId;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};

/// Collects the chunks of one commit.
pub(crate) struct PackBuilder<'a> {
    id: PackId,
    codec: &'a Codec,
    chunks: Vec<Bytes>,
    /// What is in the pack or may be borrowed by content: by level and hash.
    known: HashMap<(u8, Hash), Ref>,
}

impl<'a> PackBuilder<'a> {
    pub(crate) fn new(id: PackId, codec: &'a Codec) -> Self {
        Self {
            id,
            codec,
            chunks: Vec::new(),
            known: HashMap::new(),
        }
    }

    pub(crate) fn id(&self) -> PackId {
        self.id
    }

    /// The chunks so far, by ordinal.
    pub(crate) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    pub(crate) fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }

    /// Makes a chunk of an older pack available by content.
    pub(crate) fn lend(&mut self, level: u8, r: Ref) {
        self.known.entry((level, r.hash)).or_insert(r);
    }

    pub(crate) fn knows(&self, level: u8, hash: &Hash) -> Option<&Ref> {
        self.known.get(&(level, *hash))
    }

    fn add(
        &mut self,
        level: u8,
        hash: Hash,
        items: u64,
        has_large: bool,
        raw: &[u8],
    ) -> Result<Ref> {
        let stored = self.codec.pack(raw)?;
        let too_large = || {
            Error::new(
                ErrorKind::TooLarge,
                "a commit has more chunks or bytes than fit",
            )
        };
        let r = Ref {
            hash,
            pack: self.id,
            ordinal: u32::try_from(self.chunks.len()).map_err(|_| too_large())?,
            locator: 0,
            stored: u32::try_from(stored.len()).map_err(|_| too_large())?,
            items,
            has_large,
        };
        self.chunks.push(stored);
        self.known.insert((level, hash), r.clone());
        Ok(r)
    }

    /// Adds a chunk of `kind` that `write` fills, with the checksum of what
    /// it wrote: a hash covers content, not where references point.
    fn add_with(
        &mut self,
        level: u8,
        kind: u8,
        hash: Hash,
        items: u64,
        has_large: bool,
        write: impl FnOnce(&mut Vec<u8>, &mut RefWriter) -> Result<()>,
    ) -> Result<Ref> {
        if let Some(known) = self.known.get(&(level, hash)) {
            return Ok(known.clone());
        }
        let mut raw = self.codec.scratch();
        raw.extend_from_slice(&[kind, 0, 0, 0, 0]);
        let result = write(&mut raw, &mut RefWriter::new(self.id)).and_then(|()| {
            let sum = crc32c::crc32c(&raw[5..]);
            raw[1..5].copy_from_slice(&sum.to_le_bytes());
            self.add(level, hash, items, has_large, &raw)
        });
        self.codec.give_scratch(raw);
        result
    }

    /// A leaf of these elements, which must be split.
    pub(crate) fn leaf(&mut self, keyed: bool, elements: &[Element]) -> Result<Ref> {
        let hash = leaf_hash(keyed, elements);
        let has_large = elements.iter().any(|e| !matches!(e.data, Data::Inline(_)));
        let kind = if keyed { KEYED_LEAF } else { LEAF };
        self.add_with(
            LEAF_LEVEL,
            kind,
            hash,
            elements.len() as u64,
            has_large,
            |out, refs| {
                elements
                    .iter()
                    .try_for_each(|element| element.write(keyed, refs, out))
            },
        )
    }

    /// A node over these children, whatever they are.
    pub(crate) fn node(&mut self, children: &[Ref]) -> Result<Ref> {
        let hash = node_hash(children.iter().map(|child| (&child.hash, child.items)));
        let items = children.iter().map(|child| child.items).sum();
        let has_large = children.iter().any(|child| child.has_large);
        self.add_with(NODE_LEVEL, NODE, hash, items, has_large, |out, refs| {
            refs.write_all(children, out);
            Ok(())
        })
    }

    /// A piece of a large value. Its hash covers all of it.
    pub(crate) fn piece(&mut self, hash: Hash, bytes: &[u8]) -> Result<Ref> {
        if let Some(known) = self.known.get(&(PIECE_LEVEL, hash)) {
            return Ok(known.clone());
        }
        let mut raw = Vec::with_capacity(bytes.len() + 1);
        raw.push(PIECE);
        raw.extend_from_slice(bytes);
        self.add(PIECE_LEVEL, hash, bytes.len() as u64, false, &raw)
    }

    /// An edge that is not to travel in the record.
    pub(crate) fn edge(&mut self, edge: &Edge) -> Result<Ref> {
        self.add_with(
            EDGE_LEVEL,
            EDGE,
            edge.hash(),
            edge.len(),
            true,
            |out, refs| edge.write(refs, out),
        )
    }

    /// Splits an element that [`Element::new`] found too large.
    pub(crate) fn split(&mut self, element: &mut Element) -> Result<()> {
        if let Data::Unsplit(plan) = &element.data {
            element.data = Data::Large(self.blob(plan)?);
        }
        Ok(())
    }

    fn blob(&mut self, plan: &BlobPlan) -> Result<Large> {
        let (level, _) = plan.root();
        Ok(Large {
            len: plan.bytes().len() as u64,
            level,
            root: plan.emit(self)?,
        })
    }
}

/// Content of different kinds has different hashes already; the level keeps
/// the lookups apart.
pub(crate) const LEAF_LEVEL: u8 = 0;
pub(crate) const NODE_LEVEL: u8 = 1;
pub(crate) const PIECE_LEVEL: u8 = 2;
pub(crate) const EDGE_LEVEL: u8 = 3;
