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

mod capabilities;
mod record;
mod request;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use capabilities::*;
pub use record::*;
pub use request::*;

use crate::error::Result;
use crate::store_backend::StoreBackend;

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
