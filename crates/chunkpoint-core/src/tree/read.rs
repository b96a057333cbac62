//! Reading a tree: only what is asked for, and everything of one level in one
//! request.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::edge::Edge;
use super::element::{Data, Element, Large};
use super::node::{Decoded, Ref};
use crate::backend::PackId;
use crate::error::{Error, Result};

/// Gets chunks, from a cache or a backend.
#[async_trait]
pub(crate) trait Fetch: Send + Sync {
    /// One chunk for each reference, in their order, verified.
    async fn fetch(&self, refs: &[Ref]) -> Result<Vec<Arc<Decoded>>>;
}

pub(super) fn as_node(chunk: &Decoded) -> Result<&[Ref]> {
    match chunk {
        Decoded::Node(children) => Ok(children),
        _ => Err(Error::corrupt(
            "a node was expected, another kind of chunk found",
        )),
    }
}

pub(super) fn as_leaf(chunk: &Decoded) -> Result<&[Element]> {
    match chunk {
        Decoded::Leaf(elements) => Ok(elements),
        _ => Err(Error::corrupt(
            "a leaf was expected, another kind of chunk found",
        )),
    }
}

/// A subtree that a walk has to look into.
struct Open {
    r: Ref,
    level: usize,
    /// Index of its first element.
    start: u64,
}

/// Elements `want` of the list, in order. `want` must lie within the list.
pub(crate) async fn range(
    fetch: &dyn Fetch,
    edge: &Edge,
    want: Range<u64>,
) -> Result<Vec<Element>> {
    let overlaps = |start: u64, items: u64| start < want.end && start + items > want.start;
    let mut open = Vec::new();
    let mut at = 0;
    for (level, refs) in edge.levels.iter().enumerate().rev() {
        for r in refs {
            if overlaps(at, r.items) {
                open.push(Open {
                    r: r.clone(),
                    level,
                    start: at,
                });
            }
            at += r.items;
        }
    }
    let mut leaves: Vec<(u64, Arc<Decoded>)> = Vec::new();
    while !open.is_empty() {
        let refs: Vec<Ref> = open.iter().map(|o| o.r.clone()).collect();
        let chunks = fetch.fetch(&refs).await?;
        let mut below = Vec::new();
        for (o, chunk) in open.iter().zip(chunks) {
            if o.level == 0 {
                leaves.push((o.start, chunk));
                continue;
            }
            let mut start = o.start;
            for r in as_node(&chunk)? {
                if overlaps(start, r.items) {
                    below.push(Open {
                        r: r.clone(),
                        level: o.level - 1,
                        start,
                    });
                }
                start += r.items;
            }
        }
        open = below;
    }
    leaves.sort_by_key(|(start, _)| *start);
    let mut out = Vec::with_capacity((want.end - want.start) as usize);
    let mut take = |start: u64, elements: &[Element]| {
        let from = want.start.saturating_sub(start).min(elements.len() as u64) as usize;
        let to = want.end.saturating_sub(start).min(elements.len() as u64) as usize;
        out.extend_from_slice(&elements[from..to]);
    };
    for (start, leaf) in &leaves {
        take(*start, as_leaf(leaf)?);
    }
    if want.end > at {
        take(at, &edge.tail);
    }
    if out.len() as u64 != want.end - want.start {
        return Err(Error::corrupt(format!(
            "{} elements found where the references count {}",
            out.len(),
            want.end - want.start
        )));
    }
    Ok(out)
}

/// The element with this key of a map: a binary search by index.
///
/// Takes as many dependent reads as the tree is deep, times the binary
/// logarithm of the leaves; what the probes share is read once.
pub(crate) async fn element_at(
    fetch: &dyn Fetch,
    edge: &Edge,
    key: &str,
) -> Result<Option<Element>> {
    Ok(position(fetch, edge, key).await?.1)
}

/// Where the element with this key of a map is, or would be; and the element, if it is
/// there. As [`element_at`].
pub(crate) async fn position(
    fetch: &dyn Fetch,
    edge: &Edge,
    key: &str,
) -> Result<(u64, Option<Element>)> {
    let mut from = 0;
    let mut to = edge.len();
    while from < to {
        let middle = from + (to - from) / 2;
        let Some(found) = range(fetch, edge, middle..middle + 1).await?.pop() else {
            break;
        };
        match (*found.key).cmp(key) {
            std::cmp::Ordering::Equal => return Ok((middle, Some(found))),
            std::cmp::Ordering::Less => from = middle + 1,
            std::cmp::Ordering::Greater => to = middle,
        }
    }
    Ok((from, None))
}

/// Pieces of large values read at once: they need not all be in memory twice.
const PIECES: usize = 1024;

/// The bytes of each element. All large values go down their trees together, so
/// that many of them take no more dependent reads than one.
pub(crate) async fn read_data(fetch: &dyn Fetch, data: &[&Data]) -> Result<Vec<Bytes>> {
    let mut large = Vec::new();
    let mut out = Vec::with_capacity(data.len());
    for (n, data) in data.iter().enumerate() {
        out.push(match data {
            Data::Inline(bytes) => bytes.clone(),
            Data::Unsplit(plan) => plan.bytes().clone(),
            Data::Large(it) => {
                large.push((n, it));
                Bytes::new()
            }
        });
    }
    if !large.is_empty() {
        let trees: Vec<&Large> = large.iter().map(|(_, it)| *it).collect();
        for ((n, _), bytes) in large.iter().zip(read_large(fetch, &trees).await?) {
            out[*n] = bytes;
        }
    }
    Ok(out)
}

