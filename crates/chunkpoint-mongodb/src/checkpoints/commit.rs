//! Commits: write the pack, then look at what it borrows from.

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::{Base, Commit, Committed, Incarnation, PackId, RecordRef};
use chunkpoint_core::{Error, ErrorKind, Result, quote};
use mongodb::bson::{Bson, Document, doc};

use super::life::{ATTEMPTS, Head, busy};
use super::row::{Record, document, fields, locator};
use super::settle::Packs;
use crate::backend::Inner;
use crate::db::{Inserted, Query};
use crate::doc::{Doc, pack_in, within};
use crate::names::ThreadNames;
use crate::parts::{Stored, lay_out};

/// The longest wait before another try.
const PATIENCE: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.capabilities().check(&commit)?;
        let (life, from) = match &commit.base {
            Base::Borrow { incarnation, from } => (*incarnation, &from[..]),
            Base::Root { fresh } => {
                let head = self.head(&commit.thread).await?;
                if let (None, Some(expected)) = (head, &commit.expect_latest) {
                    // Before a life is started in vain.
                    expect(None, expected.as_ref())?;
                }
                match head {
                    Some(head) => (head.life, &[][..]),
                    None => match self.start(&commit.thread, *fresh).await? {
                        Some(head) => (head.life, &[][..]),
                        // The life it started, now or when it was sent before, has ended
                        // since: it counts as made just before.
                        None => return Ok(done(*fresh, false)),
                    },
                }
            }
        };
        let names = ThreadNames::new(&commit.thread);
        let time_ms = commit.index.time_ms;
        let mut task = Task {
            stored: lay_out(&names.thread, life, commit.pack, time_ms, &commit.chunks),
            names,
            life,
            from,
            commit: &commit,
        };
        self.carry_out(&mut task).await
    }

    async fn carry_out(&self, task: &mut Task<'_>) -> Result<Committed> {
        let commit = task.commit;
        if let Some(expected) = &commit.expect_latest {
            if let Some(known) = self.known(task, task.life).await? {
                return self.acknowledge(task, known).await;
            }
            // Said first of what does not hold, as by any backend.
            if !task.from.is_empty() && !self.all_there(task).await? {
                return Err(parent_gone(
                    "what it builds on was removed, replaced or never there",
                ));
            }
            self.expected(task, expected.as_ref()).await?;
        }
        let parts = std::mem::take(&mut task.stored.parts);
        if !parts.is_empty() {
            self.db.insert_missing(&self.db.parts, parts).await?;
        }
        let packs: Vec<PackId> = task.from.iter().map(|record| record.pack).collect();
        for link in 0..ATTEMPTS {
            let since = tokio::time::Instant::now();
            let expected = commit.expect_latest.as_ref();
            let fence = expected.map(|expected| task.fence(expected.as_ref(), link));
            let fence = fence.as_deref();
            let new = document(&task.names, task.life, commit, &task.stored, &packs, fence);
            if self.db.insert(&self.db.records, &new).await? == Inserted::Yes {
                return self.look_again(task).await;
            }
            if let Some(known) = self.known(task, task.life).await? {
                return self.acknowledge(task, known).await;
            }
            let id = task.names.record(&commit.key, task.life);
            if let Some(old) = self.record(&id).await?
                && self.replace(task, old, fence).await?
            {
                return Ok(done(task.life, task.has_parts()));
            }
            if let Some(expected) = expected {
                // Another one that expected the same came first. If what it put is the
                // latest now, that is seen; else the next link of the fence is to be had.
                self.expected(task, expected.as_ref()).await?;
            }
            self.give_way(link, since.elapsed()).await?;
        }
        Err(busy())
    }

    /// Waits before another try, which took so long. A re-put takes several steps, and writers
    /// of one record undo each other's as long as they are in step.
    async fn give_way(&self, tries: usize, took: Duration) -> Result<()> {
        let share = f64::from(self.random()?[0]) / f64::from(u8::MAX);
        let most = took.mul_f64(tries.clamp(1, 16) as f64).min(PATIENCE);
        tokio::time::sleep(most.mul_f64(share)).await;
        Ok(())
    }

    /// After the pack was written: whether its life goes on, and all that it borrows from
    /// was there. If not, it takes the pack back.
    async fn look_again(&self, task: &Task<'_>) -> Result<Committed> {
        let commit = task.commit;
        let firsts = &task.stored.firsts;
        if !self.parts_stay(task.life, commit.pack, firsts).await? {
            let own = doc! { "pack": pack_in(task.life, commit.pack) };
            self.db.delete(&self.db.records, own).await?;
            return Err(swept());
        }
        // One without a parent found its life; if that ended since, it came before the end.
        if task.from.is_empty() {
            return Ok(done(task.life, task.has_parts()));
        }
        let (packs, head) = self.parents(task).await?;
        let goes_on = head.is_some_and(|head| head.life == task.life);
        if goes_on {
            let there = |parent: &RecordRef| {
                let found = packs.get(parent.pack);
                found.is_some_and(|found| found.is_there() && found.key == parent.key)
            };
            if task.from.iter().all(there) {
                return Ok(done(task.life, task.has_parts()));
            }
        }
        // A commit that is repeated may have been seen before its parent went.
        let counts = goes_on && task.names_match(&packs) && {
            let packs: Vec<PackId> = task.from.iter().map(|record| record.pack).collect();
            let child = [(commit.pack, &packs[..])];
            self.excluded(task.life, &child).await?.is_empty()
        };
        if counts {
            return Ok(done(task.life, task.has_parts()));
        }
        self.withdraw(task).await?;
        // The pack may be known in another life, to which it was copied.
        if let Some(head) = head.filter(|head| head.life != task.life)
            && let Some(known) = self.known(task, head.life).await?
        {
            return Ok(done(head.life, !known.parts.is_empty()));
        }
        Err(parent_gone(
            "what it builds on was removed, replaced or never there",
        ))
    }

    /// Whether documents of chunks that were written before their record are there, and not
    /// about to be swept away.
    pub(super) async fn parts_stay(
        &self,
        life: Incarnation,
        pack: PackId,
        firsts: &[u32],
    ) -> Result<bool> {
        if firsts.is_empty() {
            return Ok(true);
        }
        let names = firsts.iter().map(|first| {
            let name = crate::names::of_part(&life.0, pack, *first);
            crate::doc::binary(&name)
        });
        let query = Query {
            filter: doc! {
                "_id": { "$in": names.collect::<Vec<Bson>>() },
                "swept": { "$ne": true },
            },
            fields: doc! { "_id": 1 },
            ..Query::default()
        };
        let found = self.db.find(&self.db.parts, query).await?;
        Ok(found.len() == firsts.len())
    }

    /// Whether the life goes on, and all that a commit borrows from is there now.
    async fn all_there(&self, task: &Task<'_>) -> Result<bool> {
        let (packs, head) = self.parents(task).await?;
        let there = |parent: &RecordRef| {
            let found = packs.get(parent.pack);
            found.is_some_and(|found| found.is_there() && found.key == parent.key)
        };
        Ok(head.is_some_and(|head| head.life == task.life) && task.from.iter().all(there))
    }

    /// A pack that is there already: it counts as it did the first time.
    async fn acknowledge(&self, task: &Task<'_>, known: Record) -> Result<Committed> {
        let child = [(known.pack, &known.from[..])];
        if self.excluded(task.life, &child).await?.is_empty() {
            return Ok(done(task.life, !known.parts.is_empty()));
        }
        self.withdraw(task).await?;
        Err(parent_gone("what it builds on was removed meanwhile"))
    }

    /// Deletes a pack that does not count. Nobody could read it, so nobody builds on it.
    async fn withdraw(&self, task: &Task<'_>) -> Result<()> {
        let pack = pack_in(task.life, task.commit.pack);
        let own = doc! { "pack": pack, "from": { "$exists": true } };
        self.db.delete(&self.db.records, own).await?;
        let parts = task.stored.firsts.iter().map(|first| {
            let name = crate::names::of_part(&task.life.0, task.commit.pack, *first);
            crate::doc::binary(&name)
        });
        let parts: Vec<Bson> = parts.collect();
        if !parts.is_empty() {
            let these = doc! { "_id": { "$in": parts } };
            self.db.delete(&self.db.parts, these).await?;
        }
        Ok(())
    }

    /// What a commit borrows from, as it is now, and the thread's life.
    async fn parents(&self, task: &Task<'_>) -> Result<(Packs, Option<Head>)> {
        let packs = task.from.iter().map(|one| pack_in(task.life, one.pack));
        let packs: Vec<Bson> = packs.collect();
        let pipeline = vec![
            doc! { "$match": { "pack": { "$in": packs } } },
            doc! { "$project": { "body": 0, "chunks": 0, "lengths": 0, "metadata": 0 } },
            self.and_head(&task.commit.thread),
        ];
        let (mut head, mut records) = (None, Vec::new());
        for raw in self.db.aggregate(&self.db.records, pipeline).await? {
            let doc = Doc::new("checkpoints", raw);
            if doc.flag(super::life::IS_HEAD)? {
                head = Head::read(&doc)?;
            } else {
                records.push(Record::of(&doc)?);
            }
        }
        Ok((Packs::of(records), head))
    }

    /// The pack, if it is there.
    async fn known(&self, task: &Task<'_>, life: Incarnation) -> Result<Option<Record>> {
        let packs = self.packs(life, [task.commit.pack]).await?;
        Ok(packs.get(task.commit.pack).cloned())
    }

    /// One document of the records, by its key.
    pub(super) async fn record(&self, id: &str) -> Result<Option<Record>> {
        let query = Query {
            filter: doc! { "_id": id },
            fields: fields(chunkpoint_core::backend::Detail::Keys),
            limit: 1,
            ..Query::default()
        };
        let found = self.db.find(&self.db.records, query).await?;
        found.into_iter().next().map(Record::read).transpose()
    }

    /// Fails if the latest id is not the one that is expected.
    async fn expected(&self, task: &Task<'_>, expected: Option<&Arc<str>>) -> Result<()> {
        let latest = self.latest_id(task).await?;
        expect(latest.as_ref(), expected)
    }

    async fn latest_id(&self, task: &Task<'_>) -> Result<Option<Arc<str>>> {
        let pick = chunkpoint_core::backend::Pick::Latest {
            namespace: task.commit.key.namespace.clone(),
        };
        let detail = chunkpoint_core::backend::Detail::Keys;
        let rows = self.get(&task.commit.thread, &[pick], detail).await?;
        let rows = rows.into_iter().flatten();
        let mut ids = rows.filter(|row| row.incarnation == task.life);
        Ok(ids.next().map(|row| row.record.key.id))
    }
}

