//! Entrances for the benchmarks in `benches/`: parts that are private otherwise. Not part of
//! the API.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::PackId;
use crate::codec::Compression;
use crate::error::Result;
use crate::tree::{Edge, Element, PackBuilder};
use crate::types::Item;

/// The codec of stored runs.
pub struct Codec(crate::codec::Codec);

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

impl Codec {
    /// One of this compression.
    pub fn new(compression: Compression) -> Self {
        Self(crate::codec::Codec::new(compression))
    }

    /// Packs a run.
    ///
    /// # Errors
    /// Those of the compressor.
    pub fn pack(&self, raw: &[u8]) -> Result<Bytes> {
        self.0.pack(raw)
    }

    /// Unpacks it.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn unpack(&self, stored: Bytes) -> Result<Bytes> {
        self.0.unpack(stored)
    }
}

/// Cuts a large value into pieces and hashes them; gives the number of chunks that are stored.
///
/// # Errors
/// Those of the codec.
pub fn cut(value: Bytes, codec: &Codec) -> Result<usize> {
    let mut pack = PackBuilder::new(PackId([1; 8]), &codec.0);
    let mut element = Element::new("".into(), Item::new("bytes", value));
    pack.split(&mut element)?;
    Ok(pack.chunks().len())
}

/// A list's tree, to append to.
#[derive(Debug, Clone)]
pub struct Tree(Edge);

impl Tree {
    /// The tree of `items`.
    ///
    /// # Errors
    /// Those of the codec.
    pub fn of(items: impl IntoIterator<Item = Bytes>, codec: &Codec) -> Result<Self> {
        let mut tree = Self(Edge::new(false));
        tree.append(items, codec)?;
        Ok(tree)
    }

    /// Adds `items`; gives the number of chunks that are stored for it.
    ///
    /// # Errors
    /// Those of the codec.
    pub fn append(
        &mut self,
        items: impl IntoIterator<Item = Bytes>,
        codec: &Codec,
    ) -> Result<usize> {
        let mut pack = PackBuilder::new(PackId([1; 8]), &codec.0);
        let tag: Arc<str> = "json".into();
        let elements = items
            .into_iter()
            .map(|bytes| Element::new("".into(), Item::new(tag.clone(), bytes)));
        self.0.append(elements, &mut pack)?;
        Ok(pack.chunks().len())
    }
}
