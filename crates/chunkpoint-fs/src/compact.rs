//! Rewriting a log: compaction, and copies of threads.
//!
//! A new log is built aside from what the old one says at some moment: condemned
//! packs that still have chunks, then records by ascending id with their pending
//! writes, then the pack table. What was appended to the old log meanwhile is
//! done again on the new one, first without the lock, at last with it; then the
//! new file takes the old one's place. A crash leaves one of the two.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{Incarnation, PackId};
use chunkpoint_core::{Applied, Error, ErrorKind, Result, quote};

use crate::append::{Appender, NewChunk, NewRecord};
use crate::condemned::visit;
use crate::error::from_io;
use crate::log::{Going, LogFile, Reader};
use crate::lru::Key;
use crate::merge::Merge;
use crate::payload::{Alter, Change, Commit, Directory, Reclaim, read_directory};
use crate::row::{read_calls, read_commit_and_tail};
use crate::scan::{Met, Scan};
use crate::state::{Event, Header, State};
use crate::store::{Store, View, hex, log_names};
use crate::wait::Wait;

/// What is appended to the old log while the lock is held is at most about so
/// much.
const LOCKED_CATCH_UP: u64 = 256 * 1024;

/// Chunks that are to be left out: by the frame of their pack, sorted ordinals.
pub(crate) type Dead = HashMap<u64, Vec<u32>>;

/// A log being built from another.
struct Build {
    target: Appender,
    /// Where packs went.
    packs: HashMap<PackId, u64>,
}

/// A compaction may be stopped at these points: because nobody waits for it any
/// more, or by a test, as a crash would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Copied,
    Locked,
    Synced,
    Renamed,
}

/// Rewrites a thread's log without what is dead. `None` if somebody else is
/// doing so, or the log was replaced or cut meanwhile: then nothing was done.
pub(crate) fn compact(
    store: &Store,
    key: Key,
    thread: &Arc<str>,
    view: &View,
    dead: &Dead,
    before_ms: u64,
    stop: impl Fn(Point) -> Result<()>,
) -> Result<Option<u64>> {
    let building = format!("trash/{}.compact", hex(&key));
    let Some(file) = store.dir.build(&building)? else {
        return Ok(None);
    };
    // Keeps the file locked until it has a place or is gone: nobody else may
    // begin to build under its name before.
    let held = file
        .try_clone()
        .map_err(|error| from_io("compacting", error))?;
    let name = log_names(&key).1;
    let header = Header {
        generation: view.state.header.generation + 1,
        ..Header::clone(&view.state.header)
    };
    let outcome = (|| {
        let log = LogFile::create(file, &name, header.clone(), &store.dir.counters)?;
        let mut build = Build::new(Arc::new(log), header);
        build.copy(view, dead, Some(before_ms))?;
        stop(Point::Copied)?;
        // The old log as it is now, if it is still the thread's.
        let look = || -> Result<Option<View>> {
            let now = store.view(&key, thread, Wait::Yes)?;
            Ok(now.filter(|now| same_log(now, view)))
        };
        let mut copied = view.state.end;
        loop {
            let Some(now) = look()? else {
                return Ok(None);
            };
            if now.state.end.saturating_sub(copied) <= LOCKED_CATCH_UP {
                break;
            }
            if !build.catch_up(&now, copied)? {
                return Ok(None);
            }
            copied = now.state.end;
        }
        // Nearly all of it goes to the disk before others have to wait for it.
        build.target.write_out()?;
        build.target.log.sync()?;
        let _lock = store.lock(&key)?;
        let Some(now) = look()? else {
            return Ok(None);
        };
        if !build.catch_up(&now, copied)? {
            return Ok(None);
        }
        stop(Point::Locked)?;
        build.target.snapshot();
        build.target.write_out()?;
        // Even where commits are not synced, a rename may not come before the
        // bytes it makes the only copy.
        build.target.log.sync()?;
        stop(Point::Synced)?;
        store.dir.rename(&building, &name)?;
        let unknown = |error: Error| {
            store.forget(&key);
            error.applied(Applied::Unknown)
        };
        stop(Point::Renamed).map_err(unknown)?;
        store.sync_shard(&log_names(&key).0).map_err(unknown)?;
        build.target.log.unlock();
        let end = build.target.state.end;
        store.replace(key, build.target.log, build.target.state);
        Ok(Some(end))
    })();
    if !matches!(outcome, Ok(Some(_))) {
        // After the rename there is nothing left to remove.
        store.dir.remove(&building)?;
    }
    drop(held);
    outcome
}

fn same_log(now: &View, then: &View) -> bool {
    now.state.header == then.state.header && now.log.identity == then.log.identity
}

