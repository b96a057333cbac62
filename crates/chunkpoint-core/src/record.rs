//! The record: one checkpoint's manifest, as its body is written.
//!
//! `docs/format.md` has it byte by byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{PackId, RecordKey};
use crate::codec::Codec;
use crate::error::{Error, Result, quote};
use crate::tree::{Edge, Element, Hash, Ref, RefReader, RefWriter, Root, RootKind, leaf_hash};
use crate::types::ValueKind;
use crate::wire::{Put, Reader};

/// The version of the format that this program writes, and the newest it reads.
pub(crate) const FORMAT: u8 = 1;

/// A channel's version, as LangGraph's savers make them: of one type within a
/// thread.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Version {
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text, such as `00000000000000000000000000000003.0.4521`.
    Text(Arc<str>),
}

/// One checkpoint, decoded. Cheap to clone: values are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// The contract's `v`; 0 in checkpoints made by drafts.
    pub(crate) v: u64,
    /// The contract's `ts`.
    pub(crate) ts: Arc<str>,
    pub(crate) updated_channels: Option<Vec<Arc<str>>>,
    /// A map of JSON values by top-level key.
    pub(crate) metadata: Content,
    /// The contract's `versions_seen`: JSON objects by node.
    pub(crate) versions_seen: Content,
    pub(crate) channels: BTreeMap<Arc<str>, Channel>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Channel {
    pub(crate) version: Option<Version>,
    pub(crate) content: Content,
}

/// A value: here, or in a chunk of its own.
#[derive(Debug, Clone, Default)]
pub(crate) enum Content {
    #[default]
    Absent,
    Item(Slot<Element>),
    List(Slot<Edge>),
    Map(Slot<Edge>),
}

#[derive(Debug)]
pub(crate) enum Slot<T> {
    Inline(Arc<T>),
    Sealed(Ref),
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Inline(value) => Self::Inline(value.clone()),
            Self::Sealed(r) => Self::Sealed(r.clone()),
        }
    }
}

impl Slot<Edge> {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline(edge) => edge.len(),
            Self::Sealed(r) => r.items,
        }
    }
}

impl Content {
    /// Whether it was taken over from `other`, not only equal to it.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Map(a), Self::Map(b)) => match (a, b) {
                (Slot::Inline(a), Slot::Inline(b)) => Arc::ptr_eq(a, b),
                (Slot::Sealed(a), Slot::Sealed(b)) => a == b,
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn kind(&self) -> Option<ValueKind> {
        match self {
            Self::Absent => None,
            Self::Item(_) => Some(ValueKind::Item),
            Self::List(_) => Some(ValueKind::List),
            Self::Map(_) => Some(ValueKind::Map),
        }
    }

    /// Covers the whole value: two contents are equal exactly if these are, wherever
    /// their bytes lie. No I/O.
    pub(crate) fn identity(&self) -> Option<(ValueKind, Hash)> {
        let hash = match self {
            Self::Absent => return None,
            Self::Item(Slot::Inline(element)) => leaf_hash(false, std::slice::from_ref(element)),
            Self::List(Slot::Inline(edge)) | Self::Map(Slot::Inline(edge)) => edge.hash(),
            Self::Item(Slot::Sealed(r))
            | Self::List(Slot::Sealed(r))
            | Self::Map(Slot::Sealed(r)) => r.hash,
        };
        self.kind().map(|kind| (kind, hash))
    }

    fn write(&self, refs: &mut RefWriter, out: &mut Vec<u8>) -> Result<()> {
        out.push(match self {
            Self::Absent => 0,
            Self::Item(Slot::Inline(_)) => 1,
            Self::Item(Slot::Sealed(_)) => 2,
            Self::List(Slot::Inline(_)) => 3,
            Self::List(Slot::Sealed(_)) => 4,
            Self::Map(Slot::Inline(_)) => 5,
            Self::Map(Slot::Sealed(_)) => 6,
        });
        match self {
            Self::Absent => {}
            Self::Item(Slot::Inline(element)) => element.write(false, refs, out)?,
            Self::List(Slot::Inline(edge)) | Self::Map(Slot::Inline(edge)) => {
                edge.write(refs, out)?;
            }
            Self::Item(Slot::Sealed(r))
            | Self::List(Slot::Sealed(r))
            | Self::Map(Slot::Sealed(r)) => refs.write(r, out),
        }
        Ok(())
    }

    fn read(refs: &mut RefReader, reader: &mut Reader) -> Result<Self> {
        let edge = |refs: &mut RefReader, reader: &mut Reader, keyed| {
            let edge = Edge::read(refs, reader)?;
            if edge.keyed != keyed {
                return Err(Error::corrupt("a list where a map is due, or the reverse"));
            }
            Ok(Slot::Inline(Arc::new(edge)))
        };
        Ok(match reader.byte()? {
            0 => Self::Absent,
            1 => Self::Item(Slot::Inline(Arc::new(Element::read(false, refs, reader)?))),
            2 => Self::Item(Slot::Sealed(refs.read(reader)?)),
            3 => Self::List(edge(refs, reader, false)?),
            4 => Self::List(Slot::Sealed(refs.read(reader)?)),
            5 => Self::Map(edge(refs, reader, true)?),
            6 => Self::Map(Slot::Sealed(refs.read(reader)?)),
            other => return Err(Error::corrupt(format!("value kind {other} is not known"))),
        })
    }

