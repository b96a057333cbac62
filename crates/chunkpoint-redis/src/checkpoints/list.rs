//! Listings.
//!
//! One with a limit is read in pages. One without covers one moment: first the members of the
//! orders are read, as they were at it, then their records in pages, removed meanwhile or not: a removed
//! record's pack keeps its body until it is reclaimed.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{Incarnation, ListRecords, Pick, RecordRow};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use redis::Value;

use super::row::{Found, level, of_life, owned, read, read_member};
use crate::backend::Inner;
use crate::error::Doing;
use crate::reply::{array, bytes, unexpected};
use crate::script::{LIST, MOMENT, ROWS};

/// Records read at once.
const PAGE: usize = 128;

/// Members of each order read at once.
const MEMBERS: i64 = 1_000;

/// How often they are read in pages, before they are read at once.
const ATTEMPTS: usize = 4;

/// A listing in pages, between two of them.
struct Pages {
    inner: Arc<Inner>,
    query: ListRecords,
    left: usize,
}

/// A page of members of both orders.
struct Members {
    incarnation: Incarnation,
    changes: Bytes,
    pages: [Vec<Bytes>; 2],
}

impl Members {
    /// Whether nothing was taken away between that page and this.
    fn is_of_moment(&self, earlier: &Self) -> bool {
        self.incarnation == earlier.incarnation && self.changes == earlier.changes
    }
}

/// A page, and whether there may be more.
enum Page {
    Rows(Vec<RecordRow>, bool),
    /// Only a listing of one moment sorts several namespaces.
    ManyNamespaces,
}

/// The end of a range of ids. No id has a NUL, so what is before one with a NUL is what is
/// before its beginning, and that itself.
fn bound(before: &str) -> Bytes {
    match before.split_once('\0') {
        Some((id, _)) => format!("{id}\u{1}").into(),
        None => owned(before.as_bytes()),
    }
}

