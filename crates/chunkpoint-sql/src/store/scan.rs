//! Reading items, and namespaces, in order.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::store_backend::{ItemRow, ListNamespaces, Namespace, ScanItems};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::path::{Step, Walk, namespace_in};
use super::predicate::may_hold;
use super::row::{READ, namespace, read};
use crate::backend::Inner;
use crate::dialect::Dialect;
use crate::value::{Args, Value, args};

/// Rows of one page. Each page is a statement of its own, so that a reader who takes his
/// time holds neither a connection nor a snapshot.
const PAGE: usize = 256;

/// Paths of one page of a listing of namespaces.
const NAMESPACES: i64 = 256;

/// A scan under way.
struct Scan {
    inner: Arc<Inner>,
    walk: Walk,
    /// What is asked of each row besides its name.
    condition: String,
    args: Args,
    page: usize,
}

impl Scan {
    /// The next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<ItemRow>>> {
        let Some(step) = self.walk.step() else {
            return Ok(None);
        };
        let (place, mut args, order) = place(self.inner.db.dialect(), &step);
        args.extend(self.args.iter().cloned());
        args.push(Value::from(self.page as i64));
        let template = format!(
            "SELECT {READ}, i.path, i.path_hash FROM {{items}} i \
             WHERE {place} AND i.version IS NOT NULL{} ORDER BY {order} LIMIT ?",
            self.condition
        );
        let rows = self.inner.db.rows(&template, args).await?;
        let full = rows.len() == self.page;
        self.page = (2 * self.page).min(PAGE);
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            if matches!(step, Step::Heads { .. }) && !row.bytes(10)?.is_empty() {
                self.walk.within(&row.bytes(9)?);
                return Ok(Some(found));
            }
            found.push(read(row)?);
        }
        match (&step, found.last().filter(|_| full)) {
            (_, Some(last)) => self.walk.after(&last.key),
            (Step::Heads { .. }, None) => self.walk.end(),
            (Step::Within { head, .. }, None) => self.walk.after_head(head),
        }
        Ok(Some(found))
    }
}

/// The condition that a row, called `i`, belongs to a step, its parameters, and the order
/// in which it has to be read.
fn place(dialect: Dialect, step: &Step) -> (&'static str, Args, &'static str) {
    match step {
        Step::Heads { from, end } => (
            "i.path >= ? AND i.path < ?",
            args![from.clone(), end.clone()],
            "i.path, i.path_hash",
        ),
        // Few share the first 512 bytes: those are sorted.
        Step::Within { head, from, end } => (
            "i.path = ? AND i.path_rest >= ? AND i.path_rest < ?",
            args![head.clone(), from.clone(), end.clone()],
            match dialect {
                Dialect::Sqlite | Dialect::Postgres => "i.path_rest",
                Dialect::MySql => &PIECES,
            },
        ),
    }
}

/// The rest of a path in pieces: MySQL sorts by no more than the first 1,024 bytes of
/// each value (`max_sort_length`), and a rest has up to 33,000.
static PIECES: LazyLock<String> = LazyLock::new(|| {
    let piece = |n: usize| format!("SUBSTR(i.path_rest, {}, 1000)", 1000 * n + 1);
    (0..33).map(piece).collect::<Vec<_>>().join(", ")
});

/// A listing of namespaces under way.
struct Listing {
    inner: Arc<Inner>,
    walk: Walk,
    now_ms: i64,
}

const LIVES: &str = "i.version IS NOT NULL AND (i.expires_ms IS NULL OR i.expires_ms > ?)";

impl Listing {
    /// The next namespaces; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Namespace>>> {
        match self.walk.step() {
            None => Ok(None),
            Some(Step::Heads { from, end }) => self.among(from, end).await.map(Some),
            Some(step @ Step::Within { .. }) => self.one(&step).await.map(Some),
        }
    }

    /// Namespaces of paths in the index.
    async fn among(&mut self, from: Bytes, end: Bytes) -> Result<Vec<Namespace>> {
        let (template, args) = first_of_each(self.inner.db.dialect(), from, end, self.now_ms);
        let rows = self.inner.db.rows(&template, args).await?;
        let mut found: Vec<Namespace> = Vec::with_capacity(rows.len());
        for row in &rows {
            let head = row.bytes(0)?;
            let Some(bytes) = namespace_in(&head) else {
                // So long a namespace that the index has only a part of it.
                self.walk.within(&head);
                return Ok(found);
            };
            let namespace = Namespace::from_bytes(bytes)?;
            if found.last() != Some(&namespace) {
                self.walk.after_namespace(&namespace);
                found.push(namespace);
            }
        }
        if rows.len() < NAMESPACES as usize {
            self.walk.end();
        }
        Ok(found)
    }

    /// The first namespace among long paths.
    async fn one(&mut self, step: &Step) -> Result<Vec<Namespace>> {
        let (place, mut args, order) = place(self.inner.db.dialect(), step);
        args.push(Value::from(self.now_ms));
        let template = format!(
            "SELECT i.namespace FROM {{items}} i WHERE {place} AND {LIVES} ORDER BY {order} LIMIT 1"
        );
        let rows = self.inner.db.rows(&template, args).await?;
        match (rows.first(), step) {
            (Some(row), _) => {
                let found = namespace(&row.text(0)?)?;
                self.walk.after_namespace(&found);
                Ok(vec![found])
            }
            (None, Step::Within { head, .. }) => {
                self.walk.after_head(head);
                Ok(Vec::new())
            }
            (None, Step::Heads { .. }) => {
                self.walk.end();
                Ok(Vec::new())
            }
        }
    }
}

