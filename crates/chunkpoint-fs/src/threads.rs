//! What is done to threads as a whole: reclaiming, deleting, copying, listing.

use std::collections::HashMap;
use std::sync::Arc;

use chunkpoint_core::backend::{Incarnation, ListThreads, PackId, Reclaimed};
use chunkpoint_core::{Applied, Error, ErrorKind, Result, quote};

use crate::append::Appender;
use crate::catalog::Page;
use crate::compact::{self, Dead, Point};
use crate::condemned::visit;
use crate::lru::Key;
use crate::ops::DeadChunks;
use crate::order::latest;
use crate::row::read_calls;
use crate::store::{Store, View, hex, key_of, log_names};
use crate::wait::Wait;
use crate::writer::Caller;

/// A log is compacted when at least so much of it is of no use, ...
const LEAST_GARBAGE: u64 = 32 * 1024;

/// ... and that is half of it, or so many packs lost chunks: their list is kept
/// in memory.
const MOST_DEAD: usize = 16 * 1024;

/// Candidates that are looked at together when threads are listed.
const CANDIDATES: usize = 256;

/// Threads without a log among those looked at, after which it is worth to see
/// whether the catalog should be rewritten.
const MANY_GONE: usize = 64;

/// What is left to do of a reclaim.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing.
    Done(Reclaimed),
    /// To note what is dead.
    Note(DeadChunks, Reclaimed),
}

/// Compacts a log if that pays or nothing else will do, else tells what is dead
/// in it.
pub(crate) fn reclaim(
    store: &Store,
    caller: &Caller,
    key: Key,
    thread: &Arc<str>,
    incarnation: Incarnation,
    before_ms: u64,
    dead: &HashMap<PackId, Vec<u32>>,
) -> Result<Step> {
    let view = store.view(&key, thread, Wait::Yes)?;
    let Some(view) = view.filter(|view| view.state.header.incarnation == incarnation) else {
        return Ok(Step::Done(Reclaimed::default()));
    };
    let mut places = Dead::new();
    let mut bytes = 0;
    if !dead.is_empty() {
        visit(&mut view.reader(), &view.state, |pack| {
            let Some(named) = dead.get(&pack.pack) else {
                return Ok(());
            };
            if pack.time_ms <= before_ms {
                let gone = pack.live().filter(|(ordinal, ..)| named.contains(ordinal));
                let ordinals: Vec<u32> = gone
                    .map(|(ordinal, _, len, _)| {
                        bytes += u64::from(len);
                        ordinal
                    })
                    .collect();
                if !ordinals.is_empty() {
                    places.insert(pack.loc, ordinals);
                }
            }
            Ok(())
        })?;
    }
    let (end, garbage) = (view.state.end, view.state.garbage + bytes);
    let many = places.len() + view.state.dead.len() > MOST_DEAD;
    let pays = garbage >= LEAST_GARBAGE && (garbage >= end / 2 || many);
    if pays || has_mixed_orphans(&view, before_ms)? {
        // Before the lock is had there is no hurry to find out.
        let stop = |point| {
            if point == Point::Locked {
                caller.check()
            } else {
                Ok(())
            }
        };
        let compacted = compact::compact(store, key, thread, &view, &places, before_ms, stop)?;
        if let Some(live_bytes) = compacted {
            let freed_bytes = end.saturating_sub(live_bytes);
            return Ok(Step::Done(Reclaimed {
                freed_bytes,
                live_bytes,
            }));
        }
    }
    let reclaimed = Reclaimed {
        freed_bytes: bytes,
        live_bytes: end.saturating_sub(garbage),
    };
    if places.is_empty() && Appender::orphans(&view.state).is_empty() {
        return Ok(Step::Done(reclaimed));
    }
    let mut dead: Vec<(u64, Vec<u32>)> = places.into_iter().collect();
    dead.sort_unstable();
    let generation = view.state.header.generation;
    Ok(Step::Note(
        DeadChunks {
            incarnation,
            generation,
            dead,
            bytes,
            before_ms,
        },
        reclaimed,
    ))
}

