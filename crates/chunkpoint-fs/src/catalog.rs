//! The catalog of threads: which ids may have a log.
//!
//! `threads.log` is a superset: an id is in it, durably, before the thread's log
//! is, and stays for a while when the thread is deleted. Whoever lists threads
//! looks at the log of each. It is appended to, under a lock of its own, and
//! written anew without the ids that have no log once those are most of it. If
//! it is damaged, what can be read of it and the logs' own headers tell the ids.
//!
//! ```text
//! entry   u32 length, the id, u32 CRC32C of both
//! ```

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chunkpoint_core::types::MAX_ID_BYTES;
use chunkpoint_core::{Error, ErrorKind, Result};

use crate::dir::Dir;
use crate::error::from_io;
use crate::log::{Identity, LogFile, identity};
use crate::lru::Key;
use crate::store::{hex, key_of, log_names};
use crate::wait::Wait;

const NAME: &str = "threads.log";

/// Threads that are remembered as being in it.
const KNOWN: usize = 4096;

/// Between two looks at how many of its ids have no log.
const REWRITE_EVERY: Duration = if cfg!(test) {
    Duration::ZERO
} else {
    Duration::from_secs(60)
};

/// The catalog.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    open: Mutex<Option<Open>>,
    looked: Mutex<Option<Instant>>,
}

/// The catalog's file. While it is open its inode's number is its own, so that
/// one that took its place is told apart.
#[derive(Debug)]
struct Open {
    file: File,
    identity: Identity,
    /// Up to here this process has seen whole entries.
    whole: u64,
    /// Threads that this process added to it.
    known: HashSet<Key>,
    /// Whether this process has synced its entry in the root.
    settled: bool,
}

/// What a page of thread ids is taken from.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// Only ids that start with this.
    pub(crate) prefix: &'a str,
    /// Only ids after this.
    pub(crate) after: Option<&'a str>,
    /// At most so many, the smallest.
    pub(crate) limit: usize,
}

impl Page<'_> {
    fn take(&self, ids: &mut BTreeSet<Arc<str>>, id: &str) {
        let wanted = id.starts_with(self.prefix) && self.after.is_none_or(|after| id > after);
        let full = ids.len() >= self.limit;
        if !wanted || (full && ids.last().is_some_and(|last| **last <= *id)) {
            return;
        }
        ids.insert(id.into());
        if ids.len() > self.limit {
            ids.pop_last();
        }
    }
}

