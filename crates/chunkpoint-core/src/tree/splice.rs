//! Changing a list in the middle: only the groups that change are made anew.
//!
//! The same step at every level: take the group that holds the first changed
//! element, feed its kept elements, the new ones, and then the old ones that
//! follow, until a group ends where an old group ended. What was replaced,
//! counted in old elements, is the change for the level above.

use std::ops::Range;

use super::edge::Edge;
use super::element::Element;
use super::node::Ref;
use super::pack::PackBuilder;
use super::params::{seals_leaf, seals_node};
use super::read::{Fetch, as_leaf, as_node};
use crate::error::{Error, Result};

/// Replaces the elements `gone` by `new`. `gone` must lie within the list.
pub(crate) async fn splice(
    fetch: &dyn Fetch,
    edge: &Edge,
    gone: Range<u64>,
    mut new: Vec<Element>,
    pack: &mut PackBuilder<'_>,
) -> Result<Edge> {
    let mut out = edge.clone();
    if gone.start == edge.len() {
        out.append(new, pack)?;
        return Ok(out);
    }
    for element in &mut new {
        pack.split(element)?;
    }
    let mut leaves = Leaves {
        keyed: edge.keyed,
        bytes: 0,
    };
    let mut change = respan(fetch, edge, 0, gone, new, &mut leaves, pack).await?;
    if let Some(tail) = change.open.take() {
        out.tail = tail;
    }
    let mut gone = change.gone;
    let mut refs = change.groups;
    for level in 1.. {
        if level > out.levels.len() {
            if refs.is_empty() {
                break;
            }
            out.levels.push(Vec::new());
        }
        if gone.is_empty() && refs.is_empty() {
            break;
        }
        let mut change = respan(fetch, edge, level, gone, refs, &mut Nodes, pack).await?;
        if let Some(open) = change.open.take() {
            out.levels[level - 1] = open;
        }
        gone = change.gone;
        refs = change.groups;
    }
    while out.levels.last().is_some_and(Vec::is_empty) {
        out.levels.pop();
    }
    Ok(out)
}

/// What one level hands to the next.
struct Change<M> {
    /// The old elements whose groups are replaced.
    gone: Range<u64>,
    /// The groups in their place.
    groups: Vec<Ref>,
    /// The new open list, if the change reached it.
    open: Option<Vec<M>>,
}

/// What differs between leaves and nodes.
trait Level: Send {
    type Member: Clone + Send + Sync;
    /// Elements of the list that a member stands for.
    fn items(member: &Self::Member) -> u64;
    /// The open list of `edge` at `level`.
    fn open(edge: &Edge, level: usize) -> &[Self::Member];
    fn members(chunk: &super::node::Decoded) -> Result<&[Self::Member]>;
    /// Whether the group ends with its last member.
    fn seals(&mut self, group: &[Self::Member]) -> bool;
    fn make(&mut self, group: &[Self::Member], pack: &mut PackBuilder<'_>) -> Result<Ref>;
}

struct Leaves {
    keyed: bool,
    bytes: usize,
}

impl Level for Leaves {
    type Member = Element;

    fn items(_: &Element) -> u64 {
        1
    }

    fn open(edge: &Edge, _: usize) -> &[Element] {
        &edge.tail
    }

    fn members(chunk: &super::node::Decoded) -> Result<&[Element]> {
        as_leaf(chunk)
    }

    fn seals(&mut self, group: &[Element]) -> bool {
        let Some(last) = group.last() else {
            return false;
        };
        self.bytes += last.weight();
        let seals = seals_leaf(self.bytes, last);
        if seals {
            self.bytes = 0;
        }
        seals
    }

    fn make(&mut self, group: &[Element], pack: &mut PackBuilder<'_>) -> Result<Ref> {
        pack.leaf(self.keyed, group)
    }
}

struct Nodes;

impl Level for Nodes {
    type Member = Ref;

    fn items(member: &Ref) -> u64 {
        member.items
    }

    fn open(edge: &Edge, level: usize) -> &[Ref] {
        edge.levels.get(level - 1).map_or(&[], Vec::as_slice)
    }