/// Builds a copy of a thread under another name and incarnation, in the file
/// `building`, and gives its log and state.
pub(crate) fn copy(
    store: &Store,
    source: &View,
    building: &str,
    target: &Arc<str>,
    key: &Key,
    fresh: Incarnation,
) -> Result<(Arc<LogFile>, State)> {
    let file = store.dir.build(building)?.ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("another copy to {} is under way", quote(target)),
        )
    })?;
    let header = Header {
        generation: 1,
        incarnation: fresh,
        base_ms: source.state.header.base_ms,
        thread: target.clone(),
        start: Header::len_for(target),
    };
    let name = log_names(key).1;
    let log = LogFile::create(file, &name, header.clone(), &store.dir.counters)?;
    let mut build = Build::new(Arc::new(log), header);
    build.copy(source, &Dead::new(), None)?;
    build.target.snapshot();
    build.target.write_out()?;
    if store.dir.syncs() {
        build.target.log.sync()?;
    }
    Ok((build.target.log.clone(), build.target.state))
}

/// Of a record to be copied, what has to be remembered until its turn comes.
struct Copied {
    ns: u32,
    id: Arc<str>,
    loc: u64,
    writes: u64,
    hidden: bool,
    pinned: bool,
}

impl Build {
    fn new(log: Arc<LogFile>, header: Header) -> Self {
        Self {
            target: Appender::new(log, State::new(header)),
            packs: HashMap::new(),
        }
    }

    /// Copies all that is live in `view`, without a state behind it.
    fn copy(&mut self, view: &View, dead: &Dead, orphans_ms: Option<u64>) -> Result<()> {
        let mut reader = view.reader();
        let mut condemned = Vec::new();
        visit(&mut reader, &view.state, |mut pack| {
            pack.dead.extend(dead.get(&pack.loc).into_iter().flatten());
            pack.dead.sort_unstable();
            if pack.live().next().is_some() {
                condemned.push((pack.loc, pack.time_ms, pack.dead));
            }
            Ok(())
        })?;
        condemned.sort_unstable();
        for (loc, time_ms, dead) in condemned {
            self.copy_condemned(&mut reader, loc, time_ms, &dead)?;
        }
        let mut records = Vec::new();
        let mut merge = Merge::new(&mut reader, &view.state, None, None);
        while let Some(next) = merge.next(&mut reader, &view.state) {
            let (ns, found) = next?;
            records.push(Copied {
                ns,
                id: found.id,
                loc: found.loc,
                writes: found.writes,
                hidden: found.hidden,
                pinned: found.pinned,
            });
        }
        for record in records.into_iter().rev() {
            self.copy_record(&mut reader, &view.state, record)?;
        }
        for (ns, id, loc) in Appender::orphans(&view.state) {
            let namespace = view.state.namespaces[ns as usize].name.clone();
            self.copy_writes(&mut reader, &namespace, &id, loc, orphans_ms)?;
        }
        let mut entries: Vec<(PackId, u64)> =
            self.packs.iter().map(|(pack, loc)| (*pack, *loc)).collect();
        entries.sort_unstable();
        if !entries.is_empty() {
            self.target.table(&entries);
        }
        self.target.write_out()
    }

    fn copy_condemned(
        &mut self,
        reader: &mut Reader,
        loc: u64,
        time_ms: u64,
        dead: &[u32],
    ) -> Result<()> {
        let (pack, directory, tail) = read_pack(reader, loc, Going::Forward)?;
        let chunks = read_tail(reader, tail, &directory, dead)?;
        let to = self.target.pack(pack, chunks, time_ms);
        self.packs.insert(pack, to);
        self.target.between()
    }

    fn copy_record(&mut self, reader: &mut Reader, state: &State, copied: Copied) -> Result<()> {
        let (mut commit, tail) = read_commit_and_tail(reader, copied.loc, Going::Forward)?;
        (commit.hidden, commit.pinned) = (copied.hidden, copied.pinned);
        let namespace = state.namespaces[copied.ns as usize].name.clone();
        self.append_record(reader, &namespace, commit, tail)?;
        self.copy_writes(reader, &namespace, &copied.id, copied.writes, None)?;
        self.target.between()
    }

    fn append_record(
        &mut self,
        reader: &mut Reader,
        namespace: &Arc<str>,
        commit: Commit,
        tail: u64,
    ) -> Result<()> {
        let chunks = read_tail(reader, tail, &commit.directory, &[])?;
        let pack = commit.pack;
        let to = self.target.record(NewRecord {
            namespace: namespace.clone(),
            id: commit.id,
            pack,
            index: commit.index,
            body: commit.body,
            chunks,
            hidden: commit.hidden,
            pinned: commit.pinned,
        })?;
        self.packs.insert(pack, to);
        Ok(())
    }

