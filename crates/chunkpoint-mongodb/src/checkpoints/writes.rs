//! Pending writes: one document a call.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    ChunkName, Detail, Incarnation, PackId, PendingWrite, PutWrites, RecordRow,
};
use mongodb::bson::raw::{RawArrayBuf, cstr};
use mongodb::bson::{RawDocumentBuf, doc};

use super::commit::swept;
use super::settle::MOST;
use crate::backend::Inner;
use crate::db::{Inserted, Query};
use crate::doc::{Doc, binary, int, raw_binary};
use crate::names::{ThreadNames, in_life, of_life};
use crate::parts::lay_out;

/// Most bytes of values in the document of a call; larger ones lie as chunks do.
const INLINE: usize = 8 << 20;

impl Inner {
    pub(super) async fn put_writes(&self, put: PutWrites) -> Result<()> {
        // Sent again after the life it had started was ended: there is nothing left to add to.
        let Some(head) = self.start(&put.thread, put.fresh).await? else {
            return Ok(());
        };
        let life = head.life;
        let names = ThreadNames::new(&put.thread);
        let of = names.record(&put.key, life);
        let query = Query {
            filter: doc! { "of": &of },
            fields: doc! { "number": 1 },
            sort: doc! { "of": -1, "number": -1 },
            limit: 1,
        };
        let last = self.db.find(&self.db.writes, query).await?.into_iter();
        let last = last.map(|raw| Doc::new("writes", raw).number("number"));
        let last = last.collect::<Result<Vec<_>>>()?.pop();
        let values: usize = put.writes.iter().map(|write| write.value.len()).sum();
        let apart = values > INLINE;
        let mut firsts = Vec::new();
        if apart {
            let values = put.writes.iter().map(|write| write.value.clone());
            let values: Vec<Bytes> = values.collect();
            let stored = lay_out(&names.thread, life, put.write_id, put.time_ms, &values);
            self.db.insert_missing(&self.db.parts, stored.parts).await?;
            firsts = stored.firsts;
        }
        let mut new = RawDocumentBuf::new();
        new.append(cstr!("_id"), raw_binary(&in_life(life, put.write_id.0)));
        new.append(cstr!("of"), of.as_str());
        // Calls that run at once may take the same number; their ids order them.
        new.append(cstr!("number"), int(last.map_or(0, |last| last + 1)));
        new.append(cstr!("time_ms"), int(put.time_ms));
        if apart {
            new.append(cstr!("apart"), true);
        }
        let mut writes = RawArrayBuf::new();
        for write in &put.writes {
            writes.push(document(write, apart));
        }
        new.append(cstr!("writes"), &writes);
        let inserted = self.db.insert(&self.db.writes, &new).await?;
        if inserted == Inserted::Yes && !self.parts_stay(life, put.write_id, &firsts).await? {
            let this = doc! { "_id": binary(&in_life(life, put.write_id.0)) };
            self.db.delete(&self.db.writes, this).await?;
            return Err(swept());
        }
        Ok(())
    }

    /// Adds their pending writes to rows.
    pub(super) async fn add_writes(
        &self,
        rows: &mut [Option<RecordRow>],
        thread: &str,
        detail: Detail,
    ) -> Result<()> {
        if detail < Detail::Writes {
            return Ok(());
        }
        let names = ThreadNames::new(thread);
        let there: Vec<(usize, String)> = rows
            .iter()
            .enumerate()
            .filter_map(|(n, row)| {
                let row = row.as_ref()?;
                Some((n, names.record(&row.record.key, row.incarnation)))
            })
            .collect();
        for there in there.chunks(MOST) {
            let ids: Vec<&str> = there.iter().map(|(_, id)| &**id).collect();
            let query = Query {
                filter: doc! { "of": { "$in": ids } },
                ..Query::default()
            };
            let mut calls: HashMap<String, Vec<Call>> = HashMap::new();
            for raw in self.db.find(&self.db.writes, query).await? {
                let doc = Doc::new("writes", raw);
                let call = self.call(&names.thread, &doc).await?;
                let of = doc.text("of")?.to_owned();
                calls.entry(of).or_default().push(call);
            }
            let calls = calls.into_iter().map(|(of, calls)| (of, merged(calls)));
            let writes: HashMap<String, Vec<PendingWrite>> = calls.collect();
            // One record may have been picked more than once.
            for (n, id) in there {
                if let (Some(row), Some(writes)) = (&mut rows[*n], writes.get(id)) {
                    row.writes.clone_from(writes);
                }
            }
        }
        Ok(())
    }

