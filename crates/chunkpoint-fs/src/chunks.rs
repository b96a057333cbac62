//! Reading chunks.
//!
//! A locator is the offset of the frame that holds the pack. The directory at
//! the frame's start tells where its chunks are, and each chunk's checksum
//! covers pack id and ordinal, so one read gives a chunk and proves that it is
//! the right one, even if the locator is from before a compaction moved
//! things. A locator that proves wrong is looked up in the pack table, and
//! failing that by a scan of what was written since.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, PackId};

use crate::frame::{Kind, MAX_PREFIX, Prefix};
use crate::log::{Going, Reader};
use crate::payload::{Slot, chunk_crc, read_directory};
use crate::scan::{Met, Scan, end_of};
use crate::state::{Event, State};
use crate::table;

/// Bytes read beyond what is known to be needed: a body lies between directory
/// and chunks.
const ALONG: u64 = 3 * 1024;

/// Two places closer than this are read at once, up to [`MOST`] bytes.
const NEAR: u64 = 8 * 1024;
const MOST: u64 = 1024 * 1024;

/// What is at a place where a chunk should be.
enum There {
    Chunk(Bytes),
    /// The pack is there, the chunk no more.
    Reclaimed,
    /// It is not the pack's place.
    Elsewhere,
    /// It is, but what is there is not what was written.
    Damaged(u64),
}

/// Reads chunks, in the order of their names; `None` for what is not there.
pub(crate) fn read_chunks(
    reader: &mut Reader,
    state: &State,
    names: &[ChunkName],
) -> Result<Vec<Option<Bytes>>> {
    let mut found: Vec<Option<Bytes>> = vec![None; names.len()];
    let mut astray: Vec<usize> = Vec::new();
    let mut by_place: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        by_place.entry(name.locator).or_default().push(at);
    }
    let mut ahead_to = 0;
    let places: Vec<(u64, u64)> = by_place
        .iter()
        .map(|(place, wanted)| (*place, reach(names, *place, wanted)))
        .collect();
    for (nth, (place, wanted)) in by_place.iter().enumerate() {
        if *place < state.header.start || *place >= state.end {
            astray.extend(wanted);
            continue;
        }
        if *place >= ahead_to {
            ahead_to = together(&places[nth..]).min(state.end);
            reader.bytes(*place, ahead_to - place, Going::Only)?;
        }
        for &at in wanted {
            match read_at(reader, state, *place, &names[at])? {
                There::Chunk(bytes) => found[at] = Some(bytes),
                There::Reclaimed => {}
                There::Elsewhere => astray.push(at),
                There::Damaged(offset) => return Err(damaged(reader, &names[at], offset)),
            }
        }
    }
    if !astray.is_empty() {
        let packs = astray.iter().map(|&at| names[at].pack).collect();
        let places = find_packs(reader, state, packs)?;
        for at in astray {
            let Some(&place) = places.get(&names[at].pack) else {
                continue;
            };
            match read_at(reader, state, place, &names[at])? {
                There::Chunk(bytes) => found[at] = Some(bytes),
                There::Reclaimed => {}
                There::Elsewhere => return Err(damaged(reader, &names[at], place)),
                There::Damaged(offset) => return Err(damaged(reader, &names[at], offset)),
            }
        }
    }
    Ok(found)
}

fn damaged(reader: &Reader, name: &ChunkName, offset: u64) -> chunkpoint_core::Error {
    reader.log().damaged(
        &format!("chunk {} of pack {}", name.ordinal, name.pack),
        offset,
    )
}

/// How far the chunks wanted of one pack probably reach.
fn reach(names: &[ChunkName], place: u64, wanted: &[usize]) -> u64 {
    let last = wanted
        .iter()
        .map(|&at| names[at].ordinal)
        .max()
        .unwrap_or(0);
    let bytes: u64 = wanted.iter().map(|&at| u64::from(names[at].len)).sum();
    // The hints may be anything; what is really longer is read once more.
    let ahead = ALONG
        .saturating_add(u64::from(last) * 7)
        .saturating_add(bytes);
    place.saturating_add(ahead.min(MOST))
}

/// Where a read that starts at the first of these places should end.
fn together(places: &[(u64, u64)]) -> u64 {
    let (from, mut to) = places[0];
    for (place, reach) in &places[1..] {
        if *place > to + NEAR || reach - from > MOST {
            break;
        }
        to = to.max(*reach);
    }
    to
}

