//! How a value becomes a body and chunks.
//!
//! A small value is its JSON. A larger one is *flattened*: each member, at any
//! depth, is an entry under its path; an object is an entry too, so that it can be
//! empty. The entries, sorted by path, are cut into *pages*, and the body lists the
//! pages with the first path of each. Whoever wants one member reads one page, and
//! a patch writes the pages it changes and the body.
//!
//! A page's size grows with the value, so that the list stays short: about a
//! thousand pages of a value that was put, and at most about twice as many of one that
//! patches made large.

use std::collections::{BTreeMap, HashSet};

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::backend::{ChunkName, PackId};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::wire::{Put, Reader};

/// A value whose JSON is not over this many bytes is in the body.
pub(super) const INLINE: usize = 8 * 1024;

/// A page has at least about this many bytes, ...
const PAGE: usize = 8 * 1024;
/// ... and at least one in so many of the value's.
pub(super) const PAGES: usize = 1024;

/// A page is stored in chunks of at most this many bytes.
const PART: usize = 1 << 20;

const INLINE_BODY: u8 = 1;
const PAGED_BODY: u8 = 2;

const OBJECT: u8 = 0;
const LEAF: u8 = 1;

/// Between the names in a path.
const BETWEEN: char = '\0';
/// Before an escaped character of a name.
const ESCAPE: char = '\u{1}';

/// What is under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// An object; its members have entries of their own.
    Object,
    /// Anything else, as JSON.
    Leaf(Bytes),
}

pub(super) type Entries = BTreeMap<String, Entry>;

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The first path in it.
    pub(super) first: String,
    pub(super) pack: PackId,
    /// The chunks it is in: so many from this one on.
    pub(super) ordinal: u32,
    pub(super) parts: u32,
    /// Stored bytes.
    pub(super) stored: u64,
    /// The first 128 bits of the BLAKE3 of its raw bytes.
    hash: [u8; 16],
}

/// The body of a value in pages.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    /// Bytes of the value as JSON, about.
    pub(super) bytes: u64,
    pub(super) pages: Vec<Page>,
    /// The stored bytes of each pack, whether they are still used or not.
    pub(super) packs: Vec<(PackId, u64)>,
}

/// A body, read.
#[derive(Debug)]
pub(super) enum Body {
    Inline(Map<String, Value>),
    Pages(Pages),
}

/// A value ready to be put.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) body: Bytes,
    pub(super) chunks: Vec<Bytes>,
    pub(super) packs: Vec<PackId>,
    /// Pages that were made, and those of other packs.
    pub(super) pages: (u64, u64),
}

impl Encoded {
    /// Bytes to be written.
    pub(super) fn bytes(&self) -> u64 {
        (self.body.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()) as u64
    }
}

/// Levels of lists and objects in each other, at most: the JSON parser gives up at 128,
/// and a value that could be put but not read would break every search that meets it.
const MOST_DEEP: usize = 100;

/// Refuses a value or a patch that is too deep. What a patch makes is not deeper than
/// the deeper of the two.
pub(super) fn check_depth(members: &Map<String, Value>) -> Result<()> {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(list) => left > 0 && list.iter().all(|value| fits(value, left - 1)),
            Value::Object(members) => {
                left > 0 && members.values().all(|value| fits(value, left - 1))
            }
            _ => true,
        }
    }
    if members.values().all(|value| fits(value, MOST_DEEP - 1)) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the value is over {MOST_DEEP} levels deep"
    )))
}

/// Encodes a whole value into the pack `pack`.
pub(super) fn encode(value: &Map<String, Value>, pack: PackId, codec: &Codec) -> Result<Encoded> {
    let json = to_json(value)?;
    if json.len() <= INLINE {
        let mut body = vec![INLINE_BODY];
        body.extend_from_slice(&codec.pack(&json)?);
        return Ok(Encoded {
            body: body.into(),
            chunks: Vec::new(),
            packs: Vec::new(),
            pages: (0, 0),
        });
    }
    let bytes = json.len() as u64;
    drop(json);
    let mut entries = Entries::new();
    flatten(None, value, &mut entries)?;
    let mut writer = PageWriter::new(pack, codec, bytes);
    let pages = writer.pages(entries)?;
    let pages = Pages {
        bytes,
        pages,
        packs: Vec::new(),
    };
    writer.finish(pages)
}

/// A value's JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::invalid("the value is not JSON").source(e))
}

/// Makes pages, and at last the body.
pub(super) struct PageWriter<'a> {
    pack: PackId,
    codec: &'a Codec,
    target: usize,
    chunks: Vec<Bytes>,
    stored: u64,
}

