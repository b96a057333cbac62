//! What all handles of one memory share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::backend::{
    Capabilities, CheckpointBackend, Detail, Incarnation, PackId, Pick, RecordKey, RecordRow,
};
use crate::background::Background;
use crate::cache::Cache;
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
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) ids: IdMaker,
    pub(crate) retention: Retention,
    pub(crate) background: Background,
    closed: AtomicBool,
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
            background: Background::new(settings.background),
            retention: Retention::default(),
            ids: IdMaker::default(),
            closed: AtomicBool::new(false),
            backend,
            settings,
            clock,
            entropy,
        })
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

    pub(crate) async fn get_one(
        &self,
        thread: &str,
        pick: Pick,
        detail: Detail,
    ) -> Result<Option<RecordRow>> {
        Ok(self.get(thread, &[pick], detail).await?.pop().flatten())
    }

    /// The decoded record of a row that was read with its body.
    pub(crate) fn record(&self, thread: &str, row: &RecordRow) -> Result<Arc<Record>> {
        let pack = row.record.pack;
        if let Some(record) = self.cache.record(row.incarnation, pack, row.hidden) {
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
            .insert_record(row.incarnation, pack, row.hidden, Arc::new(record)))
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
        let cache = &self.engine.cache;
        let mut found: Vec<Option<Arc<Decoded>>> = refs
            .iter()
            .map(|r| cache.chunk(self.incarnation, r.pack, r.ordinal))
            .collect();
        let missing: Vec<usize> = (0..refs.len()).filter(|n| found[*n].is_none()).collect();
        if !missing.is_empty() {
            self.engine.check_open()?;
            let names: Vec<_> = missing.iter().map(|n| refs[*n].name()).collect();
            let stored = self
                .engine
                .backend
                .chunks(&self.thread, self.incarnation, &names)
                .await?;
            if stored.len() != names.len() {
                return Err(Error::new(
                    ErrorKind::Other,
                    "backend answered too few chunks",
                ));
            }
            for (n, stored) in missing.into_iter().zip(stored) {
                let r = &refs[n];
                let Some(stored) = stored else {
                    return Err(self.missing(r).await);
                };
                let chunk = self
                    .engine
                    .codec
                    .unpack(stored)
                    .and_then(|raw| decode(raw, r))
                    .map_err(|e| e.context(self.place(r)))?;
                found[n] = Some(cache.insert_chunk(
                    self.incarnation,
                    r.pack,
                    r.ordinal,
                    Arc::new(chunk),
                    self.keep,
                ));
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

impl Source {
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
