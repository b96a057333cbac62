//! Condemned packs, and removing chunks for good.

use std::collections::{BTreeMap, BTreeSet};

use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Condemned, CondemnedPack, Detail, Incarnation, ListCondemned, PackId, Reclaim, Reclaimed,
};
use mongodb::bson::{Bson, Document, doc};

use super::life::{Head, living, of_owner};
use super::row::{Record, State, fields};
use super::settle::MOST;
use crate::backend::Inner;
use crate::db::{Query, Update};
use crate::doc::{Doc, binary, int, pack_in};
use crate::names::{in_life, of_part};
use crate::parts::lengths;

impl Inner {
    /// The documents of packs condemned by this time, in the order of their packs, settled
    /// or not. Copies that were prepared and are of no use yet are not among them.
    pub(super) async fn condemned_records(
        &self,
        life: Incarnation,
        after: Option<PackId>,
        before_ms: u64,
    ) -> Result<Vec<Record>> {
        let mut from = doc! { "$lte": binary(&in_life(life, [255; 8])) };
        match after {
            Some(after) => from.insert("$gt", pack_in(life, after)),
            None => from.insert("$gte", binary(&in_life(life, [0; 8]))),
        };
        let mut wanted = fields(Detail::Keys);
        wanted.remove("lengths");
        let query = Query {
            filter: doc! { "condemned": from, "condemned_ms": { "$lte": int(before_ms) } },
            fields: wanted,
            sort: doc! { "condemned": 1 },
            ..Query::default()
        };
        let found = self.db.find(&self.db.records, query).await?.into_iter();
        let mut records = found.map(Record::read).collect::<Result<Vec<_>>>()?;
        let prepared: Vec<PackId> = records
            .iter()
            .filter(|record| record.prepared)
            .map(|record| record.pack)
            .collect();
        if !prepared.is_empty() {
            // Their packs may be the records' still.
            let packs = self.packs(life, prepared.iter().copied()).await?;
            records.retain(|record| {
                !record.prepared || packs.get(record.pack).is_some_and(|one| !one.is_there())
            });
        }
        Ok(records)
    }

    pub(super) async fn condemned(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        let Some(head) = self.head(&query.thread).await? else {
            return Ok(None);
        };
        let records = self
            .condemned_records(head.life, query.after, query.before_ms)
            .await?;
        let mut packs: Vec<CondemnedPack> = Vec::new();
        for record in records {
            let chunks = left(&record);
            let again = packs.last().is_some_and(|last| last.pack == record.pack);
            if !chunks.is_empty() && !again {
                packs.push(CondemnedPack {
                    pack: record.pack,
                    chunks,
                });
            }
        }
        packs.truncate(query.limit);
        Ok(Some(Condemned {
            incarnation: head.life,
            packs,
        }))
    }

    pub(super) async fn reclaim(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        for life in self.unburied(&reclaim.thread).await? {
            self.bury(&reclaim.thread, life).await?;
        }
        let head = self.head(&reclaim.thread).await?;
        let Some(head) = head.filter(|head| head.life == reclaim.incarnation) else {
            return Ok(Reclaimed::default());
        };
        let mut freed_bytes = 0;
        let dead: BTreeMap<PackId, &[u32]> = reclaim
            .dead
            .iter()
            .map(|(pack, ordinals)| (*pack, &ordinals[..]))
            .collect();
        let condemned = self
            .condemned_records(head.life, None, reclaim.before_ms)
            .await?;
        let open: Vec<&Record> = condemned
            .iter()
            .filter(|record| record.children.is_none())
            .collect();
        self.settle(head.life, &open).await?;
        let condemned = if open.is_empty() {
            condemned
        } else {
            self.condemned_records(head.life, None, reclaim.before_ms)
                .await?
        };
        let mut empty = Vec::new();
        let mut shrunk = Vec::new();
        for record in condemned {
            let dead = dead.get(&record.pack).copied().unwrap_or_default();
            let lost: BTreeSet<u32> = left(&record)
                .into_iter()
                .filter(|ordinal| dead.contains(ordinal))
                .collect();
            let bytes = lengths(&record.lengths).enumerate();
            let bytes = bytes.filter(|(n, _)| u32::try_from(*n).is_ok_and(|n| lost.contains(&n)));
            freed_bytes += bytes.map(|(_, length)| u64::from(length)).sum::<u64>();
            if lost.len() == left(&record).len() {
                empty.push(record);
            } else if !lost.is_empty() {
                shrunk.push((record, lost));
            }
        }
        self.shrink(head.life, shrunk).await?;
        self.purge(&reclaim.thread, head, empty).await?;
        self.drop_orphans(head.life, reclaim.before_ms).await?;
        self.sweep_parts(head.life, reclaim.before_ms).await?;
        Ok(Reclaimed {
            freed_bytes,
            live_bytes: self.live_bytes(head.life).await?,
        })
    }