impl<'a> PageWriter<'a> {
    /// Of a value of about `bytes` bytes.
    pub(super) fn new(pack: PackId, codec: &'a Codec, bytes: u64) -> Self {
        Self {
            pack,
            codec,
            target: PAGE.max(bytes as usize / PAGES),
            chunks: Vec::new(),
            stored: 0,
        }
    }

    /// Writes entries, as many pages as they take.
    pub(super) fn pages(&mut self, entries: Entries) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        let mut raw = Vec::new();
        let mut first: Option<String> = None;
        for (path, entry) in entries {
            raw.put_run(path.as_bytes());
            match entry {
                Entry::Object => raw.push(OBJECT),
                Entry::Leaf(json) => {
                    raw.push(LEAF);
                    raw.put_run(&json);
                }
            }
            let first_path = first.get_or_insert(path);
            if raw.len() >= self.target {
                pages.push(self.page(std::mem::take(first_path), &raw)?);
                first = None;
                raw.clear();
            }
        }
        if let Some(first) = first {
            pages.push(self.page(first, &raw)?);
        }
        Ok(pages)
    }

    fn page(&mut self, first: String, raw: &[u8]) -> Result<Page> {
        let stored = self.codec.pack(raw)?;
        let page = Page {
            first,
            pack: self.pack,
            ordinal: self.chunks.len() as u32,
            parts: stored.len().div_ceil(PART) as u32,
            stored: stored.len() as u64,
            hash: hash(raw),
        };
        self.stored += page.stored;
        for from in (0..stored.len()).step_by(PART) {
            let part = stored.slice(from..(from + PART).min(stored.len()));
            self.chunks.push(part);
        }
        Ok(page)
    }

    /// The body over `pages`, whose packs but this one it knows.
    pub(super) fn finish(self, mut pages: Pages) -> Result<Encoded> {
        if !self.chunks.is_empty() {
            pages.packs.push((self.pack, self.stored));
        }
        let used: HashSet<PackId> = pages.pages.iter().map(|page| page.pack).collect();
        pages.packs.retain(|(pack, _)| used.contains(pack));
        let made = pages.pages.iter().filter(|page| page.pack == self.pack);
        let made = made.count() as u64;
        let mut body = vec![PAGED_BODY];
        body.extend_from_slice(&self.codec.pack(&pages.write()?)?);
        Ok(Encoded {
            body: body.into(),
            chunks: self.chunks,
            packs: pages.packs.iter().map(|(pack, _)| *pack).collect(),
            pages: (made, pages.pages.len() as u64 - made),
        })
    }
}

fn hash(raw: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(raw).as_bytes()[..16]);
    hash
}

impl Pages {
    fn write(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        out.put_varint(self.bytes);
        out.put_varint(self.packs.len() as u64);
        for (pack, bytes) in &self.packs {
            out.extend_from_slice(&pack.0);
            out.put_varint(*bytes);
        }
        out.put_varint(self.pages.len() as u64);
        for page in &self.pages {
            let pack = self.packs.iter().position(|(pack, _)| *pack == page.pack);
            let pack = pack.ok_or_else(|| Error::corrupt("a page of an unknown pack"))?;
            out.put_run(page.first.as_bytes());
            out.put_varint(pack as u64);
            out.put_varint(u64::from(page.ordinal));
            out.put_varint(u64::from(page.parts));
            out.put_varint(page.stored);
            out.extend_from_slice(&page.hash);
        }
        Ok(out)
    }

    fn read(mut reader: Reader) -> Result<Self> {
        let bytes = reader.varint()?;
        let packs: Vec<(PackId, u64)> = (0..reader.count()?)
            .map(|_| Ok((PackId(reader.array()?), reader.varint()?)))
            .collect::<Result<_>>()?;
        let pages = (0..reader.count()?)
            .map(|_| {
                Ok(Page {
                    first: reader.text()?.to_string(),
                    pack: packs
                        .get(reader.varint()? as usize)
                        .ok_or_else(|| Error::corrupt("a page of an unknown pack"))?
                        .0,
                    ordinal: reader.small()?,
                    parts: reader.small()?,
                    stored: reader.varint()?,
                    hash: reader.array()?,
                })
            })
            .collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Self {
            bytes,
            pages,
            packs,
        })
    }

    /// The page that a path belongs to.
    pub(super) fn at(&self, path: &str) -> usize {
        let behind = self.pages.partition_point(|page| *page.first <= *path);
        behind.saturating_sub(1)
    }
}

