//! Changes of items.
//!
//! Most are one update whose condition is the expectation, and which inserts the item where
//! it may be new. What that does not fit is read, judged, and written if nothing has changed
//! meanwhile.

use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{Changed, Expect, ItemChange, PutItem, REMEMBERED};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::{StreamExt, stream};
use mongodb::bson::raw::cstr;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use super::read::owner;
use super::row::{Item, PackCopy, fields, id_of};
use crate::backend::Inner;
use crate::checkpoints::life::{ATTEMPTS, busy};
use crate::db::{Inserted, Query};
use crate::doc::{Doc, binary, int, raw_binary};
use crate::metadata;
use crate::names::of_copy;
use crate::parts::{PART, apart};

/// Changes under way at once.
const AT_ONCE: usize = 16;

/// Most bytes of a value that the server can look into.
const VALUE: usize = 16 << 10;

impl Inner {
    pub(super) async fn change_items(&self, changes: Vec<ItemChange>) -> Vec<Result<Changed>> {
        let changes = stream::iter(changes).map(|change| async move { self.change(&change).await });
        changes.buffered(AT_ONCE).collect().await
    }

    async fn change(&self, change: &ItemChange) -> Result<Changed> {
        let id = id_of(change.key());
        match change {
            ItemChange::Put(put) => {
                check(put)?;
                if !put.chunks.is_empty() {
                    return self.put_with_chunks(&id, put, change).await;
                }
                if put.row.packs.is_empty()
                    && let Some(done) = self.put_plainly(&id, put).await?
                {
                    return Ok(done);
                }
            }
            ItemChange::Renew {
                version,
                expires_ms,
                ..
            } => return self.renew(&id, *version, *expires_ms).await,
            ItemChange::Delete { .. } => {}
        }
        let changed = self.read_and_write(&id, change, None, None).await?;
        changed.ok_or_else(busy)
    }

    /// A put with chunks: announces them in the item's document, writes them, then has the item
    /// list them if they are announced still.
    async fn put_with_chunks(
        &self,
        id: &str,
        put: &PutItem,
        change: &ItemChange,
    ) -> Result<Changed> {
        for _ in 0..ATTEMPTS {
            let own = PackCopy {
                pack: put.row.version,
                copy: self.random()?,
            };
            let item = self.announce(id, own, put.row.updated_ms).await?;
            // What cannot be is said before the bytes are moved.
            if let Judged::Write { .. } = judge(item.as_ref(), change, Some(own)) {
                self.write_copy(id, own, put).await?;
            }
            if let Some(changed) = self.read_and_write(id, change, Some(own), item).await? {
                return Ok(changed);
            }
        }
        Err(busy())
    }

    /// Has the item know a copy of a pack that is about to be written, as one that it does not
    /// list; unless it knows this put already. Gives the item as it is then.
    async fn announce(&self, id: &str, own: PackCopy, now_ms: u64) -> Result<Option<Item>> {
        let new = doc! { "_id": id, "ids": { "$ne": binary(&own.pack.0) } };
        let update = doc! {
            "$push": { "garbage": { "pack": own.to_bson(), "since_ms": int(now_ms) } },
            "$min": { "due": int(now_ms) },
            "$inc": { "rev": 1_i64 },
            // Until the put is done, there is no item.
            "$setOnInsert": { "gone_ms": int(now_ms) },
        };
        let known = self
            .db
            .upsert(&self.db.items, new, update, true, without_body());
        match known.await? {
            Some(item) => Item::read(item).map(Some),
            // It knows the put; or somebody else was quicker to make its document.
            None => self.item(id).await,
        }
    }

