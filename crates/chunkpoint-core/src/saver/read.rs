//! `get_tuple` and `list`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::{CheckpointTuple, Config, ListQuery, Saver, Write};
use crate::backend::{Detail, ListRecords, ListThreads, PendingWrite, Pick, RecordKey, RecordRow};
use crate::engine::Engine;
use crate::error::Result;
use crate::json;
use crate::thread::Thread;
use crate::types::{Item, check_checkpoint_id, check_id};
use crate::wire::{Put, Reader};

impl Engine {
    /// A pending write's value as it is stored.
    pub(crate) fn encode_write(&self, item: &Item) -> Result<bytes::Bytes> {
        let mut raw = Vec::with_capacity(item.bytes.len() + 16);
        raw.put_run(item.tag.as_bytes());
        raw.extend_from_slice(&item.bytes);
        self.codec.pack(&raw)
    }

    pub(crate) fn decode_write(&self, write: &PendingWrite) -> Result<Item> {
        let mut reader = Reader::new(self.codec.unpack(write.value.clone())?);
        Ok(Item {
            tag: reader.text()?,
            bytes: reader.rest(),
        })
    }

    /// Pending writes as the contract orders them.
    pub(crate) fn writes(&self, stored: &[PendingWrite]) -> Result<Vec<Write>> {
        let mut writes = stored
            .iter()
            .map(|write| {
                let value = self.decode_write(write).map_err(|e| {
                    e.context(format_args!(
                        "write {} of task {}",
                        write.idx,
                        crate::quote(&write.task_id)
                    ))
                })?;
                Ok(Write {
                    task_id: write.task_id.clone(),
                    task_path: write.task_path.clone(),
                    idx: write.idx,
                    channel: write.channel.clone(),
                    value,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        writes.sort_by(|a, b| {
            (&a.task_path, &a.task_id, a.idx).cmp(&(&b.task_path, &b.task_id, b.idx))
        });
        Ok(writes)
    }
}

impl Saver {
    /// The checkpoint that `config` names, or the latest of its namespace.
    /// One read; values are read when asked for.
    ///
    /// # Errors
    /// `InvalidInput` for ids that cannot be, `Corrupt`; what the backend
    /// reports.
    pub async fn get_tuple(&self, config: &Config) -> Result<Option<CheckpointTuple>> {
        let thread = self.thread(config)?;
        let pick = match &config.checkpoint_id {
            Some(id) => Pick::At(RecordKey {
                namespace: thread.namespace.clone(),
                id: id.as_str().into(),
            }),
            None => Pick::Latest {
                namespace: thread.namespace.clone(),
            },
        };
        let row = self
            .engine
            .get_one(&thread.id, pick, Detail::Writes)
            .await
            .map_err(|e| e.operation("get_tuple"))?;
        match row.filter(|row| !row.hidden) {
            Some(row) => self
                .tuple(&thread.id, row)
                .await
                .map(Some)
                .map_err(|e| e.operation("get_tuple")),
            None => Ok(None),
        }
    }

    async fn tuple(&self, thread: &Arc<str>, row: RecordRow) -> Result<CheckpointTuple> {
        let namespace = row.record.key.namespace.clone();
        let handle = Thread::new(self.engine.clone(), thread.clone(), namespace);
        let snapshot = handle.snapshot(row)?;
        let config = |id: &str| {
            Config::new(&**thread)
                .with_ns(snapshot.namespace())
                .with_id(id)
        };
        Ok(CheckpointTuple {
            config: config(snapshot.id()),
            parent_config: snapshot.parent_id().map(config),
            metadata: snapshot.metadata().await?,
            pending_writes: self.engine.writes(snapshot.pending())?,
            snapshot,
        })
    }

    /// Checkpoints, newest id first; of equal ids, by thread and namespace.
    ///
    /// Within one thread the stream reads as it goes. Over all threads it
    /// first reads the key of every checkpoint (with a limit and no filter: of the
    /// newest `limit` of each thread), then each checkpoint as it goes.
    pub fn list(&self, query: ListQuery) -> BoxStream<'static, Result<CheckpointTuple>> {
        let saver = self.clone();
        let limit = query.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return futures::stream::empty().boxed();
        }
        let opened = async move {
            let rows = saver.rows(&query).await?;
            Ok::<_, crate::Error>((saver, rows, query.filter))
        };
        futures::stream::once(opened)
            .flat_map(|opened| match opened {
                Err(error) => futures::stream::iter([Err(error.operation("list"))]).boxed(),
                Ok((saver, rows, filter)) => rows
                    .filter_map(move |row| {
                        let (saver, filter) = (saver.clone(), filter.clone());
                        async move {
                            let found = match row {
                                Ok((thread, row)) => saver.tuple(&thread, row).await,
                                Err(error) => Err(error),
                            };
                            match found {
                                Ok(tuple) => {
                                    json::matches(&filter, &tuple.metadata).then_some(Ok(tuple))
                                }
                                Err(error) => Some(Err(error.operation("list"))),
                            }
                        }
                    })
                    .boxed(),
            })
            .take(limit)
            .boxed()
    }

    async fn rows(
        &self,
        query: &ListQuery,
    ) -> Result<BoxStream<'static, Result<(Arc<str>, RecordRow)>>> {
        self.engine.check_open()?;
        if let Some(id) = &query.thread_id {
            check_id("thread_id", id, false)?;
        }
        if let Some(namespace) = &query.checkpoint_ns {
            check_id("checkpoint_ns", namespace, true)?;
        }
        for id in [&query.checkpoint_id, &query.before].into_iter().flatten() {
            check_checkpoint_id(id)?;
        }
        match &query.thread_id {
            Some(thread) => {
                let thread: Arc<str> = thread.as_str().into();
                let rows = self.thread_rows(&thread, query, Detail::Writes).await?;
                Ok(rows.map(move |row| Ok((thread.clone(), row?))).boxed())
            }
            None => self.all_rows(query).await,
        }
    }

    async fn thread_rows(
        &self,
        thread: &Arc<str>,
        query: &ListQuery,
        detail: Detail,
    ) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let plain = query.filter.is_empty() && query.checkpoint_id.is_none();
        // One id is where the ids before its successor begin.
        let before = match (&query.checkpoint_id, &query.before) {
            (Some(id), Some(before)) if id >= before => {
                return Ok(futures::stream::empty().boxed());
            }
            (Some(id), _) => Some(format!("{id}\0")),
            (None, before) => before.clone(),
        };
        let rows = self
            .engine
            .backend
            .list(ListRecords {
                thread: thread.clone(),
                namespace: query.checkpoint_ns.as_deref().map(Arc::from),
                before: before.map(Arc::from),
                limit: plain.then_some(query.limit).flatten(),
                hidden: false,
                detail,
            })
            .await?;
        let Some(id) = query.checkpoint_id.clone() else {
            return Ok(rows);
        };
        Ok(rows
            .take_while(move |row| {
                let is_it = row.as_ref().map_or(true, |row| *row.record.key.id == *id);
                async move { is_it }
            })
            .boxed())
    }

