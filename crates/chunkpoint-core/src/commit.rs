//! Making a record from its parent and what changed, and committing it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::{Map as JsonMap, Value as Json};

use crate::backend::{
    Base, Commit, Committed, Fencing, Incarnation, PackId, RecordIndex, RecordKey, RecordRef,
};
use crate::engine::{Engine, Source};
use crate::error::{Error, ErrorKind, Result, quote};
use crate::record::{Content, Record, Slot};
use crate::removal::check_history;
use crate::tree::{
    Data, Decoded, Donor, Edge, Element, Fetch, PackBuilder, Ref, build_edge, build_item, decode,
};
use crate::types::{Item, Value, check_id, check_item};

/// An untouched value of up to this many bytes stays in the record: about
/// what a reference costs, and no read to get it.
const INLINE_UNTOUCHED: usize = 96;
/// All untouched inline values of a record together.
const INLINE_UNTOUCHED_ALL: usize = 2048;
/// A single item over this many bytes gets a chunk at once: nothing appends
/// to it, so it would only be written twice.
const INLINE_ITEM: usize = 256;

/// Where a new checkpoint comes from.
pub(crate) struct Origin {
    pub(crate) incarnation: Incarnation,
    /// The records whose chunks may be borrowed.
    pub(crate) from: Vec<RecordRef>,
}

