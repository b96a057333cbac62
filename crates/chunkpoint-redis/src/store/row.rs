//! A row as it lies in the server: what scripts look at first, at fixed places.
//!
//! `v`, or `r` for what is remembered of an item that was removed; how many write ids it
//! remembers (1 byte) and how many packs it lists (2); when it was created and updated, its
//! time to live and its expiry (8 each; the last two one more than they are, or 0); the write
//! ids, the newest first; the packs; the body. Numbers have their highest byte first.

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{ItemKey, ItemRow};
use chunkpoint_core::wire::Reader;
use chunkpoint_core::{Error, ErrorKind, Result};

use crate::reply::unexpected;

/// Packs that a row may list.
const MOST_PACKS: usize = u16::MAX as usize;

/// When an item was updated, its time to live and its expiry, as a row has them.
pub(super) fn times(row: &ItemRow) -> Bytes {
    let or_none = |time: Option<u64>| time.map_or(0, |time| time + 1);
    [row.updated_ms, or_none(row.ttl_ms), or_none(row.expires_ms)]
        .into_iter()
        .flat_map(u64::to_be_bytes)
        .collect()
}

/// Packs, one after the other.
pub(super) fn packs(row: &ItemRow) -> Result<Bytes> {
    if row.packs.len() > MOST_PACKS {
        let message = format!(
            "an item uses {} packs; at most {MOST_PACKS} are accepted",
            row.packs.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(row.packs.iter().flat_map(|pack| pack.0).collect())
}

/// Reads a row; `None` for what is remembered of an item that was removed.
pub(super) fn read(key: ItemKey, row: Bytes) -> Result<Option<ItemRow>> {
    let mut reader = Reader::new(row);
    match reader.byte()? {
        b'v' => {}
        b'r' => return Ok(None),
        _ => return Err(unexpected()),
    }
    let remembered = usize::from(reader.byte()?);
    let listed = u16::from_be_bytes(reader.array()?);
    let mut time = || Ok::<_, Error>(u64::from_be_bytes(reader.array()?));
    let [created_ms, updated_ms] = [time()?, time()?];
    let [ttl_ms, expires_ms] = [time()?.checked_sub(1), time()?.checked_sub(1)];
    let version = PackId(reader.array()?);
    reader.take(8 * remembered.saturating_sub(1))?;
    let packs = (0..listed).map(|_| Ok(PackId(reader.array()?)));
    Ok(Some(ItemRow {
        key,
        version,
        created_ms,
        updated_ms,
        ttl_ms,
        expires_ms,
        packs: packs.collect::<Result<_>>()?,
        body: reader.rest(),
    }))
}
