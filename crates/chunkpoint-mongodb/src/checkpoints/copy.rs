//! Copying a thread: its documents under another life, which one insert then publishes.

use std::collections::{BTreeMap, BTreeSet};

use chunkpoint_core::backend::{Incarnation, PackId};
use chunkpoint_core::{Error, ErrorKind, Result, quote};
use mongodb::bson::raw::cstr;
use mongodb::bson::{RawDocumentBuf, doc};

use super::commit::in_range;
use super::life::{ATTEMPTS, Begun, busy};
use super::replace::append_but;
use super::row::{Record, State, fields};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{Doc, all_in, binary, raw_binary};
use crate::names::{ThreadNames, in_life};

/// Documents of packs read at once: each has a MiB and more at most.
const PACKS: usize = 16;

/// Documents of chunks read at once.
const PARTS: usize = 2;

/// Fields that a copy has of its own, or has not.
const LEFT_OUT: &[&str] = &[
    "_id",
    "thread",
    "pack",
    "state",
    "pinned",
    "from",
    "fence",
    "holds",
    "intent",
    "dead",
    "prepared",
    "condemned",
    "settled",
    "children",
];

impl Inner {
    pub(super) async fn copy(&self, source: &str, target: &str, fresh: Incarnation) -> Result<()> {
        if let Some(head) = self.head(target).await? {
            return if head.life == fresh {
                Ok(())
            } else {
                Err(exists(target))
            };
        }
        for _ in 0..ATTEMPTS {
            // What an attempt before has left.
            self.erase(fresh).await?;
            if !self.copy_documents(source, target, fresh).await? {
                continue;
            }
            return match self.begin(target, fresh).await? {
                // Ended: it was done before, and deleted since.
                Begun::Yes => Ok(()),
                Begun::Ended => self.erase(fresh).await,
                Begun::Other => {
                    if self.head(target).await?.map(|head| head.life) == Some(fresh) {
                        return Ok(());
                    }
                    self.erase(fresh).await?;
                    Err(exists(target))
                }
            };
        }
        Err(busy())
    }

