//! Removing checkpoints without taking what others need, and reclaiming what
//! nothing reaches.
//!
//! A removed record disappears at once; its pack is condemned. A record that
//! a kept checkpoint's delta history runs through stays *hidden*: whole, with
//! its writes, listed nowhere.
//!
//! Reclaiming goes in this order, which needs no clock to be right:
//!
//! 1. list the condemned packs;
//! 2. then read every record there is, and mark what they reach;
//! 3. remove the condemned packs' chunks that were not marked.
//!
//! A record committed after step 2 can only borrow from a record that is
//! there at its commit. By induction that one was marked in step 2 or borrows
//! only what was, so nothing removed in step 3 is ever needed again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value as Json;

use crate::backend::{
    Alter, Altered, Change, Detail, ListCondemned, ListRecords, Reclaim, RecordRow,
};
use crate::commit::{DELTA_COUNTERS, is_delta_snapshot};
use crate::engine::{Engine, Source};
use crate::error::Result;
use crate::record::{Content, Record};
use crate::snapshot::Snapshot;
use crate::thread::Thread;
use crate::tree::{Root, reachable};

/// What a removal did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Removed {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Removes records of one namespace, keeping hidden what delta histories of
/// the others need.
pub(crate) async fn remove(
    engine: &Arc<Engine>,
    thread: &Arc<str>,
    namespace: &Arc<str>,
    victims: Vec<RecordRow>,
) -> Result<Removed> {
    let Some(incarnation) = victims.first().map(|row| row.incarnation) else {
        return Ok(Removed::default());
    };
    let changes = if victims.iter().any(|row| row.index.delta)
        || has_delta(engine, thread, namespace).await?
    {
        delta_changes(engine, thread, namespace, &victims).await?
    } else {
        victims
            .into_iter()
            .map(|row| (row, Change::Remove))
            .collect()
    };
    let mut removed = Removed::default();
    for part in changes.chunks(256) {
        let answers = engine
            .backend
            .alter(Alter {
                thread: thread.clone(),
                incarnation,
                time_ms: engine.clock.now_ms(),
                changes: part
                    .iter()
                    .map(|(row, change)| (row.record.clone(), change.clone()))
                    .collect(),
            })
            .await?;
        for ((row, _), answer) in part.iter().zip(answers) {
            if answer == Altered::Done {
                removed.records += 1;
                removed.bytes += row.index.pack_bytes;
            }
        }
    }
    Ok(removed)
}

async fn rows(
    engine: &Engine,
    thread: &Arc<str>,
    namespace: Option<&Arc<str>>,
    detail: Detail,
) -> Result<futures::stream::BoxStream<'static, Result<RecordRow>>> {
    engine
        .backend
        .list(ListRecords {
            thread: thread.clone(),
            namespace: namespace.cloned(),
            before: None,
            limit: None,
            hidden: true,
            detail,
        })
        .await
}

/// Whether the newest record of the namespace has delta channels: it names
/// all there are.
async fn has_delta(engine: &Engine, thread: &Arc<str>, namespace: &Arc<str>) -> Result<bool> {
    let newest = crate::backend::Pick::Latest {
        namespace: namespace.clone(),
    };
    let row = engine.get_one(thread, newest, Detail::Keys).await?;
    Ok(row.is_some_and(|row| row.index.delta))
}

/// A record, as far as delta histories go.
struct Link {
    row: RecordRow,
    record: Arc<Record>,
    victim: bool,
}

/// Removes or hides each victim, and removes hidden records that nothing
/// needs any more. Reads every record of the namespace.
async fn delta_changes(
    engine: &Arc<Engine>,
    thread: &Arc<str>,
    namespace: &Arc<str>,
    victims: &[RecordRow],
) -> Result<Vec<(RecordRow, Change)>> {
    let gone: HashSet<&str> = victims.iter().map(|row| &*row.record.key.id).collect();
    let handle = Thread::new(engine.clone(), thread.clone(), namespace.clone());
    let mut links: BTreeMap<Arc<str>, Link> = BTreeMap::new();
    let mut channels: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut stream = rows(engine, thread, Some(namespace), Detail::Bodies).await?;
    while let Some(row) = stream.next().await {
        let row = row?;
        let record = engine.record(thread, &row)?;
        for (name, channel) in &record.channels {
            if is_delta_snapshot(&channel.content) {
                channels.insert(name.clone());
            }
        }
        let metadata = Snapshot::new(&handle, row.clone(), record.clone())
            .metadata()
            .await?;
        if let Some(Json::Object(counters)) = metadata.get(DELTA_COUNTERS) {
            channels.extend(counters.keys().map(|name| Arc::from(name.as_str())));
        }
        let id = row.record.key.id.clone();
        let victim = row.hidden || (gone.contains(&*id) && !row.pinned);
        links.insert(
            id,
            Link {
                row,
                record,
                victim,
            },
        );
    }
    let needed = needed(&links, &channels);
    let mut changes = Vec::new();
    for (id, link) in links.iter().filter(|(_, link)| link.victim) {
        if !needed.contains(id) {
            changes.push((link.row.clone(), Change::Remove));
        } else if !link.row.hidden {
            changes.push((link.row.clone(), Change::Hide));
        }
    }
    Ok(changes)
}