    async fn call(&self, thread: &str, doc: &Doc) -> Result<Call> {
        let name = doc.bytes("_id")?;
        let (life, id) = of_life(&name)?;
        let mut writes = Vec::new();
        for write in doc.documents("writes")? {
            writes.push(PendingWrite {
                task_id: write.shared("task")?,
                task_path: write.shared("path")?,
                idx: write.signed("idx")?,
                channel: write.shared("channel")?,
                value: write.opt_bytes("value")?.unwrap_or_default(),
                replace: write.flag("replace")?,
            });
        }
        if doc.flag("apart")? {
            self.values_apart(thread, (life, id), &mut writes, doc)
                .await?;
        }
        Ok(Call {
            number: doc.number("number")?,
            id,
            writes,
        })
    }

    async fn values_apart(
        &self,
        thread: &str,
        (life, id): (Incarnation, PackId),
        writes: &mut [PendingWrite],
        doc: &Doc,
    ) -> Result<()> {
        let names = (0..).zip(writes.iter()).map(|(ordinal, _)| ChunkName {
            pack: id,
            ordinal,
            locator: 1,
            // Not known: each is asked for alone.
            len: u32::MAX,
        });
        let names: Vec<ChunkName> = names.collect();
        let values = self.chunks_of(thread, life, &names).await?;
        for (write, value) in writes.iter_mut().zip(values) {
            write.value = value.ok_or_else(|| doc.foreign("a value's own document"))?;
        }
        Ok(())
    }

    /// Deletes the writes that came before a time and have no checkpoint.
    pub(super) async fn drop_orphans(&self, life: Incarnation, before_ms: u64) -> Result<()> {
        let query = Query {
            filter: doc! {
                "_id": crate::doc::all_in(life),
                "time_ms": { "$lte": int(before_ms) },
            },
            fields: doc! { "of": 1 },
            ..Query::default()
        };
        let mut old: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
        for raw in self.db.find(&self.db.writes, query).await? {
            let doc = Doc::new("writes", raw);
            let of = doc.text("of")?.to_owned();
            old.entry(of).or_default().push(doc.bytes("_id")?);
        }
        let ids: Vec<&String> = old.keys().collect();
        let mut there = Vec::new();
        for ids in ids.chunks(MOST) {
            let query = Query {
                filter: doc! { "_id": { "$in": ids }, "state": { "$ne": 2 } },
                fields: doc! { "_id": 1 },
                ..Query::default()
            };
            for raw in self.db.find(&self.db.records, query).await? {
                there.push(Doc::new("checkpoints", raw).text("_id")?.to_owned());
            }
        }
        for of in there {
            old.remove(&of);
        }
        let orphans: Vec<Bytes> = old.into_values().flatten().collect();
        for names in orphans.chunks(MOST) {
            let names: Vec<_> = names.iter().map(|name| binary(name)).collect();
            let these = doc! { "_id": { "$in": names } };
            self.db.delete(&self.db.writes, these).await?;
        }
        Ok(())
    }
}

/// One call of `put_writes`.
struct Call {
    number: u64,
    id: PackId,
    writes: Vec<PendingWrite>,
}

fn document(write: &PendingWrite, apart: bool) -> RawDocumentBuf {
    let mut new = RawDocumentBuf::new();
    new.append(cstr!("task"), &*write.task_id);
    new.append(cstr!("path"), &*write.task_path);
    new.append(cstr!("idx"), write.idx);
    new.append(cstr!("channel"), &*write.channel);
    if !apart {
        new.append(cstr!("value"), raw_binary(&write.value));
    }
    if write.replace {
        new.append(cstr!("replace"), true);
    }
    new
}

/// What calls come to, in their order.
fn merged(mut calls: Vec<Call>) -> Vec<PendingWrite> {
    calls.sort_by_key(|call| (call.number, call.id));
    let mut slots = BTreeMap::new();
    for write in calls.into_iter().flat_map(|call| call.writes) {
        let slot = (write.task_id.clone(), write.idx);
        if write.replace || !slots.contains_key(&slot) {
            slots.insert(slot, write);
        }
    }
    slots.into_values().collect()
}