/// Whether calls of orphaned writes came by `before_ms` that only a compaction
/// can part from younger ones of their checkpoint.
fn has_mixed_orphans(view: &View, before_ms: u64) -> Result<bool> {
    if !view.state.holes.is_empty() {
        // A damaged log is not compacted.
        return Ok(false);
    }
    let mut reader = view.reader();
    for (.., chain) in Appender::orphans(&view.state) {
        let calls = read_calls(&mut reader, chain)?;
        let young = calls.iter().filter(|call| call.time_ms > before_ms).count();
        if young > 1 && young < calls.len() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends an incarnation: the log leaves its place, and goes.
pub(crate) fn delete(
    store: &Store,
    caller: &Caller,
    thread: &Arc<str>,
    incarnation: Incarnation,
) -> Result<()> {
    let key = key_of(thread);
    let _lock = store.lock(&key)?;
    caller.check()?;
    let view = store.view(&key, thread, Wait::Yes)?;
    if view.is_none_or(|view| view.state.header.incarnation != incarnation) {
        return Ok(());
    }
    let (shard, name) = log_names(&key);
    let gone = format!("trash/{}-{incarnation}.gone", hex(&key));
    store.dir.rename(&name, &gone)?;
    store.forget(&key);
    store
        .sync_shard(&shard)
        .map_err(|error| error.applied(Applied::Unknown))?;
    // It has ended; a leftover is removed when the directory is opened.
    if let Err(error) = store.dir.remove(&gone) {
        tracing::warn!(%error, "the log of a deleted thread stays for now");
    }
    Ok(())
}

/// Copies a thread.
pub(crate) fn copy(
    store: &Store,
    caller: &Caller,
    source: &str,
    target: &Arc<str>,
    fresh: Incarnation,
) -> Result<()> {
    let key = key_of(target);
    if is_taken(store, &key, target, fresh)? {
        return Ok(());
    }
    let Some(view) = store.view(&key_of(source), source, Wait::Yes)? else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("thread {} does not exist", quote(source)),
        ));
    };
    let building = format!("trash/{}-{fresh}.copy", hex(&key));
    let outcome = (|| {
        let (log, state) = compact::copy(store, &view, &building, target, &key, fresh)?;
        store.catalog.add(&store.dir, target)?;
        let _lock = store.lock(&key)?;
        caller.check()?;
        if is_taken(store, &key, target, fresh)? {
            return Ok(());
        }
        let (shard, name) = log_names(&key);
        store.dir.make_dir(&shard)?;
        {
            let _there = caller.hold()?;
            store.dir.rename(&building, &name)?;
        }
        log.unlock();
        store.forget(&key);
        store
            .sync_shard(&shard)
            .map_err(|error| error.applied(Applied::Unknown))?;
        store.make_durable(key, &log)?;
        store.replace(key, log, state);
        Ok(())
    })();
    let removed = store.dir.remove(&building);
    outcome.and(removed)
}

/// Whether the copy is there already.
///
/// # Errors
/// `Conflict` if something else is, and be it only pending writes.
fn is_taken(store: &Store, key: &Key, target: &str, fresh: Incarnation) -> Result<bool> {
    match store.view(key, target, Wait::Yes)? {
        None => Ok(false),
        Some(view) if view.state.header.incarnation == fresh => Ok(true),
        Some(_) => Err(Error::new(
            ErrorKind::Conflict,
            format!("thread {} exists", quote(target)),
        )),
    }
}

/// A page of the threads that have a visible record, or of all.
pub(crate) fn list(store: &Store, query: &ListThreads) -> Result<Vec<Arc<str>>> {
    let mut threads = Vec::new();
    let mut after = query.after.clone();
    let (mut looked, mut gone) = (0, 0);
    while threads.len() < query.limit {
        let limit = (query.limit - threads.len()).max(CANDIDATES);
        let page = Page {
            prefix: &query.prefix,
            after: after.as_deref(),
            limit,
        };
        let candidates = store.catalog.page(&store.dir, &page)?;
        let last = candidates.len() < limit;
        after = candidates.last().cloned();
        for thread in candidates {
            if threads.len() == query.limit {
                break;
            }
            looked += 1;
            match is_listed(store, &thread, query.all)? {
                Listed::Yes => threads.push(thread),
                Listed::No => {}
                Listed::Gone => gone += 1,
            }
        }
        if last {
            break;
        }
    }
    if gone >= MANY_GONE
        && gone * 2 > looked
        && let Err(error) = store.catalog.rewrite(&store.dir)
    {
        // It is as good as it was; perhaps nothing can be written here.
        tracing::debug!(%error, "the catalog of threads was not rewritten");
    }
    Ok(threads)
}

/// What a thread of the catalog is.
enum Listed {
    Yes,
    /// It has no visible record.
    No,
    /// It has no log.
    Gone,
}

fn is_listed(store: &Store, thread: &str, all: bool) -> Result<Listed> {
    let look = || -> Result<Listed> {
        let Some(view) = store.view(&key_of(thread), thread, Wait::Yes)? else {
            return Ok(Listed::Gone);
        };
        if all {
            return Ok(Listed::Yes);
        }
        let mut reader = view.reader();
        for ns in 0..view.state.namespaces.len() {
            if latest(&mut reader, &view.state, ns as u32)?.is_some() {
                return Ok(Listed::Yes);
            }
        }
        Ok(Listed::No)
    };
    match look() {
        // It is there, and whoever opens it is told what is wrong.
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Listed::Yes),
        other => other,
    }
}
