//! What all handles of one memory share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::backend::{
    Capabilities, CheckpointBackend, ChunkName, Detail, Incarnation, PackId, Pick, RecordKey,
    RecordRow,
};
use crate::background::Background;
use crate::cache::Cache;
use crate::coalesce::{Coalesce, Joining};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result, quote};
use crate::ids::IdMaker;
use crate::record::Record;
use crate::retention::Retention;
use crate::settings::{Clock, Entropy, Settings};
use crate::tree::{Decoded, Fetch, Ref, decode};

pub(crate) struct Engine {
    pub(crate) backend: Arc<dyn CheckpointBackend>,
    pub(crate) capabilities: Capabilities,
    pub(crate) settings: Settings,
    pub(crate) codec: Codec,
    pub(crate) cache: Cache,
    rows: Coalesce<RowRead, Option<RecordRow>>,
    chunks: Coalesce<ChunkRead, Vec<Arc<Decoded>>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) ids: IdMaker,
    pub(crate) retention: Retention,
    pub(crate) background: Background,
    /// Found out once: asking the system takes longer than decoding a small state.
    cores: usize,
    closed: AtomicBool,
    /// When the store was last swept in the background.
    store_swept_ms: AtomicU64,
}

/// A read of one record: thread, which, and how much of it.
type RowRead = (Arc<str>, Pick, Detail);

/// A read of chunks, by all that decides what it gives: their names, whether they stay in
/// the cache, and whose they are, which an error tells.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ChunkRead {
    incarnation: Incarnation,
    owner: Option<PackId>,
    keep: bool,
    names: Arc<[ChunkName]>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("backend", &self.backend)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(
        backend: Arc<dyn CheckpointBackend>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            capabilities: backend.capabilities(),
            codec: Codec::new(settings.compression),
            cache: Cache::new(settings.cache_bytes),
            rows: Coalesce::new(Joining::UntilStart),
            chunks: Coalesce::new(Joining::UntilEnd),
            background: Background::new(settings.background),
            retention: Retention::default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ids: IdMaker::default(),
            closed: AtomicBool::new(false),
            store_swept_ms: AtomicU64::new(0),
            backend,
            settings,
            clock,
            entropy,
        })
    }

    /// Whether `every` milliseconds have passed since the store was last swept; if so,
    /// it counts as swept.
    pub(crate) fn store_sweep_due(&self, now_ms: u64, every: u64) -> bool {
        let last = self.store_swept_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(last) >= every
            && self
                .store_swept_ms
                .compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(crate) fn pack_id(&self) -> Result<PackId> {
        let mut id = [0; 8];
        self.entropy.fill(&mut id)?;
        Ok(PackId(id))
    }

    pub(crate) fn incarnation(&self) -> Result<Incarnation> {
        let mut id = [0; 8];
        self.entropy.fill(&mut id)?;
        Ok(Incarnation(id))
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the memory is closed; open it again",
            )
            .retryable(false));
        }
        Ok(())
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.background.stop().await;
        self.cache.clear();
        self.backend.close().await
    }

    pub(crate) async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        self.check_open()?;
        let rows = self.backend.get(thread, picks, detail).await?;
        if rows.len() != picks.len() {
            return Err(Error::new(
                ErrorKind::Other,
                format!("backend answered {} of {} picks", rows.len(), picks.len()),
            ));
        }
        Ok(rows)
    }

    /// Reads one record, for all at once who ask for it before the read starts: as new
    /// as if each had read alone.
    pub(crate) async fn get_one(
        &self,
        thread: &Arc<str>,
        pick: Pick,
        detail: Detail,
    ) -> Result<Option<RecordRow>> {
        let key = (thread.clone(), pick.clone(), detail);
        let read = async {
            let mut rows = self.get(thread, &[pick], detail).await?;
            Ok(rows.pop().flatten())
        };
        self.rows.read(key, read).await
    }

    /// The decoded record of a row that was read with its body.
    pub(crate) fn record(&self, thread: &str, row: &RecordRow) -> Result<Arc<Record>> {
        let pack = row.record.pack;
        if let Some(record) = self.cache.record(row.incarnation, pack) {
            return Ok(record);
        }
        let record = Record::decode(
            row.body.clone(),
            &row.record.key,
            pack,
            row.locator,
            &self.codec,
        )
        .map_err(|e| e.context(format_args!("thread {}", quote(thread))))?;
        Ok(self
            .cache
            .insert_record(row.incarnation, pack, Arc::new(record)))
    }
}

/// One incarnation of a thread, to fetch chunks from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) engine: Arc<Engine>,
    pub(crate) thread: Arc<str>,
    pub(crate) incarnation: Incarnation,
    /// Whose chunks these are, if of one checkpoint: for errors.
    pub(crate) owner: Option<(RecordKey, PackId)>,
    /// Whether chunks read stay in the cache.
    pub(crate) keep: bool,
}

#[async_trait]
impl Fetch for Source {
    async fn fetch(&self, refs: &[Ref]) -> Result<Vec<Arc<Decoded>>> {
        let found: Vec<_> = refs.iter().map(|r| self.cached(r)).collect();
        if found.iter().all(Option::is_some) {
            return Ok(found.into_iter().flatten().collect());
        }
        let read = ChunkRead {
            incarnation: self.incarnation,
            owner: self.owner.as_ref().map(|(_, pack)| *pack),
            keep: self.keep,
            names: refs.iter().map(Ref::name).collect(),
        };
        let missing = self.fetch_missing(refs, found);
        self.engine.chunks.read(read, missing).await
    }
}

/// Stored bytes asked for at once: so many that a round trip does not count beside moving
/// them, and so few that most of a load is decoded while the rest is still on its way.
const PART: u64 = 512 << 10;

