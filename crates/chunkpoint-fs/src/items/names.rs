//! The catalog of namespaces: which may have items, and from when on a sweep has
//! something to do in each.
//!
//! It is a superset: a namespace is in it, durably, before its file is. Whoever lists
//! namespaces looks into each. What it says is due may be due no more, but nothing is
//! due that it does not know of. If it is damaged, the namespaces' own headers tell their
//! names.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::store_backend::Namespace;
use chunkpoint_core::{Error, ErrorKind, Result};

use crate::error::from_io;
use crate::items::entry::Entry;
use crate::items::file::{Header, ItemsFile, Place, label_of};
use crate::items::group::{append, writable};
use crate::items::node::Builder;
use crate::items::space::Space;
use crate::store::Store;
use crate::wait::{Wait, would_wait};

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

fn change(store: &Store, label: &[u8], to: impl Fn(Option<u64>) -> Option<Entry>) -> Result<()> {
    let place = Place::names();
    let _lock = store.lock_place(&place)?;
    let write = || {
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
    };
    match write() {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            rebuild(store, error)?;
            write()
        }
        other => other,
    }
}

/// Reads the catalog, if there is one; if it is damaged, a new one.
pub(crate) fn read<T>(
    store: &Store,
    wait: Wait,
    read: impl Fn(&Arc<Space>) -> Result<T>,
) -> Result<Option<T>> {
    let place = Place::names();
    let look = || {
        store
            .space(&place, wait)?
            .map(|space| read(&space))
            .transpose()
    };
    match look() {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            if wait == Wait::No {
                return Err(would_wait());
            }
            let _lock = store.lock_place(&place)?;
            // Another may have done so.
            if let Err(error) = check(store) {
                rebuild(store, error)?;
            }
            look()
        }
        other => other,
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
    let page = read(store, wait, |space| {
        let mut entries = space.entries(from.max(prefix), wait)?;
        let mut page = Vec::new();
        while page.len() < limit
            && let Some((label, _)) = entries.next()?
            && label.starts_with(prefix)
        {
            page.push(Namespace::from_bytes(&label)?);
        }
        Ok(page)
    })?;
    Ok(page.unwrap_or_default())
}

/// Reads all of the catalog.
fn check(store: &Store) -> Result<()> {
    if let Some(space) = store.space(&Place::names(), Wait::Yes)? {
        let mut entries = space.entries(&[], Wait::Yes)?;
        while entries.next()?.is_some() {}
    }
    Ok(())
}

/// Writes the catalog anew, from the headers of the namespaces' files. Its lock is held.
fn rebuild(store: &Store, error: Error) -> Result<()> {
    if error.kind() != ErrorKind::Corrupt {
        return Err(error);
    }
    tracing::warn!(%error, "the catalog of namespaces is rebuilt from their files");
    let place = Place::names();
    let building = place.building("rebuilt");
    let Some(file) = store.dir.build(&building)? else {
        return Err(error);
    };
    let header = Header::empty(&place);
    let file = ItemsFile::create(file, &place, header.clone(), &store.dir.counters)?;
    let mut builder = Builder::new(&file, header.base_end);
    for label in labels(store)? {
        // When anything is due there, the next sweep finds out.
        builder.push(&label, &Entry::Due(0))?;
    }
    let (root, due, base_end) = builder.finish()?;
    let header = Header {
        root,
        due,
        base_end,
        ..header
    };
    file.write_at(0, &header.encode(&place))?;
    file.sync()?;
    store.dir.rename(&building, &place.items())?;
    file.unlock();
    store.items.forget(&place);
    store.dir.force_sync_dir(&place.dir())
}

/// The labels of every namespace that has a file.
fn labels(store: &Store) -> Result<BTreeSet<Bytes>> {
    let failed = |error| from_io("listing the namespaces", error);
    let mut labels = BTreeSet::new();
    for shard in fs::read_dir(store.dir.path("s")).map_err(failed)? {
        let shard = shard.map_err(failed)?.path();
        if !shard.is_dir() {
            continue;
        }
        for file in fs::read_dir(shard).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            if path.extension().is_none_or(|end| end != "items") {
                continue;
            }
            match label_of(&path, &store.dir.counters) {
                Ok(label) => {
                    labels.extend(label);
                }
                // One whose header is damaged has no name to list.
                Err(error) => tracing::warn!(%error, "items without a name"),
            }
        }
    }
    Ok(labels)
}
