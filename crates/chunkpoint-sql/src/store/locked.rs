//! Changes in a transaction: several at once, and those that have to do with packs.

use std::collections::HashMap;

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{Changed, ItemChange};
use chunkpoint_core::{Error, ErrorKind, Result};

use super::change::{Change, STATE, State, Verdict, remembered, states};
use super::path::Path;
use super::read::{list, named};
use super::row::{COLUMNS, Content, arguments, parameters};
use crate::backend::{Inner, transaction};
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::value::{Args, Value, args};

/// Bytes that one statement takes, unless one row has more. Servers take 16 MiB at least.
const BYTES: usize = 2 << 20;

impl Inner {
    /// Makes changes of distinct items in one transaction.
    pub(super) async fn locked(&self, changes: &[Change]) -> Result<Vec<Changed>> {
        transaction!(self, tx, {
            let mut order: Vec<&Change> = changes.iter().collect();
            // Whoever locks the same rows does so in the same order.
            order.sort_by(|a, b| a.path.cmp(&b.path));
            let states = lock(tx, &order).await?;
            let mut answers = HashMap::with_capacity(changes.len());
            let (mut made, mut unneeded) = (Vec::new(), Vec::new());
            for change in order {
                let state = states.get(&change.path);
                let changed = match change.judge(state) {
                    Verdict::Make { created_ms } => {
                        made.push((change, state, created_ms));
                        change.made(created_ms)
                    }
                    Verdict::Settled(changed) => {
                        unneeded.extend(state.filter(|state| state.is_placeholder()));
                        changed
                    }
                };
                answers.insert(&change.path, changed);
            }
            write(tx, &made).await?;
            for (change, state, _) in &made {
                move_packs(tx, change, *state).await?;
            }
            for state in unneeded {
                let (named, args) = named(std::iter::once(&state.path));
                tx.run(&format!("DELETE FROM {{items}} WHERE {named}"), args)
                    .await?;
            }
            let answer = |change: &Change| {
                let changed = answers.get(&change.path).copied();
                changed.ok_or_else(|| Error::new(ErrorKind::Other, "a change was not answered"))
            };
            changes.iter().map(answer).collect()
        })
    }
}

/// Locks the rows of items, and gives what is known of them. An item that has no row, and
/// may be made, gets one that remembers nothing: there is nothing else to lock.
async fn lock(tx: &mut Tx, changes: &[&Change]) -> Result<HashMap<Path, State>> {
    let dialect = tx.db().dialect();
    let update = dialect.pick("", " FOR UPDATE", " FOR UPDATE");
    let (named_all, args) = named(changes.iter().map(|change| &change.path));
    let select = |named: &str| {
        format!("SELECT {STATE} FROM {{items}} WHERE {named} ORDER BY path, path_hash{update}")
    };
    let mut found = states(&tx.rows(&select(&named_all), args).await?)?;
    if dialect == Dialect::Sqlite {
        // The whole database is locked.
        return Ok(found);
    }
    let makes = |change: &&&Change| {
        !found.contains_key(&change.path) && matches!(change.judge(None), Verdict::Make { .. })
    };
    let missing: Vec<&Change> = changes.iter().filter(makes).copied().collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let rows: Vec<Args> = missing
        .iter()
        .map(|change| {
            let removed = Content::Removed(change.now_ms());
            arguments(change.key(), &change.path, &removed, Bytes::new(), 0)
        })
        .collect();
    let kept = dialect.pick(
        "",
        "ON CONFLICT DO NOTHING",
        "ON DUPLICATE KEY UPDATE recent = recent",
    );
    insert(tx, &rows, kept).await?;
    let (named, args) = named(missing.iter().map(|change| &change.path));
    let again = states(&tx.rows(&select(&named), args).await?)?;
    if missing
        .iter()
        .any(|change| !again.contains_key(&change.path))
    {
        // Somebody made it and it was swept in between, or two names have one hash.
        let message = "an item's row came and went, again and again";
        return Err(Error::new(ErrorKind::Conflict, message).retryable(true));
    }
    found.extend(again);
    Ok(found)
}

/// Inserts whole rows, as many in a statement as fit. `conflict` says what becomes of one
/// that is there.
async fn insert(tx: &mut Tx, rows: &[Args], conflict: &str) -> Result<()> {
    let group = parameters(tx.db().dialect());
    let mut rest = rows;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(fitting(rest));
        rest = behind;
        let groups = vec![group; part.len()].join(",");
        let template = format!("INSERT INTO {{items}} ({COLUMNS}) VALUES {groups} {conflict}");
        tx.run(&template, part.concat()).await?;
    }
    Ok(())
}

