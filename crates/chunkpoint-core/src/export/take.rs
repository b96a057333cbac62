//! One checkpoint being imported: built on its base as a draft would be, then committed,
//! or compared with the one that is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use super::read::Surroundings;
use super::source::Held;
use super::there::{conflict, difference, missing_writes};
use crate::backend::{Alter, Altered, Change, PendingWrite, PutWrites, RecordRef, RecordRow};
use crate::commit::{Builder, Origin, Target, Tried, elements};
use crate::engine::Engine;
use crate::error::{Error, Result, quote};
use crate::record::{Channel, Content, Record, Slot, Version};
use crate::saver::Write;
use crate::tree::{Edge, Element, position, splice};
use crate::types::{Item, Value};

/// Bytes of pending writes that are stored in one call.
const WRITES: usize = 4 << 20;

/// A checkpoint being built.
pub(super) struct Take<'a> {
    engine: &'a Arc<Engine>,
    thread: &'a Arc<str>,
    builder: Builder<'a>,
    pub(super) record: Record,
    base: Arc<Record>,
    origin: Option<Origin>,
    /// Channels that the line gives a value.
    touched: BTreeSet<String>,
}

/// A channel to which more may come.
pub(super) struct Open {
    version: Option<Version>,
    content: Growing,
}

enum Growing {
    Done(Content),
    /// As the base has it.
    Same(Content),
    /// New items replace so many at this place.
    List {
        edge: Arc<Edge>,
        at: u64,
        gone: u64,
    },
    /// Entries come in order, at the end.
    WholeMap(Edge),
    /// Entries come anywhere.
    Map(Arc<Edge>),
}

impl Open {
    pub(super) fn done(version: Option<Version>, content: Content) -> Self {
        Self {
            version,
            content: Growing::Done(content),
        }
    }

    pub(super) fn whole_list(version: Option<Version>) -> Self {
        let content = Growing::List {
            edge: Arc::new(Edge::new(false)),
            at: 0,
            gone: 0,
        };
        Self { version, content }
    }

    pub(super) fn whole_map(version: Option<Version>) -> Self {
        Self {
            version,
            content: Growing::WholeMap(Edge::new(true)),
        }
    }
}

impl<'a> Take<'a> {
    pub(super) fn new(
        engine: &'a Arc<Engine>,
        thread: &'a Arc<str>,
        base: Option<&Held>,
    ) -> Result<Self> {
        let origin = base.map(|base| Origin {
            incarnation: base.row.incarnation,
            from: vec![base.row.record.clone()],
        });
        let base = base.map(|base| base.record.clone()).unwrap_or_default();
        Ok(Self {
            engine,
            thread,
            builder: Builder::new(engine, thread, engine.pack_id()?, origin.as_ref()),
            record: (*base).clone(),
            base,
            origin,
            touched: BTreeSet::new(),
        })
    }

    pub(super) async fn json(
        &mut self,
        metadata: &JsonMap<String, Json>,
        versions_seen: &JsonMap<String, Json>,
    ) -> Result<()> {
        let base = self.base.clone();
        self.record.metadata = self.builder.json_map(metadata, &base.metadata).await?;
        self.record.versions_seen = self
            .builder
            .json_map(versions_seen, &base.versions_seen)
            .await?;
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        match self.record.channels.remove(name) {
            Some(_) => Ok(()),
            None => Err(no_such(name)),
        }
    }

    fn old(&self, name: &str) -> Result<&Content> {
        let channel = self.base.channels.get(name);
        channel
            .map(|channel| &channel.content)
            .ok_or_else(|| no_such(name))
    }

    async fn old_list(&self, name: &str) -> Result<Arc<Edge>> {
        match self.old(name)? {
            Content::List(slot) => self.builder.edge(slot).await,
            _ => Err(other_kind("list")),
        }
    }

    pub(super) fn same(&self, name: &str, version: Option<Version>) -> Result<Open> {
        Ok(Open {
            version,
            content: Growing::Same(self.old(name)?.clone()),
        })
    }

    pub(super) async fn item(
        &mut self,
        name: &str,
        version: Option<Version>,
        item: Item,
    ) -> Result<Open> {
        let base = self.base.clone();
        let old = base.channels.get(name).map(|channel| &channel.content);
        let old = old.unwrap_or(&Content::Absent);
        let content = self.builder.whole(Value::Item(item), old).await?;
        Ok(Open::done(version, content))
    }

