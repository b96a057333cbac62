//! The life of a thread: locks, beginnings, ends, copies.

use chunkpoint_core::backend::Incarnation;
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use super::ended::purge_in_background;
use super::read::{life_of, life_statement};
use crate::backend::{Inner, transaction};
use crate::db::{Statement, Tx};
use crate::dialect::Dialect;
use crate::error::is_duplicate;
use crate::names::Key;
use crate::value::{Value, args};

/// How a mutation shares its thread with others, until its transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// With others that only add what is not there yet.
    Shared,
    /// With nobody: what is there may change, go, or be counted on.
    Exclusive,
}

/// How often a mutation looks again after others began its thread, or its record, at once.
/// Once they did, they are found.
pub(crate) const BEGINNINGS: u32 = 4;

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

/// The life that rows are written for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Life {
    /// One that is known.
    Known(i64),
    /// In MySQL, the one that this transaction begins.
    Begun,
}

impl Life {
    /// How a statement says it, and the parameter that takes.
    pub(crate) fn value(self) -> (&'static str, Option<Value>) {
        match self {
            Self::Known(life) => ("?", Some(life.into())),
            Self::Begun => ("LAST_INSERT_ID()", None),
        }
    }
}

impl Inner {
    /// Begins a transaction that has a thread locked, and says which life it has.
    ///
    /// SQLite has one writer at a time, and needs nothing. PostgreSQL takes an advisory
    /// lock that ends with the transaction; the statements after it see what its last
    /// holder did. MySQL locks the thread's row; where there is none, nothing.
    pub(crate) async fn begin_locked(&self, thread: &str, lock: Lock) -> Result<(Tx, Locked)> {
        let name = Key::new(thread);
        let (locks, life) = self.lock_statements(&name, thread, lock);
        // An advisory lock answers with a row.
        let answers = locks.iter().len();
        let first = locks.into_iter().chain([life]).collect();
        let (tx, rows) = self.db.begin_with(first).await?;
        let life = rows.get(answers).map(super::read::life).transpose()?;
        Ok((tx, Locked { name, life }))
    }

    /// As [`begin_locked`](Self::begin_locked), in a transaction under way.
    async fn lock(&self, tx: &mut Tx, thread: &str, lock: Lock) -> Result<Locked> {
        let name = Key::new(thread);
        let (locks, (template, args)) = self.lock_statements(&name, thread, lock);
        if let Some((template, args)) = locks {
            tx.rows(&template, args).await?;
        }
        let rows = tx.rows(&template, args).await?;
        let life = rows.first().map(super::read::life).transpose()?;
        Ok(Locked { name, life })
    }

    /// What locks a thread, if that is a statement of its own, and what finds its life.
    fn lock_statements(
        &self,
        name: &Key,
        thread: &str,
        lock: Lock,
    ) -> (Option<Statement>, Statement) {
        let alone = lock == Lock::Exclusive;
        let of_rows = if alone {
            " FOR UPDATE"
        } else {
            " LOCK IN SHARE MODE"
        };
        let row_lock = self.db.dialect().pick("", "", of_rows);
        let advisory = if alone {
            "SELECT pg_advisory_xact_lock(?)"
        } else {
            "SELECT pg_advisory_xact_lock_shared(?)"
        };
        let locks = (self.db.dialect() == Dialect::Postgres)
            .then(|| (advisory.to_owned(), args![lock_number(self, thread)]));
        (locks, life_statement(name, row_lock))
    }

    /// Begins the life of a thread that has none, for rows that follow in the same
    /// transaction.
    ///
    /// In MySQL no lock is held on a name that has no row: another one may come first, and
    /// then the end of the transaction finds a duplicate.
    pub(crate) async fn first_life(
        &self,
        tx: &mut Tx,
        name: &Key,
        fresh: Incarnation,
    ) -> Result<Life> {
        if self.db.dialect() == Dialect::MySql {
            let (template, args) = self.thread_row(name, fresh);
            tx.write(&template, args).await?;
            return Ok(Life::Begun);
        }
        let ((life, _), _) = self.begin_life(tx, name, fresh).await?;
        Ok(Life::Known(life))
    }

    /// The statement that adds a thread's row.
    fn thread_row(&self, name: &Key, fresh: Incarnation) -> Statement {
        // In MySQL, a duplicate is an error that leaves the transaction as it is.
        let or_not = "ON CONFLICT DO NOTHING";
        let or_not = self.db.dialect().pick(or_not, or_not, "");
        let template = format!(
            "INSERT INTO {{threads}} (thread, thread_rest, thread_hash, incarnation) \
             VALUES (?, ?, ?, ?) {or_not}"
        );
        let [head, hash] = name.indexed();
        (
            template,
            vec![head, name.rest.clone().into(), hash, fresh.0.into()],
        )
    }

    /// Begins a life of a thread that has none; if another one did meanwhile, as may be in
    /// MySQL, that one, and false.
    async fn begin_life(
        &self,
        tx: &mut Tx,
        name: &Key,
        fresh: Incarnation,
    ) -> Result<((i64, Incarnation), bool)> {
        let (template, row) = self.thread_row(name, fresh);
        let first = match tx.run(&template, row).await {
            Err(error) if is_duplicate(&error) => false,
            inserted => inserted? == 1,
        };
        let row_lock = self.db.dialect().pick("", "", " FOR UPDATE");
        let life = life_of(tx, name, row_lock)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Other, "a thread that was begun is not there"))?;
        Ok((life, first))
    }

    pub(crate) async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let begin = || self.begin_locked(thread, Lock::Exclusive);
        let ended = transaction!(self, tx, locked: begin(), {
            let Some((life, _)) = locked.life.filter(|(_, there)| *there == incarnation) else {
                return Ok(false);
            };
            tx.write("INSERT INTO {ended} (life) VALUES (?)", args![life])
                .await?;
            tx.write("DELETE FROM {threads} WHERE life = ?", args![life])
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
            let more = self.db.dialect().pick("", "", ", depth, condemned");
            for (table, columns, more) in [
                ("{checkpoints}", COPIED, more),
                ("{chunks}", "pack, first, directory, chunks", ""),
                (
                    "{writes}",
                    "namespace, namespace_hash, id, write_id, time_ms, writes",
                    "",
                ),
            ] {
                let order = if table == "{writes}" {
                    " ORDER BY seq"
                } else {
                    ""
                };
                let template = format!(
                    "INSERT INTO {table} (life, {columns}{more}) \
                     SELECT ?, {columns}{more} FROM {table} WHERE life = ?{order}"
                );
                tx.write(&template, args![life, from]).await?;
            }
            Ok(())
        })
    }
}

/// All columns of a checkpoint that every database has, but its life.
const COPIED: &str = "pack, namespace, namespace_rest, namespace_hash, id, parent_id, run_id, \
     source, step, time_ms, condemned_ms, hidden, pinned, delta, pack_bytes, chunk_count, \
     metadata, directory, chunks, body";
