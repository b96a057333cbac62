//! Writing to a thread's log: mutations that wait in its queue are checked, appended
//! with one write, synced, and answered.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkpoint_core::backend::{Alter, Altered, Commit, Committed, PutWrites};
use chunkpoint_core::{Applied, Error, ErrorKind, Result};
use tokio::sync::oneshot::{Sender, channel};

use crate::append::Appender;
use crate::log::LogFile;
use crate::lru::Key;
use crate::ops::{self, DeadChunks};
use crate::queue::{Queued, enqueue};
use crate::state::{Header, State};
use crate::store::{Store, hex, log_names};
use crate::wait::Wait;

/// Bytes at the end of a log that are written once more before something in it
/// that was found done is said to be so.
const REWRITTEN: u64 = 64 * 1024;

/// One mutation that waits, and who waits for it.
#[derive(Debug)]
pub(crate) enum Op {
    Commit(Box<Commit>, Sender<Result<Committed>>),
    Writes(PutWrites, Sender<Result<()>>),
    Alter(Alter, Sender<Result<Vec<Altered>>>),
    /// Answers whether the log still is the one that the chunks are in.
    Reclaim(DeadChunks, Sender<Result<bool>>),
}

impl Queued for Op {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Commit(_, sender) => sender.is_closed(),
            Self::Writes(_, sender) => sender.is_closed(),
            Self::Alter(_, sender) => sender.is_closed(),
            Self::Reclaim(_, sender) => sender.is_closed(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Commit(commit, _) => {
                commit.body.len() + commit.chunks.iter().map(|chunk| chunk.len()).sum::<usize>()
            }
            Self::Writes(writes, _) => writes.writes.iter().map(|write| write.value.len()).sum(),
            Self::Alter(..) | Self::Reclaim(..) => 0,
        }
    }
}

/// Whether somebody still waits for an operation.
///
/// A blocking task outlives the future that waits for it. It looks here once it
/// holds the lock: then it either happens before anything that its caller does
/// to the thread afterwards, or not at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(Arc<Mutex<bool>>);

impl Caller {
    /// Fails if the caller went away.
    pub(crate) fn check(&self) -> Result<()> {
        self.hold().map(drop)
    }

    /// Fails if the caller went away, and keeps it from going while the answer is held:
    /// for the moment in which something that can be seen without a lock changes.
    pub(crate) fn hold(&self) -> Result<MutexGuard<'_, bool>> {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            return Err(Error::new(ErrorKind::Unavailable, "the call was dropped"));
        }
        Ok(gone)
    }
}

/// Marks the caller as gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Waits(Caller);

impl Waits {
    /// A caller, and what it has to hold on to while it waits.
    pub(crate) fn new() -> (Caller, Self) {
        let caller = Caller::default();
        (caller.clone(), Self(caller))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// Has a mutation done, together with others of its thread.
pub(crate) async fn submit<T: Send + 'static>(
    store: &Arc<Store>,
    key: Key,
    thread: Arc<str>,
    op: impl FnOnce(Sender<Result<T>>) -> Op + Send,
) -> Result<T> {
    let (sender, receiver) = channel();
    let queue = store.queues.get_or_insert(key, Arc::default);
    let store = store.clone();
    enqueue(queue, op(sender), move |ops| {
        write_group(&store, key, &thread, ops);
    });
    receiver.await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Other,
            "the task that writes was stopped",
        ))
    })
}

/// An operation that was done, to be answered when it is durable, or with the
/// error that kept it from being.
pub(crate) type Answer = Box<dyn FnOnce(Option<&Error>)>;

pub(crate) fn answer<T: 'static>(sender: Sender<Result<T>>, result: Result<T>) -> Answer {
    Box::new(move |failure| {
        let result = match (result, failure) {
            (Ok(_), Some(failure)) => Err(failure.again()),
            (result, _) => result,
        };
        // Whoever does not wait any more does not need to know.
        let _ = sender.send(result);
    })
}

