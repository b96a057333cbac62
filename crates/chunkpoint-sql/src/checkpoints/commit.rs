//! Commits.
//!
//! SQLite and MySQL run the steps below in a transaction, or what nearly every commit is as
//! one `INSERT … SELECT`. PostgreSQL has them in a
//! function (`schema/postgres.sql`), so that they are one statement; what it answers is
//! the same [`Outcome`].

use std::collections::HashMap;

use bytes::Bytes;
use chunkpoint_core::backend::{Base, Commit, Committed, Incarnation, RecordRef};
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use super::insert::{COLUMNS, Prepared, Replaced, column_args, column_values, insert};
use super::read::these;
use super::row::{REFERENCE, reference};
use super::threads::{BEGINNINGS, Life, Lock, lock_number};
use crate::backend::{Inner, retrying, transaction};
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::is_duplicate;
use crate::names::Key;
use crate::value::{Args, Row, Value, args};

/// Records that a commit may borrow from and still be one statement in MySQL.
const FEW: usize = 4;

/// What came of an attempt.
enum Outcome {
    /// Stored, or known already.
    Stored(Committed),
    /// Not stored: a parent is not there.
    ParentGone(String),
    /// Not stored: the latest is another one.
    NotLatest(Option<String>),
    /// Not stored: what was found does not hold any more, or another lock is needed.
    Again(Lock),
}

