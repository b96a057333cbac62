//! Listing records and threads.

use std::sync::Arc;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{ListRecords, ListThreads, RecordRow};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::in_namespace;
use super::read::{LIFE, before};
use super::row::{columns, record};
use crate::backend::Inner;
use crate::db::Tx;
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Args, args};

/// Rows of the first page of a listing; who takes them all gets larger ones.
const FIRST_PAGE: usize = 64;

/// Rows of the largest page.
const LARGEST_PAGE: usize = 1024;

/// Where a listing has got to.
struct Cursor {
    query: ListRecords,
    thread: Key,
    /// Namespace and id of the last row.
    last: Option<(Key, Arc<str>)>,
    page: usize,
    left: usize,
    ended: bool,
}

impl Cursor {
    fn new(query: ListRecords) -> Self {
        let left = query.limit.unwrap_or(usize::MAX);
        Self {
            thread: Key::new(&query.thread),
            last: None,
            // A limit says how many are wanted.
            page: query
                .limit
                .map_or(FIRST_PAGE, |limit| limit.min(LARGEST_PAGE)),
            left,
            ended: left == 0,
            query,
        }
    }

    /// The statement of the next page.
    fn statement(&self, dialect: Dialect) -> (String, Args) {
        let columns = columns(dialect, self.query.detail);
        let select = dialect.select_long();
        let mut template = format!(
            "{select} {columns} FROM {{checkpoints}} c WHERE c.life = {LIFE} AND c.{}",
            dialect.is_current()
        );
        let mut args: Args = self.thread.indexed().into();
        if !self.query.hidden {
            template.push_str(" AND c.hidden = FALSE");
        }
        if let Some(id) = &self.query.before {
            let (operator, id) = before(id);
            template.push_str(&format!(" AND c.id {operator} ?"));
            args.push(id.into());
        }
        match &self.query.namespace {
            Some(namespace) => {
                let (condition, namespace) = in_namespace(namespace);
                template.push_str(&format!(" AND {condition}"));
                args.extend(namespace);
                if let Some((_, id)) = &self.last {
                    template.push_str(" AND c.id < ?");
                    args.push(id.clone().into());
                }
                template.push_str(" ORDER BY c.id DESC LIMIT ?");
            }
            None => {
                if let Some((namespace, id)) = &self.last {
                    template.push_str(
                        " AND c.id <= ? AND (c.id < ? OR c.namespace > ? \
                         OR (c.namespace = ? AND c.namespace_rest > ?))",
                    );
                    let (head, rest) = (&namespace.head, &namespace.rest);
                    args.extend(args![
                        id.clone(),
                        id.clone(),
                        head.clone(),
                        head.clone(),
                        rest.clone()
                    ]);
                }
                template.push_str(" ORDER BY c.id DESC, c.namespace, c.namespace_rest LIMIT ?");
            }
        }
        args.extend(args![self.wanted() as i64]);
        (template, args)
    }

    fn wanted(&self) -> usize {
        self.page.min(self.left)
    }

    /// Takes in the rows of a page.
    fn took(&mut self, rows: &[RecordRow]) {
        self.ended = rows.len() < self.wanted();
        self.left -= rows.len();
        self.ended |= self.left == 0;
        self.page = (4 * self.page).min(LARGEST_PAGE);
        if let Some(last) = rows.last() {
            let key = &last.record.key;
            self.last = Some((Key::new(&key.namespace), key.id.clone()));
        }
    }
}

