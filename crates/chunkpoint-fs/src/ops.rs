//! The mutations themselves, on a thread that is locked: what each checks, and
//! in which order.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use chunkpoint_core::backend::{
    self, Altered, Base, Commit, Committed, Incarnation, PutWrites, RecordRef,
};
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use crate::append::{Appender, NewChunk, NewRecord};
use crate::log::Going;
use crate::order::{seek, sure_latest};
use crate::payload::{Action, Change, Order, Reclaim};
use crate::row::{has_writes, read_calls, read_commit};
use crate::state::Latest;
use crate::table;
use crate::writer::Group;

/// Adds a record and its chunks.
pub(crate) fn commit(group: &mut Group<'_>, commit: Commit) -> Result<Committed> {
    let answer = |incarnation, locator| {
        Ok(Committed {
            incarnation,
            locator,
        })
    };
    if let Some(target) = group.existing() {
        let incarnation = target.state.header.incarnation;
        if let Some(locator) = known(target, &commit)? {
            group.repeats();
            return answer(incarnation, locator);
        }
    }
    if let Base::Borrow { incarnation, from } = &commit.base {
        let target = group
            .existing()
            .filter(|t| t.state.header.incarnation == *incarnation);
        let Some(target) = target else {
            return Err(Error::new(
                ErrorKind::ParentGone,
                format!(
                    "thread {} was deleted since its parent was read",
                    quote(&commit.thread)
                ),
            ));
        };
        for record in from {
            check_parent(target, record)?;
        }
    }
    if let Some(expected) = &commit.expect_latest {
        let namespace = &commit.key.namespace;
        let current = match group.existing() {
            Some(target) => latest_id(target, namespace)?,
            None => None,
        };
        if current != *expected {
            let show = |id: &Option<Arc<str>>| id.as_deref().map_or("none".to_owned(), quote);
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "latest is {}, and {} was expected",
                    show(&current),
                    show(expected)
                ),
            ));
        }
    }
    let fresh = match &commit.base {
        Base::Root { fresh } => *fresh,
        Base::Borrow { incarnation, .. } => *incarnation,
    };
    let target = group.target(fresh, commit.index.time_ms)?;
    let incarnation = target.state.header.incarnation;
    let locator = target.record(NewRecord {
        namespace: commit.key.namespace,
        id: commit.key.id,
        pack: commit.pack,
        index: commit.index,
        body: commit.body,
        chunks: commit.chunks.into_iter().map(NewChunk::Bytes).collect(),
        hidden: false,
        pinned: false,
    })?;
    answer(incarnation, locator)
}

/// Where the pack of a commit is, if it was stored before: it is the record's
/// current version, an older one, or one that was removed.
///
/// A removed version is known until its last chunk is reclaimed and the log is
/// compacted. A repetition always has the same id, so a commit with an id
/// greater than any before cannot be one.
fn known(target: &mut Appender, commit: &Commit) -> Result<Option<u64>> {
    let (namespace, id) = (&commit.key.namespace, &commit.key.id);
    let Some((ns, space)) = target.state.ns(namespace) else {
        return Ok(None);
    };
    match &space.top {
        Some(top) if top.id < *id => return Ok(None),
        None => return Ok(None),
        Some(top) if top.pack == commit.pack => return Ok(Some(top.loc)),
        Some(_) => {}
    }
    let removed = space
        .exceptions
        .get(id)
        .map_or(0, |exception| exception.loc);
    let mut version = match target.locate(namespace, id)? {
        Some((_, found)) if found.pack == commit.pack => return Ok(Some(found.loc)),
        Some((_, found)) => found.loc,
        None => removed,
    };
    let (reader, state) = target.reader()?;
    if version == 0 {
        // Removed and forgotten; its commit is in the log until it is compacted.
        let sought = seek(reader, state, ns, Bound::Included(id), 0)?;
        version = sought
            .record
            .filter(|record| record.id == *id)
            .map_or(0, |record| record.loc);
    }
    while version != 0 {
        let stored = read_commit(reader, version, Going::Backward)?;
        if stored.pack == commit.pack {
            return Ok(Some(version));
        }
        version = match stored.order {
            Order::Exception { older, .. } => older,
            Order::Next { .. } => 0,
        };
    }
    table::find(reader, state.table, commit.pack)
}

fn check_parent(target: &mut Appender, record: &RecordRef) -> Result<()> {
    let there = target.locate(&record.key.namespace, &record.key.id)?;
    if there.is_some_and(|(_, found)| found.pack == record.pack) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ParentGone,
        format!(
            "checkpoint {} was removed or replaced",
            quote(&record.key.id)
        ),
    ))
}

