//! One thread of checkpoints.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Map as JsonMap, Value as Json};

use crate::backend::{Alter, Altered, Change, Detail, ListRecords, Pick, RecordKey, RecordRow};
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result, quote};
use crate::json;
use crate::snapshot::Snapshot;
use crate::types::{check_checkpoint_id, check_id};

/// One namespace of one thread. Cheap to clone; holds no storage.
#[derive(Clone)]
pub struct Thread {
    pub(crate) engine: Arc<Engine>,
    pub(crate) id: Arc<str>,
    pub(crate) namespace: Arc<str>,
    /// The greatest id this handle has seen: ids made go above it.
    seen: Arc<Mutex<Option<Arc<str>>>>,
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Thread({}, namespace {})",
            quote(&self.id),
            quote(&self.namespace)
        )
    }
}

/// Which checkpoints to walk, newest id first.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only ids before this one.
    pub before: Option<String>,
    /// At most so many; `Some(0)` gives none.
    pub limit: Option<usize>,
    /// Only checkpoints whose metadata has these top-level keys with values
    /// equal as JSON: 1 equals 1.0, 1 is not true, a missing key is not null.
    pub filter: JsonMap<String, Json>,
}

impl Thread {
    pub(crate) fn new(engine: Arc<Engine>, id: Arc<str>, namespace: Arc<str>) -> Self {
        Self {
            engine,
            id,
            namespace,
            seen: Arc::default(),
        }
    }

    /// The thread's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The checkpoint namespace of this handle; `""` is the root.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same thread in another checkpoint namespace.
    ///
    /// # Errors
    /// `InvalidInput` for a namespace with a NUL or over 16 KiB.
    pub fn with_namespace(&self, namespace: &str) -> Result<Self> {
        check_id("checkpoint namespace", namespace, true)?;
        Ok(Self::new(
            self.engine.clone(),
            self.id.clone(),
            namespace.into(),
        ))
    }

    fn key(&self, id: &str) -> RecordKey {
        RecordKey {
            namespace: self.namespace.clone(),
            id: id.into(),
        }
    }

    fn at_pick(&self, id: &str) -> Pick {
        Pick::At(self.key(id))
    }

    fn latest_pick(&self) -> Pick {
        Pick::Latest {
            namespace: self.namespace.clone(),
        }
    }

