//! What the methods of a backend are asked, and what they answer.

use std::sync::Arc;

use super::{Incarnation, PackId, RecordKey, RecordRef};

/// Which record to get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
