//! Scans and listings of namespaces: pages of a range of keys.

use chunkpoint_core::store_backend::{ItemRow, ListNamespaces, Namespace, ScanItems};
use chunkpoint_core::{Error, Result};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use mongodb::bson::{Document, doc};

use super::predicate::may_hold;
use super::row::{Item, fields, id_of, key_of, labels};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{Doc, int};

/// Rows read at once.
const PAGE: usize = 256;

/// The keys of all items at or below a namespace.
fn below(prefix: &Namespace) -> Document {
    let from = labels(prefix);
    let mut to = from.clone();
    match to.pop() {
        Some(_) => to.push('\u{1}'),
        // All texts.
        None => return doc! { "$gte": "" },
    }
    doc! { "$gte": from, "$lt": to }
}

impl Inner {
    pub(super) fn scan(self, query: &ScanItems) -> BoxStream<'static, Result<ItemRow>> {
        let mut ids = below(&query.prefix);
        if let Some(after) = &query.after {
            let after = id_of(after);
            if ids.get_str("$gte").is_ok_and(|from| *from <= *after) {
                ids.remove("$gte");
                ids.insert("$gt", after);
            }
        }
        let condition = query.matching.as_deref().and_then(may_hold);
        let first = query.likely.unwrap_or(PAGE).clamp(1, PAGE);
        let pages = stream::try_unfold(Some((ids, first)), move |state| {
            let (inner, condition) = (self.clone(), condition.clone());
            async move {
                let Some((mut ids, limit)) = state else {
                    return Ok(None);
                };
                let mut filter = condition.unwrap_or_default();
                filter.insert("_id", ids.clone());
                filter.insert("gone_ms", doc! { "$exists": false });
                let query = Query {
                    filter,
                    fields: fields(),
                    sort: doc! { "_id": 1 },
                    limit: i64::try_from(limit).unwrap_or(i64::MAX),
                };
                let found = inner.db.find(&inner.db.items, query).await?;
                let full = found.len() == limit;
                let items = found.into_iter().map(Item::read);
                let items = items.collect::<Result<Vec<_>>>()?;
                let next = items.last().filter(|_| full).map(|last| {
                    ids.remove("$gte");
                    ids.insert("$gt", &last.id);
                    (ids, PAGE)
                });
                let rows = items.into_iter().filter_map(|item| item.row);
                let rows: Vec<_> = rows.map(Ok).collect();
                Ok::<_, Error>(Some((stream::iter(rows), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    pub(super) fn namespaces(
        self,
        query: &ListNamespaces,
    ) -> BoxStream<'static, Result<Namespace>> {
        let mut ids = below(&query.prefix);
        if let Some(after) = &query.after {
            let behind = format!("{}\u{1}", labels(after));
            if ids.get_str("$gte").is_ok_and(|from| *from < *behind) {
                ids.insert("$gte", behind);
            }
        }
        let now_ms = query.now_ms;
        let pages = stream::try_unfold(Some(ids), move |state| {
            let inner = self.clone();
            async move {
                let Some(mut ids) = state else {
                    return Ok(None);
                };
                let query = Query {
                    filter: doc! {
                        "_id": ids.clone(),
                        "gone_ms": { "$exists": false },
                        "$or": [
                            { "expires_ms": { "$exists": false } },
                            { "expires_ms": { "$gt": int(now_ms) } },
                        ],
                    },
                    fields: doc! { "_id": 1 },
                    sort: doc! { "_id": 1 },
                    limit: i64::try_from(PAGE).unwrap_or(i64::MAX),
                };
                let found = inner.db.find(&inner.db.items, query).await?;
                let full = found.len() == PAGE;
                let mut namespaces: Vec<Namespace> = Vec::new();
                for raw in found {
                    let namespace = key_of(&Doc::new("items", raw))?.namespace;
                    if namespaces.last() != Some(&namespace) {
                        namespaces.push(namespace);
                    }
                }
                // On behind the namespace in which the page ends.
                let next = namespaces.last().filter(|_| full).map(|last| {
                    ids.insert("$gte", format!("{}\u{1}", labels(last)));
                    ids
                });
                let namespaces = stream::iter(namespaces.into_iter().map(Ok));
                Ok::<_, Error>(Some((namespaces, next)))
            }
        });
        pages.try_flatten().boxed()
    }
}
