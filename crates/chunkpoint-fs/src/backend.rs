//! [`FsBackend`]: the operations of the trait, each as one blocking task.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::backend::{
    Alter, Altered, Capabilities, CheckpointBackend, ChunkName, Commit, Committed, Condemned,
    Detail, Durability, Incarnation, ListCondemned, ListRecords, ListThreads, Pick, PutWrites,
    Reclaim, Reclaimed, RecordRow,
};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::stream::{self, BoxStream, StreamExt};

use crate::config::{FsBuilder, FsConfig};
use crate::list::Listing;
use crate::row::read_pick;
use crate::stats::IoStats;
use crate::store::{Store, key_of};
use crate::wait::{MOST, Wait, is_would_wait};
use crate::writer::{Caller, Op, Waits, submit};
use crate::{chunks, condemned, threads};

/// Most bytes of a chunk, a body, or all of one commit.
const MOST_BYTES: u64 = 1 << 30;

/// Checkpoints and the long-term store in a directory: one append-only, checksummed
/// log per thread, one file of items per namespace.
///
/// Several backends, in one process or several, may use a directory at once.
/// Small reads of what the system has in memory are done where the caller runs;
/// all else in a blocking task of the runtime it is called in. A caller that
/// goes away leaves a mutation complete or not there.
///
/// Durability: with [`Durability::Disk`] a mutation is answered after its log,
/// and for a new thread the directories above it, were synced. With `Process`
/// and `Buffered` it is answered once the operating system has it: it survives
/// the process, and the loss of power after [`close`](CheckpointBackend::close).
/// `Replicated` is refused.
#[derive(Clone)]
pub struct FsBackend {
    store: Arc<Store>,
    config: FsConfig,
}

impl fmt::Debug for FsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsBackend")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for FsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}", self.config.path.display())
    }
}

impl FsBackend {
    /// Opens the directory at `path` with the defaults.
    ///
    /// # Errors
    /// See [`from_config`](Self::from_config).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).open()
    }

    /// Starts from the defaults for the directory at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> FsBuilder {
        FsBuilder::new(path)
    }

    /// Opens the directory that `config` names; makes it where there is none.
    ///
    /// # Errors
    /// `InvalidInput` if the directory belongs to another program,
    /// `Unsupported` if a newer version wrote it or `durability` cannot be
    /// given, `Unavailable` if it cannot be read.
    pub fn from_config(config: FsConfig) -> Result<Self> {
        config.check().map_err(|error| error.operation("open"))?;
        let store = Store::open(&config).map_err(|error| error.operation("open"))?;
        Ok(Self {
            store: Arc::new(store),
            config,
        })
    }

    /// What was asked of the filesystem since the backend was opened.
    pub fn io_stats(&self) -> IoStats {
        self.store.dir.counters.snapshot()
    }

    /// The sizes of all files in the directory, in bytes. Takes time in
    /// proportion to the number of threads, and blocks.
    ///
    /// # Errors
    /// Those of reading a directory.
    pub fn bytes_at_rest(&self) -> Result<u64> {
        self.store
            .dir
            .bytes()
            .map_err(|error| error.operation("bytes_at_rest"))
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Runs `work`, a small read, where the caller runs; `None` if that would
    /// wait for the device.
    pub(crate) fn now<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Store) -> Result<T>,
    ) -> Option<Result<T>> {
        let outcome = self.store.check_open().and_then(|()| work(&self.store));
        match outcome {
            Err(error) if is_would_wait(&error) => None,
            other => Some(other.map_err(|error| error.operation(operation))),
        }
    }

    /// Runs `work` where it may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Store, &Caller) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        let (caller, _waits) = Waits::new();
        let task = tokio::task::spawn_blocking(move || {
            caller.check()?;
            store.check_open()?;
            work(&store, &caller)
        });
        let outcome = task.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Other, "the task was stopped").source(error))
        });
        outcome.map_err(|error| error.operation(operation))
    }
}