/// A statement that gives paths of items that live, at least the first of each of the next
/// namespaces, and its parameters.
///
/// It goes from the first item of a namespace to the first behind all of its items, and so
/// on: what is called a loose index scan, and what databases do not do by themselves. MySQL
/// does not do it when told, either: it takes no bound for an index from the row outside of
/// a subquery, and reads from the start each time. There, it gives the items as they come; the
/// next statement begins behind the namespace in which it stopped, however large that is.
fn first_of_each(dialect: Dialect, from: Bytes, end: Bytes, now_ms: i64) -> (String, Args) {
    let first = |from: &str, limit: i64| {
        format!(
            "SELECT i.path FROM {{items}} i WHERE i.path >= {from} AND i.path < ? AND {LIVES} \
             ORDER BY i.path, i.path_hash LIMIT {limit}"
        )
    };
    let mut args = args![from, end.clone(), now_ms];
    // Two NULs end a namespace; its own items go on behind them, and what lies below it
    // with a label, which does not begin with one.
    let (nuls, behind) = match dialect {
        Dialect::MySql => return (first("?", NAMESPACES), args),
        Dialect::Sqlite => (
            "instr(s.path, x'0000')",
            "CAST(substr(s.path, 1, instr(s.path, x'0000')) || x'01' AS BLOB)",
        ),
        Dialect::Postgres => (
            "position('\\x0000'::bytea in s.path)",
            "(substr(s.path, 1, position('\\x0000'::bytea in s.path)) || '\\x01'::bytea)",
        ),
    };
    let template = format!(
        "WITH RECURSIVE skip (path, n) AS (\
         SELECT ({}), 1 UNION ALL \
         SELECT ({}), s.n + 1 FROM skip s WHERE s.n < {NAMESPACES} AND {nuls} > 0\
         ) SELECT path FROM skip WHERE path IS NOT NULL",
        first("?", 1),
        first(behind, 1)
    );
    args.extend(args![end, now_ms]);
    (template, args)
}

/// The next page, or `None` at the end.
type NextPage<'a, T> = BoxFuture<'a, Result<Option<Vec<T>>>>;

/// What comes in pages, one by one. After an error nothing comes any more.
fn in_pages<S: Send + 'static, T: Send + 'static>(
    state: S,
    next: fn(&mut S) -> NextPage<'_, T>,
) -> BoxStream<'static, Result<T>> {
    let pages = stream::try_unfold(state, move |mut state| async move {
        let page = next(&mut state).await?;
        Ok(page.map(|page| (stream::iter(page).map(Ok), state)))
    });
    pages.try_flatten().boxed()
}

impl Inner {
    pub(super) fn scan(self: Arc<Self>, query: &ScanItems) -> BoxStream<'static, Result<ItemRow>> {
        let mut walk = Walk::below(&query.prefix);
        if let Some(after) = &query.after {
            walk.after(after);
        }
        let dialect = self.db.dialect();
        let matching = query.matching.as_ref();
        let (condition, args) = matching
            .and_then(|predicate| may_hold(dialect, predicate))
            .map_or((String::new(), Args::new()), |(condition, args)| {
                (format!(" AND {condition}"), args)
            });
        let scan = Scan {
            inner: self,
            walk,
            condition,
            args,
            page: query.likely.unwrap_or(PAGE).clamp(1, PAGE),
        };
        in_pages(scan, |scan| Box::pin(scan.next()))
    }

    pub(super) fn namespaces(
        self: Arc<Self>,
        query: &ListNamespaces,
    ) -> BoxStream<'static, Result<Namespace>> {
        let mut walk = Walk::below(&query.prefix);
        if let Some(after) = &query.after {
            walk.after_namespace(after);
        }
        let listing = Listing {
            inner: self,
            walk,
            now_ms: query.now_ms as i64,
        };
        in_pages(listing, |listing| Box::pin(listing.next()))
    }
}
