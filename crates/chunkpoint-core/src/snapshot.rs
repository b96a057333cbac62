//! A lazy handle on one checkpoint, and its lists and maps.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Map as JsonMap, Value as Json};

use crate::backend::{Incarnation, PendingWrite, RecordKey, RecordRow};
use crate::commit::{load_edge, load_item};
use crate::draft::Draft;
use crate::engine::Source;
use crate::error::{Error, Result, quote};
use crate::record::{Content, Record};
use crate::thread::Thread;
use crate::tree::{Data, Edge, Element, element_at, range, read_data};
use crate::types::{Item, Value, ValueKind};

/// A handle on one checkpoint. It knows its channels, their kinds and lengths
/// without I/O, and reads values when asked. Cheap to clone.
///
/// A snapshot may outlive its checkpoint: what was pruned meanwhile may still be
/// read for a while (from the cache, and until the grace period has passed); after
/// that it gives `NotFound`, never `Corrupt`.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

struct Inner {
    thread: Thread,
    row: RecordRow,
    record: Arc<Record>,
    source: Source,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        write!(
            f,
            "Snapshot({}, namespace {}, thread {})",
            quote(&key.id),
            quote(&key.namespace),
            quote(self.inner.thread.id())
        )
    }
}

impl Snapshot {
    pub(crate) fn new(thread: &Thread, mut row: RecordRow, record: Arc<Record>) -> Self {
        // What the body said is in the record.
        row.body = bytes::Bytes::new();
        let source = Source {
            engine: thread.engine.clone(),
            thread: thread.id.clone(),
            incarnation: row.incarnation,
            owner: Some((row.record.key.clone(), row.record.pack)),
            keep: true,
        };
        Self {
            inner: Arc::new(Inner {
                thread: thread.clone(),
                row,
                record,
                source,
            }),
        }
    }

    pub(crate) fn key(&self) -> &RecordKey {
        &self.inner.row.record.key
    }

    pub(crate) fn row(&self) -> &RecordRow {
        &self.inner.row
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.inner.record
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.inner.row.incarnation
    }

    pub(crate) fn source(&self) -> &Source {
        &self.inner.source
    }

    /// The checkpoint's id.
    pub fn id(&self) -> &str {
        &self.key().id
    }

    /// The checkpoint namespace.
    pub fn namespace(&self) -> &str {
        &self.key().namespace
    }

    /// The thread it is of, in its namespace.
    pub fn thread(&self) -> &Thread {
        &self.inner.thread
    }

    /// The id of the parent. The parent may have been removed.
    pub fn parent_id(&self) -> Option<&str> {
        self.inner.row.index.parent.as_deref()
    }

    /// When it was committed, in milliseconds since 1970, by the committer's clock.
    pub fn time_ms(&self) -> u64 {
        self.inner.row.index.time_ms
    }

    /// Whether it was pinned when it was read.
    pub fn is_pinned(&self) -> bool {
        self.inner.row.pinned
    }

    /// The channels that have a value: name, kind, and number of items (1 for
    /// a single item), by name.
    pub fn channels(&self) -> impl Iterator<Item = (&str, ValueKind, u64)> {
        self.inner
            .record
            .channels
            .iter()
            .filter_map(|(name, channel)| {
                let len = match &channel.content {
                    Content::List(slot) | Content::Map(slot) => slot.len(),
                    _ => 1,
                };
                channel.content.kind().map(|kind| (&**name, kind, len))
            })
    }

    /// The metadata, as the committer gave it.
    ///
    /// # Errors
    /// As [`value`](Self::value); small metadata needs no read.
    pub async fn metadata(&self) -> Result<JsonMap<String, Json>> {
        self.json_map(&self.inner.record.metadata).await
    }

    pub(crate) async fn json_map(&self, content: &Content) -> Result<JsonMap<String, Json>> {
        match self.load_content(content).await? {
            Some(Value::Map(map)) => map
                .into_iter()
                .map(|(key, item)| {
                    let value = serde_json::from_slice(&item.bytes).map_err(|e| {
                        Error::corrupt(format!("{} of {self:?} is not JSON", quote(&key))).source(e)
                    })?;
                    Ok((key, value))
                })
                .collect(),
            _ => Ok(JsonMap::new()),
        }
    }

    pub(crate) fn pending(&self) -> &[PendingWrite] {
        &self.inner.row.writes
    }

    /// The whole value of a channel, or `None` if it has none.
    ///
    /// # Errors
    /// `NotFound` if the checkpoint was pruned meanwhile, `Corrupt` if stored
    /// bytes are damaged; what the backend reports.
    pub async fn value(&self, channel: &str) -> Result<Option<Value>> {
        match self.inner.record.channels.get(channel) {
            Some(channel) => self
                .load_content(&channel.content)
                .await
                .map_err(|e| e.operation("value")),
            None => Ok(None),
        }
    }

    /// A lazy handle on a list; an absent channel is an empty list. Reads
    /// nothing, unless the list was not touched by this checkpoint: then one
    /// small chunk.
    ///
    /// # Errors
    /// `InvalidInput` if the channel holds something else; as
    /// [`value`](Self::value).
    pub async fn list(&self, channel: &str) -> Result<List> {
        let edge = match self.inner.record.channels.get(channel).map(|c| &c.content) {
            None | Some(Content::Absent) => Arc::new(Edge::new(false)),
            Some(Content::List(slot)) => load_edge(&self.inner.source, slot).await?,
            Some(_) => {
                return Err(Error::invalid(format!(
                    "channel {} of {self:?} holds no list",
                    quote(channel)
                ))
                .operation("list"));
            }
        };
        Ok(List {
            snapshot: self.clone(),
            edge,
        })
    }

