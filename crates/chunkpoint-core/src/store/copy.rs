//! What a faithful copy needs: items read without renewing them, and put as they were.

use serde_json::{Map, Value};

use super::value::encode;
use super::{Store, check_writable};
use crate::error::Result;
use crate::store_backend::{Expect, ItemChange, ItemKey, ItemRow};

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

    /// Puts an item with the times it had elsewhere. Nothing may be there.
    pub(crate) async fn restore(
        &self,
        key: ItemKey,
        value: Map<String, Value>,
        (created_ms, updated_ms): (u64, u64),
        (ttl_ms, expires_ms): (Option<u64>, Option<u64>),
    ) -> Result<()> {
        check_writable(&key)?;
        // What has expired counts as there by the time of the put, which is long ago.
        let now_ms = self.now_ms();
        let old = self.backend.items(std::slice::from_ref(&key)).await?;
        if let Some(old) = old.into_iter().flatten().next()
            && old.is_expired(now_ms)
        {
            self.change_all(vec![ItemChange::Delete {
                key: key.clone(),
                write_id: self.engine.pack_id()?,
                expect: Expect::Version(old.version),
                now_ms: old.updated_ms,
            }])
            .await?;
        }
        let version = self.engine.pack_id()?;
        let encoded = encode(&value, version, &self.engine.codec)?;
        let mut ready = self.pack(
            key.clone(),
            version,
            encoded,
            ttl_ms,
            Expect::Absent,
            Some(value),
        )?;
        if let ItemChange::Put(put) = &mut ready.change {
            put.row.created_ms = created_ms;
            put.row.updated_ms = updated_ms;
            put.row.expires_ms = expires_ms;
        }
        self.write(ready, Expect::Absent, &key).await.map(|_| ())
    }

    /// Lets an item live until `expires_ms`, if it did not change since it was read.
    pub(crate) async fn prolong(&self, row: &ItemRow, expires_ms: Option<u64>) -> Result<()> {
        let Some(expires_ms) = expires_ms else {
            return Ok(());
        };
        let renew = ItemChange::Renew {
            key: row.key.clone(),
            version: row.version,
            expires_ms,
        };
        self.change_all(vec![renew]).await.map(|_| ())
    }
}
