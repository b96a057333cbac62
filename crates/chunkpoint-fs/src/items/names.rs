//! The catalog of namespaces: which may have items, and from when on a sweep has
//! something to do in each.
//!
//! It is a superset: a namespace is in it, durably, before its file is. Whoever lists
//! namespaces looks into each. What it says is due may be due no more, but nothing is
//! due that it does not know of.

use chunkpoint_core::Result;
use chunkpoint_core::store_backend::Namespace;

use crate::items::entry::Entry;
use crate::items::file::Place;
use crate::items::group::{append, writable};
use crate::store::Store;
use crate::wait::Wait;

/// Says when anything in a namespace is due: at this time or before; if `raise`, not
/// before. The lock of the namespace is held.
pub(crate) fn announce(store: &Store, label: &[u8], due: u64, raise: bool) -> Result<()> {
    change(store, label, |there| match there {
        Some(there) if there == due || (there < due && !raise) => None,
        _ => Some(Entry::Due(due)),
    })
}

/// Takes a namespace out whose file was removed. Its lock is held.
pub(crate) fn remove(store: &Store, label: &[u8]) -> Result<()> {
    change(store, label, |there| {
        there.map(|_| Entry::Gone { freed: 0 })
    })
}

fn change(
    store: &Store,
    label: &[u8],
    to: impl FnOnce(Option<u64>) -> Option<Entry>,
) -> Result<()> {
    let place = Place::names();
    let _lock = store.lock_place(&place)?;
    let space = writable(store, &place)?;
    let there = match &space {
        Some(space) => space.get(label, Wait::Yes)?,
        None => None,
    };
    let there = there.map(|entry| entry.due());
    match to(there) {
        Some(entry) => append(store, &place, space, vec![(label.to_vec(), entry)]),
        None => Ok(()),
    }
}

/// Namespaces at or behind `from` that begin with `prefix`, at most `limit`.
pub(crate) fn page(
    store: &Store,
    prefix: &[u8],
    from: &[u8],
    limit: usize,
    wait: Wait,
) -> Result<Vec<Namespace>> {
    let Some(space) = store.space(&Place::names(), wait)? else {
        return Ok(Vec::new());
    };
    let mut entries = space.entries(from.max(prefix), wait)?;
    let mut page = Vec::new();
    while page.len() < limit
        && let Some((label, _)) = entries.next()?
        && label.starts_with(prefix)
    {
        page.push(Namespace::from_bytes(&label)?);
    }
    Ok(page)
}
