//! The whole state at every step: the "before"; and the same compressed, which is the
//! engine without chunking.
//!
//! The state is written as one chunk straight to the backend, with no parent.
//! Its encoding, lengths and bytes one after the other, costs less than the
//! serializers that savers use, so the comparison errs in this variant's favour.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use chunkpoint_core::backend::{
    Base, CheckpointBackend, ChunkName, Commit, Detail, Incarnation, ListRecords, PackId, Pick,
    RecordIndex, RecordKey, RecordRow,
};
use futures::TryStreamExt;

use super::store::Meter;
use super::{Answer, Change, Counted, Revision, Session, Store, Subject};
use crate::error::{Error, Result};
use crate::measure::{Io, unix_millis};
use crate::workload::{Conversation, Rng};

/// Bytes of a state of `messages` messages with `bytes` bytes in all.
pub fn encoded_len(messages: u64, bytes: u64) -> u64 {
    messages * 4 + bytes
}

/// The whole state at every step.
#[derive(Debug)]
pub(super) struct FullSnapshot {
    backend: Arc<dyn CheckpointBackend>,
    meter: Meter,
    closes: bool,
    compressed: bool,
}

impl FullSnapshot {
    pub(super) async fn open(store: &Store, compressed: bool) -> Result<Self> {
        let (backend, meter) = store.backend().await?;
        Ok(Self {
            backend,
            meter,
            closes: store.is_persistent(),
            compressed,
        })
    }
}

impl Counted for FullSnapshot {
    fn io(&self) -> Io {
        self.meter.io()
    }
}

#[async_trait]
impl Subject for FullSnapshot {
    fn session(&self, number: u32, conversation: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        Ok(Box::new(Thread {
            backend: self.backend.clone(),
            thread: conversation.id.as_str().into(),
            number,
            state: Vec::new(),
            states: 0,
            conversation: conversation.clone(),
            compressed: self.compressed,
        }))
    }

    async fn maintain(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.closes {
            self.backend.close().await.map_err(Error::engine("close"))?;
        }
        Ok(())
    }
}

struct Thread {
    backend: Arc<dyn CheckpointBackend>,
    thread: Arc<str>,
    number: u32,
    state: Vec<Bytes>,
    conversation: Arc<Conversation>,
    /// States so far, written or not.
    states: u64,
    compressed: bool,
}

impl Thread {
    fn change(&mut self, change: Change) {
        self.state.drain(..change.dropped.min(self.state.len()));
        self.state.extend(change.messages);
        self.states += 1;
    }

    async fn read(&self, pick: Pick) -> Result<Option<(Vec<Bytes>, Bytes)>> {
        let mut rows = self
            .backend
            .get(&self.thread, &[pick], Detail::Bodies)
            .await
            .map_err(Error::engine("get"))?;
        let Some(row) = rows.pop().flatten() else {
            return Ok(None);
        };
        let name = ChunkName {
            pack: row.record.pack,
            ordinal: 0,
            locator: row.locator,
            len: u32::try_from(row.index.pack_bytes).unwrap_or(u32::MAX),
        };
        let mut chunks = self
            .backend
            .chunks(&self.thread, row.incarnation, &[name])
            .await
            .map_err(Error::engine("read the state"))?;
        let chunk = chunks.pop().flatten();
        let chunk = chunk.ok_or_else(|| Error::Wrong("a state has no chunk".into()))?;
        let state = match self.compressed {
            true => inflate(&chunk)?,
            false => chunk,
        };
        Ok(Some((decode(state)?, row.body)))
    }

    /// Commits a state, encoded, under the next id.
    async fn commit(&self, mut state: Bytes, body: Bytes) -> Result<String> {
        let step = self.states.saturating_sub(1);
        let id = format!("{step:012}");
        let rng = &mut Rng::at(&[u64::from(self.number), step, 0xf011]);
        if self.compressed {
            state = deflate(&state)?;
        }
        let commit = Commit {
            thread: self.thread.clone(),
            key: Self::key(&id),
            pack: PackId(rng.bits().to_le_bytes()),
            base: Base::Root {
                fresh: Incarnation(rng.bits().to_le_bytes()),
            },
            expect_latest: None,
            index: RecordIndex {
                time_ms: unix_millis(),
                pack_bytes: state.len() as u64,
                ..RecordIndex::default()
            },
            body,
            chunks: vec![state],
            metadata: Arc::default(),
        };
        self.backend
            .commit(commit)
            .await
            .map_err(Error::engine("commit"))?;
        Ok(id)
    }

    /// A whole state, its channels one after the other.
    fn answer(&self, messages: Vec<Bytes>, body: Bytes) -> Answer {
        answer(self.conversation.arrange(messages), body)
    }