impl Inner {
    /// Lists with a limit page by page, each a statement of its own; without one, all
    /// pages at one moment.
    pub(crate) async fn list(
        self: &Arc<Self>,
        query: ListRecords,
    ) -> Result<BoxStream<'static, Result<RecordRow>>> {
        let mut cursor = Cursor::new(query);
        if cursor.query.limit.is_some() {
            let inner = self.clone();
            let pages = stream::try_unfold(cursor, move |cursor| {
                let inner = inner.clone();
                async move { inner.next_page(cursor).await }
            });
            return Ok(rows_of(pages));
        }
        if self.db.is_alone() {
            // Holding the only connection would keep everything else from it.
            let mut tx = self.db.snapshot().await?;
            let mut pages = Vec::new();
            while !cursor.ended {
                pages.push(Ok(page(&mut tx, &mut cursor).await?));
            }
            tx.rollback().await;
            return Ok(rows_of(stream::iter(pages)));
        }
        let held = self.db.hold().await?;
        let tx = self.db.snapshot().await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(read_ahead(tx, cursor, sender, held));
        let pages = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|page| (page, receiver))
        });
        Ok(rows_of(pages))
    }

    async fn next_page(&self, mut cursor: Cursor) -> Result<Option<(Vec<RecordRow>, Cursor)>> {
        if cursor.ended {
            return Ok(None);
        }
        let (template, args) = cursor.statement(self.db.dialect());
        let rows = self.db.rows(&template, args).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            records.push(record(&self.db, row, 0).await?);
        }
        cursor.took(&records);
        Ok(Some((records, cursor)))
    }

    pub(crate) async fn threads(&self, query: ListThreads) -> Result<Vec<Arc<str>>> {
        // A prefix of more characters than are indexed is compared here with the rest.
        let prefix = Key::new(&query.prefix);
        let after = query.after.as_deref().map(Key::new);
        let mut template = format!(
            "{} t.thread, t.thread_rest FROM {{threads}} t WHERE t.thread >= ? \
             AND (t.thread > ? OR t.thread_rest >= ?)",
            self.db.dialect().select_long()
        );
        let mut args = args![
            prefix.head.clone(),
            prefix.head.clone(),
            prefix.rest.clone()
        ];
        if let Some(end) = successor(&prefix.head) {
            template.push_str(" AND t.thread < ?");
            args.extend(args![&*end]);
        }
        if let Some(after) = after {
            template.push_str(" AND t.thread >= ? AND (t.thread > ? OR t.thread_rest > ?)");
            args.extend(args![after.head.clone(), after.head, after.rest]);
        }
        if !query.all {
            template.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM {{checkpoints}} c WHERE c.life = t.life \
                 AND c.{} AND c.hidden = FALSE)",
                self.db.dialect().is_current()
            ));
        }
        template.push_str(" ORDER BY t.thread, t.thread_rest LIMIT ?");
        args.extend(args![i64::try_from(query.limit).unwrap_or(i64::MAX)]);
        let rows = self.db.rows(&template, args).await?;
        let mut threads = Vec::with_capacity(rows.len());
        for row in rows {
            let thread = Key::join(row.text(0)?, &row.text(1)?);
            if thread.starts_with(&query.prefix) {
                threads.push(thread);
            }
        }
        Ok(threads)
    }
}

/// The rows of pages.
fn rows_of(
    pages: impl futures::Stream<Item = Result<Vec<RecordRow>>> + Send + 'static,
) -> BoxStream<'static, Result<RecordRow>> {
    let rows = pages.flat_map(|page| match page {
        Ok(rows) => stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(error)]),
    });
    rows.boxed()
}

async fn page(tx: &mut Tx, cursor: &mut Cursor) -> Result<Vec<RecordRow>> {
    let (template, args) = cursor.statement(tx.db().dialect());
    let rows = tx.rows(&template, args).await?;
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        records.push(record(tx.db(), row, 0).await?);
    }
    cursor.took(&records);
    Ok(records)
}

/// Reads page after page, one ahead of who takes them. Nobody takes them any more once
/// the channel is closed.
async fn read_ahead<H>(
    mut tx: Tx,
    mut cursor: Cursor,
    sender: mpsc::Sender<Result<Vec<RecordRow>>>,
    held: H,
) {
    while !cursor.ended {
        let page = page(&mut tx, &mut cursor).await;
        let failed = page.is_err();
        if cursor.ended || failed {
            // The connection is free before the last page is waited for.
            tx.rollback().await;
            drop(held);
            sender.send(page).await.ok();
            return;
        }
        if sender.send(page).await.is_err() {
            break;
        }
    }
    tx.rollback().await;
}

/// The least text that is greater than all that start with `prefix`, if there is one.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_come_right_after() {
        assert_eq!(successor("a").as_deref(), Some("b"));
        assert_eq!(successor("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(successor("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }
}
