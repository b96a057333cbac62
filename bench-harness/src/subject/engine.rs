//! The engine, as programs use it: by drafts that say what changed, or by whole
//! values, for the engine to find what changed; and with one technique off.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::types::{Item, Value};
use chunkpoint_core::{Compression, HistoryQuery, Memory, Settings, Snapshot, Thread};
use futures::TryStreamExt;

use super::store::Meter;
use super::{
    Answer, Change, Counted, MESSAGES, Revision, SCRATCH, Session, Store, Subject, Variant,
};
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::scenario::EngineSettings;
use crate::workload::Conversation;

/// The tag of every item here: messages are JSON.
const TAG: &str = "json";

/// The engine on a store.
#[derive(Debug)]
pub(super) struct Engine {
    open: Open,
    variant: Variant,
}

impl Engine {
    pub(super) async fn open(
        store: &Store,
        settings: &EngineSettings,
        variant: Variant,
    ) -> Result<Self> {
        Ok(Self {
            open: Open::on(store, engine_settings(settings, variant)).await?,
            variant,
        })
    }
}

/// A memory that is open on a store.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) memory: Memory,
    meter: Meter,
    closes: bool,
}

impl Open {
    pub(super) async fn on(store: &Store, settings: Settings) -> Result<Self> {
        let (backend, meter) = store.backend().await?;
        let memory = Memory::builder(backend)
            .settings(settings)
            .build()
            .map_err(Error::engine("build the engine"))?;
        Ok(Self {
            memory,
            meter,
            closes: store.is_persistent(),
        })
    }

    pub(super) async fn close(&self) -> Result<()> {
        // Closing closes the backend; the one in memory is opened again.
        if self.closes {
            self.memory.close().await.map_err(Error::engine("close"))?;
        }
        Ok(())
    }
}

impl Counted for Open {
    fn io(&self) -> Io {
        self.meter.io()
    }
}

/// The settings of a scenario, and what a variant switches off.
pub(super) fn engine_settings(given: &EngineSettings, variant: Variant) -> Settings {
    let mut settings = Settings::default();
    if let Some(mib) = given.cache_mib {
        settings.cache_bytes = (mib as u64) << 20;
    }
    if given.max_history.is_some() {
        settings.max_history = given.max_history;
    }
    if let Some(grace) = given.grace_ms {
        settings.grace = Duration::from_millis(grace);
    }
    match variant {
        Variant::NoCache => settings.cache_bytes = 0,
        Variant::NoCompression => settings.compression = Compression::None,
        _ => {}
    }
    settings
}

impl Counted for Engine {
    fn io(&self) -> Io {
        self.open.io()
    }
}

#[async_trait]
impl Subject for Engine {
    fn session(&self, _: u32, conversation: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        let thread = self
            .open
            .memory
            .thread(&conversation.id)
            .map_err(Error::engine("open a thread"))?;
        let channels = (0..conversation.channels()).map(channel_name).collect();
        let whole = (self.variant == Variant::WholeValue)
            .then(|| vec![Vec::new(); conversation.channels()]);
        Ok(Box::new(OpenThread {
            thread,
            channels,
            newest: conversation.channel_of(conversation.len().saturating_sub(1)),
            last: None,
            whole,
            lazy: self.variant != Variant::NoLazyLoading,
        }))
    }

    async fn maintain(&self) -> Result<()> {
        let memory = &self.open.memory;
        memory.maintain().await.map_err(Error::engine("maintain"))?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.open.close().await
    }
}

struct OpenThread {
    thread: Thread,
    channels: Vec<String>,
    /// The channel that a tail read is of: the last message's.
    newest: usize,
    /// The newest state, held as an agent holds it between two steps.
    last: Option<Snapshot>,
    /// The messages of each channel, if they are handed over as a whole.
    whole: Option<Vec<Vec<Item>>>,
    /// Whether a part of a state can be read alone.
    lazy: bool,
}