    /// A lazy handle on a map; an absent channel is an empty map.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn map(&self, channel: &str) -> Result<Map> {
        let edge = match self.inner.record.channels.get(channel).map(|c| &c.content) {
            None | Some(Content::Absent) => Arc::new(Edge::new(true)),
            Some(Content::Map(slot)) => load_edge(&self.inner.source, slot).await?,
            Some(_) => {
                return Err(Error::invalid(format!(
                    "channel {} of {self:?} holds no map",
                    quote(channel)
                ))
                .operation("map"));
            }
        };
        Ok(Map {
            snapshot: self.clone(),
            edge,
        })
    }

    /// Every channel's whole value, by name.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub async fn load(&self) -> Result<BTreeMap<String, Value>> {
        let mut out = BTreeMap::new();
        for (name, channel) in &self.inner.record.channels {
            if let Some(value) = self
                .load_content(&channel.content)
                .await
                .map_err(|e| e.operation("load"))?
            {
                out.insert(name.to_string(), value);
            }
        }
        Ok(out)
    }

    /// A draft on top of this checkpoint. No I/O: the commit checks that the
    /// checkpoint is still there.
    ///
    /// # Errors
    /// `Unavailable` if there is no randomness for ids; `InvalidInput` if no id can
    /// follow the one that was read last.
    pub fn draft(&self) -> Result<Draft> {
        Draft::new(&self.inner.thread, Some(self.clone()))
    }

    async fn load_content(&self, content: &Content) -> Result<Option<Value>> {
        let source = &self.inner.source;
        Ok(match content {
            Content::Absent => None,
            Content::Item(slot) => {
                let element = load_item(source, slot).await?;
                let mut items = items(source, std::slice::from_ref(&*element)).await?;
                items.pop().map(Value::Item)
            }
            Content::List(slot) => {
                let edge = load_edge(source, slot).await?;
                let elements = range(source, &edge, 0..edge.len()).await?;
                Some(Value::List(items(source, &elements).await?))
            }
            Content::Map(slot) => {
                let edge = load_edge(source, slot).await?;
                let elements = range(source, &edge, 0..edge.len()).await?;
                let items = items(source, &elements).await?;
                let keys = elements.into_iter().map(|element| element.key.to_string());
                Some(Value::Map(keys.zip(items).collect()))
            }
        })
    }
}

async fn items(source: &Source, elements: &[Element]) -> Result<Vec<Item>> {
    let data: Vec<&Data> = elements.iter().map(|element| &element.data).collect();
    let bytes = read_data(source, &data).await?;
    Ok(elements
        .iter()
        .zip(bytes)
        .map(|(element, bytes)| Item {
            tag: element.tag.clone(),
            bytes,
        })
        .collect())
}

/// Items read at once by [`List::stream`].
const STREAMED: u64 = 256;

/// A lazy handle on a list of one checkpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct List {
    snapshot: Snapshot,
    edge: Arc<Edge>,
}

impl List {
    /// How many items it has.
    pub fn len(&self) -> u64 {
        self.edge.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Item `index`, or `None` beyond the end.
    ///
    /// # Errors
    /// As [`Snapshot::value`].
    pub async fn get(&self, index: u64) -> Result<Option<Item>> {
        if index >= self.len() {
            return Ok(None);
        }
        Ok(self.range(index..index + 1).await?.pop())
    }

    /// The items of `range`, cut to the list's end. Reads the leaves that hold
    /// them and the nodes above, each level in one request.
    ///
    /// # Errors
    /// As [`Snapshot::value`].
    pub async fn range(&self, range: Range<u64>) -> Result<Vec<Item>> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        if start == end {
            return Ok(Vec::new());
        }
        let source = self.snapshot.source();
        let elements = crate::tree::range(source, &self.edge, start..end)
            .await
            .map_err(|e| e.operation("range"))?;
        items(source, &elements)
            .await
            .map_err(|e| e.operation("range"))
    }

    /// The last `count` items, or all if there are fewer.
    ///
    /// # Errors
    /// As [`Snapshot::value`].
    pub async fn tail(&self, count: u64) -> Result<Vec<Item>> {
        self.range(self.len().saturating_sub(count)..self.len())
            .await
    }

    /// All items in order, a few hundred in memory at a time.
    pub fn stream(&self) -> BoxStream<'static, Result<Item>> {
        let list = self.clone();
        futures::stream::try_unfold((list, 0), |(list, at)| async move {
            if at >= list.len() {
                return Ok(None);
            }
            let end = (at + STREAMED).min(list.len());
            let part = list.range(at..end).await?;
            Ok(Some((
                futures::stream::iter(part.into_iter().map(Ok)),
                (list, end),
            )))
        })
        .flat_map(|part| match part {
            Ok(part) => part.boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        })
        .boxed()
    }
}

/// A lazy handle on a map of one checkpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Map {
    snapshot: Snapshot,
    edge: Arc<Edge>,
}

impl Map {
    /// How many keys it has.
    pub fn len(&self) -> u64 {
        self.edge.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item under `key`, found by binary search: a large map reads the leaves it
    /// probes, not all.
    ///
    /// # Errors
    /// As [`Snapshot::value`].
    pub async fn get(&self, key: &str) -> Result<Option<Item>> {
        let source = self.snapshot.source();
        match element_at(source, &self.edge, key).await? {
            Some(element) => Ok(items(source, &[element]).await?.pop()),
            None => Ok(None),
        }
    }
}