    fn latest_pick() -> Pick {
        Pick::Latest {
            namespace: "".into(),
        }
    }

    fn key(id: &str) -> RecordKey {
        RecordKey {
            namespace: "".into(),
            id: id.into(),
        }
    }
}

#[async_trait]
impl Session for Thread {
    fn skip(&mut self, change: Change) {
        self.change(change);
    }

    async fn put(&mut self, mut change: Change) -> Result<String> {
        let body = change.scratch.take().unwrap_or_default();
        self.change(change);
        let state = encode(&self.state);
        self.commit(state, body).await
    }

    async fn fork(&mut self, id: &str, revision: Revision) -> Result<String> {
        let old = self.read(Pick::At(Self::key(id))).await?;
        let none = || Error::Wrong("an old state is not there".into());
        let (mut messages, body) = old.ok_or_else(none)?;
        match revision.at.and_then(|at| messages.get_mut(at)) {
            Some(message) => *message = revision.message,
            None => messages.push(revision.message),
        }
        self.states += 1;
        self.commit(encode(&messages), body).await
    }

    async fn latest(&mut self) -> Result<Option<Answer>> {
        let read = self.read(Self::latest_pick()).await?;
        Ok(read.map(|(messages, body)| self.answer(messages, body)))
    }

    async fn tail(&mut self, count: usize) -> Result<Option<Answer>> {
        // There is no part of a snapshot to ask for.
        let read = self.read(Self::latest_pick()).await?;
        Ok(read.map(|(mut messages, body)| {
            let conversation = &self.conversation;
            if conversation.channels() > 1 {
                let newest = conversation.channel_of(messages.len().saturating_sub(1));
                let mut at = 0..;
                messages.retain(|_| {
                    at.next()
                        .is_some_and(|n| conversation.channel_of(n) == newest)
                });
            }
            messages.drain(..messages.len().saturating_sub(count));
            answer(messages, body)
        }))
    }

    async fn at(&mut self, id: &str) -> Result<Option<Answer>> {
        let read = self.read(Pick::At(Self::key(id))).await?;
        Ok(read.map(|(messages, body)| self.answer(messages, body)))
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        let query = ListRecords {
            thread: self.thread.clone(),
            namespace: Some("".into()),
            before: None,
            limit: None,
            hidden: false,
            detail: Detail::Keys,
        };
        let failed = || Error::engine("list");
        let rows = self.backend.list(query).await.map_err(failed())?;
        let rows: Vec<RecordRow> = rows.try_collect().await.map_err(failed())?;
        Ok(rows
            .into_iter()
            .map(|row| row.record.key.id.to_string())
            .collect())
    }
}

/// Compresses as the engine compresses a chunk: zstd at its own default level.
fn deflate(state: &[u8]) -> Result<Bytes> {
    zstd::encode_all(state, 0)
        .map(Bytes::from)
        .map_err(|e| Error::Cell(format!("zstd: {e}")))
}

fn inflate(stored: &[u8]) -> Result<Bytes> {
    zstd::decode_all(stored)
        .map(Bytes::from)
        .map_err(|e| Error::Wrong(format!("a state does not decompress: {e}")))
}

fn answer(messages: Vec<Bytes>, body: Bytes) -> Answer {
    Answer::State {
        messages,
        scratch: (!body.is_empty()).then_some(body),
    }
}

fn encode(state: &[Bytes]) -> Bytes {
    let bytes: usize = state.iter().map(Bytes::len).sum();
    let mut out = BytesMut::with_capacity(encoded_len(state.len() as u64, bytes as u64) as usize);
    for message in state {
        out.put_u32_le(message.len() as u32);
        out.put_slice(message);
    }
    out.freeze()
}

fn decode(mut state: Bytes) -> Result<Vec<Bytes>> {
    let mut messages = Vec::new();
    while state.has_remaining() {
        let short = || Error::Wrong("a state ends within a message".into());
        let len = state.try_get_u32_le().map_err(|_| short())? as usize;
        if len > state.len() {
            return Err(short());
        }
        messages.push(state.split_to(len));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back() {
        let state = ["", "a", "two"]
            .map(|s| Bytes::from_static(s.as_bytes()))
            .to_vec();
        let bytes = encode(&state);
        assert_eq!(bytes.len() as u64, encoded_len(3, 4));
        assert_eq!(decode(bytes.clone()).unwrap(), state);
        assert!(decode(bytes.slice(..bytes.len() - 1)).is_err());
        assert!(decode(bytes.slice(..2)).is_err());

        let stored = deflate(&bytes).unwrap();
        assert_eq!(inflate(&stored).unwrap(), bytes);
        assert!(inflate(&stored[1..]).is_err());
    }
}
