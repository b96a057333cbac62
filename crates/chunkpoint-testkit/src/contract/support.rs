//! What the behaviours are written with: checkpoints described step by step,
//! and reads that are easy to compare.

use std::collections::BTreeMap;

use chunkpoint_core::{
    Checkpoint, CheckpointTuple, Config, ErrorKind, Item, ListQuery, Result, Saver, Value, Version,
};
use futures::TryStreamExt;
use serde_json::{Map as JsonMap, Value as Json, json};

pub(super) use crate::target::Target;

/// A version, from what a behaviour writes it as.
pub(super) trait IntoVersion {
    fn into_version(self) -> Version;
}

impl IntoVersion for i64 {
    fn into_version(self) -> Version {
        Version::Int(self)
    }
}

impl IntoVersion for f64 {
    fn into_version(self) -> Version {
        Version::Float(self)
    }
}

impl IntoVersion for &str {
    fn into_version(self) -> Version {
        Version::Text(self.into())
    }
}

/// A single value of text.
pub(super) fn text(text: &str) -> Value {
    Value::Item(Item::text(text))
}

/// A list of texts.
pub(super) fn list(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| Item::text(*text)).collect())
}

/// A JSON object.
pub(super) fn object(json: Json) -> JsonMap<String, Json> {
    match json {
        Json::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// One `put`, as it is described.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) config: Config,
    pub(super) checkpoint: Checkpoint,
    pub(super) metadata: JsonMap<String, Json>,
    pub(super) new_versions: BTreeMap<String, Version>,
}

impl Step {
    /// A first checkpoint of a root namespace, without channels.
    pub(super) fn new(thread: &str, id: &str) -> Self {
        Self {
            config: Config::new(thread),
            checkpoint: Checkpoint {
                v: 1,
                id: id.to_owned(),
                ts: "2026-03-01T12:00:00.000001+00:00".to_owned(),
                ..Checkpoint::default()
            },
            metadata: object(json!({"source": "loop", "step": 0})),
            new_versions: BTreeMap::new(),
        }
    }

    /// In this namespace.
    pub(super) fn ns(mut self, namespace: &str) -> Self {
        self.config.checkpoint_ns = namespace.to_owned();
        self
    }

    /// On this parent.
    pub(super) fn parent(mut self, id: &str) -> Self {
        self.config.checkpoint_id = Some(id.to_owned());
        self
    }

    /// A channel that this step writes.
    pub(super) fn set(mut self, name: &str, version: impl IntoVersion, value: Value) -> Self {
        let version = version.into_version();
        self.new_versions.insert(name.to_owned(), version.clone());
        self.kept(name, version, value)
    }

    /// A channel as the step before left it: its value is there, as callers
    /// give it, but its version is not new.
    pub(super) fn keep(self, name: &str, version: impl IntoVersion, value: Value) -> Self {
        self.kept(name, version.into_version(), value)
    }

    fn kept(mut self, name: &str, version: Version, value: Value) -> Self {
        let checkpoint = &mut self.checkpoint;
        checkpoint.channel_versions.insert(name.to_owned(), version);
        checkpoint.channel_values.insert(name.to_owned(), value);
        self
    }

    /// A channel whose version is not new and whose value is not given.
    pub(super) fn carry(mut self, name: &str, version: impl IntoVersion) -> Self {
        let versions = &mut self.checkpoint.channel_versions;
        versions.insert(name.to_owned(), version.into_version());
        self
    }

    /// A channel that this step empties.
    pub(super) fn empty(mut self, name: &str, version: impl IntoVersion) -> Self {
        let version = version.into_version();
        self.new_versions.insert(name.to_owned(), version.clone());
        self.checkpoint
            .channel_versions
            .insert(name.to_owned(), version);
        self
    }

    /// One more key of the metadata.
    pub(super) fn meta(mut self, key: &str, value: Json) -> Self {
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// What a node has seen of a channel.
    pub(super) fn seen(mut self, node: &str, name: &str, version: impl IntoVersion) -> Self {
        let nodes = &mut self.checkpoint.versions_seen;
        let seen = nodes.entry(node.to_owned()).or_default();
        seen.insert(name.to_owned(), version.into_version());
        self
    }

    pub(super) async fn try_put(&self, saver: &Saver) -> Result<Config> {
        let metadata = self.metadata.clone();
        saver
            .put(
                &self.config,
                self.checkpoint.clone(),
                metadata,
                &self.new_versions,
            )
            .await
    }

    /// Puts it, which must succeed.
    pub(super) async fn put(&self, saver: &Saver) -> Config {
        let put = self.try_put(saver).await;
        put.unwrap_or_else(|e| panic!("checkpoint {}: {e}", self.checkpoint.id))
    }

    /// Names the checkpoint it makes.
    pub(super) fn names(&self) -> Config {
        let config = self.config.clone();
        config.with_id(&self.checkpoint.id)
    }
}

/// Puts `count` checkpoints `1`, `2`, … (with leading zeros), each the parent
/// of the next, with a channel `step` that tells its number.
pub(super) async fn chain(saver: &Saver, thread: &str, namespace: &str, count: usize) {
    for n in 1..=count {
        link(thread, namespace, n).put(saver).await;
    }
}

/// Checkpoint `n` of a [`chain`].
pub(super) fn link(thread: &str, namespace: &str, n: usize) -> Step {
    let mut step = Step::new(thread, &id(n))
        .ns(namespace)
        .meta("step", json!(n))
        .set("step", n as i64, text(&format!("{thread}/{namespace}/{n}")));
    if n > 1 {
        step = step.parent(&id(n - 1));
    }
    step
}

/// The id of checkpoint `n` of a [`chain`].
pub(super) fn id(n: usize) -> String {
    format!("{n:06}")
}

/// The ids of these checkpoints of a [`chain`].
pub(super) fn ids(of: impl IntoIterator<Item = usize>) -> Vec<String> {
    of.into_iter().map(id).collect()
}

/// Gets a checkpoint if it is there.
pub(super) async fn find(saver: &Saver, config: &Config) -> Option<CheckpointTuple> {
    saver.get_tuple(config).await.unwrap()
}

/// Gets a checkpoint, which must be there.
pub(super) async fn get(saver: &Saver, config: &Config) -> CheckpointTuple {
    let found = find(saver, config).await;
    found.unwrap_or_else(|| panic!("{config:?} must be there"))
}

/// Gets the whole checkpoint, which must be there.
pub(super) async fn checkpoint(saver: &Saver, config: &Config) -> Checkpoint {
    get(saver, config).await.checkpoint().await.unwrap()
}

/// The values of a checkpoint, which must be there.
pub(super) async fn values(saver: &Saver, config: &Config) -> BTreeMap<String, Value> {
    checkpoint(saver, config).await.channel_values
}

/// What [`values`] must give.
pub(super) fn expected<const N: usize>(of: [(&str, Value); N]) -> BTreeMap<String, Value> {
    of.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A listing of one thread.
pub(super) fn of_thread(thread: &str) -> ListQuery {
    ListQuery {
        thread_id: Some(thread.to_owned()),
        ..ListQuery::default()
    }
}

/// A listing of one namespace.
pub(super) fn of_ns(thread: &str, namespace: &str) -> ListQuery {
    ListQuery {
        checkpoint_ns: Some(namespace.to_owned()),
        ..of_thread(thread)
    }
}

pub(super) async fn listed(saver: &Saver, query: ListQuery) -> Vec<CheckpointTuple> {
    saver.list(query).try_collect().await.unwrap()
}

/// The ids that a listing gives, in its order.
pub(super) async fn listed_ids(saver: &Saver, query: ListQuery) -> Vec<String> {
    let tuples = listed(saver, query).await.into_iter();
    tuples
        .map(|tuple| tuple.config.checkpoint_id.unwrap())
        .collect()
}

/// (thread, namespace, id) of each, in the listing's order.
pub(super) async fn listed_names(saver: &Saver, query: ListQuery) -> Vec<(String, String, String)> {
    let tuples = listed(saver, query).await.into_iter();
    tuples
        .map(|tuple| {
            let config = tuple.config;
            let id = config.checkpoint_id.unwrap();
            (config.thread_id, config.checkpoint_ns, id)
        })
        .collect()
}

/// Stores writes of text, which must succeed.
pub(super) async fn write(saver: &Saver, config: &Config, task: &str, writes: &[(&str, &str)]) {
    write_at(saver, config, task, "", writes).await;
}

/// As [`write`], with a task path.
pub(super) async fn write_at(
    saver: &Saver,
    config: &Config,
    task: &str,
    path: &str,
    writes: &[(&str, &str)],
) {
    let writes = writes
        .iter()
        .map(|(channel, value)| ((*channel).to_owned(), Item::text(*value)));
    saver
        .put_writes(config, writes.collect(), task, path)
        .await
        .unwrap();
}

/// (task, channel, text) of each pending write, in the order given.
pub(super) async fn pending(saver: &Saver, config: &Config) -> Vec<(String, String, String)> {
    written(&get(saver, config).await)
}

/// (task, channel, text) of each pending write, in the order given.
pub(super) fn written(tuple: &CheckpointTuple) -> Vec<(String, String, String)> {
    let writes = tuple.pending_writes.iter();
    writes.map(told).collect()
}

/// (task, channel, text) of a write.
pub(super) fn told(write: &chunkpoint_core::Write) -> (String, String, String) {
    let value = String::from_utf8(write.value.bytes.to_vec()).unwrap();
    (write.task_id.to_string(), write.channel.to_string(), value)
}

/// What [`pending`] must give.
pub(super) fn told_as(of: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let of = of.iter();
    of.map(|(task, channel, value)| ((*task).into(), (*channel).into(), (*value).into()))
        .collect()
}

/// The kind of the error that an operation must fail with.
pub(super) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("this must fail").kind()
}