    /// Writes a copy of the chunks of a put, which are nobody's yet.
    async fn write_copy(&self, id: &str, own: PackCopy, put: &PutItem) -> Result<()> {
        let owner = owner(id);
        let documents = apart(&put.chunks).into_iter().map(|(first, chunks)| {
            let mut document = RawDocumentBuf::new();
            let name = of_copy(&owner, own.pack, first, own.copy);
            document.append(cstr!("_id"), raw_binary(&name));
            document.append(cstr!("item"), id);
            document.append(cstr!("pack"), raw_binary(&own.to_bytes()));
            // Until a sweep has found that the item lists it.
            document.append(cstr!("due"), int(put.row.updated_ms));
            document.append(cstr!("chunks"), &chunks);
            document
        });
        self.db
            .insert_missing(&self.db.packs, documents.collect())
            .await
    }

    /// Reads an item, unless it was just read, judges a change of it, and writes it if nothing
    /// has changed meanwhile. `own` is the copy of the chunks that it brings. `None`: that
    /// was swept before it was listed.
    async fn read_and_write(
        &self,
        id: &str,
        change: &ItemChange,
        own: Option<PackCopy>,
        mut known: Option<Item>,
    ) -> Result<Option<Changed>> {
        for _ in 0..ATTEMPTS {
            let item = match known.take() {
                Some(item) => Some(item),
                None => self.item(id).await?,
            };
            match judge(item.as_ref(), change, own) {
                Judged::Nothing(changed) => return Ok(Some(changed)),
                Judged::Swept => return Ok(None),
                Judged::Write { set, unset, done } => {
                    if self.write(id, item.as_ref(), set, unset).await? {
                        return Ok(Some(done));
                    }
                }
            }
        }
        Err(busy())
    }

    /// A put that uses no packs, of an item that has none: one update. `None`: it does not fit
    /// the item as it is.
    async fn put_plainly(&self, id: &str, put: &PutItem) -> Result<Option<Changed>> {
        let row = &put.row;
        let write_id = binary(&row.version.0);
        let mut filter = doc! {
            "_id": id,
            "ids": { "$ne": write_id.clone() },
            "gone_ms": { "$exists": false },
            "packs.0": { "$exists": false },
            "$or": [
                { "expires_ms": { "$exists": false } },
                { "expires_ms": { "$gt": int(row.updated_ms) } },
            ],
        };
        let upsert = match put.expect {
            Expect::Any => true,
            Expect::Version(version) => {
                filter.insert("version", binary(&version.0));
                false
            }
            // Only a new one fits.
            Expect::Absent => return self.insert_new(id, put).await,
        };
        let (set, unset) = content(put, &[]);
        let update = doc! {
            "$set": set,
            "$unset": unset,
            "$setOnInsert": { "created_ms": int(row.created_ms) },
            "$inc": { "rev": 1_i64 },
            "$push": { "ids": {
                "$each": [write_id],
                "$position": 0,
                "$slice": i32::try_from(REMEMBERED).unwrap_or(i32::MAX),
            } },
        };
        let created = self
            .db
            .upsert(
                &self.db.items,
                filter,
                update,
                upsert,
                doc! { "created_ms": 1 },
            )
            .await?;
        created
            .map(|raw| {
                let created_ms = Doc::new("items", raw).number("created_ms")?;
                Ok(Changed::Done { created_ms })
            })
            .transpose()
    }

    /// A put of an item that has to be new. `None`: there is something.
    async fn insert_new(&self, id: &str, put: &PutItem) -> Result<Option<Changed>> {
        let (mut new, _) = content(put, &[]);
        new.insert("_id", id);
        new.insert("created_ms", int(put.row.created_ms));
        new.insert("rev", 1_i64);
        new.insert("ids", vec![binary(&put.row.version.0)]);
        let new = raw(&new)?;
        Ok(match self.db.insert(&self.db.items, &new).await? {
            Inserted::Yes => Some(Changed::Done {
                created_ms: put.row.created_ms,
            }),
            Inserted::Duplicate => None,
        })
    }

