//! How the bytes of a chunk or record are stored: raw, lz4 or zstd.
//!
//! A stored run is one codec byte, then for the compressed codecs the raw
//! length as a varint, then the payload. Codec 3 is set aside for zstd with a
//! dictionary, whose id will follow the codec byte.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, Result};
use crate::wire::{Put, Reader};

const RAW: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;

/// Below this many bytes nothing is gained.
const LEAST: usize = 64;

/// Most bytes a stored run may unpack to: more is damage, not data.
const MOST_RAW: usize = 1 << 31;

/// Which codec new chunks get, where it pays. Any can be read at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Nothing is compressed.
    None,
    /// Fast, about 1.6 to 1 on conversations.
    Lz4,
    /// About 2.2 to 1 on conversations.
    #[default]
    Zstd,
}

/// The level: 3 is zstd's own default; higher ones gain under 2 % on chunks
/// of a few KiB.
const ZSTD_LEVEL: i32 = 3;

/// Contexts kept for the next caller. One per core is enough; a context
/// takes up to a megabyte.
const POOLED: usize = 4;

/// A scratch buffer over this many bytes is freed rather than kept.
const MOST_SCRATCH: usize = 1 << 20;

/// Packs and unpacks, with pooled contexts and buffers.
pub(crate) struct Codec {
    compression: Compression,
    compressors: Pool<Compressor<'static>>,
    decompressors: Pool<Decompressor<'static>>,
    scratch: Pool<Vec<u8>>,
}

struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, context: T) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOLED {
            pool.push(context);
        }
    }
}

impl Codec {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            compressors: Pool(Mutex::default()),
            decompressors: Pool(Mutex::default()),
            scratch: Pool(Mutex::default()),
        }
    }

    /// An empty buffer, which may have room from its last use.
    pub(crate) fn scratch(&self) -> Vec<u8> {
        self.scratch.take().unwrap_or_default()
    }

    /// Gives a scratch buffer back, unless it has become too large to keep.
    pub(crate) fn give_scratch(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= MOST_SCRATCH {
            buffer.clear();
            self.scratch.give(buffer);
        }
    }

    /// Packs `raw`, if that makes it smaller. The result has no room to spare.
    pub(crate) fn pack(&self, raw: &[u8]) -> Result<Bytes> {
        let mut out = self.scratch();
        let result = self.pack_into(raw, &mut out);
        let packed = Bytes::copy_from_slice(&out);
        self.give_scratch(out);
        result.map(|()| packed)
    }

    fn pack_into(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if raw.len() >= LEAST {
            match self.compression {
                Compression::None => {}
                Compression::Lz4 => {
                    out.push(LZ4);
                    out.put_varint(raw.len() as u64);
                    out.extend_from_slice(&lz4_flex::block::compress(raw));
                }
                Compression::Zstd => {
                    let mut context = match self.compressors.take() {
                        Some(context) => context,
                        None => {
                            let mut context = Compressor::new(ZSTD_LEVEL).map_err(zstd_failed)?;
                            context.include_contentsize(false).map_err(zstd_failed)?;
                            context.include_checksum(false).map_err(zstd_failed)?;
                            context
                        }
                    };
                    out.push(ZSTD);
                    out.put_varint(raw.len() as u64);
                    let head = out.len();
                    out.resize(head + zstd::zstd_safe::compress_bound(raw.len()), 0);
                    let len = context
                        .compress_to_buffer(raw, &mut out[head..])
                        .map_err(zstd_failed)?;
                    out.truncate(head + len);
                    self.compressors.give(context);
                }
            }
            if !out.is_empty() && out.len() <= raw.len() {
                return Ok(());
            }
            out.clear();
        }
        out.push(RAW);
        out.extend_from_slice(raw);
        Ok(())
    }

    /// Unpacks what [`pack`](Self::pack) made. Raw runs share the memory.
    pub(crate) fn unpack(&self, stored: Bytes) -> Result<Bytes> {
        let mut reader = Reader::new(stored);
        let codec = reader.byte()?;
        if codec == RAW {
            return Ok(reader.rest());
        }
        if codec != LZ4 && codec != ZSTD {
            return Err(Error::corrupt(format!(
                "codec {codec} is not known to this version"
            )));
        }
        let len = reader.varint()? as usize;
        let payload = reader.rest();
        // A run of n bytes cannot honestly claim more than this: lz4 gives at
        // most 255 to 1, zstd's blocks of 128 KiB cost at least 4 bytes.
        let most = payload.len().saturating_mul(1 << 16).min(MOST_RAW);
        if len > most {
            return Err(Error::corrupt(format!(
                "{} bytes claim to unpack to {len}",
                payload.len()
            )));
        }
        let raw = if codec == LZ4 {
            lz4_flex::block::decompress(&payload, len)
                .map_err(|e| Error::corrupt("lz4 block is damaged").source(e))?
        } else {
            let mut context = match self.decompressors.take() {
                Some(context) => context,
                None => Decompressor::new().map_err(zstd_failed)?,
            };
            let raw = context
                .decompress(&payload, len)
                .map_err(|e| Error::corrupt("zstd frame is damaged").source(e))?;
            self.decompressors.give(context);
            raw
        };
        if raw.len() != len {
            return Err(Error::corrupt(format!(
                "{} bytes unpacked, {len} expected",
                raw.len()
            )));
        }
        Ok(raw.into())
    }
}

fn zstd_failed(error: std::io::Error) -> Error {
    Error::new(crate::ErrorKind::Other, "zstd context").source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            raw in proptest::collection::vec(0u8..4, 0..4000),
            compression in prop::sample::select(vec![
                Compression::None, Compression::Lz4, Compression::Zstd,
            ]),
        ) {
            let codec = Codec::new(compression);
            let packed = codec.pack(&raw).unwrap();
            prop_assert!(packed.len() <= raw.len() + 1);
            prop_assert_eq!(&codec.unpack(packed).unwrap()[..], &raw[..]);
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = Codec::new(Compression::Zstd).unpack(bytes.into());
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut bomb = vec![ZSTD];
        bomb.put_varint(1 << 40);
        bomb.extend_from_slice(b"xx");
        let error = Codec::new(Compression::Zstd)
            .unpack(bomb.into())
            .unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    }
}
