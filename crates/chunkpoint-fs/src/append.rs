//! Building what is appended to a log: frames for operations, and state frames
//! between them.
//!
//! An [`Appender`] works on a state of its own. Its frames reach the file in
//! one write at the end, or earlier where an operation has to read what one
//! before it appended; they count for others only when the state is published.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{PackId, PendingWrite, RecordIndex};
use chunkpoint_core::{ErrorKind, Result};

use crate::frame::{Kind, put_frame};
use crate::log::{Going, LogFile, Reader};
use crate::order::{locate, settle};
use crate::payload::{
    Alter, Change, Commit, Condemns, Directory, LateRecord, Order, Pack, Reclaim, Slot, Writes,
    chunk_crc,
};
use crate::row::read_commit;
use crate::snapshot;
use crate::state::{Event, Found, Latest, Life, Lookup, Ns, State};
use crate::table;

/// Bytes between two state frames, or as many as eight of them have, whichever
/// is more: so they take at most an eighth, and opening reads little.
const STATE_DISTANCE: u64 = 24 * 1024;

/// Buffered before they are written out, where nobody waits for one write.
const SPILL: usize = 1024 * 1024;

/// A chunk to be appended.
#[derive(Debug, Clone)]
pub(crate) enum NewChunk {
    /// A new one.
    Bytes(Bytes),
    /// One from another log, with the checksum it had there: damage is carried
    /// along as damage.
    Copied(Bytes, u32),
    /// One that was reclaimed; its ordinal stays taken.
    Gone,
}

/// A record to be appended.
#[derive(Debug)]
pub(crate) struct NewRecord {
    pub(crate) namespace: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) pack: PackId,
    pub(crate) index: RecordIndex,
    pub(crate) body: Bytes,
    pub(crate) chunks: Vec<NewChunk>,
    pub(crate) hidden: bool,
    pub(crate) pinned: bool,
}

/// Appends to one log.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) log: Arc<LogFile>,
    pub(crate) state: State,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    at: u64,
    /// Where all this began.
    start: u64,
    /// Where its first frame ends.
    first_end: Option<u64>,
    first: bool,
    reader: Reader,
}

impl Appender {
    /// An appender behind everything in `state`.
    pub(crate) fn new(log: Arc<LogFile>, state: State) -> Self {
        let at = state.end;
        let reader = Reader::new(log.clone(), at);
        Self {
            log,
            state,
            buffer: Vec::new(),
            at,
            start: at,
            first_end: None,
            first: true,
            reader,
        }
    }

    /// Whether anything was appended.
    pub(crate) fn is_dirty(&self) -> bool {
        self.state.end > self.start
    }

    /// Where the log ended before.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Whether somebody else may have seen a frame of it, in a file of `len`
    /// bytes.
    pub(crate) fn was_seen(&self, len: u64) -> bool {
        self.first_end.is_some_and(|end| end <= len)
    }

    /// A reader that sees all that was appended, and the state it belongs to.
    pub(crate) fn reader(&mut self) -> Result<(&mut Reader, &State)> {
        self.write_out()?;
        self.reader.extend(self.state.end);
        Ok((&mut self.reader, &self.state))
    }

    /// Writes what is buffered.
    pub(crate) fn write_out(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.log.write_at(self.at, &self.buffer)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind, payload: &[u8], tail: &[Bytes], event: &Event) -> u64 {
        let offset = self.state.end;
        let salt = self.state.header.salt();
        put_frame(&mut self.buffer, salt, offset, kind, self.first, payload);
        self.first = false;
        tail.iter()
            .for_each(|bytes| self.buffer.extend_from_slice(bytes));
        let end = self.at + self.buffer.len() as u64;
        self.first_end.get_or_insert(end);
        self.state.apply(offset, end, event);
        offset
    }

    /// Finds a record, appended ones included.
    pub(crate) fn locate(&mut self, namespace: &str, id: &str) -> Result<Option<(u32, Found)>> {
        let Some((ns, _)) = self.state.ns(namespace) else {
            return Ok(None);
        };
        // Memory knows most; only what it does not know needs the file.
        let found = match self.state.lookup(ns, id) {
            Lookup::Is(found) => Some(found),
            Lookup::No => None,
            Lookup::Search => {
                let (reader, state) = self.reader()?;
                locate(reader, state, ns, id)?
            }
        };
        Ok(found.map(|found| (ns, found)))
    }

