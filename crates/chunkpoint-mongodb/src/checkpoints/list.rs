//! Listing records.
//!
//! With a limit and in one namespace, pages of a range of keys. Else the keys of all records
//! first, of one moment, and then the rows of those, by their packs.
//!
//! The moment is right after the condemned packs were read, and settled: what was condemned
//! before it is known, so what is met as condemned and not known as that was there, and is
//! listed. A commit that comes later borrows from what was there at the moment, or from what
//! came later still: the children of everything condemned before are written down already.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chunkpoint_core::backend::{Detail, ListRecords, PackId, RecordRow};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use mongodb::bson::{Bson, doc};

use super::commit::{in_range, of_thread};
use super::life::{ATTEMPTS, Head, busy};
use super::row::{Record, State, fields};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{all_in, pack_in};
use crate::names::ThreadNames;

/// Most records of one page.
const PAGE: usize = 256;

impl Inner {
    pub(super) async fn list(
        &self,
        query: ListRecords,
    ) -> Result<BoxStream<'static, Result<RecordRow>>> {
        if query.limit == Some(0) {
            return Ok(stream::empty().boxed());
        }
        let inner = self.clone();
        match (query.limit, query.namespace.clone()) {
            (Some(limit), Some(namespace)) => Ok(inner.pages(query, namespace, limit)),
            _ => inner.of_a_moment(query).await,
        }
    }

    /// Pages of one namespace, until there are enough.
    fn pages(
        self,
        query: ListRecords,
        namespace: Arc<str>,
        limit: usize,
    ) -> BoxStream<'static, Result<RecordRow>> {
        let state = Some((query.before.clone(), limit));
        let pages = stream::try_unfold(state, move |state| {
            let (inner, query, namespace) = (self.clone(), query.clone(), namespace.clone());
            async move {
                let Some((before, left)) = state else {
                    return Ok(None);
                };
                let page = inner.page(&query, &namespace, before, left).await?;
                let (rows, before) = page;
                let left = left - rows.len();
                let next = before
                    .filter(|_| left > 0)
                    .map(|before| (Some(before), left));
                let rows = rows.into_iter().map(Ok);
                Ok::<_, Error>(Some((stream::iter(rows), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    /// One page, and the id before which the next one is.
    async fn page(
        &self,
        query: &ListRecords,
        namespace: &str,
        before: Option<Arc<str>>,
        left: usize,
    ) -> Result<(Vec<RecordRow>, Option<Arc<str>>)> {
        let Some(head) = self.head(&query.thread).await? else {
            return Ok((Vec::new(), None));
        };
        let names = ThreadNames::new(&query.thread);
        let mut filter = of_thread(&names, &names.in_namespace(namespace, before.as_deref()));
        filter.insert("pack", all_in(head.life));
        let state = match query.hidden {
            true => doc! { "$ne": State::Condemned as i32 },
            false => doc! { "$eq": State::Visible as i32 },
        };
        filter.insert("state", state);
        let most = left.min(PAGE);
        let found = Query {
            filter,
            fields: fields(query.detail),
            sort: doc! { "_id": -1 },
            limit: i64::try_from(most).unwrap_or(i64::MAX),
        };
        let found = self.db.find(&self.db.records, found).await?.into_iter();
        let records = found.map(Record::read).collect::<Result<Vec<_>>>()?;
        let last = records.last().map(|record| record.key.id.clone());
        let last = last.filter(|_| records.len() == most);
        // As it is after the records were read.
        let Some(head) = self
            .head(&query.thread)
            .await?
            .filter(|now| now.life == head.life)
        else {
            return Ok((Vec::new(), None));
        };
        let records = self.counted(head, records).await?.counted;
        let mut rows: Vec<_> = records
            .into_iter()
            .map(|record| Some(record.row(query.detail)))
            .collect();
        self.add_writes(&mut rows, &query.thread, query.detail)
            .await?;
        Ok((rows.into_iter().flatten().collect(), last))
    }

    /// All records there are at one moment.
    async fn of_a_moment(
        self,
        query: ListRecords,
    ) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let Some((head, mut records)) = self.moment(&query.thread).await? else {
            return Ok(stream::empty().boxed());
        };
        let wanted = |record: &Record| {
            let namespace = query.namespace.as_ref();
            namespace.is_none_or(|namespace| *namespace == record.key.namespace)
                && query
                    .before
                    .as_ref()
                    .is_none_or(|before| record.key.id < *before)
                && (query.hidden || record.state != State::Hidden)
        };
        records.retain(wanted);
        let order = |a: &Record, b: &Record| {
            let by_id = b.key.id.cmp(&a.key.id);
            by_id.then_with(|| a.key.namespace.cmp(&b.key.namespace))
        };
        records.sort_unstable_by(order);
        records.truncate(query.limit.unwrap_or(usize::MAX));
        let pages: Vec<Vec<Record>> = {
            let mut records = records.into_iter().peekable();
            let mut pages = Vec::new();
            while records.peek().is_some() {
                pages.push(records.by_ref().take(PAGE).collect());
            }
            pages
        };
        let rows = stream::iter(pages).map(Ok).and_then(move |page| {
            let (inner, query) = (self.clone(), query.clone());
            async move {
                let rows = inner.rows(head, page, &query).await?;
                Ok::<_, Error>(stream::iter(rows.into_iter().map(Ok)))
            }
        });
        Ok(rows.try_flatten().boxed())
    }

    /// The records of one moment, without bodies; those that were removed since included.
    pub(super) async fn moment(&self, thread: &str) -> Result<Option<(Head, Vec<Record>)>> {
        for _ in 0..ATTEMPTS {
            let Some(head) = self.head(thread).await? else {
                return Ok(None);
            };
            let before = self.condemned_before(head).await?;
            let names = ThreadNames::new(thread);
            let mut filter = in_range(&names.all());
            filter.insert("pack", all_in(head.life));
            let all = Query {
                filter,
                fields: fields(Detail::Keys),
                // Downwards: a record before the packs that it had.
                sort: doc! { "_id": -1 },
                ..Query::default()
            };
            let all = self.db.find(&self.db.records, all).await?.into_iter();
            let all = all.map(Record::read).collect::<Result<Vec<_>>>()?;
            let Some(after) = self.head(thread).await? else {
                return Ok(None);
            };
            // A pack that was deleted for good may have been a record's a moment ago.
            if after.life != head.life || after.purges != head.purges {
                continue;
            }
            let records = there(all, &before);
            let counted = self.counted(after, records).await?.counted;
            return Ok(Some((after, counted)));
        }
        Err(busy())
    }

    /// The documents of packs that are condemned now, all of them settled.
    async fn condemned_before(&self, head: Head) -> Result<HashSet<(String, PackId)>> {
        for _ in 0..ATTEMPTS {
            let condemned = self.condemned_records(head.life, None, u64::MAX).await?;
            let open: Vec<&Record> = condemned
                .iter()
                .filter(|record| record.children.is_none())
                .collect();
            if open.is_empty() {
                let names = condemned.into_iter().map(|one| (one.id, one.pack));
                return Ok(names.collect());
            }
            self.settle(head.life, &open).await?;
        }
        Err(busy())
    }

    /// The rows of records whose keys were read before.
    async fn rows(
        &self,
        head: Head,
        page: Vec<Record>,
        query: &ListRecords,
    ) -> Result<Vec<RecordRow>> {
        if query.detail == Detail::Keys {
            return Ok(page
                .into_iter()
                .map(|record| record.row(query.detail))
                .collect());
        }
        let packs: Vec<Bson> = page
            .iter()
            .map(|record| pack_in(head.life, record.pack))
            .collect();
        let found = Query {
            filter: doc! { "pack": { "$in": packs } },
            fields: fields(query.detail),
            ..Query::default()
        };
        let mut found: HashMap<PackId, Record> = {
            let found = self.db.find(&self.db.records, found).await?.into_iter();
            let found = found.map(Record::read).collect::<Result<Vec<_>>>()?;
            found.into_iter().map(|one| (one.pack, one)).collect()
        };
        let mut rows = Vec::with_capacity(page.len());
        for listed in page {
            let Some(mut record) = found.remove(&listed.pack) else {
                if query.hidden {
                    // What reclaiming reads has to be complete.
                    let message = "a checkpoint was removed and reclaimed while it was listed";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                continue;
            };
            // What the pack is has not changed; what the record is, as it was listed.
            (record.state, record.pinned) = (listed.state, listed.pinned);
            rows.push(Some(record.row(query.detail)));
        }
        self.add_writes(&mut rows, &query.thread, query.detail)
            .await?;
        Ok(rows.into_iter().flatten().collect())
    }
}

/// The records that were there at the moment after `before` was read, each once.
fn there(all: Vec<Record>, before: &HashSet<(String, PackId)>) -> Vec<Record> {
    let mut records: HashMap<_, Record> = HashMap::new();
    let mut packs = BTreeSet::new();
    for mut record in all {
        if !record.is_there() {
            // One that waits for a record to have another pack has not become one yet,
            // unless the record has: then that was met before it, with another pack.
            if before.contains(&(record.id.clone(), record.pack)) || packs.contains(&record.pack) {
                continue;
            }
            // It was condemned since. Whether it was hidden then, it does not tell.
            record.state = State::Visible;
        }
        packs.insert(record.pack);
        // The pack that the record had first is that of the moment.
        records.insert(record.key.clone(), record);
    }
    records.into_values().collect()
}
