//! Large values: cut by FastCDC, pieces under a closed tree of nodes.

use bytes::Bytes;
use fastcdc::v2020::FastCDC;

use super::node::{Hash, Ref, node_hash, piece_hash};
use super::pack::{NODE_LEVEL, PIECE_LEVEL, PackBuilder};
use super::params::{PIECE, seals_node};
use crate::error::{Error, ErrorKind, Result};

/// A large value, cut and hashed, not yet stored.
#[derive(Debug)]
pub(crate) struct BlobPlan {
    bytes: Bytes,
    /// The pieces' ranges.
    pieces: Vec<(usize, usize)>,
    /// For each level, its groups: level 0 are the pieces.
    levels: Vec<Vec<Group>>,
}

#[derive(Debug)]
struct Group {
    hash: Hash,
    items: u64,
    /// The children's range in the level below.
    children: (usize, usize),
}

impl BlobPlan {
    /// Cuts with FastCDC (Xia et al., 2020) and hashes bottom up.
    pub(crate) fn new(bytes: Bytes) -> Self {
        let (least, average, most) = PIECE;
        let pieces: Vec<(usize, usize)> = FastCDC::new(&bytes, least, average, most)
            .map(|cut| (cut.offset, cut.offset + cut.length))
            .collect();
        let ground = pieces
            .iter()
            .map(|&(from, to)| Group {
                hash: piece_hash(&bytes[from..to]),
                items: (to - from) as u64,
                children: (0, 0),
            })
            .collect();
        let mut levels: Vec<Vec<Group>> = vec![ground];
        while let Some(below) = levels.last()
            && below.len() > 1
        {
            let mut above = Vec::new();
            let mut from = 0;
            for (n, child) in below.iter().enumerate() {
                let last = n + 1 == below.len();
                if last || seals_node(n + 1 - from, &child.hash) {
                    let members = &below[from..=n];
                    above.push(Group {
                        hash: node_hash(members.iter().map(|m| (&m.hash, m.items))),
                        items: members.iter().map(|m| m.items).sum(),
                        children: (from, n + 1),
                    });
                    from = n + 1;
                }
            }
            levels.push(above);
        }
        Self {
            bytes,
            pieces,
            levels,
        }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Level and hash of the root.
    pub(crate) fn root(&self) -> (u8, Hash) {
        let level = self.levels.len().saturating_sub(1);
        let hash = self
            .levels
            .last()
            .and_then(|top| top.first())
            .map_or(Hash([0; 16]), |g| g.hash);
        (level as u8, hash)
    }

    /// Every group's kind and hash, to look for in an older tree.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = (u8, Hash)> {
        self.levels.iter().enumerate().flat_map(|(level, groups)| {
            let kind = if level == 0 { PIECE_LEVEL } else { NODE_LEVEL };
            groups.iter().map(move |group| (kind, group.hash))
        })
    }

    /// Stores what `pack` does not know yet, and gives the root.
    pub(crate) fn emit(&self, pack: &mut PackBuilder<'_>) -> Result<Ref> {
        let top = self.levels.len().saturating_sub(1);
        self.emit_group(top, 0, pack)
    }

    fn emit_group(&self, level: usize, at: usize, pack: &mut PackBuilder<'_>) -> Result<Ref> {
        let group = self
            .levels
            .get(level)
            .and_then(|groups| groups.get(at))
            .ok_or_else(|| Error::new(ErrorKind::Other, "an empty value was split"))?;
        if level == 0 {
            let (from, to) = self.pieces[at];
            return pack.piece(group.hash, &self.bytes[from..to]);
        }
        if let Some(known) = pack.knows(NODE_LEVEL, &group.hash) {
            return Ok(known.clone());
        }
        let children = (group.children.0..group.children.1)
            .map(|child| self.emit_group(level - 1, child, pack))
            .collect::<Result<Vec<_>>>()?;
        pack.node(&children)
    }
}
