//! Writing to a namespace: changes that wait in its queue are checked, appended with
//! one write, synced, and answered.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{Changed, ItemChange};
use chunkpoint_core::{Applied, Error, ErrorKind, Result};
use tokio::sync::oneshot::{Sender, channel};

use crate::error::from_io;
use crate::frame::{Kind, put_frame};
use crate::items::change;
use crate::items::compact::compact_if_due;
use crate::items::entry::{Entry, PackAt};
use crate::items::file::{Header, ItemsFile, Place};
use crate::items::names;
use crate::items::packs::PackFile;
use crate::items::space::Space;
use crate::items::sweep::{self, Purge, Purged};
use crate::items::tail::{Met, More};
use crate::queue::{Queued, enqueue};
use crate::store::Store;
use crate::wait::Wait;
use crate::writer::{Answer, answer};

/// What waits to be written to a namespace, and who waits for it.
#[derive(Debug)]
pub(crate) enum Op {
    Change(Vec<ItemChange>, Sender<Result<Vec<Result<Changed>>>>),
    Purge(Purge, Sender<Result<Purged>>),
}

impl Queued for Op {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Change(_, sender) => sender.is_closed(),
            Self::Purge(_, sender) => sender.is_closed(),
        }
    }

    fn bytes(&self) -> usize {
        let bytes = |change: &ItemChange| match change {
            ItemChange::Put(put) => {
                put.row.body.len() + put.chunks.iter().map(Bytes::len).sum::<usize>()
            }
            ItemChange::Delete { .. } | ItemChange::Renew { .. } => 0,
        };
        match self {
            Self::Change(changes, _) => changes.iter().map(bytes).sum(),
            Self::Purge(..) => 0,
        }
    }
}

/// Has something written, together with others of its namespace.
pub(crate) async fn submit<T: Send + 'static>(
    store: &Arc<Store>,
    place: Place,
    op: impl FnOnce(Sender<Result<T>>) -> Op + Send,
) -> Result<T> {
    let (sender, receiver) = channel();
    let queue = store.items.queues.get_or_insert(place.key, Arc::default);
    let store = store.clone();
    enqueue(queue, op(sender), move |ops| {
        write_group(&store, &place, ops);
    });
    receiver.await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Other,
            "the task that writes was stopped",
        ))
    })
}

fn write_group(store: &Arc<Store>, place: &Place, ops: Vec<Op>) {
    let mut answers: Vec<Answer> = Vec::with_capacity(ops.len());
    let locked = store.check_open().and_then(|()| store.lock_place(place));
    let begun = locked.and_then(|lock| Ok((Group::begin(store, place)?, lock)));
    let outcome = match begun {
        Ok((mut group, _lock)) => {
            let mut raise = None;
            for op in ops {
                answers.push(match op {
                    Op::Change(changes, sender) => {
                        let changes = changes.into_iter();
                        let done = changes.map(|one| change::apply(&mut group, one)).collect();
                        answer(sender, Ok(done))
                    }
                    Op::Purge(purge, sender) => {
                        // What it found holds only if nothing changed since.
                        let next = purge.next.filter(|_| purge.holds(&group));
                        let purged = sweep::purge(&mut group, &purge);
                        raise = next.filter(|_| purged.is_ok());
                        answer(sender, purged)
                    }
                });
            }
            group.finish(raise)
        }
        Err(error) => {
            answers.extend(ops.into_iter().map(|op| match op {
                Op::Change(_, sender) => answer(sender, Err(error.again())),
                Op::Purge(_, sender) => answer(sender, Err(error.again())),
            }));
            Ok(())
        }
    };
    let failure = outcome.as_ref().err();
    answers.into_iter().for_each(|answer| answer(failure));
    compact_if_due(store, place);
    compact_if_due(store, &Place::names());
}

/// Changes of a namespace being gathered, under its lock.
pub(crate) struct Group<'a> {
    store: &'a Store,
    place: &'a Place,
    pub(crate) space: Option<Arc<Space>>,
    /// What was gathered, by key and in order.
    pending: HashMap<Vec<u8>, Entry>,
    entries: Vec<(Vec<u8>, Entry)>,
    packs: Option<Packs>,
    /// Whether something was found done already.
    repeats: bool,
}

/// Packs being written.
struct Packs {
    file: Arc<PackFile>,
    end: u64,
    is_new: bool,
}

