//! `put` and `put_writes`.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Map as JsonMap, Value as Json};

use super::types::{same_version, special_idx};
use super::{Checkpoint, Config, Saver, required_id};
use crate::backend::{Detail, ListRecords, PendingWrite, Pick, PutWrites, RecordKey, RecordRow};
use crate::commit::{Builder, Origin, Target, Tried};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result, quote};
use crate::record::{Channel, Content, Record, Version};
use crate::thread::Thread;
use crate::types::{Item, check_checkpoint_id, check_id, check_item};

/// Tries of a `put` whose donor was pruned while it was made.
const TRIES: usize = 4;

impl Saver {
    /// Stores a checkpoint. `config` names its thread and namespace, and, by
    /// `checkpoint_id`, its parent. Gives the config that names it.
    ///
    /// Of the channels in `channel_versions`, those in `new_versions` are
    /// stored from `channel_values` (a channel without a value there is
    /// empty); the others are borrowed at their version from the parent, else
    /// from the newest checkpoint of the namespace that has them so, else
    /// they are absent. A checkpoint of the same id is replaced; it keeps its
    /// pending writes and its first parent.
    ///
    /// # Errors
    /// `InvalidInput` for ids that cannot be, `ParentGone` if the parent named
    /// does not exist and something must be borrowed, `TooLarge`; what the backend
    /// reports. Nothing is stored then.
    pub async fn put(
        &self,
        config: &Config,
        checkpoint: Checkpoint,
        metadata: JsonMap<String, Json>,
        new_versions: &BTreeMap<String, Version>,
    ) -> Result<Config> {
        let thread = self.thread(config)?;
        check_checkpoint_id(&checkpoint.id)?;
        for channel in checkpoint.channel_versions.keys() {
            check_id("channel", channel, false)?;
        }
        self.engine.check_open()?;
        let id = checkpoint.id.clone();
        let pack = self.engine.pack_id()?;
        let metadata = Arc::new(metadata);
        let mut tries = 0;
        loop {
            let job = Put {
                engine: &self.engine,
                thread: &thread,
                parent: config.checkpoint_id.as_deref(),
                checkpoint: checkpoint.clone(),
                metadata: metadata.clone(),
                new_versions,
                // What the caller named is read again if the first try found
                // it changed.
                pack,
            };
            match job.run().await {
                Err(error) if error.kind() == ErrorKind::ParentGone && tries < TRIES => {
                    tries += 1;
                    if job_is_hopeless(&error) {
                        return Err(error.operation("put"));
                    }
                }
                Err(error) => return Err(error.operation("put")),
                Ok(()) => break,
            }
        }
        thread.saw(&Arc::from(id.as_str()));
        Engine::after_commit(&self.engine, &thread.id, &thread.namespace).await;
        Ok(Config {
            checkpoint_id: Some(id),
            ..config.clone()
        })
    }

    /// Stores the writes of one task for the checkpoint that `config` names,
    /// which may come later. Each write to a special channel (`__error__`,
    /// `__scheduled__`, `__interrupt__`, `__resume__`) replaces the task's
    /// earlier one; any other is kept if its position has one already.
    ///
    /// # Errors
    /// `InvalidInput` for ids that cannot be or a config without a
    /// checkpoint id; what the backend reports.
    pub async fn put_writes(
        &self,
        config: &Config,
        writes: Vec<(String, Item)>,
        task_id: &str,
        task_path: &str,
    ) -> Result<()> {
        let thread = self.thread(config)?;
        let id = required_id(config)?;
        check_id("task_id", task_id, false)?;
        check_id("task_path", task_path, true)?;
        self.engine.check_open()?;
        let (task_id, task_path): (Arc<str>, Arc<str>) = (task_id.into(), task_path.into());
        let mut encoded: Vec<PendingWrite> = Vec::with_capacity(writes.len());
        for (position, (channel, item)) in writes.into_iter().enumerate() {
            check_id("channel", &channel, false)?;
            check_item(&item)?;
            let special = special_idx(&channel);
            let write = PendingWrite {
                task_id: task_id.clone(),
                task_path: task_path.clone(),
                idx: special.unwrap_or(position as i32),
                channel: channel.into(),
                value: self.engine.encode_write(&item)?,
                replace: special.is_some(),
            };
            // Of several to one special channel, the last stands.
            encoded.retain(|earlier| earlier.idx != write.idx);
            encoded.push(write);
        }
        if encoded.is_empty() {
            return Ok(());
        }
        self.engine
            .backend
            .put_writes(PutWrites {
                thread: thread.id.clone(),
                key: RecordKey {
                    namespace: thread.namespace.clone(),
                    id: id.into(),
                },
                write_id: self.engine.pack_id()?,
                fresh: self.engine.incarnation()?,
                time_ms: self.engine.clock.now_ms(),
                writes: encoded,
            })
            .await
            .map_err(|e| e.operation("put_writes"))
    }
}

/// Whether the parent was looked up and is not there: trying again is no use.
fn job_is_hopeless(error: &Error) -> bool {
    error.operation_name() == NO_PARENT
}

const NO_PARENT: &str = "put: parent";

struct Put<'a> {
    engine: &'a Arc<Engine>,
    thread: &'a Thread,
    parent: Option<&'a str>,
    checkpoint: Checkpoint,
    metadata: Arc<JsonMap<String, Json>>,
    new_versions: &'a BTreeMap<String, Version>,
    pack: crate::backend::PackId,
}

