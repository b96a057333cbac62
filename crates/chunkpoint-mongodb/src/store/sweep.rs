//! Removing what has expired, packs that no item lists, and what is remembered of items that
//! were removed.

use std::collections::BTreeMap;

use chunkpoint_core::Result;
use chunkpoint_core::store_backend::{SweepItems, SweptItems};
use mongodb::bson::{Document, doc};

use super::change::{note_garbage, removed, without_body};
use super::read::of_pack;
use super::row::{Item, PackCopy};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{Doc, int};

/// Most documents looked at by one sweep, of each kind.
const MOST: usize = 1_000;

impl Inner {
    pub(super) async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let mut swept = SweptItems::default();
        let limit = sweep.limit.clamp(1, MOST);
        let before = doc! { "$lte": int(sweep.before_ms) };

        let expired = self.due("expires_ms", &before, limit).await?;
        swept.more |= expired.len() == limit;
        for item in expired {
            swept.expired += u64::from(self.expire(&item, sweep.before_ms).await?);
        }
        let due = self.due("due", &before, limit).await?;
        swept.more |= due.len() == limit;
        for item in due {
            swept.packs += self.clean(item, sweep.before_ms).await?;
        }
        let query = Query {
            filter: doc! { "due": before },
            fields: doc! { "item": 1, "pack": 1, "due": 1 },
            sort: doc! { "due": 1 },
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        };
        let found = self.db.find(&self.db.packs, query).await?;
        swept.more |= found.len() == limit;
        let mut packs: BTreeMap<(String, PackCopy), u64> = BTreeMap::new();
        for raw in found {
            let doc = Doc::new("packs", raw);
            let name = (doc.text("item")?.to_owned(), PackCopy::read(&doc)?);
            packs.insert(name, doc.number("due")?);
        }
        for ((id, pack), due) in packs {
            swept.packs += u64::from(self.look_at(&id, pack, due).await?);
        }
        Ok(swept)
    }

    async fn due(&self, field: &str, before: &Document, limit: usize) -> Result<Vec<Item>> {
        let (mut filter, mut sort) = (Document::new(), Document::new());
        filter.insert(field, before.clone());
        sort.insert(field, 1);
        let query = Query {
            filter,
            fields: without_body(),
            sort,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        };
        let found = self.db.find(&self.db.items, query).await?.into_iter();
        found.map(Item::read).collect()
    }

    /// Removes an item that has expired, unless it has changed since.
    async fn expire(&self, item: &Item, before_ms: u64) -> Result<bool> {
        let Some(row) = &item.row else {
            return Ok(false);
        };
        if row.packs.is_empty() && item.garbage.is_empty() {
            let deleted = self.db.delete(&self.db.items, item.unchanged()).await?;
            return Ok(deleted > 0);
        }
        let mut left = item.garbage.clone();
        left.extend(item.listed.iter().map(|pack| (*pack, before_ms)));
        let mut set = doc! { "gone_ms": int(before_ms) };
        let mut unset = removed();
        note_garbage(&left, Some(before_ms), &mut set, &mut unset);
        let update = doc! { "$set": set, "$unset": unset, "$inc": { "rev": 1_i64 } };
        self.db
            .update(&self.db.items, item.unchanged(), update)
            .await
    }

    /// Deletes the packs that an item has listed no longer since before this time, and the
    /// item's trace if it was removed before; says how many packs.
    async fn clean(&self, item: Item, before_ms: u64) -> Result<u64> {
        let (old, left): (Vec<_>, Vec<_>) = item
            .garbage
            .iter()
            .copied()
            .partition(|(_, since)| *since <= before_ms);
        for (pack, since) in &old {
            // Should this end here, the pack is found by its own time.
            let due = doc! { "$set": { "due": int(*since) } };
            let documents = of_pack(&item.id, *pack);
            self.db.update_all(&self.db.packs, documents, due).await?;
        }
        let forget = item.gone_ms.is_some_and(|gone| gone <= before_ms) && left.is_empty();
        let changed = if forget {
            self.db.delete(&self.db.items, item.unchanged()).await? > 0
        } else {
            let (mut set, mut unset) = (Document::new(), Document::new());
            note_garbage(&left, item.gone_ms, &mut set, &mut unset);
            let mut update = doc! { "$inc": { "rev": 1_i64 } };
            if !set.is_empty() {
                update.insert("$set", set);
            }
            if !unset.is_empty() {
                update.insert("$unset", unset);
            }
            self.db
                .update(&self.db.items, item.unchanged(), update)
                .await?
        };
        if !changed {
            return Ok(0);
        }
        let mut swept = 0;
        for (pack, _) in &old {
            let documents = of_pack(&item.id, *pack);
            // A put may have got no further than to announce it.
            swept += u64::from(self.db.delete(&self.db.packs, documents).await? > 0);
        }
        Ok(swept)
    }

    /// Looks at a pack that may be nobody's; says whether it was, and is deleted.
    async fn look_at(&self, id: &str, pack: PackCopy, due: u64) -> Result<bool> {
        let item = self.item(id).await?;
        let documents = of_pack(id, pack);
        if let Some(item) = item {
            if item.listed.contains(&pack) {
                // Found again by the item, once that lists it no longer.
                let mut documents = documents;
                documents.insert("due", int(due));
                let looked = doc! { "$unset": { "due": "" } };
                self.db
                    .update_all(&self.db.packs, documents, looked)
                    .await?;
                return Ok(false);
            }
            if item.garbage.iter().any(|(known, _)| *known == pack) {
                return Ok(false);
            }
        }
        // It was announced before it was written. The item does not know it any more, so it
        // never will.
        Ok(self.db.delete(&self.db.packs, documents).await? > 0)
    }
}
