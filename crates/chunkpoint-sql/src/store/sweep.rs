//! Removing what has expired, and packs that no row lists.

use chunkpoint_core::Result;
use chunkpoint_core::store_backend::{SweepItems, SweptItems};

use super::path::Path;
use super::read::{list, named};
use crate::backend::{Inner, transaction};
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::value::{Args, Row, Value, args};

/// Rows that one transaction takes: others wait for no more than that.
const SLICE: usize = 500;

/// Packs that one statement removes.
const PAIRS: usize = 128;

/// Whether anything is due. In order, as else PostgreSQL takes it for likely to meet some
/// early in the table, and reads all of it where there are none.
const DUE: &str = "SELECT * FROM (SELECT 1 FROM {items} WHERE expires_ms <= ? \
     ORDER BY expires_ms LIMIT 1) i UNION ALL \
     SELECT * FROM (SELECT 1 FROM {item_packs} WHERE unlisted_ms <= ? \
     ORDER BY unlisted_ms LIMIT 1) p";

/// Who has locked a row is busy with it: it is due another time.
fn skipping(dialect: Dialect) -> &'static str {
    dialect.pick("", " FOR UPDATE SKIP LOCKED", " FOR UPDATE SKIP LOCKED")
}

impl Inner {
    pub(super) async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let before = sweep.before_ms as i64;
        // So that a sweep that finds nothing writes nothing.
        let due = self.db.rows(DUE, args![before, before]).await?;
        if due.is_empty() {
            return Ok(SweptItems::default());
        }
        let limit = sweep.limit.clamp(1, SLICE);
        transaction!(self, tx, {
            let mut swept = SweptItems::default();
            sweep_items(tx, before, limit, &mut swept).await?;
            sweep_packs(tx, before, limit, &mut swept).await?;
            Ok(swept)
        })
    }
}

/// Removes rows of items that have expired, with their packs, and of those that were removed.
async fn sweep_items(tx: &mut Tx, before: i64, limit: usize, swept: &mut SweptItems) -> Result<()> {
    let template = format!(
        "SELECT path, path_hash, path_rest, version, packs FROM {{items}} \
         WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?{}",
        skipping(tx.db().dialect())
    );
    let rows = tx.rows(&template, args![before, limit as i64]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut paths = Vec::with_capacity(rows.len());
    let mut packed = Vec::new();
    for row in &rows {
        let path = path(row)?;
        if row.opt_bytes(3)?.is_some() {
            swept.expired += 1;
            if !row.bytes(4)?.is_empty() {
                packed.push(Value::from(path.item()));
            }
        }
        paths.push(path);
    }
    // Of short paths the condition names these and no others.
    let (long, short): (Vec<&Path>, Vec<&Path>) = paths.iter().partition(|path| path.is_long());
    let mut groups: Vec<&[&Path]> = long.chunks(1).collect();
    if !short.is_empty() {
        groups.push(&short);
    }
    for group in groups {
        let (named, args) = named(group.iter().copied());
        tx.run(&format!("DELETE FROM {{items}} WHERE {named}"), args)
            .await?;
    }
    if !packed.is_empty() {
        let (items, args) = list(packed);
        let chunks = format!("DELETE FROM {{item_chunks}} WHERE item IN {items}");
        tx.run(&chunks, args.clone()).await?;
        let packs = format!("DELETE FROM {{item_packs}} WHERE item IN {items}");
        swept.packs += tx.run(&packs, args).await?;
    }
    swept.more |= rows.len() == limit;
    Ok(())
}

fn path(row: &Row) -> Result<Path> {
    Ok(Path {
        head: row.bytes(0)?,
        hash: row.bytes(1)?,
        rest: row.bytes(2)?,
    })
}

/// Removes packs that are not listed any more. None of them can be listed again.
async fn sweep_packs(tx: &mut Tx, before: i64, limit: usize, swept: &mut SweptItems) -> Result<()> {
    let template = format!(
        "SELECT item, pack FROM {{item_packs}} WHERE unlisted_ms <= ? \
         ORDER BY unlisted_ms LIMIT ?{}",
        skipping(tx.db().dialect())
    );
    let rows = tx.rows(&template, args![before, limit as i64]).await?;
    let mut names = Args::with_capacity(2 * rows.len());
    for row in &rows {
        names.extend(args![row.bytes(0)?, row.bytes(1)?]);
    }
    for names in names.chunks(2 * PAIRS) {
        let padded = (names.len() / 2).next_power_of_two();
        let last = &names[names.len() - 2..];
        let filling = last.iter().cycle().take(2 * padded - names.len());
        let args: Args = names.iter().chain(filling).cloned().collect();
        let pairs = crate::dialect::groups(padded, 2);
        // SQLite takes a list of pairs as a table.
        let values = tx.db().dialect().pick("VALUES ", "", "");
        for table in ["{item_chunks}", "{item_packs}"] {
            let template = format!("DELETE FROM {table} WHERE (item, pack) IN ({values}{pairs})");
            tx.run(&template, args.clone()).await?;
        }
    }
    swept.packs += rows.len() as u64;
    swept.more |= rows.len() == limit;
    Ok(())
}
