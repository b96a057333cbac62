//! Reading records by name, and chunks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    ChunkName, Detail, Incarnation, PackId, Pick, RecordKey, RecordRow,
};
use mongodb::bson::{Bson, Document, doc};

use super::commit::of_thread;
use super::life::{ATTEMPTS, Head, IS_HEAD, busy};
use super::row::{PENDING, Record, State, fields};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{Doc, binary, pack_in};
use crate::names::{ThreadNames, of_part};

/// Most records that one pipeline picks.
const PICKS: usize = 32;

/// Most bytes of chunks that one query asks for.
const BYTES: u64 = 12 << 20;

impl Inner {
    pub(super) async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        for _ in 0..ATTEMPTS {
            let mut rows = Vec::with_capacity(picks.len());
            let mut life = None;
            let (mut one_life, mut pending) = (true, false);
            for picks in picks.chunks(PICKS) {
                let found = self.pick(thread, picks, detail).await?;
                one_life &= rows.is_empty() || life == found.life;
                life = found.life;
                pending |= found.pending;
                rows.extend(found.rows);
            }
            if one_life {
                if pending {
                    self.add_writes(&mut rows, thread, detail).await?;
                }
                return Ok(rows);
            }
        }
        Err(busy())
    }

    /// Picks records, and reads the thread's document after them.
    async fn pick(&self, thread: &str, picks: &[Pick], detail: Detail) -> Result<Picked> {
        let names = ThreadNames::new(thread);
        // Below these ids, records of a namespace count.
        let mut below: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        // The first look does not know which life is current; any later does.
        let mut life = None;
        for _ in 0..ATTEMPTS {
            let (head, found) = self
                .look(&names, thread, picks, &below, life, detail)
                .await?;
            let Some(head) = head else {
                return Ok(Picked {
                    life: None,
                    rows: vec![None; picks.len()],
                    pending: false,
                });
            };
            let strangers = found.iter().any(|record| record.life != head.life);
            if strangers && life != Some(head.life) {
                // Of a life that has ended, or of a copy that is being made.
                life = Some(head.life);
                continue;
            }
            let found: Vec<Record> = found
                .into_iter()
                .filter(|record| record.life == head.life)
                .collect();
            let found = self.counted(head, found).await?;
            let mut again = false;
            for record in &found.excluded {
                // The next one may be the latest.
                below.insert(record.key.namespace.clone(), record.key.id.clone());
                again = true;
            }
            if again && picks.iter().any(|pick| matches!(pick, Pick::Latest { .. })) {
                continue;
            }
            return Ok(Picked {
                life: Some(head.life),
                rows: answer(picks, &found.counted, detail),
                pending: found.counted.iter().any(|record| record.pending),
            });
        }
        Err(busy())
    }

    /// One pipeline: the records that may be picked, then the thread's document.
    async fn look(
        &self,
        names: &ThreadNames,
        thread: &str,
        picks: &[Pick],
        below: &BTreeMap<Arc<str>, Arc<str>>,
        life: Option<Incarnation>,
        detail: Detail,
    ) -> Result<(Option<Head>, Vec<Record>)> {
        let mut pipeline = Vec::new();
        for pick in picks {
            let mut stages = stages(names, pick, below, life, detail);
            if detail == Detail::Writes {
                stages.push(self.and_whether_pending());
            }
            if pipeline.is_empty() {
                pipeline = stages;
            } else {
                pipeline.push(doc! { "$unionWith": {
                    "coll": self.db.records.name(),
                    "pipeline": stages,
                } });
            }
        }
        if pipeline.is_empty() {
            return Ok((None, Vec::new()));
        }
        pipeline.push(self.and_head(thread));
        let (mut head, mut records) = (None, Vec::new());
        for raw in self.db.aggregate(&self.db.records, pipeline).await? {
            let doc = Doc::new("checkpoints", raw);
            if doc.flag(IS_HEAD)? {
                head = Head::read(&doc)?;
            } else {
                records.push(Record::of(&doc)?);
            }
        }
        Ok((head, records))
    }

    /// Adds to records whether they have pending writes. Most have none, and need no further
    /// question then; those that there are may be too large for the record's document.
    fn and_whether_pending(&self) -> Document {
        doc! { "$lookup": {
            "from": self.db.writes.name(),
            "localField": "_id",
            "foreignField": "of",
            "pipeline": [{ "$limit": 1 }, { "$project": { "_id": 1 } }],
            "as": PENDING,
        } }
    }

    /// Tells records that count from others, by the thread's document as it was after they
    /// were read.
    pub(super) async fn counted(&self, head: Head, records: Vec<Record>) -> Result<Counted> {
        let mut counted = Counted::default();
        let borrowers: Vec<(PackId, &[PackId])> = records
            .iter()
            .filter(|record| !record.from.is_empty())
            .map(|record| (record.pack, &record.from[..]))
            .collect();
        // Nothing was ever removed: all that was borrowed from is there.
        let excluded = if head.removals {
            self.excluded(head.life, &borrowers).await?
        } else {
            Default::default()
        };
        for record in records {
            if excluded.contains(&record.pack) {
                counted.excluded.push(record);
            } else {
                counted.counted.push(record);
            }
        }
        Ok(counted)
    }

    pub(super) async fn chunks(
        &self,
        thread: &str,
        life: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let thread = ThreadNames::new(thread).thread;
        self.chunks_of(&thread, life, names).await
    }

    /// Chunks of a thread that is named as in its documents.
    pub(super) async fn chunks_of(
        &self,
        thread: &str,
        life: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let mut found: HashMap<(PackId, u32), Bytes> = HashMap::new();
        let mut wanted: Vec<&ChunkName> = names.iter().collect();
        // Where the hints say that they are, and then wherever they may be.
        let (apart, within): (Vec<_>, Vec<_>) = wanted.iter().partition(|name| name.locator != 0);
        let apart: Vec<&ChunkName> = apart;
        self.inline(thread, life, &within, &mut found).await?;
        self.apart(thread, life, &apart, &mut found).await?;
        wanted.retain(|name| !found.contains_key(&(name.pack, name.ordinal)));
        if !wanted.is_empty() {
            self.apart(thread, life, &wanted, &mut found).await?;
            wanted.retain(|name| !found.contains_key(&(name.pack, name.ordinal)));
            self.inline(thread, life, &wanted, &mut found).await?;
        }
        let chunk = |name: &ChunkName| found.get(&(name.pack, name.ordinal)).cloned();
        Ok(names.iter().map(chunk).collect())
    }

    /// Chunks that lie in the documents of their packs.
    async fn inline(
        &self,
        thread: &str,
        life: Incarnation,
        names: &[&ChunkName],
        found: &mut HashMap<(PackId, u32), Bytes>,
    ) -> Result<()> {
        for names in batches(names) {
            let mut fields = doc! { "pack": 1 };
            for name in names {
                fields.insert(format!("chunks.{}", name.ordinal), 1);
            }
            let packs: std::collections::BTreeSet<PackId> =
                names.iter().map(|name| name.pack).collect();
            let packs = packs.into_iter().map(|pack| pack_in(life, pack));
            let query = Query {
                filter: doc! {
                    "pack": { "$in": packs.collect::<Vec<Bson>>() },
                    "thread": thread,
                },
                fields,
                ..Query::default()
            };
            for raw in self.db.find(&self.db.records, query).await? {
                let doc = Doc::new("checkpoints", raw);
                let (_, pack) = crate::names::of_life(&doc.bytes("pack")?)?;
                for (ordinal, chunk) in doc.numbered("chunks")? {
                    found.insert((pack, ordinal), chunk);
                }
            }
        }
        Ok(())
    }

    /// Chunks that lie in documents of their own. Which one has an ordinal is not known: the
    /// last that begins at or before it.
    async fn apart(
        &self,
        thread: &str,
        life: Incarnation,
        names: &[&ChunkName],
        found: &mut HashMap<(PackId, u32), Bytes>,
    ) -> Result<()> {
        for names in batches(names) {
            let mut fields = Document::new();
            let mut ranges: BTreeMap<PackId, Vec<u32>> = BTreeMap::new();
            for name in names {
                fields.insert(format!("chunks.{}", name.ordinal), 1);
                ranges.entry(name.pack).or_default().push(name.ordinal);
            }
            let ranges = ranges.into_iter().map(|(pack, ordinals)| {
                let last = ordinals.iter().max().copied().unwrap_or_default();
                let first = binary(&of_part(&life.0, pack, 0));
                let last = binary(&of_part(&life.0, pack, last));
                Bson::from(doc! { "_id": { "$gte": first, "$lte": last } })
            });
            let query = Query {
                filter: doc! { "thread": thread, "$or": ranges.collect::<Vec<_>>() },
                fields,
                ..Query::default()
            };
            for raw in self.db.find(&self.db.parts, query).await? {
                let doc = Doc::new("parts", raw);
                let name = doc.bytes("_id")?;
                let Some(pack) = name.get(8..16).and_then(|pack| pack.try_into().ok()) else {
                    return Err(doc.foreign("_id"));
                };
                for (ordinal, chunk) in doc.numbered("chunks")? {
                    found.insert((PackId(pack), ordinal), chunk);
                }
            }
        }
        Ok(())
    }
}