    pub(super) async fn append(&self, name: &str, version: Option<Version>) -> Result<Open> {
        let edge = self.old_list(name).await?;
        let at = edge.len();
        let content = Growing::List { edge, at, gone: 0 };
        Ok(Open { version, content })
    }

    pub(super) async fn splice(
        &self,
        name: &str,
        version: Option<Version>,
        at: u64,
        gone: u64,
    ) -> Result<Open> {
        let edge = self.old_list(name).await?;
        if at.checked_add(gone).is_none_or(|end| end > edge.len()) {
            return Err(Error::invalid(format!(
                "it replaces {gone} items from {at} on; the list it builds on has {}",
                edge.len()
            )));
        }
        let content = Growing::List { edge, at, gone };
        Ok(Open { version, content })
    }

    pub(super) async fn edit_map(&self, name: &str, version: Option<Version>) -> Result<Open> {
        match self.old(name)? {
            Content::Map(slot) => Ok(Open {
                version,
                content: Growing::Map(self.builder.edge(slot).await?),
            }),
            _ => Err(other_kind("map")),
        }
    }

    pub(super) async fn add_items(&mut self, open: &mut Open, items: Vec<Item>) -> Result<()> {
        let Growing::List { edge, at, gone } = &mut open.content else {
            return match items.is_empty() {
                true => Ok(()),
                false => Err(other_kind("list")),
            };
        };
        let count = items.len() as u64;
        let new = elements(items)?;
        if *at == edge.len() {
            Arc::make_mut(edge).append(new, &mut self.builder.pack)?;
        } else if count > 0 || *gone > 0 {
            let fetch = self.builder.fetch_with_pack();
            let range = *at..*at + *gone;
            *edge = Arc::new(splice(&fetch, edge, range, new, &mut self.builder.pack).await?);
        }
        *at += count;
        *gone = 0;
        Ok(())
    }

    pub(super) async fn add_entries(
        &mut self,
        open: &mut Open,
        entries: Vec<(String, Item)>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        match &mut open.content {
            Growing::WholeMap(edge) => {
                for (key, item) in entries {
                    let last = last_key(&self.builder, edge).await?;
                    if last.is_some_and(|last| *last >= *key) {
                        return Err(Error::invalid(format!(
                            "map key {} does not come after the one before; keys ascend by \
                             their bytes",
                            quote(&key)
                        )));
                    }
                    edge.append([Element::new(key.into(), item)], &mut self.builder.pack)?;
                }
                Ok(())
            }
            Growing::Map(edge) => {
                for (key, item) in entries {
                    let fetch = self.builder.fetch_with_pack();
                    let (at, found) = position(&fetch, edge, &key).await?;
                    let gone = at..at + u64::from(found.is_some());
                    let new = vec![Element::new(key.into(), item)];
                    let pack = &mut self.builder.pack;
                    *edge = Arc::new(splice(&fetch, edge, gone, new, pack).await?);
                }
                Ok(())
            }
            _ => Err(other_kind("map")),
        }
    }

    pub(super) async fn remove_entries(&mut self, open: &mut Open, keys: &[String]) -> Result<()> {
        let Growing::Map(edge) = &mut open.content else {
            return Err(other_kind("map"));
        };
        for key in keys {
            let fetch = self.builder.fetch_with_pack();
            let (at, found) = position(&fetch, edge, key).await?;
            if found.is_none() {
                return Err(Error::invalid(format!(
                    "map key {} is to go, but the map it builds on has no such key",
                    quote(key)
                )));
            }
            let pack = &mut self.builder.pack;
            *edge = Arc::new(splice(&fetch, edge, at..at + 1, Vec::new(), pack).await?);
        }
        Ok(())
    }

    /// Puts a channel to which no more comes into the record.
    pub(super) fn close(&mut self, name: &str, open: Open) {
        let content = match open.content {
            Growing::Same(content) => content,
            changed => {
                self.touched.insert(name.to_owned());
                match changed {
                    Growing::Done(content) | Growing::Same(content) => content,
                    Growing::List { edge, .. } => Content::List(Slot::Inline(edge)),
                    Growing::WholeMap(edge) => Content::Map(Slot::Inline(Arc::new(edge))),
                    Growing::Map(edge) => Content::Map(Slot::Inline(edge)),
                }
            }
        };
        let version = open.version;
        self.record
            .channels
            .insert(name.into(), Channel { version, content });
    }

