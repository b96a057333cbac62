//! What the behaviours are written with.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkpoint_core::{
    Draft, ErrorKind, HistoryQuery, Item, Memory, Result, Snapshot, Thread, Value,
};
use futures::TryStreamExt;

pub(super) use crate::deterministic::Rng;
pub(super) use crate::target::Target;

/// Longer than any grace period here.
pub(super) const LATER: Duration = Duration::from_secs(24 * 3600);

/// The thread most behaviours are about.
pub(super) fn thread(memory: &Memory) -> Thread {
    memory.thread("t").unwrap()
}

/// Texts as items.
pub(super) fn items<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Vec<Item> {
    texts
        .into_iter()
        .map(|text| Item::text(text.as_ref()))
        .collect()
}

/// `count` items of `len` bytes that do not compress, other ones for every `seed`.
pub(super) fn random_items(seed: u64, count: usize, len: usize) -> Vec<Item> {
    let mut rng = Rng::new(seed);
    (0..count)
        .map(|_| Item::new("bytes", rng.bytes(len)))
        .collect()
}

/// Commits, which must succeed.
pub(super) async fn commit(thread: &Thread, draft: Draft) -> Snapshot {
    thread.commit(draft).await.unwrap()
}

/// Commits what `change` does to a draft on the latest.
pub(super) async fn step(thread: &Thread, change: impl FnOnce(&mut Draft) + Send) -> Snapshot {
    let mut draft = thread.draft().await.unwrap();
    change(&mut draft);
    commit(thread, draft).await
}

/// Commits what `change` does to a draft on `parent`.
pub(super) async fn step_on(parent: &Snapshot, change: impl FnOnce(&mut Draft) + Send) -> Snapshot {
    let mut draft = parent.draft().unwrap();
    change(&mut draft);
    commit(parent.thread(), draft).await
}

/// Appends one text to `list`.
pub(super) async fn append(thread: &Thread, text: &str) -> Snapshot {
    step(thread, |draft| {
        draft.append("list", items([text])).unwrap();
    })
    .await
}

/// Appends `1`, `2`, … one step each; gives all snapshots.
pub(super) async fn appended(thread: &Thread, count: usize) -> Vec<Snapshot> {
    let mut snapshots = Vec::new();
    for n in 1..=count {
        snapshots.push(append(thread, &n.to_string()).await);
    }
    snapshots
}

/// What `list` must hold after `count` steps of [`appended`].
pub(super) fn up_to(count: usize) -> Value {
    Value::List(items((1..=count).map(|n| n.to_string())))
}

/// The value of a channel.
pub(super) async fn value(snapshot: &Snapshot, channel: &str) -> Option<Value> {
    snapshot.value(channel).await.unwrap()
}

/// Every value of a checkpoint, read by a memory that has nothing in its cache.
pub(super) async fn cold(target: &Target, snapshot: &Snapshot) -> BTreeMap<String, Value> {
    let found = reread(&target.memory(), snapshot).await;
    let found = found.expect("the checkpoint must be there");
    found.load().await.unwrap()
}

/// The same checkpoint through another memory.
pub(super) async fn reread(memory: &Memory, snapshot: &Snapshot) -> Option<Snapshot> {
    let thread = memory.thread(snapshot.thread().id()).unwrap();
    let thread = thread.with_namespace(snapshot.namespace()).unwrap();
    thread.at(snapshot.id()).await.unwrap()
}

/// The ids of a thread's history.
pub(super) async fn history(thread: &Thread, query: HistoryQuery) -> Vec<String> {
    let snapshots: Vec<Snapshot> = thread.history(query).try_collect().await.unwrap();
    snapshots
        .iter()
        .map(|snapshot| snapshot.id().to_owned())
        .collect()
}

/// The ids of these snapshots, newest first.
pub(super) fn ids_of<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Vec<String> {
    let mut ids: Vec<_> = snapshots.into_iter().map(|s| s.id().to_owned()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// Lets the grace period pass and removes what nothing reaches.
pub(super) async fn reclaim(target: &Target) -> u64 {
    target.clock().advance(LATER);
    target.memory().maintain().await.unwrap().freed_bytes
}

/// Gives every checkpoint of the thread an id of its own choice.
pub(super) fn named(draft: &mut Draft, id: &str) {
    draft.set_id(id).unwrap();
}

/// The kind of the error that an operation must fail with.
pub(super) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("this must fail").kind()
}
