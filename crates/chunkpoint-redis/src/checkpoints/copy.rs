//! Copies of threads.
//!
//! Source and target may be on different nodes of a cluster, so a copy goes through here: it
//! is built under names that nobody reads, and renamed into place in one step. Orders, pins
//! and the condemned are of one moment. Packs and writes are read in pages after it; only
//! removals take any away, and if there were some meanwhile, the copy begins again.

use std::collections::HashMap;

use bytes::Bytes;
use chunkpoint_core::backend::Incarnation;
use chunkpoint_core::{Error, ErrorKind, Result, quote};
use redis::Value;

use super::row::{of_life, owned};
use crate::backend::Inner;
use crate::error::Doing;
use crate::names::ThreadKeys;
use crate::reply::{array, bytes, fixed, int, unexpected};
use crate::script::{Call, PUBLISH, SNAPSHOT, SOURCE, STAGE};

/// How often a copy begins.
const ATTEMPTS: usize = 16;

/// How often the source is read in pages, and how many entries of each order a page has.
const MOMENTS: usize = 4;
const PAGE: i64 = 1_000;

/// Entries that are written at once.
const SLICE: usize = 1_000;

/// The source at one moment.
struct Source {
    incarnation: Incarnation,
    changes: Bytes,
    bytes: Bytes,
    /// Orders, condemned and pins.
    sets: [Vec<Bytes>; 4],
}

/// A copy that is being built: its keys, and how many entries they have.
struct Stage<'a> {
    inner: &'a Inner,
    lane: u64,
    keys: Vec<Bytes>,
    counts: HashMap<usize, i64>,
}

/// Places of the keys among those of a thread without the head.
const ORDER: usize = 0;
const HIDDEN: usize = 1;
const PACKS: usize = 2;
const CONDEMNED: usize = 3;
const WRITES: usize = 4;
const PINS: usize = 5;

/// Where to go on behind a page, in each of its orders.
fn ends(page: &Source) -> [Bytes; 3] {
    let [order, hidden, condemned, _] = &page.sets;
    [order, hidden, condemned].map(|set| match set.last() {
        Some(last) if set.len() as i64 == PAGE => last.clone(),
        _ => Bytes::from_static(b"-"),
    })
}

