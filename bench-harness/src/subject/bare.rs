//! Bare storage, files or memory, and a hand that moves bytes there.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chunkpoint_core::backend::Durability;

use super::Store;
use super::store::Heaps;
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::workload::Rng;

/// Bytes made ready before anything is timed; more than most operations take.
const USUAL: usize = 64 << 10;
/// Files that a hand keeps open.
const MOST_FILES: usize = 256;

/// A place for bytes, and what was moved there.
#[derive(Debug)]
pub(super) struct Bare {
    place: Place,
    io: Mutex<Io>,
}

#[derive(Debug)]
enum Place {
    Files {
        directory: PathBuf,
        durability: Durability,
    },
    Memory(Heaps),
}

impl Bare {
    pub(super) fn open(store: &Store) -> Result<Arc<Self>> {
        let place = match store {
            Store::File {
                directory,
                durability,
            } => {
                std::fs::create_dir_all(directory)
                    .map_err(|e| Error::io("create", directory, e))?;
                Place::Files {
                    directory: directory.clone(),
                    durability: *durability,
                }
            }
            Store::Memory { heaps, .. } => Place::Memory(heaps.clone()),
            Store::Sql { .. } | Store::Redis { .. } | Store::MongoDb { .. } | Store::Own { .. } => {
                let message = "bare files are no floor for a database";
                return Err(Error::Cell(message.into()));
            }
        };
        Ok(Arc::new(Self {
            place,
            io: Mutex::default(),
        }))
    }

    pub(super) fn io(&self) -> Io {
        *self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, moved: impl FnOnce(&mut Io)) {
        moved(&mut self.io.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What moves bytes: to and from numbered files, or numbered values in memory.
#[derive(Debug)]
pub(super) struct Hand {
    bare: Arc<Bare>,
    files: HashMap<u32, File>,
    /// What the engine moved for the operation that comes next.
    pub(super) moved: Io,
    noise: Noise,
    /// What is read goes here.
    buffer: Vec<u8>,
}

/// Bytes that do not compress, as what the engine stores does not.
#[derive(Debug)]
pub(super) struct Noise {
    seed: u64,
    bytes: Vec<u8>,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        let bytes = Vec::new();
        let mut noise = Self { seed, bytes };
        noise.bytes(USUAL);
        noise
    }

    /// So many bytes; the same each time.
    pub(super) fn bytes(&mut self, len: usize) -> &[u8] {
        let rng = &mut Rng::at(&[self.seed, self.bytes.len() as u64]);
        while self.bytes.len() < len {
            self.bytes.extend_from_slice(&rng.bits().to_le_bytes());
        }
        &self.bytes[..len]
    }
}

impl Hand {
    fn new(bare: Arc<Bare>, seed: u64) -> Self {
        Self {
            bare,
            files: HashMap::new(),
            moved: Io::default(),
            noise: Noise::new(seed),
            buffer: vec![0; USUAL],
        }
    }

    /// Appends `bytes` bytes and makes them durable.
    pub(super) fn append(&mut self, number: u32, bytes: usize) -> Result<()> {
        let bare = self.bare.clone();
        let mut syncs = 0;
        match &bare.place {
            Place::Memory(heaps) => {
                let mut heaps = heaps.lock().unwrap_or_else(PoisonError::into_inner);
                heaps
                    .entry(number)
                    .or_default()
                    .extend_from_slice(self.noise.bytes(bytes));
            }
            Place::Files {
                directory,
                durability,
            } => {
                let path = directory.join(format!("{number}.log"));
                let durable = *durability >= Durability::Disk;
                let failed = |e| Error::io("append to", &path, e);
                let is_new = !self.files.contains_key(&number) && !path.exists();
                self.noise.bytes(bytes);
                self.file(number)?;
                if is_new && durable {
                    // The file's name must survive as well.
                    File::open(directory)
                        .and_then(|d| d.sync_all())
                        .map_err(failed)?;
                    syncs += 1;
                }
                let file = self.files.get_mut(&number).ok_or_else(lost)?;
                file.write_all(self.noise.bytes(bytes)).map_err(failed)?;
                if durable {
                    file.sync_data().map_err(failed)?;
                    syncs += 1;
                }
            }
        }
        bare.count(|io| {
            io.writes += 1;
            io.bytes_written += bytes as u64;
            io.syncs += syncs;
        });
        Ok(())
    }

    /// A file, opened if it is not.
    fn file(&mut self, number: u32) -> Result<&mut File> {
        let Place::Files { directory, .. } = &self.bare.place else {
            return Err(Error::Cell("memory has no files".into()));
        };
        if !self.files.contains_key(&number) {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            let path = directory.join(format!("{number}.log"));
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).read(true).open(&path);
            let file = file.map_err(|e| Error::io("open", &path, e))?;
            self.files.insert(number, file);
        }
        self.files.get_mut(&number).ok_or_else(lost)
    }

    /// Reads `bytes` in `calls` calls, from the end of what there is; from its start
    /// again where that is less.
    pub(super) fn take(&mut self, number: u32, bytes: u64, calls: u64) -> Result<u64> {
        let bare = self.bare.clone();
        let calls = calls.max(1);
        let each = bytes.div_ceil(calls);
        if self.buffer.len() < each as usize {
            self.buffer.resize(each as usize, 0);
        }
        let parts = (0..calls).map(|call| each.min(bytes.saturating_sub(call * each)) as usize);
        let mut read = 0;
        match &bare.place {
            Place::Memory(heaps) => {
                let heaps = heaps.lock().unwrap_or_else(PoisonError::into_inner);
                let held = heaps.get(&number).map_or(&[][..], Vec::as_slice);
                for part in parts {
                    let from = held.len().saturating_sub(part);
                    self.buffer[..held.len() - from].copy_from_slice(&held[from..]);
                    read += (held.len() - from) as u64;
                }
            }
            Place::Files { directory, .. } => {
                let path = directory.join(format!("{number}.log"));
                let failed = |e| Error::io("read", &path, e);
                let mut buffer = std::mem::take(&mut self.buffer);
                let file = self.file(number)?;
                let length = file.metadata().map_err(failed)?.len();
                let mut offset = length.saturating_sub(bytes);
                for part in parts {
                    if offset + part as u64 > length {
                        offset = 0;
                    }
                    read += read_at(file, &mut buffer[..part], offset).map_err(failed)?;
                    offset += part as u64;
                }
                self.buffer = buffer;
            }
        }
        bare.count(|io| {
            io.reads += calls;
            io.bytes_read += read;
        });
        Ok(read)
    }

    /// Reads what the engine read: bytes that were, and that should have been.
    pub(super) fn repeat(&mut self, number: u32) -> Result<(u64, u64)> {
        let Io {
            bytes_read: expected,
            reads: calls,
            ..
        } = self.moved;
        // The engine may know without reading that there is nothing.
        let read = match calls {
            0 => 0,
            calls => self.take(number, expected, calls)?,
        };
        Ok((read, expected))
    }
}

fn lost() -> Error {
    Error::Cell("a file of the floor was not kept".into())
}

/// Reads as much of `buffer` as the file has at `offset`.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done as u64)
}

