//! A record gets another pack: a re-put, or a put of an id that was removed.
//!
//! The old pack goes to a document of its own first; then one update of the record's
//! document is the atomic step. What the new pack borrows from is **held** meanwhile: a
//! removal of it first cancels the step, by taking away the **intent** that the step asks
//! for.

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Base, RecordRef};
use mongodb::bson::raw::{CString, cstr};
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};

use super::commit::{Task, parent_gone};
use super::row::{OPTIONAL, Record, State, content};
use crate::backend::Inner;
use crate::db::{Inserted, Query};
use crate::doc::{binary, int, pack_in, raw_binary};
use crate::names::in_life;

/// Fields of a record that a pack does not take along.
const OF_RECORD: &[&str] = &[
    "_id", "state", "pinned", "intent", "holds", "fence", "dead", "prepared",
];

/// Fields of a condemned pack.
const OF_CONDEMNED: &[&str] = &[
    "condemned",
    "condemned_ms",
    "removed_by",
    "settled",
    "children",
];

impl Inner {
    /// Gives the record of `old` the pack of a commit. `false`: it changed meanwhile.
    pub(super) async fn replace(
        &self,
        task: &Task<'_>,
        old: Record,
        fence: Option<&str>,
    ) -> Result<bool> {
        let commit = task.commit;
        let head = self.head(&commit.thread).await?;
        let Some(head) = head.filter(|head| head.life == task.life) else {
            self.forget_parts(task).await?;
            return match commit.base {
                // As if the deletion had come after it.
                Base::Root { .. } => Ok(true),
                Base::Borrow { .. } => Err(parent_gone("the thread was deleted")),
            };
        };
        self.say_removals(&commit.thread, head).await?;
        let old = match old.is_there() {
            true => old,
            false => match self.finished(old).await? {
                Some(old) => old,
                None => return Ok(false),
            },
        };
        let intent = self.random()?;
        let this = doc! { "_id": &old.id, "pack": pack_in(task.life, old.pack) };
        let meant = doc! { "$set": { "intent": binary(&intent) } };
        if !self.db.update(&self.db.records, this, meant).await? {
            return Ok(false);
        }
        let held: Vec<&RecordRef> = task
            .from
            .iter()
            .filter(|parent| parent.pack != old.pack || !old.is_there())
            .collect();
        let all = self.hold(task, &held, &old.id, &intent).await?;
        let done = if all {
            self.exchange(task, &old, &intent, fence).await
        } else {
            Ok(false)
        };
        self.let_go(task, &held, &intent).await?;
        if !all {
            self.forget_parts(task).await?;
            return Err(parent_gone(
                "what it builds on was removed, replaced or never there",
            ));
        }
        done
    }

