//! Reading items.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::value::{Body, Entries, Page, Pages, read_body, read_page, unflatten};
use super::write::expires_ms;
use super::{Get, Store, StoreItem, check_item};
use crate::backend::Incarnation;
use crate::engine::parts;
use crate::error::{Error, ErrorKind, Result};
use crate::store_backend::{ItemChange, ItemKey, ItemRow};
use crate::tree::Decoded;

/// How often a value is read again that was replaced while it was read.
const TRIES: usize = 16;

impl Store {
    /// Reads an item as `get` says.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(&self, get: Get) -> Result<Option<StoreItem>> {
        let mut items = self.get_all(&[get]).await.map_err(|e| e.operation("get"))?;
        Ok(items.pop().flatten())
    }

    /// The rows of these names, expired ones too.
    pub(crate) async fn rows(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        self.engine.check_open()?;
        let rows = self.backend.items(keys).await?;
        if rows.len() == keys.len() {
            return Ok(rows);
        }
        let message = "backend answered too few items";
        Err(Error::new(ErrorKind::Other, message))
    }

    /// Reads many items in one call of the backend.
    pub(super) async fn get_all(&self, gets: &[Get]) -> Result<Vec<Option<StoreItem>>> {
        self.engine.check_open()?;
        gets.iter().try_for_each(|get| check_item(&get.item))?;
        let keys: Vec<ItemKey> = gets.iter().map(|get| get.item.clone()).collect();
        let rows = self.rows(&keys).await?;
        let now = self.now_ms();
        let mut items = Vec::with_capacity(rows.len());
        let mut renewed = Vec::new();
        for (get, row) in gets.iter().zip(rows) {
            let Some(row) = row.filter(|row| !row.is_expired(now)) else {
                items.push(None);
                continue;
            };
            let item = self.item(row, get.refresh_ttl, &mut renewed).await?;
            items.push(item);
        }
        self.renew(renewed).await;
        self.sweep_if_due();
        Ok(items)
    }

    /// The item of a row that has not expired; `None` if it went meanwhile. Adds to
    /// `renewed` if its life is to be renewed.
    async fn item(
        &self,
        row: ItemRow,
        refresh: Option<bool>,
        renewed: &mut Vec<ItemChange>,
    ) -> Result<Option<StoreItem>> {
        let found = self.value(row).await?;
        Ok(found.map(|(row, value)| self.made(row, value, refresh, renewed)))
    }

    /// The item that a row and its value make.
    pub(super) fn made(
        &self,
        row: ItemRow,
        value: Map<String, Value>,
        refresh: Option<bool>,
        renewed: &mut Vec<ItemChange>,
    ) -> StoreItem {
        let mut expires_ms = row.expires_ms;
        if refresh.unwrap_or(self.engine.settings.store_refresh)
            && let Some((until, renewal)) = self.renewal(&row)
        {
            expires_ms = Some(until);
            renewed.push(renewal);
        }
        StoreItem {
            namespace: row.key.namespace,
            key: row.key.key,
            value,
            version: row.version,
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            expires_ms,
        }
    }

    /// Until when a row lives if its life is renewed now, and the change that does it;
    /// `None` if it lives for ever, or so long that it is not worth a write.
    pub(super) fn renewal(&self, row: &ItemRow) -> Option<(u64, ItemChange)> {
        let ttl = row.ttl_ms?;
        let until = expires_ms(self.now_ms(), ttl);
        // Under a hundredth of its life is not worth a write.
        if until.saturating_sub(row.expires_ms?) <= ttl / 100 {
            return None;
        }
        let renewal = ItemChange::Renew {
            key: row.key.clone(),
            version: row.version,
            expires_ms: until,
        };
        Some((until, renewal))
    }

    /// Renews lives. A read does not fail because that did.
    pub(super) async fn renew(&self, renewed: Vec<ItemChange>) {
        if renewed.is_empty() {
            return;
        }
        // An item may have been asked for twice.
        let mut seen = BTreeSet::new();
        let renewed = renewed
            .into_iter()
            .filter(|change| seen.insert(change.key().clone()))
            .collect();
        let failed = match self.backend.change_items(renewed).await {
            Ok(changed) => changed.into_iter().find_map(Result::err),
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            tracing::warn!(%error, "items that were read could not be renewed");
        }
    }

    /// The value of a row, and the row it is of: if the value is replaced while it
    /// is read, the newer one. `None` if the item went.
    pub(super) async fn value(
        &self,
        mut row: ItemRow,
    ) -> Result<Option<(ItemRow, Map<String, Value>)>> {
        for _ in 0..TRIES {
            let pages = match self.body(&row)? {
                Body::Inline(value) => return Ok(Some((row, value))),
                Body::Pages(pages) => pages,
            };
            let all: Vec<&Page> = pages.pages.iter().collect();
            if let Some((raw, _)) = self.read_pages(&row.key, &all).await? {
                let mut entries = Entries::new();
                for raw in raw {
                    read_page(raw, &mut entries).map_err(|e| e.context(&row.key))?;
                }
                let value = unflatten(&entries).map_err(|e| e.context(&row.key))?;
                return Ok(Some((row, value)));
            }
            match self.read_again(&row).await? {
                Some(newer) => row = newer,
                None => return Ok(None),
            }
        }
        Err(self.restless(&row.key))
    }

    /// The error when an item changes faster than it is read.
    pub(super) fn restless(&self, key: &ItemKey) -> Error {
        Error::new(
            ErrorKind::Conflict,
            format!("item {key} was replaced {TRIES} times while it was worked on"),
        )
        .retryable(true)
    }

    /// A row some of whose chunks are not there: as it is now, if that is another one.
    pub(super) async fn read_again(&self, row: &ItemRow) -> Result<Option<ItemRow>> {
        let now = self.now_ms();
        let newer = self.backend.items(std::slice::from_ref(&row.key)).await?;
        match newer.into_iter().next().flatten() {
            Some(newer) if newer.version == row.version => Err(Error::corrupt(format!(
                "item {}: chunks of its value are missing",
                row.key
            ))),
            newer => Ok(newer.filter(|newer| !newer.is_expired(now))),
        }
    }

    pub(super) fn body(&self, row: &ItemRow) -> Result<Body> {
        read_body(row.body.clone(), &self.engine.codec)
            .map_err(|e| e.context(format_args!("item {}", row.key)))
    }

    /// Entries of some pages, by page; `None` if chunks are not there any more.
    pub(super) async fn entries(
        &self,
        key: &ItemKey,
        pages: &Pages,
        wanted: &BTreeSet<usize>,
    ) -> Result<Option<(BTreeMap<usize, Entries>, u64)>> {
        let list: Vec<&Page> = wanted
            .iter()
            .filter_map(|at| pages.pages.get(*at))
            .collect();
        let Some((raw, read)) = self.read_pages(key, &list).await? else {
            return Ok(None);
        };
        // A value whose last member went has no page: then the first is empty.
        let mut raw = raw.into_iter();
        let mut open = BTreeMap::new();
        for at in wanted {
            let mut entries = Entries::new();
            if let Some(raw) = raw.next() {
                read_page(raw, &mut entries).map_err(|e| e.context(key))?;
            }
            open.insert(*at, entries);
        }
        Ok(Some((open, read)))
    }

    /// The raw bytes of pages, and how many stored bytes were read for them; `None` if
    /// chunks are not there any more.
    async fn read_pages(
        &self,
        key: &ItemKey,
        pages: &[&Page],
    ) -> Result<Option<(Vec<Bytes>, u64)>> {
        let cache = &self.engine.cache;
        // Pack ids are unique within their item.
        let space = {
            let mut name = key.namespace.to_bytes();
            name.push(0);
            name.extend_from_slice(key.key.as_bytes());
            let mut space = [0; 8];
            space.copy_from_slice(&blake3::hash(&name).as_bytes()[..8]);
            Incarnation(space)
        };
        let mut found: Vec<Option<Bytes>> = pages
            .iter()
            .map(
                |page| match &*cache.chunk(space, page.pack, page.ordinal)? {
                    Decoded::Piece(raw) => Some(raw.clone()),
                    _ => None,
                },
            )
            .collect();
        let missing: Vec<usize> = (0..pages.len()).filter(|n| found[*n].is_none()).collect();
        let mut read = 0;
        for part in parts(missing, |n| pages[*n].stored) {
            let names: Vec<_> = part.iter().flat_map(|n| pages[*n].names()).collect();
            let stored = self.backend.item_chunks(key, &names).await?;
            let Some(stored) = stored.into_iter().collect::<Option<Vec<Bytes>>>() else {
                return Ok(None);
            };
            let mut stored = stored.into_iter();
            for n in part {
                let page = pages[n];
                let chunks: Vec<Bytes> = stored.by_ref().take(page.parts as usize).collect();
                let raw = page
                    .raw(&chunks, &self.engine.codec)
                    .map_err(|e| e.context(format_args!("item {key}, pack {}", page.pack)))?;
                read += page.stored;
                let chunk = Arc::new(Decoded::Piece(raw.clone()));
                cache.insert_chunk(space, page.pack, page.ordinal, chunk, true);
                found[n] = Some(raw);
            }
        }
        Ok(Some((found.into_iter().flatten().collect(), read)))
    }
}
