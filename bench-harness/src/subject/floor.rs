//! Bare storage moving the bytes that an engine moves.
//!
//! A commit is one append of exactly as many bytes as the engine beside it wrote
//! for that step, made durable as it was; a read takes as many bytes in as many
//! calls. As in any asynchronous program, an operation on files is one blocking
//! task of the runtime. What its system calls alone took, without the hand-over to
//! another thread, is told beside it: no asynchronous program can do with less.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chunkpoint_core::backend::Durability;

use super::store::Heaps;
use super::{Answer, Change, Session, Store, Subject};
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::workload::{Conversation, Rng};

/// Bytes made ready before anything is timed; more than most commits take.
const USUAL: usize = 64 << 10;

/// The floor.
#[derive(Debug)]
pub(super) struct Floor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
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

impl Floor {
    pub(super) fn open(store: &Store) -> Result<Self> {
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
        };
        let shared = Shared {
            place,
            io: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

#[async_trait]
impl Subject for Floor {
    fn session(&self, number: u32, _: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        let mut thread = Thread {
            shared: self.shared.clone(),
            number,
            file: None,
            puts: 0,
            moved: Io::default(),
            buffer: Vec::new(),
        };
        thread.fill(USUAL);
        Ok(Box::new(Idle {
            thread: Some(thread),
            bare: None,
        }))
    }

    fn io(&self) -> Io {
        *self
            .shared
            .io
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn maintain(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A thread between two operations, which take it with them.
struct Idle {
    thread: Option<Thread>,
    bare: Option<Duration>,
}

struct Thread {
    shared: Arc<Shared>,
    number: u32,
    file: Option<File>,
    puts: usize,
    /// What the engine moved for the operation that comes next.
    moved: Io,
    /// Bytes that do not compress, as what the engine stores does not.
    buffer: Vec<u8>,
}

impl Thread {
    fn fill(&mut self, bytes: usize) {
        let rng = &mut Rng::at(&[u64::from(self.number), self.buffer.len() as u64]);
        while self.buffer.len() < bytes {
            self.buffer.extend_from_slice(&rng.bits().to_le_bytes());
        }
    }

    fn append(&mut self, bytes: usize) -> Result<()> {
        let shared = self.shared.clone();
        self.fill(bytes);
        let mut syncs = 0;
        match &shared.place {
            Place::Memory(heaps) => {
                let mut heaps = heaps.lock().unwrap_or_else(PoisonError::into_inner);
                heaps
                    .entry(self.number)
                    .or_default()
                    .extend_from_slice(&self.buffer[..bytes]);
            }
            Place::Files {
                directory,
                durability,
            } => {
                let path = directory.join(format!("{}.log", self.number));
                let durable = *durability >= Durability::Disk;
                let failed = |e| Error::io("append to", &path, e);
                let file = match &mut self.file {
                    Some(file) => file,
                    slot => {
                        let mut options = OpenOptions::new();
                        let file = options.create(true).append(true).read(true).open(&path);
                        let file = slot.insert(file.map_err(failed)?);
                        if durable {
                            // The file's name must survive as well.
                            File::open(directory)
                                .and_then(|d| d.sync_all())
                                .map_err(failed)?;
                            syncs += 1;
                        }
                        file
                    }
                };
                file.write_all(&self.buffer[..bytes]).map_err(failed)?;
                if durable {
                    file.sync_data().map_err(failed)?;
                    syncs += 1;
                }
            }
        }
        let mut io = shared.io.lock().unwrap_or_else(PoisonError::into_inner);
        io.writes += 1;
        io.bytes_written += bytes as u64;
        io.syncs += syncs;
        Ok(())
    }

    /// Reads `bytes` in `calls` calls, from the end of what the thread has; from
    /// its start again where that is less.
    fn take(&mut self, bytes: u64, calls: u64) -> Result<u64> {
        let shared = self.shared.clone();
        let calls = calls.max(1);
        let each = bytes.div_ceil(calls);
        if self.buffer.len() < each as usize {
            self.buffer.resize(each as usize, 0);
        }
        let parts = (0..calls).map(|call| each.min(bytes.saturating_sub(call * each)) as usize);
        let mut read = 0;
        match &shared.place {
            Place::Memory(heaps) => {
                let heaps = heaps.lock().unwrap_or_else(PoisonError::into_inner);
                let held = heaps.get(&self.number).map_or(&[][..], Vec::as_slice);
                for part in parts {
                    let from = held.len().saturating_sub(part);
                    self.buffer[..held.len() - from].copy_from_slice(&held[from..]);
                    read += (held.len() - from) as u64;
                }
            }
            Place::Files { directory, .. } => {
                let path = directory.join(format!("{}.log", self.number));
                let failed = |e| Error::io("read", &path, e);
                // A cold load opens its file.
                let file = File::open(&path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                let mut offset = length.saturating_sub(bytes);
                for part in parts {
                    if offset + part as u64 > length {
                        offset = 0;
                    }
                    read += read_at(&file, &mut self.buffer[..part], offset).map_err(failed)?;
                    offset += part as u64;
                }
            }
        }
        let mut io = shared.io.lock().unwrap_or_else(PoisonError::into_inner);
        io.reads += calls;
        io.bytes_read += read;
        Ok(read)
    }

    fn repeat(&mut self) -> Result<Option<Answer>> {
        let Io {
            bytes_read: expected,
            reads: calls,
            ..
        } = self.moved;
        // The engine may know without reading that there is nothing.
        let read = if calls == 0 {
            0
        } else {
            self.take(expected, calls)?
        };
        Ok(Some(Answer::Opaque { read, expected }))
    }
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

impl Idle {
    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Thread) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lost = || Error::Cell("an operation of the floor was stopped".into());
        let mut thread = self.thread.take().ok_or_else(lost)?;
        let blocks = matches!(thread.shared.place, Place::Files { .. });
        let operation = move || {
            let start = Instant::now();
            let outcome = work(&mut thread);
            (thread, outcome, start.elapsed())
        };
        let (thread, outcome, took) = if blocks {
            tokio::task::spawn_blocking(operation)
                .await
                .map_err(|_| lost())?
        } else {
            operation()
        };
        self.thread = Some(thread);
        self.bare = blocks.then_some(took);
        outcome
    }
}

#[async_trait]
impl Session for Idle {
    fn follow(&mut self, moved: Io) {
        if let Some(thread) = &mut self.thread {
            thread.moved = moved;
        }
    }

    fn bare(&self) -> Option<Duration> {
        self.bare
    }

    async fn put(&mut self, _: Change) -> Result<String> {
        self.run(|thread| {
            thread.append(thread.moved.bytes_written as usize)?;
            thread.puts += 1;
            Ok((thread.puts - 1).to_string())
        })
        .await
    }

    async fn latest(&mut self) -> Result<Option<Answer>> {
        self.run(Thread::repeat).await
    }

    async fn tail(&mut self, _: usize) -> Result<Option<Answer>> {
        self.run(Thread::repeat).await
    }

    async fn at(&mut self, _: &str) -> Result<Option<Answer>> {
        Err(Error::Cell("the floor keeps bytes, not states".into()))
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        Err(Error::Cell("the floor keeps bytes, not states".into()))
    }
}
