//! The seam between the engine and storage: [`CheckpointBackend`].
//!
//! A backend stores opaque bytes under a few names and runs a few conditional,
//! batched operations on them. It never looks inside a record's body or a
//! chunk; chunking, compression, caching, retention and reachability are the
//! engine's.
//!
//! # The words
//!
//! A **thread** is one run's memory. It lives in an **incarnation**: deleting
//! the thread ends the incarnation, the next commit without a parent starts
//! another. Within it, a **record** is the manifest of one checkpoint, named
//! by (namespace, checkpoint id). A **commit** adds one **pack**: a record
//! and the chunks it introduces. The chunks are named by (pack, ordinal) for
//! ever; the record may later be replaced, hidden or removed. A pack whose
//! record was replaced or removed is **condemned**: its chunks stay readable
//! until [`CheckpointBackend::reclaim`] names them.
//!
//! # What every backend promises
//!
//! * Every method may be called at the same time from many tasks, and from
//!   many processes where the storage is shared.
//! * A mutation is atomic: it has happened completely, or not at all. A
//!   dropped future leaves one of the two.
//! * A mutation carries a write id (a commit's is its pack id). Repeating it
//!   gives the first result, before any expectation is checked.
//! * Ids are data. Any UTF-8 string that [`crate::types`] accepts works, and no two
//!   different ids ever meet.
//! * All orders are by the UTF-8 bytes of the id.
//! * No correctness rests on a clock: the times given only decide when
//!   something unreachable may go.
//!
//! # How chunks are reclaimed
//!
//! In this order: [`condemned`](CheckpointBackend::condemned), then
//! [`list`](CheckpointBackend::list) of every record, hidden ones included, then
//! [`reclaim`](CheckpointBackend::reclaim) of those condemned chunks that no listed
//! record reaches. It is safe without stopping writers. No record is there any more
//! whose own the chunks of a condemned pack are, so whoever needs one later has
//! borrowed it from a record that reached it, and a commit checks in its atomic
//! step that this record is there. Followed back to the moment that the listing
//! covers, the first lender was there then, is listed, and keeps the chunk. The
//! other way round, a record could be committed after the listing and removed
//! before its pack is found condemned, with a child that nobody has looked at.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::store_backend::StoreBackend;

/// Names one commit, and is its write id. Eight random bytes, unique within
/// its thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub [u8; 8]);

/// Names one life of a thread. Eight random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 8]);

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}
hex_id!(PackId);
hex_id!(Incarnation);

/// How sure an acknowledged mutation is to survive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Nothing is promised until [`CheckpointBackend::close`].
    Buffered,
    /// Survives `kill -9` of client and server.
    Process,
    /// Survives the loss of power.
    #[default]
    Disk,
    /// Survives the loss of a machine.
    Replicated,
}

/// How well `expect_latest` excludes a second writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fencing {
    /// The second writer gets `Conflict`, and nothing of it is stored.
    Full,
    /// Writers that ask for it exclude each other; others are not seen.
    Cooperative,
    /// The request is refused with `Unsupported`.
    None,
}

/// What a backend can do, as plain data. The suite, the documentation and the
/// reports read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend's URL scheme, such as `file`.
    pub name: String,
    /// How `expect_latest` is kept.
    pub fencing: Fencing,
    /// The levels of [`Durability`] it can give, weakest first.
    pub durability: Vec<Durability>,
    /// Most bytes one chunk or record body may have.
    pub max_value_bytes: u64,
    /// Most bytes one commit may have in all.
    pub max_commit_bytes: u64,
    /// Whether data outlives the process.
    pub persistent: bool,
    /// Whether several processes may use the same storage at once.
    pub shared: bool,
    /// Whether a commit sees the removal of its parent inside its atomic
    /// step, or only by looking again afterwards.
    pub atomic_parent_check: bool,
}