    /// Holds what a commit borrows from; says whether all of it was there.
    async fn hold(
        &self,
        task: &Task<'_>,
        held: &[&RecordRef],
        id: &str,
        intent: &[u8],
    ) -> Result<bool> {
        for parent in held {
            let there = doc! {
                "_id": task.names.record(&parent.key, task.life),
                "pack": pack_in(task.life, parent.pack),
                "state": { "$ne": State::Condemned as i32 },
            };
            let hold = doc! { "id": id, "intent": binary(intent) };
            let hold = doc! { "$addToSet": { "holds": hold } };
            if !self.db.update(&self.db.records, there, hold).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn let_go(&self, task: &Task<'_>, held: &[&RecordRef], intent: &[u8]) -> Result<()> {
        for parent in held {
            let this = doc! { "_id": task.names.record(&parent.key, task.life) };
            let pull = doc! { "$pull": { "holds": { "intent": binary(intent) } } };
            self.db.update(&self.db.records, this, pull).await?;
        }
        Ok(())
    }

    /// Keeps the old pack, and puts the new one in its place.
    async fn exchange(
        &self,
        task: &Task<'_>,
        old: &Record,
        intent: &[u8],
        fence: Option<&str>,
    ) -> Result<bool> {
        let Some(copy) = self.keep(task, old).await? else {
            return Ok(false);
        };
        let mut state = doc! { "$ne": State::Condemned as i32 };
        if !old.is_there() {
            state = doc! { "$eq": State::Condemned as i32 };
        }
        let this = doc! {
            "_id": &old.id,
            "pack": pack_in(task.life, old.pack),
            "state": state,
            "intent": binary(intent),
            "holds.0": { "$exists": false },
        };
        let update = self.new_content(task, old, fence)?;
        match self.db.update(&self.db.records, this, update).await {
            Ok(true) => {}
            Ok(false) => {
                if let Some(now) = self.record(&old.id).await?
                    && now.pack == old.pack
                {
                    self.cancel_holders(&old.id).await?;
                }
                return Ok(false);
            }
            Err(error) if error.kind() == chunkpoint_core::ErrorKind::Conflict => {
                // The fence: whoever has it decides.
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        if let Some(copy) = self.record(&copy).await?
            && copy.children.is_none()
        {
            self.settle(task.life, &[&copy]).await?;
        }
        Ok(true)
    }

    /// The update that puts a commit's pack in an old one's place.
    fn new_content(&self, task: &Task<'_>, old: &Record, fence: Option<&str>) -> Result<Document> {
        let mut new = RawDocumentBuf::new();
        content(&mut new, task.life, task.commit, &task.stored);
        let parent = task.commit.index.parent.as_deref();
        let mut unset = doc! { "intent": "" };
        if !old.is_there() {
            // Another record of the same name: nothing of the one before is left.
            if let Some(parent) = parent {
                new.append(cstr!("parent"), parent);
            } else {
                unset.insert("parent", "");
            }
            for field in OF_CONDEMNED.iter().chain(&["pinned", "dead"]) {
                unset.insert(*field, "");
            }
        }
        match fence {
            Some(fence) => new.append(cstr!("fence"), fence),
            None if !old.is_there() => drop(unset.insert("fence", "")),
            None => {}
        }
        let unused = |field: &&&str| !matches!(new.get(**field), Ok(Some(_)));
        for field in OPTIONAL.iter().filter(unused) {
            unset.insert(*field, "");
        }
        let set = Document::try_from(new).map_err(|e| {
            chunkpoint_core::Error::corrupt("a document could not be made").source(e)
        })?;
        Ok(doc! { "$set": set, "$unset": unset })
    }

    /// Copies the pack of a record to a document of its own, unless it is there; gives its
    /// key. `None` if the record has another pack by now.
    async fn keep(&self, task: &Task<'_>, old: &Record) -> Result<Option<String>> {
        let query = Query {
            filter: doc! { "_id": &old.id, "pack": pack_in(task.life, old.pack) },
            limit: 1,
            ..Query::default()
        };
        let found = self.db.find(&self.db.records, query).await?;
        let Some(whole) = found.into_iter().next() else {
            return Ok(None);
        };
        let id = task.names.former(&old.key, task.life, old.pack);
        let mut copy = RawDocumentBuf::new();
        copy.append(cstr!("_id"), id.as_str());
        copy.append(cstr!("state"), State::Condemned as i32);
        let left_out = if old.is_there() { OF_CONDEMNED } else { &[] };
        append_but(&mut copy, &whole, &[OF_RECORD, left_out].concat())?;
        if old.is_there() {
            let condemned = in_life(task.life, old.pack.0);
            copy.append(cstr!("condemned"), raw_binary(&condemned));
            copy.append(cstr!("condemned_ms"), int(task.commit.index.time_ms));
            copy.append(cstr!("prepared"), true);
        }
        if self.db.insert(&self.db.records, &copy).await? == Inserted::Duplicate {
            // Prepared by another re-put that came to nothing, or by this one before.
            let (this, update) = self.refresh(&id, old, task);
            self.db.update(&self.db.records, this, update).await?;
        }
        Ok(Some(id))
    }

    /// Makes a copy that was prepared earlier what it has to be now.
    fn refresh(&self, id: &str, old: &Record, task: &Task<'_>) -> (Document, Document) {
        let this = doc! { "_id": id, "prepared": true };
        let update = match &old.children {
            Some(children) => {
                let children = children.iter().map(|child| pack_in(old.life, *child));
                doc! {
                    "$set": {
                        "settled": true,
                        "children": children.collect::<Vec<Bson>>(),
                        "condemned_ms": int(old.condemned_ms),
                        "gone": old.gone.iter().map(|n| Bson::from(i64::from(*n))).collect::<Vec<_>>(),
                    },
                    "$unset": { "prepared": "" },
                }
            }
            None => doc! { "$set": { "condemned_ms": int(task.commit.index.time_ms) } },
        };
        (this, update)
    }

    /// A removed record after all of its removal is done. `None` if it is another by now.
    async fn finished(&self, old: Record) -> Result<Option<Record>> {
        self.drop_dead(&[&old.id]).await?;
        if old.children.is_some() {
            return Ok(Some(old));
        }
        self.settle(old.life, &[&old]).await?;
        let now = self.record(&old.id).await?;
        Ok(now.filter(|now| now.pack == old.pack && now.children.is_some()))
    }

    /// Deletes the chunks that were written for a commit that is not made.
    async fn forget_parts(&self, task: &Task<'_>) -> Result<()> {
        let names = task.stored.firsts.iter().map(|first| {
            let name = crate::names::of_part(&task.life.0, task.commit.pack, *first);
            binary(&name)
        });
        let names: Vec<Bson> = names.collect();
        if names.is_empty() {
            return Ok(());
        }
        let these = doc! { "_id": { "$in": names } };
        self.db.delete(&self.db.parts, these).await.map(drop)
    }
}

/// Appends the fields of a document but some.
pub(super) fn append_but(to: &mut RawDocumentBuf, from: &RawDocument, but: &[&str]) -> Result<()> {
    for field in from {
        let (name, value) =
            field.map_err(|e| chunkpoint_core::Error::corrupt("a document").source(e))?;
        if !but.contains(&name.as_str()) {
            to.append(CString::from(name), value);
        }
    }
    Ok(())
}
