//! The lives of a thread: which one is current, starting one, ending it.

use chunkpoint_core::backend::Incarnation;
use chunkpoint_core::{Error, ErrorKind, Result};
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};

use crate::backend::Inner;
use crate::db::{Documents, Inserted, Query};
use crate::doc::{Doc, all_in, binary, int};
use crate::error::Doing;

/// What a thread's own document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The current life.
    pub(crate) life: Incarnation,
    /// Whether a record of this life was ever removed or replaced, or is about to be.
    pub(crate) removals: bool,
    /// How often packs were deleted for good.
    pub(crate) purges: u64,
}

/// Marks a thread's document where it comes among others.
pub(crate) const IS_HEAD: &str = "head";

impl Head {
    /// Reads a thread's document; `None` if it has no life now.
    pub(crate) fn read(doc: &Doc) -> Result<Option<Self>> {
        let Some(life) = doc.opt_id8("life")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            life: Incarnation(life),
            removals: doc.flag("removals")?,
            purges: doc.opt_number("purges")?.unwrap_or(0),
        }))
    }
}

/// What finds a thread's document if it has this life.
pub(crate) fn living(thread: &str, life: Incarnation) -> Document {
    doc! { "_id": thread, "life": binary(&life.0) }
}

impl Inner {
    /// The thread's document, as the last stage of a pipeline on another collection.
    pub(crate) fn and_head(&self, thread: &str) -> Document {
        doc! { "$unionWith": {
            "coll": self.db.threads.name(),
            "pipeline": [
                { "$match": { "_id": thread } },
                { "$addFields": { IS_HEAD: true } },
            ],
        } }
    }

    /// The current life.
    pub(crate) async fn head(&self, thread: &str) -> Result<Option<Head>> {
        let query = Query {
            filter: doc! { "_id": thread },
            limit: 1,
            ..Query::default()
        };
        let found = self.db.find(&self.db.threads, query).await?.into_iter();
        let heads = found.map(|raw| Head::read(&Doc::new("threads", raw)));
        Ok(heads.collect::<Result<Vec<_>>>()?.pop().flatten())
    }

    /// The current life, or `fresh`. `None` if that has ended before: whoever brings it is
    /// late, and what it wants to add has ended with it.
    pub(crate) async fn start(&self, thread: &str, fresh: Incarnation) -> Result<Option<Head>> {
        for _ in 0..ATTEMPTS {
            if let Some(head) = self.head(thread).await? {
                return Ok(Some(head));
            }
            match self.begin(thread, fresh).await? {
                Begun::Yes => {
                    return Ok(Some(Head {
                        life: fresh,
                        removals: false,
                        purges: 0,
                    }));
                }
                Begun::Ended => return Ok(None),
                Begun::Other => {}
            }
        }
        Err(busy())
    }

    /// Makes `fresh` the current life, if the thread has none and that has not ended.
    pub(crate) async fn begin(&self, thread: &str, fresh: Incarnation) -> Result<Begun> {
        let mut new = RawDocumentBuf::new();
        new.append(mongodb::bson::raw::cstr!("_id"), thread);
        let life = crate::doc::raw_binary(&fresh.0);
        new.append(mongodb::bson::raw::cstr!("life"), life);
        if self.db.insert(&self.db.threads, &new).await? == Inserted::Yes {
            return Ok(Begun::Yes);
        }
        let idle = doc! {
            "_id": thread,
            "life": { "$exists": false },
            "ended.life": { "$ne": binary(&fresh.0) },
        };
        let begin = doc! {
            "$set": { "life": binary(&fresh.0) },
            "$unset": { "removals": "", "purges": "", "swept": "" },
        };
        if self.db.update(&self.db.threads, idle, begin).await? {
            return Ok(Begun::Yes);
        }
        let ended = Query {
            filter: doc! { "_id": thread, "ended.life": binary(&fresh.0) },
            limit: 1,
            ..Query::default()
        };
        let ended = !self.db.find(&self.db.threads, ended).await?.is_empty();
        Ok(if ended { Begun::Ended } else { Begun::Other })
    }

