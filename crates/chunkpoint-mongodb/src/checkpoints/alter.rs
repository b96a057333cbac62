//! Removing, hiding and pinning: each is one update of the record's document.

use std::collections::{BTreeMap, BTreeSet};

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Alter, Altered, Change, Incarnation, RecordRef};
use mongodb::bson::{Bson, doc};

use super::life::{ATTEMPTS, busy};
use super::row::{Record, State, fields};
use crate::backend::Inner;
use crate::db::{Query, Update};
use crate::doc::{Doc, binary, int, pack_in};
use crate::names::ThreadNames;

/// Most changes at once.
const BATCH: usize = 500;

impl Inner {
    pub(super) async fn alter(&self, alter: Alter) -> Result<Vec<Altered>> {
        let gone = vec![Altered::Gone; alter.changes.len()];
        let head = self.head(&alter.thread).await?;
        let Some(head) = head.filter(|head| head.life == alter.incarnation) else {
            return Ok(gone);
        };
        let removes = |(_, change): &(RecordRef, Change)| *change == Change::Remove;
        if alter.changes.iter().any(removes) && !self.say_removals(&alter.thread, head).await? {
            return Ok(gone);
        }
        let names = ThreadNames::new(&alter.thread);
        let mut altered = Vec::with_capacity(gone.len());
        let mut rest = &alter.changes[..];
        while !rest.is_empty() {
            // Changes of one record come one after the other.
            let mut seen = BTreeSet::new();
            let count = rest
                .iter()
                .take(BATCH)
                .take_while(|(record, _)| seen.insert(&record.key))
                .count();
            let (batch, after) = rest.split_at(count);
            let batch = Batch {
                names: &names,
                life: alter.incarnation,
                time_ms: alter.time_ms,
                changes: batch,
                call: self.random()?,
            };
            altered.extend(self.alter_batch(&batch).await?);
            rest = after;
        }
        Ok(altered)
    }

    async fn alter_batch(&self, batch: &Batch<'_>) -> Result<Vec<Altered>> {
        let mut open: Vec<usize> = (0..batch.changes.len()).collect();
        let mut altered = vec![Altered::Gone; batch.changes.len()];
        let mut dead = BTreeMap::new();
        for _ in 0..ATTEMPTS {
            let removed: Vec<String> = open
                .iter()
                .filter(|n| batch.changes[**n].1 == Change::Remove)
                .map(|n| batch.id(*n))
                .collect();
            for (record, write) in self.write_names(&removed).await? {
                dead.entry(record).or_insert_with(Vec::new).push(write);
            }
            let updates = open.iter().map(|n| batch.update(*n, &dead)).collect();
            self.db.update_each(&self.db.records, updates).await?;
            let found = self.records_of(open.iter().map(|n| batch.id(*n))).await?;
            let mut again = Vec::new();
            for n in open {
                match batch.outcome(n, found.get(&batch.id(n))) {
                    Some(outcome) => altered[n] = outcome,
                    None => again.push(n),
                }
            }
            let condemned = found
                .values()
                .filter(|record| !record.is_there() && record.children.is_none());
            self.settle(batch.life, &condemned.collect::<Vec<_>>())
                .await?;
            if again.is_empty() {
                let ids = dead.keys().map(String::as_str).collect::<Vec<_>>();
                self.drop_dead(&ids).await?;
                return Ok(altered);
            }
            for n in &again {
                self.cancel_holders(&batch.id(*n)).await?;
            }
            open = again;
        }
        Err(busy())
    }

    /// Documents of records, by their keys.
    async fn records_of(
        &self,
        ids: impl Iterator<Item = String>,
    ) -> Result<BTreeMap<String, Record>> {
        let query = Query {
            filter: doc! { "_id": { "$in": ids.collect::<Vec<_>>() } },
            fields: fields(chunkpoint_core::backend::Detail::Keys),
            ..Query::default()
        };
        let found = self.db.find(&self.db.records, query).await?.into_iter();
        found
            .map(|raw| Record::read(raw).map(|record| (record.id.clone(), record)))
            .collect()
    }

