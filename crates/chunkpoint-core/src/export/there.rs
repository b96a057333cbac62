//! A checkpoint that is there already, and what its line says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::read::Surroundings;
use super::source::Held;
use super::write::same_version;
use crate::backend::RecordRow;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result, quote};
use crate::record::{Content, Record};
use crate::saver::Write;

/// In what a checkpoint that is there differs from what its line says, but for flags and
/// writes.
pub(super) fn difference(there: &Held, record: &Record, line: &Surroundings) -> Option<String> {
    if let Some(what) = records_differ(&there.record, record) {
        return Some(what);
    }
    let index = &there.row.index;
    if index.parent != line.parent {
        return Some("another parent".into());
    }
    if index.time_ms != line.time_ms {
        return Some("another time".into());
    }
    if there.row.hidden && !line.hidden {
        return Some("but hidden".into());
    }
    if there.row.pinned && !line.pinned {
        return Some("but pinned".into());
    }
    None
}

/// In what two records differ.
pub(super) fn records_differ(a: &Record, b: &Record) -> Option<String> {
    if (a.v, &a.ts, &a.updated_channels) != (b.v, &b.ts, &b.updated_channels) {
        return Some("another v, ts or updated_channels".into());
    }
    let kind = |content: &Content| content.identity();
    if kind(&a.metadata) != kind(&b.metadata) {
        return Some("other metadata".into());
    }
    if kind(&a.versions_seen) != kind(&b.versions_seen) {
        return Some("another versions_seen".into());
    }
    let names: BTreeSet<&Arc<str>> = a.channels.keys().chain(b.channels.keys()).collect();
    let differs = names.into_iter().find(|name| {
        let (a, b) = (a.channels.get(*name), b.channels.get(*name));
        !a.zip(b)
            .is_some_and(|(a, b)| same_version(a, b) && kind(&a.content) == kind(&b.content))
    });
    differs.map(|name| format!("another value or version of channel {}", quote(name)))
}

/// The error about it.
pub(super) fn conflict(thread: &str, line: &Surroundings, what: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "checkpoint {} of thread {} is there already, with {what}; import into an empty \
             memory, or delete that thread first",
            quote(&line.key.id),
            quote(thread)
        ),
    )
}

/// The writes that an interrupted import did not come to.
pub(super) fn missing_writes<'w>(
    engine: &Engine,
    thread: &str,
    row: &RecordRow,
    line: &'w Surroundings,
) -> Result<Vec<&'w Write>> {
    let there = engine.writes(&row.writes)?;
    let slot = |write: &Write| (write.task_id.clone(), write.idx);
    let mut there: BTreeMap<_, &Write> = there.iter().map(|w| (slot(w), w)).collect();
    let mut missing = Vec::new();
    for write in &line.writes {
        match there.remove(&slot(write)) {
            Some(found) if found == write => {}
            Some(_) => return Err(conflict(thread, line, "other pending writes")),
            None => missing.push(write),
        }
    }
    match there.is_empty() {
        true => Ok(missing),
        false => Err(conflict(thread, line, "further pending writes")),
    }
}