impl Put<'_> {
    async fn run(self) -> Result<()> {
        let Self {
            engine,
            thread,
            checkpoint,
            ..
        } = self;
        let borrows = checkpoint
            .channel_versions
            .keys()
            .any(|channel| !self.new_versions.contains_key(channel));
        let pick = |id: &str| {
            Pick::At(RecordKey {
                namespace: thread.namespace.clone(),
                id: id.into(),
            })
        };
        let mut fresh = false;
        let parent = match self.parent {
            None => None,
            Some(id) => {
                let picks = [pick(id), pick(&checkpoint.id)];
                let mut rows = engine.get(&thread.id, &picks, Detail::Bodies).await?;
                fresh = rows.pop().flatten().is_none();
                match rows.pop().flatten().filter(|row| !row.hidden) {
                    Some(row) => Some(row),
                    None if borrows => {
                        return Err(Error::new(
                            ErrorKind::ParentGone,
                            format!(
                                "checkpoint {} borrows from its parent {}, which thread {} \
                                 has not (any more)",
                                quote(&checkpoint.id),
                                quote(id),
                                quote(&thread.id)
                            ),
                        )
                        .operation(NO_PARENT));
                    }
                    None => None,
                }
            }
        };
        let parent_record = match &parent {
            Some(row) => engine.record(&thread.id, row)?,
            None => Arc::default(),
        };
        let mut origin = parent.as_ref().map(|row| Origin {
            incarnation: row.incarnation,
            from: vec![row.record.clone()],
        });
        let found = donors(
            engine,
            thread,
            &checkpoint,
            self.new_versions,
            &parent_record,
            &mut origin,
        )
        .await?;
        let mut builder = Builder::new(engine, &thread.id, self.pack, origin.as_ref());
        let mut values = checkpoint.channel_values;
        let mut record = Record {
            v: checkpoint.v,
            ts: checkpoint.ts.as_str().into(),
            updated_channels: checkpoint
                .updated_channels
                .map(|names| names.iter().map(|name| Arc::from(name.as_str())).collect()),
            metadata: builder
                .json_map(&self.metadata, &parent_record.metadata)
                .await?,
            versions_seen: Content::Absent,
            channels: BTreeMap::new(),
        };
        let seen = checkpoint
            .versions_seen
            .into_iter()
            .map(|(node, versions)| Ok((node, to_json(&versions)?)))
            .collect::<Result<JsonMap<_, _>>>()?;
        record.versions_seen = builder
            .json_map(&seen, &parent_record.versions_seen)
            .await?;
        let mut touched = Vec::new();
        for (name, version) in checkpoint.channel_versions {
            let old = parent_record.channels.get(name.as_str());
            let content = if self.new_versions.contains_key(&name) {
                let old = old
                    .map(|channel| channel.content.clone())
                    .unwrap_or_default();
                touched.push(name.clone());
                match values.remove(&name) {
                    Some(value) => builder.whole(value, &old).await?,
                    None => Content::Absent,
                }
            } else {
                match old.filter(|old| at_version(old, &version)) {
                    Some(old) => old.content.clone(),
                    None => found.get(&name).cloned().unwrap_or_default(),
                }
            };
            let channel = Channel {
                version: Some(version),
                content,
            };
            record.channels.insert(name.into(), channel);
        }
        builder.settle(&mut record, Some(&parent_record), |name| {
            touched.iter().any(|t| t == name)
        })?;
        let target = Target {
            key: RecordKey {
                namespace: thread.namespace.clone(),
                id: checkpoint.id.as_str().into(),
            },
            parent: self.parent.map(Arc::from),
            expect_latest: None,
            metadata: self.metadata,
            tried: Tried::default(),
            fresh,
            time_ms: None,
        };
        builder.commit(record, target, origin).await?;
        Ok(())
    }
}

fn to_json(versions: &BTreeMap<String, Version>) -> Result<Json> {
    serde_json::to_value(versions)
        .map_err(|e| Error::invalid("versions_seen cannot be written as JSON").source(e))
}

fn at_version(channel: &Channel, version: &Version) -> bool {
    channel
        .version
        .as_ref()
        .is_some_and(|have| same_version(have, version))
}

/// Finds channels that the parent has not got at their version in the newest
/// record of the namespace that has, and adds that record to `origin`.
async fn donors(
    engine: &Arc<Engine>,
    thread: &Thread,
    checkpoint: &Checkpoint,
    new_versions: &BTreeMap<String, Version>,
    parent: &Record,
    origin: &mut Option<Origin>,
) -> Result<BTreeMap<String, Content>> {
    let mut missing: BTreeMap<&str, &Version> = checkpoint
        .channel_versions
        .iter()
        .filter(|(name, version)| {
            !new_versions.contains_key(*name)
                && !parent
                    .channels
                    .get(name.as_str())
                    .is_some_and(|old| at_version(old, version))
        })
        .map(|(name, version)| (name.as_str(), version))
        .collect();
    let mut found = BTreeMap::new();
    if missing.is_empty() {
        return Ok(found);
    }
    let mut rows = engine
        .backend
        .list(ListRecords {
            thread: thread.id.clone(),
            namespace: Some(thread.namespace.clone()),
            before: None,
            limit: None,
            hidden: false,
            detail: Detail::Bodies,
        })
        .await?;
    while !missing.is_empty() {
        let Some(row) = rows.next().await else { break };
        let row: RecordRow = row?;
        let record = engine.record(&thread.id, &row)?;
        let mut gives = false;
        missing.retain(|name, version| {
            match record
                .channels
                .get(*name)
                .filter(|channel| at_version(channel, version))
            {
                Some(channel) => {
                    found.insert((*name).to_owned(), channel.content.clone());
                    gives = true;
                    false
                }
                None => true,
            }
        });
        if gives {
            let origin = origin.get_or_insert(Origin {
                incarnation: row.incarnation,
                from: Vec::new(),
            });
            if origin.incarnation == row.incarnation && !origin.from.contains(&row.record) {
                origin.from.push(row.record);
            }
        }
    }
    Ok(found)
}