/// Fewer stored bytes than this are not worth handing to another thread.
const SHARE: u64 = 24 << 10;

/// More stored bytes than this are not decoded on the caller's thread, which is
/// the runtime's: it takes about a quarter of a millisecond.
const MOST_HERE: u64 = 32 << 10;

/// Cuts what is to be read into parts of about [`PART`] stored bytes.
pub(crate) fn parts<T>(
    wanted: impl IntoIterator<Item = T>,
    stored: impl Fn(&T) -> u64,
) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut bytes = PART;
    for one in wanted {
        if bytes >= PART {
            bytes = 0;
            parts.push(Vec::new());
        }
        bytes += stored(&one);
        if let Some(part) = parts.last_mut() {
            part.push(one);
        }
    }
    parts
}

impl Source {
    fn cached(&self, r: &Ref) -> Option<Arc<Decoded>> {
        let cache = &self.engine.cache;
        cache.chunk(self.incarnation, r.pack, r.ordinal)
    }

    /// Reads those chunks that were not found before, and have not come since.
    async fn fetch_missing(
        &self,
        refs: &[Ref],
        mut found: Vec<Option<Arc<Decoded>>>,
    ) -> Result<Vec<Arc<Decoded>>> {
        let mut missing = Vec::new();
        for (n, r) in refs.iter().enumerate() {
            if found[n].is_none() {
                found[n] = self.cached(r);
            }
            if found[n].is_none() {
                missing.push(n);
            }
        }
        if !missing.is_empty() {
            self.engine.check_open()?;
            let wanted = missing.iter().map(|n| refs[*n].clone());
            // The next part is read while the one before is decoded.
            let mut parts = stream::iter(parts(wanted, |r| u64::from(r.stored)))
                .map(|part| self.read(part))
                .buffered(2);
            let mut missing = missing.into_iter();
            while let Some(part) = parts.try_next().await? {
                for (chunk, n) in part.into_iter().zip(&mut missing) {
                    found[n] = Some(chunk);
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads chunks that are not in the cache, and decodes them: many of them by
    /// blocking tasks on all cores, so that neither the caller waits for one nor
    /// the runtime for the caller.
    async fn read(&self, refs: Vec<Ref>) -> Result<Vec<Arc<Decoded>>> {
        let names: Vec<_> = refs.iter().map(Ref::name).collect();
        let backend = &self.engine.backend;
        let stored = backend
            .chunks(&self.thread, self.incarnation, &names)
            .await?;
        if stored.len() != names.len() {
            return Err(Error::new(
                ErrorKind::Other,
                "backend answered too few chunks",
            ));
        }
        let mut pairs = Vec::with_capacity(refs.len());
        for (r, stored) in refs.into_iter().zip(stored) {
            match stored {
                Some(stored) => pairs.push((r, stored)),
                None => return Err(self.missing(&r).await),
            }
        }
        let bytes: u64 = pairs.iter().map(|(r, _)| u64::from(r.stored)).sum();
        let cores = self.engine.cores;
        let shares = (bytes / SHARE).clamp(1, cores as u64);
        if Handle::try_current().is_err() || (shares == 1 && bytes <= MOST_HERE) {
            return self.decode(pairs);
        }
        let each = pairs.len().div_ceil(shares as usize);
        let own = if bytes / shares <= MOST_HERE { each } else { 0 };
        let mut others = pairs.split_off(own.min(pairs.len()));
        let mut tasks = Vec::with_capacity(shares as usize);
        while !others.is_empty() {
            let rest = others.split_off(each.min(others.len()));
            let (source, share) = (self.clone(), std::mem::replace(&mut others, rest));
            tasks.push(spawn_blocking(move || source.decode(share)));
        }
        let mut decoded = self.decode(pairs)?;
        for task in tasks {
            decoded.extend(task.await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Other, "decoding was stopped").source(error))
            })?);
        }
        Ok(decoded)
    }

    fn decode(&self, stored: Vec<(Ref, Bytes)>) -> Result<Vec<Arc<Decoded>>> {
        let Engine { cache, codec, .. } = &*self.engine;
        let decoded = stored.into_iter().map(|(r, stored)| {
            let chunk = codec
                .unpack(stored)
                .and_then(|raw| decode(raw, &r))
                .map_err(|e| e.context(self.place(&r)))?;
            let chunk = Arc::new(chunk);
            Ok(cache.insert_chunk(self.incarnation, r.pack, r.ordinal, chunk, self.keep))
        });
        decoded.collect()
    }

    fn place(&self, r: &Ref) -> String {
        let mut place = format!("thread {}", quote(&self.thread));
        if let Some((key, _)) = &self.owner {
            place += &format!(
                ", checkpoint {} in namespace {}",
                quote(&key.id),
                quote(&key.namespace)
            );
        }
        place + &format!(", chunk {} of pack {}", r.ordinal, r.pack)
    }

    /// Tells whether a chunk that is not there may be missing.
    async fn missing(&self, r: &Ref) -> Error {
        let gone = |what| Error::new(ErrorKind::NotFound, format!("{}: {what}", self.place(r)));
        let Some((key, pack)) = &self.owner else {
            return gone("the chunk is not there");
        };
        match self
            .engine
            .get_one(&self.thread, Pick::At(key.clone()), Detail::Keys)
            .await
        {
            Ok(Some(row))
                if row.record.pack == *pack
                    && row.incarnation == self.incarnation
                    && !row.hidden =>
            {
                Error::corrupt(format!("{}: the chunk is missing", self.place(r)))
            }
            Ok(_) => gone("the checkpoint was pruned"),
            Err(error) => error,
        }
    }
}
