//! Condemned packs, and what is freed of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Condemned, CondemnedPack, Incarnation, ListCondemned, PackId, PendingWrite, Reclaim, Reclaimed,
};
use chunkpoint_core::pending::{Slots, encode};

use super::ended::purge;
use super::pack::{Run, chunks, entries, run};
use super::read::{life_of, one_of};
use super::threads::Lock;
use crate::backend::{Inner, transaction};
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Row, Value, args};

/// Packs that one transaction frees chunks of.
const PACKS: usize = 64;

/// Rows that one transaction removes.
const ROWS: i64 = 500;

impl Inner {
    pub(crate) async fn condemned(&self, query: &ListCondemned) -> Result<Option<Condemned>> {
        let mut tx = self.db.snapshot().await?;
        let read = condemned(&mut tx, query).await;
        tx.end(read).await
    }

    /// Frees pack by pack, in transactions of a few dozen packs. Commits are not kept
    /// waiting: nothing they may borrow from is touched.
    pub(crate) async fn reclaim(&self, reclaim: &Reclaim) -> Result<Reclaimed> {
        purge(&self.db).await?;
        let thread = Key::new(&reclaim.thread);
        let template = "SELECT t.life, t.incarnation FROM {threads} t WHERE t.thread = ? \
                        AND t.thread_hash = ?";
        let rows = self.db.rows(template, thread.indexed().into()).await?;
        let life = match rows.first() {
            Some(row) if row.id8(1)? == reclaim.incarnation.0 => row.int(0)?,
            _ => return Ok(Reclaimed::default()),
        };
        let before_ms = i64::try_from(reclaim.before_ms).unwrap_or(i64::MAX);
        let mut freed_bytes = 0;
        for dead in reclaim.dead.chunks(PACKS) {
            freed_bytes += transaction!(self, tx, { free(tx, life, before_ms, dead).await })?;
        }
        // What is left of a pack without chunks only recognises a repeated commit, which
        // nobody sends any more once the grace has passed.
        while transaction!(self, tx, { forget(tx, life, before_ms).await })? > 0 {}
        self.drop_orphans(&reclaim.thread, reclaim.incarnation, life, before_ms)
            .await?;
        let sum = "SELECT CAST(COALESCE(SUM(c.pack_bytes), 0) AS {int}) FROM {checkpoints} c \
             WHERE c.life = ?";
        let sum = sum.replace(
            "{int}",
            self.db.dialect().pick("INTEGER", "BIGINT", "SIGNED"),
        );
        let rows = self.db.rows(&sum, args![life]).await?;
        let live_bytes = rows.first().map_or(Ok(0), |row| row.unsigned(0))?;
        Ok(Reclaimed {
            freed_bytes,
            live_bytes,
        })
    }

    /// Drops writes that came at or before a time and have no checkpoint.
    async fn drop_orphans(
        &self,
        thread: &Arc<str>,
        incarnation: Incarnation,
        life: i64,
        before_ms: i64,
    ) -> Result<()> {
        let orphans = format!(
            "SELECT DISTINCT w.namespace, w.namespace_hash, w.id FROM {{writes}} w \
             WHERE w.life = ? AND w.time_ms <= ? AND NOT EXISTS (SELECT 1 FROM {{checkpoints}} c \
             WHERE c.life = w.life AND c.{} AND c.id = w.id \
             AND c.namespace = w.namespace AND c.namespace_hash = w.namespace_hash) LIMIT ?",
            self.db.dialect().is_current()
        );
        loop {
            let some = self.db.rows(&orphans, args![life, before_ms, ROWS]).await?;
            if some.is_empty() {
                return Ok(());
            }
            // Looked for once more: a checkpoint may have come.
            let begin = || self.begin_locked(thread, Lock::Exclusive);
            transaction!(self, tx, locked: begin(), {
                if locked.life != Some((life, incarnation)) {
                    return Ok(());
                }
                for row in tx.rows(&orphans, args![life, before_ms, ROWS]).await? {
                    drop_orphan(tx, life, before_ms, &row).await?;
                }
                Ok(())
            })?;
        }
    }
}