    /// Takes chunks out of packs that keep others.
    async fn shrink(&self, life: Incarnation, packs: Vec<(Record, BTreeSet<u32>)>) -> Result<()> {
        let mut in_records = Vec::new();
        let mut in_parts = Vec::new();
        for (record, lost) in packs {
            let mut unset = Document::new();
            for ordinal in &lost {
                unset.insert(format!("chunks.{ordinal}"), "");
            }
            let gone: Vec<i64> = lost.iter().map(|ordinal| i64::from(*ordinal)).collect();
            let bytes: i64 = (0..)
                .zip(lengths(&record.lengths))
                .filter(|(ordinal, _)| lost.contains(ordinal))
                .map(|(_, length)| i64::from(length))
                .sum();
            let mut update = doc! {
                "$addToSet": { "gone": { "$each": gone } },
                "$inc": { "freed": bytes },
            };
            if record.parts.is_empty() {
                update.insert("$unset", unset);
            }
            for first in &record.parts {
                let later = record.parts.iter().filter(|other| *other > first).min();
                let mut unset = Document::new();
                let end = later.copied().unwrap_or(u32::MAX);
                for ordinal in lost.range(first..&end) {
                    unset.insert(format!("chunks.{ordinal}"), "");
                }
                if !unset.is_empty() {
                    in_parts.push(Update {
                        filter: doc! { "_id": binary(&of_part(&life.0, record.pack, *first)) },
                        update: doc! { "$unset": unset },
                    });
                }
            }
            in_records.push(Update {
                filter: doc! {
                    "_id": &record.id,
                    "pack": pack_in(life, record.pack),
                    "state": State::Condemned as i32,
                    "gone": { "$nin": lost.iter().map(|n| i64::from(*n)).collect::<Vec<_>>() },
                },
                update,
            });
        }
        self.db.update_each(&self.db.parts, in_parts).await?;
        self.db.update_each(&self.db.records, in_records).await
    }

