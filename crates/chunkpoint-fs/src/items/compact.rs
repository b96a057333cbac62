//! Merging a namespace's tail into its sorted part.
//!
//! A new file is built aside from what the old one says at some moment. What was
//! appended to the old one meanwhile becomes the new one's tail, first without the
//! lock, at last with it; then the new file takes the old one's place. A crash leaves
//! one of the two. If many packs are of no use, those in use are copied to a file with
//! the next number, which the new file of items names.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chunkpoint_core::{Applied, Error, Result};

use crate::error::from_io;
use crate::items::entry::Entry;
use crate::items::file::{Header, ItemsFile, Place};
use crate::items::group::put_entries;
use crate::items::node::Builder;
use crate::items::packs::PackFile;
use crate::items::space::Space;
use crate::items::tail::replay;
use crate::store::{Store, hex};
use crate::wait::Wait;

/// What is appended to the old file while the lock is held is at most about so much.
const LOCKED_CATCH_UP: u64 = 256 * 1024;

/// A compaction may be stopped at these points, by a test as a crash would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Built,
    Locked,
    Moved,
    Renamed,
}

/// Has a namespace compacted, if it is time to and nobody does.
pub(crate) fn compact_if_due(store: &Arc<Store>, place: &Place) {
    let due = || -> Result<Option<(Arc<Space>, bool)>> {
        let Some(space) = store.space(place, Wait::Yes)? else {
            return Ok(None);
        };
        let (is_due, packs) = is_due(store, &space)?;
        Ok(is_due.then_some((space, packs)))
    };
    // Whatever keeps it from being looked at is told to those who want something of it.
    let Ok(Some((space, packs))) = due() else {
        return;
    };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    if space.compacting.swap(true, Ordering::AcqRel) {
        return;
    }
    let (store, place) = (store.clone(), place.clone());
    runtime.spawn_blocking(move || {
        if let Err(error) = compact(&store, &place, &space, packs, |_| store.check_open()) {
            tracing::warn!(%error, "{} could not be compacted", place.describe());
        }
        space.compacting.store(false, Ordering::Release);
    });
}

fn is_due(store: &Store, space: &Arc<Space>) -> Result<(bool, bool)> {
    let dead = space.tail(|tail| tail.dead);
    let packs_len = if dead == 0 {
        0
    } else {
        match store.packs(space, Wait::Yes)? {
            Some(packs) => packs.len()?,
            None => 0,
        }
    };
    Ok(space.is_due_for(packs_len))
}

/// Writes a namespace's file anew. `false` if somebody else is doing so, or the file was
/// replaced meanwhile: then nothing was done.
pub(crate) fn compact(
    store: &Store,
    place: &Place,
    space: &Arc<Space>,
    packs: bool,
    stop: impl Fn(Point) -> Result<()>,
) -> Result<bool> {
    space.check()?;
    let building = place.building("items");
    let Some(file) = store.dir.build(&building)? else {
        return Ok(false);
    };
    // Keeps the file locked until it has a place or is gone: nobody else may begin to
    // build under its name before.
    let held = file
        .try_clone()
        .map_err(|error| from_io("compacting", error))?;
    let outcome = (|| {
        let mut moving = match packs {
            true => Move::begin(store, space)?,
            false => None,
        };
        if packs && moving.is_none() {
            return Ok(false);
        }
        let outcome = build(store, place, space, file, moving.as_mut(), &stop);
        if let Some(moving) = moving
            && !matches!(outcome, Ok(true))
        {
            store.dir.remove(&moving.building)?;
        }
        outcome
    })();
    if !matches!(outcome, Ok(true)) {
        // After the rename there is nothing left to remove.
        store.dir.remove(&building)?;
    }
    drop(held);
    outcome
}

fn build(
    store: &Store,
    place: &Place,
    space: &Arc<Space>,
    file: fs::File,
    mut moving: Option<&mut Move>,
    stop: &impl Fn(Point) -> Result<()>,
) -> Result<bool> {
    let old = &space.file.header;
    let (mut done, announced) = space.tail(|tail| (tail.end, tail.announced));
    let packs_len = match store.packs(space, Wait::Yes)? {
        Some(packs) => packs.len()?,
        None => 0,
    };
    let mut header = Header {
        generation: old.generation + 1,
        announced,
        ..old.clone()
    };
    let file = ItemsFile::create(file, place, header.clone(), &store.dir.counters)?;
    let mut builder = Builder::new(&file, Header::len_for(place));
    let mut entries = space.entries(&[], Wait::Yes)?;
    let mut live = 0u64;
    while let Some((key, mut entry)) = entries.next()? {
        for pack in entry.packs_mut() {
            live += pack.len;
            if let Some(moving) = moving.as_deref_mut() {
                *pack = moving.pack(pack)?;
            }
        }
        builder.push(&key, &entry)?;
    }
    (header.root, header.due, header.base_end) = builder.finish()?;
    header.dead = packs_len.saturating_sub(live);
    if let Some(moving) = &moving {
        header.packs = moving.number;
        header.dead = 0;
    }
    stop(Point::Built)?;
    let mut end = header.base_end;
    loop {
        let Some(now) = same(store, place, space)? else {
            return Ok(false);
        };
        if now - done <= LOCKED_CATCH_UP {
            break;
        }
        end = catch_up(space, &file, done, now, end, moving.as_deref_mut())?;
        done = now;
    }
    let _lock = store.lock_place(place)?;
    let Some(now) = same(store, place, space)? else {
        return Ok(false);
    };
    catch_up(space, &file, done, now, end, moving.as_deref_mut())?;
    stop(Point::Locked)?;
    file.write_at(0, &header.encode(place))?;
    // Even where changes are not synced, a rename may not come before the bytes it
    // makes the only copy.
    file.sync()?;
    if let Some(moving) = &moving {
        moving.to.sync()?;
        let name = place.packs(moving.number);
        store.dir.rename(&moving.building, &name)?;
        moving.to.unlock();
        store.dir.force_sync_dir(&place.dir())?;
    }
    stop(Point::Moved)?;
    store.dir.rename(&place.building("items"), &place.items())?;
    store.items.forget(place);
    let unknown = |error: Error| error.applied(Applied::Unknown);
    stop(Point::Renamed).map_err(unknown)?;
    store.items.sync_dir(&store.dir, place).map_err(unknown)?;
    file.unlock();
    if moving.is_some() {
        remove_other_packs(store, place, header.packs);
    }
    Ok(true)
}

