//! The packs of a namespace: frames with chunks, appended to one file.
//!
//! Rows tell where their packs lie; nobody else looks for them, so the file needs
//! neither a header nor an order, and what failed puts left in it is passed over. A
//! frame's checksums cover the pack's id and not its place: it is copied as it is.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::{Error, Result};

use crate::error::from_io;
use crate::frame::{Frame, Kind, MAX_PREFIX, Prefix, Salt, put_frame};
use crate::items::entry::PackAt;
use crate::items::file::Place;
use crate::log::{open_file, read_at, write_all_at};
use crate::payload::{Directory, Slot, chunk_crc, read_directory};
use crate::stats::Counters;
use crate::wait::{self, Wait};

/// A pack of at most so many bytes is read whole.
const SMALL: u64 = 64 * 1024;

/// Of a larger one, at first.
const HEAD: usize = 4096;

/// Written and copied at once.
const BLOCK: usize = 1024 * 1024;

/// An open file of packs.
#[derive(Debug)]
pub(crate) struct PackFile {
    file: File,
    name: String,
    of: String,
    counters: Arc<Counters>,
}

impl PackFile {
    /// Opens the packs of this number; `None` if there are none.
    pub(crate) fn open(
        path: &Path,
        place: &Place,
        number: u64,
        counters: &Arc<Counters>,
        wait: Wait,
    ) -> Result<Option<Self>> {
        let file = open_file(path, &place.packs(number), wait)?;
        Ok(file.map(|file| Self::new(file, place, number, counters)))
    }

    pub(crate) fn new(file: File, place: &Place, number: u64, counters: &Arc<Counters>) -> Self {
        Self {
            file,
            name: place.packs(number),
            of: place.describe(),
            counters: counters.clone(),
        }
    }

    /// Its length now.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata: io::Result<_> = self.file.metadata();
        Ok(metadata.map_err(|error| from_io(&self.name, error))?.len())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.counters.wrote(bytes.len());
        write_all_at(&self.file, offset, bytes)
            .map_err(|error| from_io(format_args!("writing {}", self.name), error))
    }

    fn read(&self, offset: u64, len: usize, wait: Wait) -> Result<Bytes> {
        if wait == Wait::No && len as u64 > wait::MOST {
            return Err(wait::would_wait());
        }
        read_at(&self.file, offset, len, &self.name, &self.counters, wait)
    }

    /// Makes what was written survive the loss of power.
    pub(crate) fn sync(&self) -> Result<()> {
        self.counters.synced();
        self.file
            .sync_data()
            .map_err(|error| from_io(format_args!("syncing {}", self.name), error))
    }

    /// Lets go of the lock that marked it as being built.
    pub(crate) fn unlock(&self) {
        // It goes with the file's last handle anyway.
        let _ = self.file.unlock();
    }

    fn damaged(&self, what: &str, offset: u64) -> Error {
        Error::corrupt(format!(
            "{} ({}): {what} at offset {offset} is damaged",
            self.of, self.name
        ))
    }

    /// Writes a pack at `offset`, which nobody else may be writing to.
    pub(crate) fn put(&self, offset: u64, id: PackId, chunks: &[Bytes]) -> Result<PackAt> {
        let slots = chunks
            .iter()
            .zip(0u32..)
            .map(|(chunk, ordinal)| Slot::Here {
                len: chunk.len() as u32,
                crc: chunk_crc(id, ordinal, chunk),
            });
        let mut payload = id.0.to_vec();
        Directory(slots.collect()).put(&mut payload);
        let mut out = Vec::new();
        put_frame(&mut out, salt(id), 0, Kind::Pack, true, &payload);
        let mut at = offset;
        for chunk in chunks {
            if !out.is_empty() && out.len() + chunk.len() > BLOCK {
                self.write_at(at, &out)?;
                at += out.len() as u64;
                out.clear();
            }
            out.extend_from_slice(chunk);
        }
        self.write_at(at, &out)?;
        Ok(PackAt {
            id,
            offset,
            len: at + out.len() as u64 - offset,
        })
    }

    /// Copies a pack from another file to `offset`.
    pub(crate) fn copy(&self, offset: u64, from: &Self, pack: &PackAt) -> Result<PackAt> {
        let mut done = 0;
        while done < pack.len {
            let len = (pack.len - done).min(BLOCK as u64) as usize;
            let bytes = from.read(pack.offset + done, len, Wait::Yes)?;
            if bytes.len() < len {
                return Err(from.damaged("a pack", pack.offset));
            }
            self.write_at(offset + done, &bytes)?;
            done += len as u64;
        }
        Ok(PackAt { offset, ..*pack })
    }

    /// Reads chunks of a pack, in the order of `ordinals`; `None` for those it has not.
    pub(crate) fn chunks(
        &self,
        pack: &PackAt,
        ordinals: &[u32],
        wait: Wait,
    ) -> Result<Vec<Option<Bytes>>> {
        let damaged = || self.damaged("a pack", pack.offset);
        let first = if pack.len <= SMALL {
            pack.len as usize
        } else {
            HEAD
        };
        let mut head = self.read(pack.offset, first, wait)?;
        let prefix = &head[..head.len().min(MAX_PREFIX)];
        let len = Prefix::parse(salt(pack.id), 0, prefix).and_then(|prefix| prefix.envelope_len());
        let len = len.filter(|len| *len <= pack.len).ok_or_else(damaged)?;
        if len > head.len() as u64 {
            head = self.read(pack.offset, len as usize, wait)?;
        }
        let frame = Frame::parse(salt(pack.id), 0, &head).ok_or_else(damaged)?;
        let (_, directory) = read_directory(&frame.payload)
            .filter(|(id, _)| frame.kind == Kind::Pack && *id == pack.id)
            .ok_or_else(damaged)?;
        let places: Vec<_> = directory.present().collect();
        let chunk = |ordinal: &u32| {
            let Some((_, at, len, crc)) = places.get(*ordinal as usize) else {
                return Ok(None);
            };
            let (from, len) = (frame.tail + at, *len as usize);
            let to = from + len as u64;
            let chunk = if to <= head.len() as u64 {
                head.slice(from as usize..to as usize)
            } else {
                self.read(pack.offset + from, len, wait)?
            };
            if chunk.len() != len || chunk_crc(pack.id, *ordinal, &chunk) != *crc {
                return Err(self.damaged("a chunk", pack.offset + from));
            }
            Ok(Some(chunk))
        };
        ordinals.iter().map(chunk).collect()
    }
}

fn salt(id: PackId) -> Salt {
    Salt::new(id.0, 0)
}
