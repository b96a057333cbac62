//! The methods of [`StoreBackend`].

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chunkpoint_core::backend::{Capabilities, CheckpointBackend, ChunkName};
use chunkpoint_core::store_backend::{
    Changed, ItemChange, ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems, StoreBackend,
    SweepItems, SweptItems,
};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::future::join_all;
use futures::stream::{self, BoxStream, StreamExt};

use crate::FsBackend;
use crate::items::entry::{Entry, condemned_key};
use crate::items::file::Place;
use crate::items::group::{Op, submit};
use crate::items::scan::{Listing, Scan};
use crate::items::space::Space;
use crate::items::sweep;
use crate::store::Store;
use crate::wait::{MOST, Wait};

/// Rows that are read where the caller runs.
const FEW: usize = 16;

/// How often packs are looked for again that moved meanwhile.
const TRIES: usize = 8;

fn items(store: &Store, keys: &[ItemKey], wait: Wait) -> Result<Vec<Option<ItemRow>>> {
    let mut last: Option<(&Namespace, Option<Arc<Space>>)> = None;
    keys.iter()
        .map(|key| {
            let space = match &last {
                Some((namespace, space)) if **namespace == key.namespace => space.clone(),
                _ => {
                    let space = store.space(&Place::of(&key.namespace), wait)?;
                    last = Some((&key.namespace, space.clone()));
                    space
                }
            };
            let Some(space) = space else { return Ok(None) };
            Ok(match space.get(key.key.as_bytes(), wait)? {
                Some(Entry::Row(row)) => Some(row.into_item(key.clone())),
                _ => None,
            })
        })
        .collect()
}

fn item_chunks(
    store: &Store,
    key: &ItemKey,
    names: &[ChunkName],
    wait: Wait,
) -> Result<Vec<Option<Bytes>>> {
    let place = Place::of(&key.namespace);
    for _ in 0..TRIES {
        let Some(space) = store.space(&place, wait)? else {
            break;
        };
        if let Some(chunks) = chunks_of(store, &space, key.key.as_bytes(), names, wait)? {
            return Ok(chunks);
        }
    }
    Ok(vec![None; names.len()])
}

/// `None` if the packs are not where they were any more.
fn chunks_of(
    store: &Store,
    space: &Arc<Space>,
    key: &[u8],
    names: &[ChunkName],
    wait: Wait,
) -> Result<Option<Vec<Option<Bytes>>>> {
    let row = match space.get(key, wait)? {
        Some(Entry::Row(row)) => Some(row),
        _ => None,
    };
    let mut found = vec![None; names.len()];
    // By pack, which ordinals are wanted, and for which place of the answer.
    let mut packs: HashMap<_, (Vec<usize>, Vec<u32>)> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let (places, ordinals) = packs.entry(name.pack).or_default();
        places.push(at);
        ordinals.push(name.ordinal);
    }
    for (id, (places, ordinals)) in packs {
        let listed = row.as_ref().and_then(|row| {
            let mut packs = row.packs.iter();
            packs.find(|pack| pack.id == id).copied()
        });
        let pack = match listed {
            Some(pack) => pack,
            None => match space.get(&condemned_key(key, id), wait)? {
                Some(Entry::Condemned { pack, .. }) => pack,
                _ => continue,
            },
        };
        let Some(file) = store.packs(space, wait)? else {
            return Ok(None);
        };
        for (at, chunk) in places.iter().zip(file.chunks(&pack, &ordinals, wait)?) {
            found[*at] = chunk;
        }
    }
    Ok(Some(found))
}

fn check_namespace(namespace: &Namespace) -> Result<()> {
    if namespace.labels().is_empty() {
        return Err(Error::invalid("the root namespace has no items of its own"));
    }
    Ok(())
}

/// Gives batches as a stream of what is in them, until one is empty.
fn in_batches<S, T>(
    store: Arc<Store>,
    state: S,
    operation: &'static str,
    batch: fn(&mut S, &Store) -> Vec<Result<T>>,
) -> BoxStream<'static, Result<T>>
where
    S: Send + 'static,
    T: Send + 'static,
{
    let batches = stream::unfold(Some((store, state)), move |going| async move {
        let (store, mut state) = going?;
        let task = tokio::task::spawn_blocking(move || {
            let batch = match store.check_open() {
                Ok(()) => batch(&mut state, &store),
                Err(error) => vec![Err(error)],
            };
            (batch, store, state)
        });
        match task.await {
            Ok((batch, ..)) if batch.is_empty() => None,
            Ok((batch, store, state)) => {
                let is_closed = store.check_open().is_err();
                Some((batch, (!is_closed).then_some((store, state))))
            }
            Err(error) => {
                let stopped = Error::new(ErrorKind::Other, "the task was stopped");
                Some((vec![Err(stopped.source(io::Error::other(error)))], None))
            }
        }
    });
    let all = batches.flat_map(stream::iter);
    all.map(move |one| one.map_err(|error| error.operation(operation)))
        .boxed()
}

