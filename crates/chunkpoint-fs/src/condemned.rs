//! Condemned packs: those whose record was removed or replaced.
//!
//! Every frame that condemns packs points at the one that did so before, so
//! they are found without looking at anything else.

use std::collections::BTreeMap;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{CondemnedPack, ListCondemned, PackId};

use crate::frame::Kind;
use crate::log::{Going, Reader};
use crate::payload::{Action, Directory, Order, Pack, read_directory};
use crate::row::{read_alter, read_commit};
use crate::state::State;

/// A condemned pack that still has chunks.
#[derive(Debug, Clone)]
pub(crate) struct CondemnedAt {
    pub(crate) pack: PackId,
    pub(crate) directory: Directory,
    /// The frame that holds it.
    pub(crate) loc: u64,
    pub(crate) time_ms: u64,
    /// Chunks that are gone, sorted, besides those the directory tells.
    pub(crate) dead: Vec<u32>,
}

impl CondemnedAt {
    /// The chunks that are left: ordinal, position in the tail, length, CRC.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u32, u64, u32, u32)> + '_ {
        self.directory
            .present()
            .filter(|(ordinal, ..)| self.dead.binary_search(ordinal).is_err())
    }
}

/// Visits every condemned pack that has chunks left, newest condemnation first.
pub(crate) fn visit(
    reader: &mut Reader,
    state: &State,
    mut visitor: impl FnMut(CondemnedAt) -> Result<()>,
) -> Result<()> {
    // The chain and the packs lie apart, so each has a block of its own.
    let mut packs = Reader::new(reader.log().clone(), reader.end());
    let packs = &mut packs;
    let mut at = state.chain;
    while at != 0 {
        let frame = reader
            .frame(at, Going::Backward)?
            .ok_or_else(|| reader.log().damaged("a condemnation", at))?;
        match frame.kind {
            Kind::Alter => {
                let alter = read_alter(reader, at)?;
                for change in &alter.changes {
                    if matches!(change.action, Action::Remove { .. }) {
                        visit_pack(packs, state, change.loc, alter.time_ms, &mut visitor)?;
                    }
                }
                at = alter.chain;
            }
            Kind::Commit => {
                let commit = read_commit(reader, at, Going::Backward)?;
                let Order::Exception {
                    older,
                    condemns: Some(condemns),
                    ..
                } = commit.order
                else {
                    return Err(reader.log().damaged("a condemnation", at));
                };
                visit_pack(packs, state, older, commit.index.time_ms, &mut visitor)?;
                at = condemns.chain;
            }
            Kind::Pack => {
                let place = state.header.place(at);
                let pack = Pack::decode(&frame.payload, place)
                    .ok_or_else(|| reader.log().damaged("a condemned pack", at))?;
                visit_pack(packs, state, at, pack.time_ms, &mut visitor)?;
                at = pack.chain;
            }
            _ => return Err(reader.log().damaged("a condemnation", at)),
        }
    }
    Ok(())
}

fn visit_pack(
    reader: &mut Reader,
    state: &State,
    loc: u64,
    time_ms: u64,
    visitor: &mut impl FnMut(CondemnedAt) -> Result<()>,
) -> Result<()> {
    let frame = reader
        .frame(loc, Going::Backward)?
        .filter(|frame| matches!(frame.kind, Kind::Commit | Kind::Pack))
        .ok_or_else(|| reader.log().damaged("a condemned pack", loc))?;
    let (pack, directory) = read_directory(&frame.payload)
        .ok_or_else(|| reader.log().damaged("a condemned pack", loc))?;
    let dead = state
        .dead
        .get(&loc)
        .map(|dead| dead.to_vec())
        .unwrap_or_default();
    let condemned = CondemnedAt {
        pack,
        directory,
        loc,
        time_ms,
        dead,
    };
    if condemned.live().next().is_some() {
        visitor(condemned)?;
    }
    Ok(())
}

/// A page of condemned packs, ordered by pack id.
pub(crate) fn page(
    reader: &mut Reader,
    state: &State,
    query: &ListCondemned,
) -> Result<Vec<CondemnedPack>> {
    let mut page = BTreeMap::new();
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    visit(reader, state, |condemned| {
        let wanted = condemned.time_ms <= query.before_ms
            && query.after.is_none_or(|after| condemned.pack > after);
        if wanted {
            let chunks = condemned.live().map(|(ordinal, ..)| ordinal).collect();
            page.insert(condemned.pack, chunks);
            if page.len() > query.limit {
                page.pop_last();
            }
        }
        Ok(())
    })?;
    Ok(page
        .into_iter()
        .map(|(pack, chunks)| CondemnedPack { pack, chunks })
        .collect())
}
