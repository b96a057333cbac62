//! Removing, hiding and pinning records.

use std::collections::HashMap;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Alter, Altered, Change, RecordRef};

use super::insert::condemn;
use super::read::these;
use super::row::{REFERENCE, reference};
use super::threads::Lock;
use crate::backend::{Inner, transaction};
use crate::db::Tx;
use crate::dialect::{Dialect, groups};
use crate::names::Key;
use crate::value::{Args, Value, args};

/// Changes that one transaction makes.
const BATCH: usize = 256;

/// What of a record changes can change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    hidden: bool,
    pinned: bool,
    removed: bool,
}

impl State {
    fn change(&mut self, change: &Change) -> Altered {
        match change {
            _ if self.removed => return Altered::Gone,
            Change::Pin(pinned) => self.pinned = *pinned,
            Change::Remove | Change::Hide if self.pinned => return Altered::Pinned,
            Change::Hide => self.hidden = true,
            Change::Remove => self.removed = true,
        }
        Altered::Done
    }
}

impl Inner {
    pub(crate) async fn alter(&self, alter: &Alter) -> Result<Vec<Altered>> {
        let mut altered = Vec::with_capacity(alter.changes.len());
        for changes in alter.changes.chunks(BATCH) {
            altered.extend(self.alter_some(alter, changes).await?);
        }
        Ok(altered)
    }

    async fn alter_some(
        &self,
        alter: &Alter,
        changes: &[(RecordRef, Change)],
    ) -> Result<Vec<Altered>> {
        let begin = || self.begin_locked(&alter.thread, Lock::Exclusive);
        transaction!(self, tx, locked: begin(), {
            let here = locked.life.filter(|(_, there)| *there == alter.incarnation);
            let Some((life, _)) = here else {
                return Ok(vec![Altered::Gone; changes.len()]);
            };
            let before = states(tx, life, changes).await?;
            let mut after = before.clone();
            let altered = changes
                .iter()
                .map(|(record, change)| match after.get_mut(record) {
                    Some(state) => state.change(change),
                    None => Altered::Gone,
                });
            let altered = altered.collect();
            // What holds now and did not before; a record that goes needs nothing else.
            let became = |holds: fn(&State) -> bool| -> Vec<&RecordRef> {
                let became = after.iter().filter(|(record, after)| {
                    holds(after) && before.get(record).is_some_and(|before| !holds(before))
                });
                became.map(|(record, _)| record).collect()
            };
            let removed = became(|state| state.removed);
            let hidden = became(|state| state.hidden && !state.removed);
            let pinned = became(|state| state.pinned && !state.removed);
            let unpinned = became(|state| !state.pinned);
            set(tx, life, "hidden = TRUE", &hidden).await?;
            set(tx, life, "pinned = TRUE", &pinned).await?;
            set(tx, life, "pinned = FALSE", &unpinned).await?;
            remove(tx, life, &removed, alter.time_ms).await?;
            Ok(altered)
        })
    }
}

/// The records that changes are of, as far as they are there.
async fn states(
    tx: &mut Tx,
    life: i64,
    changes: &[(RecordRef, Change)],
) -> Result<HashMap<RecordRef, State>> {
    let records = changes.iter().map(|(record, _)| record);
    let (condition, records) = these(tx.db().dialect(), records);
    let template =
        format!("SELECT {REFERENCE}, c.hidden, c.pinned FROM {{checkpoints}} c WHERE {condition}");
    let mut args = args![life];
    args.extend(records);
    let mut states = HashMap::new();
    for row in tx.rows(&template, args).await? {
        let record = reference(&row, 0)?;
        let state = State {
            hidden: row.bool(4)?,
            pinned: row.bool(5)?,
            removed: false,
        };
        states.insert(record, state);
    }
    Ok(states)
}

async fn set(tx: &mut Tx, life: i64, what: &str, records: &[&RecordRef]) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let (condition, records) = these(tx.db().dialect(), records.iter().copied());
    let template = format!("UPDATE {{checkpoints}} AS c SET {what} WHERE {condition}");
    let mut args = args![life];
    args.extend(records);
    tx.write(&template, args).await
}

/// Condemns the packs of records, and removes their writes.
async fn remove(tx: &mut Tx, life: i64, records: &[&RecordRef], time_ms: u64) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let dialect = tx.db().dialect();
    let (template, args) = condemn(dialect, time_ms, life, records);
    tx.write(&template, args).await?;
    let (condition, keys) = among(dialect, records);
    let template = format!(
        "DELETE FROM {{writes}} WHERE life = ? AND (namespace, namespace_hash, id) {condition}"
    );
    let mut args = args![life];
    args.extend(keys);
    tx.write(&template, args).await
}

/// A condition that namespace, its hash, and id are those of one of these records.
fn among(dialect: Dialect, records: &[&RecordRef]) -> (String, Args) {
    let keys = records
        .iter()
        .map(|record| (Key::new(&record.key.namespace), &record.key.id));
    if dialect == Dialect::Postgres {
        let (namespaces, ids): (Vec<Key>, Vec<_>) = keys.map(|(key, id)| (key, id.clone())).unzip();
        let args = vec![
            Value::Texts(namespaces.iter().map(|key| key.head.clone()).collect()),
            Value::Blobs(namespaces.into_iter().map(|key| key.hash).collect()),
            Value::Texts(ids),
        ];
        return ("IN (SELECT * FROM unnest(?, ?, ?))".into(), args);
    }
    let args = keys
        .flat_map(|(key, id)| args![key.head, key.hash, id.clone()])
        .collect();
    let values = dialect.pick("VALUES ", "", "");
    (format!("IN ({values}{})", groups(records.len(), 3)), args)
}