    async fn renew(&self, id: &str, version: PackId, expires_ms: u64) -> Result<Changed> {
        for _ in 0..ATTEMPTS {
            let Some(item) = self.item(id).await? else {
                return Ok(Changed::Conflict(None));
            };
            let Some(row) = &item.row else {
                return Ok(Changed::Conflict(None));
            };
            if row.version != version {
                return Ok(Changed::Conflict(Some(row.version)));
            }
            let set = doc! { "expires_ms": int(expires_ms) };
            if self.write(id, Some(&item), set, Document::new()).await? {
                return Ok(Changed::Done {
                    created_ms: row.created_ms,
                });
            }
        }
        Err(busy())
    }

    pub(super) async fn item(&self, id: &str) -> Result<Option<Item>> {
        let query = Query {
            filter: doc! { "_id": id },
            fields: without_body(),
            limit: 1,
            ..Query::default()
        };
        let found = self.db.find(&self.db.items, query).await?;
        found.into_iter().next().map(Item::read).transpose()
    }

    /// Writes an item that was read, unless it has changed since.
    async fn write(
        &self,
        id: &str,
        item: Option<&Item>,
        set: Document,
        unset: Document,
    ) -> Result<bool> {
        let Some(item) = item else {
            let mut new = set;
            new.insert("_id", id);
            new.insert("rev", 1_i64);
            let inserted = self.db.insert(&self.db.items, &raw(&new)?).await?;
            return Ok(inserted == Inserted::Yes);
        };
        let mut update = doc! { "$set": set, "$inc": { "rev": 1_i64 } };
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        self.db
            .update(&self.db.items, item.unchanged(), update)
            .await
    }
}

/// What a change comes to for an item as it was read.
enum Judged {
    Nothing(Changed),
    Write {
        set: Document,
        unset: Document,
        done: Changed,
    },
    /// The chunks that it brings are not announced any more.
    Swept,
}

fn judge(item: Option<&Item>, change: &ItemChange, own: Option<PackCopy>) -> Judged {
    let (write_id, expect, now_ms) = match change {
        ItemChange::Put(put) => (put.row.version, put.expect, put.row.updated_ms),
        ItemChange::Delete {
            write_id,
            expect,
            now_ms,
            ..
        } => (*write_id, *expect, *now_ms),
        ItemChange::Renew { version, .. } => {
            return Judged::Nothing(Changed::Conflict(Some(*version)));
        }
    };
    let row = item.and_then(|item| item.row.as_ref());
    let created_ms = row.map_or(0, |row| row.created_ms);
    if item.is_some_and(|item| item.ids.contains(&write_id)) {
        return Judged::Nothing(Changed::Done { created_ms });
    }
    let there = row.filter(|row| !row.is_expired(now_ms));
    let version = there.map(|row| row.version);
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => version.is_none(),
        Expect::Version(expected) => version == Some(expected),
    };
    if !holds {
        return Judged::Nothing(Changed::Conflict(version));
    }
    let listed = item.map_or(&[][..], |item| &item.listed);
    let garbage = item.map_or(&[][..], |item| &item.garbage);
    let (mut set, mut unset, keeps, created_ms) = match change {
        ItemChange::Put(put) => {
            let mut keeps = Vec::new();
            for pack in &put.row.packs {
                let mut known = listed.iter().chain(garbage.iter().map(|(copy, _)| copy));
                // Of its own pack only the copy that it wrote itself: another may be half written.
                let mine = *pack == write_id;
                let found = match mine {
                    true => known.find(|copy| Some(**copy) == own),
                    false => known.find(|copy| copy.pack == *pack),
                };
                match found {
                    Some(copy) => keeps.push(*copy),
                    None if mine => return Judged::Swept,
                    None => return Judged::Nothing(Changed::Conflict(version)),
                }
            }
            let created_ms = there.map_or(put.row.created_ms, |row| row.created_ms);
            let (mut set, mut unset) = content(put, &keeps);
            set.insert("created_ms", int(created_ms));
            unset.insert("gone_ms", "");
            (set, unset, keeps, created_ms)
        }
        _ => {
            let set = doc! { "gone_ms": int(now_ms) };
            (set, removed(), Vec::new(), 0)
        }
    };
    let mut left: Vec<(PackCopy, u64)> = garbage
        .iter()
        .copied()
        .filter(|(pack, _)| !keeps.contains(pack))
        .collect();
    let fresh = listed.iter().filter(|pack| !keeps.contains(pack));
    left.extend(fresh.map(|pack| (*pack, now_ms)));
    let gone_ms = matches!(change, ItemChange::Delete { .. }).then_some(now_ms);
    note_garbage(&left, gone_ms, &mut set, &mut unset);
    let ids = item.map_or(&[][..], |item| &item.ids).iter();
    let ids = std::iter::once(&write_id).chain(ids).take(REMEMBERED);
    let ids: Vec<Bson> = ids.map(|id| binary(&id.0)).collect();
    set.insert("ids", ids);
    Judged::Write {
        set,
        unset,
        done: Changed::Done { created_ms },
    }
}