    /// Deletes packs of which nothing is needed any more.
    ///
    /// A pack's children are written down at it; before it goes, each child that counts
    /// forgets that it borrowed from it, and each that does not is deleted.
    async fn purge(&self, thread: &str, head: Head, packs: Vec<Record>) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        // Whoever lists now, lists again.
        let told = doc! { "$inc": { "purges": 1_i64 } };
        let living = living(thread, head.life);
        if !self.db.update(&self.db.threads, living, told).await? {
            return Ok(());
        }
        let ids: Vec<&str> = packs.iter().map(|record| &*record.id).collect();
        for ids in ids.chunks(MOST) {
            self.drop_dead(ids).await?;
        }
        let mut adopted = Vec::new();
        for record in &packs {
            let parent = pack_in(head.life, record.pack);
            for child in record.children.iter().flatten() {
                adopted.push(Update {
                    filter: doc! { "pack": pack_in(head.life, *child) },
                    update: doc! { "$pull": { "from": parent.clone() } },
                });
            }
        }
        self.adopt(head.life, adopted, &packs).await?;
        for packs in packs.chunks(MOST) {
            let parts = packs.iter().flat_map(|record| {
                let names = record.parts.iter();
                names.map(|first| binary(&of_part(&head.life.0, record.pack, *first)))
            });
            let parts: Vec<Bson> = parts.collect();
            if !parts.is_empty() {
                let these = doc! { "_id": { "$in": parts } };
                self.db.delete(&self.db.parts, these).await?;
            }
            let these = packs.iter().map(|record| {
                Bson::from(doc! {
                    "_id": &record.id,
                    "pack": pack_in(head.life, record.pack),
                    "state": State::Condemned as i32,
                })
            });
            let these = doc! { "$or": these.collect::<Vec<_>>() };
            self.db.delete(&self.db.records, these).await?;
        }
        Ok(())
    }

    async fn adopt(&self, life: Incarnation, adopted: Vec<Update>, packs: &[Record]) -> Result<()> {
        // A child may have a copy beside it.
        for one in adopted {
            self.db
                .update_all(&self.db.records, one.filter, one.update)
                .await?;
        }
        for packs in packs.chunks(MOST) {
            let parents: Vec<Bson> = packs.iter().map(|one| pack_in(life, one.pack)).collect();
            let late = doc! { "from": { "$in": parents } };
            self.db.delete(&self.db.records, late).await?;
        }
        Ok(())
    }

    /// Deletes chunks that were written for commits which were never made.
    ///
    /// They are marked first; whoever commits looks at the marks after the record was
    /// written, and this looks for records after the marks.
    async fn sweep_parts(&self, life: Incarnation, before_ms: u64) -> Result<()> {
        let query = Query {
            filter: doc! { "_id": of_owner(&life.0), "time_ms": { "$lte": int(before_ms) } },
            fields: doc! { "_id": 1 },
            ..Query::default()
        };
        let mut names: BTreeMap<PackId, Vec<Bson>> = BTreeMap::new();
        for raw in self.db.find(&self.db.parts, query).await? {
            let doc = Doc::new("parts", raw);
            let name = doc.bytes("_id")?;
            let Some(pack) = name.get(8..16).and_then(|pack| pack.try_into().ok()) else {
                return Err(doc.foreign("_id"));
            };
            names.entry(PackId(pack)).or_default().push(binary(&name));
        }
        self.remove_known(life, &mut names).await?;
        let orphans: Vec<Bson> = names.values().flatten().cloned().collect();
        if orphans.is_empty() {
            return Ok(());
        }
        let these = doc! { "_id": { "$in": orphans } };
        let mark = doc! { "$set": { "swept": true } };
        self.db.update_all(&self.db.parts, these, mark).await?;
        self.remove_known(life, &mut names).await?;
        let orphans: Vec<Bson> = names.into_values().flatten().collect();
        let these = doc! { "_id": { "$in": orphans }, "swept": true };
        self.db.delete(&self.db.parts, these).await.map(drop)
    }

    /// Leaves those packs that neither a record nor a call of `put_writes` has.
    async fn remove_known(
        &self,
        life: Incarnation,
        names: &mut BTreeMap<PackId, Vec<Bson>>,
    ) -> Result<()> {
        let all: Vec<Bson> = names.keys().map(|pack| pack_in(life, *pack)).collect();
        for all in all.chunks(MOST) {
            for (of, field) in [(&self.db.records, "pack"), (&self.db.writes, "_id")] {
                let mut filter = Document::new();
                filter.insert(field, doc! { "$in": all });
                let mut wanted = Document::new();
                wanted.insert(field, 1);
                let query = Query {
                    filter,
                    fields: wanted,
                    ..Query::default()
                };
                for raw in self.db.find(of, query).await? {
                    let name = Doc::new("checkpoints", raw).bytes(field)?;
                    let (_, pack) = crate::names::of_life(&name)?;
                    names.remove(&pack);
                }
            }
        }
        Ok(())
    }

    /// Bytes of bodies and chunks when they were committed, of all packs that are there.
    async fn live_bytes(&self, life: Incarnation) -> Result<u64> {
        let sum = vec![
            doc! { "$match": { "pack": crate::doc::all_in(life) } },
            doc! { "$group": {
                "_id": 0,
                "bytes": { "$sum": "$bytes" },
                "freed": { "$sum": "$freed" },
            } },
        ];
        let found = self.db.aggregate(&self.db.records, sum).await?;
        match found.into_iter().next() {
            Some(raw) => {
                let sums = Doc::new("checkpoints", raw);
                Ok(sums.number("bytes")?.saturating_sub(sums.number("freed")?))
            }
            None => Ok(0),
        }
    }
}

/// The ordinals of the chunks that a pack still has.
fn left(record: &Record) -> Vec<u32> {
    let count = u32::try_from(record.lengths.len() / 4).unwrap_or(u32::MAX);
    let there = |ordinal: &u32| !record.gone.contains(ordinal);
    (0..count).filter(there).collect()
}