    /// Rows of all threads in one order: the keys are gathered first.
    async fn all_rows(
        &self,
        query: &ListQuery,
    ) -> Result<BoxStream<'static, Result<(Arc<str>, RecordRow)>>> {
        let most = if query.filter.is_empty() {
            query.limit
        } else {
            None
        };
        // Id (descending), thread, namespace.
        let mut keys = BTreeSet::new();
        let mut after = None;
        loop {
            let page = ListThreads {
                prefix: String::new(),
                after,
                limit: 512,
                all: false,
            };
            let threads = self.engine.backend.threads(page).await?;
            let Some(last) = threads.last() else { break };
            after = Some(last.clone());
            for thread in threads {
                let mut rows = self.thread_rows(&thread, query, Detail::Keys).await?;
                while let Some(row) = rows.next().await {
                    let key = row?.record.key;
                    keys.insert((Reverse(key.id), thread.clone(), key.namespace));
                    if most.is_some_and(|most| keys.len() > most) {
                        keys.pop_last();
                    }
                }
            }
        }
        let engine = self.engine.clone();
        Ok(futures::stream::iter(keys)
            .filter_map(move |(Reverse(id), thread, namespace)| {
                let engine = engine.clone();
                async move {
                    let pick = Pick::At(RecordKey { namespace, id });
                    match engine.get_one(&thread, pick, Detail::Writes).await {
                        Ok(row) => row.filter(|row| !row.hidden).map(|row| Ok((thread, row))),
                        Err(error) => Some(Err(error)),
                    }
                }
            })
            .boxed())
    }
}
