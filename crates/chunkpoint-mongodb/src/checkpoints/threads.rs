//! Listing threads.

use std::sync::Arc;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Detail, Incarnation, ListThreads};
use futures::{StreamExt, TryStreamExt, stream};
use mongodb::bson::doc;

use super::commit::of_thread;
use super::life::Head;
use super::row::{Record, State, fields};
use crate::backend::Inner;
use crate::db::Query;
use crate::doc::{Doc, all_in};
use crate::names::ThreadNames;

/// Most threads read at once.
const PAGE: usize = 512;

/// Threads looked at under way at once.
const AT_ONCE: usize = 16;

/// Records read at once to find one that counts.
const RECORDS: i64 = 16;

impl Inner {
    pub(super) async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        if query.all && query.after.is_none() {
            self.bury_some().await?;
        }
        let mut listed: Vec<Arc<str>> = Vec::new();
        let mut after = query.after.clone();
        while listed.len() < query.limit {
            let page = self
                .page_of_threads(&query.prefix, after.as_deref())
                .await?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after = Some(last.clone());
            let whole = page.len() == PAGE && last.starts_with(&query.prefix);
            let page = page
                .into_iter()
                .filter(|(thread, _)| thread.starts_with(&query.prefix));
            let looked: Vec<Option<Arc<str>>> = stream::iter(page)
                .map(|(thread, head)| async move {
                    let seen = query.all || self.is_seen(&thread, head).await?;
                    Ok::<_, chunkpoint_core::Error>(seen.then_some(thread))
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            listed.extend(looked.into_iter().flatten());
            if !whole {
                break;
            }
        }
        listed.truncate(query.limit);
        Ok(listed)
    }

    async fn page_of_threads(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<(Arc<str>, Head)>> {
        let from = match after {
            Some(after) if after >= prefix => doc! { "$gt": after },
            _ => doc! { "$gte": prefix },
        };
        let query = Query {
            filter: doc! { "_id": from, "life": { "$exists": true } },
            fields: doc! { "ended": 0 },
            sort: doc! { "_id": 1 },
            limit: i64::try_from(PAGE).unwrap_or(i64::MAX),
        };
        let mut page = Vec::new();
        for raw in self.db.find(&self.db.threads, query).await? {
            let doc = Doc::new("threads", raw);
            if let Some(head) = Head::read(&doc)? {
                page.push((doc.shared("_id")?, head));
            }
        }
        Ok(page)
    }

    /// Whether a thread has a visible record.
    async fn is_seen(&self, thread: &str, head: Head) -> Result<bool> {
        let names = ThreadNames::new(thread);
        let mut range = of_thread(&names, &names.all());
        range.insert("pack", all_in(head.life));
        range.insert("state", State::Visible as i32);
        let mut below: Option<String> = None;
        loop {
            let mut filter = range.clone();
            if let Some(below) = &below
                && let Ok(id) = filter.get_document_mut("_id")
            {
                id.insert("$lt", below);
            }
            let query = Query {
                filter,
                fields: fields(Detail::Keys),
                sort: doc! { "_id": -1 },
                limit: RECORDS,
            };
            let found = self.db.find(&self.db.records, query).await?.into_iter();
            let records = found.map(Record::read).collect::<Result<Vec<_>>>()?;
            let Some(last) = records.last() else {
                return Ok(false);
            };
            below = Some(last.id.clone());
            let Some(now) = self.head(thread).await?.filter(|now| now.life == head.life) else {
                return Ok(false);
            };
            if !self.counted(now, records).await?.counted.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Deletes what threads that were deleted have left, of some of them.
    async fn bury_some(&self) -> Result<()> {
        let query = Query {
            filter: doc! { "ended": { "$elemMatch": { "buried": { "$ne": true } } } },
            fields: doc! { "ended": 1 },
            limit: 100,
            ..Query::default()
        };
        for raw in self.db.find(&self.db.threads, query).await? {
            let doc = Doc::new("threads", raw);
            let thread = doc.shared("_id")?;
            for ended in doc.documents("ended")? {
                if !ended.flag("buried")?
                    && let Some(life) = ended.opt_id8("life")?
                {
                    self.bury(&thread, Incarnation(life)).await?;
                }
            }
        }
        Ok(())
    }
}