    /// Copies what there is at one moment. `false`: something changed meanwhile.
    async fn copy_documents(&self, source: &str, target: &str, fresh: Incarnation) -> Result<bool> {
        let Some(head) = self.head(source).await? else {
            let message = format!("there is no thread {}", quote(source));
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let to = Target {
            from: ThreadNames::new(source),
            names: ThreadNames::new(target),
            life: fresh,
        };
        let all = self.all_packs(&to.from, head.life).await?;
        // What was there before the second look and not after, or comes later, is not of the
        // moment between them.
        if all != self.all_packs(&to.from, head.life).await? {
            return Ok(false);
        }
        let records: Vec<Record> = all.into_values().collect();
        let counted = self.counted(head, records).await?.counted;
        for packs in counted.chunks(PACKS) {
            if !self.copy_packs(head.life, packs, &to).await? {
                return Ok(false);
            }
        }
        let dead = self.copy_writes(head.life, &to, &counted).await?;
        let parts = counted.iter().filter(|record| !record.parts.is_empty());
        let parts: BTreeSet<PackId> = parts.map(|record| record.pack).chain(dead).collect();
        self.copy_parts(head.life, &parts, &to).await?;
        // Nothing was deleted for good, so nothing was missed.
        let now = self.head(source).await?;
        Ok(now.is_some_and(|now| now.life == head.life && now.purges == head.purges))
    }

    async fn all_packs(
        &self,
        names: &ThreadNames,
        life: Incarnation,
    ) -> Result<BTreeMap<String, Record>> {
        let mut filter = in_range(&names.all());
        filter.insert("pack", all_in(life));
        let query = Query {
            filter,
            fields: fields(chunkpoint_core::backend::Detail::Keys),
            sort: doc! { "_id": -1 },
            ..Query::default()
        };
        let found = self.db.find(&self.db.records, query).await?.into_iter();
        let records = found.map(|raw| Record::read(raw).map(|one| (one.id.clone(), one)));
        let mut records: BTreeMap<String, Record> = records.collect::<Result<_>>()?;
        // A copy that was prepared is of no use while the record has its pack.
        let own: BTreeSet<PackId> = records
            .values()
            .filter(|record| record.is_own())
            .map(|record| record.pack)
            .collect();
        records.retain(|_, record| record.is_own() || !own.contains(&record.pack));
        Ok(records)
    }

    async fn copy_packs(&self, life: Incarnation, packs: &[Record], to: &Target) -> Result<bool> {
        let ids: Vec<&str> = packs.iter().map(|record| &*record.id).collect();
        let query = Query {
            filter: doc! { "_id": { "$in": ids } },
            ..Query::default()
        };
        let mut found = BTreeMap::new();
        for raw in self.db.find(&self.db.records, query).await? {
            let doc = Doc::new("checkpoints", raw.clone());
            found.insert((doc.text("_id")?.to_owned(), doc.bytes("pack")?), raw);
        }
        let mut copies = Vec::new();
        for record in packs {
            let name = in_life(life, record.pack.0).to_vec().into();
            let Some(whole) = found.get(&(record.id.clone(), name)) else {
                return Ok(false);
            };
            copies.push(to.copy_of(record, whole)?);
        }
        self.db.insert_missing(&self.db.records, copies).await?;
        Ok(true)
    }

    /// Copies the pending writes; gives the names of those whose values lie apart.
    async fn copy_writes(
        &self,
        life: Incarnation,
        to: &Target,
        records: &[Record],
    ) -> Result<Vec<PackId>> {
        let removed: BTreeSet<Vec<u8>> = self.dead_writes(records).await?;
        let mut apart = Vec::new();
        let mut after = binary(&in_life(life, [0; 8]));
        let mut bound = "$gte";
        loop {
            let mut range = doc! { "$lte": binary(&in_life(life, [255; 8])) };
            range.insert(bound, after.clone());
            let query = Query {
                filter: doc! { "_id": range },
                sort: doc! { "_id": 1 },
                limit: 16,
                ..Query::default()
            };
            let found = self.db.find(&self.db.writes, query).await?;
            let Some(last) = found.last() else {
                return Ok(apart);
            };
            after = binary(&Doc::new("writes", last.clone()).bytes("_id")?);
            bound = "$gt";
            let mut copies = Vec::new();
            for raw in found {
                let doc = Doc::new("writes", raw.clone());
                let name = doc.bytes("_id")?;
                if removed.contains(&name[..]) {
                    continue;
                }
                let (_, id) = crate::names::of_life(&name)?;
                let Some(of) = to.renamed(doc.text("of")?, life) else {
                    return Err(doc.foreign("of"));
                };
                let mut copy = RawDocumentBuf::new();
                copy.append(cstr!("_id"), raw_binary(&in_life(to.life, id.0)));
                copy.append(cstr!("of"), of.as_str());
                append_but(&mut copy, &raw, &["_id", "of"])?;
                copies.push(copy);
                if doc.flag("apart")? {
                    apart.push(id);
                }
            }
            self.db.insert_missing(&self.db.writes, copies).await?;
        }
    }

    /// Pending writes that went with removed records, and are perhaps there still.
    async fn dead_writes(&self, records: &[Record]) -> Result<BTreeSet<Vec<u8>>> {
        let mut dead = BTreeSet::new();
        let removed: Vec<&str> = records
            .iter()
            .filter(|record| !record.is_there())
            .map(|record| &*record.id)
            .collect();
        for ids in removed.chunks(super::settle::MOST) {
            let query = Query {
                filter: doc! { "_id": { "$in": ids } },
                fields: doc! { "dead": 1 },
                ..Query::default()
            };
            for raw in self.db.find(&self.db.records, query).await? {
                let names = Doc::new("checkpoints", raw).array("dead", |name| match name {
                    mongodb::bson::RawBsonRef::Binary(name) => Some(name.bytes.to_vec()),
                    _ => None,
                })?;
                dead.extend(names);
            }
        }
        Ok(dead)
    }

    async fn copy_parts(
        &self,
        life: Incarnation,
        packs: &BTreeSet<PackId>,
        to: &Target,
    ) -> Result<()> {
        let owners = packs.iter().map(|pack| in_life(life, pack.0));
        let ranges = owners.map(|owner| {
            let end = |byte: u8| binary(&[&owner[..], &[byte; 4]].concat());
            (end(0), end(255))
        });
        for (first, last) in ranges {
            let query = Query {
                filter: doc! { "_id": { "$gte": first, "$lte": last } },
                fields: doc! { "_id": 1 },
                ..Query::default()
            };
            let mut names = Vec::new();
            for raw in self.db.find(&self.db.parts, query).await? {
                names.push(binary(&Doc::new("parts", raw).bytes("_id")?));
            }
            for names in names.chunks(PARTS) {
                let query = Query {
                    filter: doc! { "_id": { "$in": names } },
                    ..Query::default()
                };
                let mut copies = Vec::new();
                for raw in self.db.find(&self.db.parts, query).await? {
                    let name = Doc::new("parts", raw.clone()).bytes("_id")?;
                    let name = [&to.life.0[..], &name[8..]].concat();
                    let mut copy = RawDocumentBuf::new();
                    copy.append(cstr!("_id"), raw_binary(&name));
                    copy.append(cstr!("thread"), to.names.thread.as_str());
                    append_but(&mut copy, &raw, &["_id", "thread", "swept"])?;
                    copies.push(copy);
                }
                self.db.insert_missing(&self.db.parts, copies).await?;
            }
        }
        Ok(())
    }
}

/// Where a copy goes.
struct Target {
    from: ThreadNames,
    names: ThreadNames,
    life: Incarnation,
}

impl Target {
    /// The document of a pack in the copy. That it was right to borrow is settled: it stands
    /// on its own there.
    fn copy_of(&self, record: &Record, whole: &RawDocumentBuf) -> Result<RawDocumentBuf> {
        let mut copy = RawDocumentBuf::new();
        let id = if record.is_own() {
            self.names.record(&record.key, self.life)
        } else {
            self.names.former(&record.key, self.life, record.pack)
        };
        let pack = in_life(self.life, record.pack.0);
        copy.append(cstr!("_id"), id.as_str());
        copy.append(cstr!("thread"), self.names.thread.as_str());
        copy.append(cstr!("pack"), raw_binary(&pack));
        copy.append(cstr!("state"), record.state as i32);
        if record.pinned {
            copy.append(cstr!("pinned"), true);
        }
        if record.state == State::Condemned {
            copy.append(cstr!("condemned"), raw_binary(&pack));
            copy.append(cstr!("settled"), true);
        }
        append_but(&mut copy, whole, LEFT_OUT)?;
        Ok(copy)
    }

    /// The key of a record of the source, as that of the same in the target.
    fn renamed(&self, of: &str, life: Incarnation) -> Option<String> {
        let middle = of.strip_prefix(&self.from.thread)?;
        let middle = middle.strip_suffix(&format!("{life}~"))?;
        Some(format!("{}{middle}{}~", self.names.thread, self.life))
    }
}

impl PartialEq for Record {
    /// Whether nothing that a copy has differs.
    fn eq(&self, other: &Self) -> bool {
        let said = |record: &Self| {
            let (pack, state, pinned) = (record.pack, record.state, record.pinned);
            (pack, state, pinned, record.gone.clone())
        };
        self.id == other.id && said(self) == said(other)
    }
}

fn exists(thread: &str) -> Error {
    let message = format!("thread {} exists", quote(thread));
    Error::new(ErrorKind::Conflict, message)
}