/// What picks give.
struct Picked {
    life: Option<Incarnation>,
    rows: Vec<Option<RecordRow>>,
    /// Whether any of them has pending writes.
    pending: bool,
}

/// Records that were read, by whether they count.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) counted: Vec<Record>,
    pub(super) excluded: Vec<Record>,
}

/// What finds the records that one pick may give.
fn stages(
    names: &ThreadNames,
    pick: &Pick,
    below: &BTreeMap<Arc<str>, Arc<str>>,
    life: Option<Incarnation>,
    detail: Detail,
) -> Vec<Document> {
    let (mut filter, latest) = match pick {
        Pick::At(key) => {
            let there = doc! { "$ne": State::Condemned as i32 };
            let mut filter = of_thread(names, &names.any_life(key));
            filter.insert("state", there);
            (filter, false)
        }
        Pick::Latest { namespace } => {
            let below = below.get(namespace).map(|id| &**id);
            let mut filter = of_thread(names, &names.in_namespace(namespace, below));
            filter.insert("state", State::Visible as i32);
            (filter, true)
        }
    };
    if let Some(life) = life {
        filter.insert("pack", crate::doc::all_in(life));
    }
    let mut stages = vec![doc! { "$match": filter }];
    if latest {
        stages.push(doc! { "$sort": { "_id": -1 } });
        stages.push(doc! { "$limit": 1 });
    }
    stages.push(doc! { "$project": fields(detail) });
    stages
}

/// One answer for each pick.
fn answer(picks: &[Pick], found: &[Record], detail: Detail) -> Vec<Option<RecordRow>> {
    let at = |key: &RecordKey| found.iter().find(|record| record.key == *key);
    let latest = |namespace: &Arc<str>| {
        let visible = found
            .iter()
            .filter(|record| record.state == State::Visible && record.key.namespace == *namespace);
        visible.max_by(|a, b| a.key.id.cmp(&b.key.id))
    };
    let rows = picks.iter().map(|pick| {
        let record = match pick {
            Pick::At(key) => at(key),
            Pick::Latest { namespace } => latest(namespace),
        };
        record.map(|record| record.clone().row(detail))
    });
    rows.collect()
}

/// Chunks that one query may ask for: a document with so many bytes can be given at once,
/// and names are not too many.
fn batches<'a, 'n>(names: &'a [&'n ChunkName]) -> impl Iterator<Item = &'a [&'n ChunkName]> {
    let mut rest = names;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = |name: &&&ChunkName| {
            bytes += u64::from(name.len);
            bytes <= BYTES
        };
        let count = rest.iter().take(1_000).take_while(fits).count().max(1);
        let (batch, after) = rest.split_at(count);
        rest = after;
        Some(batch)
    })
}