/// The records that the delta history of a kept one passes. The walk is that
/// of `get_delta_channel_history`.
fn needed<'a>(
    links: &'a BTreeMap<Arc<str>, Link>,
    channels: &BTreeSet<Arc<str>>,
) -> HashSet<&'a Arc<str>> {
    let mut needed = HashSet::new();
    for channel in channels {
        // Of two walks for one channel that meet, the rest is the same.
        let mut passed = HashSet::new();
        for kept in links.values().filter(|link| !link.victim) {
            let mut at = kept;
            while !has_value(&at.record, channel)
                && let Some(parent) = &at.row.index.parent
                && let Some((id, link)) = links.get_key_value(parent)
                && passed.insert(id)
            {
                at = link;
            }
        }
        needed.extend(passed);
    }
    needed
}

pub(crate) fn has_value(record: &Record, channel: &str) -> bool {
    record
        .channels
        .get(channel)
        .is_some_and(|channel| !matches!(channel.content, Content::Absent))
}

/// Condemned packs taken in one page.
const PAGE: usize = 4096;

impl Engine {
    /// Removes what no record of the thread reaches. Gives the bytes freed.
    pub(crate) async fn reclaim(self: &Arc<Self>, thread: &Arc<str>) -> Result<u64> {
        let before_ms = self
            .clock
            .now_ms()
            .saturating_sub(self.settings.grace.as_millis() as u64);
        let mut condemned = Vec::new();
        let mut after = None;
        let incarnation = loop {
            let query = ListCondemned {
                thread: thread.clone(),
                before_ms,
                after,
                limit: PAGE,
            };
            let Some(page) = self.backend.condemned(query).await? else {
                return Ok(0);
            };
            let full = page.packs.len() == PAGE;
            after = page.packs.last().map(|pack| pack.pack);
            condemned.extend(page.packs);
            if !full {
                break page.incarnation;
            }
        };
        let mut live = HashSet::new();
        if !condemned.is_empty() {
            self.mark(thread, incarnation, &mut live).await?;
        }
        let dead = condemned
            .into_iter()
            .map(|pack| {
                let dead = |n: &u32| !live.contains(&(pack.pack, *n));
                (
                    pack.pack,
                    pack.chunks.iter().copied().filter(dead).collect::<Vec<_>>(),
                )
            })
            .filter(|(_, chunks)| !chunks.is_empty())
            .collect();
        let thread_id = thread.clone();
        let reclaimed = self
            .backend
            .reclaim(Reclaim {
                thread: thread_id,
                incarnation,
                before_ms,
                dead,
            })
            .await?;
        self.retention.reclaimed(thread, reclaimed.live_bytes);
        Ok(reclaimed.freed_bytes)
    }

    /// Adds every chunk that a record of the thread reaches.
    async fn mark(
        self: &Arc<Self>,
        thread: &Arc<str>,
        incarnation: crate::backend::Incarnation,
        live: &mut HashSet<(crate::backend::PackId, u32)>,
    ) -> Result<()> {
        let source = Source {
            engine: self.clone(),
            thread: thread.clone(),
            incarnation,
            owner: None,
            // One pass over every node would push out what readers use.
            keep: false,
        };
        let mut stream = rows(self, thread, None, Detail::Bodies).await?;
        while let Some(row) = stream.next().await {
            let row = row?;
            if row.incarnation != incarnation {
                continue;
            }
            let record = Record::decode(
                row.body,
                &row.record.key,
                row.record.pack,
                row.locator,
                &self.codec,
            )?;
            let roots: Vec<Root> = record.roots();
            reachable(&source, roots, live).await?;
        }
        Ok(())
    }
}