impl Inner {
    pub(crate) async fn commit(&self, commit: &Commit) -> Result<Committed> {
        self.capabilities().check(commit)?;
        let prepared = Prepared::new(commit);
        // Most commits add what is not there, beside others that do. One that counts on
        // the latest, or finds a record to replace, is alone with its thread.
        let mut lock = match commit.expect_latest {
            Some(_) => Lock::Exclusive,
            None => Lock::Shared,
        };
        let mut beginnings = 0;
        loop {
            let attempt = match self.db.dialect() {
                Dialect::Postgres => self.call_commit(&prepared, lock).await,
                Dialect::MySql | Dialect::Sqlite if lock == Lock::Shared => {
                    match self.insert_commit(&prepared).await {
                        Ok(Some(committed)) => Ok(Outcome::Stored(committed)),
                        Ok(None) => self.run_commit(&prepared, lock).await,
                        Err(error) => Err(error),
                    }
                }
                _ => self.run_commit(&prepared, lock).await,
            };
            let outcome = match attempt {
                // The record or the pack is there already, or another one put it, or began
                // the thread, at once.
                Err(error) if is_duplicate(&error) && beginnings < BEGINNINGS => {
                    beginnings += 1;
                    Outcome::Again(Lock::Exclusive)
                }
                outcome => outcome?,
            };
            match outcome {
                Outcome::Stored(committed) => return Ok(committed),
                Outcome::ParentGone(message) => {
                    return Err(Error::new(ErrorKind::ParentGone, message));
                }
                Outcome::NotLatest(found) => {
                    let found = found.map_or("none".into(), |id| quote(&id));
                    let message = format!("the latest checkpoint is not as expected but {found}");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                Outcome::Again(with) => lock = with,
            }
        }
    }

    /// The steps of a commit, statement by statement.
    async fn run_commit(&self, prepared: &Prepared<'_>, lock: Lock) -> Result<Outcome> {
        let commit = prepared.commit;
        let begin = || self.begin_locked(&commit.thread, lock);
        transaction!(self, tx, locked: begin(), {
            let found = match locked.life {
                None => Found::default(),
                Some((life, _)) => find(tx, life, prepared).await?,
            };
            if let (Some(locator), Some((_, incarnation))) = (found.known, locked.life) {
                return Ok(Outcome::Stored(Committed {
                    incarnation,
                    locator,
                }));
            }
            if let Base::Borrow { incarnation, from } = &commit.base {
                if locked.life.is_none_or(|(_, there)| there != *incarnation) {
                    return Ok(Outcome::ParentGone("the thread was deleted".into()));
                }
                if let Some(gone) = from.iter().find(|from| !found.parents.contains_key(from)) {
                    return Ok(Outcome::ParentGone(removed(&gone.key.id)));
                }
            }
            if let Some(expected) = &commit.expect_latest
                && found.latest.as_deref() != expected.as_deref()
            {
                return Ok(Outcome::NotLatest(found.latest));
            }
            if found.record.is_some()
                && lock == Lock::Shared
                && self.db.dialect() != Dialect::Sqlite
            {
                return Ok(Outcome::Again(Lock::Exclusive));
            }
            let (life, incarnation) = match (locked.life, &commit.base) {
                (Some((life, incarnation)), _) => (Life::Known(life), incarnation),
                (None, Base::Root { fresh }) => {
                    (self.first_life(tx, &locked.name, *fresh).await?, *fresh)
                }
                (None, Base::Borrow { .. }) => {
                    return Ok(Outcome::ParentGone("the thread was deleted".into()));
                }
            };
            let depth = match &commit.base {
                Base::Borrow { from, .. } => from.first().and_then(|from| found.parents.get(from)),
                Base::Root { .. } => None,
            };
            let depth = depth.map_or(0, |parent| parent + 1);
            let locator = insert(tx, life, prepared, depth, found.record).await?;
            Ok(Outcome::Stored(Committed {
                incarnation,
                locator,
            }))
        })
    }

    /// The same for what nearly every commit is, in one statement of MySQL or SQLite: a new
    /// record with its chunks beside it, that borrows from few, and finds them there. It
    /// locks what it reads as the steps do. `None` if it is not so, and a duplicate's error
    /// if the record or the pack is there; then nothing was done.
    async fn insert_commit(&self, prepared: &Prepared<'_>) -> Result<Option<Committed>> {
        let commit = prepared.commit;
        let Base::Borrow { incarnation, from } = &commit.base else {
            return Ok(None);
        };
        if from.len() > FEW || prepared.inline.is_none() {
            return Ok(None);
        }
        let dialect = self.db.dialect();
        let there = dialect.is_current();
        // The answer carries it.
        let depth = match from.first() {
            Some(_) => (", depth", ", LAST_INSERT_ID(p0.depth + 1)"),
            None => (", depth", ", 0"),
        };
        let (depth_column, depth) = dialect.pick(("", ""), ("", ""), depth);
        let mut template = format!(
            "INSERT INTO {{checkpoints}} (life, {COLUMNS}{depth_column}) \
             SELECT t.life, {}{depth} FROM {{threads}} t",
            column_values(dialect)
        );
        let mut args = column_args(prepared, commit.index.parent.clone(), false);
        for (n, record) in from.iter().enumerate() {
            template.push_str(&format!(
                " JOIN {{checkpoints}} p{n} ON p{n}.life = t.life AND p{n}.pack = ? \
                 AND p{n}.{there} AND p{n}.id = ? AND p{n}.namespace = ? \
                 AND p{n}.namespace_hash = ?"
            ));
            args.extend(args![record.pack.0, record.key.id.clone()]);
            args.extend(Key::new(&record.key.namespace).indexed());
        }
        template.push_str(" WHERE t.thread = ? AND t.thread_hash = ? AND t.incarnation = ?");
        template.push_str(dialect.pick("", "", " LOCK IN SHARE MODE"));
        args.extend(Key::new(&commit.thread).indexed());
        args.push(incarnation.0.into());
        let (inserted, locator) =
            retrying!(self.db, self.db.noting(&template, args.clone()).await)?;
        Ok((inserted == 1).then_some(Committed {
            incarnation: *incarnation,
            locator,
        }))
    }

    /// The same, as one statement.
    async fn call_commit(&self, prepared: &Prepared<'_>, lock: Lock) -> Result<Outcome> {
        let (template, args) = self.commit_call(prepared, lock);
        let rows = retrying!(self.db, self.db.call(template, args.clone()).await)?;
        let Some(row) = rows.first() else {
            return Err(Error::new(
                ErrorKind::Other,
                "the function of commits gave nothing",
            ));
        };
        outcome(row)
    }

    fn commit_call(&self, prepared: &Prepared<'_>, lock: Lock) -> (&'static str, Args) {
        let Prepared {
            commit,
            namespace,
            columns,
            ..
        } = prepared;
        let thread = Key::new(&commit.thread);
        let (incarnation, from) = match &commit.base {
            Base::Root { fresh } => (fresh, None),
            Base::Borrow { incarnation, from } => (incarnation, Some(&from[..])),
        };
        let borrowed = from.unwrap_or_default();
        let keys: Vec<Key> = borrowed
            .iter()
            .map(|from| Key::new(&from.key.namespace))
            .collect();
        let apart = &prepared.apart;
        let mut args = args![
            lock_number(self, &commit.thread),
            lock == Lock::Exclusive,
            thread.head,
            thread.rest,
            thread.hash,
            incarnation.0,
            from.is_some(),
        ];
        args.push(Value::Blobs(
            borrowed
                .iter()
                .map(|from| Bytes::copy_from_slice(&from.pack.0))
                .collect(),
        ));
        args.push(Value::Texts(
            keys.iter().map(|key| key.head.clone()).collect(),
        ));
        args.push(Value::Blobs(
            keys.iter().map(|key| key.hash.clone()).collect(),
        ));
        args.push(Value::Texts(
            borrowed.iter().map(|from| from.key.id.clone()).collect(),
        ));
        args.extend(args![
            commit.expect_latest.is_some(),
            commit.expect_latest.clone().flatten(),
            commit.pack.0,
            namespace.head.clone(),
            namespace.rest.clone(),
            namespace.hash.clone(),
            commit.key.id.clone(),
            commit.index.parent.clone(),
            commit.index.run_id.clone(),
            columns.source.clone(),
            columns.step,
            commit.index.time_ms as i64,
            commit.index.delta,
            commit.index.pack_bytes as i64,
            prepared.chunk_count(),
            columns.json.clone(),
        ]);
        args.extend([prepared.directory(), prepared.chunks()]);
        args.push(commit.body.clone().into());
        args.push(Value::Ints(
            apart.iter().map(|run| i64::from(run.first)).collect(),
        ));
        args.push(Value::Blobs(
            apart.iter().map(|run| run.directory.clone()).collect(),
        ));
        args.push(Value::Blobs(
            apart.iter().map(|run| run.chunks.clone()).collect(),
        ));
        let template = "SELECT * FROM {commit_checkpoint}(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
             ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        (template, args)
    }
}

/// What the function of PostgreSQL answers: a number, the incarnation, and an id.
fn outcome(row: &Row) -> Result<Outcome> {
    Ok(match row.int(0)? {
        0 => Outcome::Stored(Committed {
            incarnation: Incarnation(row.id8(1)?),
            locator: 0,
        }),
        1 => Outcome::ParentGone("the thread was deleted".into()),
        2 => Outcome::ParentGone(removed(&row.text(2)?)),
        3 => Outcome::NotLatest(row.opt_text(2)?),
        _ => Outcome::Again(Lock::Exclusive),
    })
}

fn removed(id: &str) -> String {
    format!("checkpoint {} was removed or replaced", quote(id))
}

/// What is there already.
#[derive(Default)]
struct Found {
    /// The pack's locator, if it is.
    known: Option<u64>,
    /// The record of this name.
    record: Option<Replaced>,
    /// Those of the parents that are, with their locators.
    parents: HashMap<RecordRef, u64>,
    /// The latest record's id, where one is expected.
    latest: Option<String>,
}

/// The branches of the statement below.
const PACK: i64 = 0;
const RECORD: i64 = 1;
const PARENT: i64 = 2;
const LATEST: i64 = 3;

/// Looks for all of it with one statement, a branch for each question.
async fn find(tx: &mut Tx, life: i64, prepared: &Prepared<'_>) -> Result<Found> {
    let commit = prepared.commit;
    let dialect = tx.db().dialect();
    let (there, locator) = (dialect.is_current(), dialect.locator());
    let select =
        |n: i64| format!("SELECT {n} AS branch, {REFERENCE}, c.parent_id, c.pinned, {locator}");
    let from = "FROM {checkpoints} c WHERE c.life = ?";
    let mut template = format!(
        "{} {from} AND c.{} AND c.{} = ? UNION ALL {} {from} AND c.{there} AND c.id = ? \
         AND c.namespace = ? AND c.namespace_hash = ?",
        select(PACK),
        // If it is not, it is that of the record.
        dialect.is_condemned(),
        dialect.condemned_pack(),
        select(RECORD)
    );
    let mut args = args![life, commit.pack.0, life, commit.key.id.clone()];
    args.extend(prepared.namespace.indexed());
    if let Base::Borrow { from: parents, .. } = &commit.base {
        let (condition, parents) = these(dialect, parents);
        template.push_str(&format!(
            " UNION ALL {} FROM {{checkpoints}} c WHERE {condition}",
            select(PARENT)
        ));
        args.extend(args![life]);
        args.extend(parents);
    }
    if commit.expect_latest.is_some() {
        let (condition, namespace) = super::in_namespace(&commit.key.namespace);
        template.push_str(&format!(
            " UNION ALL SELECT * FROM ({} {from} AND c.{there} \
             AND c.hidden = FALSE AND {condition} ORDER BY c.id DESC LIMIT 1) l",
            select(LATEST)
        ));
        args.extend(args![life]);
        args.extend(namespace);
    }
    let mut found = Found::default();
    for row in tx.rows(&template, args).await? {
        let record = reference(&row, 1)?;
        let locator = row.unsigned(7)?;
        match row.int(0)? {
            PACK => found.known = Some(locator),
            PARENT => {
                found.parents.insert(record, locator);
            }
            LATEST => found.latest = Some(record.key.id.to_string()),
            _ => {
                if record.pack == prepared.commit.pack {
                    found.known = Some(locator);
                }
                found.record = Some(Replaced {
                    pack: record.pack,
                    parent: row.opt_text(5)?,
                    pinned: row.bool(6)?,
                });
            }
        }
    }
    Ok(found)
}