/// Builds one record, and the pack it comes in.
pub(crate) struct Builder<'a> {
    engine: &'a Arc<Engine>,
    thread: &'a Arc<str>,
    pub(crate) pack: PackBuilder<'a>,
    source: Source,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        engine: &'a Arc<Engine>,
        thread: &'a Arc<str>,
        pack: PackId,
        origin: Option<&Origin>,
    ) -> Self {
        let source = Source {
            engine: engine.clone(),
            thread: thread.clone(),
            incarnation: origin.map_or(Incarnation([0; 8]), |origin| origin.incarnation),
            owner: None,
            keep: true,
        };
        Self {
            engine,
            thread,
            pack: PackBuilder::new(pack, &engine.codec),
            source,
        }
    }

    /// Fetches from what is stored and from what this pack has so far: a
    /// splice may follow an append in the same draft.
    pub(crate) fn fetch_with_pack(&self) -> impl Fetch + use<> {
        WithPack {
            stored: self.source.clone(),
            pack: self.pack.id(),
            chunks: self.pack.chunks().to_vec(),
        }
    }

    /// The edge of a list or map, read if it is sealed.
    pub(crate) async fn edge(&self, slot: &Slot<Edge>) -> Result<Arc<Edge>> {
        load_edge(&self.source, slot).await
    }

    /// Content of a whole value, borrowing what `old` has of it.
    pub(crate) async fn whole(&mut self, value: Value, old: &Content) -> Result<Content> {
        match value {
            Value::Item(item) => {
                check_item(&item)?;
                let element = Element::new(Arc::default(), item);
                let donor = match old {
                    Content::Item(slot) => Some(load_item(&self.source, slot).await?),
                    _ => None,
                };
                let donor = donor.as_deref().map_or(Donor::None, Donor::Item);
                let element = build_item(&self.source, element, donor, &mut self.pack).await?;
                Ok(Content::Item(Slot::Inline(Arc::new(element))))
            }
            Value::List(items) => {
                let elements = elements(items)?;
                Ok(Content::List(self.whole_edge(false, elements, old).await?))
            }
            Value::Map(map) => {
                let elements = map
                    .into_iter()
                    .map(|(key, item)| {
                        crate::types::check_id("map key", &key, true)?;
                        check_item(&item)?;
                        Ok(Element::new(key.into(), item))
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(Content::Map(self.whole_edge(true, elements, old).await?))
            }
        }
    }

    async fn whole_edge(
        &mut self,
        keyed: bool,
        elements: Vec<Element>,
        old: &Content,
    ) -> Result<Slot<Edge>> {
        let donor = match old {
            Content::List(slot) if !keyed => Some(slot),
            Content::Map(slot) if keyed => Some(slot),
            _ => None,
        };
        let edge = match donor {
            Some(slot) => Some(load_edge(&self.source, slot).await?),
            None => None,
        };
        let donor_edge = edge.as_deref().map_or(Donor::None, Donor::Edge);
        let built = build_edge(&self.source, keyed, elements, donor_edge, &mut self.pack).await?;
        // The same again: what the parent has, wherever it is.
        if let (Some(slot), Some(edge)) = (donor, edge)
            && edge.hash() == built.hash()
        {
            return Ok(slot.clone());
        }
        Ok(Slot::Inline(Arc::new(built)))
    }

    /// JSON values by key, as a hidden map.
    pub(crate) async fn json_map(
        &mut self,
        map: &JsonMap<String, Json>,
        old: &Content,
    ) -> Result<Content> {
        if map.is_empty() {
            return Ok(Content::Absent);
        }
        // By key, as maps are; a key may hold any character.
        let sorted: BTreeMap<&String, &Json> = map.iter().collect();
        let elements = sorted
            .into_iter()
            .map(|(key, value)| Ok(Element::new(key.as_str().into(), Item::json(value)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Content::Map(self.whole_edge(true, elements, old).await?))
    }

    /// Gives chunks of their own to what should not travel in the record:
    /// single items that are not small, and what is as it was `before` (channels that
    /// `touched` does not name; metadata; versions seen) beyond what a reference costs.
    pub(crate) fn settle(
        &mut self,
        record: &mut Record,
        before: Option<&Record>,
        touched: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let mut budget = INLINE_UNTOUCHED_ALL;
        let mut seal = |content: &mut Content, touched: bool, pack: &mut PackBuilder<'_>| {
            let bytes = content.inline_bytes();
            if !touched && bytes <= INLINE_UNTOUCHED && bytes <= budget {
                budget -= bytes;
                return Ok(());
            }
            match content {
                Content::Item(slot) => {
                    if let Slot::Inline(element) = slot
                        && (bytes > INLINE_ITEM || !touched)
                        && matches!(element.data, Data::Inline(_))
                        // Retention has to recognise it in the record that brought it.
                        && !(touched && &*element.tag == DELTA_SNAPSHOT_TAG)
                    {
                        *slot = Slot::Sealed(pack.leaf(false, std::slice::from_ref(element))?);
                    }
                }
                Content::List(slot) | Content::Map(slot) if !touched => {
                    if let Slot::Inline(edge) = slot {
                        *slot = Slot::Sealed(pack.edge(edge)?);
                    }
                }
                _ => {}
            }
            Ok::<(), Error>(())
        };
        for (name, channel) in &mut record.channels {
            seal(&mut channel.content, touched(name), &mut self.pack)?;
        }
        if let Some(before) = before {
            for (now, before) in [
                (&mut record.metadata, &before.metadata),
                (&mut record.versions_seen, &before.versions_seen),
            ] {
                let changed = !now.is_same(before);
                seal(now, changed, &mut self.pack)?;
            }
        }
        Ok(())
    }

    /// Commits the record.
    pub(crate) async fn commit(
        self,
        mut record: Record,
        target: Target,
        origin: Option<Origin>,
    ) -> Result<(Committed, Arc<Record>, RecordIndex)> {
        let Target {
            key,
            parent,
            expect_latest,
            metadata,
            tried,
            fresh,
            time_ms,
        } = target;
        let run_id = metadata.get("run_id").and_then(Json::as_str);
        if let Some(run_id) = run_id {
            check_id("run_id", run_id, true)?;
        }
        let engine = self.engine;
        if expect_latest.is_some() && engine.capabilities.fencing == Fencing::None {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} cannot exclude other writers (expect_latest)",
                    engine.backend
                ),
            ));
        }
        let pack = self.pack.id();
        let body = record.encode(&key, pack, &engine.codec)?;
        let hash = blake3::hash(&body);
        if *tried.0.0.get_or_init(|| hash) != hash {
            return Err(Error::invalid(format!(
                "the draft of checkpoint {} was changed after a clone of it was committed; \
                 make a new draft",
                quote(&key.id)
            )));
        }
        let chunks = self.pack.into_chunks();
        let limit = |bytes: usize, most: u64, what: &str| {
            if bytes as u64 > most {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("{what} has {bytes} bytes; {} takes {most}", engine.backend),
                ));
            }
            Ok(())
        };
        let mut total = body.len();
        limit(
            body.len(),
            engine.capabilities.max_value_bytes,
            "the record",
        )?;
        for chunk in &chunks {
            limit(chunk.len(), engine.capabilities.max_value_bytes, "a chunk")?;
            total += chunk.len();
        }
        limit(total, engine.capabilities.max_commit_bytes, "the commit")?;
        let delta = metadata.contains_key(DELTA_COUNTERS)
            || record
                .channels
                .values()
                .any(|channel| is_delta_snapshot(&channel.content));
        let index = RecordIndex {
            parent,
            time_ms: time_ms.unwrap_or_else(|| engine.clock.now_ms()),
            run_id: run_id.map(Arc::from),
            delta,
            pack_bytes: total as u64,
        };
        let parent_pack = origin
            .as_ref()
            .and_then(|origin| Some((origin.incarnation, origin.from.first()?.pack)));
        let history_parent = origin
            .as_ref()
            .and_then(|origin| {
                origin
                    .from
                    .iter()
                    .find(|from| Some(&from.key.id) == index.parent.as_ref())
            })
            .cloned();
        let base = match origin {
            Some(origin) if !origin.from.is_empty() => Base::Borrow {
                incarnation: origin.incarnation,
                from: origin.from,
            },
            _ => Base::Root {
                fresh: engine.incarnation()?,
            },
        };
        engine.check_open()?;
        let committed = engine
            .backend
            .commit(Commit {
                thread: self.thread.clone(),
                key: key.clone(),
                pack,
                base,
                expect_latest,
                index: index.clone(),
                body,
                chunks,
                metadata,
            })
            .await
            .map_err(|e| {
                e.operation("commit").context(format_args!(
                    "checkpoint {} of thread {}",
                    quote(&key.id),
                    quote(self.thread)
                ))
            })?;
        // A removal that goes on meanwhile may have missed the new checkpoint. What was
        // acknowledged already is not taken back, and one in the place of another
        // has that one's parent, which the other was seen to need.
        if delta
            && fresh
            && !tried.0.1.load(Ordering::Acquire)
            && let Some(parent) = &history_parent
        {
            let stored = RecordRef {
                key: key.clone(),
                pack,
            };
            let incarnation = committed.incarnation;
            check_history(engine, self.thread, incarnation, &stored, parent)
                .await
                .map_err(|e| e.operation("commit"))?;
        }
        tried.0.1.store(true, Ordering::Release);
        record.locate(pack, committed.locator);
        // A parent is seldom read again once it has a child.
        if let Some((incarnation, parent)) = parent_pack {
            engine.cache.forget_record(incarnation, parent);
        }
        let record = engine
            .cache
            .insert_record(committed.incarnation, pack, Arc::new(record));
        Ok((committed, record, index))
    }
}

