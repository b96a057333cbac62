//! Finding what is due without reading what is not.
//!
//! Every node tells, for each child, when anything below it is due; of the tail's keys
//! that is in memory. The catalog of namespaces is the same kind of file, and so tells
//! which namespaces have anything due.

use bytes::Bytes;
use chunkpoint_core::Result;

use crate::items::entry::NEVER;
use crate::items::file::Root;
use crate::items::node::Node;
use crate::items::space::Space;
use crate::wait::Wait;

/// What a sweep may find in a namespace.
#[derive(Debug, Default)]
pub(crate) struct DueKeys {
    /// Keys of what is due.
    pub(crate) keys: Vec<Vec<u8>>,
    /// When the next is due; only if all were looked at.
    pub(crate) next: Option<u64>,
    /// Where the tail ended.
    pub(crate) end: u64,
    /// Where to go on in the sorted part, if that was not looked at to its end.
    pub(crate) resume: Option<Vec<u8>>,
    /// Whether there may be more than were asked for.
    pub(crate) more: bool,
}

/// What is due in `space` at or before `before_ms`: some if there is any, and at most
/// `limit`. Of the sorted part only nodes that have some are read, from key `from` on.
pub(crate) fn due(space: &Space, from: &[u8], before_ms: u64, limit: usize) -> Result<DueKeys> {
    space.check()?;
    let mut due = DueKeys::default();
    let mut next = NEVER;
    space.tail(|tail| {
        due.end = tail.end;
        for (key, slot) in tail.iter() {
            if slot.due > before_ms {
                next = next.min(slot.due);
            } else if due.keys.len() < limit {
                due.keys.push(key.to_vec());
            } else {
                due.more = true;
            }
        }
    });
    let header = &space.file.header;
    if header.due > before_ms {
        next = next.min(header.due);
    } else if due.more {
        return Ok(due);
    } else if let Some(root) = space.root(Wait::Yes)? {
        let walk = Walk {
            space,
            from,
            before_ms,
            limit,
        };
        walk.node(header.root, &root, &mut due, &mut next)?;
    }
    // From somewhere in the middle on, not all was looked at.
    due.more |= !from.is_empty();
    due.next = (!due.more).then_some(next);
    Ok(due)
}

struct Walk<'a> {
    space: &'a Space,
    from: &'a [u8],
    before_ms: u64,
    limit: usize,
}

impl Walk<'_> {
    fn node(&self, at: Root, payload: &Bytes, due: &mut DueKeys, next: &mut u64) -> Result<()> {
        let node = Node::decode(payload);
        match node.ok_or_else(|| self.space.file.damaged("a node", at.offset))? {
            Node::Leaf(entries) => {
                for (key, entry) in entries {
                    // What is in the tail was looked at there.
                    if *key < *self.from || self.space.tail(|tail| tail.get(&key)).is_some() {
                        continue;
                    }
                    if entry.due() > self.before_ms {
                        *next = (*next).min(entry.due());
                    } else if due.keys.len() < self.limit {
                        due.keys.push(key.to_vec());
                    } else {
                        due.more = true;
                        due.resume = Some(key.to_vec());
                        return Ok(());
                    }
                }
            }
            Node::Inner(children) => {
                for (n, child) in children.iter().enumerate() {
                    let after = children.get(n + 1);
                    let is_passed = after.is_some_and(|after| *after.least <= *self.from);
                    if child.due > self.before_ms {
                        *next = (*next).min(child.due);
                    } else if !is_passed {
                        let payload = self.space.node(child.at, Wait::Yes)?;
                        self.node(child.at, &payload, due, next)?;
                        if due.more {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