fn get(
    store: &Store,
    thread: &str,
    picks: &[Pick],
    detail: Detail,
    wait: Wait,
) -> Result<Vec<Option<RecordRow>>> {
    let Some(view) = store.view(&key_of(thread), thread, wait)? else {
        return Ok(vec![None; picks.len()]);
    };
    let mut reader = view.reader();
    picks
        .iter()
        .map(|pick| read_pick(&mut reader, &view.state, pick, detail))
        .collect()
}

fn read(
    store: &Store,
    thread: &str,
    incarnation: Incarnation,
    names: &[ChunkName],
    wait: Wait,
) -> Result<Vec<Option<Bytes>>> {
    match store.view(&key_of(thread), thread, wait)? {
        Some(view) if view.state.header.incarnation == incarnation => {
            chunks::read_chunks(&mut view.reader(), &view.state, names)
        }
        _ => Ok(vec![None; names.len()]),
    }
}

fn check_size(what: &str, bytes: usize) -> Result<u64> {
    if bytes as u64 > MOST_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("{what} has {bytes} bytes; at most {MOST_BYTES} are accepted"),
        ));
    }
    Ok(bytes as u64)
}

fn check_commit(commit: &Commit) -> Result<()> {
    let mut bytes = check_size("the record's body", commit.body.len())?;
    for chunk in &commit.chunks {
        bytes += check_size("a chunk", chunk.len())?;
    }
    check_size("the commit", bytes.try_into().unwrap_or(usize::MAX)).map(|_| ())
}

