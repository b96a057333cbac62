//! Layers around the long-term store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Answer, Layer, LayeredStore, Method, Rows};
use crate::backend::{Capabilities, ChunkName};
use crate::error::{Applied, Error, ErrorKind, Result};
use crate::store_backend::{
    Changed, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems, StoreBackend,
    SweepItems, SweptItems,
};

#[async_trait]
impl<L: Layer> StoreBackend for LayeredStore<L> {
    fn store_capabilities(&self) -> Capabilities {
        self.inner.store_capabilities()
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        let call = || self.inner.items(keys);
        self.run(Method::Items, 0, &call).await
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        let call = || self.inner.item_chunks(key, names);
        self.run(Method::ItemChunks, 0, &call).await
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        let sent = changes.iter().map(payload_bytes).sum();
        let batch = Batch::new(changes);
        let call = || batch.attempt(&*self.inner);
        let last = self.run(Method::ChangeItems, sent, &call).await;
        batch.answers(last)
    }

    async fn scan(&self, query: ScanItems) -> Result<Rows<ItemRow>> {
        let call = || self.inner.scan(query.clone());
        let rows = self.run(Method::Scan, 0, &call).await?;
        Ok(self.layer.rows(Method::Scan, rows))
    }

    async fn namespaces(&self, query: ListNamespaces) -> Result<Rows<Namespace>> {
        let call = || self.inner.namespaces(query.clone());
        let rows = self.run(Method::Namespaces, 0, &call).await?;
        Ok(self.layer.rows(Method::Namespaces, rows))
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        let call = || self.inner.sweep(sweep);
        self.run(Method::Sweep, 0, &call).await
    }

    async fn close_store(&self) -> Result<()> {
        let call = || self.inner.close_store();
        self.run(Method::CloseStore, 0, &call).await
    }
}

/// The changes of one call, over all attempts that a layer makes.
///
/// They succeed and fail one by one, so an attempt after the first has only those that
/// failed and may work the next time. The others must not be repeated: a row
/// remembers only its last few write ids, and another attempt may come late.
///
/// For the same reason an answer to a later attempt is no answer about an earlier one
/// whose outcome is unknown: see [`doubted`].
struct Batch {
    changes: Vec<ItemChange>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// What no later attempt asks again, by change.
    settled: Vec<Option<Result<Changed>>>,
    /// What the last attempt came to, by change. It counts once there is another:
    /// until then it is the layer's to pass on, or to lose.
    last: Vec<Option<Result<Changed>>>,
    /// Whether an attempt so far may have made the change without saying so, by change.
    in_doubt: Vec<bool>,
}

impl Batch {
    fn new(changes: Vec<ItemChange>) -> Self {
        let nothing = || changes.iter().map(|_| None).collect();
        let progress = Mutex::new(Progress {
            settled: nothing(),
            last: nothing(),
            in_doubt: vec![false; changes.len()],
        });
        Self { changes, progress }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the changes that are not settled, and answers for them alone.
    fn attempt<'a>(
        &'a self,
        inner: &'a dyn StoreBackend,
    ) -> BoxFuture<'a, Result<Vec<Result<Changed>>>> {
        Box::pin(async move {
            let open = self.progress().settle();
            let changes = open.iter().map(|at| self.changes[*at].clone()).collect();
            let answers = inner.change_items(changes).await.and_then(|answers| {
                if answers.len() == open.len() {
                    return Ok(answers);
                }
                Err(Error::new(
                    ErrorKind::Other,
                    "backend answered too few changes",
                ))
            });
            let mut progress = self.progress();
            let answers = match answers {
                Ok(answers) => answers,
                Err(error) => {
                    for at in open {
                        progress.in_doubt[at] |= !error.is_certainly_not_applied();
                    }
                    return Err(error);
                }
            };
            let answers = open.into_iter().zip(answers).map(|(at, answer)| {
                let answer = match progress.in_doubt[at] {
                    true => doubted(answer),
                    false => answer,
                };
                let unknown = |error: &Error| !error.is_certainly_not_applied();
                progress.in_doubt[at] |= answer.as_ref().is_err_and(unknown);
                progress.last[at] = Some(answer.as_ref().copied().map_err(Error::again));
                answer
            });
            Ok(answers.collect())
        })
    }

    /// The answers to all changes, by what the layer made of the last attempt.
    fn answers(self, last: Result<Vec<Result<Changed>>>) -> Result<Vec<Result<Changed>>> {
        let progress = self.progress.into_inner();
        let Progress {
            mut settled,
            in_doubt,
            ..
        } = progress.unwrap_or_else(PoisonError::into_inner);
        let open = settled.iter_mut().zip(&in_doubt);
        let open = open.filter(|(answer, _)| answer.is_none());
        match last {
            Ok(last) => {
                open.zip(last)
                    .for_each(|((place, _), answer)| *place = Some(answer));
            }
            Err(error) => {
                let mut failed = 0;
                for (place, in_doubt) in open {
                    let answer = Err(error.again());
                    *place = Some(if *in_doubt { doubted(answer) } else { answer });
                    failed += 1;
                }
                // One error for all, with its source, where it says the same of each.
                let alike = |doubt: bool| in_doubt.iter().all(|of| *of == doubt);
                if failed == settled.len() && alike(false) {
                    return Err(error);
                }
                if failed == settled.len() && alike(true) {
                    return Err(error.applied(Applied::Unknown));
                }
            }
        }
        Ok(settled.into_iter().flatten().collect())
    }
}

/// What an answer comes to if an attempt before may have made the change.
///
/// That it failed, or that something else is there than was expected, is then not to
/// say that nothing changed: the earlier attempt may have applied, and others may have
/// changed the item since, until its row forgot the write id.
fn doubted(answer: Result<Changed>) -> Result<Changed> {
    let found = match answer {
        Ok(Changed::Conflict(found)) => found,
        done @ Ok(Changed::Done { .. }) => return done,
        Err(error) => return Err(error.applied(Applied::Unknown)),
    };
    let found = found.map_or("is not there".into(), |version| {
        format!("has version {version}")
    });
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "it {found}, which is not what was expected, and an earlier attempt at this change \
             may have been applied before; read the item to see what holds"
        ),
    )
    .applied(Applied::Unknown))
}

impl Progress {
    /// Settles what the last attempt came to, and gives the places of what is open.
    fn settle(&mut self) -> Vec<usize> {
        for (settled, last) in self.settled.iter_mut().zip(&mut self.last) {
            if let Some(answer) = last.take()
                && !answer.as_ref().is_err_and(Error::is_retryable)
            {
                *settled = Some(answer);
            }
        }
        let open = self.settled.iter().enumerate();
        open.filter(|(_, answer)| answer.is_none())
            .map(|(at, _)| at)
            .collect()
    }
}

/// Bytes of body and chunks.
fn payload_bytes(change: &ItemChange) -> u64 {
    match change {
        ItemChange::Put(put) => {
            (put.row.body.len() + put.chunks.iter().map(Bytes::len).sum::<usize>()) as u64
        }
        ItemChange::Delete { .. } | ItemChange::Renew { .. } => 0,
    }
}

impl Answer for ItemRow {
    fn payload_bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

impl Answer for Vec<Result<Changed>> {
    fn failures(&mut self) -> Vec<&mut Error> {
        self.iter_mut()
            .filter_map(|change| change.as_mut().err())
            .collect()
    }
}

impl Answer for Namespace {}
impl Answer for SweptItems {}