async fn condemned(tx: &mut Tx, query: &ListCondemned) -> Result<Option<Condemned>> {
    let thread = Key::new(&query.thread);
    let Some((life, incarnation)) = life_of(tx, &thread, "").await? else {
        return Ok(None);
    };
    let dialect = tx.db().dialect();
    let (is_condemned, pack) = (dialect.is_condemned(), dialect.condemned_pack());
    let mut template = format!(
        "SELECT c.pack, c.directory FROM {{checkpoints}} c WHERE c.life = ? \
         AND c.{is_condemned} AND c.condemned_ms <= ? AND c.chunk_count > 0"
    );
    let before_ms = i64::try_from(query.before_ms).unwrap_or(i64::MAX);
    let mut args = args![life, before_ms];
    if let Some(after) = query.after {
        template.push_str(&format!(" AND c.{pack} > ?"));
        args.push(after.0.into());
    }
    template.push_str(&format!(" ORDER BY c.{pack} LIMIT ?"));
    args.push(i64::try_from(query.limit).unwrap_or(i64::MAX).into());
    let mut packs = Vec::new();
    let mut apart = Vec::new();
    for row in tx.rows(&template, args).await? {
        let pack = PackId(row.id8(0)?);
        match row.opt_bytes(1)? {
            Some(directory) => packs.push(CondemnedPack {
                pack,
                chunks: ordinals(&directory)?,
            }),
            None => apart.push(pack),
        }
    }
    for apart in apart.chunks(PACKS) {
        let mut found: HashMap<PackId, Vec<u32>> = HashMap::new();
        for (pack, row) in runs(tx, life, apart, "s.directory").await? {
            found
                .entry(pack)
                .or_default()
                .extend(ordinals(&row.bytes(2)?)?);
        }
        packs.extend(
            found
                .into_iter()
                .map(|(pack, chunks)| CondemnedPack { pack, chunks }),
        );
    }
    packs.sort_unstable_by_key(|condemned| condemned.pack);
    Ok(Some(Condemned { incarnation, packs }))
}

fn ordinals(directory: &Bytes) -> Result<Vec<u32>> {
    Ok(entries(directory)?
        .into_iter()
        .map(|(ordinal, _)| ordinal)
        .collect())
}

/// Rows of chunks of packs, in their order: pack, first ordinal, and `columns`.
async fn runs(
    tx: &mut Tx,
    life: i64,
    packs: &[PackId],
    columns: &str,
) -> Result<Vec<(PackId, Row)>> {
    let (condition, packs) = one_of(tx.db().dialect(), packs);
    let template = format!(
        "SELECT s.pack, s.first, {columns} FROM {{chunks}} s WHERE s.life = ? \
         AND s.pack {condition} ORDER BY s.pack, s.first"
    );
    let mut args = args![life];
    args.extend(packs);
    let rows = tx.rows(&template, args).await?;
    rows.into_iter()
        .map(|row| Ok((PackId(row.id8(0)?), row)))
        .collect()
}

/// Frees chunks of packs, as far as those are condemned; gives the bytes.
async fn free(tx: &mut Tx, life: i64, before_ms: i64, dead: &[(PackId, Vec<u32>)]) -> Result<u64> {
    let dialect = tx.db().dialect();
    let packs: Vec<PackId> = dead.iter().map(|(pack, _)| *pack).collect();
    let (condition, in_packs) = one_of(dialect, &packs);
    let (is_condemned, pack_column) = (dialect.is_condemned(), dialect.condemned_pack());
    // Two that free the same pack at once must not both write what they read.
    let lock = dialect.pick("", " FOR UPDATE", " FOR UPDATE");
    let template = format!(
        "SELECT c.pack, c.chunk_count, c.directory, c.chunks FROM {{checkpoints}} c \
         WHERE c.life = ? AND c.{is_condemned} AND c.condemned_ms <= ? \
         AND c.{pack_column} {condition} ORDER BY c.{pack_column}{lock}"
    );
    let mut args = args![life, before_ms];
    args.extend(in_packs);
    let of_pack = format!("WHERE life = ? AND {pack_column} = ? AND {is_condemned}");
    let mut freed = 0;
    for row in tx.rows(&template, args).await? {
        let pack = PackId(row.id8(0)?);
        let named = dead.iter().filter(|(named, _)| *named == pack);
        let named: BTreeSet<u32> = named.flat_map(|(_, ordinals)| ordinals).copied().collect();
        let left = match (row.opt_bytes(2)?, row.opt_bytes(3)?) {
            (Some(directory), Some(chunks)) => {
                let left = without(&directory, &chunks, &named)?;
                if let Some((left, bytes)) = &left {
                    freed += bytes;
                    let template =
                        format!("UPDATE {{checkpoints}} SET directory = ?, chunks = ? {of_pack}");
                    let row = args![left.directory.clone(), left.chunks.clone(), life, pack.0];
                    tx.run(&template, row).await?;
                }
                left.map(|(left, bytes)| Ok((entries(&left.directory)?.len(), bytes)))
                    .transpose()?
            }
            _ => {
                let left = free_apart(tx, life, pack, &named).await?;
                freed += left.map_or(0, |(_, bytes)| bytes);
                left
            }
        };
        match left {
            None => {}
            Some((0, _)) => {
                let template = format!("DELETE FROM {{checkpoints}} {of_pack}");
                tx.run(&template, args![life, pack.0]).await?;
            }
            Some((count, bytes)) => {
                let template = format!(
                    "UPDATE {{checkpoints}} SET chunk_count = ?, \
                     pack_bytes = CASE WHEN pack_bytes > ? THEN pack_bytes - ? ELSE 0 END {of_pack}"
                );
                let bytes = bytes as i64;
                tx.run(&template, args![count as i64, bytes, bytes, life, pack.0])
                    .await?;
            }
        }
    }
    Ok(freed)
}