fn read_at(reader: &mut Reader, state: &State, place: u64, name: &ChunkName) -> Result<There> {
    let salt = state.header.salt();
    let bytes = reader.bytes(place, MAX_PREFIX as u64, Going::Only)?;
    let Some(prefix) = Prefix::parse(salt, place, &bytes) else {
        return Ok(There::Elsewhere);
    };
    if !matches!(prefix.kind, Kind::Commit | Kind::Pack) {
        return Ok(There::Elsewhere);
    }
    let Some(envelope) = prefix.envelope_len() else {
        return Ok(There::Elsewhere);
    };
    let payload = place + prefix.len as u64;
    let id = reader.bytes(payload, 8, Going::Only)?;
    if id.get(..8) != Some(&name.pack.0[..]) {
        return Ok(There::Elsewhere);
    }
    if state
        .dead
        .get(&place)
        .is_some_and(|dead| dead.binary_search(&name.ordinal).is_ok())
    {
        return Ok(There::Reclaimed);
    }
    // The directory is most often in what was read already; its checksum is
    // not needed where that of the chunk holds.
    let available = reader.bytes(payload, 8, Going::Only)?;
    let available = available.get(..prefix.payload.min(available.len() as u64) as usize);
    let directory = match available.and_then(read_directory) {
        Some((_, directory)) => Some(directory),
        None => {
            let whole = reader.bytes(payload, prefix.payload, Going::Only)?;
            whole
                .get(..prefix.payload as usize)
                .and_then(read_directory)
                .map(|(_, it)| it)
        }
    };
    let slot = directory
        .as_ref()
        .and_then(|directory| directory.0.get(name.ordinal as usize));
    let chunk = match (&directory, slot) {
        (Some(directory), Some(Slot::Here { .. })) => directory
            .present()
            .find(|(ordinal, ..)| *ordinal == name.ordinal),
        _ => None,
    };
    let Some((ordinal, at, len, crc)) = chunk else {
        // Only a directory whose checksum holds may say that there is none.
        let whole = reader.frame(place, Going::Only)?;
        return Ok(if whole.is_some() {
            There::Reclaimed
        } else {
            There::Damaged(place)
        });
    };
    let start = place + envelope + at;
    let bytes = reader.bytes(start, u64::from(len), Going::Only)?;
    match bytes.get(..len as usize) {
        Some(chunk) if chunk_crc(name.pack, ordinal, chunk) == crc => {
            // A copy, so that a small chunk does not keep a whole block.
            Ok(There::Chunk(Bytes::copy_from_slice(chunk)))
        }
        _ => Ok(There::Damaged(start)),
    }
}

/// Finds packs without knowing where they are.
///
/// # Errors
/// `Corrupt` if one may be in a damaged part of the log.
pub(crate) fn find_packs(
    reader: &mut Reader,
    state: &State,
    mut packs: HashSet<PackId>,
) -> Result<HashMap<PackId, u64>> {
    let mut places = HashMap::new();
    let mut from = state.header.start;
    if state.table != 0 {
        let mut rest = HashSet::new();
        for pack in packs {
            match table::find(reader, state.table, pack)? {
                Some(place) => {
                    places.insert(pack, place);
                }
                None => {
                    rest.insert(pack);
                }
            }
        }
        packs = rest;
        let end = reader
            .frame(state.table, Going::Only)?
            .as_ref()
            .and_then(end_of);
        from = end.ok_or_else(|| reader.log().damaged("the pack table", state.table))?;
    }
    let mut hole = None;
    let mut scan = Scan::new(reader, from, state.end);
    while !packs.is_empty()
        && let Some(met) = scan.next()?
    {
        match met {
            Met::Frame(frame, Event::Commit(commit), _) if packs.remove(&commit.pack) => {
                places.insert(commit.pack, frame.offset);
            }
            Met::Frame(frame, Event::Pack(pack), _) if packs.remove(&pack.pack) => {
                places.insert(pack.pack, frame.offset);
            }
            Met::Frame(..) | Met::Void(..) => {}
            Met::Hole(at, _) | Met::Torn(at) => hole = hole.or(Some(at)),
        }
    }
    match hole {
        Some(at) if !packs.is_empty() => Err(reader.log().damaged("a frame", at)),
        _ => Ok(places),
    }
}
