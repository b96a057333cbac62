//! A whole value put again: made from scratch, by hash alone, and stored only
//! where the parent's tree has not got it.

use std::collections::HashSet;
use std::sync::Arc;

use super::edge::Edge;
use super::element::{Data, Element};
use super::node::{Decoded, Hash, Ref, leaf_hash, node_hash};
use super::pack::{LEAF_LEVEL, NODE_LEVEL, PIECE_LEVEL, PackBuilder};
use super::params::{seals_leaf, seals_node};
use super::read::{Fetch, as_node};
use crate::error::Result;

/// The tree that may already have what is to be stored.
pub(crate) enum Donor<'a> {
    None,
    Edge(&'a Edge),
    Item(&'a Element),
}

struct Group {
    hash: Hash,
    items: u64,
    children: (usize, usize),
}

/// Elements grouped and hashed.
struct Plan {
    /// Level 0 are the leaves, whose children are elements.
    levels: Vec<Vec<Group>>,
    /// For each level of groups, the first that no group above holds.
    open: Vec<usize>,
    tail: usize,
}

impl Plan {
    fn new(keyed: bool, elements: &[Element]) -> Self {
        let mut leaves = Vec::new();
        let (mut from, mut bytes) = (0, 0);
        for (n, element) in elements.iter().enumerate() {
            bytes += element.weight();
            if seals_leaf(bytes, element) {
                leaves.push(Group {
                    hash: leaf_hash(keyed, &elements[from..=n]),
                    items: (n + 1 - from) as u64,
                    children: (from, n + 1),
                });
                (from, bytes) = (n + 1, 0);
            }
        }
        let tail = from;
        let mut levels = Vec::new();
        let mut open = Vec::new();
        let mut below = leaves;
        while !below.is_empty() {
            let mut above = Vec::new();
            let mut from = 0;
            for (n, child) in below.iter().enumerate() {
                if seals_node(n + 1 - from, &child.hash) {
                    let members = &below[from..=n];
                    above.push(Group {
                        hash: node_hash(members.iter().map(|m| (&m.hash, m.items))),
                        items: members.iter().map(|m| m.items).sum(),
                        children: (from, n + 1),
                    });
                    from = n + 1;
                }
            }
            levels.push(below);
            open.push(from);
            below = above;
        }
        Self { levels, open, tail }
    }

    fn wanted(&self) -> HashSet<(u8, Hash)> {
        self.levels
            .iter()
            .enumerate()
            .flat_map(|(level, groups)| groups.iter().map(move |group| (kind(level), group.hash)))
            .collect()
    }

    fn emit(
        &self,
        level: usize,
        at: usize,
        elements: &mut [Element],
        keyed: bool,
        pack: &mut PackBuilder<'_>,
    ) -> Result<Ref> {
        let group = &self.levels[level][at];
        if let Some(known) = pack.knows(kind(level), &group.hash) {
            return Ok(known.clone());
        }
        let (from, to) = group.children;
        if level == 0 {
            for element in &mut elements[from..to] {
                pack.split(element)?;
            }
            return pack.leaf(keyed, &elements[from..to]);
        }
        let children = (from..to)
            .map(|child| self.emit(level - 1, child, elements, keyed, pack))
            .collect::<Result<Vec<_>>>()?;
        pack.node(&children)
    }
}

fn kind(level: usize) -> u8 {
    if level == 0 { LEAF_LEVEL } else { NODE_LEVEL }
}

/// Builds the tree of `elements`, borrowing from `donor` what is equal.
pub(crate) async fn build_edge(
    fetch: &dyn Fetch,
    keyed: bool,
    mut elements: Vec<Element>,
    donor: Donor<'_>,
    pack: &mut PackBuilder<'_>,
) -> Result<Edge> {
    let plan = Plan::new(keyed, &elements);
    if let Donor::Edge(donor) = donor {
        let mut wanted = plan.wanted();
        let mut lookout = Lookout {
            fetch,
            wanted: &mut wanted,
            unmatched: Vec::new(),
        };
        lookout.walk_edge(donor, pack).await?;
        let unmatched = lookout.unmatched;
        lend_large(fetch, &plan, &elements, donor, unmatched, pack).await?;
    }
    let mut edge = Edge::new(keyed);
    for level in 0..plan.levels.len() {
        let refs = (plan.open[level]..plan.levels[level].len())
            .map(|at| plan.emit(level, at, &mut elements, keyed, pack))
            .collect::<Result<Vec<_>>>()?;
        edge.levels.push(refs);
    }
    for element in &mut elements[plan.tail..] {
        pack.split(element)?;
    }
    edge.tail = elements.split_off(plan.tail);
    Ok(edge)
}

/// An element on its own, borrowing pieces from `donor` if it is large.
pub(crate) async fn build_item(
    fetch: &dyn Fetch,
    mut element: Element,
    donor: Donor<'_>,
    pack: &mut PackBuilder<'_>,
) -> Result<Element> {
    if let (Data::Unsplit(plan), Donor::Item(old)) = (&element.data, donor) {
        let mut wanted = plan.hashes().collect();
        let mut lookout = Lookout {
            fetch,
            wanted: &mut wanted,
            unmatched: Vec::new(),
        };
        lookout.walk_element(old, pack).await?;
    }
    pack.split(&mut element)?;
    Ok(element)
}

/// Looks for wanted hashes in an older tree, top down: where a subtree is
/// wanted, it is lent whole and not looked into.
struct Lookout<'a> {
    fetch: &'a dyn Fetch,
    wanted: &'a mut HashSet<(u8, Hash)>,
    /// Leaves that were not wanted: large values in them may be.
    unmatched: Vec<Ref>,
}