    /// Bytes it takes inline, about; what the inline policy goes by.
    pub(crate) fn inline_bytes(&self) -> usize {
        match self {
            Self::Item(Slot::Inline(element)) => element.weight(),
            Self::List(Slot::Inline(edge)) | Self::Map(Slot::Inline(edge)) => {
                let refs: usize = edge.levels.iter().map(Vec::len).sum();
                refs * 30 + edge.tail.iter().map(Element::weight).sum::<usize>() + 3
            }
            _ => 0,
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Item(Slot::Inline(element)) => element.memory(),
            Self::List(Slot::Inline(edge)) | Self::Map(Slot::Inline(edge)) => edge.memory() + 64,
            _ => 0,
        }
    }

    fn roots(&self) -> Vec<Root> {
        match self {
            Self::Absent => Vec::new(),
            Self::Item(Slot::Inline(element)) => Root::of_element(element).into_iter().collect(),
            Self::List(Slot::Inline(edge)) | Self::Map(Slot::Inline(edge)) => Root::of_edge(edge),
            Self::Item(Slot::Sealed(r)) => {
                vec![Root {
                    r: r.clone(),
                    kind: RootKind::Group { level: 0 },
                }]
            }
            Self::List(Slot::Sealed(r)) | Self::Map(Slot::Sealed(r)) => {
                vec![Root {
                    r: r.clone(),
                    kind: RootKind::Edge,
                }]
            }
        }
    }

    /// Sets where the chunks of `pack` lie, once that is known.
    fn locate(&mut self, pack: PackId, locator: u64) {
        let set = |r: &mut Ref| {
            if r.pack == pack {
                r.locator = locator;
            }
        };
        match self {
            Self::Absent => {}
            Self::Item(Slot::Sealed(r))
            | Self::List(Slot::Sealed(r))
            | Self::Map(Slot::Sealed(r)) => set(r),
            Self::Item(Slot::Inline(element)) => {
                if let crate::tree::Data::Large(large) = &mut Arc::make_mut(element).data {
                    set(&mut large.root);
                }
            }
            Self::List(Slot::Inline(edge)) | Self::Map(Slot::Inline(edge)) => {
                if edge.refs().any(|r| r.pack == pack) {
                    Arc::make_mut(edge).refs_mut().for_each(set);
                }
            }
        }
    }
}

impl Record {
    /// Packs the body. The check in it binds the content to its name.
    pub(crate) fn encode(&self, key: &RecordKey, pack: PackId, codec: &Codec) -> Result<Bytes> {
        let mut refs = RefWriter::new(pack);
        let mut raw = codec.scratch();
        raw.put_varint(self.v);
        raw.put_run(self.ts.as_bytes());
        match &self.updated_channels {
            None => raw.put_varint(0),
            Some(names) => {
                raw.put_varint(names.len() as u64 + 1);
                names.iter().for_each(|name| raw.put_run(name.as_bytes()));
            }
        }
        self.metadata.write(&mut refs, &mut raw)?;
        self.versions_seen.write(&mut refs, &mut raw)?;
        raw.put_varint(self.channels.len() as u64);
        for (name, channel) in &self.channels {
            raw.put_run(name.as_bytes());
            match &channel.version {
                None => raw.push(0),
                Some(Version::Int(number)) => {
                    raw.push(1);
                    raw.put_signed(*number);
                }
                Some(Version::Float(number)) => {
                    raw.push(2);
                    raw.extend_from_slice(&number.to_le_bytes());
                }
                Some(Version::Text(text)) => {
                    raw.push(3);
                    raw.put_run(text.as_bytes());
                }
            }
            channel.content.write(&mut refs, &mut raw)?;
        }
        let mut body = vec![FORMAT];
        body.extend_from_slice(&check(key, pack, &raw));
        body.extend_from_slice(&codec.pack(&raw)?);
        codec.give_scratch(raw);
        Ok(body.into())
    }

    /// Reads a body, and checks that it belongs to this name and pack.
    pub(crate) fn decode(
        body: Bytes,
        key: &RecordKey,
        pack: PackId,
        locator: u64,
        codec: &Codec,
    ) -> Result<Self> {
        Self::decode_inner(body, key, pack, locator, codec).map_err(|e| {
            e.context(format_args!(
                "record of checkpoint {} in namespace {}, pack {pack}",
                quote(&key.id),
                quote(&key.namespace)
            ))
        })
    }