/// How many rows the next statement takes. Of the larger numbers there are few, so that few
/// different statements are prepared.
fn fitting(rows: &[Args]) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take_while(|row| {
        bytes += row.iter().map(Value::size).sum::<usize>();
        bytes <= BYTES
    });
    let fit = fit.count();
    match fit {
        0..=16 => fit.max(1),
        17..=63 => 1 << fit.ilog2(),
        _ => 64,
    }
}

/// Writes the rows of items that are locked.
async fn write(tx: &mut Tx, made: &[(&Change, Option<&State>, u64)]) -> Result<()> {
    let mut rows = Vec::with_capacity(made.len());
    for (change, state, created_ms) in made {
        if let Some((content, write_id)) = change.content() {
            let recent = remembered(write_id, *state);
            rows.push(arguments(
                change.key(),
                &change.path,
                &content,
                recent,
                *created_ms,
            ));
        } else if let ItemChange::Renew { expires_ms, .. } = &change.change {
            let (named, names) = named(std::iter::once(&change.path));
            let mut args = args![*expires_ms as i64];
            args.extend(names);
            tx.run(
                &format!("UPDATE {{items}} SET expires_ms = ? WHERE {named}"),
                args,
            )
            .await?;
        }
    }
    let columns = [
        "version",
        "recent",
        "created_ms",
        "updated_ms",
        "ttl_ms",
        "expires_ms",
        "packs",
        "value",
        "body",
    ];
    let replaced = match tx.db().dialect() {
        Dialect::MySql => {
            let set = columns.map(|column| format!("{column} = VALUES({column})"));
            format!("ON DUPLICATE KEY UPDATE {}", set.join(", "))
        }
        _ => {
            let set = columns.map(|column| format!("{column} = excluded.{column}"));
            format!(
                "ON CONFLICT (path, path_hash) DO UPDATE SET {}",
                set.join(", ")
            )
        }
    };
    insert(tx, &rows, &replaced).await
}

/// Marks packs that the item does not list any more, and stores the one it brings.
async fn move_packs(tx: &mut Tx, change: &Change, state: Option<&State>) -> Result<()> {
    let put = match &change.change {
        ItemChange::Put(put) => Some(put),
        ItemChange::Delete { .. } => None,
        ItemChange::Renew { .. } => return Ok(()),
    };
    let listed = put.map_or(&[][..], |put| &put.row.packs);
    let before = state.map_or(&[][..], |state| &state.packs);
    let gone: Vec<&PackId> = before
        .iter()
        .filter(|pack| !listed.contains(pack))
        .collect();
    let item = change.path.item();
    if !gone.is_empty() {
        let (packs, packs_args) = list(gone.iter().map(|pack| Value::from(pack.0)).collect());
        let mut args = args![change.now_ms() as i64, item.clone()];
        args.extend(packs_args);
        let template =
            format!("UPDATE {{item_packs}} SET unlisted_ms = ? WHERE item = ? AND pack IN {packs}");
        tx.run(&template, args).await?;
    }
    let Some(put) = put.filter(|put| !put.chunks.is_empty()) else {
        return Ok(());
    };
    // It may be there, unlisted, if so old a put is repeated that nothing remembers it.
    let (again, kept) = match tx.db().dialect() {
        Dialect::MySql => (
            "ON DUPLICATE KEY UPDATE unlisted_ms = NULL",
            "ON DUPLICATE KEY UPDATE ordinal = VALUES(ordinal)",
        ),
        _ => (
            "ON CONFLICT (item, pack) DO UPDATE SET unlisted_ms = NULL",
            "ON CONFLICT DO NOTHING",
        ),
    };
    let pack = put.row.version.0;
    let template = format!("INSERT INTO {{item_packs}} (item, pack) VALUES (?, ?) {again}");
    tx.run(&template, args![item.clone(), pack]).await?;
    let rows: Vec<Args> = (0_i64..)
        .zip(&put.chunks)
        .map(|(ordinal, chunk)| args![item.clone(), pack, ordinal, chunk.clone()])
        .collect();
    let mut rest = &rows[..];
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(fitting(rest));
        rest = behind;
        let template = format!(
            "INSERT INTO {{item_chunks}} (item, pack, ordinal, chunk) VALUES {} {kept}",
            crate::dialect::groups(part.len(), 4)
        );
        tx.run(&template, part.concat()).await?;
    }
    Ok(())
}
