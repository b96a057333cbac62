//! What all operations share: the directory, the caches, and how a thread is
//! looked at.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chunkpoint_core::Result;

use crate::catalog::Catalog;
use crate::config::FsConfig;
use crate::dir::{Dir, Lock};
use crate::error::{closed, from_io};
use crate::items::Spaces;
use crate::load::{load, replay};
use crate::log::{LogFile, Reader, identity};
use crate::lru::{Key, Lru};
use crate::queue::Queue;
use crate::state::State;
use crate::stats::Counters;
use crate::unsynced::{Unsynced, sync_files};
use crate::wait::Wait;
use crate::writer::Op;

/// Bytes of thread states that are kept.
const STATE_BYTES: usize = 8 * 1024 * 1024;

/// Queues of threads that are kept while nobody waits in them.
const QUEUES: usize = 4096;

/// More than this behind, a state is read anew from the end of the log.
const CATCH_UP: u64 = 256 * 1024;

/// The inside of a backend.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) dir: Dir,
    pub(crate) catalog: Catalog,
    files: Lru<Arc<LogFile>>,
    states: Lru<Arc<State>>,
    pub(crate) queues: Lru<Arc<Queue<Op>>>,
    /// The long-term store.
    pub(crate) items: Spaces,
    marks: Mutex<Marks>,
    /// Logs of threads that were not synced.
    unsynced: Unsynced<Key>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Marks {
    /// Threads that this process is writing to: what their logs have beyond the
    /// published state is not acknowledged.
    writing: HashSet<Key>,
    /// Threads whose log could not be cut back after a failed write.
    poisoned: HashSet<Key>,
    /// Threads with a failed write that was cut off, but may have been seen, and
    /// how far it had come.
    seen: HashMap<Key, u64>,
}

/// A thread as it is now.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) log: Arc<LogFile>,
    pub(crate) state: Arc<State>,
    /// What was read last to find that out; the latest record is often in it.
    block: (u64, Bytes),
    wait: Wait,
}

impl View {
    /// A reader of its log.
    pub(crate) fn reader(&self) -> Reader {
        let (start, block) = self.block.clone();
        Reader::new(self.log.clone(), self.state.end)
            .waiting(self.wait)
            .with_block(start, block)
    }
}

/// The key of a thread.
pub(crate) fn key_of(thread: &str) -> Key {
    let hash = blake3::hash(thread.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    key
}

/// A key as text.
pub(crate) fn hex(key: &Key) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)] as char;
    key.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The directory of a thread's log, and the log, below the root.
pub(crate) fn log_names(key: &Key) -> (String, String) {
    let hex = hex(key);
    (
        format!("t/{}", &hex[..2]),
        format!("t/{}/{hex}.log", &hex[..2]),
    )
}

