//! Changing items: what becomes of a change, and in how few steps.
//!
//! Most changes are of one item whose value lies in its row, before and after. They are
//! one statement that has the expectation in its condition (`direct`). If that changes
//! nothing, a look at the row says why, or that it takes more: then the change is made in
//! a transaction (`locked`), and so are several at once and those that bring packs.

use std::collections::HashMap;

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{Changed, Expect, ItemChange, ItemKey, PutItem, REMEMBERED};
use chunkpoint_core::{Applied, Error, ErrorKind, Result};

use super::path::Path;
use super::read::named;
use super::row::{Content, ids};
use crate::backend::{Inner, retrying};
use crate::value::{Args, Row};

/// Changes, and about so many bytes of them, that share a transaction.
const AT_ONCE: usize = 64;
const BYTES: usize = 4 << 20;

/// A change that is to be made, and where.
pub(super) struct Change {
    pub(super) path: Path,
    pub(super) change: ItemChange,
}

/// What is known of an item, there or removed, when a change of it is judged.
pub(super) struct State {
    pub(super) path: Path,
    version: Option<PackId>,
    recent: Bytes,
    created_ms: u64,
    expires_ms: Option<u64>,
    pub(super) packs: Vec<PackId>,
}

/// What becomes of a change.
pub(super) enum Verdict {
    /// It need not be made, or must not.
    Settled(Changed),
    /// It has to be made, of an item that was or is created then.
    Make { created_ms: u64 },
}

impl Change {
    fn new(change: ItemChange) -> Self {
        Self {
            path: Path::new(change.key()),
            change,
        }
    }

    pub(super) fn key(&self) -> &ItemKey {
        self.change.key()
    }

    fn put(&self) -> Option<&PutItem> {
        match &self.change {
            ItemChange::Put(put) => Some(put),
            _ => None,
        }
    }

    /// What it makes of the row, and the write id; `None` if it only renews.
    pub(super) fn content(&self) -> Option<(Content<'_>, PackId)> {
        match &self.change {
            ItemChange::Put(put) => Some((Content::Item(put), put.row.version)),
            ItemChange::Delete {
                write_id, now_ms, ..
            } => Some((Content::Removed(*now_ms), *write_id)),
            ItemChange::Renew { .. } => None,
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        match &self.change {
            ItemChange::Put(put) => put.row.updated_ms,
            ItemChange::Delete { now_ms, .. } => *now_ms,
            ItemChange::Renew { .. } => 0,
        }
    }

    pub(super) fn expect(&self) -> Expect {
        match &self.change {
            ItemChange::Put(put) => put.expect,
            ItemChange::Delete { expect, .. } => *expect,
            ItemChange::Renew { version, .. } => Expect::Version(*version),
        }
    }

    /// When an item that it makes is created.
    pub(super) fn created_ms(&self) -> u64 {
        self.put().map_or(0, |put| put.row.created_ms)
    }

    /// Whether it brings packs or lists any.
    fn has_packs(&self) -> bool {
        self.put()
            .is_some_and(|put| !put.chunks.is_empty() || !put.row.packs.is_empty())
    }

    fn bytes(&self) -> usize {
        self.put().map_or(0, |put| {
            // The body, and the value beside it.
            2 * put.row.body.len() + put.chunks.iter().map(Bytes::len).sum::<usize>()
        })
    }

    /// What becomes of it if the item is so.
    pub(super) fn judge(&self, state: Option<&State>) -> Verdict {
        let version = state.and_then(|state| state.version);
        let created_ms = match (state, version) {
            (Some(state), Some(_)) => state.created_ms,
            _ => 0,
        };
        let Some((_, write_id)) = self.content() else {
            // A renewal is of a version, whether that has expired or not.
            return match version {
                Some(version) if self.expect() == Expect::Version(version) => {
                    Verdict::Make { created_ms }
                }
                version => Verdict::Settled(Changed::Conflict(version)),
            };
        };
        if state.is_some_and(|state| state.remembers(write_id)) {
            return Verdict::Settled(Changed::Done { created_ms });
        }
        let live = state.filter(|state| state.lives(self.now_ms()));
        let there = live.and(version);
        let holds = match self.expect() {
            Expect::Any => true,
            Expect::Absent => there.is_none(),
            Expect::Version(expected) => there == Some(expected),
        };
        let listed = state.map_or(&[][..], |state| &state.packs);
        let packs = self.put().map_or(&[][..], |put| &put.row.packs);
        let known = |pack: &PackId| *pack == write_id || listed.contains(pack);
        if !holds || !packs.iter().all(known) {
            return Verdict::Settled(Changed::Conflict(there));
        }
        let created_ms = match live {
            Some(live) => live.created_ms,
            None => self.created_ms(),
        };
        Verdict::Make { created_ms }
    }

    /// The answer once it is made.
    pub(super) fn made(&self, created_ms: u64) -> Changed {
        let created_ms = match &self.change {
            ItemChange::Delete { .. } => 0,
            _ => created_ms,
        };
        Changed::Done { created_ms }
    }
}

/// The columns of a [`State`].
pub(super) const STATE: &str =
    "path, path_hash, path_rest, version, recent, created_ms, expires_ms, packs";

impl State {
    pub(super) fn read(row: &Row) -> Result<Self> {
        let version = row.opt_bytes(3)?;
        Ok(Self {
            path: Path {
                head: row.bytes(0)?,
                hash: row.bytes(1)?,
                rest: row.bytes(2)?,
            },
            version: version.map(|_| row.id8(3)).transpose()?.map(PackId),
            recent: row.bytes(4)?,
            created_ms: row.unsigned(5)?,
            expires_ms: match row.opt_int(6)? {
                Some(_) => Some(row.unsigned(6)?),
                None => None,
            },
            packs: ids(&row.bytes(7)?)?,
        })
    }

