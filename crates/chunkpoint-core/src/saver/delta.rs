//! `get_delta_channel_history`.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::{Config, DeltaChannelHistory, Saver};
use crate::backend::{Detail, ListRecords, Pick, RecordKey, RecordRow};
use crate::error::Result;
use crate::removal::has_value;
use crate::thread::Thread;

impl Saver {
    /// For each channel: the writes to replay on the nearest stored value
    /// before the checkpoint that `config` names (its own writes are not among
    /// them), and that value.
    ///
    /// Follows parents from the checkpoint's parent on. A record that has a
    /// value of the channel ends its walk, with its own writes included. The
    /// ancestors are read in one stream as long as ids descend from child to
    /// parent.
    ///
    /// # Errors
    /// As [`get_tuple`](Self::get_tuple).
    pub async fn get_delta_channel_history(
        &self,
        config: &Config,
        channels: &[&str],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        self.history(config, channels)
            .await
            .map_err(|e| e.operation("get_delta_channel_history"))
    }

    async fn history(
        &self,
        config: &Config,
        channels: &[&str],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        let thread = self.thread(config)?;
        let mut out: BTreeMap<String, DeltaChannelHistory> = channels
            .iter()
            .map(|name| ((*name).to_owned(), DeltaChannelHistory::default()))
            .collect();
        if channels.is_empty() {
            return Ok(out);
        }
        let pick = match &config.checkpoint_id {
            Some(id) => Pick::At(key(&thread, id)),
            None => Pick::Latest {
                namespace: thread.namespace.clone(),
            },
        };
        let Some(target) = self.engine.get_one(&thread.id, pick, Detail::Keys).await? else {
            return Ok(out);
        };
        let mut open: Vec<&str> = channels.to_vec();
        let mut walk = Walk {
            saver: self,
            thread: &thread,
            rows: None,
            ahead: None,
        };
        let mut at = target.index.parent;
        let mut child = target.record.key.id;
        // Parents in a circle end with the number of records there can be.
        let mut passed = std::collections::HashSet::new();
        while let Some(id) = at {
            if open.is_empty() || !passed.insert(id.clone()) {
                break;
            }
            let Some(row) = walk.find(&id, &child).await? else {
                break;
            };
            let (parent, key) = (row.index.parent.clone(), row.record.key.id.clone());
            let record = self.engine.record(&thread.id, &row)?;
            let writes = self.engine.writes(&row.writes)?;
            for name in &open {
                if let Some(history) = out.get_mut(*name) {
                    // Gathered newest first, turned round at the end.
                    let own = writes.iter().rev().filter(|write| &*write.channel == *name);
                    history.writes.extend(own.cloned());
                }
            }
            let ends: Vec<&str> = open
                .iter()
                .copied()
                .filter(|name| has_value(&record, name))
                .collect();
            if !ends.is_empty() {
                let snapshot = thread.snapshot(row)?;
                for name in &ends {
                    if let Some(history) = out.get_mut(*name) {
                        history.seed = snapshot.value(name).await?;
                    }
                }
                open.retain(|name| !ends.contains(name));
            }
            at = parent;
            child = key;
        }
        for history in out.values_mut() {
            history.writes.reverse();
        }
        Ok(out)
    }
}

fn key(thread: &Thread, id: &str) -> RecordKey {
    RecordKey {
        namespace: thread.namespace.clone(),
        id: id.into(),
    }
}

/// Finds parents in one descending stream, and by name where ids do not
/// descend.
struct Walk<'a> {
    saver: &'a Saver,
    thread: &'a Thread,
    rows: Option<BoxStream<'static, Result<RecordRow>>>,
    ahead: Option<RecordRow>,
}

impl Walk<'_> {
    async fn find(&mut self, id: &Arc<str>, child: &Arc<str>) -> Result<Option<RecordRow>> {
        let engine = &self.saver.engine;
        if id < child {
            if self.rows.is_none() {
                let query = ListRecords {
                    thread: self.thread.id.clone(),
                    namespace: Some(self.thread.namespace.clone()),
                    before: Some(child.clone()),
                    limit: None,
                    hidden: true,
                    detail: Detail::Writes,
                };
                // Asked again after its end where ids go up and down.
                self.rows = Some(engine.backend.list(query).await?.fuse().boxed());
            }
            while let Some(rows) = &mut self.rows {
                let row = match self.ahead.take() {
                    Some(row) => row,
                    None => match rows.next().await {
                        Some(row) => row?,
                        None => break,
                    },
                };
                if row.record.key.id == *id {
                    return Ok(Some(row));
                }
                if row.record.key.id < *id {
                    // Passed it: a row for later, and a look by name now.
                    self.ahead = Some(row);
                    break;
                }
            }
        }
        engine
            .get_one(
                &self.thread.id,
                Pick::At(key(self.thread, id)),
                Detail::Writes,
            )
            .await
    }
}