    /// Stores it, unless it is there. Gives what is there now, and whether it was before.
    pub(super) async fn finish(
        self,
        surroundings: Surroundings,
        there: Option<Held>,
    ) -> Result<(Held, bool)> {
        match there {
            Some(there) => {
                let what = difference(&there, &self.record, &surroundings);
                if let Some(what) = what {
                    return Err(conflict(self.thread, &surroundings, &what));
                }
                let (engine, thread) = (self.engine, self.thread);
                let missing = missing_writes(engine, thread, &there.row, &surroundings)?;
                put_writes(engine, thread, &surroundings, &missing).await?;
                set_flags(engine, thread, &there.row, &surroundings).await?;
                Ok((there, true))
            }
            None => Ok((self.store(surroundings).await?, false)),
        }
    }

    async fn store(mut self, surroundings: Surroundings) -> Result<Held> {
        let touched = &self.touched;
        self.builder
            .settle(&mut self.record, None, |name| touched.contains(name))?;
        let (engine, thread) = (self.engine, self.thread);
        // Until the checkpoint comes, its writes cannot be seen: it appears complete.
        let writes: Vec<&Write> = surroundings.writes.iter().collect();
        put_writes(engine, thread, &surroundings, &writes).await?;
        let target = Target {
            key: surroundings.key.clone(),
            parent: surroundings.parent.clone(),
            expect_latest: None,
            metadata: surroundings.metadata.clone(),
            time_ms: Some(surroundings.time_ms),
            tried: Tried::default(),
            // What its history passes is in the file, and comes before it.
            fresh: false,
        };
        let pack = self.builder.pack.id();
        let (committed, record, index) = self
            .builder
            .commit(self.record, target, self.origin)
            .await?;
        let row = RecordRow {
            incarnation: committed.incarnation,
            record: RecordRef {
                key: surroundings.key.clone(),
                pack,
            },
            locator: committed.locator,
            hidden: false,
            pinned: false,
            index,
            body: bytes::Bytes::new(),
            writes: Vec::new(),
        };
        set_flags(engine, thread, &row, &surroundings).await?;
        Ok(Held::new(engine, thread, row, record))
    }
}

fn no_such(name: &str) -> Error {
    Error::invalid(format!(
        "the checkpoint it builds on has no channel {}",
        quote(name)
    ))
}

fn other_kind(kind: &str) -> Error {
    Error::invalid(format!("what it builds on or continues is no {kind}"))
}

/// The last key of a map to which only entries at the end were added.
async fn last_key(builder: &Builder<'_>, edge: &Edge) -> Result<Option<Arc<str>>> {
    if let Some(last) = edge.tail.last() {
        return Ok(Some(last.key.clone()));
    }
    let Some(last) = edge.len().checked_sub(1) else {
        return Ok(None);
    };
    let fetch = builder.fetch_with_pack();
    let found = crate::tree::range(&fetch, edge, last..last + 1).await?;
    Ok(found.into_iter().next().map(|element| element.key))
}

async fn put_writes(
    engine: &Engine,
    thread: &Arc<str>,
    line: &Surroundings,
    writes: &[&Write],
) -> Result<()> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (n, write) in writes.iter().enumerate() {
        let value = engine.encode_write(&write.value)?;
        bytes += value.len();
        batch.push(PendingWrite {
            task_id: write.task_id.clone(),
            task_path: write.task_path.clone(),
            idx: write.idx,
            channel: write.channel.clone(),
            value,
            replace: true,
        });
        if bytes < WRITES && n + 1 < writes.len() {
            continue;
        }
        bytes = 0;
        let put = PutWrites {
            thread: thread.clone(),
            key: line.key.clone(),
            write_id: engine.pack_id()?,
            fresh: engine.incarnation()?,
            time_ms: engine.clock.now_ms(),
            writes: std::mem::take(&mut batch),
        };
        engine.backend.put_writes(put).await?;
    }
    Ok(())
}

/// Pins and hides what the line says is pinned and hidden.
async fn set_flags(
    engine: &Engine,
    thread: &Arc<str>,
    row: &RecordRow,
    line: &Surroundings,
) -> Result<()> {
    let mut changes = Vec::new();
    for (wanted, is, change) in [
        (line.hidden, row.hidden, Change::Hide),
        (line.pinned, row.pinned, Change::Pin(true)),
    ] {
        if wanted && !is {
            changes.push((row.record.clone(), change));
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let answers = engine
        .backend
        .alter(Alter {
            thread: thread.clone(),
            incarnation: row.incarnation,
            time_ms: engine.clock.now_ms(),
            changes,
        })
        .await?;
    if answers.iter().all(|answer| *answer == Altered::Done) {
        return Ok(());
    }
    Err(conflict(thread, line, "something changed meanwhile"))
}