    /// Appends a record, which replaces one of its name, and gives its place.
    pub(crate) fn record(&mut self, new: NewRecord) -> Result<u64> {
        let NewRecord {
            namespace,
            id,
            pack,
            mut index,
            body,
            chunks,
            hidden,
            mut pinned,
        } = new;
        let ns = self.state.ns_ref(&namespace);
        let top = self
            .state
            .ns(&namespace)
            .and_then(|(_, ns)| ns.top.as_ref());
        let order = match top {
            None => Order::Next {
                prev: 0,
                prev_writes: 0,
            },
            Some(top) if top.id < id => Order::Next {
                prev: top.loc,
                prev_writes: top.writes,
            },
            Some(_) => match self.locate(&namespace, &id)? {
                Some((_, former)) => {
                    let commit = read_commit(self.reader()?.0, former.loc, Going::Only)?;
                    let garbage = commit.body.len() as u64 + 64;
                    index.parent = commit.index.parent;
                    pinned |= former.pinned;
                    Order::Exception {
                        older: former.loc,
                        condemns: Some(Condemns {
                            chain: self.state.chain,
                            garbage,
                        }),
                        lift: former.lift,
                    }
                }
                None => {
                    let exception = self.state.namespaces[ns.index as usize].exceptions.get(&id);
                    let older = exception.map_or(0, |exception| exception.loc);
                    Order::Exception {
                        older,
                        condemns: None,
                        lift: None,
                    }
                }
            },
        };
        let (directory, tail) = pack_chunks(pack, chunks);
        let commit = Commit {
            pack,
            directory,
            ns,
            id,
            index,
            order,
            hidden,
            pinned,
            body,
        };
        let payload = commit.encode(self.state.header.place(self.state.end));
        // The state does not need the body, and should not hold on to it.
        let commit = Commit {
            body: Bytes::new(),
            ..commit
        };
        Ok(self.push(Kind::Commit, &payload, &tail, &Event::Commit(commit)))
    }

    /// Appends a condemned pack.
    pub(crate) fn pack(&mut self, pack: PackId, chunks: Vec<NewChunk>, time_ms: u64) -> u64 {
        let (directory, tail) = pack_chunks(pack, chunks);
        let pack = Pack {
            pack,
            directory,
            time_ms,
            chain: self.state.chain,
        };
        let payload = pack.encode(self.state.header.place(self.state.end));
        self.push(Kind::Pack, &payload, &tail, &Event::Pack(pack))
    }

    /// The pending writes of a checkpoint: the newest frame of their chain.
    pub(crate) fn pending(&mut self, namespace: &str, id: &str) -> Result<u64> {
        if let Some((_, found)) = self.locate(namespace, id)? {
            return Ok(found.writes);
        }
        let exception = self
            .state
            .ns(namespace)
            .and_then(|(_, ns)| ns.exceptions.get(id));
        Ok(exception.map_or(0, |exception| exception.writes))
    }

    /// Appends pending writes of a checkpoint, which need not exist.
    pub(crate) fn writes(
        &mut self,
        namespace: &Arc<str>,
        id: &Arc<str>,
        write_id: PackId,
        time_ms: u64,
        writes: Vec<PendingWrite>,
    ) -> Result<()> {
        let prev = self.pending(namespace, id)?;
        self.writes_after(prev, namespace, id, write_id, time_ms, writes)
    }

    /// The same with `prev` as the writes before; 0 leaves those there are
    /// behind.
    pub(crate) fn writes_after(
        &mut self,
        prev: u64,
        namespace: &Arc<str>,
        id: &Arc<str>,
        write_id: PackId,
        time_ms: u64,
        writes: Vec<PendingWrite>,
    ) -> Result<()> {
        let ns = self.state.ns_ref(namespace);
        let top = self
            .state
            .ns(namespace)
            .and_then(|(_, ns)| ns.top_id().cloned());
        let late = match self.locate(namespace, id)? {
            Some((_, found)) if top.as_ref() != Some(id) => found.lift.map(|lift| LateRecord {
                loc: found.loc,
                pack: found.pack,
                hidden: found.hidden,
                pinned: found.pinned,
                prev: lift.prev,
            }),
            _ => None,
        };
        let writes = Writes {
            ns,
            id: id.clone(),
            write_id,
            time_ms,
            prev,
            late,
            writes,
        };
        let payload = writes.encode(self.state.header.place(self.state.end));
        self.push(Kind::Writes, &payload, &[], &Event::Writes(writes));
        Ok(())
    }

    /// What removing a record leaves behind, chunks not counted.
    pub(crate) fn record_bytes(&mut self, found: &Found) -> Result<u64> {
        let (reader, _) = self.reader()?;
        let commit = read_commit(reader, found.loc, Going::Only)?;
        Ok(commit.body.len() as u64 + 64)
    }