    /// The pending writes of records: pairs of the two documents' keys.
    async fn write_names(&self, records: &[String]) -> Result<Vec<(String, Bson)>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let query = Query {
            filter: doc! { "of": { "$in": records } },
            fields: doc! { "of": 1 },
            ..Query::default()
        };
        let found = self.db.find(&self.db.writes, query).await?.into_iter();
        let pairs = found.map(|raw| {
            let doc = Doc::new("writes", raw);
            Ok((doc.text("of")?.to_owned(), binary(&doc.bytes("_id")?)))
        });
        pairs.collect()
    }

    /// Deletes the pending writes that go with removed records.
    pub(super) async fn drop_dead(&self, ids: &[&str]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let removed = Query {
            filter: doc! {
                "_id": { "$in": ids },
                "state": State::Condemned as i32,
                "dead.0": { "$exists": true },
            },
            fields: doc! { "dead": 1 },
            ..Query::default()
        };
        let mut names = Vec::new();
        for raw in self.db.find(&self.db.records, removed).await? {
            let doc = Doc::new("checkpoints", raw);
            names.extend(doc.array("dead", |name| match name {
                mongodb::bson::RawBsonRef::Binary(name) => Some(name.bytes.to_vec()),
                _ => None,
            })?);
        }
        if names.is_empty() {
            return Ok(());
        }
        let these: Vec<Bson> = names.iter().map(|name| binary(name)).collect();
        let these = doc! { "_id": { "$in": these } };
        self.db.delete(&self.db.writes, these).await?;
        // A call that is repeated from now on is of the next record of that name.
        let removed = doc! { "_id": { "$in": ids }, "state": State::Condemned as i32 };
        let unset = doc! { "$unset": { "dead": "" } };
        self.db.update_all(&self.db.records, removed, unset).await
    }

    /// Keeps every re-put from happening that borrows from a record, and lets go of that.
    pub(super) async fn cancel_holders(&self, id: &str) -> Result<()> {
        let query = Query {
            filter: doc! { "_id": id },
            fields: doc! { "holds": 1 },
            limit: 1,
            ..Query::default()
        };
        for raw in self.db.find(&self.db.records, query).await? {
            for hold in Doc::new("checkpoints", raw).documents("holds")? {
                let intent = binary(&hold.bytes("intent")?);
                let holder = doc! { "_id": hold.text("id")?, "intent": intent.clone() };
                let cancel = doc! { "$unset": { "intent": "" } };
                self.db.update(&self.db.records, holder, cancel).await?;
                let pull = doc! { "$pull": { "holds": { "intent": intent } } };
                let this = doc! { "_id": id };
                self.db.update(&self.db.records, this, pull).await?;
            }
        }
        Ok(())
    }
}

/// Changes of as many records.
struct Batch<'a> {
    names: &'a ThreadNames,
    life: Incarnation,
    time_ms: u64,
    changes: &'a [(RecordRef, Change)],
    /// Tells what this call has removed from what was removed before.
    call: [u8; 8],
}

impl Batch<'_> {
    fn id(&self, n: usize) -> String {
        self.names.record(&self.changes[n].0.key, self.life)
    }

    fn update(&self, n: usize, dead: &BTreeMap<String, Vec<Bson>>) -> Update {
        let (record, change) = &self.changes[n];
        let id = self.id(n);
        let pack = pack_in(self.life, record.pack);
        let there = doc! { "$ne": State::Condemned as i32 };
        let mut filter = doc! { "_id": &id, "pack": pack.clone(), "state": there };
        let update = match change {
            Change::Remove => {
                filter.insert("pinned", doc! { "$ne": true });
                filter.insert("holds.0", doc! { "$exists": false });
                let mut set = doc! {
                    "state": State::Condemned as i32,
                    "condemned": pack,
                    "condemned_ms": int(self.time_ms),
                    "removed_by": binary(&self.call),
                };
                if let Some(dead) = dead.get(&id) {
                    set.insert("dead", dead.clone());
                }
                doc! { "$set": set, "$unset": { "intent": "" } }
            }
            Change::Hide => {
                filter.insert("pinned", doc! { "$ne": true });
                doc! { "$set": { "state": State::Hidden as i32 } }
            }
            Change::Pin(true) => doc! { "$set": { "pinned": true } },
            Change::Pin(false) => doc! { "$unset": { "pinned": "" } },
        };
        Update { filter, update }
    }

    /// What became of a change, by the record as it is afterwards. `None`: it has to be
    /// tried again.
    fn outcome(&self, n: usize, found: Option<&Record>) -> Option<Altered> {
        let (record, change) = &self.changes[n];
        let Some(found) = found.filter(|found| found.pack == record.pack) else {
            return Some(Altered::Gone);
        };
        match change {
            Change::Remove if found.removed_by == Some(self.call) => Some(Altered::Done),
            _ if !found.is_there() => Some(Altered::Gone),
            Change::Remove | Change::Hide if found.pinned => Some(Altered::Pinned),
            Change::Remove => None,
            Change::Hide => (found.state == State::Hidden).then_some(Altered::Done),
            Change::Pin(pinned) => (found.pinned == *pinned).then_some(Altered::Done),
        }
    }
}