/// A row of chunks without those named, and their bytes; `None` if it has none of them.
fn without(directory: &Bytes, bytes: &Bytes, named: &BTreeSet<u32>) -> Result<Option<(Run, u64)>> {
    let (gone, left): (Vec<_>, Vec<_>) = chunks(directory, bytes)?
        .into_iter()
        .partition(|(ordinal, _)| named.contains(ordinal));
    if gone.is_empty() {
        return Ok(None);
    }
    let gone: usize = gone.iter().map(|(_, chunk)| chunk.len()).sum();
    Ok(Some((run(0, left), gone as u64)))
}

/// As [`free`], of a pack in rows of its own: how many chunks are left, and the bytes.
async fn free_apart(
    tx: &mut Tx,
    life: i64,
    pack: PackId,
    named: &BTreeSet<u32>,
) -> Result<Option<(usize, u64)>> {
    let (mut left, mut freed, mut changed) = (0, 0, false);
    // Directories first: most rows are not touched, and chunks may be many bytes.
    for (_, row) in runs(tx, life, &[pack], "s.directory").await? {
        let listed = ordinals(&row.bytes(2)?)?;
        if !listed.iter().any(|ordinal| named.contains(ordinal)) {
            left += listed.len();
            continue;
        }
        let key = args![life, pack.0, row.int(1)?];
        let template = "SELECT s.directory, s.chunks FROM {chunks} s WHERE s.life = ? \
             AND s.pack = ? AND s.first = ?";
        let rows = tx.rows(template, key.clone()).await?;
        let Some(row) = rows.first() else { continue };
        let Some((kept, bytes)) = without(&row.bytes(0)?, &row.bytes(1)?, named)? else {
            continue;
        };
        changed = true;
        freed += bytes;
        let count = entries(&kept.directory)?.len();
        left += count;
        if count == 0 {
            let template = "DELETE FROM {chunks} WHERE life = ? AND pack = ? AND first = ?";
            tx.run(template, key).await?;
        } else {
            let template = "UPDATE {chunks} SET directory = ?, chunks = ? WHERE life = ? \
                 AND pack = ? AND first = ?";
            let mut args = args![kept.directory, kept.chunks];
            args.extend(key);
            tx.run(template, args).await?;
        }
    }
    Ok(changed.then_some((left, freed)))
}

/// Removes rows of condemned packs that have no chunks; gives how many.
async fn forget(tx: &mut Tx, life: i64, before_ms: i64) -> Result<u64> {
    let some = format!(
        "life = ? AND {} AND condemned_ms <= ? AND chunk_count = 0",
        tx.db().dialect().is_condemned()
    );
    let template = match tx.db().dialect() {
        Dialect::MySql => format!("DELETE FROM {{checkpoints}} WHERE {some} LIMIT ?"),
        Dialect::Sqlite => format!(
            "DELETE FROM {{checkpoints}} WHERE rowid IN \
             (SELECT rowid FROM {{checkpoints}} WHERE {some} LIMIT ?)"
        ),
        Dialect::Postgres => format!(
            "DELETE FROM {{checkpoints}} WHERE ctid = ANY(ARRAY(SELECT ctid \
             FROM {{checkpoints}} WHERE {some} LIMIT ? FOR UPDATE SKIP LOCKED))"
        ),
    };
    tx.run(&template, args![life, before_ms, ROWS]).await
}

/// Drops what came at or before a time for a checkpoint that is not there. What came
/// later stays, if it held; what it did not replace then does not come back.
async fn drop_orphan(tx: &mut Tx, life: i64, before_ms: i64, row: &Row) -> Result<()> {
    let namespace = row.text(0)?;
    let key = args![life, &*namespace, row.bytes(1)?, &*row.text(2)?];
    let this = "life = ? AND namespace = ? AND namespace_hash = ? AND id = ?";
    let template = format!(
        "SELECT w.time_ms, w.writes, w.write_id FROM {{writes}} w WHERE {this} ORDER BY w.seq"
    );
    let mut calls = Vec::new();
    for row in tx.rows(&template, key.clone()).await? {
        calls.push(((row.int(0)?, row.id8(2)?), row.bytes(1)?));
    }
    let mut kept: HashMap<[u8; 8], Vec<PendingWrite>> = HashMap::new();
    for ((time_ms, call), write) in Slots::of(calls.iter().cloned())?.into_writes() {
        if time_ms > before_ms {
            kept.entry(call).or_default().push(write);
        }
    }
    for ((_, call), writes) in &calls {
        let mut args: Vec<Value> = Vec::new();
        let template = match kept.get(call).map(encode) {
            None => format!("DELETE FROM {{writes}} WHERE {this} AND write_id = ?"),
            Some(left) if left == *writes => continue,
            Some(left) => {
                args.push(left.into());
                format!("UPDATE {{writes}} SET writes = ? WHERE {this} AND write_id = ?")
            }
        };
        args.extend(key.clone());
        args.push((*call).into());
        tx.run(&template, args).await?;
    }
    Ok(())
}
