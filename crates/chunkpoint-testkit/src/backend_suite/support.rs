//! What the behaviours are written with: commits that are easy to tell apart,
//! and reads that are easy to compare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunkpoint_core::backend::{
    Alter, Altered, Base, Change, CheckpointBackend, ChunkName, Commit, Committed, Detail,
    Incarnation, ListCondemned, ListRecords, ListThreads, PackId, PendingWrite, Pick, PutWrites,
    Reclaim, Reclaimed, RecordIndex, RecordKey, RecordRef, RecordRow,
};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::TryStreamExt;

/// The backend under test.
pub(super) type Backend = Arc<dyn CheckpointBackend>;

/// When everything happens unless a behaviour is about time.
pub(super) const NOW: u64 = 1_700_000_000_000;

/// Later than anything that happens.
pub(super) const LATER: u64 = NOW + 1_000_000;

/// An id no other has: spread over all bytes, so that order by id is not
/// order of creation.
fn unique() -> [u8; 8] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    // An odd factor makes it a permutation of the numbers.
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

pub(super) fn pack_id() -> PackId {
    PackId(unique())
}

pub(super) fn fresh() -> Incarnation {
    Incarnation(unique())
}

pub(super) fn key(namespace: &str, id: &str) -> RecordKey {
    RecordKey {
        namespace: namespace.into(),
        id: id.into(),
    }
}

/// A commit in the root namespace that builds on nothing, with two chunks and
/// a body that no other commit has.
pub(super) fn root(thread: &str, id: &str) -> Commit {
    let pack = pack_id();
    Commit {
        thread: thread.into(),
        key: key("", id),
        pack,
        base: Base::Root { fresh: fresh() },
        expect_latest: None,
        index: RecordIndex {
            time_ms: NOW,
            ..RecordIndex::default()
        },
        body: Bytes::from(format!("body of {pack}")),
        chunks: vec![
            Bytes::from(format!("chunk 0 of {pack}")),
            Bytes::from(format!("chunk 1 of {pack}")),
        ],
        metadata: Arc::default(),
    }
}

/// As [`root`], in a namespace.
pub(super) fn root_in(thread: &str, namespace: &str, id: &str) -> Commit {
    let mut commit = root(thread, id);
    commit.key = key(namespace, id);
    commit
}

/// A commit that borrows from these records of one thread, the first of which
/// is its parent.
pub(super) fn child(id: &str, from: &[&Stored]) -> Commit {
    let parent = from[0];
    let mut commit = root_in(&parent.commit.thread, &parent.commit.key.namespace, id);
    commit.index.parent = Some(parent.commit.key.id.clone());
    commit.base = Base::Borrow {
        incarnation: parent.incarnation,
        from: from.iter().map(|stored| stored.record()).collect(),
    };
    commit
}

/// A commit that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) commit: Commit,
    pub(super) incarnation: Incarnation,
    pub(super) locator: u64,
}

impl Stored {
    pub(super) fn new(commit: Commit, committed: Committed) -> Self {
        Self {
            commit,
            incarnation: committed.incarnation,
            locator: committed.locator,
        }
    }

    pub(super) fn thread(&self) -> &str {
        &self.commit.thread
    }

    pub(super) fn record(&self) -> RecordRef {
        RecordRef {
            key: self.commit.key.clone(),
            pack: self.commit.pack,
        }
    }

    /// The names of its own chunks.
    pub(super) fn names(&self) -> Vec<ChunkName> {
        let chunks = (0..).zip(&self.commit.chunks);
        let names = chunks.map(|(ordinal, chunk)| ChunkName {
            pack: self.commit.pack,
            ordinal,
            locator: self.locator,
            len: chunk.len() as u32,
        });
        names.collect()
    }

    /// The row that reading it in full must give while nothing has changed it.
    pub(super) fn row(&self) -> RecordRow {
        RecordRow {
            incarnation: self.incarnation,
            record: self.record(),
            locator: self.locator,
            hidden: false,
            pinned: false,
            index: self.commit.index.clone(),
            body: self.commit.body.clone(),
            writes: Vec::new(),
        }
    }
}

/// Commits, which must succeed.
pub(super) async fn put(backend: &Backend, commit: Commit) -> Stored {
    let committed = backend.commit(commit.clone()).await.unwrap();
    Stored::new(commit, committed)
}

