//! `delete_thread`, `delete_for_runs`, `copy_thread`, `prune`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use super::{PruneStrategy, Saver};
use crate::backend::{Detail, ListRecords, ListThreads, RecordRow};
use crate::error::Result;
use crate::removal::remove;
use crate::types::check_id;

impl Saver {
    /// Deletes a thread: all namespaces, checkpoints and writes, in one atomic
    /// step. One that does not exist is no error.
    ///
    /// # Errors
    /// `InvalidInput` for an id that cannot be; what the backend reports.
    pub async fn delete_thread(&self, thread_id: &str) -> Result<()> {
        check_id("thread_id", thread_id, false)?;
        self.engine.delete_thread(thread_id).await
    }

    /// Deletes the checkpoints whose metadata has one of these `run_id`s, in
    /// all threads and namespaces. Pinned ones stay, and what delta channels of the
    /// others need stays hidden. Reads the key of every checkpoint there is.
    ///
    /// # Errors
    /// What the backend reports; what was deleted until then is deleted, and
    /// repeating it does the rest.
    pub async fn delete_for_runs(&self, run_ids: &[&str]) -> Result<()> {
        if run_ids.is_empty() {
            return Ok(());
        }
        let runs: HashSet<&str> = run_ids.iter().copied().collect();
        let mut after = None;
        loop {
            let page = ListThreads {
                prefix: String::new(),
                after,
                limit: 512,
                all: false,
            };
            let threads = self
                .engine
                .backend
                .threads(page)
                .await
                .map_err(|e| e.operation("delete_for_runs"))?;
            let Some(last) = threads.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for thread in threads {
                let of_run = |row: &RecordRow| {
                    row.index
                        .run_id
                        .as_deref()
                        .is_some_and(|run| runs.contains(run))
                };
                self.remove_where(&thread, of_run)
                    .await
                    .map_err(|e| e.operation("delete_for_runs"))?;
            }
        }
    }

    /// Copies a thread with everything it has (checkpoint ids, parents,
    /// metadata, writes, pins) to one that does not exist; it appears in one
    /// atomic step.
    ///
    /// # Errors
    /// `Conflict` if the target exists, `NotFound` if the source does not.
    pub async fn copy_thread(&self, source: &str, target: &str) -> Result<()> {
        check_id("source thread_id", source, false)?;
        check_id("target thread_id", target, false)?;
        self.engine.check_open()?;
        let fresh = self.engine.incarnation()?;
        self.engine
            .backend
            .copy_thread(source, target, fresh)
            .await
            .map_err(|e| e.operation("copy_thread"))
    }

    /// Thins out threads. Those that do not exist are passed over.
    ///
    /// # Errors
    /// What the backend reports; what was removed until then is removed, and
    /// repeating it does the rest.
    pub async fn prune(&self, thread_ids: &[&str], strategy: PruneStrategy) -> Result<()> {
        for thread in thread_ids {
            check_id("thread_id", thread, false)?;
        }
        for thread in thread_ids {
            match strategy {
                PruneStrategy::Delete => self.engine.delete_thread(thread).await,
                PruneStrategy::KeepLatest => {
                    let mut newest = HashSet::new();
                    // Newest first: the first of each namespace stays.
                    let older = |row: &RecordRow| !newest.insert(row.record.key.namespace.clone());
                    self.remove_where(&Arc::from(*thread), older).await
                }
            }
            .map_err(|e| e.operation("prune"))?;
        }
        Ok(())
    }

    /// Removes the visible, unpinned records for which `goes` holds; it sees
    /// all visible ones, newest id first.
    async fn remove_where(
        &self,
        thread: &Arc<str>,
        mut goes: impl FnMut(&RecordRow) -> bool + Send,
    ) -> Result<()> {
        self.engine.check_open()?;
        let mut rows = self
            .engine
            .backend
            .list(ListRecords {
                thread: thread.clone(),
                namespace: None,
                before: None,
                limit: None,
                hidden: false,
                detail: Detail::Keys,
            })
            .await?;
        let mut victims: BTreeMap<Arc<str>, Vec<RecordRow>> = BTreeMap::new();
        while let Some(row) = rows.next().await {
            let row = row?;
            if goes(&row) && !row.pinned {
                victims
                    .entry(row.record.key.namespace.clone())
                    .or_default()
                    .push(row);
            }
        }
        let mut due = false;
        for (namespace, victims) in victims {
            let removed = remove(&self.engine, thread, &namespace, victims).await?;
            due = self.engine.retention.removed(thread, removed.bytes);
        }
        if due && self.engine.background.enabled() {
            let (engine, thread) = (Arc::downgrade(&self.engine), thread.clone());
            self.engine
                .background
                .spawn(format!("reclaim {thread}"), async move {
                    let Some(engine) = engine.upgrade() else {
                        return;
                    };
                    if let Err(error) = engine.reclaim(&thread).await {
                        tracing::warn!(%error, "reclaiming stopped");
                    }
                });
        }
        Ok(())
    }
}