impl Page {
    /// The chunks it is in.
    pub(super) fn names(&self) -> impl Iterator<Item = ChunkName> + '_ {
        (0..self.parts).map(|part| ChunkName {
            pack: self.pack,
            ordinal: self.ordinal + part,
            locator: 0,
            len: (self.stored - u64::from(part) * PART as u64).min(PART as u64) as u32,
        })
    }

    /// Its raw bytes from those of its chunks, checked.
    pub(super) fn raw(&self, parts: &[Bytes], codec: &Codec) -> Result<Bytes> {
        let stored = match parts {
            [one] => one.clone(),
            parts => {
                let mut whole = BytesMut::new();
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        };
        let raw = codec.unpack(stored)?;
        if hash(&raw) != self.hash {
            return Err(Error::corrupt("a page is not what its hash says"));
        }
        Ok(raw)
    }
}

/// Reads a body.
pub(super) fn read_body(body: Bytes, codec: &Codec) -> Result<Body> {
    let mut reader = Reader::new(body);
    let kind = reader.byte()?;
    let raw = codec.unpack(reader.rest())?;
    match kind {
        INLINE_BODY => serde_json::from_slice(&raw)
            .map(Body::Inline)
            .map_err(|e| Error::corrupt("the value is not JSON").source(e)),
        PAGED_BODY => Pages::read(Reader::new(raw)).map(Body::Pages),
        other => Err(Error::corrupt(format!(
            "body kind {other} is not known to this version"
        ))),
    }
}

/// About how many bytes entries have as JSON.
pub(super) fn bytes_of(entries: &Entries) -> u64 {
    let bytes = entries.iter().map(|(path, entry)| match entry {
        Entry::Object => path.len(),
        Entry::Leaf(json) => path.len() + json.len(),
    });
    bytes.sum::<usize>() as u64
}

/// Adds a page's entries.
pub(super) fn read_page(raw: Bytes, entries: &mut Entries) -> Result<()> {
    let mut reader = Reader::new(raw);
    while !reader.is_empty() {
        let path = reader.text()?.to_string();
        let entry = match reader.byte()? {
            OBJECT => Entry::Object,
            LEAF => Entry::Leaf(reader.run()?),
            other => {
                return Err(Error::corrupt(format!(
                    "entry kind {other} is not known to this version"
                )));
            }
        };
        entries.insert(path, entry);
    }
    Ok(())
}

/// The path of a member below `parent`; the root's path is `None`.
pub(super) fn below(parent: Option<&str>, name: &str) -> String {
    let mut path = String::with_capacity(parent.map_or(0, str::len) + name.len() + 1);
    if let Some(parent) = parent {
        path.push_str(parent);
        path.push(BETWEEN);
    }
    for character in name.chars() {
        match character {
            BETWEEN => path.extend([ESCAPE, '\u{1}']),
            ESCAPE => path.extend([ESCAPE, '\u{2}']),
            other => path.push(other),
        }
    }
    path
}

/// Where the paths below `path` end.
pub(super) fn end_of(path: &str) -> String {
    format!("{path}{ESCAPE}")
}

/// Adds the entries of an object's members. `parent` is the object's path.
fn flatten(
    parent: Option<&str>,
    members: &Map<String, Value>,
    entries: &mut Entries,
) -> Result<()> {
    for (name, value) in members {
        let path = below(parent, name);
        match value {
            Value::Object(members) => {
                flatten(Some(&path), members, entries)?;
                entries.insert(path, Entry::Object);
            }
            other => {
                entries.insert(path, Entry::Leaf(to_json(other)?.into()));
            }
        }
    }
    Ok(())
}

/// The value whose entries these are.
pub(super) fn unflatten(entries: &Entries) -> Result<Map<String, Value>> {
    let mut root = Map::new();
    for (path, entry) in entries {
        let value = match entry {
            Entry::Object => Value::Object(Map::new()),
            Entry::Leaf(json) => serde_json::from_slice(json)
                .map_err(|e| Error::corrupt("a member is not JSON").source(e))?,
        };
        let mut names: Vec<String> = path.split(BETWEEN).map(unescape).collect();
        let last = names.pop().unwrap_or_default();
        let mut members = &mut root;
        for name in names {
            members = members
                .get_mut(&name)
                .and_then(Value::as_object_mut)
                .ok_or_else(|| Error::corrupt("a member of what is no object"))?;
        }
        members.insert(last, value);
    }
    Ok(root)
}

fn unescape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            ESCAPE if characters.next() == Some('\u{1}') => BETWEEN,
            ESCAPE => ESCAPE,
            other => other,
        });
    }
    out
}