fn write_group(store: &Store, key: Key, thread: &Arc<str>, ops: Vec<Op>) {
    let mut answers: Vec<Answer> = Vec::with_capacity(ops.len());
    let outcome = match Group::begin(store, key, thread) {
        Ok(mut group) => {
            answers.extend(ops.into_iter().map(|op| match op {
                Op::Commit(commit, sender) => answer(sender, ops::commit(&mut group, *commit)),
                Op::Writes(writes, sender) => answer(sender, ops::put_writes(&mut group, writes)),
                Op::Alter(alter, sender) => answer(sender, ops::alter(&mut group, &alter)),
                Op::Reclaim(dead, sender) => answer(sender, ops::reclaim(&mut group, dead)),
            }));
            group.finish()
        }
        Err(error) => {
            answers.extend(ops.into_iter().map(|op| match op {
                Op::Commit(_, sender) => answer(sender, Err(error.again())),
                Op::Writes(_, sender) => answer(sender, Err(error.again())),
                Op::Alter(_, sender) => answer(sender, Err(error.again())),
                Op::Reclaim(_, sender) => answer(sender, Err(error.again())),
            }));
            Ok(())
        }
    };
    let failure = outcome.as_ref().err();
    answers.into_iter().for_each(|answer| answer(failure));
}

/// A group of mutations being written, under the lock of its thread.
pub(crate) struct Group<'a> {
    store: &'a Store,
    key: Key,
    thread: &'a Arc<str>,
    /// Where they go, if the thread has a log by now.
    pub(crate) target: Option<Appender>,
    /// The state before all this.
    before: Option<Arc<State>>,
    /// The name under which a new log is built.
    building: Option<String>,
    /// Whether something was found done already.
    repeats: bool,
    // In this order: nobody may see the log as unlocked and still being written.
    _writing: crate::store::Writing<'a>,
    _lock: crate::dir::Lock<'a>,
}

