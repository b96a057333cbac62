//! Whether two memories hold the same.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::items::{self, difference, scan};
use super::line::ItemLine;
use super::order::{Step, Threads, steps};
use super::source::{Held, Records};
use super::there::records_differ;
use super::{Count, Progress, Scope};
use crate::backend::{Incarnation, PackId, RecordKey};
use crate::error::{Result, quote};
use crate::handle::Memory;
use crate::store::Store;
use crate::store_backend::{ItemKey, ItemRow};
use crate::tree::read_all;

/// Differences that are told in words; others are only counted.
const TOLD: usize = 20;
/// Checkpoints read at once.
const BATCH: usize = 16;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Checkpoints and items that both have, equal or not.
    pub count: Count,
    /// How many checkpoints and items differ, or are on one side only.
    pub differences: u64,
    /// The first of them, in words.
    pub told: Vec<String>,
}

/// One of the two memories that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that was asked.
    First,
    /// The one it was given.
    Second,
}

impl Comparison {
    /// Whether there are no differences.
    pub fn is_equal(&self) -> bool {
        self.differences == 0
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(what());
        }
    }

    fn only(&mut self, side: Side, what: impl FnOnce() -> String) {
        self.note(|| {
            let side = match side {
                Side::First => "first",
                Side::Second => "second",
            };
            format!("{} is only in the {side}", what())
        });
    }
}

pub(super) async fn compare(
    a: &Memory,
    b: &Memory,
    scope: &Scope,
    progress: Progress,
) -> Result<Comparison> {
    let mut work = Work {
        found: Comparison::default(),
        progress,
    };
    if let Some(prefix) = &scope.threads {
        let mut left = Threads::new(&a.engine, prefix);
        let mut right = Threads::new(&b.engine, prefix);
        let (mut x, mut y) = (left.next().await?, right.next().await?);
        loop {
            let thread = match (&x, &y) {
                (None, None) => break,
                (Some(x), Some(y)) => x.min(y).clone(),
                (Some(one), None) | (None, Some(one)) => one.clone(),
            };
            let (in_a, in_b) = (x.as_ref() == Some(&thread), y.as_ref() == Some(&thread));
            match (in_a, in_b) {
                (true, true) => work.threads(a, b, &thread).await?,
                (true, false) => work.lone_thread(Side::First, &thread),
                _ => work.lone_thread(Side::Second, &thread),
            }
            if in_a {
                x = left.next().await?;
            }
            if in_b {
                y = right.next().await?;
            }
        }
    }
    if scope.items.is_some() {
        work.items(a, b, scope).await?;
    }
    Ok(work.found)
}

struct Work {
    found: Comparison,
    progress: Progress,
}

/// The chunks of one incarnation that were read.
#[derive(Default)]
struct Seen(Option<(Incarnation, HashSet<(PackId, u32)>)>);

impl Seen {
    /// Reads what was not read yet of a checkpoint.
    async fn read(&mut self, held: &Held) -> Result<()> {
        let incarnation = held.row.incarnation;
        if self.0.as_ref().is_none_or(|(of, _)| *of != incarnation) {
            self.0 = Some((incarnation, HashSet::new()));
        }
        let Some((_, seen)) = &mut self.0 else {
            return Ok(());
        };
        let mut source = held.source.clone();
        // One pass over everything would push out what readers use.
        source.keep = false;
        read_all(&source, held.record.roots(), seen).await
    }
}

impl Work {
    fn lone_thread(&mut self, side: Side, thread: &str) {
        self.found
            .only(side, || format!("thread {}", quote(thread)));
    }