/// Where the tail ends now, if the file still is in its place.
fn same(store: &Store, place: &Place, space: &Arc<Space>) -> Result<Option<u64>> {
    let now = store.space(place, Wait::Yes)?;
    let is_same = |now: &Arc<Space>| {
        now.file.identity == space.file.identity && now.file.header == space.file.header
    };
    let Some(now) = now.filter(is_same) else {
        return Ok(None);
    };
    // It may have been opened anew.
    let len = now.tail(|tail| tail.end);
    space.catch_up(len, Wait::Yes)?;
    space.check()?;
    Ok(Some(len))
}

/// Appends what lies in `from..to` of the old file's tail to the new one's at `end`.
fn catch_up(
    space: &Arc<Space>,
    file: &ItemsFile,
    from: u64,
    to: u64,
    end: u64,
    mut moving: Option<&mut Move>,
) -> Result<u64> {
    if from == to {
        return Ok(end);
    }
    let more = replay(&space.file, from, to, Bytes::new(), Wait::Yes)?;
    if more.end != to || more.hole.is_some() {
        return Err(space.file.damaged("an entry", more.end));
    }
    let mut entries: Vec<(Bytes, Entry)> = Vec::with_capacity(more.met.len());
    for met in more.met {
        let slot = met.slot;
        let frame = space.file.frame(slot.offset, slot.len, Wait::Yes)?;
        let Some((key, mut entry)) = super::tail::decode(&frame) else {
            return Err(space.file.damaged("an entry", slot.offset));
        };
        if let Some(moving) = moving.as_deref_mut() {
            for pack in entry.packs_mut() {
                *pack = moving.pack(pack)?;
            }
        }
        entries.push((key, entry));
    }
    let mut out = Vec::new();
    let more = put_entries(&mut out, file, end, &entries);
    file.write_at(end, &out)?;
    Ok(more.end)
}

/// Packs being copied to a file with the next number.
struct Move {
    building: String,
    number: u64,
    from: Arc<PackFile>,
    to: PackFile,
    end: u64,
    /// Where packs went.
    places: HashMap<u64, u64>,
}

impl Move {
    fn begin(store: &Store, space: &Arc<Space>) -> Result<Option<Self>> {
        let place = &space.file.place;
        let Some(from) = store.packs(space, Wait::Yes)? else {
            return Ok(None);
        };
        let building = place.building("packs");
        let Some(file) = store.dir.build(&building)? else {
            return Ok(None);
        };
        let number = space.file.header.packs + 1;
        Ok(Some(Self {
            building,
            number,
            from,
            to: PackFile::new(file, place, number, &store.dir.counters),
            end: 0,
            places: HashMap::new(),
        }))
    }

    /// Where a pack is now; it is copied unless it was.
    fn pack(&mut self, pack: &super::entry::PackAt) -> Result<super::entry::PackAt> {
        if let Some(&offset) = self.places.get(&pack.offset) {
            return Ok(super::entry::PackAt { offset, ..*pack });
        }
        let moved = self.to.copy(self.end, &self.from, pack)?;
        self.places.insert(pack.offset, moved.offset);
        self.end += moved.len;
        Ok(moved)
    }
}

/// Removes the packs that a file of items does not name any more.
fn remove_other_packs(store: &Store, place: &Place, number: u64) {
    let (dir, kept) = (place.dir(), place.packs(number));
    let Ok(entries) = fs::read_dir(store.dir.path(&dir)) else {
        return;
    };
    let start = format!("{}.", hex(&place.key));
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = format!("{dir}/{name}");
        if name.starts_with(&start)
            && name.ends_with(".packs")
            && path != kept
            && let Err(error) = store.dir.remove(&path)
        {
            // The next that moves packs removes it.
            tracing::warn!(%error, "packs of no use stay for now");
        }
    }
}

#[cfg(test)]
mod tests;
