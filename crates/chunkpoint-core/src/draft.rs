//! A checkpoint being built.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use crate::backend::{PackId, RecordKey, RecordRow};
use crate::commit::{Builder, Origin, Target, Tried, elements};
use crate::engine::Engine;
use crate::error::{Error, Result, quote};
use crate::record::{Channel, Content, Record, Slot};
use crate::snapshot::Snapshot;
use crate::thread::Thread;
use crate::tree::{Edge, splice};
use crate::types::{Item, Value, ValueKind, check_checkpoint_id, check_id};

/// A checkpoint being built on a parent. Only what it touches is encoded and
/// written; the rest is borrowed from the parent.
///
/// Clones are cheap and are the same draft: committing two of them makes one
/// checkpoint, so that a commit whose outcome is unknown can be tried again. A
/// clone that was changed is refused once another was committed.
#[derive(Debug, Clone)]
pub struct Draft {
    thread: Arc<str>,
    namespace: Arc<str>,
    parent: Option<Snapshot>,
    id: Arc<str>,
    /// Whether the id is the caller's, and so may be there.
    named: bool,
    pack: PackId,
    /// What was committed of it or its clones, once that was tried.
    tried: Tried,
    changes: BTreeMap<Arc<str>, Change>,
    metadata: Arc<JsonMap<String, Json>>,
    expect_latest: Option<Option<Arc<str>>>,
}

#[derive(Debug, Clone)]
enum Change {
    Set(Value),
    Edit(Vec<Edit>),
    Remove,
}

#[derive(Debug, Clone)]
struct Edit {
    gone: Range<u64>,
    new: Vec<Item>,
}

impl Draft {
    pub(crate) fn new(thread: &Thread, parent: Option<Snapshot>) -> Result<Self> {
        Ok(Self {
            thread: thread.id.clone(),
            namespace: thread.namespace.clone(),
            id: thread.next_id()?,
            named: false,
            pack: thread.engine.pack_id()?,
            tried: Tried::default(),
            parent,
            changes: BTreeMap::new(),
            metadata: Arc::default(),
            expect_latest: None,
        })
    }

    /// The id it will have.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Gives it an id of the caller's. An id that exists already is replaced.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is empty, has a NUL, or is over 255 bytes.
    pub fn set_id(&mut self, id: &str) -> Result<&mut Self> {
        check_checkpoint_id(id)?;
        self.id = id.into();
        self.named = true;
        Ok(self)
    }

    /// The parent.
    pub fn parent(&self) -> Option<&Snapshot> {
        self.parent.as_ref()
    }

    /// Replaces the metadata: a JSON object, which [`history`](Thread::history)
    /// can filter by.
    pub fn metadata(&mut self, metadata: JsonMap<String, Json>) -> &mut Self {
        self.metadata = Arc::new(metadata);
        self
    }

    /// Lets the commit succeed only if the parent is still the latest
    /// checkpoint (or, without a parent, if there is none): else `Conflict`,
    /// and nothing is stored.
    pub fn expect_latest(&mut self) -> &mut Self {
        self.expect_latest = Some(self.parent.as_ref().map(|parent| parent.key().id.clone()));
        self
    }

    /// Sets a channel to a whole value. What is equal to the parent's value is
    /// found and borrowed.
    ///
    /// # Errors
    /// `InvalidInput` for a channel name that cannot be.
    pub fn set(&mut self, channel: &str, value: impl Into<Value>) -> Result<&mut Self> {
        check_id("channel", channel, false)?;
        self.changes
            .insert(channel.into(), Change::Set(value.into()));
        Ok(self)
    }

    /// Appends items to a list; a channel that is not there becomes one.
    ///
    /// # Errors
    /// `InvalidInput` if the channel holds no list.
    pub fn append(
        &mut self,
        channel: &str,
        items: impl IntoIterator<Item = Item>,
    ) -> Result<&mut Self> {
        let end = self.list_len(channel)?;
        self.edit(
            channel,
            Edit {
                gone: end..end,
                new: items.into_iter().collect(),
            },
        );
        Ok(self)
    }

    /// Replaces the items `range` of a list, indexed as after the changes made
    /// so far.
    ///
    /// # Errors
    /// `InvalidInput` if the channel holds no list, or a shorter one.
    pub fn splice(
        &mut self,
        channel: &str,
        range: Range<u64>,
        items: impl IntoIterator<Item = Item>,
    ) -> Result<&mut Self> {
        let len = self.list_len(channel)?;
        if range.start > range.end || range.end > len {
            return Err(Error::invalid(format!(
                "range {}..{} of channel {} is not within its {len} items",
                range.start,
                range.end,
                quote(channel)
            )));
        }
        self.edit(
            channel,
            Edit {
                gone: range,
                new: items.into_iter().collect(),
            },
        );
        Ok(self)
    }

    /// Removes a channel; one that is not there is no error.
    ///
    /// # Errors
    /// `InvalidInput` for a channel name that cannot be.
    pub fn remove(&mut self, channel: &str) -> Result<&mut Self> {
        check_id("channel", channel, false)?;
        self.changes.insert(channel.into(), Change::Remove);
        Ok(self)
    }