    fn decode_inner(
        body: Bytes,
        key: &RecordKey,
        pack: PackId,
        locator: u64,
        codec: &Codec,
    ) -> Result<Self> {
        let mut reader = Reader::new(body);
        let format = reader.byte()?;
        if format != FORMAT {
            return Err(Error::new(
                if format > FORMAT {
                    crate::ErrorKind::Unsupported
                } else {
                    crate::ErrorKind::Corrupt
                },
                format!(
                    "format {format}, this program reads up to {FORMAT}; \
                     if a newer program wrote it, use that or a later one"
                ),
            ));
        }
        let expected: [u8; 8] = reader.array()?;
        let raw = codec.unpack(reader.rest())?;
        if check(key, pack, &raw) != expected {
            return Err(Error::corrupt("the check does not match the content"));
        }
        let mut refs = RefReader::new(pack, locator);
        let mut reader = Reader::new(raw);
        let v = reader.varint()?;
        let ts = reader.text()?;
        let updated_channels = match reader.count()? {
            0 => None,
            n => Some((1..n).map(|_| reader.text()).collect::<Result<_>>()?),
        };
        let metadata = Content::read(&mut refs, &mut reader)?;
        let versions_seen = Content::read(&mut refs, &mut reader)?;
        let mut channels = BTreeMap::new();
        for _ in 0..reader.count()? {
            let name = reader.text()?;
            let version = match reader.byte()? {
                0 => None,
                1 => Some(Version::Int(reader.signed()?)),
                2 => Some(Version::Float(f64::from_le_bytes(reader.array()?))),
                3 => Some(Version::Text(reader.text()?)),
                other => return Err(Error::corrupt(format!("version kind {other} is not known"))),
            };
            let content = Content::read(&mut refs, &mut reader)?;
            channels.insert(name, Channel { version, content });
        }
        reader.finish()?;
        Ok(Self {
            v,
            ts,
            updated_channels,
            metadata,
            versions_seen,
            channels,
        })
    }

    fn contents(&self) -> impl Iterator<Item = &Content> {
        [&self.metadata, &self.versions_seen]
            .into_iter()
            .chain(self.channels.values().map(|channel| &channel.content))
    }

    /// Every chunk it names itself.
    pub(crate) fn roots(&self) -> Vec<Root> {
        self.contents().flat_map(Content::roots).collect()
    }

    pub(crate) fn locate(&mut self, pack: PackId, locator: u64) {
        self.metadata.locate(pack, locator);
        self.versions_seen.locate(pack, locator);
        for channel in self.channels.values_mut() {
            channel.content.locate(pack, locator);
        }
    }

    /// Bytes it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        const CHANNEL: usize = size_of::<Channel>() + 64;
        let names: usize = self.channels.keys().map(|name| CHANNEL + name.len()).sum();
        let contents: usize = self.contents().map(Content::memory).sum();
        size_of::<Self>() + names + contents
    }
}

pub(crate) fn check(key: &RecordKey, pack: PackId, raw: &[u8]) -> [u8; 8] {
    let mut head = Vec::with_capacity(64);
    head.put_run(key.namespace.as_bytes());
    head.put_run(key.id.as_bytes());
    head.extend_from_slice(&pack.0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    hasher.update(raw);
    let mut out = [0; 8];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Compression;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_body_panics(payload: Vec<u8>, honest: bool, format in 0u8..3) {
            let key = RecordKey { namespace: "".into(), id: "a".into() };
            let codec = Codec::new(Compression::None);
            let mut body = vec![format];
            if honest {
                body.extend(check(&key, PackId([0; 8]), &payload));
                body.extend(codec.pack(&payload).unwrap());
            } else {
                body.extend(&payload);
            }
            let read = Record::decode(body.into(), &key, PackId([0; 8]), 0, &codec);
            if format != FORMAT || !honest {
                prop_assert!(read.is_err());
            }
        }
    }

    #[test]
    fn a_record_under_another_name_is_refused() {
        let codec = Codec::new(Compression::Zstd);
        let key = RecordKey {
            namespace: "".into(),
            id: "a".into(),
        };
        let other = RecordKey {
            namespace: "".into(),
            id: "b".into(),
        };
        let body = Record::default()
            .encode(&key, PackId([1; 8]), &codec)
            .unwrap();
        Record::decode(body.clone(), &key, PackId([1; 8]), 0, &codec).unwrap();
        for (key, pack) in [(&other, [1; 8]), (&key, [2; 8])] {
            let error = Record::decode(body.clone(), key, PackId(pack), 0, &codec).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_newer_format_is_refused_clearly() {
        let codec = Codec::new(Compression::Zstd);
        let key = RecordKey {
            namespace: "".into(),
            id: "a".into(),
        };
        let mut body = Record::default()
            .encode(&key, PackId([1; 8]), &codec)
            .unwrap()
            .to_vec();
        body[0] = FORMAT + 1;
        let error = Record::decode(body.into(), &key, PackId([1; 8]), 0, &codec).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
        assert!(error.message().contains("newer program"));
    }
}
