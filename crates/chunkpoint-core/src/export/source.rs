//! Checkpoints being read, and those read last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::backend::{Detail, Incarnation, PackId, Pick, RecordKey, RecordRow};
use crate::engine::{Engine, Source};
use crate::error::Result;
use crate::record::Record;
use crate::snapshot::Snapshot;
use crate::thread::Thread;

/// Records kept for those that build on them.
const KEPT: usize = 8;

/// A record that was read or written.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) row: RecordRow,
    pub(super) record: Arc<Record>,
    pub(super) source: Source,
    handle: Thread,
}

impl Held {
    pub(super) fn new(
        engine: &Arc<Engine>,
        thread: &Arc<str>,
        mut row: RecordRow,
        record: Arc<Record>,
    ) -> Self {
        row.body = bytes::Bytes::new();
        let source = Source {
            engine: engine.clone(),
            thread: thread.clone(),
            incarnation: row.incarnation,
            owner: Some((row.record.key.clone(), row.record.pack)),
            keep: true,
        };
        let handle = Thread::new(
            engine.clone(),
            thread.clone(),
            row.record.key.namespace.clone(),
        );
        Self {
            row,
            record,
            source,
            handle,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.handle, self.row.clone(), self.record.clone())
    }
}

/// One thread's records, the last few of them held.
pub(super) struct Records<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) thread: Arc<str>,
    held: VecDeque<Held>,
    /// Every record that was held, as it was then: one that was replaced since is nothing
    /// to build on.
    known: HashMap<RecordKey, (Incarnation, PackId)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(engine: &'a Arc<Engine>, thread: Arc<str>) -> Self {
        Self {
            engine,
            thread,
            held: VecDeque::new(),
            known: HashMap::new(),
        }
    }

    /// Keeps a record for those that build on it. Its writes are not needed for that.
    pub(super) fn hold(&mut self, mut held: Held) {
        held.row.writes = Vec::new();
        let key = &held.row.record.key;
        let content = (held.row.incarnation, held.row.record.pack);
        self.known.insert(key.clone(), content);
        self.held.retain(|old| old.row.record.key != *key);
        if self.held.len() >= KEPT {
            self.held.pop_front();
        }
        self.held.push_back(held);
    }

    fn held(&self, key: &RecordKey) -> Option<Held> {
        let mut held = self.held.iter().rev();
        held.find(|held| held.row.record.key == *key).cloned()
    }

    /// Reads records, hidden ones too; `None` for those that are not there.
    pub(super) async fn read(
        &self,
        keys: impl IntoIterator<Item = RecordKey>,
    ) -> Result<Vec<Option<Held>>> {
        let picks: Vec<Pick> = keys.into_iter().map(Pick::At).collect();
        let rows = self
            .engine
            .get(&self.thread, &picks, Detail::Writes)
            .await?;
        rows.into_iter()
            .map(|row| {
                row.map(|row| {
                    let record = self.engine.record(&self.thread, &row)?;
                    Ok(Held::new(self.engine, &self.thread, row, record))
                })
                .transpose()
            })
            .collect()
    }

    /// A record to build on, which was held before: `None` if it was not, or was removed or
    /// replaced since.
    pub(super) async fn base(&self, key: RecordKey) -> Result<Option<Held>> {
        if let Some(held) = self.held(&key) {
            return Ok(Some(held));
        }
        let Some(known) = self.known.get(&key).copied() else {
            return Ok(None);
        };
        let found = self.read([key]).await?.pop().flatten();
        Ok(found.filter(|held| (held.row.incarnation, held.row.record.pack) == known))
    }
}