impl Capabilities {
    /// Capabilities of a backend called `name` with full fencing and an atomic
    /// parent check, 1 GiB values and commits, volatile and private.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fencing: Fencing::Full,
            durability: vec![Durability::Buffered],
            max_value_bytes: 1 << 30,
            max_commit_bytes: 1 << 30,
            persistent: false,
            shared: false,
            atomic_parent_check: true,
        }
    }

    /// Checks a commit against the limits.
    ///
    /// # Errors
    /// `TooLarge` if a chunk, the body, or all of it together is over one.
    pub fn check(&self, commit: &Commit) -> Result<()> {
        let too_large = |what: &str, bytes: u64, most: u64| {
            let message = format!("{what} has {bytes} bytes; at most {most} are accepted");
            Err(Error::new(ErrorKind::TooLarge, message))
        };
        let chunks = commit.chunks.iter().map(|chunk| (chunk, "a chunk"));
        let mut total = 0;
        for (part, what) in chunks.chain([(&commit.body, "the body")]) {
            let bytes = part.len() as u64;
            if bytes > self.max_value_bytes {
                return too_large(what, bytes, self.max_value_bytes);
            }
            total += bytes;
        }
        if total > self.max_commit_bytes {
            return too_large("the commit", total, self.max_commit_bytes);
        }
        Ok(())
    }
}

/// The name of a record in its thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The checkpoint namespace; `""` is the root.
    pub namespace: Arc<str>,
    /// The checkpoint id.
    pub id: Arc<str>,
}

/// One version of a record: the name, and the pack that is its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef {
    /// The record's name.
    pub key: RecordKey,
    /// The pack it must have.
    pub pack: PackId,
}

/// The fields of a record that are kept beside its body, for listing,
/// retention and the backend's own columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordIndex {
    /// Id of the parent in the same namespace, as the caller gave it. It may
    /// name a checkpoint that does not exist.
    pub parent: Option<Arc<str>>,
    /// When it was committed, in milliseconds since 1970.
    pub time_ms: u64,
    /// The metadata's `run_id`, where it is a string.
    pub run_id: Option<Arc<str>>,
    /// Whether a delta channel's history runs through this record.
    pub delta: bool,
    /// Bytes of body and chunks together when the pack was committed.
    pub pack_bytes: u64,
}

/// A record as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// The incarnation it is in.
    pub incarnation: Incarnation,
    /// Its name and pack.
    pub record: RecordRef,
    /// Where the pack lies, if the backend wants to be told when its chunks
    /// are asked for; else 0. See [`ChunkName::locator`].
    pub locator: u64,
    /// Removed for everyone but the delta walk.
    pub hidden: bool,
    /// Protected from [`Change::Remove`] and [`Change::Hide`].
    pub pinned: bool,
    /// The fields beside the body.
    pub index: RecordIndex,
    /// The body; empty where the query asked for keys only.
    pub body: Bytes,
    /// The pending writes, in no particular order; empty unless asked for.
    pub writes: Vec<PendingWrite>,
}

/// What a commit builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// On nothing. Goes into the current incarnation, or starts `fresh` if
    /// the thread has none.
    Root {
        /// The incarnation to start.
        fresh: Incarnation,
    },
    /// On chunks of these records, which must all be there, visible or hidden, with
    /// exactly these packs, in exactly this incarnation.
    Borrow {
        /// The incarnation.
        incarnation: Incarnation,
        /// The records borrowed from; not empty.
        from: Vec<RecordRef>,
    },
}

/// One commit.
#[derive(Clone)]
pub struct Commit {
    /// The thread.
    pub thread: Arc<str>,
    /// The record's name.
    pub key: RecordKey,
    /// The pack, and write id.
    pub pack: PackId,
    /// What it builds on.
    pub base: Base,
    /// `Some(expected)`: the greatest visible id of the namespace must be
    /// `expected` (`None`: the namespace must have no visible record).
    pub expect_latest: Option<Option<Arc<str>>>,
    /// The fields kept beside the body.
    pub index: RecordIndex,
    /// The record's body.
    pub body: Bytes,
    /// The new chunks; the position is the ordinal.
    pub chunks: Vec<Bytes>,
    /// The checkpoint's metadata, for a backend that keeps it in a form its
    /// users can query. The body holds it too, and is the truth.
    pub metadata: Arc<serde_json::Map<String, serde_json::Value>>,
}

/// What a commit answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The incarnation it went to.
    pub incarnation: Incarnation,
    /// The pack's locator, as [`RecordRow::locator`].
    pub locator: u64,
}