impl Catalog {
    fn slot(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a thread. It is there when this returns, as durably as was asked
    /// for.
    ///
    /// What the thread's log is built in has to be in `trash` by then, under a
    /// name that begins with the thread's key, and to stay until the log is in
    /// its place: else a rewrite takes the thread for deleted.
    pub(crate) fn add(&self, dir: &Dir, thread: &str) -> Result<()> {
        let _lock = dir.lock_catalog()?;
        let failed = |error| from_io("adding to the catalog of threads", error);
        let mut slot = self.slot();
        let mut open = match current(dir, slot.take()).map_err(failed)? {
            Checked::Whole(open) => open,
            Checked::Damaged(open) => rebuild(dir, &open.file)?,
        };
        let key = key_of(thread);
        if open.known.contains(&key) {
            *slot = Some(open);
            return Ok(());
        }
        let entry = encode(thread);
        dir.counters.wrote(entry.len());
        if let Err(error) = (&open.file)
            .seek(SeekFrom::Start(open.whole))
            .and_then(|_| (&open.file).write_all(&entry))
        {
            // If this fails as well, the next that comes cuts it.
            let _ = open.file.set_len(open.whole);
            return Err(failed(error));
        }
        if dir.syncs() {
            dir.counters.synced();
            open.file.sync_data().map_err(failed)?;
            if !open.settled {
                // Whoever put it there may have been killed before its sync.
                dir.sync_dir("")?;
                open.settled = true;
            }
        }
        open.whole += entry.len() as u64;
        if open.known.len() == KNOWN {
            open.known.clear();
        }
        open.known.insert(key);
        *slot = Some(open);
        Ok(())
    }

    /// The smallest ids of a page.
    pub(crate) fn page(&self, dir: &Dir, page: &Page<'_>) -> Result<Vec<Arc<str>>> {
        let mut ids = BTreeSet::new();
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let failed = |error| from_io("reading the catalog of threads", error);
        match File::open(dir.path(NAME)) {
            Ok(file) => match read_entries(&file, |id| page.take(&mut ids, id)).map_err(failed)? {
                // What is torn was not added yet, or never.
                End::Whole(_) | End::Torn(_) => {}
                End::Damaged(_) => {
                    salvage(&file, |id| page.take(&mut ids, id)).map_err(failed)?;
                    from_headers(dir, |id| page.take(&mut ids, id))?;
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                from_headers(dir, |id| page.take(&mut ids, id))?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(ids.into_iter().collect())
    }

    /// Writes the catalog anew if most of it are threads that are gone. Gives
    /// whether it was.
    pub(crate) fn rewrite(&self, dir: &Dir) -> Result<bool> {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|looked| looked.elapsed() < REWRITE_EVERY) {
                return Ok(false);
            }
            *looked = Some(Instant::now());
        }
        let _lock = dir.lock_catalog()?;
        let failed = |error| from_io("rewriting the catalog of threads", error);
        let mut slot = self.slot();
        let Checked::Whole(open) = current(dir, slot.take()).map_err(failed)? else {
            return Ok(false);
        };
        // A thread that is added has a file here until its log is in place, so
        // one that is in neither, looked at in this order, is gone.
        let mut building = HashSet::new();
        for file in fs::read_dir(dir.path("trash")).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            building.extend(name.to_string_lossy().get(..32).map(str::to_owned));
        }
        let is_live = |id: &str| {
            let key = key_of(id);
            let log = dir.path(&log_names(&key).1);
            building.contains(&hex(&key)) || log.try_exists().unwrap_or(true)
        };
        let (mut entries, mut live) = (0, BTreeSet::<Arc<str>>::new());
        (&open.file).seek(SeekFrom::Start(0)).map_err(failed)?;
        read_entries(&open.file, |id| {
            entries += 1;
            if !live.contains(id) && is_live(id) {
                live.insert(id.into());
            }
        })
        .map_err(failed)?;
        let is_due = entries > live.len() * 2;
        *slot = Some(if is_due {
            write_anew(dir, &live)?
        } else {
            open
        });
        Ok(is_due)
    }

    /// Makes what was added survive the loss of power.
    pub(crate) fn sync(&self, dir: &Dir) -> Result<()> {
        dir.sync_file(NAME)
    }

    /// Lets go of the file.
    pub(crate) fn close(&self) {
        *self.slot() = None;
    }
}

/// The catalog, looked at to its end.
enum Checked {
    Whole(Open),
    Damaged(Open),
}

/// The catalog as it is now, under its lock, without what is torn.
fn current(dir: &Dir, open: Option<Open>) -> io::Result<Checked> {
    let path = dir.path(NAME);
    let there = fs::metadata(&path).ok().map(|there| identity(&there));
    // Elsewhere than on Unix nothing tells one file from another.
    let mut open = match open.filter(|open| cfg!(unix) && there == Some(open.identity)) {
        Some(open) => open,
        None => {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            Open::new(file)?
        }
    };
    let len = open.file.metadata()?.len();
    if open.whole == len {
        return Ok(Checked::Whole(open));
    }
    let from = if open.whole < len { open.whole } else { 0 };
    (&open.file).seek(SeekFrom::Start(from))?;
    match read_entries(&open.file, |_| {})? {
        End::Whole(end) => open.whole = from + end,
        End::Torn(end) => {
            open.whole = from + end;
            open.file.set_len(open.whole)?;
        }
        End::Damaged(_) => return Ok(Checked::Damaged(open)),
    }
    Ok(Checked::Whole(open))
}

impl Open {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            identity: identity(&file.metadata()?),
            file,
            whole: 0,
            known: HashSet::new(),
            settled: false,
        })
    }
}

fn encode(thread: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(thread.len() + 8);
    entry.extend_from_slice(&(thread.len() as u32).to_le_bytes());
    entry.extend_from_slice(thread.as_bytes());
    let crc = crc32c::crc32c(&entry);
    entry.extend_from_slice(&crc.to_le_bytes());
    entry
}

/// The id of an entry, `bytes` long.
fn decode(entry: &[u8]) -> Option<&str> {
    let (fields, crc) = entry.split_last_chunk::<4>()?;
    let (len, id) = fields.split_first_chunk::<4>()?;
    let holds = u32::from_le_bytes(*len) as usize == id.len()
        && crc32c::crc32c(fields).to_le_bytes() == *crc;
    std::str::from_utf8(id).ok().filter(|_| holds)
}

/// How entries end, and where the last whole one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the file.
    Whole(u64),
    /// In one that is not written, or was cut short.
    Torn(u64),
    /// Before bytes that are not what was written.
    Damaged(u64),
}

/// Gives every id from where the file stands, up to the first that is not whole.
fn read_entries(file: impl Read, mut visit: impl FnMut(&str)) -> io::Result<End> {
    let mut file = BufReader::with_capacity(64 * 1024, file);
    let mut entry = Vec::new();
    let mut end = 0;
    loop {
        entry.clear();
        match file.by_ref().take(4).read_to_end(&mut entry)? {
            0 => return Ok(End::Whole(end)),
            4 => {}
            _ => return Ok(End::Torn(end)),
        }
        let len = entry
            .first_chunk()
            .map_or(0, |len| u32::from_le_bytes(*len)) as usize;
        let wanted = len.min(MAX_ID_BYTES) + 4;
        let read = file.by_ref().take(wanted as u64).read_to_end(&mut entry)?;
        if let Some(id) = decode(&entry) {
            visit(id);
            end += entry.len() as u64;
            continue;
        }
        // The file ends in it, unless its length is what changed.
        if len <= MAX_ID_BYTES && read < wanted && !is_mended(&mut entry) {
            return Ok(End::Torn(end));
        }
        // The loss of power leaves zeros.
        let mut lost = entry.iter().all(|byte| *byte == 0);
        while lost {
            entry.clear();
            if file.by_ref().take(4096).read_to_end(&mut entry)? == 0 {
                return Ok(End::Torn(end));
            }
            lost = entry.iter().all(|byte| *byte == 0);
        }
        return Ok(End::Damaged(end));
    }
}