#[async_trait]
impl StoreBackend for FsBackend {
    fn store_capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        if keys.len() <= FEW
            && let Some(rows) = self.now("items", |store| items(store, keys, Wait::No))
        {
            return rows;
        }
        let keys = keys.to_vec();
        self.run("items", move |store, _| items(store, &keys, Wait::Yes))
            .await
    }

    async fn item_chunks(&self, key: &ItemKey, names: &[ChunkName]) -> Result<Vec<Option<Bytes>>> {
        let bytes: u64 = names.iter().map(|name| u64::from(name.len)).sum();
        if bytes <= MOST
            && let Some(found) = self.now("item_chunks", |store| {
                item_chunks(store, key, names, Wait::No)
            })
        {
            return found;
        }
        let (key, names) = (key.clone(), names.to_vec());
        self.run("item_chunks", move |store, _| {
            item_chunks(store, &key, &names, Wait::Yes)
        })
        .await
    }

    async fn change_items(&self, changes: Vec<ItemChange>) -> Result<Vec<Result<Changed>>> {
        let count = changes.len();
        let mut by_namespace: HashMap<Namespace, (Vec<usize>, Vec<ItemChange>)> = HashMap::new();
        let mut answers: Vec<Option<Result<Changed>>> = (0..count).map(|_| None).collect();
        for (at, change) in changes.into_iter().enumerate() {
            let namespace = change.key().namespace.clone();
            if let Err(error) = check_namespace(&namespace) {
                answers[at] = Some(Err(error));
                continue;
            }
            let (places, changes) = by_namespace.entry(namespace).or_default();
            places.push(at);
            changes.push(change);
        }
        self.store()
            .check_open()
            .map_err(|error| error.operation("change_items"))?;
        let all = by_namespace
            .into_iter()
            .map(|(namespace, (places, changes))| async move {
                let place = Place::of(&namespace);
                let done = submit(self.store(), place, |sender| Op::Change(changes, sender));
                (places, done.await)
            });
        for (places, done) in join_all(all).await {
            match done {
                Ok(done) => {
                    for (at, one) in places.into_iter().zip(done) {
                        answers[at] = Some(one);
                    }
                }
                Err(error) => {
                    for at in places {
                        answers[at] = Some(Err(error.again()));
                    }
                }
            }
        }
        let missing = || Err(Error::new(ErrorKind::Other, "a change was not answered"));
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(missing))
            .map(|answer| answer.map_err(|error| error.operation("change_items")))
            .collect())
    }

    async fn scan(&self, query: ScanItems) -> Result<BoxStream<'static, Result<ItemRow>>> {
        let mut scan = Scan::new(&query);
        let store = self.store().clone();
        // A first batch that is in memory takes less time than to ask for it.
        let first = self.now("scan", |store| scan.batch(store, Wait::No));
        let rest = |scan| {
            in_batches(store, scan, "scan", |scan: &mut Scan, store| {
                // Only what may not wait fails as a whole.
                scan.batch(store, Wait::Yes)
                    .unwrap_or_else(|error| vec![Err(error)])
            })
        };
        match first {
            None => Ok(rest(scan)),
            Some(first) => {
                let first = first?;
                if first.is_empty() {
                    return Ok(stream::empty().boxed());
                }
                let first = first
                    .into_iter()
                    .map(|row| row.map_err(|error| error.operation("scan")));
                Ok(stream::iter(first).chain(rest(scan)).boxed())
            }
        }
    }

    async fn namespaces(
        &self,
        query: ListNamespaces,
    ) -> Result<BoxStream<'static, Result<Namespace>>> {
        let store = self.store().clone();
        store
            .check_open()
            .map_err(|error| error.operation("namespaces"))?;
        let listing = Listing::new(&query);
        Ok(in_batches(store, listing, "namespaces", Listing::batch))
    }

    async fn sweep(&self, sweep: SweepItems) -> Result<SweptItems> {
        sweep::sweep(self.store(), sweep)
            .await
            .map_err(|error| error.operation("sweep"))
    }

    async fn close_store(&self) -> Result<()> {
        self.close().await
    }
}