    async fn threads(&mut self, a: &Memory, b: &Memory, thread: &Arc<str>) -> Result<()> {
        let key = |step: &Step| RecordKey {
            namespace: step.namespace.clone(),
            id: step.id.clone(),
        };
        let steps_a = steps(&a.engine, thread).await?;
        let keys_b: HashSet<RecordKey> = steps(&b.engine, thread).await?.iter().map(key).collect();
        let name = |key: &RecordKey| {
            let mut name = format!("checkpoint {} of thread {}", quote(&key.id), quote(thread));
            if !key.namespace.is_empty() {
                name += &format!(", namespace {},", quote(&key.namespace));
            }
            name
        };
        let mut keys_a = HashSet::new();
        let (left, right) = (
            Records::new(&a.engine, thread.clone()),
            Records::new(&b.engine, thread.clone()),
        );
        let (mut seen_a, mut seen_b) = (Seen::default(), Seen::default());
        for batch in steps_a.chunks(BATCH) {
            let keys: Vec<RecordKey> = batch.iter().map(key).collect();
            let found_a = left.read(keys.iter().cloned()).await?;
            let found_b = right.read(keys.iter().cloned()).await?;
            for ((key, x), y) in keys.into_iter().zip(found_a).zip(found_b) {
                match (x, y) {
                    (Some(x), Some(y)) => {
                        self.found.count.checkpoints += 1;
                        self.found.count.bytes += x.row.index.pack_bytes;
                        let of = |side: &str| format!("{} in the {side}", name(&key));
                        seen_a.read(&x).await.map_err(|e| e.context(of("first")))?;
                        seen_b.read(&y).await.map_err(|e| e.context(of("second")))?;
                        if let Some(what) = differ(a, &x, b, &y)? {
                            self.found
                                .note(|| format!("{} is not the same: {what}", name(&key)));
                        }
                    }
                    (Some(_), None) => self.found.only(Side::First, || name(&key)),
                    (None, Some(_)) => self.found.only(Side::Second, || name(&key)),
                    (None, None) => {}
                }
                self.progress.show(&self.found.count);
                keys_a.insert(key);
            }
        }
        let mut extra: Vec<&RecordKey> = keys_b.difference(&keys_a).collect();
        extra.sort();
        for key in extra {
            self.found.only(Side::Second, || name(key));
        }
        Ok(())
    }

    async fn items(&mut self, a: &Memory, b: &Memory, scope: &Scope) -> Result<()> {
        let (mut left, mut right) = (Items::new(a, scope).await?, Items::new(b, scope).await?);
        let (mut x, mut y) = (left.next().await?, right.next().await?);
        loop {
            let item = match (&x, &y) {
                (None, None) => return Ok(()),
                (Some((x, _)), Some((y, _))) => x.min(y).clone(),
                (Some((one, _)), None) | (None, Some((one, _))) => one.clone(),
            };
            let mine =
                |of: &Option<(ItemKey, ItemLine)>| of.as_ref().is_some_and(|(key, _)| *key == item);
            let (in_a, in_b) = (mine(&x), mine(&y));
            match (&x, &y) {
                (Some((_, a)), Some((_, b))) if in_a && in_b => {
                    self.found.count.items += 1;
                    let expiry = (a.expires_ms != b.expires_ms).then_some("time of expiry");
                    if let Some(what) = difference(a, b).or(expiry) {
                        self.found
                            .note(|| format!("item {item} is not the same: another {what}"));
                    }
                }
                _ if in_a => self.found.only(Side::First, || format!("item {item}")),
                _ => self.found.only(Side::Second, || format!("item {item}")),
            }
            self.progress.show(&self.found.count);
            if in_a {
                x = left.next().await?;
            }
            if in_b {
                y = right.next().await?;
            }
        }
    }
}

/// In what two checkpoints of one name differ.
fn differ(a: &Memory, x: &Held, b: &Memory, y: &Held) -> Result<Option<String>> {
    if let Some(what) = records_differ(&x.record, &y.record) {
        return Ok(Some(what));
    }
    let (p, q) = (&x.row, &y.row);
    for (differs, what) in [
        (p.index.parent != q.index.parent, "another parent"),
        (p.index.time_ms != q.index.time_ms, "another time"),
        (p.index.run_id != q.index.run_id, "another run"),
        (p.hidden != q.hidden, "hidden on one side"),
        (p.pinned != q.pinned, "pinned on one side"),
    ] {
        if differs {
            return Ok(Some(what.into()));
        }
    }
    let same = a.engine.writes(&p.writes)? == b.engine.writes(&q.writes)?;
    Ok((!same).then(|| "other pending writes".into()))
}

/// The items of one side, in order.
struct Items(Option<(Store, BoxStream<'static, Result<ItemRow>>)>);

impl Items {
    async fn new(memory: &Memory, scope: &Scope) -> Result<Self> {
        let Some(prefix) = scope.items.as_ref().filter(|_| memory.has_store()) else {
            return Ok(Self(None));
        };
        let store = memory.store()?;
        let rows = scan(&store, prefix).await?;
        Ok(Self(Some((store, rows))))
    }

    async fn next(&mut self) -> Result<Option<(ItemKey, ItemLine)>> {
        let Some((store, rows)) = &mut self.0 else {
            return Ok(None);
        };
        while let Some(row) = rows.try_next().await? {
            let key = row.key.clone();
            if let Some(line) = items::read(store, row).await? {
                return Ok(Some((key, line)));
            }
        }
        Ok(None)
    }
}