    pub(crate) fn saw(&self, id: &Arc<str>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|seen| seen < id) {
            *seen = Some(id.clone());
        }
    }

    pub(crate) fn next_id(&self) -> Result<Arc<str>> {
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let engine = &self.engine;
        engine
            .ids
            .next(seen.as_deref(), &*engine.clock, &*engine.entropy)
            .map(Arc::from)
    }

    pub(crate) fn snapshot(&self, row: RecordRow) -> Result<Snapshot> {
        self.saw(&row.record.key.id);
        let record = self.engine.record(&self.id, &row)?;
        Ok(Snapshot::new(self, row, record))
    }

    /// The checkpoint with the greatest id. One read.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged; what the backend reports.
    pub async fn latest(&self) -> Result<Option<Snapshot>> {
        self.read(self.latest_pick())
            .await
            .map_err(|e| e.operation("latest"))
    }

    /// The checkpoint `id`, or `None`. One read.
    ///
    /// # Errors
    /// As [`latest`](Self::latest); `InvalidInput` for an id that cannot be.
    pub async fn at(&self, id: &str) -> Result<Option<Snapshot>> {
        check_checkpoint_id(id)?;
        self.read(self.at_pick(id))
            .await
            .map_err(|e| e.operation("at"))
    }

    async fn read(&self, pick: Pick) -> Result<Option<Snapshot>> {
        let row = self.engine.get_one(&self.id, pick, Detail::Writes).await?;
        row.filter(|row| !row.hidden)
            .map(|row| self.snapshot(row))
            .transpose()
    }

    /// The checkpoints of this namespace, newest first, read as the stream is.
    pub fn history(&self, query: HistoryQuery) -> BoxStream<'static, Result<Snapshot>> {
        let thread = self.clone();
        let limit = query.limit.unwrap_or(usize::MAX);
        let open = async move {
            if let Some(before) = &query.before {
                check_checkpoint_id(before)?;
            }
            thread.engine.check_open()?;
            let rows = thread
                .engine
                .backend
                .list(ListRecords {
                    thread: thread.id.clone(),
                    namespace: Some(thread.namespace.clone()),
                    before: query.before.as_deref().map(Arc::from),
                    limit: query.filter.is_empty().then_some(query.limit).flatten(),
                    hidden: false,
                    detail: Detail::Writes,
                })
                .await
                .map_err(|e| e.operation("history"))?;
            Ok::<_, Error>((thread, rows, query.filter))
        };
        futures::stream::once(open)
            .flat_map(|opened| match opened {
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
                Ok((thread, rows, filter)) => rows
                    .filter_map(move |row| {
                        let (thread, filter) = (thread.clone(), filter.clone());
                        async move {
                            let snapshot = match row.and_then(|row| thread.snapshot(row)) {
                                Ok(snapshot) => snapshot,
                                Err(error) => return Some(Err(error)),
                            };
                            if filter.is_empty() {
                                return Some(Ok(snapshot));
                            }
                            match snapshot.metadata().await {
                                Ok(metadata) => {
                                    json::matches(&filter, &metadata).then_some(Ok(snapshot))
                                }
                                Err(error) => Some(Err(error)),
                            }
                        }
                    })
                    .boxed(),
            })
            .take(limit)
            .boxed()
    }

    /// A draft on top of the latest checkpoint, or an empty one. One read.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub async fn draft(&self) -> Result<Draft> {
        let latest = self.latest().await?;
        Draft::new(self, latest)
    }

    /// A draft on top of the checkpoint `id`; its id is above the latest's.
    /// One read.
    ///
    /// # Errors
    /// `ParentGone` if there is no such checkpoint.
    pub async fn fork(&self, id: &str) -> Result<Draft> {
        check_checkpoint_id(id)?;
        let picks = [self.at_pick(id), self.latest_pick()];
        let mut rows = self.engine.get(&self.id, &picks, Detail::Writes).await?;
        if let Some(latest) = rows.pop().flatten() {
            self.saw(&latest.record.key.id);
        }
        match rows.pop().flatten().filter(|row| !row.hidden) {
            Some(row) => Draft::new(self, Some(self.snapshot(row)?)),
            None => Err(self.no_such(ErrorKind::ParentGone, id).operation("fork")),
        }
    }

    /// Commits a draft of this thread: one atomic step. A draft may be cloned
    /// and committed again after an error: it has its write id, and the
    /// second commit of the same draft gives the first one's result.
    ///
    /// # Errors
    /// `ParentGone` if the parent was removed or replaced, `Conflict` if
    /// `expect_latest` did not hold, `TooLarge`; what the backend reports.
    pub async fn commit(&self, draft: Draft) -> Result<Snapshot> {
        draft.commit(self).await
    }

    /// Protects a checkpoint from retention and pruning.
    ///
    /// # Errors
    /// `NotFound` if there is no such checkpoint.
    pub async fn pin(&self, id: &str) -> Result<()> {
        self.set_pin(id, true).await.map_err(|e| e.operation("pin"))
    }

    /// Ends what [`pin`](Self::pin) began.
    ///
    /// # Errors
    /// `NotFound` if there is no such checkpoint.
    pub async fn unpin(&self, id: &str) -> Result<()> {
        self.set_pin(id, false)
            .await
            .map_err(|e| e.operation("unpin"))
    }

    async fn set_pin(&self, id: &str, pinned: bool) -> Result<()> {
        check_checkpoint_id(id)?;
        // A re-put between reading and pinning changes the pack: look again.
        for _ in 0..8 {
            let row = self
                .engine
                .get_one(&self.id, self.at_pick(id), Detail::Keys)
                .await?;
            let Some(row) = row.filter(|row| !row.hidden) else {
                break;
            };
            let altered = self
                .engine
                .backend
                .alter(Alter {
                    thread: self.id.clone(),
                    incarnation: row.incarnation,
                    time_ms: self.engine.clock.now_ms(),
                    changes: vec![(row.record, Change::Pin(pinned))],
                })
                .await?;
            if altered.first() == Some(&Altered::Done) {
                return Ok(());
            }
        }
        Err(self.no_such(ErrorKind::NotFound, id))
    }

    fn no_such(&self, kind: ErrorKind, id: &str) -> Error {
        Error::new(
            kind,
            format!("thread {} has no checkpoint {}", quote(&self.id), quote(id)),
        )
    }

    /// Deletes the thread, all namespaces of it, in one atomic step; the bytes
    /// go later. A thread that does not exist is no error.
    ///
    /// # Errors
    /// What the backend reports.
    pub async fn delete(&self) -> Result<()> {
        self.engine.delete_thread(&self.id).await
    }
}

impl Engine {
    pub(crate) async fn delete_thread(&self, thread: &str) -> Result<()> {
        self.check_open()?;
        let ended = async {
            match self.backend.incarnation(thread).await? {
                Some(incarnation) => self.backend.delete_thread(thread, incarnation).await,
                None => Ok(()),
            }
        };
        ended.await.map_err(|e| e.operation("delete_thread"))?;
        self.retention.forget(thread);
        Ok(())
    }
}