impl<'a> Group<'a> {
    fn begin(store: &'a Store, key: Key, thread: &'a Arc<str>) -> Result<Self> {
        let lock = store.lock(&key)?;
        if store.is_poisoned(&key) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "a failed write to this thread could not be undone; close and open the backend",
            )
            .retryable(false));
        }
        let view = store.view(&key, thread, Wait::Yes)?;
        let mut before = None;
        let target = match view {
            None => None,
            Some(view) => {
                let len = view.log.len()?;
                if len > view.state.end {
                    // Nobody else writes here: the path led to this file just
                    // now, and the lock is ours. So this is a torn write.
                    let (at, bytes) = (view.state.end, len - view.state.end);
                    tracing::warn!(at, bytes, "cutting what a torn write left");
                    view.log.truncate(at)?;
                }
                before = Some(view.state.clone());
                Some(Appender::new(view.log, State::clone(&view.state)))
            }
        };
        let target = match (target, store.seen(&key)) {
            (Some(target), Some(reached)) => {
                let (log, state) = forget_seen(store, key, target, reached)?;
                before = Some(state.clone());
                Some(Appender::new(log, State::clone(&state)))
            }
            (target, _) => target,
        };
        let writing = store.writing(key);
        Ok(Self {
            store,
            key,
            thread,
            target,
            before,
            building: None,
            repeats: false,
            _writing: writing,
            _lock: lock,
        })
    }

    /// Says that something was found done already. Whoever did it may have been
    /// killed before it was synced, so it is not answered before a sync either.
    pub(crate) fn repeats(&mut self) {
        self.repeats = true;
    }

    /// Where to write, if the thread has a log.
    pub(crate) fn existing(&mut self) -> Option<&mut Appender> {
        self.target.as_mut()
    }

    /// Where to write; starts a log if there is none.
    pub(crate) fn target(
        &mut self,
        fresh: chunkpoint_core::backend::Incarnation,
        time_ms: u64,
    ) -> Result<&mut Appender> {
        if self.target.is_none() {
            let building = format!("trash/{}.new", hex(&self.key));
            let file = self.store.dir.build(&building)?.ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "another process is creating the thread",
                )
            })?;
            self.building = Some(building);
            // From now on it is known as a thread that will have a log.
            self.store.catalog.add(&self.store.dir, self.thread)?;
            let header = Header {
                generation: 1,
                incarnation: fresh,
                base_ms: time_ms,
                thread: self.thread.clone(),
                start: Header::len_for(self.thread),
            };
            let name = log_names(&self.key).1;
            let log = LogFile::create(file, &name, header.clone(), &self.store.dir.counters)?;
            self.target = Some(Appender::new(Arc::new(log), State::new(header)));
        }
        self.target
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Other, "no log to write to"))
    }

    /// Writes, syncs, and makes all of it what others see.
    fn finish(mut self) -> Result<()> {
        let Some(mut target) = self.target.take() else {
            return self.abandon();
        };
        if !target.is_dirty() {
            if self.repeats && self.building.is_none() {
                let synced = self
                    .write_again(&target)
                    .and_then(|()| self.make_durable(&target));
                return synced.map_err(|error| error.applied(Applied::Unknown));
            }
            return self.abandon();
        }
        let written = target.settle().and_then(|()| target.write_out());
        if let Err(error) = written {
            self.cut_back(&target)?;
            return Err(error);
        }
        if let Err(error) = self.make_durable(&target) {
            // What reached the disk is anyone's guess now, and asking again
            // would not tell: the error is reported once.
            self.cut_back(&target)?;
            self.store.forget(&self.key);
            return Err(error.applied(Applied::Unknown));
        }
        if let Some(building) = self.building.take() {
            let (shard, name) = log_names(&self.key);
            let placed = self
                .store
                .dir
                .make_dir(&shard)
                .and_then(|()| self.store.dir.rename(&building, &name));
            if let Err(error) = placed {
                self.building = Some(building);
                self.abandon()?;
                return Err(error);
            }
            target.log.unlock();
            if let Err(error) = self.store.sync_shard(&shard) {
                self.store.forget(&self.key);
                return Err(error.applied(Applied::Unknown));
            }
            target.log.settled.store(true, Ordering::Relaxed);
        }
        if target.is_snapshot_due() {
            let before = target.state.clone();
            if let Err(error) = target.write_snapshot() {
                // Opening takes longer without it; nothing else is lost.
                tracing::warn!(%error, "the index could not be written");
                match target.log.truncate(before.end) {
                    Ok(()) => target.state = before,
                    Err(_) => self.store.poison(self.key),
                }
            }
        }
        if !self.store.is_poisoned(&self.key) {
            self.store.replace(self.key, target.log, target.state);
        }
        Ok(())
    }

    /// Makes what was written as durable as was asked for.
    fn make_durable(&self, target: &Appender) -> Result<()> {
        self.store.make_durable(self.key, &target.log)?;
        // A new log has no place yet.
        if self.building.is_none() && !target.log.settled.load(Ordering::Relaxed) {
            // It was written just now.
            let now = target.log.modified();
            let shard = log_names(&self.key).0;
            self.store.dir.settle_entry(&shard, now)?;
            target.log.settled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes the end of the log once more. Where a sync failed and could not be
    /// undone, the system holds as clean what never reached the disk, and
    /// another sync alone would not bring it there.
    fn write_again(&self, target: &Appender) -> Result<()> {
        if !self.store.dir.syncs() {
            return Ok(());
        }
        let (start, end) = (target.state.header.start, target.state.end);
        let from = start.max(end.saturating_sub(REWRITTEN));
        let bytes = target.log.read(from, (end - from) as usize, Wait::Yes)?;
        target.log.write_at(from, &bytes)
    }

    /// Undoes a write that failed.
    fn cut_back(&mut self, target: &Appender) -> Result<()> {
        if self.building.is_some() {
            return self.abandon();
        }
        let reached = target.log.len().unwrap_or(target.state.end);
        if let Err(error) = target.log.truncate(target.start()) {
            self.store.poison(self.key);
            return Err(error
                .context("a failed write could not be undone")
                .applied(Applied::Unknown));
        }
        if let Some(before) = &self.before
            && target.was_seen(reached)
        {
            let old = Appender::new(target.log.clone(), State::clone(before));
            // If it fails, whoever writes next tries again.
            if let Err(error) = forget_seen(self.store, self.key, old, reached) {
                tracing::warn!(%error, "a failed write was cut off, but may be remembered");
            }
        }
        Ok(())
    }

    /// Removes a log that was not finished.
    fn abandon(&mut self) -> Result<()> {
        match self.building.take() {
            Some(building) => self.store.dir.remove(&building),
            None => Ok(()),
        }
    }
}

/// Has those forget a write who may have seen it before it was cut off.
fn forget_seen(
    store: &Store,
    key: Key,
    mut old: Appender,
    reached: u64,
) -> Result<(Arc<LogFile>, Arc<State>)> {
    let end = old.state.end;
    store.set_seen(key, Some(reached));
    if let Err(error) = old.skip(reached) {
        if old.log.truncate(end).is_err() {
            store.poison(key);
        }
        return Err(error);
    }
    store.set_seen(key, None);
    let state = Arc::new(old.state);
    store.replace(key, old.log.clone(), State::clone(&state));
    Ok((old.log, state))
}

#[cfg(test)]
mod tests;
