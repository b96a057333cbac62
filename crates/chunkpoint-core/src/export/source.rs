//! Checkpoints being read, and those read last.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::backend::{Detail, Pick, RecordKey, RecordRow};
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
}

impl<'a> Records<'a> {
    pub(super) fn new(engine: &'a Arc<Engine>, thread: Arc<str>) -> Self {
        Self {
            engine,
            thread,
            held: VecDeque::new(),
        }
    }

    /// Keeps a record for those that build on it. Its writes are not needed for that.
    pub(super) fn hold(&mut self, mut held: Held) {
        held.row.writes = Vec::new();
        let key = &held.row.record.key;
        self.held.retain(|old| old.row.record.key != *key);
        if self.held.len() >= KEPT {
            self.held.pop_front();
        }
        self.held.push_back(held);
    }

    pub(super) fn held(&self, key: &RecordKey) -> Option<Held> {
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

    /// The record to build on, held or read.
    pub(super) async fn base(&self, key: RecordKey) -> Result<Option<Held>> {
        match self.held(&key) {
            Some(held) => Ok(Some(held)),
            None => Ok(self.read([key]).await?.pop().flatten()),
        }
    }
}
