//! The life of a thread: locks, beginnings, ends, copies.

use chunkpoint_core::backend::Incarnation;
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use super::ended::purge_in_background;
use super::read::life_of;
use crate::backend::{Inner, transaction};
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::is_duplicate;
use crate::names::Key;
use crate::value::args;

/// How a mutation shares its thread with others, until its transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// With others that only add what is not there yet.
    Shared,
    /// With nobody: what is there may change, go, or be counted on.
    Exclusive,
}

/// The number of a thread's advisory lock in PostgreSQL. Two threads may have the same;
/// they wait for each other, then.
pub(crate) fn lock_number(inner: &Inner, thread: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    let place = inner.db.sql().place();
    for part in [place.schema().unwrap_or_default(), place.prefix(), thread] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    i64::from_le_bytes(number)
}

/// A thread inside a transaction.
pub(crate) struct Locked {
    pub(crate) name: Key,
    /// Its life, if it has one.
    pub(crate) life: Option<(i64, Incarnation)>,
}

impl Inner {
    /// Locks a thread, and says which life it has.
    ///
    /// SQLite has one writer at a time, and needs nothing. PostgreSQL takes an advisory
    /// lock that ends with the transaction; the statements after it see what its last
    /// holder did. MySQL locks the thread's row; where there is none, the name's place.
    pub(crate) async fn lock(&self, tx: &mut Tx, thread: &str, lock: Lock) -> Result<Locked> {
        let dialect = self.db.dialect();
        if dialect == Dialect::Postgres {
            let template = match lock {
                Lock::Shared => "SELECT pg_advisory_xact_lock_shared(?)",
                Lock::Exclusive => "SELECT pg_advisory_xact_lock(?)",
            };
            tx.rows(template, args![lock_number(self, thread)]).await?;
        }
        let row_lock = match (dialect, lock) {
            (Dialect::MySql, Lock::Shared) => " LOCK IN SHARE MODE",
            (Dialect::MySql, Lock::Exclusive) => " FOR UPDATE",
            _ => "",
        };
        let name = Key::new(thread);
        let life = life_of(tx, &name, row_lock).await?;
        Ok(Locked { name, life })
    }

    /// Begins a life of a thread that has none; if another one did meanwhile, that one,
    /// and false.
    ///
    /// In MySQL no lock is held on a name that has no row: who comes second has checked
    /// what it checked without a lock, and has to begin again.
    pub(crate) async fn begin_life(
        &self,
        tx: &mut Tx,
        name: &Key,
        fresh: Incarnation,
    ) -> Result<((i64, Incarnation), bool)> {
        let dialect = self.db.dialect();
        // In MySQL, a duplicate is an error that leaves the transaction as it is.
        let or_not = dialect.pick("ON CONFLICT DO NOTHING", "ON CONFLICT DO NOTHING", "");
        let template = format!(
            "INSERT INTO {{threads}} (thread, thread_rest, thread_hash, incarnation) \
             VALUES (?, ?, ?, ?) {or_not}"
        );
        let [head, hash] = name.indexed();
        let row = vec![head, name.rest.clone().into(), hash, fresh.0.into()];
        let first = match tx.run(&template, row).await {
            Err(error) if is_duplicate(&error) => false,
            inserted => inserted? == 1,
        };
        let row_lock = dialect.pick("", "", " FOR UPDATE");
        let life = life_of(tx, name, row_lock)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Other, "a thread that was begun is not there"))?;
        Ok((life, first))
    }

    pub(crate) async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let ended = transaction!(self, tx, {
            let locked = self.lock(tx, thread, Lock::Exclusive).await?;
            let Some((life, _)) = locked.life.filter(|(_, there)| *there == incarnation) else {
                return Ok(false);
            };
            tx.run("INSERT INTO {ended} (life) VALUES (?)", args![life])
                .await?;
            tx.run("DELETE FROM {threads} WHERE life = ?", args![life])
                .await?;
            Ok(true)
        })?;
        if ended {
            purge_in_background(&self.db);
        }
        Ok(())
    }

    pub(crate) async fn copy_thread(
        &self,
        source: &str,
        target: &str,
        fresh: Incarnation,
    ) -> Result<()> {
        transaction!(self, tx, {
            // Both locks are taken in one order, whichever way threads are copied.
            let order = |thread| (lock_number(self, thread), thread.to_owned());
            let (from, to) = if order(source) < order(target) {
                let from = self.lock(tx, source, Lock::Exclusive).await?;
                (from, self.lock(tx, target, Lock::Exclusive).await?)
            } else {
                let to = self.lock(tx, target, Lock::Exclusive).await?;
                (self.lock(tx, source, Lock::Exclusive).await?, to)
            };
            if let Some((_, incarnation)) = to.life {
                if incarnation == fresh {
                    return Ok(());
                }
                let message = format!("thread {} exists", quote(target));
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            let Some((from, _)) = from.life else {
                let message = format!("there is no thread {}", quote(source));
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            let ((life, _), first) = self.begin_life(tx, &to.name, fresh).await?;
            if !first {
                let message = format!("thread {} exists", quote(target));
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            for (table, columns) in [
                (
                    "{checkpoints}",
                    self.db.dialect().pick(COPIED, COPIED, COPIED_MYSQL),
                ),
                ("{chunks}", "pack, first, directory, chunks"),
                (
                    "{writes}",
                    "namespace, namespace_hash, id, write_id, time_ms, writes",
                ),
            ] {
                let order = if table == "{writes}" {
                    " ORDER BY seq"
                } else {
                    ""
                };
                let template = format!(
                    "INSERT INTO {table} (life, {columns}) \
                     SELECT ?, {columns} FROM {table} WHERE life = ?{order}"
                );
                tx.run(&template, args![life, from]).await?;
            }
            Ok(())
        })
    }
}

/// All columns of a checkpoint but its life.
const COPIED: &str = "pack, namespace, namespace_rest, namespace_hash, id, parent_id, run_id, \
     source, step, time_ms, condemned_ms, hidden, pinned, delta, pack_bytes, chunk_count, \
     metadata, directory, chunks, body";
const COPIED_MYSQL: &str = "pack, namespace, namespace_rest, namespace_hash, id, parent_id, \
     run_id, source, step, time_ms, condemned_ms, current, hidden, pinned, delta, pack_bytes, \
     chunk_count, metadata, directory, chunks, body";