fn latest_id(target: &mut Appender, namespace: &str) -> Result<Option<Arc<str>>> {
    let Some((ns, space)) = target.state.ns(namespace) else {
        return Ok(None);
    };
    match &space.latest {
        Latest::Known(id) if target.state.holes.is_empty() => Ok(id.clone()),
        _ => {
            let (reader, state) = target.reader()?;
            Ok(sure_latest(reader, state, ns)?.map(|found| found.id))
        }
    }
}

/// Stores pending writes.
pub(crate) fn put_writes(group: &mut Group<'_>, put: PutWrites) -> Result<()> {
    let target = group.target(put.fresh, put.time_ms)?;
    let (namespace, id) = (&put.key.namespace, &put.key.id);
    let chain = target.pending(namespace, id)?;
    if chain != 0 && has_writes(target.reader()?.0, chain, put.write_id)? {
        group.repeats();
        return Ok(());
    }
    target.writes(namespace, id, put.write_id, put.time_ms, put.writes)
}

/// Removes, hides or pins records.
pub(crate) fn alter(group: &mut Group<'_>, alter: &backend::Alter) -> Result<Vec<Altered>> {
    let target = group
        .existing()
        .filter(|t| t.state.header.incarnation == alter.incarnation);
    let Some(target) = target else {
        return Ok(vec![Altered::Gone; alter.changes.len()]);
    };
    let mut answers = Vec::with_capacity(alter.changes.len());
    let mut changes = Vec::new();
    let mut changed = HashSet::new();
    for (record, change) in &alter.changes {
        if changed.contains(&record.key) {
            // The second change of a record has to see the first.
            target.change(alter.time_ms, std::mem::take(&mut changes));
            changed.clear();
        }
        let found = target.locate(&record.key.namespace, &record.key.id)?;
        let Some((ns, found)) = found.filter(|(_, found)| found.pack == record.pack) else {
            answers.push(Altered::Gone);
            continue;
        };
        let action = match change {
            backend::Change::Remove | backend::Change::Hide if found.pinned => {
                answers.push(Altered::Pinned);
                continue;
            }
            backend::Change::Remove => Some(Action::Remove {
                garbage: target.record_bytes(&found)?,
            }),
            backend::Change::Hide => (!found.hidden).then_some(Action::Hide),
            backend::Change::Pin(pinned) => {
                (found.pinned != *pinned).then_some(Action::Pin(*pinned))
            }
        };
        if let Some(action) = action {
            changes.push(Change::of(ns, &found, action));
            changed.insert(&record.key);
        }
        answers.push(Altered::Done);
    }
    target.change(alter.time_ms, changes);
    group.repeats();
    Ok(answers)
}

/// Chunks that are dead, in one generation of a log.
#[derive(Debug)]
pub(crate) struct DeadChunks {
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: u64,
    /// Frames of packs, and ordinals.
    pub(crate) dead: Vec<(u64, Vec<u32>)>,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Orphaned writes that came by then go.
    pub(crate) before_ms: u64,
}

/// Notes that chunks are dead. `false` if the log is another by now, and
/// nothing was noted.
pub(crate) fn reclaim(group: &mut Group<'_>, reclaim: DeadChunks) -> Result<bool> {
    let same = |target: &&mut Appender| {
        let header = &target.state.header;
        header.incarnation == reclaim.incarnation && header.generation == reclaim.generation
    };
    let Some(target) = group.existing().filter(same) else {
        return Ok(false);
    };
    let mut orphans = Vec::new();
    for (ns, id, chain) in Appender::orphans(&target.state) {
        let calls = read_calls(target.reader()?.0, chain)?;
        let (mut young, old): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .partition(|call| call.time_ms > reclaim.before_ms);
        // A chain goes as a whole. To append more than one call of it again
        // takes as many frames, and a crash may leave only the first: such a
        // chain is left to a compaction.
        match young.pop() {
            None => orphans.push((ns, id)),
            Some(call) if young.is_empty() && !old.is_empty() => {
                let namespace = target.state.namespaces[ns as usize].name.clone();
                let (write_id, time_ms) = (call.write_id, call.time_ms);
                target.writes_after(0, &namespace, &id, write_id, time_ms, call.writes)?;
            }
            Some(_) => {}
        }
    }
    if !reclaim.dead.is_empty() || !orphans.is_empty() {
        target.reclaim(Reclaim {
            garbage: reclaim.bytes,
            dead: reclaim.dead,
            orphans,
        });
    }
    Ok(true)
}