    fn remembers(&self, write_id: PackId) -> bool {
        self.recent.chunks(8).any(|id| id == write_id.0)
    }

    fn lives(&self, now_ms: u64) -> bool {
        self.version.is_some() && self.expires_ms.is_none_or(|expires| expires > now_ms)
    }

    /// Whether it was only made to have a row that can be locked.
    pub(super) fn is_placeholder(&self) -> bool {
        self.version.is_none() && self.recent.is_empty()
    }
}

/// The write ids that a row remembers after a change.
pub(super) fn remembered(write_id: PackId, state: Option<&State>) -> Bytes {
    let before = state.map_or(&[][..], |state| &state.recent);
    let kept = before.len().min(8 * (REMEMBERED - 1));
    [&write_id.0[..], &before[..kept]].concat().into()
}

/// Rows as what is known of items, by their paths.
pub(super) fn states(rows: &[Row]) -> Result<HashMap<Path, State>> {
    let mut states = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = State::read(row)?;
        states.insert(state.path.clone(), state);
    }
    Ok(states)
}

impl Inner {
    pub(super) async fn change_items(
        &self,
        changes: Vec<ItemChange>,
    ) -> Result<Vec<Result<Changed>>> {
        let changes: Vec<Change> = changes.into_iter().map(Change::new).collect();
        if let [change] = &changes[..] {
            return Ok(vec![Ok(self.change_item(change).await?)]);
        }
        let mut answers = Vec::with_capacity(changes.len());
        for part in parts(&changes) {
            match self.locked(part).await {
                Ok(changed) => answers.extend(changed.into_iter().map(Ok)),
                // The database takes one of them for wrong: the others can be made.
                Err(error) if is_about_one(&error) && part.len() > 1 => {
                    for change in part {
                        answers.push(self.change_item(change).await);
                    }
                }
                Err(error) => {
                    answers.extend(part.iter().skip(1).map(|_| Err(alike(&error))));
                    answers.push(Err(error));
                }
            }
        }
        Ok(answers)
    }

    async fn change_item(&self, change: &Change) -> Result<Changed> {
        if !change.has_packs() {
            if let Some(created_ms) = retrying!(self.db, self.direct(change).await)? {
                return Ok(change.made(created_ms));
            }
            let (named, args) = named(std::iter::once(&change.path));
            let found = self.rows_of_state(&named, args).await?;
            if let Verdict::Settled(changed) = change.judge(found.get(&change.path)) {
                return Ok(changed);
            }
        }
        let mut changed = self.locked(std::slice::from_ref(change)).await?;
        changed
            .pop()
            .ok_or_else(|| Error::new(ErrorKind::Other, "a change was not answered"))
    }

    async fn rows_of_state(&self, named: &str, args: Args) -> Result<HashMap<Path, State>> {
        let template = format!("SELECT {STATE} FROM {{items}} WHERE {named}");
        states(&self.db.rows(&template, args).await?)
    }
}

/// Changes that share a transaction.
fn parts(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    let mut rest = changes;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fit = rest.iter().take(AT_ONCE).take_while(|change| {
            let fits = bytes < BYTES;
            bytes += change.bytes();
            fits
        });
        let (part, behind) = rest.split_at(fit.count());
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// Whether an error comes from what was to be written, rather than from the state of the
/// server or of the connection.
fn is_about_one(error: &Error) -> bool {
    error.is_certainly_not_applied()
        && matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Other)
}

/// An error for another change that failed together with the first.
fn alike(error: &Error) -> Error {
    let applied = match error.is_certainly_not_applied() {
        true => Applied::No,
        false => Applied::Unknown,
    };
    Error::new(error.kind(), error.message())
        .retryable(error.is_retryable())
        .applied(applied)
}