impl Inner {
    pub(crate) async fn copy_thread(
        &self,
        source: &str,
        target: &str,
        fresh: Incarnation,
    ) -> Result<()> {
        match self.incarnation(target).await? {
            Some(current) if current == fresh => return Ok(()),
            Some(_) => return Err(exists(target)),
            None => {}
        }
        let from = self.names.thread(source);
        let to = self.names.thread(target);
        for _ in 0..ATTEMPTS {
            let Some(moment) = self.snapshot(&from).await? else {
                let message = format!("there is no thread {}", quote(source));
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            let mut stage = Stage {
                inner: self,
                lane: to.lane,
                keys: to.staged(&fresh),
                counts: HashMap::new(),
            };
            stage.clear().await?;
            if !self.fill(&mut stage, &from, &moment).await? {
                continue;
            }
            self.index(target, fresh).await?;
            let mut keys = to.clone();
            keys.keys.extend(stage.keys.iter().cloned());
            let mut call = self.on_thread(&PUBLISH, &keys);
            call.arg(owned(&fresh.0))
                .number(1)
                .arg(moment.bytes.clone());
            for place in ORDER..=PINS {
                let count = stage.counts.get(&place).copied().unwrap_or(0);
                call.arg(count.to_string());
            }
            match &bytes(self.run(Doing::Changing, to.lane, &call).await?)?[..] {
                b"done" => return Ok(()),
                b"exists" => {
                    stage.clear().await?;
                    return Err(exists(target));
                }
                // Another copy of the same name was in the way, or it took over an hour.
                b"lost" => {}
                _ => return Err(unexpected()),
            }
        }
        let message = "checkpoints were removed from the source whenever it was being copied";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// The source at one moment; `None` if it has no life. Read in pages, again where it was
    /// written to meanwhile, and in the end all at once, which keeps the server busy for
    /// longer.
    async fn snapshot(&self, from: &ThreadKeys) -> Result<Option<Source>> {
        'attempts: for _ in 0..MOMENTS {
            let nowhere = [Bytes::new(), Bytes::new(), Bytes::new()];
            let Some((moment, mut all)) = self.snapshot_page(from, &nowhere, PAGE).await? else {
                return Ok(None);
            };
            let mut after = ends(&all);
            while after.iter().any(|after| &after[..] != b"-") {
                match self.snapshot_page(from, &after, PAGE).await? {
                    Some((now, page)) if now == moment => {
                        after = ends(&page);
                        for (all, page) in all.sets.iter_mut().zip(page.sets) {
                            all.extend(page);
                        }
                    }
                    _ => continue 'attempts,
                }
            }
            return Ok(Some(all));
        }
        let nowhere = [Bytes::new(), Bytes::new(), Bytes::new()];
        let all = self.snapshot_page(from, &nowhere, -1).await?;
        Ok(all.map(|(_, all)| all))
    }

    /// A page, and what tells its moment from others.
    async fn snapshot_page(
        &self,
        from: &ThreadKeys,
        after: &[Bytes; 3],
        limit: i64,
    ) -> Result<Option<(Bytes, Source)>> {
        let mut call = self.on_thread(&SNAPSHOT, from);
        for after in after {
            call.arg(after.clone());
        }
        call.arg(limit.to_string());
        let answer = self.run(Doing::Reading, from.lane, &call).await?;
        let Some((incarnation, rest)) = of_life(answer)? else {
            return Ok(None);
        };
        let rest: [Value; 7] = rest.try_into().map_err(|_| unexpected())?;
        let [moment, changes, size, order, hidden, condemned, pins] = rest;
        let set = |value| array(value)?.into_iter().map(bytes).collect::<Result<_>>();
        let page = Source {
            incarnation,
            changes: bytes(changes)?,
            bytes: bytes(size)?,
            sets: [set(order)?, set(hidden)?, set(condemned)?, set(pins)?],
        };
        // A life begins with counts that another may have had.
        let moment = [&incarnation.0[..], &bytes(moment)?].concat();
        Ok(Some((moment.into(), page)))
    }

    /// Copies everything; `false` if something was removed meanwhile.
    async fn fill(
        &self,
        stage: &mut Stage<'_>,
        from: &ThreadKeys,
        moment: &Source,
    ) -> Result<bool> {
        for (place, set) in [ORDER, HIDDEN, CONDEMNED, PINS]
            .into_iter()
            .zip(&moment.sets)
        {
            let command = if place == PINS { "SADD" } else { "ZADD" };
            for some in set.chunks(SLICE) {
                let mut values = Vec::with_capacity(2 * some.len());
                for member in some {
                    if place != PINS {
                        values.push(Bytes::from_static(b"0"));
                    }
                    values.push(member.clone());
                }
                stage.add(place, command, values).await?;
            }
        }
        for (place, what) in [(PACKS, "packs"), (WRITES, "writes")] {
            let mut cursor = Bytes::from_static(b"0");
            loop {
                let mut call = self.on_thread(&SOURCE, from);
                call.arg(owned(&moment.incarnation.0))
                    .arg(moment.changes.clone())
                    .text(what)
                    .arg(cursor);
                let answer = self.run(Doing::Reading, from.lane, &call).await?;
                if matches!(&answer, Value::Array(values) if values.len() == 1) {
                    return Ok(false);
                }
                let [next, fields] = fixed(answer)?;
                let fields = array(fields)?.into_iter().map(bytes);
                let fields = fields.collect::<Result<Vec<_>>>()?;
                for some in fields.chunks(2 * SLICE) {
                    stage.add(place, "HSET", some.to_vec()).await?;
                }
                cursor = bytes(next)?;
                if &cursor[..] == b"0" {
                    break;
                }
            }
        }
        Ok(true)
    }
}

impl Stage<'_> {
    async fn clear(&mut self) -> Result<()> {
        self.counts.clear();
        let mut unlink = redis::cmd("UNLINK");
        for key in &self.keys {
            unlink.arg(&key[..]);
        }
        let cleared = self.inner.command(Doing::Changing, self.lane, unlink);
        cleared.await.map(drop)
    }

    async fn add(&mut self, place: usize, command: &str, values: Vec<Bytes>) -> Result<()> {
        let mut call = Call::new(&STAGE, vec![self.keys[place].clone()]);
        call.text(command);
        for value in values {
            call.arg(value);
        }
        let added = self.inner.run(Doing::Changing, self.lane, &call).await?;
        *self.counts.entry(place).or_default() += int(&added)?;
        Ok(())
    }
}

fn exists(target: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("thread {} exists", quote(target)),
    )
}