/// One pending write of a task.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingWrite {
    /// The task.
    pub task_id: Arc<str>,
    /// The task's path; sorts the writes.
    pub task_path: Arc<str>,
    /// Position in the task's writes; negative for special channels.
    pub idx: i32,
    /// The channel written.
    pub channel: Arc<str>,
    /// The value, encoded by the engine.
    pub value: Bytes,
    /// What happens if (task, idx) is stored already: `true` replaces it,
    /// `false` keeps what is there.
    pub replace: bool,
}

/// Pending writes of one task for one checkpoint, which need not exist yet.
#[derive(Debug, Clone)]
pub struct PutWrites {
    /// The thread.
    pub thread: Arc<str>,
    /// The checkpoint.
    pub key: RecordKey,
    /// The write id.
    pub write_id: PackId,
    /// The incarnation to start if the thread has none.
    pub fresh: Incarnation,
    /// When they came, in milliseconds since 1970; decides when writes whose
    /// checkpoint never comes are dropped.
    pub time_ms: u64,
    /// The writes.
    pub writes: Vec<PendingWrite>,
}

// Bodies, chunks, values and metadata are users' conversations: they stay out of logs.

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit")
            .field("thread", &self.thread)
            .field("key", &self.key)
            .field("pack", &self.pack)
            .field("base", &self.base)
            .field("expect_latest", &self.expect_latest)
            .field("index", &self.index)
            .field("body_bytes", &self.body.len())
            .field("chunks", &self.chunks.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingWrite")
            .field("task_id", &self.task_id)
            .field("task_path", &self.task_path)
            .field("idx", &self.idx)
            .field("channel", &self.channel)
            .field("value_bytes", &self.value.len())
            .field("replace", &self.replace)
            .finish()
    }
}

impl fmt::Debug for RecordRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordRow")
            .field("incarnation", &self.incarnation)
            .field("record", &self.record)
            .field("locator", &self.locator)
            .field("hidden", &self.hidden)
            .field("pinned", &self.pinned)
            .field("index", &self.index)
            .field("body_bytes", &self.body.len())
            .field("writes", &self.writes)
            .finish()
    }
}

/// Which record to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The visible record with the greatest id in this namespace.
    Latest {
        /// The namespace.
        namespace: Arc<str>,
    },
    /// The record of this name, visible or hidden.
    At(RecordKey),
}

/// How much of a record to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// All but body and writes.
    Keys,
    /// All but writes.
    Bodies,
    /// All.
    Writes,
}

/// Which records of one thread to list, newest id first.
#[derive(Debug, Clone)]
pub struct ListRecords {
    /// The thread.
    pub thread: Arc<str>,
    /// Only this namespace; `None`: all of them, ordered by id descending, then
    /// namespace ascending.
    pub namespace: Option<Arc<str>>,
    /// Only ids before this one, exclusive. It need not be an id: the engine puts a NUL
    /// behind one to mean it and all before it.
    pub before: Option<Arc<str>>,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
    /// Whether hidden records are listed as well.
    pub hidden: bool,
    /// How much to read of each.
    pub detail: Detail,
}

/// Names one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkName {
    /// The pack it came with.
    pub pack: PackId,
    /// Its position in that pack.
    pub ordinal: u32,
    /// What the backend said about where the pack lies when it was committed
    /// or last read. A hint: the pack may have moved since.
    pub locator: u64,
    /// Stored bytes.
    pub len: u32,
}

/// A change of one record. It applies only while the record has the pack named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record and its pending writes go; its pack is condemned.
    Remove,
    /// The record becomes hidden; its body, chunks and writes stay.
    Hide,
    /// The record is protected from removal, or no longer.
    Pin(bool),
}