    fn members(chunk: &super::node::Decoded) -> Result<&[Ref]> {
        as_node(chunk)
    }

    fn seals(&mut self, group: &[Ref]) -> bool {
        group
            .last()
            .is_some_and(|last| seals_node(group.len(), &last.hash))
    }

    fn make(&mut self, group: &[Ref], pack: &mut PackBuilder<'_>) -> Result<Ref> {
        pack.node(group)
    }
}

/// One old group: its members and where it starts.
struct Group<M> {
    start: u64,
    members: Vec<M>,
}

/// The old group of `level` that holds element `at`.
async fn group_at<L: Level>(
    fetch: &dyn Fetch,
    edge: &Edge,
    level: usize,
    at: u64,
) -> Result<Group<L::Member>> {
    let start = edge.open_start(level);
    if at >= start {
        return Ok(Group {
            start,
            members: L::open(edge, level).to_vec(),
        });
    }
    // The lowest open list above that reaches back to `at`.
    let mut above = level + 1;
    while edge.open_start(above) > at {
        above += 1;
    }
    let refs = edge.levels.get(above - 1).map_or(&[][..], Vec::as_slice);
    let (mut r, mut start) = pick(refs, edge.open_start(above), at)?;
    for _ in level + 1..above {
        let chunks = fetch.fetch(std::slice::from_ref(&r)).await?;
        (r, start) = pick(as_node(&chunks[0])?, start, at)?;
    }
    let chunks = fetch.fetch(&[r]).await?;
    Ok(Group {
        start,
        members: L::members(&chunks[0])?.to_vec(),
    })
}

fn pick(refs: &[Ref], mut start: u64, at: u64) -> Result<(Ref, u64)> {
    for r in refs {
        if at < start + r.items {
            return Ok((r.clone(), start));
        }
        start += r.items;
    }
    Err(Error::corrupt(
        "a node counts more elements than its children have",
    ))
}

async fn respan<L: Level>(
    fetch: &dyn Fetch,
    edge: &Edge,
    level: usize,
    gone: Range<u64>,
    new: Vec<L::Member>,
    rule: &mut L,
    pack: &mut PackBuilder<'_>,
) -> Result<Change<L::Member>> {
    let first = group_at::<L>(fetch, edge, level, gone.start).await?;
    let from = first.start;
    let mut groups = Vec::new();
    let mut group: Vec<L::Member> = Vec::new();
    let mut feed = |member: L::Member, rule: &mut L, pack: &mut PackBuilder<'_>| -> Result<bool> {
        group.push(member);
        if !rule.seals(&group) {
            return Ok(false);
        }
        groups.push(rule.make(&group, pack)?);
        group.clear();
        Ok(true)
    };
    let mut sealed = true;
    let mut at = first.start;
    for member in first.members {
        if at >= gone.start {
            break;
        }
        at += L::items(&member);
        sealed = feed(member, rule, pack)?;
    }
    for member in new {
        sealed = feed(member, rule, pack)?;
    }
    // The old members after the change, group by group.
    let end = edge.open_start(level);
    let mut at = gone.end;
    loop {
        let old = if at >= end {
            None
        } else {
            Some(group_at::<L>(fetch, edge, level, at).await?)
        };
        match old {
            Some(old) => {
                if sealed && old.start == at {
                    return Ok(Change {
                        gone: from..at,
                        groups,
                        open: None,
                    });
                }
                let mut start = old.start;
                for member in old.members {
                    if start >= at {
                        sealed = feed(member.clone(), rule, pack)?;
                    }
                    start += L::items(&member);
                }
                at = start;
            }
            None => {
                if sealed && at == end {
                    return Ok(Change {
                        gone: from.min(end)..end,
                        groups,
                        open: None,
                    });
                }
                let mut start = end;
                for member in L::open(edge, level) {
                    if start >= at {
                        feed(member.clone(), rule, pack)?;
                    }
                    start += L::items(member);
                }
                return Ok(Change {
                    gone: from.min(end)..end,
                    groups,
                    open: Some(group),
                });
            }
        }
    }
}
