//! Throwing away what is due: expired items, deleted ones that were remembered long
//! enough, packs that no row lists.

use std::io;
use std::sync::{Arc, PoisonError};

use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{SweepItems, SweptItems};
use chunkpoint_core::{Error, ErrorKind, Result};

use crate::items::due::{DueKeys, due};
use crate::items::entry::Entry;
use crate::items::file::Place;
use crate::items::group::{Group, Op, submit};
use crate::items::names;
use crate::store::Store;
use crate::wait::Wait;

/// Namespaces that are looked into by one sweep, if it may do so little.
const LEAST_NAMES: usize = 16;

/// Bytes of the key of a condemned pack behind its item's.
const PACK_SUFFIX: usize = 1 + 8;

/// What is to be thrown away, if it still is due.
#[derive(Debug)]
pub(crate) struct Purge {
    keys: Vec<Vec<u8>>,
    before_ms: u64,
    /// When anything else is due, as of when the tail ended at `end`.
    pub(crate) next: Option<u64>,
    end: u64,
    generation: u64,
}

/// What was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Purged {
    expired: u64,
    packs: u64,
}

impl Purge {
    /// Whether the namespace is as it was looked at.
    pub(crate) fn holds(&self, group: &Group<'_>) -> bool {
        group.is_empty()
            && group.space.as_ref().is_some_and(|space| {
                space.file.header.generation == self.generation
                    && space.tail(|tail| tail.end) == self.end
            })
    }
}

/// Throws away what is still due, under the lock.
pub(crate) fn purge(group: &mut Group<'_>, purge: &Purge) -> Result<Purged> {
    let mut purged = Purged::default();
    for key in &purge.keys {
        let Some(entry) = group.get(key)? else {
            continue;
        };
        if entry.due() > purge.before_ms {
            continue;
        }
        let mut freed = 0;
        match entry {
            Entry::Row(row) => {
                purged.expired += 1;
                purged.packs += row.packs.len() as u64;
                freed = row.packs.iter().map(|pack| pack.len).sum();
            }
            Entry::Condemned { pack, .. } if !is_listed(group, key, pack.id)? => {
                purged.packs += 1;
                freed = pack.len;
            }
            _ => {}
        }
        group.put(key.clone(), Entry::Gone { freed });
    }
    Ok(purged)
}

/// Whether the row of its item lists a condemned pack again.
fn is_listed(group: &Group<'_>, key: &[u8], id: PackId) -> Result<bool> {
    let item = &key[..key.len().saturating_sub(PACK_SUFFIX)];
    Ok(match group.get(item)? {
        Some(Entry::Row(row)) => row.packs.iter().any(|pack| pack.id == id),
        _ => false,
    })
}

/// Sweeps namespaces that the catalog says have something due, until `limit` is
/// reached.
pub(crate) async fn sweep(store: &Arc<Store>, sweep: SweepItems) -> Result<SweptItems> {
    let limit = sweep.limit.max(1);
    let before_ms = sweep.before_ms;
    let found = blocking(store, move |store| {
        let names = names::read(store, Wait::Yes, |names| {
            look(names, before_ms, limit.max(LEAST_NAMES))
        });
        Ok(names?.unwrap_or_default())
    });
    let names = found.await?;
    let mut swept = SweptItems {
        more: names.more,
        ..SweptItems::default()
    };
    let mut left = limit;
    for label in names.keys {
        if left == 0 {
            swept.more = true;
            break;
        }
        let place = Place::of_label(&label);
        let found = blocking(store, {
            let place = place.clone();
            move |store| {
                let Some(space) = store.space(&place, Wait::Yes)? else {
                    return remove_name(store, &place).map(|()| None);
                };
                let due = look(&space, before_ms, left)?;
                Ok(Some((due, space.file.header.generation)))
            }
        });
        let found = match found.await {
            Err(error) if is_damage(&error) => continue,
            other => other?,
        };
        let Some((due, generation)) = found else {
            continue;
        };
        swept.more |= due.more;
        left -= due.keys.len().min(left);
        let is_whole = due.next.is_some();
        let purge = Purge {
            keys: due.keys,
            before_ms,
            next: due.next,
            end: due.end,
            generation,
        };
        let purged = submit(store, place.clone(), |sender| Op::Purge(purge, sender));
        let purged = match purged.await {
            Err(error) if is_damage(&error) => continue,
            other => other?,
        };
        swept.expired += purged.expired;
        swept.packs += purged.packs;
        if is_whole {
            blocking(store, move |store| remove_if_empty(store, &place)).await?;
        }
    }
    Ok(swept)
}

/// Whether a namespace is damaged: the others are swept all the same.
fn is_damage(error: &Error) -> bool {
    let is_damage = error.kind() == ErrorKind::Corrupt;
    if is_damage {
        tracing::error!(%error, "a namespace cannot be swept");
    }
    is_damage
}

/// What is due in a space; goes on where the last look stopped.
fn look(space: &super::space::Space, before_ms: u64, limit: usize) -> Result<DueKeys> {
    let mut at = space.swept.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = due(space, &at, before_ms, limit)?;
    *at = found.resume.take().unwrap_or_default();
    Ok(found)
}

/// Takes a namespace without a file out of the catalog.
fn remove_name(store: &Store, place: &Place) -> Result<()> {
    let _lock = store.lock_place(place)?;
    match store.space(place, Wait::Yes)? {
        None => names::remove(store, &place.label),
        Some(_) => Ok(()),
    }
}

/// Removes the files of a namespace that has nothing any more.
fn remove_if_empty(store: &Store, place: &Place) -> Result<()> {
    let _lock = store.lock_place(place)?;
    let Some(space) = store.space(place, Wait::Yes)? else {
        return Ok(());
    };
    if space.entries(&[], Wait::Yes)?.next()?.is_some() {
        return Ok(());
    }
    store.items.forget(place);
    // Without packs it is still a namespace with nothing in it.
    store.dir.remove(&place.packs(space.file.header.packs))?;
    store.dir.remove(&place.items())?;
    store.dir.sync_dir(&place.dir())?;
    names::remove(store, &place.label)
}

async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let store = store.clone();
    let task = tokio::task::spawn_blocking(move || {
        store.check_open()?;
        work(&store)
    });
    task.await
        .map_err(io::Error::other)
        .unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Other, "the task was stopped").source(error))
        })
}
