//! Room: zeros behind the last frame of a log that is written to often.
//!
//! Before an append is durable, the file's new length has to be: on a filesystem with
//! a journal that is a commit of the journal, and takes as long as the bytes
//! themselves. Within zeros that were written and synced before, only the bytes
//! have to reach the disk. So the writer of a log that was written to shortly before
//! writes zeros along now and then, and appends into them.
//!
//! No frame begins with a zero, and nobody leaves a gap of zeros while others know the
//! log. So whoever knows where it ended finds out from one byte whether it goes on.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkpoint_core::Result;

use crate::error::from_io;
use crate::log::{LogFile, fill_at, identity, write_all_at};
use crate::lru::Key;
use crate::store::Store;
use crate::wait::{self, Wait};

/// Most zeros written at once: an eighteenth of the appends of 1.8 KiB pay for the rest.
const MOST: u64 = 32 * 1024;

/// A log gets at most this share of what it has: killed, a process leaves it behind.
const SHARE: u64 = 4;

/// Room ends at a multiple of this, the block of most filesystems.
const BLOCK: u64 = 4096;

/// More than this behind the last frame is not room.
const NEVER: u64 = 2 * MOST;

/// Logs that may have room at once. It is taken back from the one that was not written
/// to for longest.
const LOGS: usize = 64;

impl LogFile {
    /// Whether the log goes on at `end`, where it ended and the file does not.
    pub(crate) fn goes_on(&self, end: u64, wait: Wait) -> Result<bool> {
        let mut byte = [0];
        self.look(end, &mut byte, wait)?;
        Ok(byte[0] != 0)
    }

    /// Fills `bytes` as far as the file goes. As a `stat` would, it finds out what
    /// changed, and is not counted as a read.
    fn look(&self, at: u64, bytes: &mut [u8], wait: Wait) -> Result<()> {
        match wait {
            Wait::No => wait::read_at(self.file(), at, bytes).map(drop),
            Wait::Yes => fill_at(self.file(), at, bytes)
                .map(drop)
                .map_err(|error| from_io(format_args!("reading {}", self.name()), error)),
        }
    }

    /// Whether what lies from `end` to `len`, all of the file, is room. The lock is held.
    ///
    /// What this process has seen to be zeros is not read again but for the first
    /// sector: whatever others wrote begins there.
    pub(crate) fn has_room(&self, end: u64, len: u64) -> Result<bool> {
        if len - end > NEVER {
            return Ok(false);
        }
        let known = self.room.load(Ordering::Relaxed) == len;
        let to = if known { len.min(end + 512) } else { len };
        let mut bytes = vec![1; (to - end) as usize];
        self.look(end, &mut bytes, Wait::Yes)?;
        let zeros = bytes.iter().all(|byte| *byte == 0);
        self.room
            .store(if zeros { len } else { 0 }, Ordering::Relaxed);
        Ok(zeros)
    }

    /// Makes room behind `end`, where the log and the file end, unless there is some. It
    /// is no failure if there can be none.
    pub(crate) fn make_room(&self, end: u64) {
        if end <= self.room.load(Ordering::Relaxed) {
            return;
        }
        let wanted = MOST.min(end / SHARE) / BLOCK * BLOCK;
        if wanted == 0 {
            return;
        }
        let to = (end + wanted).next_multiple_of(BLOCK);
        let zeros = vec![0; (to - end) as usize];
        self.counters().zeroed(zeros.len());
        match write_all_at(self.file(), end, &zeros) {
            Ok(()) => self.room.store(to, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(%error, "no room was made in {}", self.name());
                // Zeros that stay do no harm.
                let _ = self.truncate(end);
            }
        }
    }
}

/// Logs that were written to lately.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<VecDeque<Written>>);

/// A log, and where it ended after the last write.
#[derive(Debug)]
struct Written {
    key: Key,
    log: Arc<LogFile>,
    end: u64,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a log was written to lately, and so is worth room.
    pub(crate) fn is_worth(&self, key: &Key) -> bool {
        self.lock().iter().any(|written| written.key == *key)
    }

    /// Notes that a log was written to. Takes the room back from another, if
    /// there are too many. The lock of `key` is held.
    pub(crate) fn note(&self, store: &Store, key: Key, log: &Arc<LogFile>, end: u64) {
        let written = Written {
            key,
            log: log.clone(),
            end,
        };
        let oldest = {
            let mut recent = self.lock();
            if let Some(at) = recent.iter().position(|written| written.key == key) {
                recent.remove(at);
            }
            recent.push_back(written);
            if recent.len() > LOGS {
                recent.pop_front()
            } else {
                None
            }
        };
        if let Some(oldest) = oldest {
            oldest.trim(store);
        }
    }

    /// Takes all room back.
    pub(crate) fn clear(&self, store: &Store) {
        let all = std::mem::take(&mut *self.lock());
        all.iter().for_each(|written| written.trim(store));
    }
}

impl Written {
    /// Cuts the room off, unless the log is in use or has gone on without us. What stays
    /// does no harm, and whoever writes next uses it.
    fn trim(&self, store: &Store) {
        let len = self.log.room.load(Ordering::Relaxed);
        if len <= self.end {
            return;
        }
        // Another stripe may be held: waiting could be for ever.
        let Ok(Some(_lock)) = store.dir.try_lock(&self.key) else {
            return;
        };
        let is_ours = |metadata: std::fs::Metadata| {
            identity(&metadata) == self.log.identity && metadata.len() == len
        };
        if std::fs::metadata(store.log_path(&self.key)).is_ok_and(is_ours)
            && matches!(self.log.has_room(self.end, len), Ok(true))
            && let Err(error) = self.log.truncate(self.end)
        {
            tracing::debug!(%error, "room was not taken back");
        }
    }
}

#[cfg(test)]
mod tests;