async fn read_large(fetch: &dyn Fetch, trees: &[&Large]) -> Result<Vec<Bytes>> {
    // References in order, each with its tree and its height above the pieces.
    let mut open: Vec<(usize, u8, Ref)> = Vec::new();
    for (tree, large) in trees.iter().enumerate() {
        open.push((tree, large.level, large.root.clone()));
    }
    while open.iter().any(|(_, level, _)| *level > 0) {
        let nodes: Vec<Ref> = open
            .iter()
            .filter(|(_, level, _)| *level > 0)
            .map(|(.., r)| r.clone())
            .collect();
        let mut nodes = fetch.fetch(&nodes).await?.into_iter();
        let mut below = Vec::with_capacity(open.len());
        for (tree, level, r) in open {
            match if level > 0 { nodes.next() } else { None } {
                None => below.push((tree, level, r)),
                Some(node) => {
                    let children = as_node(&node)?.iter();
                    below.extend(children.map(|child| (tree, level - 1, child.clone())));
                }
            }
        }
        open = below;
    }
    let mut values: Vec<BytesMut> = trees
        .iter()
        .map(|large| BytesMut::with_capacity(large.len.min(1 << 30) as usize))
        .collect();
    for part in open.chunks(PIECES) {
        let refs: Vec<Ref> = part.iter().map(|(.., r)| r.clone()).collect();
        for ((tree, ..), piece) in part.iter().zip(fetch.fetch(&refs).await?) {
            match &*piece {
                Decoded::Piece(bytes) => values[*tree].extend_from_slice(bytes),
                _ => return Err(Error::corrupt("a piece was expected, another chunk found")),
            }
        }
    }
    for (large, value) in trees.iter().zip(&values) {
        if value.len() as u64 != large.len {
            return Err(Error::corrupt(format!(
                "a large value has {} bytes, its reference says {}",
                value.len(),
                large.len
            )));
        }
    }
    Ok(values.into_iter().map(BytesMut::freeze).collect())
}

/// Chunks read at once by [`reachable`].
const MARK_BATCH: usize = 256;

/// Adds every chunk that `roots` reach to `seen`. What is in `seen` already
/// is not looked into again.
pub(crate) async fn reachable(
    fetch: &dyn Fetch,
    roots: Vec<Root>,
    seen: &mut HashSet<(PackId, u32)>,
) -> Result<()> {
    walk(fetch, roots, seen, false).await
}

/// Reads, and so verifies, every chunk that `roots` reach and that is not in `seen`;
/// adds them to it.
pub(crate) async fn read_all(
    fetch: &dyn Fetch,
    roots: Vec<Root>,
    seen: &mut HashSet<(PackId, u32)>,
) -> Result<()> {
    walk(fetch, roots, seen, true).await
}

/// Goes down from `roots`. The lowest chunks, which refer to no others, are only read
/// if `lowest` says so.
async fn walk(
    fetch: &dyn Fetch,
    roots: Vec<Root>,
    seen: &mut HashSet<(PackId, u32)>,
    lowest: bool,
) -> Result<()> {
    let mut open: Vec<Root> = Vec::new();
    let admit = |root: Root, seen: &mut HashSet<(PackId, u32)>, open: &mut Vec<Root>| {
        let new = seen.insert((root.r.pack, root.r.ordinal));
        let look = match root.kind {
            RootKind::Edge => true,
            RootKind::Group { level } => level > 0 || root.r.has_large,
            RootKind::Pieces { level } => level > 0,
        };
        if new && (look || lowest) {
            open.push(root);
        }
    };
    for root in roots {
        admit(root, seen, &mut open);
    }
    while !open.is_empty() {
        let batch = open.split_off(open.len().saturating_sub(MARK_BATCH));
        let refs: Vec<Ref> = batch.iter().map(|root| root.r.clone()).collect();
        for (root, chunk) in batch.iter().zip(fetch.fetch(&refs).await?) {
            let mut below = Vec::new();
            match (&*chunk, root.kind) {
                (Decoded::Edge(edge), _) => below = Root::of_edge(edge),
                (Decoded::Leaf(elements), _) => {
                    below.extend(elements.iter().filter_map(Root::of_element));
                }
                (Decoded::Node(children), RootKind::Group { level }) if level > 0 => {
                    let kind = RootKind::Group {
                        level: level.saturating_sub(1),
                    };
                    below.extend(children.iter().map(|r| Root { r: r.clone(), kind }));
                }
                (Decoded::Node(children), RootKind::Pieces { level }) if level > 0 => {
                    let kind = RootKind::Pieces {
                        level: level.saturating_sub(1),
                    };
                    below.extend(children.iter().map(|r| Root { r: r.clone(), kind }));
                }
                _ => {}
            }
            for root in below {
                admit(root, seen, &mut open);
            }
        }
    }
    Ok(())
}

/// A reference, and what it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) r: Ref,
    pub(crate) kind: RootKind,
}

/// What a [`Root`] refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RootKind {
    /// An edge chunk.
    Edge,
    /// A leaf (level 0) or node of a list or map.
    Group { level: usize },
    /// A piece (level 0) or node of a large value.
    Pieces { level: usize },
}

impl Root {
    pub(crate) fn of_edge(edge: &Edge) -> Vec<Self> {
        let groups = edge.levels.iter().enumerate().flat_map(|(level, refs)| {
            refs.iter().map(move |r| Self {
                r: r.clone(),
                kind: RootKind::Group { level },
            })
        });
        groups
            .chain(edge.tail.iter().filter_map(Self::of_element))
            .collect()
    }

    pub(crate) fn of_element(element: &Element) -> Option<Self> {
        match &element.data {
            Data::Large(large) => Some(Self {
                r: large.root.clone(),
                kind: RootKind::Pieces {
                    level: large.level as usize,
                },
            }),
            _ => None,
        }
    }
}