/// Whether one changed bit of the length makes an entry of how `bytes` begin.
fn is_mended(bytes: &mut [u8]) -> bool {
    (0..32).any(|bit| {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let len = bytes
            .first_chunk()
            .map_or(0, |len| u32::from_le_bytes(*len)) as usize;
        let holds = len <= MAX_ID_BYTES && bytes.get(..len + 8).and_then(decode).is_some();
        bytes[bit / 8] ^= 1 << (bit % 8);
        holds
    })
}

/// Gives every id that can be read, over damage.
fn salvage(mut file: &File, visit: impl FnMut(&str)) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    salvage_bytes(&bytes, visit);
    Ok(())
}

fn salvage_bytes(mut rest: &[u8], mut visit: impl FnMut(&str)) {
    while let Some((len, _)) = rest.split_first_chunk() {
        let len = u32::from_le_bytes(*len) as usize;
        let entry = rest.get(..len.saturating_add(8));
        let entry = entry.filter(|_| len <= MAX_ID_BYTES);
        match entry.and_then(|entry| Some((decode(entry)?, entry.len()))) {
            Some((id, len)) => {
                visit(id);
                rest = &rest[len..];
            }
            None => rest = &rest[1..],
        }
    }
}

/// Reads any bytes as a catalog. What is whole before damage must be found over
/// it as well.
pub(crate) fn fuzz(bytes: &[u8]) {
    let (mut first, mut all) = (Vec::new(), Vec::new());
    let end = read_entries(bytes, |id| first.push(id.to_owned()));
    salvage_bytes(bytes, |id| all.push(id.to_owned()));
    assert!(all.starts_with(&first), "an entry was lost");
    if let Ok(End::Whole(len)) = end {
        let again: Vec<u8> = first.iter().flat_map(|id| encode(id)).collect();
        assert!(again == bytes && len == bytes.len() as u64);
    }
}

/// Gives the id of every log there is.
fn from_headers(dir: &Dir, mut visit: impl FnMut(&str)) -> Result<()> {
    let failed = |error| from_io("listing the logs", error);
    let shards = match fs::read_dir(dir.path("t")) {
        Ok(shards) => shards,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for shard in shards {
        for log in fs::read_dir(shard.map_err(failed)?.path()).map_err(failed)? {
            let path = log.map_err(failed)?.path();
            let name = path
                .strip_prefix(dir.root())
                .unwrap_or(&path)
                .display()
                .to_string();
            // A log whose header is damaged has no name to list.
            match LogFile::open(&path, &name, None, &dir.counters, Wait::Yes) {
                Ok(Some(opened)) => visit(&opened.log.header.thread),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "log without a name"),
            }
        }
    }
    Ok(())
}

/// Writes a damaged catalog anew: what can be read of it, as logs may be about to
/// take their places, and the ids in the logs' headers.
fn rebuild(dir: &Dir, damaged: &File) -> Result<Open> {
    tracing::warn!("the catalog of threads is damaged; it is rebuilt with the help of the logs");
    let mut ids = BTreeSet::new();
    salvage(damaged, |id| {
        ids.insert(id.into());
    })
    .map_err(|error| from_io("rebuilding the catalog of threads", error))?;
    from_headers(dir, |id| {
        ids.insert(id.into());
    })?;
    write_anew(dir, &ids)
}

/// Puts another catalog in the place of the one there is.
fn write_anew(dir: &Dir, ids: &BTreeSet<Arc<str>>) -> Result<Open> {
    let failed = |error| from_io("writing the catalog of threads anew", error);
    let aside = "trash/catalog";
    let Some(file) = dir.build(aside)? else {
        // Only a sweep can hold it: the catalog's lock is ours.
        return Err(Error::new(
            ErrorKind::Unavailable,
            "a leftover catalog of threads is being removed",
        )
        .retryable(true));
    };
    let write = || -> Result<Open> {
        let mut out = BufWriter::new(&file);
        for id in ids {
            out.write_all(&encode(id)).map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        drop(out);
        file.sync_all().map_err(failed)?;
        dir.rename(aside, NAME)?;
        dir.sync_dir("")?;
        let mut open = Open::new(file.try_clone().map_err(failed)?).map_err(failed)?;
        open.whole = file.metadata().map_err(failed)?.len();
        open.settled = dir.syncs();
        Ok(open)
    };
    let open = write();
    // In its place it is no longer anybody's.
    let _ = file.unlock();
    if open.is_err() {
        dir.remove(aside)?;
    }
    open
}

#[cfg(test)]
mod tests;
