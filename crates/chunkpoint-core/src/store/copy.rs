//! What a faithful copy needs: items read without renewing them, and put as they were.

use serde_json::{Map, Value};

use super::value::encode;
use super::write::about;
use super::{Store, check_writable};
use crate::error::Result;
use crate::store_backend::{Changed, Expect, ItemChange, ItemKey, ItemRow};

/// An item as it was elsewhere.
pub(crate) struct Original {
    pub(crate) key: ItemKey,
    pub(crate) value: Map<String, Value>,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) expires_ms: Option<u64>,
}

impl Store {
    /// The value of a row, and the row it is of; `None` if it has expired or went. Its
    /// life is not renewed.
    pub(crate) async fn peek(&self, row: ItemRow) -> Result<Option<(ItemRow, Map<String, Value>)>> {
        self.engine.check_open()?;
        if row.is_expired(self.now_ms()) {
            return Ok(None);
        }
        self.value(row).await
    }

    /// Whether this time has come.
    pub(crate) fn is_past(&self, expires_ms: Option<u64>) -> bool {
        expires_ms.is_some_and(|expires| expires <= self.now_ms())
    }

    /// The put of an item with the times it had elsewhere. Nothing may be there, expired
    /// or not: see [`clearing`](Self::clearing).
    pub(crate) fn restoration(&self, original: Original) -> Result<ItemChange> {
        let Original { key, value, .. } = original;
        check_writable(&key)?;
        let version = self.engine.pack_id()?;
        let encoded = encode(&value, version, &self.engine.codec)?;
        let (ttl_ms, value) = (original.ttl_ms, Some(value));
        let mut ready = self.pack(key, version, encoded, ttl_ms, Expect::Absent, value)?;
        if let ItemChange::Put(put) = &mut ready.change {
            put.row.created_ms = original.created_ms;
            put.row.updated_ms = original.updated_ms;
            put.row.expires_ms = original.expires_ms;
        }
        Ok(ready.change)
    }

    /// The removal of a row that has expired: it counts as there by the time of a
    /// [`restoration`](Self::restoration), which is long ago.
    pub(crate) fn clearing(&self, expired: &ItemRow) -> Result<ItemChange> {
        Ok(ItemChange::Delete {
            key: expired.key.clone(),
            write_id: self.engine.pack_id()?,
            expect: Expect::Version(expired.version),
            now_ms: expired.updated_ms,
        })
    }

    /// What lets an item live until `expires_ms`, if it did not change since it was read.
    pub(crate) fn prolonging(row: &ItemRow, expires_ms: u64) -> ItemChange {
        ItemChange::Renew {
            key: row.key.clone(),
            version: row.version,
            expires_ms,
        }
    }

    /// Makes such changes, of distinct items, in one call; the answers are in their order.
    pub(crate) async fn make(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<()>>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let of = |change: &ItemChange| (change.key().clone(), expected(change));
        let asked: Vec<(ItemKey, Option<Expect>)> = changes.iter().map(of).collect();
        let changed = self.change_all(changes).await?;
        let judged = asked
            .into_iter()
            .zip(changed)
            .map(|((key, expect), changed)| {
                match (changed.map_err(|e| about(&key, e))?, expect) {
                    // What changed since lives as its writer wants.
                    (Changed::Conflict(_), None) => Ok(()),
                    (changed, expect) => self
                        .judge(changed, expect.unwrap_or(Expect::Any), &key)
                        .map(|_| ()),
                }
            });
        Ok(judged.collect())
    }
}

fn expected(change: &ItemChange) -> Option<Expect> {
    match change {
        ItemChange::Put(put) => Some(put.expect),
        ItemChange::Delete { expect, .. } => Some(*expect),
        ItemChange::Renew { .. } => None,
    }
}