    fn edit(&mut self, channel: &str, edit: Edit) {
        match self.changes.get_mut(channel) {
            Some(Change::Edit(edits)) => match edits.last_mut() {
                // Appends in a row are one.
                Some(last)
                    if edit.gone.is_empty()
                        && last.gone.is_empty()
                        && edit.gone.start == last.gone.start + last.new.len() as u64 =>
                {
                    last.new.extend(edit.new);
                }
                _ => edits.push(edit),
            },
            Some(Change::Set(Value::List(items))) => {
                items.splice(edit.gone.start as usize..edit.gone.end as usize, edit.new);
            }
            Some(removed @ Change::Remove) => *removed = Change::Set(Value::List(edit.new)),
            _ => {
                self.changes
                    .insert(channel.into(), Change::Edit(vec![edit]));
            }
        }
    }

    /// Items of a list as the draft has it now.
    fn list_len(&self, channel: &str) -> Result<u64> {
        check_id("channel", channel, false)?;
        let kind_error = |kind: ValueKind| {
            Err(Error::invalid(format!(
                "channel {} holds {}, not a list; set it as a whole",
                quote(channel),
                match kind {
                    ValueKind::Item => "a single item",
                    _ => "a map",
                }
            )))
        };
        let before = match self
            .parent
            .as_ref()
            .and_then(|p| p.record().channels.get(channel))
        {
            None => Ok(0),
            Some(Channel {
                content: Content::Absent,
                ..
            }) => Ok(0),
            Some(Channel {
                content: Content::List(slot),
                ..
            }) => Ok(slot.len()),
            Some(Channel {
                content: Content::Item(_),
                ..
            }) => Err(ValueKind::Item),
            Some(Channel {
                content: Content::Map(_),
                ..
            }) => Err(ValueKind::Map),
        };
        match (self.changes.get(channel), before) {
            (Some(Change::Set(Value::List(items))), _) => Ok(items.len() as u64),
            (Some(Change::Set(value)), _) => kind_error(value.kind()),
            (Some(Change::Remove), _) => Ok(0),
            (_, Err(kind)) => kind_error(kind),
            (None, Ok(len)) => Ok(len),
            (Some(Change::Edit(edits)), Ok(len)) => Ok(edits.iter().fold(len, |len, edit| {
                len - (edit.gone.end - edit.gone.start) + edit.new.len() as u64
            })),
        }
    }

    fn check_thread(&self, thread: &Thread) -> Result<()> {
        if self.thread != thread.id || self.namespace != thread.namespace {
            return Err(Error::invalid(format!(
                "the draft is of thread {}, namespace {}; commit it there",
                quote(&self.thread),
                quote(&self.namespace)
            )));
        }
        Ok(())
    }

    pub(crate) async fn commit(self, thread: &Thread) -> Result<Snapshot> {
        self.check_thread(thread)?;
        thread.engine.check_open()?;
        let engine = &thread.engine;
        let origin = self.parent.as_ref().map(|parent| Origin {
            incarnation: parent.incarnation(),
            from: vec![parent.row().record.clone()],
        });
        let mut builder = Builder::new(engine, &thread.id, self.pack, origin.as_ref());
        let mut record = match &self.parent {
            Some(parent) => Record {
                v: 0,
                ts: "".into(),
                updated_channels: None,
                ..(**parent.record()).clone()
            },
            None => Record::default(),
        };
        record.metadata = builder.json_map(&self.metadata, &record.metadata).await?;
        let touched: Vec<Arc<str>> = self.changes.keys().cloned().collect();
        for (name, change) in self.changes {
            let old = record
                .channels
                .get(&name)
                .map(|c| c.content.clone())
                .unwrap_or_default();
            let content = match change {
                Change::Remove => {
                    record.channels.remove(&name);
                    continue;
                }
                Change::Set(value) => builder.whole(value, &old).await?,
                Change::Edit(edits) => {
                    let mut edge = match &old {
                        Content::List(slot) => builder.edge(slot).await?,
                        _ => Arc::new(Edge::new(false)),
                    };
                    for edit in edits {
                        edge = edited(&mut builder, edge, edit).await?;
                    }
                    Content::List(Slot::Inline(edge))
                }
            };
            record.channels.insert(
                name,
                Channel {
                    version: None,
                    content,
                },
            );
        }
        let before = self.parent.as_ref().map(|parent| &**parent.record());
        builder.settle(&mut record, before, |name| {
            touched.iter().any(|t| &**t == name)
        })?;
        let key = RecordKey {
            namespace: self.namespace.clone(),
            id: self.id.clone(),
        };
        let target = Target {
            key: key.clone(),
            parent: self.parent.as_ref().map(|parent| parent.key().id.clone()),
            expect_latest: self.expect_latest,
            metadata: self.metadata,
            tried: self.tried,
            fresh: !self.named,
            time_ms: None,
        };
        let (committed, record, index) = builder.commit(record, target, origin).await?;
        thread.saw(&key.id);
        Engine::after_commit(engine, &thread.id, &key.namespace).await;
        let row = RecordRow {
            incarnation: committed.incarnation,
            record: crate::backend::RecordRef {
                key,
                pack: self.pack,
            },
            locator: committed.locator,
            hidden: false,
            pinned: false,
            index,
            body: bytes::Bytes::new(),
            writes: Vec::new(),
        };
        Ok(Snapshot::new(thread, row, record))
    }
}

async fn edited(builder: &mut Builder<'_>, mut edge: Arc<Edge>, edit: Edit) -> Result<Arc<Edge>> {
    let new = elements(edit.new)?;
    if edit.gone.start == edge.len() {
        Arc::make_mut(&mut edge).append(new, &mut builder.pack)?;
        return Ok(edge);
    }
    let fetch = builder.fetch_with_pack();
    Ok(Arc::new(
        splice(&fetch, &edge, edit.gone, new, &mut builder.pack).await?,
    ))
}