    /// Ends a life, if it is the current one; its documents go in a task.
    pub(crate) async fn end(&self, thread: &str, life: Incarnation) -> Result<()> {
        let end = doc! {
            "$unset": { "life": "", "removals": "", "purges": "" },
            "$push": { "ended": { "life": binary(&life.0) } },
        };
        let ended = self.db.update(&self.db.threads, living(thread, life), end);
        if ended.await? {
            let (inner, thread) = (self.clone(), thread.to_owned());
            tokio::spawn(async move {
                // What is left, maintenance takes up.
                if let Err(error) = inner.bury(&thread, life).await {
                    tracing::warn!(%error, "an ended thread's documents are not deleted yet");
                }
            });
        }
        Ok(())
    }

    /// Deletes all documents of a life that has ended.
    pub(crate) async fn bury(&self, thread: &str, life: Incarnation) -> Result<()> {
        self.erase(life).await?;
        let buried = doc! { "$set": { "ended.$.buried": true } };
        let this = doc! { "_id": thread, "ended.life": binary(&life.0) };
        self.db.update(&self.db.threads, this, buried).await?;
        // What comes late and finds the life ended may be as late as that.
        let all = doc! {
            "_id": thread,
            "life": { "$exists": false },
            "ended": { "$not": { "$elemMatch": { "buried": { "$ne": true } } } },
        };
        let now = DateTime::from_millis(int(self.clock.now_ms()));
        let swept = doc! { "$set": { "swept": now } };
        self.db.update(&self.db.threads, all, swept).await.map(drop)
    }

    /// Deletes all documents of a life that nobody can read.
    pub(crate) async fn erase(&self, life: Incarnation) -> Result<()> {
        let in_life = |field: &str| {
            let mut filter = Document::new();
            filter.insert(field, all_in(life));
            filter
        };
        let own: [(&Documents, Document); 2] = [
            (&self.db.records, in_life("pack")),
            (&self.db.writes, in_life("_id")),
        ];
        for (documents, filter) in own {
            self.db.delete(documents, filter).await?;
        }
        let parts = doc! { "_id": of_owner(&life.0) };
        self.db.delete(&self.db.parts, parts).await.map(drop)
    }

    /// Lives of a thread that have ended and whose documents may be there still.
    pub(crate) async fn unburied(&self, thread: &str) -> Result<Vec<Incarnation>> {
        let query = Query {
            filter: doc! { "_id": thread },
            limit: 1,
            ..Query::default()
        };
        let mut lives = Vec::new();
        for raw in self.db.find(&self.db.threads, query).await? {
            for ended in Doc::new("threads", raw).documents("ended")? {
                if !ended.flag("buried")?
                    && let Some(life) = ended.opt_id8("life")?
                {
                    lives.push(Incarnation(life));
                }
            }
        }
        Ok(lives)
    }

    /// Says in the thread's document that records of this life are being removed, before the
    /// first is. Whoever reads a record and then finds that nothing was said need not look
    /// at what the record borrows from. Says whether the life is the current one.
    pub(crate) async fn say_removals(&self, thread: &str, head: Head) -> Result<bool> {
        if head.removals {
            return Ok(true);
        }
        let said = doc! { "$set": { "removals": true } };
        let living = living(thread, head.life);
        self.db.update(&self.db.threads, living, said).await
    }

    /// Runs a command that only the primary answers, and gives what it says.
    pub(crate) async fn ping(&self) -> Result<Document> {
        self.db.command(Doing::Reading, doc! { "hello": 1 }).await
    }
}

/// What [`Inner::begin`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The life is the current one.
    Yes,
    /// It was before, and has ended.
    Ended,
    /// Another one is.
    Other,
}

/// The names of all parts of an owner's packs: binaries of twelve bytes more.
pub(crate) fn of_owner(owner: &[u8]) -> Document {
    let end = |byte: u8| binary(&[owner, &[byte; 12]].concat());
    doc! { "$gte": end(0), "$lte": end(255) }
}

/// How often something is tried that others may keep from happening.
pub(crate) const ATTEMPTS: usize = 100;

/// The error when they always did.
pub(crate) fn busy() -> Error {
    let message = "other writers of the thread came first, again and again";
    Error::new(ErrorKind::Unavailable, message)
}
