//! The catalog of threads: which ids may have a log.
//!
//! `threads.log` is append-only and a superset: an id is in it, durably, before
//! the thread's log is, and stays when the thread is deleted. Whoever lists
//! threads looks at the log of each. If it is damaged, the logs' own headers
//! tell the ids.
//!
//! ```text
//! entry   u32 length, the id, u32 CRC32C of both
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chunkpoint_core::Result;
use chunkpoint_core::types::MAX_ID_BYTES;

use crate::dir::Dir;
use crate::error::from_io;
use crate::log::{Identity, LogFile, identity};
use crate::wait::Wait;

const NAME: &str = "threads.log";

/// The catalog. It keeps no file open: it is written once per thread.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Up to here this process has seen whole entries.
    seen: AtomicU64,
    /// The file whose entry in the root this process has synced.
    settled: Mutex<Option<Identity>>,
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
    /// Adds a thread. It is there when this returns, as durably as was asked
    /// for.
    pub(crate) fn add(&self, dir: &Dir, thread: &str) -> Result<()> {
        let _lock = dir.lock_catalog()?;
        let failed = |error| from_io("adding to the catalog of threads", error);
        let path = dir.path(NAME);
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let mut file = open().map_err(failed)?;
        let mut end = file.metadata().map_err(failed)?.len();
        let seen = self.seen.load(Ordering::Relaxed);
        if seen != end {
            let from = if seen < end { seen } else { 0 };
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            if !read_entries(&file, |_| {}).map_err(failed)? {
                // Appended behind a torn entry, the new one could not be read.
                rebuild(dir)?;
                file = open().map_err(failed)?;
                end = file.metadata().map_err(failed)?.len();
            }
        }
        let entry = encode(thread);
        dir.counters.wrote(entry.len());
        if let Err(error) = file
            .seek(SeekFrom::Start(end))
            .and_then(|_| file.write_all(&entry))
        {
            // If this fails as well, the next that comes rebuilds it.
            let _ = file.set_len(end);
            return Err(failed(error));
        }
        if dir.syncs() {
            dir.counters.synced();
            file.sync_data().map_err(failed)?;
            let ours = identity(&file.metadata().map_err(failed)?);
            let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            if *settled != Some(ours) {
                // Whoever put it there may have been killed before its sync.
                dir.sync_dir("")?;
                *settled = Some(ours);
            }
        }
        self.seen.store(end + entry.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The smallest ids of a page.
    pub(crate) fn page(&self, dir: &Dir, page: &Page<'_>) -> Result<Vec<Arc<str>>> {
        let mut ids = BTreeSet::new();
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let failed = |error| from_io("reading the catalog of threads", error);
        let whole = match File::open(dir.path(NAME)) {
            Ok(file) => read_entries(file, |id| page.take(&mut ids, id)).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        if !whole {
            from_headers(dir, |id| page.take(&mut ids, id))?;
        }
        Ok(ids.into_iter().collect())
    }

    /// Makes what was added survive the loss of power.
    pub(crate) fn sync(&self, dir: &Dir) -> Result<()> {
        dir.sync_file(NAME)
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

/// Gives every id from where the file stands. `false` if it ends in anything
/// but a whole entry.
fn read_entries(file: impl Read, mut visit: impl FnMut(&str)) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(64 * 1024, file);
    let mut entry = Vec::new();
    loop {
        entry.clear();
        if file.by_ref().take(4).read_to_end(&mut entry)? == 0 {
            return Ok(true);
        }
        let Ok(len) = <[u8; 4]>::try_from(&entry[..]) else {
            return Ok(false);
        };
        let len = u32::from_le_bytes(len) as usize;
        if len > MAX_ID_BYTES {
            return Ok(false);
        }
        file.by_ref().take(len as u64 + 4).read_to_end(&mut entry)?;
        let Some((fields, crc)) = entry.split_at_checked(4 + len) else {
            return Ok(false);
        };
        if crc32c::crc32c(fields).to_le_bytes() != crc {
            return Ok(false);
        }
        match std::str::from_utf8(&fields[4..]) {
            Ok(id) => visit(id),
            Err(_) => return Ok(false),
        }
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

/// Writes the catalog anew, from the logs' headers.
fn rebuild(dir: &Dir) -> Result<()> {
    let failed = |error| from_io("rebuilding the catalog of threads", error);
    tracing::warn!("the catalog of threads is damaged; it is rebuilt from the logs");
    let aside = "trash/catalog";
    let file = File::create(dir.path(aside)).map_err(failed)?;
    let mut out = BufWriter::new(&file);
    let mut written = Ok(());
    from_headers(dir, |id| {
        if written.is_ok() {
            written = out.write_all(&encode(id));
        }
    })?;
    written.and_then(|()| out.flush()).map_err(failed)?;
    drop(out);
    file.sync_all().map_err(failed)?;
    dir.rename(aside, NAME)?;
    dir.sync_dir("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_whole_or_are_told() {
        let mut bytes = encode("a");
        bytes.extend(encode("../ü"));
        let mut ids = Vec::new();
        assert!(read_entries(&bytes[..], |id| ids.push(id.to_owned())).unwrap());
        assert_eq!(ids, ["a", "../ü"]);
        for len in (1..bytes.len()).filter(|len| *len != 9) {
            assert!(!read_entries(&bytes[..len], |_| {}).unwrap(), "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!read_entries(&bytes[..], |_| {}).unwrap(), "bit {bit}");
        }
    }
}
