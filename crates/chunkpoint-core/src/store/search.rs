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
        let mut best = Best::new(search);
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
        let (mut found, names) = best.into_page();
        if !names.is_empty() {
            found = self.found_again(&names, search).await?;
        }
        for (row, value) in found {
            items.push(self.made(row, value, search.refresh_ttl, &mut renewed));
        }
        self.renew(renewed).await;
        self.sweep_if_due();
        Ok(items)
    }

    /// Reads what was found, and what in the meantime may not be what it was.
    async fn found_again(&self, names: &[ItemKey], search: &Search) -> Result<Vec<Found>> {
        let mut found = Vec::with_capacity(names.len());
        for row in self.rows(names).await?.into_iter().flatten() {
            if let Some((row, value)) = self.peek(row).await?
                && search.filter.matches(&value)
            {
                found.push((row, value));
            }
        }
        Ok(found)
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

/// The first of what matched, in the order asked for. Values are kept only where it is
/// certain that they are wanted: not of what the offset leaves out, nor of what it may.
struct Best {
    order: Order,
    offset: usize,
    limit: usize,
    /// In the order of names: how many the offset left out, ...
    skipped: usize,
    /// ... and the page.
    found: Vec<Found>,
    /// In the orders by time: the page and what comes before it. The last on top.
    heap: BinaryHeap<Ranked>,
}

/// A row by its place: later times come first, then smaller names.
struct Ranked {
    place: (Reverse<u64>, ItemKey),
    /// Kept where nothing is left out: then it is in the page while it is here.
    found: Option<Found>,
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
    fn new(search: &Search) -> Self {
        Self {
            order: search.order,
            offset: search.offset,
            limit: search.limit,
            skipped: 0,
            found: Vec::new(),
            heap: BinaryHeap::new(),
        }
    }

    fn wanted(&self) -> usize {
        self.offset.saturating_add(self.limit)
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
            || self.heap.len() < self.wanted()
            || self
                .heap
                .peek()
                .is_some_and(|last| self.place(row) < last.place)
    }

    fn take(&mut self, row: ItemRow, value: Map<String, Value>) {
        if self.order != Order::Key {
            let place = self.place(&row);
            let found = (self.offset == 0).then_some((row, value));
            self.heap.push(Ranked { place, found });
            if self.heap.len() > self.wanted() {
                self.heap.pop();
            }
        } else if self.skipped < self.offset {
            self.skipped += 1;
        } else {
            self.found.push((row, value));
        }
    }

    fn is_done(&self) -> bool {
        self.order == Order::Key && self.found.len() >= self.limit
    }

    /// The page; or the names of what is in it, to be read again.
    fn into_page(self) -> (Vec<Found>, Vec<ItemKey>) {
        let (mut found, mut names) = (self.found, Vec::new());
        for ranked in self.heap.into_sorted_vec().into_iter().skip(self.offset) {
            match ranked.found {
                Some(one) => found.push(one),
                None => names.push(ranked.place.1),
            }
        }
        (found, names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::PackId;

    fn row(n: u64) -> ItemRow {
        let key = super::super::item_key(&["n"], &format!("{n:03}"));
        ItemRow {
            key: key.unwrap(),
            version: PackId([0; 8]),
            created_ms: n * 7 % 101,
            updated_ms: n,
            ttl_ms: None,
            expires_ms: None,
            packs: Vec::new(),
            body: bytes::Bytes::new(),
        }
    }

    /// A deep page takes the memory of its names, not of all values before it.
    #[test]
    fn values_before_the_page_are_not_kept() {
        for order in [Order::Key, Order::Updated, Order::Created] {
            for (offset, limit) in [(0, 5), (90, 5), (98, 5)] {
                let search = Search::below::<&str>(&[]).unwrap().order(order);
                let mut best = Best::new(&search.offset(offset).limit(limit));
                for row in (0..100).map(row) {
                    if best.may_take(&row) && !best.is_done() {
                        best.take(row, Map::new());
                    }
                }
                let ranked = best.heap.iter().filter(|ranked| ranked.found.is_some());
                assert!(ranked.count() + best.found.len() <= limit);
                let (found, names) = best.into_page();
                let found = found.into_iter().map(|(row, _)| row.key);
                let page: Vec<ItemKey> = found.chain(names).collect();
                let mut all: Vec<ItemRow> = (0..100).map(row).collect();
                match order {
                    Order::Key => {}
                    Order::Updated => all.sort_by_key(|row| Reverse(row.updated_ms)),
                    Order::Created => all.sort_by_key(|row| Reverse(row.created_ms)),
                }
                let all = all.into_iter().map(|row| row.key);
                assert_eq!(page, all.skip(offset).take(limit).collect::<Vec<_>>());
            }
        }
    }
}