#[async_trait]
impl CheckpointBackend for FsBackend {
    fn store(self: Arc<Self>) -> Option<Arc<dyn chunkpoint_core::store_backend::StoreBackend>> {
        Some(self)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new("file");
        capabilities.durability = vec![Durability::Buffered, Durability::Process, Durability::Disk];
        capabilities.max_value_bytes = MOST_BYTES;
        capabilities.max_commit_bytes = MOST_BYTES;
        capabilities.persistent = true;
        capabilities.shared = true;
        capabilities
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let done = async {
            self.store.check_open()?;
            check_commit(&commit)?;
            let (key, thread) = (key_of(&commit.thread), commit.thread.clone());
            submit(&self.store, key, thread, |sender| {
                Op::Commit(Box::new(commit), sender)
            })
            .await
        };
        done.await.map_err(|error: Error| error.operation("commit"))
    }

    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        if let Some(rows) = self.now("get", |store| get(store, thread, picks, detail, Wait::No)) {
            return rows;
        }
        let (thread, picks) = (thread.to_owned(), picks.to_vec());
        self.run("get", move |store, _| {
            get(store, &thread, &picks, detail, Wait::Yes)
        })
        .await
    }

    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>> {
        if query.limit == Some(0) {
            self.store
                .check_open()
                .map_err(|error| error.operation("list"))?;
            return Ok(stream::empty().boxed());
        }
        let listing = self.run("list", move |store, _| {
            let view = store.view(&key_of(&query.thread), &query.thread, Wait::Yes)?;
            Ok(view.map(|view| Listing::new(view.reader(), view.state, query)))
        });
        let Some(listing) = listing.await? else {
            return Ok(stream::empty().boxed());
        };
        let batches = stream::unfold(Some(listing), |listing| async {
            let mut listing = listing?;
            let task = tokio::task::spawn_blocking(move || {
                let batch = listing.batch();
                (batch, listing)
            });
            match task.await {
                Ok((batch, _)) if batch.is_empty() => None,
                Ok((batch, listing)) => Some((batch, Some(listing))),
                Err(error) => {
                    let stopped = Error::new(ErrorKind::Other, "the task was stopped");
                    Some((vec![Err(stopped.source(error))], None))
                }
            }
        });
        let rows = batches.flat_map(stream::iter);
        Ok(rows
            .map(|row| row.map_err(|error| error.operation("list")))
            .boxed())
    }

    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let bytes: u64 = names.iter().map(|name| u64::from(name.len)).sum();
        if bytes <= MOST
            && let Some(found) = self.now("chunks", |store| {
                read(store, thread, incarnation, names, Wait::No)
            })
        {
            return found;
        }
        let (thread, names) = (thread.to_owned(), names.to_vec());
        self.run("chunks", move |store, _| {
            read(store, &thread, incarnation, &names, Wait::Yes)
        })
        .await
    }

    async fn put_writes(&self, writes: PutWrites) -> Result<()> {
        let done = async {
            self.store.check_open()?;
            let bytes = writes.writes.iter().map(|write| write.value.len()).sum();
            check_size("the call", bytes)?;
            let (key, thread) = (key_of(&writes.thread), writes.thread.clone());
            submit(&self.store, key, thread, |sender| {
                Op::Writes(writes, sender)
            })
            .await
        };
        done.await
            .map_err(|error: Error| error.operation("put_writes"))
    }

    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        let done = async {
            self.store.check_open()?;
            let (key, thread) = (key_of(&alter.thread), alter.thread.clone());
            submit(&self.store, key, thread, |sender| Op::Alter(alter, sender)).await
        };
        done.await.map_err(|error: Error| error.operation("alter"))
    }

    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        self.run("condemned", move |store, _| {
            let Some(view) = store.view(&key_of(&query.thread), &query.thread, Wait::Yes)? else {
                return Ok(None);
            };
            let packs = condemned::page(&mut view.reader(), &view.state, &query)?;
            Ok(Some(Condemned {
                incarnation: view.state.header.incarnation,
                packs,
            }))
        })
        .await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        let mut dead: HashMap<_, Vec<u32>> = HashMap::new();
        for (pack, ordinals) in &reclaim.dead {
            dead.entry(*pack).or_default().extend(ordinals);
        }
        let dead = Arc::new(dead);
        let (thread, key) = (reclaim.thread.clone(), key_of(&reclaim.thread));
        loop {
            let (dead, thread) = (dead.clone(), thread.clone());
            let step = self
                .run("reclaim", move |store, caller| {
                    let (incarnation, before_ms) = (reclaim.incarnation, reclaim.before_ms);
                    threads::reclaim(store, caller, key, &thread, incarnation, before_ms, &dead)
                })
                .await?;
            let (note, reclaimed) = match step {
                threads::Step::Done(reclaimed) => return Ok(reclaimed),
                threads::Step::Note(note, reclaimed) => (note, reclaimed),
            };
            let thread = reclaim.thread.clone();
            let noted = submit(&self.store, key, thread, |sender| Op::Reclaim(note, sender));
            // Where the log was replaced meanwhile, its frames are elsewhere.
            if noted.await.map_err(|error| error.operation("reclaim"))? {
                return Ok(reclaimed);
            }
        }
    }

    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let thread: Arc<str> = thread.into();
        self.run("delete_thread", move |store, caller| {
            threads::delete(store, caller, &thread, incarnation)
        })
        .await
    }

    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        let (source, target) = (source.to_owned(), target.into());
        self.run("copy_thread", move |store, caller| {
            threads::copy(store, caller, &source, &target, fresh)
        })
        .await
    }

    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let look = |store: &Store, thread: &str, wait| {
            let view = store.view(&key_of(thread), thread, wait)?;
            Ok(view.map(|view| view.state.header.incarnation))
        };
        if let Some(found) = self.now("incarnation", |store| look(store, thread, Wait::No)) {
            return found;
        }
        let thread = thread.to_owned();
        self.run("incarnation", move |store, _| {
            look(store, &thread, Wait::Yes)
        })
        .await
    }

    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        self.run("threads", move |store, _| threads::list(store, &query))
            .await
    }

    async fn close(&self) -> Result<()> {
        let store = self.store.clone();
        let task = tokio::task::spawn_blocking(move || store.close());
        let outcome = task.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Other, "the task was stopped").source(error))
        });
        outcome.map_err(|error| error.operation("close"))
    }
}