impl Store {
    pub(crate) fn open(config: &FsConfig) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let dir = Dir::open(&config.path, config.durability, counters)?;
        Ok(Self {
            dir,
            catalog: Catalog::default(),
            files: Lru::new(config.open_files.max(1)),
            states: Lru::new(STATE_BYTES),
            queues: Lru::new(QUEUES),
            items: Spaces::new(config.open_files),
            marks: Mutex::default(),
            unsynced: Unsynced::default(),
            closed: AtomicBool::new(false),
        })
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once the backend is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(closed())
        } else {
            Ok(())
        }
    }

    /// The path of a thread's log.
    pub(crate) fn log_path(&self, key: &Key) -> PathBuf {
        self.dir.path(&log_names(key).1)
    }

    /// A thread as it is now; `None` if it has no log.
    pub(crate) fn view(&self, key: &Key, thread: &str, wait: Wait) -> Result<Option<View>> {
        let path = self.log_path(key);
        let name = log_names(key).1;
        let (log, len, head) = match self.open_log(key, &path, &name)? {
            Some((log, len)) => (log, len, Bytes::new()),
            None => {
                let counters = &self.dir.counters;
                let Some(opened) = LogFile::open(&path, &name, Some(thread), counters, wait)?
                else {
                    self.forget(key);
                    return Ok(None);
                };
                let log = Arc::new(opened.log);
                self.files.insert(*key, log.clone(), 1);
                (log, opened.len, opened.head)
            }
        };
        let known = self
            .states
            .get(key)
            .filter(|state| state.header == log.header && state.end <= len);
        let mut reader = Reader::new(log.clone(), len).waiting(wait);
        let state = match known {
            Some(state) if state.end == len || self.is_writing(key) => state,
            Some(state) if len - state.end <= CATCH_UP => {
                self.publish(*key, replay(State::clone(&state), &mut reader)?)
            }
            _ => {
                reader = reader.with_block(0, head);
                let state = load(&mut reader)?;
                self.publish(*key, state)
            }
        };
        let block = reader.into_block();
        Ok(Some(View {
            log,
            state,
            block,
            wait,
        }))
    }

    /// The log that is open already, and its length, if the path still leads to
    /// it. An open file keeps its directories in memory: this does not wait.
    fn open_log(&self, key: &Key, path: &Path, name: &str) -> Result<Option<(Arc<LogFile>, u64)>> {
        // Elsewhere than on Unix nothing tells.
        let Some(log) = self.files.get(key).filter(|_| cfg!(unix)) else {
            return Ok(None);
        };
        match std::fs::metadata(path) {
            // An inode's number may come back once its file is gone, so it
            // identifies a file only while that is open.
            Ok(metadata) if log.identity == identity(&metadata) => Ok(Some((log, metadata.len()))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(from_io(format_args!("opening {name}"), error)),
        }
    }

    /// Makes a state the one to start from, unless one that knows more of the
    /// same log is there: a slow reader must not take back what was acknowledged
    /// since it began.
    fn publish(&self, key: Key, state: State) -> Arc<State> {
        let weight = state.weight();
        let state = Arc::new(state);
        if state.holes.last().is_some_and(|(_, to)| *to == state.end) {
            // Read without the lock, it may be a log that somebody is cutting
            // and appending to.
            return state;
        }
        self.states
            .insert_unless(key, state.clone(), weight, |there| {
                there.header == state.header && there.end > state.end
            });
        state
    }

    /// Makes another file the log of a thread.
    pub(crate) fn replace(&self, key: Key, log: Arc<LogFile>, state: State) {
        self.files.insert(key, log, 1);
        self.publish(key, state);
    }

    /// Drops what is known of a thread.
    pub(crate) fn forget(&self, key: &Key) {
        self.states.remove(key);
        self.files.remove(key);
    }

    fn is_writing(&self, key: &Key) -> bool {
        self.marks().writing.contains(key)
    }

    /// Marks a thread as being written to until the guard is dropped.
    pub(crate) fn writing(&self, key: Key) -> Writing<'_> {
        self.marks().writing.insert(key);
        Writing { store: self, key }
    }

    /// Refuses writes to a thread until the backend is opened again.
    pub(crate) fn poison(&self, key: Key) {
        self.forget(&key);
        self.marks().poisoned.insert(key);
    }

    /// Remembers how far a write had come that was cut off and may have been
    /// seen; `None` once those who saw it will find out.
    pub(crate) fn set_seen(&self, key: Key, reached: Option<u64>) {
        let seen = &mut self.marks().seen;
        match reached {
            Some(reached) => seen.insert(key, reached),
            None => seen.remove(&key),
        };
    }

    pub(crate) fn seen(&self, key: &Key) -> Option<u64> {
        self.marks().seen.get(key).copied()
    }

    pub(crate) fn is_poisoned(&self, key: &Key) -> bool {
        self.marks().poisoned.contains(key)
    }

    /// Locks a thread against every other writer; fails once the backend is
    /// closed, so that nothing is answered that closing has not synced.
    pub(crate) fn lock(&self, key: &Key) -> Result<Lock<'_>> {
        let lock = self.dir.lock(key)?;
        self.check_open()?;
        Ok(lock)
    }

    /// Makes what was written to a log as durable as was asked for.
    pub(crate) fn make_durable(&self, key: Key, log: &LogFile) -> Result<()> {
        if self.dir.syncs() {
            return log.sync();
        }
        // What is being written may be a log that has no place yet.
        let is_placed = |other: &Key| !self.is_writing(other);
        self.unsynced
            .note(key, is_placed, |keys| self.sync_logs(&keys, HashSet::new()));
        Ok(())
    }

    /// Makes the entries of a directory of logs survive: now or by `close`, as
    /// was asked for.
    pub(crate) fn sync_shard(&self, shard: &str) -> Result<()> {
        self.unsynced.sync_dir(&self.dir, shard)
    }

    /// Syncs what is left to sync, and lets go of everything.
    pub(crate) fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        // Whoever looked before that is done with it after this.
        self.dir.wait_for_writers();
        let synced = self
            .unsynced
            .close(|keys, shards| self.sync_logs(&keys, shards));
        let synced = synced.and(self.items.close(&self.dir));
        self.states.clear();
        self.files.clear();
        self.queues.clear();
        self.catalog.close();
        self.dir.close();
        synced
    }

    /// Syncs logs, the directories that lead to them, and the catalog. All are
    /// tried; the first error is told.
    fn sync_logs(&self, keys: &HashSet<Key>, shards: HashSet<String>) -> Result<()> {
        let names = keys.iter().map(|key| log_names(key).1);
        let logs = sync_files(&self.dir, names, shards, "t");
        let catalog = self.catalog.sync(&self.dir);
        logs.and(catalog).and(self.dir.force_sync_dir(""))
    }
}

/// Marks a thread as being written to.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    store: &'a Store,
    key: Key,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.store.marks().writing.remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
