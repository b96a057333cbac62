//! [`Listing`]: a list of records, page by page, so that the lock is never
//! held for long.

use std::ops::Bound;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::life::Life;
use super::{State, open};
use crate::backend::{Incarnation, ListRecords, RecordRow};
use crate::error::Result;

/// Rows that a listing copies out under one taking of the lock.
const LIST_PAGE: usize = 256;

/// Where a listing has got to.
enum Cursor {
    /// Nowhere yet; only ids before this one, if any.
    Start(Option<Arc<str>>),
    /// The last row given had this id and namespace.
    After(Arc<str>, Arc<str>),
}

/// A listing between two pages.
pub(super) struct Listing {
    state: Arc<Mutex<State>>,
    incarnation: Incarnation,
    query: ListRecords,
    cursor: Cursor,
    left: usize,
}

impl Listing {
    /// A listing of one incarnation, at its start.
    pub(super) fn new(
        state: Arc<Mutex<State>>,
        incarnation: Incarnation,
        query: ListRecords,
    ) -> Self {
        Self {
            state,
            incarnation,
            cursor: Cursor::Start(query.before.clone()),
            left: query.limit.unwrap_or(usize::MAX),
            query,
        }
    }

    /// All rows, each page read when it is asked for.
    pub(super) fn into_rows(self) -> BoxStream<'static, Result<RecordRow>> {
        let pages = stream::unfold(self, |mut listing| async move {
            let page = listing.next_page();
            let more = !matches!(&page, Ok(rows) if rows.is_empty());
            more.then_some((page, listing))
        });
        let rows = pages.flat_map(|page| {
            let rows = match page {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(rows)
        });
        rows.boxed()
    }

    /// The next rows; none at the end, or once the incarnation has ended.
    fn next_page(&mut self) -> Result<Vec<RecordRow>> {
        let state = open(&self.state, "list")?;
        let life = state.threads.get(&self.query.thread);
        let Some(life) = life.filter(|life| life.incarnation == self.incarnation) else {
            return Ok(Vec::new());
        };
        let rows = life.page(&self.query, &self.cursor, self.left.min(LIST_PAGE));
        if let Some(last) = rows.last() {
            let key = &last.record.key;
            self.cursor = Cursor::After(key.id.clone(), key.namespace.clone());
        }
        self.left -= rows.len();
        Ok(rows)
    }
}

impl Life {
    /// The next at most `limit` rows of `query`, those after `cursor`.
    fn page(&self, query: &ListRecords, cursor: &Cursor, limit: usize) -> Vec<RecordRow> {
        let mut found = Vec::new();
        for (namespace, ids) in &self.records {
            if query.namespace.as_ref().is_some_and(|n| n != namespace) {
                continue;
            }
            let below = match cursor {
                Cursor::Start(None) => Bound::Unbounded,
                Cursor::Start(Some(id)) => Bound::Excluded(&**id),
                // At one id, namespaces ascend: those after the last still have it to come.
                Cursor::After(id, last) if namespace > last => Bound::Included(&**id),
                Cursor::After(id, _) => Bound::Excluded(&**id),
            };
            let ids = ids.range::<str, _>((Bound::Unbounded, below)).rev();
            let ids = ids.filter(|(_, record)| query.hidden || !record.hidden);
            found.extend(ids.take(limit).map(|(id, record)| (id, namespace, record)));
        }
        found.sort_by(|a, b| b.0.cmp(a.0).then(a.1.cmp(b.1)));
        found.truncate(limit);
        let rows = found.into_iter();
        rows.map(|(id, namespace, record)| self.row(namespace, id, record, query.detail))
            .collect()
    }
}
