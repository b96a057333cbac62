//! The sorted part of a file: a static search tree, built from the bottom while its
//! entries come in order.
//!
//! A node is a frame. One of level 0 has entries; one above has, for each child, the
//! least key that tells it from the one before, where it is, and when anything below
//! it is due. Nodes of level 0 follow one another in the file, with those above in
//! between as they become full: whoever reads in order reads straight on.

use bytes::Bytes;
use chunkpoint_core::Result;

use crate::frame::{Kind, put_frame};
use crate::items::entry::{Entry, NEVER};
use crate::items::file::{ItemsFile, Root};
use crate::wire::{Cursor, put_bytes, put_varint};

/// A node takes no more entries once it has so many bytes.
const NODE: usize = 4096;

/// Bytes written at once.
const WRITE: usize = 256 * 1024;

/// A child of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) least: Bytes,
    pub(crate) at: Root,
    pub(crate) due: u64,
}

/// A node that was read.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// Its entries, by key.
    Leaf(Vec<(Bytes, Entry)>),
    /// What is below it.
    Inner(Vec<Child>),
}

impl Node {
    /// The level of a node; 0 has entries.
    pub(crate) fn level(payload: &[u8]) -> Option<u8> {
        payload.first().copied()
    }

    /// Reads a node; `None` if it makes no sense.
    pub(crate) fn decode(payload: &Bytes) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? == 0 {
            let mut entries = Vec::new();
            while !cursor.is_empty() {
                let len = cursor.bytes()?.len();
                let end = cursor.position();
                entries.push(Entry::decode(&payload.slice(end - len..end))?);
            }
            return Some(Self::Leaf(entries));
        }
        let mut children = Vec::new();
        while !cursor.is_empty() {
            let len = cursor.bytes()?.len();
            let end = cursor.position();
            children.push(Child {
                least: payload.slice(end - len..end),
                at: Root {
                    offset: cursor.varint()?,
                    len: cursor.varint_u32()?,
                },
                due: cursor.varint()?.wrapping_sub(1),
            });
        }
        Some(Self::Inner(children))
    }
}

/// The entry of `key` in a node of level 0, without reading those around it.
pub(crate) fn find_in_leaf(payload: &Bytes, key: &[u8]) -> Option<Option<Entry>> {
    let mut cursor = Cursor::new(payload);
    cursor.u8()?;
    while !cursor.is_empty() {
        let len = cursor.bytes()?.len();
        let end = cursor.position();
        let whole = payload.slice(end - len..end);
        let there = Cursor::new(&whole).bytes()?;
        if there == key {
            return Some(Some(Entry::decode(&whole)?.1));
        }
        if there > key {
            break;
        }
    }
    Some(None)
}

/// The child of a node that has `key`, if any has: the last that begins at or before.
pub(crate) fn find_child(payload: &Bytes, key: &[u8]) -> Option<Option<Root>> {
    let mut cursor = Cursor::new(payload);
    cursor.u8()?;
    let mut found = None;
    while !cursor.is_empty() {
        if cursor.bytes()? > key {
            break;
        }
        found = Some(Root {
            offset: cursor.varint()?,
            len: cursor.varint_u32()?,
        });
        cursor.varint()?;
    }
    Some(found)
}

/// A node being filled.
#[derive(Debug)]
struct Level {
    payload: Vec<u8>,
    least: Vec<u8>,
    due: u64,
    count: usize,
}

impl Level {
    fn new(level: usize) -> Self {
        Self {
            payload: vec![level as u8],
            least: Vec::new(),
            due: NEVER,
            count: 0,
        }
    }
}

