//! Searching items and listing namespaces.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use super::{LabelMatch, NamespaceQuery, Order, Search, Store, StoreItem, check_item};
use crate::error::{Error, Result};
use crate::store_backend::{ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems};

/// Namespaces listed unless said.
const NAMESPACES: usize = 100;

impl Store {
    /// Finds items below a namespace, those that have expired left out.
    ///
    /// The filter is applied before `offset` and `limit`, so a page is full while there
    /// are items. Where nothing changes, pages hold every item once.
    ///
    /// # Errors
    /// As [`get`](Self::get); `InvalidInput` for [`Search::after`] in an order other
    /// than [`Order::Key`].
    pub async fn search(&self, search: Search) -> Result<Vec<StoreItem>> {
        self.find(&search).await.map_err(|e| e.operation("search"))
    }

    pub(super) async fn find(&self, search: &Search) -> Result<Vec<StoreItem>> {
        self.engine.check_open()?;
        search.check()?;
        if search.limit == 0 {
            return Ok(Vec::new());
        }
        let wanted = search.offset.saturating_add(search.limit);
        let now = self.now_ms();
        let query = ScanItems {
            prefix: search.prefix.clone(),
            after: search.after.clone(),
            likely: (search.order == Order::Key).then_some(wanted),
            matching: search.filter.predicate().map(Arc::new),
        };
        let mut rows = self.backend.scan(query).await?;
        let mut best = Best::new(search.order, wanted);
        while let Some(row) = rows.try_next().await? {
            if row.is_expired(now) || !best.may_take(&row) {
                continue;
            }
            let Some((row, value)) = self.value(row).await? else {
                continue;
            };
            if search.filter.matches(&value) {
                best.take(row, value);
                if best.is_done() {
                    break;
                }
            }
        }
        drop(rows);
        let mut items = Vec::new();
        let mut renewed = Vec::new();
        for (row, value) in best.into_found().into_iter().skip(search.offset) {
            items.push(self.made(row, value, search.refresh_ttl, &mut renewed));
        }
        self.renew(renewed).await;
        self.sweep_if_due();
        Ok(items)
    }

    /// Lists namespaces that have items, ascending.
    ///
    /// # Errors
    /// What the backend reports.
    pub async fn list_namespaces(&self, query: NamespaceQuery) -> Result<Vec<Namespace>> {
        self.namespaces(&query)
            .await
            .map_err(|e| e.operation("list_namespaces"))
    }

    pub(super) async fn namespaces(&self, query: &NamespaceQuery) -> Result<Vec<Namespace>> {
        self.engine.check_open()?;
        let limit = query.limit.unwrap_or(NAMESPACES);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let list = ListNamespaces {
            prefix: query.literal()?,
            after: None,
            now_ms: self.now_ms(),
        };
        let mut listed = self.backend.namespaces(list).await?;
        let (mut found, mut skipped) = (Vec::new(), 0);
        let mut last: Option<Namespace> = None;
        while let Some(namespace) = listed.next().await.transpose()? {
            if !matches(&query.prefix, &query.suffix, &namespace) {
                continue;
            }
            let namespace = match query.max_depth {
                Some(depth) => namespace.truncated(depth),
                None => namespace,
            };
            // In their order, those that are equal once cut come together.
            if last.as_ref() == Some(&namespace) {
                continue;
            }
            last = Some(namespace.clone());
            if skipped < query.offset {
                skipped += 1;
                continue;
            }
            found.push(namespace);
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }
}

impl Search {
    /// Refuses what cannot be searched.
    pub(super) fn check(&self) -> Result<()> {
        let Some(after) = &self.after else {
            return Ok(());
        };
        if self.order != Order::Key {
            return Err(Error::invalid(format!(
                "a search goes on after an item only in the order Key, and this one is in the \
                 order {:?}; leave out `after` and page by `offset`, or order by Key",
                self.order
            )));
        }
        check_item(after)
    }
}

impl NamespaceQuery {
    /// The labels before the first that may be any: they narrow what is read.
    pub(super) fn literal(&self) -> Result<Namespace> {
        let literal = self.prefix.iter().map_while(|label| match label {
            LabelMatch::Is(label) => Some(label),
            LabelMatch::Any => None,
        });
        Namespace::new(literal)
    }
}

fn matches(prefix: &[LabelMatch], suffix: &[LabelMatch], namespace: &Namespace) -> bool {
    let labels = namespace.labels();
    let fits = |wanted: &[LabelMatch], from: usize| {
        wanted.iter().zip(&labels[from..]).all(|(wanted, label)| {
            matches!(wanted, LabelMatch::Any) || *wanted == LabelMatch::Is(label.clone())
        })
    };
    prefix.len() <= labels.len()
        && suffix.len() <= labels.len()
        && fits(prefix, 0)
        && fits(suffix, labels.len() - suffix.len())
}

/// A row and its value.
type Found = (ItemRow, Map<String, Value>);

/// The first of what matched, in the order asked for: never more than are wanted.
struct Best {
    order: Order,
    wanted: usize,
    found: Vec<Found>,
    /// The last on top.
    heap: BinaryHeap<Ranked>,
}

/// A row by its place: later times come first, then smaller names.
struct Ranked {
    place: (Reverse<u64>, ItemKey),
    found: Found,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl Best {
    fn new(order: Order, wanted: usize) -> Self {
        Self {
            order,
            wanted,
            found: Vec::new(),
            heap: BinaryHeap::new(),
        }
    }

    fn place(&self, row: &ItemRow) -> (Reverse<u64>, ItemKey) {
        let time = match self.order {
            Order::Key => 0,
            Order::Updated => row.updated_ms,
            Order::Created => row.created_ms,
        };
        (Reverse(time), row.key.clone())
    }

    /// Whether a row would be among them; if not, its value need not be read.
    fn may_take(&self, row: &ItemRow) -> bool {
        self.order == Order::Key
            || self.heap.len() < self.wanted
            || self
                .heap
                .peek()
                .is_some_and(|last| self.place(row) < last.place)
    }

    fn take(&mut self, row: ItemRow, value: Map<String, Value>) {
        if self.order == Order::Key {
            self.found.push((row, value));
            return;
        }
        let place = self.place(&row);
        let found = (row, value);
        self.heap.push(Ranked { place, found });
        if self.heap.len() > self.wanted {
            self.heap.pop();
        }
    }

    fn is_done(&self) -> bool {
        self.order == Order::Key && self.found.len() >= self.wanted
    }

    fn into_found(self) -> Vec<Found> {
        if self.order == Order::Key {
            return self.found;
        }
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|ranked| ranked.found).collect()
    }
}
