//! Rows by name, and chunks.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, PackId};
use chunkpoint_core::store_backend::{ItemKey, ItemRow};
use mongodb::bson::{Bson, Document, doc};

use super::row::{Item, PackCopy, fields, id_of};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{Doc, binary};
use crate::names::of_copy;

/// Rows asked for at once.
const ROWS: usize = 500;

/// Most bytes of chunks that one query asks for.
const BYTES: u64 = 12 << 20;

/// What the names of an item's packs begin with: its key may be long.
pub(super) fn owner(id: &str) -> [u8; 16] {
    let mut owner = [0; 16];
    owner.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
    owner
}

/// The names of the documents with a pack's chunks up to this one, in whichever copy.
fn up_to(owner: &[u8], pack: PackId, last: u32) -> Document {
    let first = binary(&of_copy(owner, pack, 0, [0; 8]));
    let last = binary(&of_copy(owner, pack, last, [u8::MAX; 8]));
    doc! { "$gte": first, "$lte": last }
}

/// What finds the documents of one copy of a pack's chunks.
pub(super) fn of_pack(id: &str, of: PackCopy) -> Document {
    let names = up_to(&owner(id), of.pack, u32::MAX);
    doc! { "_id": names, "item": id, "pack": of.to_bson() }
}

impl Inner {
    pub(super) async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        let ids: Vec<String> = keys.iter().map(id_of).collect();
        let mut found: HashMap<String, ItemRow> = HashMap::new();
        for ids in ids.chunks(ROWS) {
            let query = Query {
                filter: doc! { "_id": { "$in": ids }, "gone_ms": { "$exists": false } },
                fields: fields(),
                ..Query::default()
            };
            for raw in self.db.find(&self.db.items, query).await? {
                let item = Item::read(raw)?;
                found.extend(item.row.map(|row| (item.id, row)));
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub(super) async fn item_chunks(
        &self,
        key: &ItemKey,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let id = id_of(key);
        let owner = owner(&id);
        let mut found: HashMap<(PackId, u32), Bytes> = HashMap::new();
        let mut rest = names;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |name: &&ChunkName| {
                bytes += u64::from(name.len);
                bytes <= BYTES
            };
            let count = rest.iter().take(1_000).take_while(fits).count().max(1);
            let (batch, after) = rest.split_at(count);
            rest = after;
            let mut wanted = doc! { "pack": 1 };
            let mut last: BTreeMap<PackId, u32> = BTreeMap::new();
            for name in batch {
                wanted.insert(format!("chunks.{}", name.ordinal), 1);
                let last = last.entry(name.pack).or_default();
                *last = name.ordinal.max(*last);
            }
            let ranges = last
                .into_iter()
                .map(|(pack, last)| Bson::from(doc! { "_id": up_to(&owner, pack, last) }));
            let query = Query {
                filter: doc! { "$or": ranges.collect::<Vec<_>>(), "item": &id },
                fields: wanted,
                ..Query::default()
            };
            for raw in self.db.find(&self.db.packs, query).await? {
                let doc = Doc::new("packs", raw);
                // All copies of a pack have the same chunks.
                let pack = PackCopy::read(&doc)?.pack;
                for (ordinal, chunk) in doc.numbered("chunks")? {
                    found.insert((pack, ordinal), chunk);
                }
            }
        }
        let chunk = |name: &ChunkName| found.get(&(name.pack, name.ordinal)).cloned();
        Ok(names.iter().map(chunk).collect())
    }
}
