//! Several namespaces of a thread as one sequence, newest id first.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use chunkpoint_core::{Error, ErrorKind, Result};

use crate::log::Reader;
use crate::order::Walk;
use crate::state::{Found, State};

/// The next record of one namespace.
#[derive(Debug)]
struct Head {
    found: Found,
    name: Arc<str>,
    ns: u32,
    walk: Walk,
}

impl Ord for Head {
    /// The greatest comes first: ids descend, equal ones by namespace ascend.
    fn cmp(&self, other: &Self) -> Ordering {
        self.found
            .id
            .cmp(&other.found.id)
            .then_with(|| other.name.cmp(&self.name))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// Goes through the records of one namespace, or of all.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    heads: BinaryHeap<Head>,
    /// Records that could not be read; told before what comes next.
    damage: VecDeque<Error>,
    /// Places of those.
    told: Vec<u64>,
    /// Whether the parts that nothing points at were told of.
    holes_told: bool,
    /// The walk that gave the last record, to be moved on when asked for more.
    last: Option<(u32, Arc<str>, Walk)>,
}

impl Merge {
    /// Starts at the newest records before `before`.
    pub(crate) fn new(
        reader: &mut Reader,
        state: &State,
        namespace: Option<&str>,
        before: Option<&Arc<str>>,
    ) -> Self {
        let mut merge = Self::default();
        for (ns, space) in (0u32..).zip(&state.namespaces) {
            if namespace.is_some_and(|name| *name != *space.name) {
                continue;
            }
            match Walk::new(reader, state, ns, before) {
                Ok(walk) => merge.push(reader, state, ns, space.name.clone(), walk),
                Err(error) => merge.damage.push_back(error),
            }
        }
        merge
    }

    /// The next record, hidden ones included, with the number of its namespace.
    /// After an error about damage it goes on behind that.
    pub(crate) fn next(
        &mut self,
        reader: &mut Reader,
        state: &State,
    ) -> Option<Result<(u32, Found)>> {
        if let Some((ns, name, walk)) = self.last.take() {
            self.push(reader, state, ns, name, walk);
        }
        if let Some(error) = self.damage.pop_front() {
            return Some(Err(error));
        }
        let Some(head) = self.heads.pop() else {
            self.tell_holes(reader, state);
            return self.damage.pop_front().map(Err);
        };
        self.last = Some((head.ns, head.name, head.walk));
        Some(Ok((head.ns, head.found)))
    }

    /// At the end, tells of damage that may have taken records that nothing
    /// points at.
    fn tell_holes(&mut self, reader: &Reader, state: &State) {
        if std::mem::replace(&mut self.holes_told, true) {
            return;
        }
        for (from, to) in &state.holes {
            if !self.told.iter().any(|at| (from..to).contains(&at)) {
                self.damage
                    .push_back(reader.log().damaged("a frame", *from));
            }
        }
    }

    /// Puts the next record of a walk among the heads.
    fn push(
        &mut self,
        reader: &mut Reader,
        state: &State,
        ns: u32,
        name: Arc<str>,
        mut walk: Walk,
    ) {
        loop {
            match walk.next(reader, state) {
                Ok(Some(found)) => {
                    self.heads.push(Head {
                        found,
                        name,
                        ns,
                        walk,
                    });
                    return;
                }
                Ok(None) => return,
                Err(error) => {
                    // Only damage leaves the walk able to go on.
                    let over = error.kind() != ErrorKind::Corrupt;
                    self.told.push(walk.damaged);
                    self.damage.push_back(error);
                    if over {
                        return;
                    }
                }
            }
        }
    }
}