/// The kind of the error that an operation must fail with.
pub(super) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    failure(result).kind()
}

/// The error that an operation must fail with.
pub(super) fn failure<T: std::fmt::Debug>(result: Result<T>) -> Error {
    result.expect_err("this must fail")
}

/// Reads one record in full.
pub(super) async fn at(backend: &Backend, thread: &str, key: &RecordKey) -> Option<RecordRow> {
    pick(backend, thread, Pick::At(key.clone())).await
}

/// Reads the latest record of a namespace in full.
pub(super) async fn latest(backend: &Backend, thread: &str, namespace: &str) -> Option<RecordRow> {
    let namespace = namespace.into();
    pick(backend, thread, Pick::Latest { namespace }).await
}

/// The id of the latest record of the root namespace.
pub(super) async fn latest_id(backend: &Backend, thread: &str) -> Option<String> {
    let row = latest(backend, thread, "").await?;
    Some(row.record.key.id.to_string())
}

async fn pick(backend: &Backend, thread: &str, pick: Pick) -> Option<RecordRow> {
    let picks = [pick];
    let mut rows = backend.get(thread, &picks, Detail::Writes).await.unwrap();
    assert_eq!(rows.len(), 1, "one entry for each pick");
    rows.remove(0)
}

/// A listing of everything visible, with keys only.
pub(super) fn listing(thread: &str) -> ListRecords {
    ListRecords {
        thread: thread.into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: false,
        detail: Detail::Keys,
    }
}

pub(super) async fn rows(backend: &Backend, query: ListRecords) -> Vec<RecordRow> {
    let rows = backend.list(query).await.unwrap();
    rows.try_collect().await.unwrap()
}

/// The ids that a listing gives, in its order.
pub(super) async fn ids(backend: &Backend, query: ListRecords) -> Vec<String> {
    let rows = rows(backend, query).await.into_iter();
    rows.map(|row| row.record.key.id.to_string()).collect()
}

/// Reads a commit's own chunks.
pub(super) async fn chunks(backend: &Backend, stored: &Stored) -> Vec<Option<Bytes>> {
    let (thread, incarnation) = (stored.thread(), stored.incarnation);
    let chunks = backend.chunks(thread, incarnation, &stored.names()).await;
    chunks.unwrap()
}

/// A commit's own chunks must be readable.
pub(super) async fn assert_chunks(backend: &Backend, stored: &Stored) {
    let found = chunks(backend, stored).await;
    let expected: Vec<_> = stored.commit.chunks.iter().cloned().map(Some).collect();
    assert!(
        found == expected,
        "the chunks of {} are not as committed",
        stored.commit.pack
    );
}

/// A commit that nothing has changed since must be readable, with its chunks.
pub(super) async fn assert_intact(backend: &Backend, stored: &Stored) {
    let row = at(backend, stored.thread(), &stored.commit.key).await;
    let mut expected = stored.row();
    // A reclaim may have moved it.
    expected.locator = row.as_ref().map_or(0, |row| row.locator);
    assert_eq!(row, Some(expected));
    assert_chunks(backend, stored).await;
}

/// Nothing of a commit may be there: neither record nor chunks.
pub(super) async fn assert_nothing(backend: &Backend, commit: &Commit, incarnation: Incarnation) {
    let row = at(backend, &commit.thread, &commit.key).await;
    assert_ne!(row.map(|row| row.record.pack), Some(commit.pack));
    let listed = rows(backend, listing(&commit.thread)).await;
    assert!(listed.iter().all(|row| row.record.pack != commit.pack));
    let committed = Committed {
        incarnation,
        locator: 0,
    };
    let stored = Stored::new(commit.clone(), committed);
    let found = chunks(backend, &stored).await;
    assert!(found.iter().all(Option::is_none), "chunks were stored");
}

/// Makes one change to a record.
pub(super) async fn alter(backend: &Backend, stored: &Stored, change: Change) -> Altered {
    let changes = vec![(stored.record(), change)];
    let altered = backend.alter(altering(stored, changes)).await.unwrap();
    assert_eq!(altered.len(), 1, "one entry for each change");
    altered[0]
}