/// Changes of records of one thread. Each is atomic by itself.
#[derive(Debug, Clone)]
pub struct Alter {
    /// The thread.
    pub thread: Arc<str>,
    /// The incarnation; in any other, every change is [`Altered::Gone`].
    pub incarnation: Incarnation,
    /// When it happens, in milliseconds since 1970: packs are condemned as of
    /// this time.
    pub time_ms: u64,
    /// The changes.
    pub changes: Vec<(RecordRef, Change)>,
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Altered {
    /// It holds now (or did already).
    Done,
    /// There is no such record with such a pack.
    Gone,
    /// The record is pinned: it was not removed or hidden.
    Pinned,
}

/// Asks for condemned packs.
#[derive(Debug, Clone)]
pub struct ListCondemned {
    /// The thread.
    pub thread: Arc<str>,
    /// Only packs condemned at or before this time (milliseconds since 1970).
    pub before_ms: u64,
    /// Only packs after this one, in the order of their bytes.
    pub after: Option<PackId>,
    /// At most so many.
    pub limit: usize,
}

/// A pack whose record is gone or replaced, and which still has chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondemnedPack {
    /// The pack.
    pub pack: PackId,
    /// The ordinals of the chunks it still has.
    pub chunks: Vec<u32>,
}

/// The condemned packs of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// The current incarnation.
    pub incarnation: Incarnation,
    /// The packs, ordered by the bytes of their ids.
    pub packs: Vec<CondemnedPack>,
}

/// Removes chunks for good.
#[derive(Debug, Clone)]
pub struct Reclaim {
    /// The thread.
    pub thread: Arc<str>,
    /// The incarnation; in any other, nothing of it is touched.
    pub incarnation: Incarnation,
    /// Packs condemned at or before this time may lose chunks; pending writes that came
    /// at or before it and have no checkpoint are dropped, and the bytes of ended
    /// incarnations and of earlier removals freed.
    pub before_ms: u64,
    /// The chunks that nothing reaches, all of condemned packs.
    pub dead: Vec<(PackId, Vec<u32>)>,
}

/// What a reclaim did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Bytes freed, as far as known.
    pub freed_bytes: u64,
    /// Bytes the thread still takes, as far as known.
    pub live_bytes: u64,
}

/// A page of thread ids.
#[derive(Debug, Clone, Default)]
pub struct ListThreads {
    /// Only ids that start with this.
    pub prefix: String,
    /// Only ids after this one.
    pub after: Option<Arc<str>>,
    /// At most so many.
    pub limit: usize,
    /// Whether threads without a visible record are listed as well: those
    /// that have only pending writes, hidden records, or what removals left.
    /// Maintenance asks for them; users are not shown them.
    pub all: bool,
}

