//! The contract's own types, under its own names.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use crate::error::Result;
use crate::record::Version;
use crate::snapshot::Snapshot;
use crate::types::{Item, Value};

/// Names a checkpoint, or the latest of a namespace: the contract's
/// `config.configurable`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Config {
    /// `thread_id`.
    pub thread_id: String,
    /// `checkpoint_ns`; `""` is the root.
    pub checkpoint_ns: String,
    /// `checkpoint_id`; `None` is the latest. For `put`: the parent.
    pub checkpoint_id: Option<String>,
}

impl Config {
    /// The latest checkpoint of a thread's root namespace.
    pub fn new(thread_id: impl Into<String>) -> Self {
        Self {
            thread_id: thread_id.into(),
            ..Self::default()
        }
    }

    /// The same in another namespace.
    #[must_use]
    pub fn with_ns(mut self, checkpoint_ns: impl Into<String>) -> Self {
        self.checkpoint_ns = checkpoint_ns.into();
        self
    }

    /// The same with a checkpoint id.
    #[must_use]
    pub fn with_id(mut self, checkpoint_id: impl Into<String>) -> Self {
        self.checkpoint_id = Some(checkpoint_id.into());
        self
    }
}

/// A whole checkpoint, as the contract has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// The version of the checkpoint's shape.
    pub v: u64,
    /// The id.
    pub id: String,
    /// When it was made, ISO 8601.
    pub ts: String,
    /// Values by channel.
    pub channel_values: BTreeMap<String, Value>,
    /// The version of each channel.
    pub channel_versions: BTreeMap<String, Version>,
    /// By node, the channel versions it has seen.
    pub versions_seen: BTreeMap<String, BTreeMap<String, Version>>,
    /// Channels that this step updated.
    pub updated_channels: Option<Vec<String>>,
}

/// A pending write, as it is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The task.
    pub task_id: Arc<str>,
    /// The task's path.
    pub task_path: Arc<str>,
    /// Position in the task's writes; negative for special channels.
    pub idx: i32,
    /// The channel.
    pub channel: Arc<str>,
    /// The value.
    pub value: Item,
}

/// A checkpoint with its surroundings. Values are lazy: nothing of them is
/// read before [`checkpoint`](Self::checkpoint) or the snapshot is asked.
#[derive(Debug, Clone)]
pub struct CheckpointTuple {
    /// Names this checkpoint.
    pub config: Config,
    /// The metadata.
    pub metadata: JsonMap<String, Json>,
    /// Names the parent, if it has one.
    pub parent_config: Option<Config>,
    /// Pending writes, ordered by the bytes of task path and task id, then
    /// index: the contract's `writes_sort_key`.
    pub pending_writes: Vec<Write>,
    /// The checkpoint itself.
    pub snapshot: Snapshot,
}

impl CheckpointTuple {
    /// The whole checkpoint, every value read.
    ///
    /// # Errors
    /// As [`Snapshot::value`].
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        let record = self.snapshot.record();
        let versions_seen = self
            .snapshot
            .json_map(&record.versions_seen)
            .await?
            .into_iter()
            .map(|(node, versions)| {
                let versions = serde_json::from_value(versions).map_err(|e| {
                    crate::Error::corrupt("versions_seen is not versions by channel").source(e)
                })?;
                Ok((node, versions))
            })
            .collect::<Result<_>>()?;
        Ok(Checkpoint {
            v: record.v,
            id: self.snapshot.id().to_owned(),
            ts: record.ts.to_string(),
            channel_values: self.snapshot.load().await?,
            channel_versions: record
                .channels
                .iter()
                .filter_map(|(name, channel)| {
                    channel
                        .version
                        .clone()
                        .map(|version| (name.to_string(), version))
                })
                .collect(),
            versions_seen,
            updated_channels: record
                .updated_channels
                .as_ref()
                .map(|names| names.iter().map(ToString::to_string).collect()),
        })
    }
}

/// What to list. The default lists every checkpoint there is.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only this thread.
    pub thread_id: Option<String>,
    /// Only this namespace; `Some("")` is the root alone.
    pub checkpoint_ns: Option<String>,
    /// Only this checkpoint id.
    pub checkpoint_id: Option<String>,
    /// As [`HistoryQuery::filter`](crate::HistoryQuery::filter).
    pub filter: JsonMap<String, Json>,
    /// Only ids before this one, whatever thread it is of.
    pub before: Option<String>,
    /// At most so many; `Some(0)` lists nothing.
    pub limit: Option<usize>,
}

/// What `prune` keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneStrategy {
    /// The newest checkpoint of each namespace, pinned ones, and what their
    /// delta channels need.
    #[default]
    KeepLatest,
    /// Nothing.
    Delete,
}

/// One delta channel's history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeltaChannelHistory {
    /// Writes to replay, oldest first.
    pub writes: Vec<Write>,
    /// The value to start from; `None` if the walk came to the root.
    pub seed: Option<Value>,
}

/// Indices of the channels whose writes replace each other: the contract's
/// `WRITES_IDX_MAP`.
pub(crate) fn special_idx(channel: &str) -> Option<i32> {
    match channel {
        "__error__" => Some(-1),
        "__scheduled__" => Some(-2),
        "__interrupt__" => Some(-3),
        "__resume__" => Some(-4),
        _ => None,
    }
}

/// Whether two versions name the same state of a channel. An integer and a
/// float of the same value do.
pub(crate) fn same_version(a: &Version, b: &Version) -> bool {
    match (a, b) {
        (Version::Int(a), Version::Float(b)) | (Version::Float(b), Version::Int(a)) => {
            *a as f64 == *b
        }
        _ => a == b,
    }
}
