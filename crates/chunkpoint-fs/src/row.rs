//! Reading records whole: the fields beside the body, the body, and the
//! pending writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Detail, PackId, PendingWrite, Pick, RecordKey, RecordRef, RecordRow,
};

use crate::frame::Kind;
use crate::log::{Going, Reader};
use crate::order::{locate, sure_latest};
use crate::payload::{Alter, Commit, Writes};
use crate::state::{Found, State};

/// The commit of a record.
pub(crate) fn read_commit(reader: &mut Reader, loc: u64, going: Going) -> Result<Commit> {
    read_commit_and_tail(reader, loc, going).map(|(commit, _)| commit)
}

/// The commit of a record, and where its chunks begin.
pub(crate) fn read_commit_and_tail(
    reader: &mut Reader,
    loc: u64,
    going: Going,
) -> Result<(Commit, u64)> {
    let place = reader.log().header.place(loc);
    reader
        .frame(loc, going)?
        .filter(|frame| frame.kind == Kind::Commit)
        .and_then(|frame| Some((Commit::decode(&frame.payload, place)?, frame.tail)))
        .ok_or_else(|| reader.log().damaged("a record", loc))
}

/// Pending writes of a checkpoint that came together.
fn read_writes(reader: &mut Reader, loc: u64) -> Result<Writes> {
    let place = reader.log().header.place(loc);
    reader
        .frame(loc, Going::Backward)?
        .filter(|frame| frame.kind == Kind::Writes)
        .and_then(|frame| Writes::decode(&frame.payload, place))
        .ok_or_else(|| reader.log().damaged("pending writes", loc))
}

/// Changes of records that came together.
pub(crate) fn read_alter(reader: &mut Reader, loc: u64) -> Result<Alter> {
    let place = reader.log().header.place(loc);
    reader
        .frame(loc, Going::Backward)?
        .filter(|frame| frame.kind == Kind::Alter)
        .and_then(|frame| Alter::decode(&frame.payload, place))
        .ok_or_else(|| reader.log().damaged("changes of records", loc))
}

/// The calls of the chain that ends at `loc`, oldest first.
pub(crate) fn read_calls(reader: &mut Reader, mut loc: u64) -> Result<Vec<Writes>> {
    let mut calls = Vec::new();
    while loc != 0 {
        let call = read_writes(reader, loc)?;
        loc = call.prev;
        calls.push(call);
    }
    calls.reverse();
    Ok(calls)
}

/// All pending writes of the chain that ends at `loc`, each (task, index) once.
pub(crate) fn read_pending(reader: &mut Reader, loc: u64) -> Result<Vec<PendingWrite>> {
    let calls = read_calls(reader, loc)?;
    let mut kept: BTreeMap<(Arc<str>, i32), PendingWrite> = BTreeMap::new();
    for write in calls.into_iter().flat_map(|call| call.writes) {
        let key = (write.task_id.clone(), write.idx);
        if write.replace || !kept.contains_key(&key) {
            kept.insert(key, write);
        }
    }
    Ok(kept.into_values().collect())
}

/// Whether the chain that ends at `loc` has the writes of this call.
pub(crate) fn has_writes(reader: &mut Reader, mut loc: u64, write_id: PackId) -> Result<bool> {
    while loc != 0 {
        let writes = read_writes(reader, loc)?;
        if writes.write_id == write_id {
            return Ok(true);
        }
        loc = writes.prev;
    }
    Ok(false)
}

/// Reads a record as a caller sees it.
pub(crate) fn read_row(
    reader: &mut Reader,
    state: &State,
    ns: u32,
    found: &Found,
    detail: Detail,
    going: Going,
) -> Result<RecordRow> {
    let commit = read_commit(reader, found.loc, going)?;
    if commit.id != found.id || commit.ns.index != ns {
        return Err(reader.log().damaged("a record", found.loc));
    }
    let body = if detail >= Detail::Bodies {
        // A copy, so that a small body does not keep a whole block in memory.
        Bytes::copy_from_slice(&commit.body)
    } else {
        Bytes::new()
    };
    let writes = if detail >= Detail::Writes {
        read_pending(reader, found.writes)?
    } else {
        Vec::new()
    };
    Ok(RecordRow {
        incarnation: state.header.incarnation,
        record: RecordRef {
            key: RecordKey {
                namespace: state.namespaces[ns as usize].name.clone(),
                id: commit.id,
            },
            pack: commit.pack,
        },
        locator: found.loc,
        hidden: found.hidden,
        pinned: found.pinned,
        index: commit.index,
        body,
        writes,
    })
}

/// Reads the record that is asked for, if it is there.
///
/// # Errors
/// `Corrupt` if it cannot be read, or is not found and may have been in a
/// damaged part of the log, or if a later one than the latest may have been.
pub(crate) fn read_pick(
    reader: &mut Reader,
    state: &State,
    pick: &Pick,
    detail: Detail,
) -> Result<Option<RecordRow>> {
    let (namespace, id) = match pick {
        Pick::Latest { namespace } => (namespace, None),
        Pick::At(key) => (&key.namespace, Some(&key.id)),
    };
    let found = match (state.ns(namespace), id) {
        (None, _) => None,
        (Some((ns, _)), None) => sure_latest(reader, state, ns)?.map(|found| (ns, found)),
        (Some((ns, _)), Some(id)) => locate(reader, state, ns, id)?.map(|found| (ns, found)),
    };
    match found {
        Some((ns, found)) => read_row(reader, state, ns, &found, detail, Going::Only).map(Some),
        None => match state.holes.first() {
            Some((at, _)) => Err(reader.log().damaged("a frame", *at)),
            None => Ok(None),
        },
    }
}
