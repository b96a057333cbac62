//! Records, commits and pending writes: what a backend keeps.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

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
    /// are asked for; else 0. See [`ChunkName::locator`](super::ChunkName::locator).
    pub locator: u64,
    /// Removed for everyone but the delta walk.
    pub hidden: bool,
    /// Protected from [`Change::Remove`](super::Change::Remove) and [`Change::Hide`](super::Change::Hide).
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
