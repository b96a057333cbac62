//! Putting, patching and removing items.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::patch::{Patching, looks_at, merge, to_merge, to_move};
use super::value::{Body, Encoded, PageWriter, Pages, check_depth, encode};
use super::{Delete, Patch, Put, Store, Ttl, Written, check_writable};
use crate::backend::PackId;
use crate::error::{Error, ErrorKind, Result};
use crate::store_backend::{Changed, Expect, ItemChange, ItemKey, ItemRow, MOST_MS, PutItem};

/// How often a patch is tried again when other writers come between.
const TRIES: usize = 64;

/// Milliseconds in a minute.
const MINUTE: f64 = 60_000.0;

impl Store {
    /// Puts an item as `put` says.
    ///
    /// # Errors
    /// As [`put`](Self::put); `Conflict` if what is expected does not hold.
    pub async fn put_with(&self, put: Put) -> Result<Written> {
        let failed = |e: Error| e.operation("put");
        let (expect, item) = (put.expect, put.item.clone());
        let ready = self.ready(put).map_err(failed)?;
        self.write(ready, expect, &item).await.map_err(failed)
    }

    /// Removes an item as `delete` says.
    ///
    /// # Errors
    /// As [`delete`](Self::delete); `Conflict` if what is expected does not hold.
    pub async fn delete_with(&self, delete: Delete) -> Result<()> {
        let failed = |e: Error| e.operation("delete");
        let expect = delete.expect;
        let change = self.removal(&delete).map_err(failed)?;
        let changed = self.change(change).await.map_err(failed)?;
        self.judge(changed, expect, &delete.item)
            .map(|_| ())
            .map_err(failed)
    }

    /// Patches an item as `patch` says.
    ///
    /// # Errors
    /// As [`patch`](Self::patch); `Conflict` if what is expected does not hold.
    pub async fn patch_with(&self, patch: Patch) -> Result<Written> {
        self.patch_all(
            &patch.item,
            std::slice::from_ref(&patch.patch),
            patch.expect,
        )
        .await
        .map_err(|e| e.operation("patch"))
    }

    /// A put, encoded.
    pub(super) fn ready(&self, put: Put) -> Result<Ready> {
        check_writable(&put.item)?;
        check_depth(&put.value)?;
        let version = self.engine.pack_id()?;
        let encoded = encode(&put.value, version, &self.engine.codec)?;
        let ttl_ms = match put.ttl {
            Ttl::Default => self.default_ttl(),
            Ttl::Never => None,
            Ttl::Minutes(minutes) => Some(in_ms(minutes)?),
        };
        self.pack(
            put.item,
            version,
            encoded,
            ttl_ms,
            put.expect,
            Some(put.value),
        )
    }

    fn default_ttl(&self) -> Option<u64> {
        let ttl = self.engine.settings.store_ttl;
        ttl.map(|ttl| ttl.as_millis().min(u128::from(MOST_MS - 1)) as u64)
    }

