//! How a record lies in the server: its member of an order, and its pack's own field.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chunkpoint_core::backend::{
    Commit, Detail, Incarnation, PackId, RecordIndex, RecordKey, RecordRef, RecordRow,
};
use chunkpoint_core::pending::Slots;
use chunkpoint_core::wire::{Put, Reader};
use chunkpoint_core::{Error, Result, quote};
use redis::Value;

use crate::reply::{array, bytes, fixed, id8, int, text, unexpected};

/// A record's name: namespace, NUL, id.
pub(super) fn name(key: &RecordKey) -> Bytes {
    [key.namespace.as_bytes(), b"\0", key.id.as_bytes()]
        .concat()
        .into()
}

/// A record as a member of an order: its name, NUL, its pack.
pub(super) fn member(record: &RecordRef) -> Bytes {
    let mut member = BytesMut::from(&name(&record.key)[..]);
    member.extend_from_slice(b"\0");
    member.extend_from_slice(&record.pack.0);
    member.freeze()
}

/// The name of a chunk's field: pack, and the ordinal in four bytes.
pub(super) fn field(pack: PackId, ordinal: u32) -> Bytes {
    let mut field = BytesMut::from(&pack.0[..]);
    field.extend_from_slice(&ordinal.to_be_bytes());
    field.freeze()
}

/// A time of 16 digits, so that times sort as text.
pub(super) fn digits(time_ms: u64) -> String {
    format!("{time_ms:016}")
}

/// Reads a member of an order.
pub(super) fn read_member(member: &[u8]) -> Result<RecordRef> {
    let (name, pack) = member
        .split_last_chunk::<8>()
        .and_then(|(rest, pack)| Some((rest.strip_suffix(b"\0")?, *pack)))
        .ok_or_else(unexpected)?;
    let mut parts = name.splitn(2, |byte| *byte == 0);
    let (namespace, id) = parts.next().zip(parts.next()).ok_or_else(unexpected)?;
    Ok(RecordRef {
        key: RecordKey {
            namespace: text(namespace)?,
            id: text(id)?,
        },
        pack: PackId(pack),
    })
}

/// What a pack's own field has: the length of the index, the number of chunks, the index,
/// the body. The index begins with the parent, so that a script can exchange that.
pub(super) fn blob(commit: &Commit) -> Result<Bytes> {
    let (index, mut head) = (&commit.index, Vec::new());
    let parent = index.parent.as_deref();
    let length = parent.map_or(0, |parent| parent.len() + 1);
    let length = u16::try_from(length)
        .map_err(|e| Error::invalid("the parent's id is too long").source(e))?;
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(parent.unwrap_or_default().as_bytes());
    head.put_varint(index.time_ms);
    head.put_varint(u64::from(index.delta) | u64::from(index.run_id.is_some()) << 1);
    head.put_varint(index.pack_bytes);
    if let Some(run_id) = &index.run_id {
        head.put_run(run_id.as_bytes());
    }
    let mut blob = BytesMut::with_capacity(8 + head.len() + commit.body.len());
    // Both fit: run ids have 16 KiB at most, and a commit fewer chunks than bytes.
    blob.extend_from_slice(&(head.len() as u32).to_be_bytes());
    blob.extend_from_slice(&(commit.chunks.len() as u32).to_be_bytes());
    blob.extend_from_slice(&head);
    blob.extend_from_slice(&commit.body);
    Ok(blob.freeze())
}

fn read_blob(mut blob: Bytes) -> Result<(RecordIndex, Bytes)> {
    let mut reader = Reader::new(blob.clone());
    let length = u32::from_be_bytes(reader.array()?) as usize;
    reader.take(4)?;
    let mut reader = Reader::new(reader.take(length)?);
    let parent = match u16::from_be_bytes(reader.array()?) {
        0 => None,
        length => Some(text(&reader.take(usize::from(length) - 1)?)?),
    };
    let time_ms = reader.varint()?;
    let flags = reader.varint()?;
    let index = RecordIndex {
        parent,
        time_ms,
        delta: flags & 1 != 0,
        pack_bytes: reader.varint()?,
        run_id: (flags & 2 != 0).then(|| reader.text()).transpose()?,
    };
    reader.finish()?;
    Ok((index, blob.split_off(8 + length)))
}

/// A record as a script answers it, or its member where its pack has no field.
pub(super) enum Found {
    Row(Box<RecordRow>),
    Lost(RecordRef),
}

/// Reads a record of an answer.
pub(super) fn read(incarnation: Incarnation, value: Value, detail: Detail) -> Result<Found> {
    if let Value::BulkString(member) = value {
        return Ok(Found::Lost(read_member(&member)?));
    }
    let [member, hidden, pinned, blob, calls] = fixed(value)?;
    let (index, body) = read_blob(bytes(blob)?)?;
    let calls = array(calls)?.into_iter().map(|call| Ok(((), bytes(call)?)));
    let calls = calls.collect::<Result<Vec<_>>>()?;
    let writes = Slots::of(calls)?.into_writes().map(|((), write)| write);
    Ok(Found::Row(Box::new(RecordRow {
        incarnation,
        record: read_member(&bytes(member)?)?,
        locator: 0,
        hidden: int(&hidden)? != 0,
        pinned: int(&pinned)? != 0,
        index,
        body: if detail >= Detail::Bodies {
            body
        } else {
            Bytes::new()
        },
        writes: writes.collect(),
    })))
}

impl Found {
    /// The row of a record that is there.
    pub(super) fn row(self) -> Result<RecordRow> {
        match self {
            Self::Row(row) => Ok(*row),
            Self::Lost(record) => Err(Error::corrupt(format!(
                "checkpoint {} has lost its content; does the server evict keys?",
                quote(&record.key.id)
            ))),
        }
    }
}

/// The number by which scripts know how much to read.
pub(super) fn level(detail: Detail) -> &'static str {
    match detail {
        Detail::Keys => "0",
        Detail::Bodies => "1",
        Detail::Writes => "2",
    }
}

/// The incarnation that an answer begins with, and the rest of it; `None` if the thread has
/// none.
pub(super) fn of_life(answer: Value) -> Result<Option<(Incarnation, Vec<Value>)>> {
    let mut answer = array(answer)?;
    if answer.is_empty() {
        return Err(unexpected());
    }
    let rest = answer.split_off(1);
    match answer.pop() {
        Some(Value::BulkString(id)) => Ok(Some((Incarnation(id8(&id)?), rest))),
        _ => Ok(None),
    }
}

/// Bytes that nobody else refers to.
pub(super) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// The id of a latest record as a script gives it: `-`, or `=` and the id.
pub(super) fn latest(found: &[u8]) -> Result<String> {
    match found.strip_prefix(b"=") {
        Some(id) => Ok(quote(&text(id)?)),
        None => Ok("none".into()),
    }
}

/// What a script is told to expect of the latest record.
pub(super) fn expectation(expected: &Option<Option<Arc<str>>>) -> Bytes {
    match expected {
        None => Bytes::new(),
        Some(None) => Bytes::from_static(b"-"),
        Some(Some(id)) => format!("={id}").into(),
    }
}