    /// Appends changes, each of another record as it was found.
    pub(crate) fn change(&mut self, time_ms: u64, changes: Vec<Change>) {
        if !changes.is_empty() {
            let alter = Alter {
                time_ms,
                chain: self.state.chain,
                changes,
            };
            let payload = alter.encode(self.state.header.place(self.state.end));
            self.push(Kind::Alter, &payload, &[], &Event::Alter(alter));
        }
    }

    /// Appends that chunks are dead, and that orphaned writes are gone.
    pub(crate) fn reclaim(&mut self, reclaim: Reclaim) {
        let payload = reclaim.encode(self.state.header.place(self.state.end));
        self.push(Kind::Reclaim, &payload, &[], &Event::Reclaim(reclaim));
    }

    /// Checkpoints that have pending writes but do not exist: namespace, id,
    /// newest frame.
    pub(crate) fn orphans(state: &State) -> Vec<(u32, Arc<str>, u64)> {
        let of = |(ns, space): (u32, &Arc<Ns>)| {
            let orphans = space
                .exceptions
                .iter()
                .filter(|(_, exception)| exception.life != Life::Live && exception.writes != 0);
            orphans
                .map(move |(id, exception)| (ns, id.clone(), exception.writes))
                .collect::<Vec<_>>()
        };
        (0u32..).zip(&state.namespaces).flat_map(of).collect()
    }

    /// Appends the pack table; `entries` are sorted.
    pub(crate) fn table(&mut self, entries: &[(PackId, u64)]) {
        let payload = table::payload(entries.len());
        let mut envelope = Vec::new();
        let salt = self.state.header.salt();
        put_frame(
            &mut envelope,
            salt,
            self.state.end,
            Kind::Table,
            false,
            &payload,
        );
        let tail_at = self.state.end + envelope.len() as u64;
        let pages = table::pages(&self.log, tail_at, entries);
        self.push(Kind::Table, &payload, &[pages.into()], &Event::Table);
    }

    /// Appends a state frame if it is time, and writes out a long buffer: for
    /// logs that are built aside, and count only as a whole.
    pub(crate) fn between(&mut self) -> Result<()> {
        self.settle()?;
        if self.is_snapshot_due() {
            self.snapshot();
        }
        if self.buffer.len() >= SPILL {
            self.write_out()?;
        }
        Ok(())
    }

    /// Whether enough came since the last state frame.
    pub(crate) fn is_snapshot_due(&self) -> bool {
        let since = self.state.end - self.state.state_end;
        since >= STATE_DISTANCE.max(self.state.state_len * 8)
    }

    /// Writes a state frame by itself, behind what is durable already.
    ///
    /// In one write with other frames it could outlive them when the power
    /// fails, and who opens the log takes what is before it for whole.
    pub(crate) fn write_snapshot(&mut self) -> Result<()> {
        self.first = true;
        self.snapshot();
        self.write_out()
    }

    /// Appends the state as of now behind `reached`, up to where a write that
    /// was cut off had come.
    ///
    /// Other processes may have seen that write. What they know of the log ends
    /// in the gap: whatever is appended next, they read this first, and forget
    /// the write.
    pub(crate) fn skip(&mut self, reached: u64) -> Result<()> {
        // At least one byte, so that nobody gets here without seeing the gap.
        let to = reached.max(self.state.end) + 1;
        self.state.garbage += to - self.state.end;
        (self.state.end, self.at) = (to, to);
        self.write_snapshot()
    }

    /// Appends a state frame.
    pub(crate) fn snapshot(&mut self) {
        let payload = snapshot::encode(&self.state);
        self.push(Kind::State, &payload, &[], &Event::State);
    }

    /// Finds what is latest where the last operation left that open.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self
            .state
            .namespaces
            .iter()
            .any(|ns| ns.latest == Latest::Unknown)
        {
            self.reader()?;
            // What damage hides is found out, and told, by whoever asks.
            if let Err(error) = settle(&mut self.reader, &mut self.state)
                && error.kind() != ErrorKind::Corrupt
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn pack_chunks(pack: PackId, chunks: Vec<NewChunk>) -> (Directory, Vec<Bytes>) {
    let mut slots = Vec::with_capacity(chunks.len());
    let mut tail = Vec::with_capacity(chunks.len());
    for (ordinal, chunk) in (0u32..).zip(chunks) {
        let (bytes, crc) = match chunk {
            NewChunk::Bytes(bytes) => {
                let crc = chunk_crc(pack, ordinal, &bytes);
                (bytes, crc)
            }
            NewChunk::Copied(bytes, crc) => (bytes, crc),
            NewChunk::Gone => {
                slots.push(Slot::Gone);
                continue;
            }
        };
        slots.push(Slot::Here {
            len: bytes.len() as u32,
            crc,
        });
        tail.push(bytes);
    }
    (Directory(slots), tail)
}
