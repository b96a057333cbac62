//! What changed between two trees, found by hash: what is equal is not read.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::edge::Edge;
use super::element::Element;
use super::node::Ref;
use super::read::{Fetch, as_leaf, as_node};
use crate::error::Result;

/// What is next in a tree that is gone through.
enum Token {
    /// A leaf (level 0) or node, not looked into.
    Group(Ref, usize),
    One(Element),
}

/// Goes through a tree from one of its ends.
struct Cursor<'a> {
    fetch: &'a dyn Fetch,
    /// From the end: the last token is the next.
    ahead: Vec<Token>,
    from_end: bool,
}

impl<'a> Cursor<'a> {
    fn new(fetch: &'a dyn Fetch, edge: &Edge, from_end: bool) -> Self {
        let levels = edge.levels.iter().enumerate().rev();
        let groups = levels
            .flat_map(|(level, refs)| refs.iter().map(move |r| Token::Group(r.clone(), level)));
        let mut ahead: Vec<Token> = groups
            .chain(edge.tail.iter().cloned().map(Token::One))
            .collect();
        if !from_end {
            ahead.reverse();
        }
        Self {
            fetch,
            ahead,
            from_end,
        }
    }

    /// Looks into the group that is next.
    async fn open(&mut self) -> Result<()> {
        let (r, level) = match self.ahead.pop() {
            Some(Token::Group(r, level)) => (r, level),
            Some(one) => {
                self.ahead.push(one);
                return Ok(());
            }
            None => return Ok(()),
        };
        let chunks = self.fetch.fetch(std::slice::from_ref(&r)).await?;
        let Some(chunk) = chunks.first() else {
            return Ok(());
        };
        let mut inside: Vec<Token> = match level {
            0 => as_leaf(chunk)?.iter().cloned().map(Token::One).collect(),
            _ => as_node(chunk)?
                .iter()
                .map(|child| Token::Group(child.clone(), level - 1))
                .collect(),
        };
        if !self.from_end {
            inside.reverse();
        }
        self.ahead.append(&mut inside);
        Ok(())
    }
}

/// What the next tokens of two cursors come to.
enum Meet {
    /// So many equal elements, taken from both.
    Equal(u64),
    /// One element each (`None`: the end).
    Apart(Option<Element>, Option<Element>),
}

/// Takes what is equal at once, else opens groups until there is an element on each side.
async fn meet(a: &mut Cursor<'_>, b: &mut Cursor<'_>, most: u64) -> Result<Meet> {
    loop {
        let (open_a, open_b) = match (a.ahead.last(), b.ahead.last()) {
            (Some(Token::Group(x, level)), Some(Token::Group(y, other))) => {
                if level == other && x.hash == y.hash && x.items <= most {
                    let items = x.items;
                    a.ahead.pop();
                    b.ahead.pop();
                    return Ok(Meet::Equal(items));
                }
                (level >= other, other >= level)
            }
            (x, y) => (
                matches!(x, Some(Token::Group(..))),
                matches!(y, Some(Token::Group(..))),
            ),
        };
        if !open_a && !open_b {
            let one = |token| match token {
                Some(Token::One(element)) => Some(element),
                _ => None,
            };
            return Ok(Meet::Apart(one(a.ahead.pop()), one(b.ahead.pop())));
        }
        if open_a {
            a.open().await?;
        }
        if open_b {
            b.open().await?;
        }
    }
}

fn same(a: &Element, b: &Element) -> bool {
    let content = |element: &Element| {
        let mut content = Vec::new();
        element.write_content(&mut content);
        content
    };
    a.key == b.key && a.tag == b.tag && a.len() == b.len() && content(a) == content(b)
}

/// How many elements are equal at one end, `most` at most.
async fn common(
    (fetch_a, a): (&dyn Fetch, &Edge),
    (fetch_b, b): (&dyn Fetch, &Edge),
    from_end: bool,
    most: u64,
) -> Result<u64> {
    let mut a = Cursor::new(fetch_a, a, from_end);
    let mut b = Cursor::new(fetch_b, b, from_end);
    let mut count = 0;
    while count < most {
        match meet(&mut a, &mut b, most - count).await? {
            Meet::Equal(items) => count += items,
            Meet::Apart(Some(x), Some(y)) if same(&x, &y) => count += 1,
            Meet::Apart(..) => break,
        }
    }
    Ok(count)
}

/// The one range of `old` that has to be replaced to make `new` of it, and what stands
/// there in `new`. Reads only along the range's ends.
pub(crate) async fn changed_range(
    old: (&dyn Fetch, &Edge),
    new: (&dyn Fetch, &Edge),
) -> Result<(Range<u64>, Range<u64>)> {
    let (old_len, new_len) = (old.1.len(), new.1.len());
    let shorter = old_len.min(new_len);
    let head = common(old, new, false, shorter).await?;
    let tail = common(old, new, true, shorter - head).await?;
    Ok((head..old_len - tail, head..new_len - tail))
}

/// What has to be done to a map's entries.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Entries that are new or different.
    pub(crate) put: Vec<Element>,
    /// Keys that are gone.
    pub(crate) gone: Vec<Arc<str>>,
}

/// What has to be done to the map `old` to make `new` of it; `None` if that is more than
/// `most` entries.
pub(crate) async fn changed_entries(
    (fetch_old, old): (&dyn Fetch, &Edge),
    (fetch_new, new): (&dyn Fetch, &Edge),
    most: usize,
) -> Result<Option<Changes>> {
    let mut old = Cursor::new(fetch_old, old, false);
    let mut new = Cursor::new(fetch_new, new, false);
    let mut changes = Changes::default();
    loop {
        match meet(&mut old, &mut new, u64::MAX).await? {
            Meet::Equal(_) => {}
            Meet::Apart(None, None) => return Ok(Some(changes)),
            Meet::Apart(Some(gone), None) => changes.gone.push(gone.key),
            Meet::Apart(None, Some(put)) => changes.put.push(put),
            Meet::Apart(Some(was), Some(is)) => match was.key.cmp(&is.key) {
                Ordering::Equal if same(&was, &is) => {}
                Ordering::Equal => changes.put.push(is),
                Ordering::Less => {
                    changes.gone.push(was.key);
                    new.ahead.push(Token::One(is));
                }
                Ordering::Greater => {
                    changes.put.push(is);
                    old.ahead.push(Token::One(was));
                }
            },
        }
        if changes.put.len() + changes.gone.len() > most {
            return Ok(None);
        }
    }
}
