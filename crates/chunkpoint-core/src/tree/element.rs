//! One element of a leaf: an item, with its key in a map.

use std::sync::Arc;

use bytes::Bytes;

use super::blob::BlobPlan;
use super::node::{Hash, Ref, RefReader, RefWriter};
use super::params::LARGE;
use crate::error::{Error, Result};
use crate::types::Item;
use crate::wire::{Put, Reader};

/// The tags that take one byte. Part of the format: only ever append.
const TAGS: [&str; 8] = [
    "json",
    "msgpack",
    "text",
    "bytes",
    "null",
    "bytearray",
    "pickle",
    "empty",
];
const LARGE_FLAG: u8 = 0x80;
const OTHER_TAG: u8 = 0x7f;

/// An item in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// The key, in maps; else empty.
    pub(crate) key: Arc<str>,
    pub(crate) tag: Arc<str>,
    pub(crate) data: Data,
}

/// Where an element's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// Here.
    Inline(Bytes),
    /// Here, but to be split: cut and hashed already.
    Unsplit(Arc<BlobPlan>),
    /// In a tree of pieces.
    Large(Large),
}

/// The tree of pieces of a large value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Large {
    /// Bytes in all.
    pub(crate) len: u64,
    /// The level of the root: at least 1, for more than one piece.
    pub(crate) level: u8,
    pub(crate) root: Ref,
}

impl Element {
    /// Takes in an item; one over [`LARGE`] bytes is cut and hashed.
    pub(crate) fn new(key: Arc<str>, item: Item) -> Self {
        let data = if item.bytes.len() > LARGE {
            Data::Unsplit(Arc::new(BlobPlan::new(item.bytes)))
        } else {
            Data::Inline(item.bytes)
        };
        Self {
            key,
            tag: item.tag,
            data,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match &self.data {
            Data::Inline(bytes) => bytes.len() as u64,
            Data::Unsplit(plan) => plan.bytes().len() as u64,
            Data::Large(large) => large.len,
        }
    }

    /// What it counts for in a leaf's size.
    pub(crate) fn weight(&self) -> usize {
        let data = match &self.data {
            Data::Inline(bytes) => bytes.len(),
            _ => 40,
        };
        self.key.len() + self.tag.len() + data + 4
    }

    /// Bytes it takes in memory, about: with the blocks its parts are in.
    pub(crate) fn memory(&self) -> usize {
        const BLOCKS: usize = 64;
        size_of::<Self>() + BLOCKS + self.weight()
    }

    /// The level and hash of a large element's root.
    fn root(&self) -> Option<(u8, Hash)> {
        match &self.data {
            Data::Inline(_) => None,
            Data::Unsplit(plan) => Some(plan.root()),
            Data::Large(large) => Some((large.level, large.root.hash)),
        }
    }

    /// A cheap digest that decides whether a leaf ends here.
    pub(crate) fn checksum(&self) -> u32 {
        let sum = crc32c::crc32c(self.key.as_bytes());
        let sum = crc32c::crc32c_append(sum, self.tag.as_bytes());
        match (&self.data, self.root()) {
            (Data::Inline(bytes), _) => crc32c::crc32c_append(sum, bytes),
            (_, Some((_, hash))) => crc32c::crc32c_append(sum, &hash.0),
            (_, None) => sum,
        }
    }

    /// Writes the content, never where it lies: what a leaf's hash covers.
    pub(crate) fn write_content(&self, out: &mut Vec<u8>) {
        out.put_run(self.key.as_bytes());
        out.put_run(self.tag.as_bytes());
        match (&self.data, self.root()) {
            (Data::Inline(bytes), _) => {
                out.push(0);
                out.put_run(bytes);
            }
            (_, root) => {
                let (level, hash) = root.unwrap_or((0, Hash([0; 16])));
                out.push(1);
                out.put_varint(self.len());
                out.push(level);
                out.extend_from_slice(&hash.0);
            }
        }
    }

    /// Writes it. An unsplit element must have been split before.
    pub(crate) fn write(&self, keyed: bool, refs: &mut RefWriter, out: &mut Vec<u8>) -> Result<()> {
        if keyed {
            out.put_run(self.key.as_bytes());
        }
        let flag = if matches!(self.data, Data::Inline(_)) {
            0
        } else {
            LARGE_FLAG
        };
        match TAGS.iter().position(|tag| *tag == &*self.tag) {
            Some(code) => out.push(code as u8 | flag),
            None => {
                out.push(OTHER_TAG | flag);
                out.put_run(self.tag.as_bytes());
            }
        }
        match &self.data {
            Data::Inline(bytes) => out.put_run(bytes),
            Data::Large(large) => {
                out.put_varint(large.len);
                out.push(large.level);
                refs.write(&large.root, out);
            }
            Data::Unsplit(_) => {
                return Err(Error::new(
                    crate::ErrorKind::Other,
                    "a large value was written before it was split",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn read(keyed: bool, refs: &mut RefReader, reader: &mut Reader) -> Result<Self> {
        let key = if keyed {
            reader.text()?
        } else {
            Arc::default()
        };
        let code = reader.byte()?;
        let tag = match code & !LARGE_FLAG {
            OTHER_TAG => reader.text()?,
            known => tag(known)?,
        };
        let data = if code & LARGE_FLAG == 0 {
            Data::Inline(reader.run()?)
        } else {
            let len = reader.varint()?;
            let level = reader.byte()?;
            Data::Large(Large {
                len,
                level,
                root: refs.read(reader)?,
            })
        };
        Ok(Self { key, tag, data })
    }
}

/// A known tag, shared so that a thousand messages do not hold a thousand copies.
fn tag(code: u8) -> Result<Arc<str>> {
    use std::sync::OnceLock;
    static SHARED: OnceLock<Vec<Arc<str>>> = OnceLock::new();
    SHARED
        .get_or_init(|| TAGS.iter().map(|tag| Arc::from(*tag)).collect())
        .get(code as usize)
        .cloned()
        .ok_or_else(|| Error::corrupt(format!("tag code {code} is not known to this version")))
}