/// Says which packs are not listed any more, and when a sweep has to come for them, or for
/// what is remembered of an item that was removed.
pub(super) fn note_garbage(
    left: &[(PackCopy, u64)],
    gone_ms: Option<u64>,
    set: &mut Document,
    unset: &mut Document,
) {
    let due = left.iter().map(|(_, since)| *since).chain(gone_ms).min();
    match due {
        Some(due) => set.insert("due", int(due)).map(drop),
        None => unset.insert("due", "").map(drop),
    };
    if left.is_empty() {
        unset.insert("garbage", "");
        return;
    }
    let garbage = left
        .iter()
        .map(|(pack, since)| Bson::from(doc! { "pack": pack.to_bson(), "since_ms": int(*since) }));
    set.insert("garbage", garbage.collect::<Vec<_>>());
}

/// The fields that an item has no longer once it is removed.
pub(super) fn removed() -> Document {
    doc! {
        "version": "", "created_ms": "", "updated_ms": "", "ttl_ms": "", "expires_ms": "",
        "packs": "", "body": "", "value": "",
    }
}

/// The fields that come with a put, and those that go.
fn content(put: &PutItem, packs: &[PackCopy]) -> (Document, Document) {
    let row = &put.row;
    let mut set = doc! {
        "version": binary(&row.version.0),
        "updated_ms": int(row.updated_ms),
        "body": binary(&row.body),
    };
    let mut unset = Document::new();
    let mut either = |name: &str, value: Option<Bson>| {
        match value {
            Some(value) => set.insert(name, value),
            None => unset.insert(name, ""),
        };
    };
    either("ttl_ms", row.ttl_ms.map(|ttl| int(ttl).into()));
    either("expires_ms", row.expires_ms.map(|time| int(time).into()));
    let packs: Vec<Bson> = packs.iter().map(|pack| pack.to_bson()).collect();
    either("packs", (!packs.is_empty()).then_some(packs.into()));
    let value = put.value.as_ref();
    let value = value.and_then(|value| metadata::exact(value, VALUE));
    let value = value.and_then(|value| Document::try_from(value).ok());
    either("value", value.map(Bson::from));
    (set, unset)
}

fn check(put: &PutItem) -> Result<()> {
    let most = PART;
    for part in put.chunks.iter().chain([&put.row.body]) {
        if part.len() > most {
            let message = format!(
                "a part of a value has {} bytes; at most {most} are accepted",
                part.len()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
    }
    Ok(())
}

/// What is read of an item to change it.
pub(super) fn without_body() -> Document {
    let mut wanted = fields();
    wanted.insert("body", 0);
    wanted
}

fn raw(document: &Document) -> Result<RawDocumentBuf> {
    RawDocumentBuf::try_from(document)
        .map_err(|e| Error::corrupt("a document could not be made").source(e))
}
