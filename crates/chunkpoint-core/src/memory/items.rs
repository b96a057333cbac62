//! The long-term store in this process's memory.
//!
//! As with checkpoints, one lock, one map, and each method a plain transcription of
//! the bullets in [`crate::store_backend`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::MemoryBackend;
use crate::backend::{Capabilities, CheckpointBackend, ChunkName, PackId};
use crate::error::Result;
use crate::store_backend::{
    Changed, Expect, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, PutItem, REMEMBERED,
    ScanItems, StoreBackend, SweepItems, SweptItems,
};

/// Rows that a scan copies out under one taking of the lock.
const SCAN_PAGE: usize = 256;

/// All items.
#[derive(Debug, Default)]
pub(super) struct Items {
    state: Mutex<BTreeMap<ItemKey, Item>>,
}

/// An item, or what is remembered of one.
#[derive(Debug, Default)]
struct Item {
    row: Option<ItemRow>,
    /// The last write ids, the newest first.
    recent: Vec<PackId>,
    /// Chunks of every pack that was not swept, and when it was no longer listed.
    packs: BTreeMap<PackId, (Vec<Bytes>, Option<u64>)>,
    /// When it was removed.
    removed_ms: Option<u64>,
}

impl Items {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ItemKey, Item>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of bodies and chunks.
    pub(super) fn bytes(&self) -> u64 {
        let items = self.lock();
        let bytes = items.values().map(|item| {
            let body = item.row.as_ref().map_or(0, |row| row.body.len());
            let packs = item.packs.values().flat_map(|(chunks, _)| chunks);
            body + packs.map(Bytes::len).sum::<usize>()
        });
        bytes.sum::<usize>() as u64
    }
}

impl Item {
    fn change(&mut self, change: ItemChange) -> Changed {
        let (write_id, expect, now_ms) = match &change {
            ItemChange::Put(put) => (put.row.version, put.expect, put.row.updated_ms),
            ItemChange::Delete {
                write_id,
                expect,
                now_ms,
                ..
            } => (*write_id, *expect, *now_ms),
            ItemChange::Renew {
                version,
                expires_ms,
                ..
            } => return self.renew(*version, *expires_ms),
        };
        let created_ms = self.row.as_ref().map_or(0, |row| row.created_ms);
        if self.recent.contains(&write_id) {
            return Changed::Done { created_ms };
        }
        let there = self.row.as_ref().filter(|row| !row.is_expired(now_ms));
        let version = there.map(|row| row.version);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => version == Some(expected),
        };
        if !holds {
            return Changed::Conflict(version);
        }
        let kept = there.map(|row| row.created_ms);
        let done = match change {
            ItemChange::Put(put) => self.put(*put, kept),
            _ => {
                self.row = None;
                self.removed_ms = Some(now_ms);
                Some(0)
            }
        };
        let Some(created_ms) = done else {
            return Changed::Conflict(version);
        };
        self.recent.insert(0, write_id);
        self.recent.truncate(REMEMBERED);
        let listed = self.row.as_ref().map_or(&[][..], |row| &row.packs);
        for (pack, (_, since)) in &mut self.packs {
            match listed.contains(pack) {
                true => *since = None,
                false => {
                    since.get_or_insert(now_ms);
                }
            }
        }
        Changed::Done { created_ms }
    }

    /// `None` if it uses a pack that is not there.
    fn put(&mut self, put: PutItem, created_ms: Option<u64>) -> Option<u64> {
        let PutItem {
            mut row, chunks, ..
        } = put;
        let known = |pack: &PackId| *pack == row.version || self.packs.contains_key(pack);
        if !row.packs.iter().all(known) {
            return None;
        }
        row.created_ms = created_ms.unwrap_or(row.created_ms);
        if !chunks.is_empty() {
            self.packs.insert(row.version, (chunks, None));
        }
        let created_ms = row.created_ms;
        self.row = Some(row);
        self.removed_ms = None;
        Some(created_ms)
    }

    fn renew(&mut self, version: PackId, expires_ms: u64) -> Changed {
        match &mut self.row {
            Some(row) if row.version == version => {
                row.expires_ms = Some(expires_ms);
                Changed::Done {
                    created_ms: row.created_ms,
                }
            }
            Some(row) => Changed::Conflict(Some(row.version)),
            None => Changed::Conflict(None),
        }
    }

    /// Whether nothing of it is left to keep.
    fn sweep(&mut self, before_ms: u64, swept: &mut SweptItems) -> bool {
        let expired = |row: &mut ItemRow| row.is_expired(before_ms);
        if self.row.take_if(expired).is_some() {
            swept.expired += 1;
            self.packs.values_mut().for_each(|(_, since)| {
                since.get_or_insert(before_ms);
            });
            self.removed_ms = Some(before_ms);
        }
        let before = self.packs.len();
        self.packs
            .retain(|_, (_, since)| since.is_none_or(|since| since > before_ms));
        swept.packs += (before - self.packs.len()) as u64;
        self.row.is_none()
            && self.packs.is_empty()
            && self.removed_ms.is_none_or(|removed| removed <= before_ms)
    }
}

