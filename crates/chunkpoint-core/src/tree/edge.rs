//! The open right edge of a list or map.

use super::element::{Data, Element};
use super::node::{EDGE, Hash, Ref, RefReader, RefWriter, leaf_hash};
use super::pack::PackBuilder;
use super::params::{seals_leaf, seals_node};
use crate::error::{Error, Result};
use crate::wire::{Put, Reader};

/// A list or map, as far as a record holds it: the elements and references
/// that no sealed group above them holds yet.
///
/// In order, the list is `levels[top]`, …, `levels[0]`, `tail`: what
/// `levels[0]` names are leaves, what `levels[k]` names are nodes of level k.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    /// A map: elements have keys, and ascend by them.
    pub(crate) keyed: bool,
    pub(crate) tail: Vec<Element>,
    pub(crate) levels: Vec<Vec<Ref>>,
}

impl Edge {
    pub(crate) fn new(keyed: bool) -> Self {
        Self {
            keyed,
            ..Self::default()
        }
    }

    /// Elements in all.
    pub(crate) fn len(&self) -> u64 {
        self.levels.iter().flatten().map(|r| r.items).sum::<u64>() + self.tail.len() as u64
    }

    /// The index of the first element of the open list of level `k`, where 0
    /// is the tail and k names `levels[k - 1]`.
    pub(crate) fn open_start(&self, k: usize) -> u64 {
        self.levels.iter().skip(k).flatten().map(|r| r.items).sum()
    }

    /// Adds elements at the end. New leaves and nodes go to `pack`.
    pub(crate) fn append(
        &mut self,
        elements: impl IntoIterator<Item = Element>,
        pack: &mut PackBuilder<'_>,
    ) -> Result<()> {
        let mut bytes: usize = self.tail.iter().map(Element::weight).sum();
        for mut element in elements {
            pack.split(&mut element)?;
            bytes += element.weight();
            self.tail.push(element);
            if self.tail.last().is_some_and(|last| seals_leaf(bytes, last)) {
                let leaf = pack.leaf(self.keyed, &self.tail)?;
                self.tail.clear();
                bytes = 0;
                self.push_ref(0, leaf, pack)?;
            }
        }
        Ok(())
    }

    fn push_ref(&mut self, mut level: usize, mut r: Ref, pack: &mut PackBuilder<'_>) -> Result<()> {
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let open = &mut self.levels[level];
            open.push(r);
            match open.last() {
                Some(last) if seals_node(open.len(), &last.hash) => {
                    r = pack.node(open)?;
                    open.clear();
                    level += 1;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Covers every element by content; equal lists have equal hashes.
    pub(crate) fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[EDGE]);
        for level in &self.levels {
            hasher.update(&(level.len() as u64).to_le_bytes());
            for r in level {
                hasher.update(&r.hash.0);
                hasher.update(&r.items.to_le_bytes());
            }
        }
        hasher.update(&leaf_hash(self.keyed, &self.tail).0);
        Hash::of(&hasher)
    }

    pub(crate) fn write(&self, refs: &mut RefWriter, out: &mut Vec<u8>) -> Result<()> {
        out.push(u8::from(self.keyed));
        out.put_varint(self.levels.len() as u64);
        // From the left: locators then ascend, and their differences are small.
        for level in self.levels.iter().rev() {
            refs.write_all(level, out);
        }
        out.put_varint(self.tail.len() as u64);
        for element in &self.tail {
            element.write(self.keyed, refs, out)?;
        }
        Ok(())
    }

    pub(crate) fn read(refs: &mut RefReader, reader: &mut Reader) -> Result<Self> {
        let keyed = match reader.byte()? {
            0 => false,
            1 => true,
            other => return Err(Error::corrupt(format!("edge kind {other} is not known"))),
        };
        let height = reader.count()?;
        let mut levels = (0..height)
            .map(|_| refs.read_all(reader))
            .collect::<Result<Vec<_>>>()?;
        levels.reverse();
        let count = reader.count()?;
        let tail = (0..count)
            .map(|_| Element::read(keyed, refs, reader))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            keyed,
            tail,
            levels,
        })
    }

    /// Every reference it holds itself.
    pub(crate) fn refs(&self) -> impl Iterator<Item = &Ref> {
        self.levels
            .iter()
            .flatten()
            .chain(self.tail.iter().filter_map(|e| match &e.data {
                Data::Large(large) => Some(&large.root),
                _ => None,
            }))
    }

    /// The same, to be changed: for filling in where a new pack lies.
    pub(crate) fn refs_mut(&mut self) -> impl Iterator<Item = &mut Ref> {
        self.levels
            .iter_mut()
            .flatten()
            .chain(self.tail.iter_mut().filter_map(|e| match &mut e.data {
                Data::Large(large) => Some(&mut large.root),
                _ => None,
            }))
    }

    /// Bytes it takes in memory, about.
    pub(crate) fn memory(&self) -> usize {
        let refs: usize = self.levels.iter().map(Vec::capacity).sum();
        refs * size_of::<Ref>() + self.tail.iter().map(Element::memory).sum::<usize>()
    }
}