    /// Copies the chain of writes that ends at `loc`, oldest first, without
    /// those that came by `before_ms`.
    fn copy_writes(
        &mut self,
        reader: &mut Reader,
        namespace: &Arc<str>,
        id: &Arc<str>,
        loc: u64,
        before_ms: Option<u64>,
    ) -> Result<()> {
        for call in read_calls(reader, loc)? {
            if before_ms.is_none_or(|before| call.time_ms > before) {
                self.target
                    .writes(namespace, id, call.write_id, call.time_ms, call.writes)?;
            }
        }
        Ok(())
    }

    /// Does again what was appended to the old log from `from` on. `false` if a
    /// write was cut off meanwhile that may have been copied.
    fn catch_up(&mut self, now: &View, from: u64) -> Result<bool> {
        if now.state.end < from {
            return Ok(false);
        }
        let mut reader = now.reader();
        let mut tails = now.reader();
        let mut scan = Scan::new(&mut reader, from, now.state.end);
        let name = |ns: u32| {
            let space = now.state.namespaces.get(ns as usize);
            space.map(|space| space.name.clone()).unwrap_or_default()
        };
        while let Some(met) = scan.next()? {
            let (frame, event) = match met {
                Met::Frame(frame, event, _) => (frame, event),
                Met::Void(..) => return Ok(false),
                Met::Hole(at, _) | Met::Torn(at) => return Err(now.log.damaged("a frame", at)),
            };
            match event {
                Event::Commit(commit) => {
                    let namespace = name(commit.ns.index);
                    self.append_record(&mut tails, &namespace, commit, frame.tail)?;
                }
                Event::Writes(call) => {
                    let namespace = name(call.ns.index);
                    let writes = call.writes;
                    self.target.writes(
                        &namespace,
                        &call.id,
                        call.write_id,
                        call.time_ms,
                        writes,
                    )?;
                }
                Event::Alter(alter) => self.alter_again(alter, &name)?,
                Event::Reclaim(reclaim) => {
                    let mut dead = Vec::new();
                    for (loc, ordinals) in reclaim.dead {
                        let (pack, ..) = read_pack(&mut tails, loc, Going::Backward)?;
                        // One that was not copied has no chunks left to lose.
                        if let Some(to) = self.packs.get(&pack) {
                            dead.push((*to, ordinals));
                        }
                    }
                    let orphans = reclaim
                        .orphans
                        .into_iter()
                        .filter_map(|(ns, id)| Some((self.target.state.ns(&name(ns))?.0, id)))
                        .collect();
                    let garbage = reclaim.garbage;
                    self.target.reclaim(Reclaim {
                        garbage,
                        dead,
                        orphans,
                    });
                }
                Event::Pack(_) | Event::State | Event::Table => {}
            }
            self.target.between()?;
        }
        Ok(true)
    }

    fn alter_again(&mut self, alter: Alter, name: &impl Fn(u32) -> Arc<str>) -> Result<()> {
        for change in alter.changes {
            let Some((ns, found)) = self.target.locate(&name(change.ns), &change.id)? else {
                continue;
            };
            self.target
                .change(alter.time_ms, vec![Change::of(ns, &found, change.action)]);
        }
        Ok(())
    }
}

/// A pack's id, which chunks it has, and where they begin.
fn read_pack(reader: &mut Reader, loc: u64, going: Going) -> Result<(PackId, Directory, u64)> {
    let frame = reader.frame(loc, going)?;
    frame
        .and_then(|frame| {
            let (pack, directory) = read_directory(&frame.payload)?;
            Some((pack, directory, frame.tail))
        })
        .ok_or_else(|| reader.log().damaged("a pack", loc))
}

/// The chunks behind a frame, with the checksums they have there: what is
/// damaged is copied as damaged, and found out when it is read.
fn read_tail(
    reader: &mut Reader,
    tail: u64,
    directory: &Directory,
    dead: &[u32],
) -> Result<Vec<NewChunk>> {
    let mut chunks = vec![NewChunk::Gone; directory.0.len()];
    for (ordinal, at, len, crc) in directory.present() {
        if dead.binary_search(&ordinal).is_err() {
            let bytes = reader.bytes(tail + at, u64::from(len), Going::Forward)?;
            let bytes = bytes
                .get(..len as usize)
                .ok_or_else(|| reader.log().damaged("a chunk", tail + at))?;
            chunks[ordinal as usize] = NewChunk::Copied(Bytes::copy_from_slice(bytes), crc);
        }
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests;