/// Where checkpoints are kept. See the [module](self) for the words and for
/// what holds of every method.
#[async_trait]
pub trait CheckpointBackend: Send + Sync + fmt::Debug + fmt::Display + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;

    /// The long-term store on the same storage, if it has one.
    fn store(self: Arc<Self>) -> Option<Arc<dyn StoreBackend>> {
        None
    }

    /// Adds a pack: a record and its chunks.
    ///
    /// In one atomic step, in this order:
    ///
    /// * If the pack is known in the thread's current incarnation (its record current,
    ///   replaced or removed since), nothing changes and the first result is returned;
    ///   only the locator is where the pack lies now. A pack is known until all its
    ///   chunks are reclaimed: a repeat that comes later still may be stored anew.
    /// * [`Base::Borrow`] fails with `ParentGone` if the incarnation has ended
    ///   or one of the records is not there with that pack. Hidden records
    ///   count as there.
    /// * [`Base::Root`] starts its incarnation if the thread has none.
    /// * A [`Base::Root`] repeated after the incarnation it went to has ended, and the
    ///   thread has no other, is stored anew, complete, or not at all: then the first
    ///   result is returned, as if the deletion had come after it. A backend need not
    ///   remember the lives that ended.
    /// * `expect_latest` that does not hold fails with `Conflict`; it is
    ///   `Unsupported` where fencing is `None`.
    /// * A record of the same name is replaced: it keeps its pending writes, its
    ///   pin and its first `index.parent`, becomes visible, and the old pack is condemned
    ///   as of `index.time_ms`.
    /// * Afterwards, the record and all chunks are readable.
    /// * A failure stores nothing.
    async fn commit(&self, commit: Commit) -> Result<Committed>;

    /// Reads records by name, or the latest of a namespace.
    ///
    /// * The answer has one entry for each pick, in their order; `None` for
    ///   what is not there. A thread that does not exist gives all `None`.
    /// * All entries are of one incarnation, the current one.
    /// * `Latest` never gives a hidden record; `At` does.
    async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>>;

    /// Lists records of a thread, newest id first.
    ///
    /// * Ids descend by their bytes; equal ids of several namespaces ascend by namespace.
    /// * A record that stays from start to end is listed exactly once;
    ///   one that comes or goes meanwhile may or may not be.
    /// * A listing without a limit covers one moment between the call and the end of
    ///   the stream: all records that were there at that moment are listed. Were the
    ///   beginning read before a child is committed and the end after its parent was
    ///   removed, neither would be, and reclaiming would take what the child needs.
    /// * A thread that does not exist gives nothing; a limit of 0 gives nothing.
    async fn list(&self, query: ListRecords) -> Result<BoxStream<'static, Result<RecordRow>>>;

    /// Reads chunks of one incarnation.
    ///
    /// * The answer has one entry for each name, in their order; `None` for
    ///   what is not there (reclaimed, or the incarnation ended and its bytes went).
    /// * Chunks of condemned packs are given until they are reclaimed.
    /// * The locator and length are hints; wrong ones cost time, not the answer.
    ///   `reclaim` may move packs, so that rows read afterwards have other locators;
    ///   names with the old ones still find their chunks.
    async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>>;

    /// Stores pending writes of a task.
    ///
    /// * The checkpoint need not exist; until it does they are invisible.
    /// * A thread without an incarnation starts `fresh`, and is not listed by
    ///   [`threads`](Self::threads) before it has a record.
    /// * Each write replaces or keeps what (task, idx) has, as it says.
    /// * All writes of the call are stored in one atomic step.
    async fn put_writes(&self, writes: PutWrites) -> Result<()>;

    /// Removes, hides or pins records.
    ///
    /// * The answer has one entry for each change, in their order.
    /// * Each change applies only to the record with that pack, atomically
    ///   with commits that borrow from it.
    /// * A removed record is gone from every read at once, with its writes;
    ///   its chunks stay until reclaimed.
    /// * A hidden record keeps its body, chunks and writes, and is still found by
    ///   [`Pick::At`] and by lists that ask for it.
    /// * A pinned record is neither removed nor hidden: `Pinned`.
    /// * Repeating a change is `Done` or `Gone`, and changes nothing.
    async fn alter(&self, alter: Alter) -> Result<Vec<Altered>>;

    /// Lists condemned packs that still have chunks.
    ///
    /// * `None` where the thread has no incarnation.
    /// * What reaches their chunks is found out after this call, not before: see
    ///   the [module](self).
    /// * A pack is listed only if it was condemned at or before `before_ms`.
    async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>>;

    /// Removes chunks of condemned packs for good, and frees what earlier
    /// removals left.
    ///
    /// * Chunks named but not of a condemned pack stay.
    /// * Records and chunks not named stay readable throughout.
    /// * A crash at any point leaves every record readable.
    /// * Naming a chunk that is gone already is no error.
    /// * Writes without a checkpoint that came at or before `before_ms` go.
    async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed>;

    /// Ends an incarnation.
    ///
    /// * Afterwards the thread does not exist: no record, no writes, not listed.
    /// * If `incarnation` is not the current one, nothing changes.
    /// * Bytes may go later.
    async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()>;

    /// Copies every record (hidden ones, pins, pending writes) and the chunks of a
    /// thread to a thread that does not exist.
    ///
    /// * Nothing of the copy is visible before all of it is.
    /// * A target that exists gives `Conflict`, and be it only pending writes; a source
    ///   that does not, `NotFound`.
    /// * A source that has only pending writes is copied as any other: the target is
    ///   then a thread that has only those.
    /// * If the target's incarnation is `fresh` already, it is done.
    /// * Pack ids stay as they are.
    async fn copy_thread(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()>;

    /// The current incarnation of a thread, whether it has records or only writes.
    async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>>;

    /// Lists threads that have at least one visible record, by id ascending.
    ///
    /// * At most `limit`; fewer only at the end.
    /// * With `all`, every thread that has an incarnation is listed, visible record
    ///   or not; one that was deleted is not.
    async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>>;

    /// Makes everything acknowledged durable and lets go of files and
    /// connections. Later calls fail with `Unavailable`.
    async fn close(&self) -> Result<()>;
}