impl Lookout<'_> {
    async fn walk_edge(&mut self, edge: &Edge, pack: &mut PackBuilder<'_>) -> Result<()> {
        let open = edge
            .levels
            .iter()
            .enumerate()
            .flat_map(|(level, refs)| refs.iter().map(move |r| (r.clone(), level)))
            .collect();
        self.walk(open, LEAF_LEVEL, pack).await
    }

    async fn walk_element(&mut self, element: &Element, pack: &mut PackBuilder<'_>) -> Result<()> {
        if let Data::Large(large) = &element.data {
            let open = vec![(large.root.clone(), large.level as usize)];
            self.walk(open, PIECE_LEVEL, pack).await?;
        }
        Ok(())
    }

    async fn walk(
        &mut self,
        mut open: Vec<(Ref, usize)>,
        ground: u8,
        pack: &mut PackBuilder<'_>,
    ) -> Result<()> {
        while !open.is_empty() && !self.wanted.is_empty() {
            let mut look = Vec::new();
            for (r, level) in open.drain(..) {
                let kind = if level == 0 { ground } else { NODE_LEVEL };
                if self.wanted.remove(&(kind, r.hash)) {
                    pack.lend(kind, r);
                } else if level > 0 {
                    look.push((r, level));
                } else if r.has_large {
                    self.unmatched.push(r);
                }
            }
            let refs: Vec<Ref> = look.iter().map(|(r, _)| r.clone()).collect();
            let nodes: Vec<Arc<Decoded>> = self.fetch.fetch(&refs).await?;
            for ((_, level), node) in look.iter().zip(&nodes) {
                open.extend(as_node(node)?.iter().map(|r| (r.clone(), level - 1)));
            }
        }
        Ok(())
    }
}

/// Lends the pieces of large values that lie in leaves to be made anew.
async fn lend_large(
    fetch: &dyn Fetch,
    plan: &Plan,
    elements: &[Element],
    donor: &Edge,
    unmatched: Vec<Ref>,
    pack: &mut PackBuilder<'_>,
) -> Result<()> {
    let missing = plan
        .levels
        .first()
        .into_iter()
        .flatten()
        .filter(|leaf| pack.knows(LEAF_LEVEL, &leaf.hash).is_none())
        .map(|leaf| leaf.children.0..leaf.children.1)
        .chain(std::iter::once(plan.tail..elements.len()));
    let mut wanted: HashSet<(u8, Hash)> = HashSet::new();
    for range in missing {
        for element in &elements[range] {
            if let Data::Unsplit(blob) = &element.data {
                wanted.extend(blob.hashes());
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut lookout = Lookout {
        fetch,
        wanted: &mut wanted,
        unmatched: Vec::new(),
    };
    for leaf in fetch.fetch(&unmatched).await? {
        if let Decoded::Leaf(old) = &*leaf {
            for element in old {
                lookout.walk_element(element, pack).await?;
            }
        }
    }
    for element in &donor.tail {
        lookout.walk_element(element, pack).await?;
    }
    Ok(())
}
