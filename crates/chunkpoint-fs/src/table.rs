//! The pack table: where packs are, sorted by pack id, as a compaction or copy
//! left them. It is searched on disk, never loaded.
//!
//! ```text
//! payload   varint number of entries
//! tail      pages of 4,096 bytes: 255 entries of 16 bytes, zeros up to 4,092,
//!           u32 CRC32C of the salted place of the page and its bytes
//! entry     8 bytes pack id, u64 offset of its frame
//! ```
//!
//! Pack ids are random, so where an id is among the pages can be guessed from
//! its value: most searches read one page.

use chunkpoint_core::Result;
use chunkpoint_core::backend::PackId;

use crate::frame::Kind;
use crate::log::{Going, LogFile, Reader};
use crate::wire::{Cursor, put_varint};

const PAGE: usize = 4096;
const ENTRY: usize = 16;
const PER_PAGE: usize = (PAGE - 4) / ENTRY;

/// Bytes of the pages of the table whose payload this is.
pub(crate) fn tail_len(payload: &[u8]) -> Option<u64> {
    let entries = Cursor::new(payload).varint()?;
    entries.div_ceil(PER_PAGE as u64).checked_mul(PAGE as u64)
}

/// The payload of a table of so many entries.
pub(crate) fn payload(entries: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, entries as u64);
    out
}

fn page_crc(log: &LogFile, offset: u64, page: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(
        crc32c::crc32c(&log.header.incarnation.0),
        &[log.header.generation.to_le_bytes(), offset.to_le_bytes()].concat(),
    );
    crc32c::crc32c_append(place, page)
}

/// The pages of a table whose tail will lie at `offset`. `entries` are sorted.
pub(crate) fn pages(log: &LogFile, offset: u64, entries: &[(PackId, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len().div_ceil(PER_PAGE) * PAGE);
    for chunk in entries.chunks(PER_PAGE) {
        let start = out.len();
        for (pack, loc) in chunk {
            out.extend_from_slice(&pack.0);
            out.extend_from_slice(&loc.to_le_bytes());
        }
        out.resize(start + PAGE - 4, 0);
        let crc = page_crc(log, offset + start as u64, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    out
}

/// Where the table at `at` says that a pack is; nowhere if `at` is 0.
pub(crate) fn find(reader: &mut Reader, at: u64, pack: PackId) -> Result<Option<u64>> {
    let log = reader.log().clone();
    if at == 0 {
        return Ok(None);
    }
    let frame = reader
        .frame(at, Going::Only)?
        .filter(|frame| frame.kind == Kind::Table)
        .ok_or_else(|| log.damaged("the pack table", at))?;
    let entries = Cursor::new(&frame.payload)
        .varint()
        .ok_or_else(|| log.damaged("the pack table", at))? as usize;
    let (mut low, mut high) = (0, entries.div_ceil(PER_PAGE));
    let mut guess = ((u128::from(u64::from_be_bytes(pack.0)) * high as u128) >> 64) as usize;
    // Interpolation is within a page or two; after that halving is surer.
    let mut tries = 0;
    while low < high {
        let page_no = guess.clamp(low, high - 1);
        let offset = frame.tail + (page_no * PAGE) as u64;
        let page = reader.aside(offset, PAGE)?;
        let filled = (entries - page_no * PER_PAGE).min(PER_PAGE);
        let sound = page.len() == PAGE
            && page_crc(&log, offset, &page[..PAGE - 4]).to_le_bytes() == page[PAGE - 4..];
        if !sound {
            return Err(log.damaged("a page of the pack table", offset));
        }
        let entry = |n: usize| &page[n * ENTRY..n * ENTRY + 8];
        if pack.0[..] < *entry(0) {
            high = page_no;
        } else if pack.0[..] > *entry(filled - 1) {
            low = page_no + 1;
        } else {
            let (mut from, mut to) = (0, filled);
            while from < to {
                let middle = (from + to) / 2;
                match entry(middle).cmp(&pack.0[..]) {
                    std::cmp::Ordering::Less => from = middle + 1,
                    std::cmp::Ordering::Greater => to = middle,
                    std::cmp::Ordering::Equal => {
                        let loc = &page[middle * ENTRY + 8..(middle + 1) * ENTRY];
                        return Ok(Cursor::new(loc).u64());
                    }
                }
            }
            return Ok(None);
        }
        tries += 1;
        guess = match tries {
            1 | 2 if guess < low => low,
            1 | 2 if high > 0 && guess >= high => high - 1,
            _ => low + (high - low) / 2,
        };
    }
    Ok(None)
}