impl<'a> Group<'a> {
    /// The lock is held, and the file is as other writers left it: a torn write is cut.
    fn begin(store: &'a Store, place: &'a Place) -> Result<Self> {
        if store.is_poisoned(&place.key) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "a failed write to this namespace could not be undone; close and open the backend",
            )
            .retryable(false));
        }
        Ok(Self {
            store,
            place,
            space: writable(store, place)?,
            pending: HashMap::new(),
            entries: Vec::new(),
            packs: None,
            repeats: false,
        })
    }

    /// Says that something was found done already. Whoever did it may have been killed
    /// before it was synced, so it is not answered before a sync either.
    pub(crate) fn repeats(&mut self) {
        self.repeats = true;
    }

    /// What is under a key, with what was gathered so far.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        match (self.pending.get(key), &self.space) {
            (Some(Entry::Gone { .. }), _) | (None, None) => Ok(None),
            (Some(entry), _) => Ok(Some(entry.clone())),
            (None, Some(space)) => space.get(key, Wait::Yes),
        }
    }

    /// Gathers an entry.
    pub(crate) fn put(&mut self, key: Vec<u8>, entry: Entry) {
        self.pending.insert(key.clone(), entry.clone());
        self.entries.push((key, entry));
    }

    /// Whether nothing was gathered.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes a pack. It is nobody's until a row that lists it is.
    pub(crate) fn put_pack(&mut self, id: PackId, chunks: &[Bytes]) -> Result<PackAt> {
        let packs = match &mut self.packs {
            Some(packs) => packs,
            none => none.insert(open_packs(self.store, self.place, self.space.as_ref())?),
        };
        let at = packs.file.put(packs.end, id, chunks)?;
        packs.end += at.len;
        Ok(at)
    }

    /// Writes, syncs, and makes all of it what others see. `raise` is when anything is
    /// due next, if that was found out.
    fn finish(mut self, raise: Option<u64>) -> Result<()> {
        if let Some(packs) = &self.packs {
            let number = self.space.as_ref().map_or(1, |s| s.file.header.packs);
            if self.store.dir.syncs() {
                packs.file.sync()?;
                if packs.is_new {
                    self.store.dir.sync_dir(&self.place.dir())?;
                }
            } else {
                let name = self.place.packs(number);
                self.store.items.note_unsynced(&self.store.dir, name);
            }
        }
        let due = self.entries.iter().map(|(_, entry)| entry.due()).min();
        let due = due.unwrap_or(u64::MAX);
        let announced = self.space.as_ref().map(|s| s.tail(|tail| tail.announced));
        let raised = raise.map(|raise| raise.min(due));
        if let Some(raised) = raised {
            self.entries.push((Vec::new(), Entry::Due(raised)));
        } else if self.entries.is_empty() {
            return match &self.space {
                Some(space) if self.repeats => {
                    make_durable(self.store, space).map_err(|error| error.applied(Applied::Unknown))
                }
                _ => Ok(()),
            };
        } else if announced.is_none_or(|announced| due < announced) {
            // The catalog knows before there is anything to know.
            names::announce(self.store, &self.place.label, due, false)?;
            self.entries.insert(0, (Vec::new(), Entry::Due(due)));
        }
        append(self.store, self.place, self.space.take(), self.entries)?;
        // And is told afterwards that there is nothing any more. What it says may be too
        // early, so that it could not be told is no failure of what was written.
        if let Some(raised) = raised
            && let Err(error) = names::announce(self.store, &self.place.label, raised, true)
        {
            tracing::warn!(%error, "a sweep will look in vain");
        }
        Ok(())
    }
}

fn open_packs(store: &Store, place: &Place, space: Option<&Arc<Space>>) -> Result<Packs> {
    let known = match space {
        Some(space) => store.packs(space, Wait::Yes)?,
        None => None,
    };
    if let Some(file) = known {
        let end = file.len()?;
        return Ok(Packs {
            file,
            end,
            is_new: false,
        });
    }
    store.dir.make_dir(&place.dir())?;
    let number = space.map_or(1, |space| space.file.header.packs);
    let name = place.packs(number);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(store.dir.path(&name))
        .map_err(|error: io::Error| from_io(format_args!("creating {name}"), error))?;
    let file = PackFile::new(file, place, number, &store.dir.counters);
    let file = Arc::new(file);
    if let Some(space) = space {
        let _ = space.packs.set(file.clone());
    }
    let end = file.len()?;
    Ok(Packs {
        file,
        end,
        is_new: true,
    })
}