#[async_trait]
impl Session for OpenThread {
    async fn put(&mut self, change: Change) -> Result<String> {
        let failed = || Error::engine("put");
        let mut draft = match &self.last {
            Some(snapshot) => snapshot.draft().map_err(failed())?,
            None => self.thread.draft().await.map_err(failed())?,
        };
        let items = change
            .messages
            .into_iter()
            .map(|message| Item::new(TAG, message));
        let channel = &self.channels[change.channel];
        if let Some(whole) = &mut self.whole {
            let whole = &mut whole[change.channel];
            whole.drain(..change.dropped);
            whole.extend(items);
            draft.set(channel, whole.clone()).map_err(failed())?;
        } else {
            if change.dropped > 0 {
                draft
                    .splice(channel, 0..change.dropped as u64, [])
                    .map_err(failed())?;
            }
            draft.append(channel, items).map_err(failed())?;
        }
        if let Some(scratch) = change.scratch {
            draft
                .set(SCRATCH, Item::new(TAG, scratch))
                .map_err(failed())?;
        }
        let snapshot = self.thread.commit(draft).await.map_err(failed())?;
        let id = snapshot.id().to_string();
        self.last = Some(snapshot);
        Ok(id)
    }

    async fn latest(&mut self) -> Result<Option<Answer>> {
        let failed = || Error::engine("load the newest state");
        match self.thread.latest().await.map_err(failed())? {
            Some(snapshot) => self.load(&snapshot).await.map(Some),
            None => Ok(None),
        }
    }

    async fn tail(&mut self, count: usize) -> Result<Option<Answer>> {
        let failed = || Error::engine("read the tail");
        let Some(snapshot) = self.thread.latest().await.map_err(failed())? else {
            return Ok(None);
        };
        let channel = &self.channels[self.newest];
        if !self.lazy {
            let mut state = snapshot.load().await.map_err(failed())?;
            let Some(Value::List(mut items)) = state.remove(channel) else {
                return Err(Error::Wrong("a list came back as something else".into()));
            };
            items.drain(..items.len().saturating_sub(count));
            return Ok(Some(Answer::State {
                messages: bytes_of(items),
                scratch: None,
            }));
        }
        let list = snapshot.list(channel).await.map_err(failed())?;
        let items = list.tail(count as u64).await.map_err(failed())?;
        Ok(Some(Answer::State {
            messages: bytes_of(items),
            scratch: None,
        }))
    }

    async fn at(&mut self, id: &str) -> Result<Option<Answer>> {
        match self
            .thread
            .at(id)
            .await
            .map_err(Error::engine("read a state"))?
        {
            Some(snapshot) => self.load(&snapshot).await.map(Some),
            None => Ok(None),
        }
    }

    async fn fork(&mut self, id: &str, revision: Revision) -> Result<String> {
        let failed = || Error::engine("make a state from an old one");
        let old = self.thread.at(id).await.map_err(failed())?;
        let old = old.ok_or_else(|| Error::Wrong("an old state is not there".into()))?;
        let mut draft = old.draft().map_err(failed())?;
        let item = Item::new(TAG, revision.message);
        let channel = &self.channels[self.newest];
        match revision.at {
            Some(at) => draft.splice(channel, at as u64..at as u64 + 1, [item]),
            None => draft.append(channel, [item]),
        }
        .map_err(failed())?;
        let made = self.thread.commit(draft).await.map_err(failed())?;
        Ok(made.id().to_string())
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        let snapshots: Vec<_> = self
            .thread
            .history(HistoryQuery::default())
            .map_ok(|snapshot| snapshot.id().to_string())
            .try_collect()
            .await
            .map_err(Error::engine("list the history"))?;
        Ok(snapshots)
    }
}

impl OpenThread {
    async fn load(&self, snapshot: &Snapshot) -> Result<Answer> {
        let mut state = snapshot
            .load()
            .await
            .map_err(Error::engine("load a state"))?;
        let mut messages = Vec::new();
        for channel in &self.channels {
            match state.remove(channel) {
                Some(Value::List(items)) => messages.extend(bytes_of(items)),
                Some(_) => return Err(Error::Wrong("a list came back as something else".into())),
                None => {}
            }
        }
        let scratch = match state.remove(SCRATCH) {
            Some(Value::Item(item)) => Some(item.bytes),
            Some(_) => return Err(Error::Wrong("an item came back as something else".into())),
            None => None,
        };
        Ok(Answer::State { messages, scratch })
    }
}

fn channel_name(channel: usize) -> String {
    match channel {
        0 => MESSAGES.into(),
        other => format!("{MESSAGES}-{other}"),
    }
}

fn bytes_of(items: Vec<Item>) -> Vec<Bytes> {
    items.into_iter().map(|item| item.bytes).collect()
}
