//! The seam between the long-term store and storage: [`StoreBackend`].
//!
//! A store backend keeps *items* under (namespace, key). It never decides what a
//! filter means or what a patch does; values, filters, paging, time-to-live and
//! batches are the engine's. What every match of a filter fulfils it may be told, as a
//! [`Predicate`], to read less.
//!
//! # The words
//!
//! An **item** has a **row**: its version, its times, and a **body** of a few KiB
//! at most. What a body has no room for lies in **chunks**, which come in
//! **packs**: each put brings at most one, named by the put's write id, and a body
//! may go on using packs that earlier puts of the same item brought. The row lists
//! the packs its body uses, so **a pack is alive exactly while its item's row
//! lists it**. One that is not listed any more (or never was, because its put
//! failed) is garbage, and goes in [`sweep`](StoreBackend::sweep) once it is older
//! than the grace period, so that readers of the row before can finish.
//!
//! # What every backend promises
//!
//! * Every method may be called at the same time from many tasks, and from many
//!   processes where the storage is shared.
//! * A change of one item is atomic: it has happened completely, or not at all. A
//!   dropped future leaves one of the two. Changes of several items in one call
//!   are independent of each other.
//! * A change carries a write id. Repeating it gives the first result, before any
//!   expectation is checked; a row remembers at least its last [`REMEMBERED`]
//!   write ids, and a deleted one is remembered until it is swept.
//! * Labels and keys are data. Any that [`Namespace`] and [`ItemKey`] accept work,
//!   and no two different ones ever meet.
//! * Items are ordered by namespace, label by label, then by key, all by their
//!   UTF-8 bytes.
//! * An item that has expired by the time given with a call counts as not there
//!   for expectations and for [`namespaces`](StoreBackend::namespaces); reads may
//!   still give it, and the engine drops it.
//! * Time is what the caller says it is. Garbage is as old as the change that made it
//!   so, by the time given with that change, not by the storage's clock. No time is
//!   [`MOST_MS`] or more.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::{Map, Value};

use crate::backend::{Capabilities, ChunkName, PackId};
use crate::error::{Error, Result, quote};
use crate::types::{MAX_ID_BYTES, check_id};

pub use crate::store::filter::{Comparison, Predicate, Scalar};

/// Write ids that a row remembers, its version among them.
pub const REMEMBERED: usize = 4;

/// Where times end, in milliseconds since 1970: below it, every number is exact for
/// storage that knows only floats, and positive for one that knows only signs.
pub const MOST_MS: u64 = 1 << 53;

/// A path of labels, such as `users / ada / preferences`.
///
/// Orders by label, then by length: a namespace comes right before those below it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Namespace(Arc<[Arc<str>]>);

impl Namespace {
    /// Checks and takes in labels. No labels is the root, which holds every item
    /// and none of its own.
    ///
    /// # Errors
    /// `InvalidInput` if a label is empty, or has a full stop or a NUL; `InvalidInput`
    /// too if they have more than [`MAX_ID_BYTES`] bytes together.
    pub fn new<L: AsRef<str>>(labels: impl IntoIterator<Item = L>) -> Result<Self> {
        let labels: Arc<[Arc<str>]> = labels
            .into_iter()
            .map(|label| {
                let label = label.as_ref();
                check_id("namespace label", label, false)?;
                if label.contains('.') {
                    return Err(Error::invalid(format!(
                        "namespace label {} holds a full stop; write the labels one by one",
                        quote(label)
                    )));
                }
                Ok(Arc::from(label))
            })
            .collect::<Result<_>>()?;
        let namespace = Self(labels);
        let bytes = namespace.to_bytes().len();
        if bytes > MAX_ID_BYTES {
            return Err(Error::invalid(format!(
                "namespace {namespace} has {bytes} bytes; at most {MAX_ID_BYTES} are accepted"
            )));
        }
        Ok(namespace)
    }

