//! LangGraph's own savers, in a process of Python that takes its own times.

mod link;
pub mod python;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

use self::link::{Change, Link, Request};
use super::{Answer, Counted, OwnTime, Revision, Session, Store, Subject};
use crate::error::{Error, Result};
use crate::measure::{Io, Wire};
use crate::workload::Conversation;

pub(super) use link::Place;

/// The process that keeps what a saver in memory was given, as long as the store is there.
#[derive(Debug, Clone, Default)]
pub struct InMemory(Arc<OnceCell<Arc<Link>>>);

impl InMemory {
    async fn link(&self) -> Result<Arc<Link>> {
        let start = || async { Ok(Arc::new(Link::start(&Place::Memory).await?)) };
        self.0.get_or_try_init(start).await.cloned()
    }

    /// Bytes that it keeps, by the saver's own serialization.
    pub(super) async fn bytes(&self) -> Result<u64> {
        let Some(link) = self.0.get() else {
            return Ok(0);
        };
        let asked = Request {
            op: "held",
            ..Request::default()
        };
        Ok(link.ask(asked, &[]).await?.bytes)
    }
}

/// A saver of LangGraph.
#[derive(Debug)]
pub(super) struct LangGraph {
    link: Arc<Link>,
    wire: Option<Arc<Wire>>,
    /// Whether others use its process.
    shared: bool,
}

impl LangGraph {
    pub(super) async fn open(store: &Store) -> Result<Self> {
        let (link, wire, shared) = match store {
            Store::Memory { peer, .. } => (peer.link().await?, None, true),
            Store::Sql { place, wire } => {
                let link = Link::start(&place.peer()?).await?;
                (Arc::new(link), wire.clone(), false)
            }
            Store::File { .. }
            | Store::Redis { .. }
            | Store::MongoDb { .. }
            | Store::Own { .. } => {
                let what = "LangGraph's savers are driven on memory, sqlite, postgres and mysql";
                return Err(Error::Usage(what.into()));
            }
        };
        Ok(Self { link, wire, shared })
    }
}

impl Counted for LangGraph {
    fn io(&self) -> Io {
        self.wire.as_ref().map(|wire| wire.io()).unwrap_or_default()
    }

    fn counts(&self) -> bool {
        self.wire.is_some()
    }
}

#[async_trait]
impl Subject for LangGraph {
    fn session(&self, _: u32, conversation: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        Ok(Box::new(Thread {
            link: self.link.clone(),
            conversation: conversation.clone(),
            skipped: Vec::new(),
            own_time: None,
        }))
    }

    fn process(&self) -> Option<u32> {
        Some(self.link.process())
    }

    fn about(&self) -> Option<String> {
        Some(self.link.about().into())
    }

    async fn maintain(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        match self.shared {
            true => Ok(()),
            false => self.link.end().await,
        }
    }
}

struct Thread {
    link: Arc<Link>,
    conversation: Arc<Conversation>,
    /// Changes that no saved state has yet.
    skipped: Vec<super::Change>,
    own_time: Option<OwnTime>,
}

impl Thread {
    async fn ask(&mut self, request: Request<'_>, data: &[Bytes]) -> Result<link::Answer> {
        let answer = self.link.ask(request, data).await?;
        self.own_time = Some(OwnTime {
            service: answer.took(),
            response: answer.response(),
        });
        Ok(answer)
    }

    async fn get(&mut self, id: Option<&str>) -> Result<Option<link::Answer>> {
        let conversation = self.conversation.clone();
        let asked = Request {
            op: "get",
            thread: &conversation.id,
            id,
            ..Request::default()
        };
        let answer = self.ask(asked, &[]).await?;
        Ok(answer.found.then_some(answer))
    }

    /// A whole state, its channels one after the other.
    fn whole(answer: link::Answer) -> Result<Answer> {
        let (channels, scratch) = parts(answer)?;
        let messages = channels.into_iter().flat_map(|(_, messages)| messages);
        Ok(Answer::State {
            messages: messages.collect(),
            scratch,
        })
    }
}

#[async_trait]
impl Session for Thread {
    fn own_time(&self) -> Option<OwnTime> {
        self.own_time
    }

    fn skip(&mut self, change: super::Change) {
        self.skipped.push(change);
    }

    async fn put(&mut self, change: super::Change) -> Result<String> {
        self.skipped.push(change);
        let (mut changes, mut data) = (Vec::new(), Vec::new());
        for change in self.skipped.drain(..) {
            changes.push(Change {
                channel: change.channel,
                dropped: change.dropped,
                lengths: change.messages.iter().map(Bytes::len).collect(),
                scratch: change.scratch.as_ref().map(Bytes::len),
            });
            data.extend(change.messages);
            data.extend(change.scratch);
        }
        let conversation = self.conversation.clone();
        let asked = Request {
            op: "put",
            thread: &conversation.id,
            changes,
            ..Request::default()
        };
        let answer = self.ask(asked, &data).await?;
        let none = || Error::Cell("a saver gave no id".into());
        answer.id.ok_or_else(none)
    }

    async fn latest(&mut self) -> Result<Option<Answer>> {
        let answer = self.get(None).await?;
        answer.map(Self::whole).transpose()
    }

    async fn tail(&mut self, count: usize) -> Result<Option<Answer>> {
        // There is no part of a state to ask for.
        let Some(answer) = self.get(None).await? else {
            return Ok(None);
        };
        let (channels, scratch) = parts(answer)?;
        let states: usize = channels.iter().map(|(_, messages)| messages.len()).sum();
        let newest = self.conversation.channel_of(states.saturating_sub(1));
        let of_newest = channels.into_iter().find(|(channel, _)| *channel == newest);
        let mut messages = of_newest.map(|(_, messages)| messages).unwrap_or_default();
        messages.drain(..messages.len().saturating_sub(count));
        Ok(Some(Answer::State { messages, scratch }))
    }

    async fn at(&mut self, id: &str) -> Result<Option<Answer>> {
        let answer = self.get(Some(id)).await?;
        answer.map(Self::whole).transpose()
    }

    async fn fork(&mut self, id: &str, revision: Revision) -> Result<String> {
        let conversation = self.conversation.clone();
        let asked = Request {
            op: "fork",
            thread: &conversation.id,
            id: Some(id),
            at: revision.at,
            ..Request::default()
        };
        let answer = self.ask(asked, &[revision.message]).await?;
        let none = || Error::Cell("a saver gave no id".into());
        answer.id.ok_or_else(none)
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        let conversation = self.conversation.clone();
        let asked = Request {
            op: "history",
            thread: &conversation.id,
            ..Request::default()
        };
        Ok(self.ask(asked, &[]).await?.ids)
    }
}

/// The messages of each channel of a state.
type Channels = Vec<(usize, Vec<Bytes>)>;

/// The messages of a state by channel, and the value beside them.
fn parts(answer: link::Answer) -> Result<(Channels, Option<Bytes>)> {
    let mut data = answer.data;
    let mut take = |length: usize| {
        if length > data.len() {
            return Err(Error::Wrong("a peer's answer ends within a message".into()));
        }
        Ok(data.split_to(length))
    };
    let mut channels = Vec::new();
    for (channel, lengths) in answer.channels {
        let messages: Result<Vec<_>> = lengths.into_iter().map(&mut take).collect();
        channels.push((channel, messages?));
    }
    let scratch = answer.scratch.map(take).transpose()?;
    Ok((channels, scratch))
}
