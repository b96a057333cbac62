//! [`Listing`]: a list of the records of one moment, page by page, so that
//! rows take little memory and the lock is not held.

use std::ops::Bound;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::life::Life;
use crate::backend::{ListRecords, RecordRow};
use crate::error::Result;

/// Rows that a listing makes at a time.
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
    life: Arc<Life>,
    query: ListRecords,
    cursor: Cursor,
    left: usize,
}

impl Listing {
    /// A listing of what is there now.
    pub(super) fn new(life: Arc<Life>, query: ListRecords) -> Self {
        Self {
            life,
            cursor: Cursor::Start(query.before.clone()),
            left: query.limit.unwrap_or(usize::MAX),
            query,
        }
    }

    /// All rows, each page made when it is asked for.
    pub(super) fn into_rows(self) -> BoxStream<'static, Result<RecordRow>> {
        let pages = stream::unfold(self, |mut listing| async move {
            let page = listing.next_page();
            (!page.is_empty()).then_some((page, listing))
        });
        let rows = pages.flat_map(|page| stream::iter(page.into_iter().map(Ok)));
        rows.boxed()
    }

    /// The next rows; none at the end.
    fn next_page(&mut self) -> Vec<RecordRow> {
        let rows = self
            .life
            .page(&self.query, &self.cursor, self.left.min(LIST_PAGE));
        if let Some(last) = rows.last() {
            let key = &last.record.key;
            self.cursor = Cursor::After(key.id.clone(), key.namespace.clone());
        }
        self.left -= rows.len();
        rows
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