#[async_trait]
impl StoreBackend for MemoryBackend {
    fn store_capabilities(&self) -> Capabilities {
        CheckpointBackend::capabilities(self)
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        drop(self.open("store")?);
        let items = self.items.lock();
        let row = |key| items.get(key).and_then(|item: &Item| item.row.clone());
        Ok(keys.iter().map(row).collect())
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        drop(self.open("store")?);
        let items = self.items.lock();
        let chunk = |name: &ChunkName| {
            let (chunks, _) = items.get(key)?.packs.get(&name.pack)?;
            chunks.get(name.ordinal as usize).cloned()
        };
        Ok(names.iter().map(chunk).collect())
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        drop(self.open("store")?);
        let mut items = self.items.lock();
        let change = |change: ItemChange| {
            let key = change.key().clone();
            Ok(items.entry(key).or_default().change(change))
        };
        Ok(changes.into_iter().map(change).collect())
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        drop(self.open("store")?);
        let first = ItemKey {
            namespace: query.prefix.clone(),
            key: "".into(),
        };
        let start = match query.after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let items = self.items.clone();
        let pages = stream::unfold(Some(start), move |start| {
            let (items, prefix) = (items.clone(), query.prefix.clone());
            async move {
                let page = items.page(start?, &prefix);
                let next = page.last().map(|row| Bound::Excluded(row.key.clone()));
                next.map(|next| (stream::iter(page).map(Ok), Some(next)))
            }
        });
        Ok(pages.flatten().boxed())
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        drop(self.open("store")?);
        let items = self.items.lock();
        let mut namespaces: Vec<Namespace> = items
            .values()
            .filter_map(|item| item.row.as_ref())
            .filter(|row| !row.is_expired(query.now_ms))
            .map(|row| row.key.namespace.clone())
            .filter(|namespace| namespace.starts_with(&query.prefix))
            .filter(|namespace| query.after.as_ref().is_none_or(|after| namespace > after))
            .collect();
        namespaces.dedup();
        Ok(stream::iter(namespaces).map(Ok).boxed())
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        drop(self.open("store")?);
        let mut items = self.items.lock();
        let mut swept = SweptItems::default();
        items.retain(|_, item| {
            if swept.expired + swept.packs >= sweep.limit as u64 {
                swept.more = true;
                return true;
            }
            !item.sweep(sweep.before_ms, &mut swept)
        });
        Ok(swept)
    }

    async fn close_store(&self) -> Result<()> {
        CheckpointBackend::close(self).await
    }
}

impl Items {
    fn page(&self, start: Bound<ItemKey>, prefix: &Namespace) -> Vec<ItemRow> {
        let items = self.lock();
        items
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.namespace.starts_with(prefix))
            .filter_map(|(_, item)| item.row.clone())
            .take(SCAN_PAGE)
            .collect()
    }
}