/// Builds the sorted part of a file.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    file: &'a ItemsFile,
    /// Where the next byte goes that is not in `out` yet.
    written: u64,
    out: Vec<u8>,
    levels: Vec<Level>,
    last: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> Builder<'a> {
    /// Builds it from `start` on.
    pub(crate) fn new(file: &'a ItemsFile, start: u64) -> Self {
        Self {
            file,
            written: start,
            out: Vec::with_capacity(WRITE + NODE),
            levels: vec![Level::new(0)],
            last: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds an entry. They come in the order of their keys.
    pub(crate) fn push(&mut self, key: &[u8], entry: &Entry) -> Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        entry.encode(key, &mut scratch);
        let leaf = &self.levels[0];
        if leaf.count > 0 && leaf.payload.len() + scratch.len() > NODE {
            self.flush(0)?;
        }
        let leaf = &mut self.levels[0];
        if leaf.count == 0 {
            leaf.least = separator(&self.last, key);
        }
        leaf.count += 1;
        leaf.due = leaf.due.min(entry.due());
        put_bytes(&mut leaf.payload, &scratch);
        self.last.clear();
        self.last.extend_from_slice(key);
        self.scratch = scratch;
        Ok(())
    }

    /// Writes the node of a level, and adds it to the one above.
    fn flush(&mut self, level: usize) -> Result<()> {
        let node = std::mem::replace(&mut self.levels[level], Level::new(level));
        let at = self.write_node(&node.payload)?;
        self.add_child(level + 1, &node.least, at, node.due)
    }

    fn write_node(&mut self, payload: &[u8]) -> Result<Root> {
        let offset = self.written + self.out.len() as u64;
        let before = self.out.len();
        let (salt, kind) = (self.file.salt, Kind::Node);
        put_frame(&mut self.out, salt, offset, kind, false, payload);
        let len = (self.out.len() - before) as u32;
        if self.out.len() >= WRITE {
            self.write_out()?;
        }
        Ok(Root { offset, len })
    }

    fn write_out(&mut self) -> Result<()> {
        self.file.write_at(self.written, &self.out)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    fn add_child(&mut self, level: usize, least: &[u8], at: Root, due: u64) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Level::new(level));
        }
        let above = &self.levels[level];
        // With at least two children a node, the tree gets lower with each level.
        if above.count > 1 && above.payload.len() + least.len() > NODE {
            self.flush(level)?;
        }
        let above = &mut self.levels[level];
        if above.count == 0 {
            above.least = least.to_vec();
        }
        above.count += 1;
        above.due = above.due.min(due);
        put_bytes(&mut above.payload, least);
        put_varint(&mut above.payload, at.offset);
        put_varint(&mut above.payload, u64::from(at.len));
        put_varint(&mut above.payload, due.wrapping_add(1));
        Ok(())
    }

    /// Writes what is left. Gives the root, when anything is due, and where the
    /// sorted part ends.
    pub(crate) fn finish(mut self) -> Result<(Root, u64, u64)> {
        let mut root = (Root::default(), NEVER);
        let mut level = 0;
        while level < self.levels.len() {
            let node = &self.levels[level];
            let is_top = level + 1 == self.levels.len();
            if is_top && node.count > 0 {
                let (due, payload) = (node.due, node.payload.clone());
                root = (self.write_node(&payload)?, due);
            } else if node.count > 0 {
                self.flush(level)?;
            }
            level += 1;
        }
        self.write_out()?;
        Ok((root.0, root.1, self.written))
    }
}

/// The shortest key that is behind `last` and not behind `key`.
fn separator(last: &[u8], key: &[u8]) -> Vec<u8> {
    let common = last.iter().zip(key).take_while(|(a, b)| a == b).count();
    key[..key.len().min(common + 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_tell_apart() {
        for (last, key, separator_is) in [
            (&b""[..], &b"abc"[..], &b"a"[..]),
            (b"abc", b"abd", b"abd"),
            (b"abc", b"b", b"b"),
            (b"ab", b"abc\0", b"abc"),
            (b"a", b"c", b"c"),
        ] {
            let found = separator(last, key);
            assert_eq!(found, separator_is);
            assert!(*last < found[..] && found[..] <= *key);
        }
    }
}