/// A commit on its way.
pub(super) struct Task<'a> {
    pub(super) names: ThreadNames,
    pub(super) life: Incarnation,
    pub(super) from: &'a [RecordRef],
    pub(super) stored: Stored,
    pub(super) commit: &'a Commit,
}

impl Task<'_> {
    /// What only one fenced writer may have that expects this id: a link of a chain, of which
    /// the next is for who has found the id to be the latest after all before were taken.
    fn fence(&self, expected: Option<&Arc<str>>, link: usize) -> String {
        let life = self.life;
        // Neither has a NUL, and no id is empty.
        let namespace = self.names.in_namespace(&self.commit.key.namespace, None);
        let expected = expected.map_or("", |id| id);
        format!("{}{expected}\0{life}-{link}", namespace.from)
    }

    fn has_parts(&self) -> bool {
        !self.stored.firsts.is_empty()
    }

    /// Whether the packs that are there belong to the records that were named.
    fn names_match(&self, packs: &Packs) -> bool {
        let named = |parent: &RecordRef| {
            let found = packs.get(parent.pack);
            found.is_none_or(|found| found.key == parent.key)
        };
        self.from.iter().all(named)
    }
}

fn expect(latest: Option<&Arc<str>>, expected: Option<&Arc<str>>) -> Result<()> {
    if latest == expected {
        return Ok(());
    }
    let found = latest.map_or("none".into(), |id| quote(id));
    Err(conflict(&format!(
        "the latest checkpoint is not as expected but {found}"
    )))
}

pub(super) fn done(incarnation: Incarnation, parts: bool) -> Committed {
    Committed {
        incarnation,
        locator: locator(parts),
    }
}

pub(super) fn parent_gone(message: &str) -> Error {
    Error::new(ErrorKind::ParentGone, message)
}

/// The error of what took so long that its chunks were taken for left behind.
pub(super) fn swept() -> Error {
    let message = "it took longer than the grace period, and its chunks were swept away";
    Error::new(ErrorKind::Unavailable, message)
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

/// What finds records of a thread by a range of keys, in any order: with the thread first, for a
/// cluster that keeps a thread on one shard, and for servers that have no bounds of a range.
pub(super) fn of_thread(names: &ThreadNames, range: &crate::names::Range) -> Document {
    doc! { "thread": &names.thread, "_id": within(range) }
}

/// What finds records by a range of keys, in the order of the keys.
pub(super) fn in_range(range: &crate::names::Range) -> Document {
    doc! { "_id": within(range) }
}
