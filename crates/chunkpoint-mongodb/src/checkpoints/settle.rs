//! Whether a pack counts: what it borrows from was there when it came.
//!
//! A commit writes its pack, then looks whether what it borrows from is still there. Who
//! removes a record marks it first, then writes down, once and for ever, which children it
//! has: the pack is **settled**. So one of the two sees the other, and everybody finds the
//! same: a child counts if what it borrows from is there, or has it among its children.

use std::collections::{BTreeMap, BTreeSet};

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Incarnation, PackId};
use mongodb::bson::{Bson, Document, doc};

use super::life::{ATTEMPTS, busy};
use super::row::{Record, State};
use crate::backend::Inner;
use crate::db::{Query, Update};
use crate::doc::pack_in;

/// Most packs that one query names.
pub(super) const MOST: usize = 1_000;

/// What is read of a pack to judge its children.
fn standing() -> Document {
    doc! { "body": 0, "chunks": 0, "lengths": 0, "metadata": 0 }
}

/// The documents of packs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Packs(BTreeMap<PackId, Vec<Record>>);

impl Packs {
    pub(super) fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut packs = Self::default();
        for record in records {
            packs.0.entry(record.pack).or_default().push(record);
        }
        packs
    }

    /// The document that says what a pack is: the record's own, if it has that pack. A copy
    /// that was prepared and is not needed yet, or any more, may lie beside it.
    pub(super) fn get(&self, pack: PackId) -> Option<&Record> {
        let documents = self.0.get(&pack)?;
        let own = documents.iter().find(|record| record.is_own());
        own.or_else(|| documents.first())
    }

    /// Whether nobody has written down the children of a condemned pack.
    fn unsettled(&self) -> impl Iterator<Item = &Record> {
        let all = self.0.keys().filter_map(|pack| self.get(*pack));
        all.filter(|record| !record.is_there() && record.children.is_none())
    }

    /// Whether a child counts as far as one that it borrows from is concerned.
    fn accepts(&self, parent: PackId, child: PackId) -> bool {
        self.get(parent).is_some_and(|record| {
            record.is_there()
                || record
                    .children
                    .as_ref()
                    .is_some_and(|children| children.contains(&child))
        })
    }
}

impl Inner {
    /// Reads the documents of packs.
    pub(super) async fn packs(
        &self,
        life: Incarnation,
        packs: impl IntoIterator<Item = PackId>,
    ) -> Result<Packs> {
        let names: Vec<Bson> = packs.into_iter().map(|pack| pack_in(life, pack)).collect();
        let mut found = Vec::new();
        for names in names.chunks(MOST) {
            let query = Query {
                filter: doc! { "pack": { "$in": names } },
                fields: standing(),
                ..Query::default()
            };
            for raw in self.db.find(&self.db.records, query).await? {
                found.push(Record::read(raw)?);
            }
        }
        Ok(Packs::of(found))
    }

    /// Which of these packs do not count. Each comes with what it borrows from.
    pub(super) async fn excluded(
        &self,
        life: Incarnation,
        children: &[(PackId, &[PackId])],
    ) -> Result<BTreeSet<PackId>> {
        let parents: BTreeSet<PackId> = children
            .iter()
            .flat_map(|(_, from)| from.iter().copied())
            .collect();
        if parents.is_empty() {
            return Ok(BTreeSet::new());
        }
        let packs = self.settled(life, &parents).await?;
        let excluded = children
            .iter()
            .filter(|(child, from)| from.iter().any(|parent| !packs.accepts(*parent, *child)));
        Ok(excluded.map(|(child, _)| *child).collect())
    }

    /// Reads the documents of packs, after settling those that are condemned.
    async fn settled(&self, life: Incarnation, names: &BTreeSet<PackId>) -> Result<Packs> {
        for _ in 0..ATTEMPTS {
            let packs = self.packs(life, names.iter().copied()).await?;
            let unsettled: Vec<_> = packs.unsettled().collect();
            if unsettled.is_empty() {
                return Ok(packs);
            }
            self.settle(life, &unsettled).await?;
        }
        Err(busy())
    }

    /// Writes down which children these condemned packs have now, unless that was done.
    pub(super) async fn settle(&self, life: Incarnation, condemned: &[&Record]) -> Result<()> {
        for batch in condemned.chunks(MOST) {
            let names: Vec<Bson> = batch.iter().map(|one| pack_in(life, one.pack)).collect();
            let query = Query {
                filter: doc! { "from": { "$in": names } },
                fields: standing(),
                ..Query::default()
            };
            let mut children: BTreeMap<PackId, BTreeSet<PackId>> = BTreeMap::new();
            for raw in self.db.find(&self.db.records, query).await? {
                let child = Record::read(raw)?;
                for parent in &child.from {
                    children.entry(*parent).or_default().insert(child.pack);
                }
            }
            let updates = batch.iter().map(|one| {
                let children = children.get(&one.pack).into_iter().flatten();
                let children: Vec<Bson> = children.map(|child| pack_in(life, *child)).collect();
                Update {
                    filter: doc! {
                        "_id": &one.id,
                        "pack": pack_in(life, one.pack),
                        "state": State::Condemned as i32,
                        "settled": { "$exists": false },
                    },
                    update: doc! {
                        "$set": { "settled": true, "children": children },
                        "$unset": { "prepared": "" },
                    },
                }
            });
            self.db
                .update_each(&self.db.records, updates.collect())
                .await?;
        }
        Ok(())
    }
}