    pub(super) fn pack(
        &self,
        key: ItemKey,
        version: PackId,
        encoded: Encoded,
        ttl_ms: Option<u64>,
        expect: Expect,
        value: Option<Map<String, Value>>,
    ) -> Result<Ready> {
        let capabilities = self.backend.store_capabilities();
        let most = capabilities.max_value_bytes;
        let largest = encoded.chunks.iter().map(|chunk| chunk.len()).max();
        for (what, bytes, most) in [
            ("the body", encoded.body.len() as u64, most),
            ("a chunk", largest.unwrap_or(0) as u64, most),
            ("the put", encoded.bytes(), capabilities.max_commit_bytes),
        ] {
            if bytes > most {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!(
                        "item {key}: {what} has {bytes} bytes; {} takes {most}",
                        self.backend
                    ),
                ));
            }
        }
        let now = self.now_ms();
        let bytes = encoded.bytes();
        let put = PutItem {
            row: ItemRow {
                key,
                version,
                created_ms: now,
                updated_ms: now,
                ttl_ms,
                expires_ms: ttl_ms.map(|ttl| expires_ms(now, ttl)),
                packs: encoded.packs,
                body: encoded.body,
            },
            expect,
            chunks: encoded.chunks,
            value: value.map(Arc::new),
        };
        Ok(Ready {
            change: ItemChange::Put(Box::new(put)),
            written: Written {
                version,
                created_ms: now,
                bytes_written: bytes,
                bytes_read: 0,
                pages: encoded.pages,
            },
        })
    }

    pub(super) fn removal(&self, delete: &Delete) -> Result<ItemChange> {
        check_writable(&delete.item)?;
        Ok(ItemChange::Delete {
            key: delete.item.clone(),
            write_id: self.engine.pack_id()?,
            expect: delete.expect,
            now_ms: self.now_ms(),
        })
    }

    async fn change(&self, change: ItemChange) -> Result<Changed> {
        let item = change.key().clone();
        let changed = self.change_all(vec![change]).await;
        changed
            .and_then(|mut changed| changed.pop().unwrap_or_else(|| Err(too_few())))
            .map_err(|e| about(&item, e))
    }

    pub(super) async fn change_all(
        &self,
        changes: Vec<ItemChange>,
    ) -> Result<Vec<Result<Changed>>> {
        self.engine.check_open()?;
        let count = changes.len();
        let changed = self.backend.change_items(changes).await?;
        if changed.len() != count {
            return Err(too_few());
        }
        self.sweep_if_due();
        Ok(changed)
    }

    pub(super) async fn write(
        &self,
        ready: Ready,
        expect: Expect,
        item: &ItemKey,
    ) -> Result<Written> {
        let changed = self.change(ready.change).await?;
        let created_ms = self.judge(changed, expect, item)?;
        Ok(Written {
            created_ms,
            ..ready.written
        })
    }

    /// When the item was first put, or why nothing was changed.
    pub(super) fn judge(&self, changed: Changed, expect: Expect, item: &ItemKey) -> Result<u64> {
        let found = match changed {
            Changed::Done { created_ms } => return Ok(created_ms),
            Changed::Conflict(found) => found,
        };
        let found = found.map_or("is not there".into(), |found| {
            format!("has version {found}")
        });
        let expected = match expect {
            Expect::Version(version) => format!("version {version} was expected"),
            Expect::Absent => "none was expected".into(),
            Expect::Any => "it changed meanwhile".into(),
        };
        Err(Error::new(
            ErrorKind::Conflict,
            format!("item {item} {found}; {expected}"),
        ))
    }

    /// Applies patches, one after the other, in one put.
    pub(super) async fn patch_all(
        &self,
        item: &ItemKey,
        patches: &[Map<String, Value>],
        expect: Expect,
    ) -> Result<Written> {
        check_writable(item)?;
        patches.iter().try_for_each(check_depth)?;
        for _ in 0..TRIES {
            let rows = self.rows(std::slice::from_ref(item)).await;
            let rows = rows.map_err(|e| about(item, e))?;
            let now = self.now_ms();
            let row = rows.into_iter().next().flatten();
            let row = row.filter(|row| !row.is_expired(now));
            let there = row.as_ref().map(|row| row.version);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => there.is_none(),
                Expect::Version(version) => there == Some(version),
            };
            if !holds {
                self.judge(Changed::Conflict(there), expect, item)?;
            }
            let ready = match self.patched(item, row.as_ref(), patches).await? {
                Patched::Put(ready) => ready,
                Patched::Same(written) => {
                    // It was patched, if to no effect: its life begins anew.
                    let renewal = row.as_ref().and_then(|row| self.renewal(row));
                    self.renew(renewal.into_iter().map(|(_, renewal)| renewal).collect())
                        .await;
                    return Ok(written);
                }
                Patched::Swept => {
                    // There is something newer.
                    if let Some(row) = &row {
                        self.read_again(row).await?;
                    }
                    continue;
                }
            };
            let changed = self.change(ready.change).await?;
            if let Changed::Done { created_ms } = changed {
                return Ok(Written {
                    created_ms,
                    ..ready.written
                });
            }
            if expect != Expect::Any {
                self.judge(changed, expect, item)?;
            }
        }
        Err(self.restless(item))
    }

    /// What patches of a row come to.
    async fn patched(
        &self,
        item: &ItemKey,
        row: Option<&ItemRow>,
        patches: &[Map<String, Value>],
    ) -> Result<Patched> {
        let version = self.engine.pack_id()?;
        let Some(row) = row else {
            let mut value = Map::new();
            patches.iter().for_each(|patch| merge(&mut value, patch));
            let encoded = encode(&value, version, &self.engine.codec)?;
            let ttl = self.default_ttl();
            return self
                .pack(
                    item.clone(),
                    version,
                    encoded,
                    ttl,
                    Expect::Absent,
                    Some(value),
                )
                .map(Patched::Put);
        };
        let body_bytes = row.body.len() as u64;
        let same = |bytes_read: u64, pages: usize| {
            Patched::Same(Written {
                version: row.version,
                created_ms: row.created_ms,
                bytes_written: 0,
                bytes_read,
                pages: (0, pages as u64),
            })
        };
        let expect = Expect::Version(row.version);
        let pages = match self.body(row)? {
            Body::Pages(pages) => pages,
            Body::Inline(before) => {
                let mut value = before.clone();
                patches.iter().for_each(|patch| merge(&mut value, patch));
                if value == before {
                    return Ok(same(body_bytes, 0));
                }
                let encoded = encode(&value, version, &self.engine.codec)?;
                let mut ready = self.pack(
                    item.clone(),
                    version,
                    encoded,
                    row.ttl_ms,
                    expect,
                    Some(value),
                )?;
                ready.written.bytes_read = body_bytes;
                return Ok(Patched::Put(ready));
            }
        };
        let moved: BTreeSet<usize> = to_move(&pages)
            .into_iter()
            .chain(to_merge(&pages))
            .collect();
        let looks = patches.iter().flat_map(looks_at);
        let wanted: BTreeSet<usize> = looks
            .map(|path| pages.at(&path))
            .chain(moved.iter().copied())
            .collect();
        let Some((open, read)) = self.entries(item, &pages, &wanted).await? else {
            return Ok(Patched::Swept);
        };
        let read = read + body_bytes;
        let mut patching = Patching::new(&pages, open);
        for patch in patches {
            patching.apply(patch)?;
        }
        if !patching.is_changed() {
            return Ok(same(read, pages.pages.len()));
        }
        let bytes = patching.bytes();
        let mut writer = PageWriter::new(version, &self.engine.codec, bytes);
        let list = patching.finish(&moved, &mut writer)?;
        let encoded = writer.finish(Pages {
            bytes,
            pages: list,
            packs: pages.packs,
        })?;
        let mut ready = self.pack(item.clone(), version, encoded, row.ttl_ms, expect, None)?;
        ready.written.bytes_read = read;
        Ok(Patched::Put(ready))
    }
}

/// What patches come to.
enum Patched {
    /// A put in the item's place.
    Put(Ready),
    /// Nothing: the value is as the patches want it.
    Same(Written),
    /// What they need is not there any more.
    Swept,
}

/// A put that only has to be made.
pub(super) struct Ready {
    pub(super) change: ItemChange,
    pub(super) written: Written,
}

/// Says which item an error of the backend is about.
pub(super) fn about(item: &ItemKey, error: Error) -> Error {
    error.context(format_args!("item {item}"))
}

fn too_few() -> Error {
    Error::new(ErrorKind::Other, "backend answered too few changes")
}

/// When what lives so long from now on expires.
pub(super) fn expires_ms(now_ms: u64, ttl_ms: u64) -> u64 {
    now_ms.saturating_add(ttl_ms).min(MOST_MS - 1)
}

/// A time-to-live in milliseconds.
pub(super) fn in_ms(minutes: f64) -> Result<u64> {
    let ms = minutes * MINUTE;
    if !(ms.is_finite() && ms >= 1.0) {
        return Err(Error::invalid(format!(
            "a time-to-live of {minutes} minutes; give a millisecond or more, or Ttl::Never"
        )));
    }
    Ok((ms as u64).min(MOST_MS - 1))
}