    /// The labels.
    pub fn labels(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Whether it is `prefix` or below it, label by label.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The first `depth` labels.
    #[must_use]
    pub fn truncated(&self, depth: usize) -> Self {
        Self(self.0[..depth.min(self.0.len())].into())
    }

    /// Each label followed by a NUL. Distinct for distinct namespaces, in their
    /// order, and a prefix of what lies below.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in self.labels() {
            bytes.extend_from_slice(label.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt` if it did not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = || Error::corrupt("bytes that should be a namespace are not");
        let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let labels = text.strip_suffix('\0').ok_or_else(wrong)?;
        Self::new(labels.split('\0')).map_err(|_| wrong())
    }
}

/// For messages: quoted, the labels joined by full stops, which no label has.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(&self.0.join(".")))
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// Its namespace; not the root.
    pub namespace: Namespace,
    /// Its key: 1 to [`MAX_ID_BYTES`] bytes, no NUL.
    pub key: Arc<str>,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", quote(&self.key), self.namespace)
    }
}

/// An item's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow {
    /// Its name.
    pub key: ItemKey,
    /// The write id of the put that made it what it is.
    pub version: PackId,
    /// When it was first put, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was put last.
    pub updated_ms: u64,
    /// How long it lives after it was put or its life was renewed, in milliseconds;
    /// `None`: for ever.
    pub ttl_ms: Option<u64>,
    /// When it expires, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The packs its body uses.
    pub packs: Vec<PackId>,
    /// The body.
    pub body: Bytes,
}

impl ItemRow {
    /// Whether it has expired at `now_ms`.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }
}

/// What must hold of an item for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no such item.
    Absent,
    /// It has this version.
    Version(PackId),
}

/// A put of one item.
#[derive(Debug, Clone)]
pub struct PutItem {
    /// What is to be in the row: `version` is the write id, and `updated_ms` the time
    /// of the put. `created_ms` is what a new item gets; one that is there keeps its
    /// own. `packs` are those the body uses: this put's own, if it brings chunks, and
    /// packs of the version that is expected.
    pub row: ItemRow,
    /// What must hold.
    pub expect: Expect,
    /// The chunks of the pack named by `row.version`; the position is the ordinal.
    pub chunks: Vec<Bytes>,
    /// The value, for a backend that keeps it in a form its users can query or
    /// that pre-filters with it. The body holds it too, and is the truth. `None`
    /// after a patch of a large value, most of which was not read: what the backend
    /// keeps of it is then out of date, and must not rule the item out.
    pub value: Option<Arc<Map<String, Value>>>,
}

/// A change of one item.
#[derive(Debug, Clone)]
pub enum ItemChange {
    /// Makes or replaces it.
    Put(Box<PutItem>),
    /// Removes it.
    Delete {
        /// Which.
        key: ItemKey,
        /// The write id.
        write_id: PackId,
        /// What must hold.
        expect: Expect,
        /// The time, in milliseconds since 1970.
        now_ms: u64,
    },
    /// Lets it live until `expires_ms`, if it still has this version; else nothing.
    Renew {
        /// Which.
        key: ItemKey,
        /// The version it was read with.
        version: PackId,
        /// When it expires now.
        expires_ms: u64,
    },
}

impl ItemChange {
    /// The item it is of.
    pub fn key(&self) -> &ItemKey {
        match self {
            Self::Put(put) => &put.row.key,
            Self::Delete { key, .. } | Self::Renew { key, .. } => key,
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It holds now, or did already. For a put, the item was first put at this time.
    Done {
        /// In milliseconds since 1970; 0 where there is no item.
        created_ms: u64,
    },
    /// What was expected does not hold; nothing changed. The version that is there.
    Conflict(Option<PackId>),
}

/// Which items to read, in order.
#[derive(Debug, Clone, Default)]
pub struct ScanItems {
    /// Only items of this namespace and those below it.
    pub prefix: Namespace,
    /// Only items after this one.
    pub after: Option<ItemKey>,
    /// How many the reader is likely to take: a hint for how much to read at once.
    pub likely: Option<usize>,
    /// A row whose value certainly does not fulfil this is not wanted: a hint for a
    /// backend that keeps values in a form it can search.
    pub matching: Option<Arc<Predicate>>,
}

/// Which namespaces to list, in order.
#[derive(Debug, Clone, Default)]
pub struct ListNamespaces {
    /// Only this namespace and those below it.
    pub prefix: Namespace,
    /// Only namespaces after this one.
    pub after: Option<Namespace>,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What may be thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepItems {
    /// Items that expired at or before this time, and garbage of at or before it.
    pub before_ms: u64,
    /// At most about so many rows and packs.
    pub limit: usize,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweptItems {
    /// Items that had expired.
    pub expired: u64,
    /// Packs that no row listed.
    pub packs: u64,
    /// Whether there may be more to do.
    pub more: bool,
}

/// Where items are kept. See the [module](self) for the words and for what holds of
/// every method.
#[async_trait]
pub trait StoreBackend: Send + Sync + fmt::Debug + fmt::Display + 'static {
    /// What this backend can do; of the fields about checkpoints only the common ones
    /// count.
    fn store_capabilities(&self) -> Capabilities;

    /// Reads rows by name.
    ///
    /// * The answer has one entry for each key, in their order; `None` for what is not
    ///   there.
    /// * What was acknowledged before the call is seen.
    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>>;

    /// Reads chunks of an item's packs.
    ///
    /// * The answer has one entry for each name, in their order; `None` for what is not
    ///   there.
    /// * Packs that the row listed earlier are given until they are swept.
    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>>;

    /// Changes items. The keys are distinct.
    ///
    /// * The answer has one entry for each change, in their order: one that fails does
    ///   not keep the others from being made.
    /// * A change whose write id the row remembers changes nothing, and is `Done`.
    /// * What is expected does not hold: `Conflict`, and nothing changes. An expired item
    ///   counts as not there, by the change's own time.
    /// * A put keeps the `created_ms` of the item it replaces, unless that has expired.
    /// * Afterwards the row and all chunks of the packs it lists are readable.
    /// * A put that uses a pack which is not there (any more) is `Conflict`.
    /// * A deleted item is gone from every read at once. Deleting what is not there is
    ///   `Done`, unless a version is expected.
    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>>;

    /// Reads rows in order.
    ///
    /// * By namespace, then by key, each ascending.
    /// * An item that stays from start to end is given exactly once; one that comes,
    ///   goes or changes meanwhile may be given as it was or as it is, or not.
    /// * Only namespaces at or below the prefix are looked at: label by label, so that
    ///   `["a"]` does not match `["ab"]`.
    /// * A row may be left out if its value does not fulfil `matching`, and only then: one
    ///   whose value the backend does not have, or has not as it is now, is given.
    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>>;

    /// Lists namespaces that have an item which has not expired.
    ///
    /// * Ascending, each once.
    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>>;

    /// Removes, for good, expired items and packs that no row lists.
    ///
    /// * An item whose life was renewed meanwhile stays.
    /// * A pack stays that a row lists, or that a put under way is about to list.
    /// * Bounded: about `limit` rows and packs; `more` says whether to come again.
    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems>;

    /// Makes everything acknowledged durable and lets go of files and connections. Later
    /// calls fail with `Unavailable`. What is also a
    /// [`CheckpointBackend`](crate::backend::CheckpointBackend) closes as a whole.
    async fn close_store(&self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_the_order_and_come_back() {
        let namespaces: Vec<Namespace> = [
            &[][..],
            &["a"],
            &["a", "b"],
            &["a", "b", "c"],
            &["a", "ü"],
            &["a\u{1}"],
            &["a b"],
            &["ab"],
        ]
        .iter()
        .map(|labels| Namespace::new(*labels).unwrap())
        .collect();
        assert!(namespaces.is_sorted());
        let bytes: Vec<_> = namespaces.iter().map(Namespace::to_bytes).collect();
        assert!(bytes.is_sorted());
        for (namespace, bytes) in namespaces.iter().zip(&bytes) {
            assert_eq!(&Namespace::from_bytes(bytes).unwrap(), namespace);
        }
        assert!(Namespace::from_bytes(b"a").is_err());
        assert!(Namespace::from_bytes(b"\0").is_err());
    }

    #[test]
    fn labels_are_checked() {
        for bad in ["", "a.b", "a\0b"] {
            let error = Namespace::new(["ok", bad]).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{bad:?}");
        }
        let long = "x".repeat(MAX_ID_BYTES);
        assert!(Namespace::new([long.as_str()]).is_err());
        assert!(Namespace::new([&long[1..]]).is_ok());
    }
}