/// Changes to the thread of `stored`.
pub(super) fn altering(stored: &Stored, changes: Vec<(RecordRef, Change)>) -> Alter {
    Alter {
        thread: stored.commit.thread.clone(),
        incarnation: stored.incarnation,
        time_ms: NOW,
        changes,
    }
}

/// Removes a record, which must be there.
pub(super) async fn remove(backend: &Backend, stored: &Stored) {
    assert_eq!(alter(backend, stored, Change::Remove).await, Altered::Done);
}

/// Hides a record, which must be there.
pub(super) async fn hide(backend: &Backend, stored: &Stored) {
    assert_eq!(alter(backend, stored, Change::Hide).await, Altered::Done);
}

/// A pending write; `value` is stored as it is.
pub(super) fn write(task: &str, idx: i32, value: &str, replace: bool) -> PendingWrite {
    PendingWrite {
        task_id: task.into(),
        task_path: "~path".into(),
        idx,
        channel: "messages".into(),
        value: Bytes::from(value.to_owned()),
        replace,
    }
}

/// Pending writes of a checkpoint in the root namespace.
pub(super) fn writing(thread: &str, id: &str, writes: Vec<PendingWrite>) -> PutWrites {
    PutWrites {
        thread: thread.into(),
        key: key("", id),
        write_id: pack_id(),
        fresh: fresh(),
        time_ms: NOW,
        writes,
    }
}

/// The values of a record's pending writes by (task, idx).
pub(super) fn values(row: &RecordRow) -> BTreeMap<(String, i32), String> {
    let writes = row.writes.iter().map(|write| {
        let value = String::from_utf8(write.value.to_vec()).unwrap();
        ((write.task_id.to_string(), write.idx), value)
    });
    let values: BTreeMap<_, _> = writes.collect();
    assert_eq!(values.len(), row.writes.len(), "a (task, idx) came twice");
    values
}

/// The values of a checkpoint of the root namespace, which must exist.
pub(super) async fn values_at(
    backend: &Backend,
    thread: &str,
    id: &str,
) -> BTreeMap<(String, i32), String> {
    let row = at(backend, thread, &key("", id)).await;
    values(&row.expect("the record must be there"))
}

/// What [`values`] must give.
pub(super) fn expected_values(of: &[(&str, i32, &str)]) -> BTreeMap<(String, i32), String> {
    let values = of.iter();
    let values = values.map(|(task, idx, value)| (((*task).into(), *idx), (*value).into()));
    values.collect()
}

/// All condemned packs of a thread that has an incarnation, whatever their age.
pub(super) async fn condemned(backend: &Backend, thread: &str) -> BTreeMap<PackId, Vec<u32>> {
    let query = ListCondemned {
        thread: thread.into(),
        before_ms: LATER,
        after: None,
        limit: usize::MAX >> 1,
    };
    let condemned = backend.condemned(query).await.unwrap();
    let packs = condemned.expect("the thread has an incarnation").packs;
    packs.into_iter().map(|p| (p.pack, p.chunks)).collect()
}

/// Reclaims these chunks, whatever their age. As an engine does, it first asks
/// what is condemned: a backend may let go only of what it has listed so.
pub(super) async fn reclaim(
    backend: &Backend,
    stored: &Stored,
    dead: &[(PackId, Vec<u32>)],
) -> Reclaimed {
    let thread = stored.commit.thread.clone();
    let query = ListCondemned {
        thread: thread.clone(),
        before_ms: LATER,
        after: None,
        limit: usize::MAX >> 1,
    };
    backend.condemned(query).await.unwrap();
    let reclaim = Reclaim {
        thread,
        incarnation: stored.incarnation,
        before_ms: LATER,
        dead: dead.to_vec(),
    };
    backend.reclaim(reclaim).await.unwrap()
}

/// The thread ids with a prefix, all in one page.
pub(super) async fn threads(backend: &Backend, prefix: &str) -> Vec<String> {
    let query = ListThreads {
        prefix: prefix.into(),
        after: None,
        limit: 10_000,
        all: false,
    };
    let threads = backend.threads(query).await.unwrap();
    threads.iter().map(ToString::to_string).collect()
}

/// Says that a behaviour was not tested, and why.
pub(super) fn skipped(behaviour: &str, why: &str) {
    println!("skipped {behaviour}: {why}");
}
