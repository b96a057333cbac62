//! The long-term store, out and in.

use std::collections::HashSet;

use futures::TryStreamExt;

use super::Count;
use super::line::ItemLine;
use super::lines::{Out, at};
use super::write::json;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Memory;
use crate::store::{Original, Store};
use crate::store_backend::{ItemChange, ItemKey, ItemRow, Namespace, ScanItems};

/// Writes the items at and below `prefix`.
pub(super) async fn export(memory: &Memory, prefix: &Namespace, out: &mut Out) -> Result<()> {
    if !memory.has_store() {
        return Ok(());
    }
    let store = memory.store()?;
    let mut rows = scan(&store, prefix).await?;
    while let Some(row) = rows.try_next().await? {
        let Some(line) = read(&store, row).await? else {
            continue;
        };
        out.count.items += 1;
        out.line(json(&line)?).await?;
    }
    Ok(())
}

pub(super) async fn scan(
    store: &Store,
    prefix: &Namespace,
) -> Result<futures::stream::BoxStream<'static, Result<ItemRow>>> {
    store
        .backend()
        .scan(ScanItems {
            prefix: prefix.clone(),
            ..ScanItems::default()
        })
        .await
}

/// The line of an item; `None` if it has expired or went meanwhile. Does not renew its
/// life.
pub(super) async fn read(store: &Store, row: ItemRow) -> Result<Option<ItemLine>> {
    let Some((row, value)) = store.peek(row).await? else {
        return Ok(None);
    };
    let labels = row.key.namespace.labels().iter();
    Ok(Some(ItemLine {
        item: row.key.key.to_string(),
        namespace: labels.map(ToString::to_string).collect(),
        created_ms: row.created_ms,
        updated_ms: row.updated_ms,
        ttl_ms: row.ttl_ms,
        expires_ms: row.expires_ms,
        value,
    }))
}

/// Items that are stored in one call, at most, ...
const ITEMS: usize = 500;
/// ... and bytes of their lines, but for one that has more.
const BYTES: usize = 1 << 20;

/// Items whose lines were read, and that are stored together: one acknowledgement is as
/// long in coming as that of one item.
#[derive(Default)]
pub(super) struct Pending {
    lines: Vec<(u64, ItemKey, ItemLine)>,
    keys: HashSet<ItemKey>,
    bytes: usize,
}

/// What is to be done for a line.
enum Plan {
    /// Nothing: its time is over.
    Expired,
    /// The item is there; its life is to be prolonged, perhaps.
    Present(Option<ItemChange>),
    /// It is to be put, and what has expired in its place removed before.
    Put(ItemChange, Option<ItemChange>),
}

impl Pending {
    /// Whether this line has to wait until these are stored.
    pub(super) fn is_before(&self, key: &ItemKey, bytes: usize) -> bool {
        self.lines.len() >= ITEMS
            || !self.lines.is_empty() && self.bytes + bytes > BYTES
            || self.keys.contains(key)
    }

    pub(super) fn add(&mut self, number: u64, key: ItemKey, line: ItemLine, bytes: usize) {
        self.keys.insert(key.clone());
        self.lines.push((number, key, line));
        self.bytes += bytes;
    }

    /// Stores them, up to the first that cannot be, whose error names its line.
    pub(super) async fn store(self, memory: &Memory, count: &mut Count) -> Result<()> {
        let (Some((first, key, _)), Some((last, ..))) = (self.lines.first(), self.lines.last())
        else {
            return Ok(());
        };
        let (first, last) = (*first, *last);
        let all = |e: Error| match first == last {
            true => at(first, e),
            false => e.context(format_args!("lines {first} to {last}")),
        };
        let store = memory.store().map_err(|e| {
            let message = format!(
                "item {key} has nowhere to go, because {}; import with checkpoints only, or \
                 to a backend with a store",
                e.message()
            );
            at(first, Error::new(ErrorKind::Unsupported, message))
        })?;
        let keys: Vec<ItemKey> = self.lines.iter().map(|(_, key, _)| key.clone()).collect();
        let rows = store.rows(&keys).await.map_err(all)?;
        let (mut clearings, mut changes) = (Vec::new(), Vec::new());
        let mut failed = None;
        for ((number, key, line), row) in self.lines.into_iter().zip(rows) {
            match plan(&store, key, line, row).await {
                Ok(Plan::Expired) => count.expired += 1,
                Ok(Plan::Present(None)) => present(count),
                Ok(Plan::Present(Some(change))) => changes.push((number, true, change)),
                Ok(Plan::Put(change, clearing)) => {
                    changes.push((number, false, change));
                    clearings.extend(clearing.map(|clearing| (number, clearing)));
                }
                Err(error) => {
                    failed = Some(at(number, error));
                    break;
                }
            }
        }
        let (numbers, clearings): (Vec<u64>, Vec<ItemChange>) = clearings.into_iter().unzip();
        let cleared = store.make(clearings).await.map_err(all)?;
        for (number, cleared) in numbers.into_iter().zip(cleared) {
            cleared.map_err(|e| at(number, e))?;
        }
        let about = |(number, is_there, _): &(u64, bool, ItemChange)| (*number, *is_there);
        let abouts: Vec<(u64, bool)> = changes.iter().map(about).collect();
        let changes = changes.into_iter().map(|(.., change)| change).collect();
        let made = store.make(changes).await.map_err(all)?;
        let mut refused = None;
        for ((number, is_there), made) in abouts.into_iter().zip(made) {
            match made {
                Ok(()) if is_there => present(count),
                Ok(()) => count.items += 1,
                Err(error) => {
                    refused.get_or_insert_with(|| at(number, error));
                }
            }
        }
        // What was refused stands in an earlier line.
        refused.or(failed).map_or(Ok(()), Err)
    }
}

fn present(count: &mut Count) {
    count.items += 1;
    count.present += 1;
}

async fn plan(store: &Store, key: ItemKey, line: ItemLine, row: Option<ItemRow>) -> Result<Plan> {
    if store.is_past(line.expires_ms) {
        return Ok(Plan::Expired);
    }
    let mut clearing = None;
    if let Some(row) = row {
        if let Some(there) = read(store, row.clone()).await? {
            if let Some(what) = difference(&there, &line) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "item {key} is there already, with another {what}; import into an empty \
                         memory, or remove it first"
                    ),
                ));
            }
            // Its life may have been renewed since the export that it came from.
            let longer = line
                .expires_ms
                .filter(|_| line.expires_ms > there.expires_ms);
            let prolonging = longer.map(|expires_ms| Store::prolonging(&row, expires_ms));
            return Ok(Plan::Present(prolonging));
        }
        if store.is_past(row.expires_ms) {
            clearing = Some(store.clearing(&row)?);
        }
    }
    let original = Original {
        key,
        value: line.value,
        created_ms: line.created_ms,
        updated_ms: line.updated_ms,
        ttl_ms: line.ttl_ms,
        expires_ms: line.expires_ms,
    };
    Ok(Plan::Put(store.restoration(original)?, clearing))
}

/// In what two items of one name differ, but for when they expire.
pub(super) fn difference(a: &ItemLine, b: &ItemLine) -> Option<&'static str> {
    if a.value != b.value {
        Some("value")
    } else if a.created_ms != b.created_ms {
        Some("time of creation")
    } else if a.updated_ms != b.updated_ms {
        Some("time of change")
    } else if a.ttl_ms != b.ttl_ms {
        Some("time to live")
    } else {
        None
    }
}