/// The namespace to append to, under its lock: what a torn write left is cut.
pub(crate) fn writable(store: &Store, place: &Place) -> Result<Option<Arc<Space>>> {
    let Some(space) = store.space(place, Wait::Yes)? else {
        return Ok(None);
    };
    let (len, end) = (space.file.len()?, space.tail(|tail| tail.end));
    if len > end {
        // Nobody else writes here: the path led to this file just now, and the lock is
        // ours. So this is a torn write.
        tracing::warn!(
            at = end,
            bytes = len - end,
            "cutting what a torn write left"
        );
        space.file.truncate(end)?;
    }
    Ok(Some(space))
}

/// Appends entries, under the lock; makes the file where there is none.
pub(crate) fn append(
    store: &Store,
    place: &Place,
    space: Option<Arc<Space>>,
    entries: Vec<(Vec<u8>, Entry)>,
) -> Result<()> {
    let Some(space) = space else {
        return create(store, place, &entries);
    };
    let start = space.tail(|tail| tail.end);
    let mut out = Vec::new();
    let more = put_entries(&mut out, &space.file, start, &entries);
    let cut_back = |error: Error| match space.file.truncate(start) {
        Ok(()) => error,
        Err(_) => {
            store.poison(place.key);
            store.items.forget(place);
            error
                .context("a failed write could not be undone")
                .applied(Applied::Unknown)
        }
    };
    let writing = space.writing();
    space.file.write_at(start, &out).map_err(&cut_back)?;
    make_durable(store, &space).map_err(|error| {
        // What reached the disk is anyone's guess now, and asking again would not
        // tell: the error is reported once.
        store.items.forget(place);
        cut_back(error).applied(Applied::Unknown)
    })?;
    space.apply(start, more);
    drop(writing);
    store.items.keep(&space);
    Ok(())
}

fn create(store: &Store, place: &Place, entries: &[(Vec<u8>, Entry)]) -> Result<()> {
    let building = place.building("new");
    let file = store.dir.build(&building)?.ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            "another process is creating the namespace",
        )
    })?;
    let placed = (|| {
        let header = Header::empty(place);
        let (mut out, start) = (header.encode(place), header.base_end);
        let file = ItemsFile::create(file, place, header, &store.dir.counters)?;
        let more = put_entries(&mut out, &file, start, entries);
        file.write_at(0, &out)?;
        let space = Space::new(file);
        space.apply(start, more);
        space.placed.store(true, Ordering::Release);
        if store.dir.syncs() {
            space.file.sync()?;
        }
        store.dir.make_dir(&place.dir())?;
        store.dir.rename(&building, &place.items())?;
        Ok(Arc::new(space))
    })();
    let space = match placed {
        Ok(space) => space,
        Err(error) => {
            store.dir.remove(&building)?;
            return Err(error);
        }
    };
    space.file.unlock();
    if !store.dir.syncs() {
        // Not before it is found there.
        store.items.note_unsynced(&store.dir, place.items());
    }
    store.dir.sync_dir(&place.dir()).map_err(|error| {
        store.items.forget(place);
        error.applied(Applied::Unknown)
    })?;
    store.items.keep(&space);
    Ok(())
}

/// Makes what was written to a file as durable as was asked for.
fn make_durable(store: &Store, space: &Space) -> Result<()> {
    let place = &space.file.place;
    if !store.dir.syncs() {
        store.items.note_unsynced(&store.dir, place.items());
        return Ok(());
    }
    // Whoever put the file in its place may have been killed before that was synced.
    if !space.placed.load(Ordering::Acquire) {
        store.dir.sync_dir("s")?;
        store.dir.sync_dir(&place.dir())?;
        space.placed.store(true, Ordering::Release);
    }
    space.file.sync()
}

/// Appends the frames of entries that will lie at `start` of `file`; gives what its
/// tail will know of them.
pub(crate) fn put_entries<K: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    file: &ItemsFile,
    start: u64,
    entries: &[(K, Entry)],
) -> More {
    let mut more = More {
        end: start,
        ..More::default()
    };
    let mut payload = Vec::new();
    for (n, (key, entry)) in entries.iter().enumerate() {
        payload.clear();
        entry.encode(key.as_ref(), &mut payload);
        let before = out.len();
        put_frame(out, file.salt, more.end, Kind::Item, n == 0, &payload);
        let len = (out.len() - before) as u32;
        let key = Bytes::copy_from_slice(key.as_ref());
        more.met.push(Met::new(key, entry, more.end, len));
        more.end += u64::from(len);
    }
    more
}
