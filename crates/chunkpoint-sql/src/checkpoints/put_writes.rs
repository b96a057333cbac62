//! Storing pending writes.

use std::collections::BTreeSet;

use chunkpoint_core::backend::PutWrites;
use chunkpoint_core::pending::encode;
use chunkpoint_core::{Error, ErrorKind, Result};

use super::threads::{BEGINNINGS, Life, Lock, lock_number};
use crate::backend::{Inner, retrying, transaction};
use crate::dialect::Dialect;
use crate::error::is_duplicate;
use crate::names::Key;
use crate::value::{Args, Value, args};

/// Tasks that one call locks each by itself; with more, it locks the thread.
const TASKS: usize = 16;

/// The columns of a call, but its life.
const COLUMNS: &str = "namespace, namespace_hash, id, write_id, time_ms, writes";

impl Inner {
    /// A call is one row, and the calls of a checkpoint add up in the order of their
    /// rows. Calls of the same task have to wait for each other, lest one appear before
    /// another that was acknowledged earlier.
    pub(crate) async fn put_writes(&self, put: &PutWrites) -> Result<()> {
        let most = self.capabilities().max_value_bytes;
        let bytes: usize = put.writes.iter().map(|write| write.value.len()).sum();
        if bytes as u64 > most {
            let message = format!("the writes have {bytes} bytes; at most {most} are accepted");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if self.db.dialect() == Dialect::Postgres {
            let (template, args) = self.put_writes_call(put);
            retrying!(self.db, self.db.call(template, args.clone()).await)?;
            return Ok(());
        }
        let namespace = Key::new(&put.key.namespace);
        let [head, hash] = namespace.indexed();
        let columns = vec![
            head,
            hash,
            put.key.id.clone().into(),
            put.write_id.0.into(),
            (put.time_ms as i64).into(),
            encode(&put.writes).into(),
        ];
        if self.db.dialect() == Dialect::MySql {
            // One statement, where the thread is there.
            let template = format!(
                "INSERT INTO {{writes}} ({COLUMNS}, life) SELECT ?, ?, ?, ?, ?, ?, t.life \
                 FROM {{threads}} t WHERE t.thread = ? AND t.thread_hash = ? FOR UPDATE"
            );
            let mut args = columns.clone();
            args.extend(Key::new(&put.thread).indexed());
            match retrying!(self.db, self.db.change(&template, args.clone()).await) {
                Ok(0) => {}
                Err(error) if !is_duplicate(&error) => return Err(error),
                // Stored, or known.
                _ => return Ok(()),
            }
        }
        let mut beginnings = 0;
        loop {
            match self.run_put_writes(put, &columns).await {
                // Another one began the thread at once: now it is there.
                Err(error) if is_duplicate(&error) && beginnings < BEGINNINGS => beginnings += 1,
                stored => return stored,
            }
        }
    }

    async fn run_put_writes(&self, put: &PutWrites, columns: &Args) -> Result<()> {
        let begin = || self.begin_locked(&put.thread, Lock::Exclusive);
        transaction!(self, tx, locked: begin(), {
            let life = match locked.life {
                Some((life, _)) => Life::Known(life),
                None => self.first_life(tx, &locked.name, put.fresh).await?,
            };
            let (life, life_arg) = life.value();
            let or_not = self.db.dialect().pick(
                "ON CONFLICT DO NOTHING",
                "ON CONFLICT DO NOTHING",
                "ON DUPLICATE KEY UPDATE life = life",
            );
            let template = format!(
                "INSERT INTO {{writes}} ({COLUMNS}, life) VALUES (?, ?, ?, ?, ?, ?, {life}) {or_not}"
            );
            let mut row = columns.clone();
            row.extend(life_arg);
            tx.write(&template, row).await
        })
    }

    fn put_writes_call(&self, put: &PutWrites) -> (&'static str, Args) {
        let (thread, namespace) = (Key::new(&put.thread), Key::new(&put.key.namespace));
        let tasks: BTreeSet<&str> = put.writes.iter().map(|write| &*write.task_id).collect();
        let alone = tasks.len() > TASKS;
        // In one order, whoever locks them.
        let locks: BTreeSet<i64> = if alone {
            BTreeSet::new()
        } else {
            let name = |task| {
                format!(
                    "{}\0{}\0{}\0{task}",
                    put.thread, put.key.namespace, put.key.id
                )
            };
            tasks
                .into_iter()
                .map(|task| lock_number(self, &name(task)))
                .collect()
        };
        let mut args = args![lock_number(self, &put.thread), alone];
        args.push(Value::Ints(locks.into_iter().collect()));
        args.extend(args![
            thread.head,
            thread.rest,
            thread.hash,
            put.fresh.0,
            namespace.head,
            namespace.hash,
            put.key.id.clone(),
            put.write_id.0,
            put.time_ms as i64,
            encode(&put.writes),
        ]);
        let template = "SELECT {put_writes}(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        (template, args)
    }
}