/// Reads as much of `buffer` as the file has at `offset`.
#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<u64> {
    use std::os::windows::fs::FileExt;
    let mut done = 0;
    while done < buffer.len() {
        match file.seek_read(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done as u64)
}

/// A hand between two operations, which take it with them.
#[derive(Debug)]
pub(super) struct Idle {
    hand: Mutex<Option<Hand>>,
    took: Mutex<Option<Duration>>,
}

impl Idle {
    pub(super) fn new(bare: &Arc<Bare>, seed: u64) -> Self {
        Self {
            hand: Mutex::new(Some(Hand::new(bare.clone(), seed))),
            took: Mutex::new(None),
        }
    }

    /// What the engine moved for the operation that comes next.
    pub(super) fn follow(&self, moved: Io) {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hand) = &mut *hand {
            hand.moved = moved;
        }
    }

    /// What the last operation's system calls took, without the hand-over.
    pub(super) fn bare(&self) -> Option<Duration> {
        *self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does an operation; on files, as one blocking task.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hand) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lost = || Error::Cell("an operation of the floor was stopped".into());
        let hand = self
            .hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut hand = hand.ok_or_else(lost)?;
        let blocks = matches!(hand.bare.place, Place::Files { .. });
        let operation = move || {
            let start = Instant::now();
            let outcome = work(&mut hand);
            (hand, outcome, start.elapsed())
        };
        let (hand, outcome, took) = if blocks {
            tokio::task::spawn_blocking(operation)
                .await
                .map_err(|_| lost())?
        } else {
            operation()
        };
        *self.hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(hand);
        *self.took.lock().unwrap_or_else(PoisonError::into_inner) = blocks.then_some(took);
        outcome
    }
}
