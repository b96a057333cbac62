//! What a change does to an item, checked under the lock of its namespace.

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{Changed, Expect, ItemChange, PutItem};
use chunkpoint_core::{Error, ErrorKind, Result};

use crate::items::entry::{Entry, PackAt, Remembered, Row, condemned_key, remember};
use crate::items::group::Group;

/// Most bytes of a chunk, a body, or all of one put.
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// Checks one change against what is there, and gathers what it writes.
pub(crate) fn apply(group: &mut Group<'_>, change: ItemChange) -> Result<Changed> {
    match change {
        ItemChange::Put(put) => self::put(group, *put),
        ItemChange::Delete {
            key,
            write_id,
            expect,
            now_ms,
        } => delete(group, key.key.as_bytes(), write_id, expect, now_ms),
        ItemChange::Renew {
            key,
            version,
            expires_ms,
        } => renew(group, key.key.as_bytes(), version, expires_ms),
    }
}

fn put(group: &mut Group<'_>, put: PutItem) -> Result<Changed> {
    check_size(&put)?;
    let PutItem {
        row,
        chunks,
        expect,
        ..
    } = put;
    let key = row.key.key.as_bytes();
    let before = group.get(key)?;
    if let Some(done) = remembered(before.as_ref(), row.version) {
        group.repeats();
        return Ok(done);
    }
    let live = live(before.as_ref(), row.updated_ms);
    if !holds(expect, live) {
        return Ok(Changed::Conflict(live.map(|live| live.version)));
    }
    let mut found = Vec::with_capacity(row.packs.len());
    for id in &row.packs {
        let is_own = *id == row.version && !chunks.is_empty();
        found.push(match is_own {
            true => Found::Own,
            false => find_pack(group, key, before.as_ref(), *id)?,
        });
    }
    if found.iter().any(|found| matches!(found, Found::Nowhere)) {
        return Ok(Changed::Conflict(live.map(|live| live.version)));
    }
    let (mut packs, mut own) = (Vec::with_capacity(found.len()), None);
    for found in &found {
        packs.push(match found {
            Found::Listed(pack) | Found::Condemned(pack) => *pack,
            Found::Own | Found::Nowhere => match own {
                Some(own) => own,
                None => *own.insert(group.put_pack(row.version, &chunks)?),
            },
        });
    }
    let created_ms = live.map_or(row.created_ms, |live| live.created_ms);
    condemn(group, key, before.as_ref(), row.updated_ms, &packs);
    let new = Remembered {
        id: row.version,
        created_ms,
    };
    let written = Row {
        version: row.version,
        created_ms,
        updated_ms: row.updated_ms,
        ttl_ms: row.ttl_ms,
        expires_ms: row.expires_ms,
        packs,
        remembered: remember(new, before.as_ref().map_or(&[], Entry::remembered)),
        body: row.body,
    };
    group.put(key.to_vec(), Entry::Row(written));
    for found in &found {
        if let Found::Condemned(pack) = found {
            group.put(condemned_key(key, pack.id), Entry::Gone { freed: 0 });
        }
    }
    Ok(Changed::Done { created_ms })
}

fn delete(
    group: &mut Group<'_>,
    key: &[u8],
    write_id: PackId,
    expect: Expect,
    now_ms: u64,
) -> Result<Changed> {
    let before = group.get(key)?;
    if let Some(done) = remembered(before.as_ref(), write_id) {
        group.repeats();
        return Ok(done);
    }
    let live = live(before.as_ref(), now_ms);
    if !holds(expect, live) {
        return Ok(Changed::Conflict(live.map(|live| live.version)));
    }
    condemn(group, key, before.as_ref(), now_ms, &[]);
    let new = Remembered {
        id: write_id,
        created_ms: 0,
    };
    let remembered = remember(new, before.as_ref().map_or(&[], Entry::remembered));
    let at_ms = now_ms;
    group.put(key.to_vec(), Entry::Deleted { at_ms, remembered });
    Ok(Changed::Done { created_ms: 0 })
}

fn renew(group: &mut Group<'_>, key: &[u8], version: PackId, expires_ms: u64) -> Result<Changed> {
    let Some(Entry::Row(mut row)) = group.get(key)? else {
        return Ok(Changed::Conflict(None));
    };
    if row.version != version {
        return Ok(Changed::Conflict(Some(row.version)));
    }
    let created_ms = row.created_ms;
    if row.expires_ms == Some(expires_ms) {
        group.repeats();
    } else {
        row.expires_ms = Some(expires_ms);
        group.put(key.to_vec(), Entry::Row(row));
    }
    Ok(Changed::Done { created_ms })
}

/// The first answer, if this change was made already.
fn remembered(before: Option<&Entry>, id: PackId) -> Option<Changed> {
    let mut all = before?.remembered().iter();
    let found = all.find(|one| one.id == id)?;
    let created_ms = found.created_ms;
    Some(Changed::Done { created_ms })
}

/// The item, if there is one at this time.
fn live(before: Option<&Entry>, now_ms: u64) -> Option<&Row> {
    match before {
        Some(Entry::Row(row)) if !row.is_expired(now_ms) => Some(row),
        _ => None,
    }
}

fn holds(expect: Expect, live: Option<&Row>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => live.is_none(),
        Expect::Version(version) => live.is_some_and(|live| live.version == version),
    }
}

/// Where a pack is that a put is to list.
#[derive(Debug, Clone, Copy)]
enum Found {
    /// It brings it.
    Own,
    /// The row before lists it.
    Listed(PackAt),
    /// A row did, and it was not swept yet.
    Condemned(PackAt),
    Nowhere,
}

fn find_pack(group: &Group<'_>, key: &[u8], before: Option<&Entry>, id: PackId) -> Result<Found> {
    if let Some(Entry::Row(row)) = before
        && let Some(pack) = row.packs.iter().find(|pack| pack.id == id)
    {
        return Ok(Found::Listed(*pack));
    }
    Ok(match group.get(&condemned_key(key, id))? {
        Some(Entry::Condemned { pack, .. }) => Found::Condemned(pack),
        _ => Found::Nowhere,
    })
}

/// Condemns the packs that a row listed and the next one does not.
fn condemn(group: &mut Group<'_>, key: &[u8], before: Option<&Entry>, at_ms: u64, kept: &[PackAt]) {
    let Some(Entry::Row(row)) = before else {
        return;
    };
    for pack in &row.packs {
        if !kept.iter().any(|kept| kept.id == pack.id) {
            let entry = Entry::Condemned { at_ms, pack: *pack };
            group.put(condemned_key(key, pack.id), entry);
        }
    }
}

fn check_size(put: &PutItem) -> Result<()> {
    let chunks: usize = put.chunks.iter().map(Bytes::len).sum();
    let bytes = (put.row.body.len() + chunks) as u64;
    if bytes > MOST_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the item has {bytes} bytes; at most {MOST_BYTES} are accepted"),
        ));
    }
    Ok(())
}
