//! Several operations in one call.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::patch::merge;
use super::value::check_depth;
use super::write::{Ready, about};
use super::{Delete, Get, Patch, Put, Store, StoreAnswer, StoreOp, Ttl, check_writable};
use crate::error::{Error, Result};
use crate::store_backend::{Expect, ItemKey};

/// What the writes of a batch to one item come to.
#[derive(Debug)]
enum Outcome {
    Put(Put),
    Delete(Delete),
    Patches(Vec<Map<String, Value>>, Expect),
}

impl Store {
    /// Does several operations; the answers are in their order.
    ///
    /// * Reads see what was before the batch's writes, wherever they stand in it.
    /// * Of several puts and removals of one item the last one counts; a patch is
    ///   applied to what the batch has made of the item so far.
    /// * Each item is changed as a whole or not at all, the items independently of each
    ///   other: the answers tell which, and an error names its item.
    /// * If an operation cannot be accepted, nothing is done.
    ///
    /// # Errors
    /// `InvalidInput` if one cannot be accepted: as the single operations, and for an
    /// expectation about an item to which the batch writes more than once. What the
    /// backend reports where it failed as a whole.
    pub async fn batch(&self, ops: Vec<StoreOp>) -> Result<Vec<Result<StoreAnswer>>> {
        self.run(ops).await.map_err(|e| e.operation("batch"))
    }

    async fn run(&self, ops: Vec<StoreOp>) -> Result<Vec<Result<StoreAnswer>>> {
        let count = ops.len();
        let mut answers: Vec<Option<Result<StoreAnswer>>> = (0..count).map(|_| None).collect();
        let (mut gets, mut get_at) = (Vec::<Get>::new(), Vec::new());
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (at, op) in ops.into_iter().enumerate() {
            match op {
                StoreOp::Get(get) => {
                    gets.push(get);
                    get_at.push(at);
                }
                StoreOp::Search(ref search) => {
                    search.check()?;
                    reads.push((at, op));
                }
                StoreOp::ListNamespaces(ref query) => {
                    query.literal()?;
                    reads.push((at, op));
                }
                StoreOp::Put(_) | StoreOp::Patch(_) | StoreOp::Delete(_) => writes.push((at, op)),
            }
        }
        let outcomes = outcomes(writes, &mut answers)?;
        // Encoded before anything is done: what cannot be accepted shows here.
        let mut patches = Vec::new();
        let (mut changes, mut changed) = (Vec::new(), Vec::new());
        for (item, (at, outcome)) in outcomes {
            match outcome {
                Outcome::Put(put) => {
                    let expect = put.expect;
                    let Ready { change, written } = self.ready(put)?;
                    changes.push(change);
                    changed.push((at, item, expect, Some(written)));
                }
                Outcome::Delete(delete) => {
                    changes.push(self.removal(&delete)?);
                    changed.push((at, item, delete.expect, None));
                }
                Outcome::Patches(list, expect) => patches.push((at, item, list, expect)),
            }
        }
        if !gets.is_empty() {
            for (at, item) in get_at.into_iter().zip(self.get_all(&gets).await?) {
                answers[at] = Some(Ok(StoreAnswer::Item(item)));
            }
        }
        for (at, read) in reads {
            answers[at] = Some(match read {
                StoreOp::Search(search) => self.find(&search).await.map(StoreAnswer::Items),
                StoreOp::ListNamespaces(query) => {
                    self.namespaces(&query).await.map(StoreAnswer::Namespaces)
                }
                _ => continue,
            });
        }
        if !changes.is_empty() {
            let outcomes = self.change_all(changes).await?;
            for ((at, item, expect, written), outcome) in changed.into_iter().zip(outcomes) {
                let judged = outcome
                    .map_err(|e| about(&item, e))
                    .and_then(|outcome| self.judge(outcome, expect, &item));
                answers[at] = Some(judged.map(|created_ms| match written {
                    Some(mut written) => {
                        written.created_ms = created_ms;
                        StoreAnswer::Written(Some(written))
                    }
                    None => StoreAnswer::Deleted,
                }));
            }
        }
        for (at, item, list, expect) in patches {
            let patched = self.patch_all(&item, &list, expect).await;
            answers[at] = Some(patched.map(|written| StoreAnswer::Written(Some(written))));
        }
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Ok(StoreAnswer::Written(None))))
            .map(|answer| answer.map_err(|e| e.operation("batch")))
            .collect())
    }
}

/// What the writes to each item come to, and the operation that answers for it; the
/// others are answered here.
fn outcomes(
    writes: Vec<(usize, StoreOp)>,
    answers: &mut [Option<Result<StoreAnswer>>],
) -> Result<BTreeMap<ItemKey, (usize, Outcome)>> {
    let mut outcomes: BTreeMap<ItemKey, (usize, Outcome)> = BTreeMap::new();
    for (at, op) in writes {
        let (item, expect) = match &op {
            StoreOp::Put(put) => (put.item.clone(), put.expect),
            StoreOp::Patch(patch) => (patch.item.clone(), patch.expect),
            StoreOp::Delete(delete) => (delete.item.clone(), delete.expect),
            _ => continue,
        };
        check_writable(&item)?;
        if let StoreOp::Patch(patch) = &op {
            check_depth(&patch.patch)?;
        }
        let before = outcomes.remove(&item);
        if let Some((earlier, before)) = &before {
            if expect != Expect::Any || before.expect() != Expect::Any {
                return Err(Error::invalid(format!(
                    "item {item}: something is expected of it, and the batch writes to it more \
                     than once; make it one operation"
                )));
            }
            answers[*earlier] = Some(Ok(match before {
                Outcome::Delete(_) => StoreAnswer::Deleted,
                _ => StoreAnswer::Written(None),
            }));
        }
        let outcome = match op {
            StoreOp::Put(put) => Outcome::Put(put),
            StoreOp::Delete(delete) => Outcome::Delete(delete),
            StoreOp::Patch(Patch { patch, .. }) => match before {
                Some((_, Outcome::Put(mut put))) => {
                    merge(&mut put.value, &patch);
                    Outcome::Put(put)
                }
                Some((_, Outcome::Delete(_))) => {
                    let mut value = Map::new();
                    merge(&mut value, &patch);
                    Outcome::Put(Put {
                        item: item.clone(),
                        value,
                        ttl: Ttl::Default,
                        expect,
                    })
                }
                Some((_, Outcome::Patches(mut patches, expect))) => {
                    patches.push(patch);
                    Outcome::Patches(patches, expect)
                }
                None => Outcome::Patches(vec![patch], expect),
            },
            _ => continue,
        };
        outcomes.insert(item, (at, outcome));
    }
    Ok(outcomes)
}

impl Outcome {
    fn expect(&self) -> Expect {
        match self {
            Self::Put(put) => put.expect,
            Self::Delete(delete) => delete.expect,
            Self::Patches(_, expect) => *expect,
        }
    }
}