impl Inner {
    pub(crate) async fn list(
        self: Arc<Self>,
        query: ListRecords,
    ) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let nothing = query.before.as_deref() == Some("");
        let limit = match query.limit {
            Some(0) => return Ok(stream::empty().boxed()),
            _ if nothing => return Ok(stream::empty().boxed()),
            None => return self.moment(query).await,
            Some(limit) => limit,
        };
        let mut pages = Pages {
            inner: self.clone(),
            query,
            left: limit,
        };
        let first = match pages.next().await? {
            Page::ManyNamespaces => return self.moment(pages.query).await,
            Page::Rows(rows, more) => (rows, more),
        };
        let rest = stream::try_unfold((pages, Some(first)), async |(mut pages, first)| {
            let (rows, more) = match first {
                Some(first) => first,
                None if pages.left == 0 => return Ok(None),
                None => match pages.next().await? {
                    Page::Rows(rows, more) => (rows, more),
                    Page::ManyNamespaces => {
                        let message = "a second namespace came while the first was listed";
                        return Err(Error::new(ErrorKind::Unavailable, message).operation("list"));
                    }
                },
            };
            if rows.is_empty() {
                return Ok(None);
            }
            if !more {
                pages.left = 0;
            }
            let rows = stream::iter(rows.into_iter().map(Ok));
            Ok::<_, Error>(Some((rows, (pages, None))))
        });
        Ok(rest.try_flatten().boxed())
    }

    /// A listing of one moment.
    async fn moment(
        self: Arc<Self>,
        query: ListRecords,
    ) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let Some((incarnation, orders)) = self.members(&query).await? else {
            return Ok(stream::empty().boxed());
        };
        let mut members = Vec::new();
        for (order, mark) in orders.into_iter().zip(*b"vh") {
            if mark == b'h' && !query.hidden {
                continue;
            }
            for member in order {
                let key = read_member(&member)?.key;
                if query
                    .before
                    .as_deref()
                    .is_none_or(|before| *key.id < *before)
                {
                    members.push((key, [&[mark][..], &member].concat()));
                }
            }
        }
        members.sort_unstable_by(|(a, _), (b, _)| {
            b.id.cmp(&a.id).then_with(|| a.namespace.cmp(&b.namespace))
        });
        members.truncate(query.limit.unwrap_or(usize::MAX));
        let members: Vec<Bytes> = members
            .into_iter()
            .map(|(_, member)| member.into())
            .collect();
        let pages = stream::try_unfold(members.into_iter(), move |mut members| {
            let (inner, query) = (self.clone(), query.clone());
            async move {
                let page: Vec<Bytes> = members.by_ref().take(PAGE).collect();
                if page.is_empty() {
                    return Ok(None);
                }
                let rows = inner.rows(&query, incarnation, page).await;
                let rows = rows.map_err(|error| error.operation("list"))?;
                let rows = rows.map(|rows| stream::iter(rows.into_iter().map(Ok)));
                Ok::<_, Error>(rows.map(|rows| (rows, members)))
            }
        });
        Ok(pages.try_flatten().boxed())
    }

    /// All members of both orders at one moment; `None` if the thread has no life.
    ///
    /// They are read in pages. If nothing went meanwhile, what was there at the first page is
    /// in one of them. Else they are read again, and in the end all at once, which keeps the
    /// server busy for longer.
    async fn members(&self, query: &ListRecords) -> Result<Option<(Incarnation, [Vec<Bytes>; 2])>> {
        for _ in 0..ATTEMPTS {
            let Some(first) = self.members_page(query, MEMBERS, &[], &[]).await? else {
                return Ok(None);
            };
            let (mut last, mut all) = (first, [Vec::new(), Vec::new()]);
            loop {
                let mut after = [Bytes::from_static(b"-"), Bytes::from_static(b"-")];
                for ((page, all), after) in last.pages.iter().zip(&mut all).zip(&mut after) {
                    all.extend_from_slice(page);
                    if let Some(member) = page.last().filter(|_| page.len() as i64 == MEMBERS) {
                        *after = member.clone();
                    }
                }
                if after.iter().all(|after| &after[..] == b"-") {
                    return Ok(Some((last.incarnation, all)));
                }
                let [visible, hidden] = &after;
                let next = self.members_page(query, MEMBERS, visible, hidden).await?;
                match next {
                    Some(next) if next.is_of_moment(&last) => last = next,
                    _ => break,
                }
            }
        }
        let all = self.members_page(query, -1, &[], &[]).await?;
        Ok(all.map(|all| (all.incarnation, all.pages)))
    }

    async fn members_page(
        &self,
        query: &ListRecords,
        limit: i64,
        visible: &[u8],
        hidden: &[u8],
    ) -> Result<Option<Members>> {
        let thread = self.names.thread(&query.thread);
        let mut call = self.on_thread(&MOMENT, &thread);
        match &query.namespace {
            None => call.text("*"),
            Some(namespace) => call.arg(format!("={namespace}")),
        };
        call.arg(owned(visible))
            .arg(owned(hidden))
            .arg(limit.to_string());
        let answer = self.run(Doing::Reading, thread.lane, &call).await?;
        let Some((incarnation, rest)) = of_life(answer)? else {
            return Ok(None);
        };
        let [changes, visible, hidden] = rest.try_into().map_err(|_| unexpected())?;
        let page = |value| array(value)?.into_iter().map(bytes).collect::<Result<_>>();
        Ok(Some(Members {
            incarnation,
            changes: bytes(changes)?,
            pages: [page(visible)?, page(hidden)?],
        }))
    }

    /// The records of members; `None` if their life has ended.
    async fn rows(
        &self,
        query: &ListRecords,
        incarnation: Incarnation,
        members: Vec<Bytes>,
    ) -> Result<Option<Vec<RecordRow>>> {
        let thread = self.names.thread(&query.thread);
        let mut call = self.on_thread(&ROWS, &thread);
        call.arg(owned(&incarnation.0)).text(level(query.detail));
        for member in members {
            call.arg(member);
        }
        let answer = self.run(Doing::Reading, thread.lane, &call).await?;
        let Some((_, rows)) = of_life(answer)? else {
            return Ok(None);
        };
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            match read(incarnation, row, query.detail)? {
                Found::Row(row) => found.push(*row),
                // Without the hidden ones, a listing does not tell what is reachable. What was
                // replaced since and freed is there as it is now, and what has gone is not.
                Found::Lost(record) if !query.hidden => {
                    let picks = [Pick::At(record.key)];
                    let now = self.get(&query.thread, &picks, query.detail).await?;
                    let now = now.into_iter().flatten();
                    found.extend(now.filter(|row| !row.hidden && row.incarnation == incarnation));
                }
                Found::Lost(_) => {
                    let message = "a checkpoint was removed and freed while it was listed";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
            }
        }
        Ok(Some(found))
    }
}

impl Pages {
    async fn next(&mut self) -> Result<Page> {
        let (inner, query) = (&self.inner, &mut self.query);
        let size = self.left.min(PAGE);
        let thread = inner.names.thread(&query.thread);
        let mut call = inner.on_thread(&LIST, &thread);
        call.text(level(query.detail));
        match &query.namespace {
            None => call.text("*"),
            Some(namespace) => call.arg(format!("={namespace}")),
        };
        call.arg(query.before.as_deref().map_or(Bytes::new(), bound))
            .number(size as u64)
            .number(query.hidden.into());
        let answer = inner.run(Doing::Reading, thread.lane, &call).await;
        let answer = answer.map_err(|error| error.operation("list"))?;
        let Some((incarnation, rows)) = of_life(answer)? else {
            return Ok(Page::Rows(Vec::new(), false));
        };
        if matches!(&rows[..], [Value::BulkString(many)] if many == b"many") {
            return Ok(Page::ManyNamespaces);
        }
        let rows = rows
            .into_iter()
            .map(|row| read(incarnation, row, query.detail)?.row());
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let more = rows.len() == size;
        self.left -= rows.len();
        if let Some(last) = rows.last() {
            query.before = Some(last.record.key.id.clone());
        }
        Ok(Page::Rows(rows, more))
    }
}