struct WithPack {
    stored: Source,
    pack: PackId,
    chunks: Vec<bytes::Bytes>,
}

#[async_trait]
impl Fetch for WithPack {
    async fn fetch(&self, refs: &[Ref]) -> Result<Vec<Arc<Decoded>>> {
        let (own, other): (Vec<&Ref>, Vec<&Ref>) = refs.iter().partition(|r| r.pack == self.pack);
        let other: Vec<Ref> = other.into_iter().cloned().collect();
        let mut stored = self.stored.fetch(&other).await?.into_iter();
        let mut made = own.into_iter().map(|r| {
            let chunk = self
                .chunks
                .get(r.ordinal as usize)
                .cloned()
                .unwrap_or_default();
            let raw = self.stored.engine.codec.unpack(chunk)?;
            decode(raw, r).map(Arc::new)
        });
        refs.iter()
            .map(|r| {
                if r.pack == self.pack {
                    made.next()
                } else {
                    stored.next().map(Ok)
                }
                .unwrap_or_else(|| Err(Error::corrupt("a chunk of this draft is not there")))
            })
            .collect()
    }
}

/// The name and surroundings of a new checkpoint.
pub(crate) struct Target {
    pub(crate) key: RecordKey,
    pub(crate) parent: Option<Arc<str>>,
    pub(crate) expect_latest: Option<Option<Arc<str>>>,
    pub(crate) metadata: Arc<JsonMap<String, Json>>,
    pub(crate) tried: Tried,
    /// Whether there certainly was no checkpoint of this name.
    pub(crate) fresh: bool,
    /// When it was committed, if not now: an import keeps what it is told.
    pub(crate) time_ms: Option<u64>,
}

/// The hash of the record that was first committed under a pack id, and whether that was
/// acknowledged; shared by all that may commit under it: a pack id stands for one content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried(Arc<(OnceLock<blake3::Hash>, AtomicBool)>);

/// The metadata key whose keys are the thread's delta channels.
pub(crate) const DELTA_COUNTERS: &str = "counters_since_delta_snapshot";

/// The tag by which a binding marks a delta channel's snapshot.
pub const DELTA_SNAPSHOT_TAG: &str = "delta_snapshot";

pub(crate) fn is_delta_snapshot(content: &Content) -> bool {
    matches!(content, Content::Item(Slot::Inline(element)) if &*element.tag == DELTA_SNAPSHOT_TAG)
}

pub(crate) fn elements(items: Vec<Item>) -> Result<Vec<Element>> {
    items
        .into_iter()
        .map(|item| {
            check_item(&item)?;
            Ok(Element::new(Arc::default(), item))
        })
        .collect()
}

pub(crate) async fn load_edge(fetch: &dyn Fetch, slot: &Slot<Edge>) -> Result<Arc<Edge>> {
    match slot {
        Slot::Inline(edge) => Ok(edge.clone()),
        Slot::Sealed(r) => match &*fetch.fetch(std::slice::from_ref(r)).await?[0] {
            Decoded::Edge(edge) => Ok(edge.clone()),
            _ => Err(Error::corrupt(
                "an edge was expected, another kind of chunk found",
            )),
        },
    }
}

pub(crate) async fn load_item(fetch: &dyn Fetch, slot: &Slot<Element>) -> Result<Arc<Element>> {
    match slot {
        Slot::Inline(element) => Ok(element.clone()),
        Slot::Sealed(r) => match &*fetch.fetch(std::slice::from_ref(r)).await?[0] {
            Decoded::Leaf(elements) if elements.len() == 1 => Ok(Arc::new(elements[0].clone())),
            _ => Err(Error::corrupt(
                "a single item was expected, another kind of chunk found",
            )),
        },
    }
}
