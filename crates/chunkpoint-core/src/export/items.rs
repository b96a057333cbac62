//! The long-term store, out and in.

use futures::TryStreamExt;

use super::Scope;
use super::line::ItemLine;
use super::lines::Out;
use super::write::json;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Memory;
use crate::store::{Store, item_key};
use crate::store_backend::{Namespace, ScanItems};

/// What became of an item's line.
pub(super) enum Taken {
    Stored,
    Present,
    Expired,
    Skipped,
}

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
) -> Result<futures::stream::BoxStream<'static, Result<crate::store_backend::ItemRow>>> {
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
pub(super) async fn read(
    store: &Store,
    row: crate::store_backend::ItemRow,
) -> Result<Option<ItemLine>> {
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

/// Takes in an item.
pub(super) async fn import(memory: &Memory, scope: &Scope, line: ItemLine) -> Result<Taken> {
    let key = item_key(&line.namespace, &line.item)?;
    if !scope.has_namespace(&key.namespace) {
        return Ok(Taken::Skipped);
    }
    let store = memory.store().map_err(|e| {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "item {key} has nowhere to go, because {}; import with checkpoints only, or \
                 to a backend with a store",
                e.message()
            ),
        )
    })?;
    if store.is_past(line.expires_ms) {
        return Ok(Taken::Expired);
    }
    let rows = store.backend().items(std::slice::from_ref(&key)).await?;
    if let Some(row) = rows.into_iter().flatten().next()
        && let Some(there) = read(&store, row.clone()).await?
    {
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
        if line.expires_ms > there.expires_ms {
            store.prolong(&row, line.expires_ms).await?;
        }
        return Ok(Taken::Present);
    }
    let times = (line.created_ms, line.updated_ms);
    let life = (line.ttl_ms, line.expires_ms);
    store.restore(key, line.value, times, life).await?;
    Ok(Taken::Stored)
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
