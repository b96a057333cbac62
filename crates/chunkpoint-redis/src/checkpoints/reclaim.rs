//! Condemned packs, and what is freed of them.

use std::collections::HashMap;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Condemned, CondemnedPack, Incarnation, ListCondemned, PackId, PendingWrite, Reclaim, Reclaimed,
};
use chunkpoint_core::pending::{Slots, encode};

use super::row::{digits, of_life, owned};
use crate::backend::Inner;
use crate::error::Doing;
use crate::names::ThreadKeys;
use crate::reply::{array, bytes, fixed, id8, int, opt_bytes, text, unexpected};
use crate::script::{CONDEMNED, ORPHAN, RECLAIM, SCAN_WRITES};

/// Packs, and chunks of them, that one script frees.
const PACKS: usize = 64;
const CHUNKS: usize = 1_024;

/// Entries read at once.
const PAGE: usize = 1_000;

/// An entry of the condemned.
struct Entry {
    pack: PackId,
    condemned_ms: u64,
    /// Whether its record's body is still there.
    whole: bool,
    chunks: Vec<u32>,
}

/// Reads an entry: pack, 16 digits, and `*` and a number, or ordinals.
fn entry(bytes: &[u8]) -> Result<Entry> {
    let (pack, rest) = bytes.split_first_chunk::<8>().ok_or_else(unexpected)?;
    let (time, chunks) = rest.split_first_chunk::<16>().ok_or_else(unexpected)?;
    let number = |digits: &str| digits.parse().map_err(|e| unexpected().source(e));
    let chunks = text(chunks)?;
    let (whole, chunks) = match chunks.strip_prefix('*') {
        Some(count) => (true, (0..number(count)? as u32).collect()),
        None => {
            let ordinals = chunks.split(',').map(|n| Ok(number(n)? as u32));
            (false, ordinals.collect::<Result<_>>()?)
        }
    };
    Ok(Entry {
        pack: PackId(*pack),
        condemned_ms: number(&text(time)?)?,
        whole,
        chunks,
    })
}

impl Inner {
    /// A page of entries behind `after`, and the incarnation.
    async fn entries(
        &self,
        thread: &ThreadKeys,
        after: Option<PackId>,
    ) -> Result<Option<(Incarnation, Vec<Entry>)>> {
        let mut call = self.on_thread(&CONDEMNED, thread);
        call.arg(after.map_or(Bytes::new(), |pack| owned(&pack.0)))
            .number(PAGE as u64);
        let answer = self.run(Doing::Reading, thread.lane, &call).await?;
        let Some((incarnation, rest)) = of_life(answer)? else {
            return Ok(None);
        };
        let entries = array(rest.into_iter().next().ok_or_else(unexpected)?)?;
        let entries = entries.into_iter().map(|value| entry(&bytes(value)?));
        Ok(Some((incarnation, entries.collect::<Result<_>>()?)))
    }

    pub(crate) async fn condemned(&self, query: &ListCondemned) -> Result<Option<Condemned>> {
        let thread = self.names.thread(&query.thread);
        let Some((incarnation, mut page)) = self.entries(&thread, query.after).await? else {
            return Ok(None);
        };
        let mut packs = Vec::new();
        loop {
            let full = page.len() == PAGE;
            let last = page.last().map(|entry| entry.pack);
            let due = page
                .into_iter()
                .filter(|entry| entry.condemned_ms <= query.before_ms && !entry.chunks.is_empty());
            packs.extend(due.map(|entry| CondemnedPack {
                pack: entry.pack,
                chunks: entry.chunks,
            }));
            if !full || packs.len() >= query.limit {
                break;
            }
            match self.entries(&thread, last).await? {
                Some((now, next)) if now == incarnation => page = next,
                _ => break,
            }
        }
        packs.truncate(query.limit);
        Ok(Some(Condemned { incarnation, packs }))
    }

    pub(crate) async fn reclaim(&self, reclaim: &Reclaim) -> Result<Reclaimed> {
        let thread = self.names.thread(&reclaim.thread);
        let mut reclaimed = Reclaimed::default();
        let mut dead = reclaim.dead.iter().peekable();
        // At least one call: it tells what the thread still takes.
        loop {
            let (mut some, mut chunks) = (Vec::new(), 0);
            while some.len() < PACKS
                && let Some((pack, ordinals)) =
                    dead.next_if(|(_, ordinals)| chunks == 0 || chunks + ordinals.len() <= CHUNKS)
            {
                chunks += ordinals.len();
                some.push((*pack, &ordinals[..]));
            }
            self.free(reclaim, &thread, &some, &mut reclaimed).await?;
            if dead.peek().is_none() {
                break;
            }
        }
        self.strip(reclaim, &thread, &mut reclaimed).await?;
        self.drop_orphans(reclaim, &thread).await?;
        Ok(reclaimed)
    }

    /// Frees chunks of a few packs, and their bodies.
    async fn free(
        &self,
        reclaim: &Reclaim,
        thread: &ThreadKeys,
        dead: &[(PackId, &[u32])],
        reclaimed: &mut Reclaimed,
    ) -> Result<()> {
        let mut call = self.on_thread(&RECLAIM, thread);
        call.arg(owned(&reclaim.incarnation.0))
            .text(&digits(reclaim.before_ms));
        for (pack, ordinals) in dead {
            let ordinals: Vec<String> = ordinals.iter().map(u32::to_string).collect();
            call.arg(owned(&pack.0)).arg(ordinals.join(","));
        }
        let answer = self.run(Doing::Changing, thread.lane, &call).await?;
        let [freed, live] = fixed(answer)?;
        reclaimed.freed_bytes += u64::try_from(int(&freed)?).unwrap_or(0);
        reclaimed.live_bytes = u64::try_from(int(&live)?).unwrap_or(0);
        Ok(())
    }

    /// Frees what is due of packs that were not named: bodies of those whose chunks are all
    /// needed, and all that is left of those without chunks. It only recognises a repeated
    /// commit, which nobody sends any more once the grace has passed.
    async fn strip(
        &self,
        reclaim: &Reclaim,
        thread: &ThreadKeys,
        reclaimed: &mut Reclaimed,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let Some((incarnation, page)) = self.entries(thread, after).await? else {
                return Ok(());
            };
            if incarnation != reclaim.incarnation {
                return Ok(());
            }
            let due = page
                .iter()
                .filter(|entry| entry.whole && entry.condemned_ms <= reclaim.before_ms);
            let due: Vec<(PackId, &[u32])> = due.map(|entry| (entry.pack, &[][..])).collect();
            for some in due.chunks(PACKS) {
                self.free(reclaim, thread, some, reclaimed).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.pack),
                _ => return Ok(()),
            }
        }
    }

    /// Drops writes that came at or before a time and have no checkpoint.
    async fn drop_orphans(&self, reclaim: &Reclaim, thread: &ThreadKeys) -> Result<()> {
        let mut cursor = Bytes::from_static(b"0");
        loop {
            let mut call = self.on_thread(&SCAN_WRITES, thread);
            call.arg(owned(&reclaim.incarnation.0)).arg(cursor);
            let [next, names] = fixed(self.run(Doing::Reading, thread.lane, &call).await?)?;
            for name in array(names)? {
                self.drop_orphan(reclaim, thread, bytes(name)?).await?;
            }
            cursor = bytes(next)?;
            if &cursor[..] == b"0" {
                return Ok(());
            }
        }
    }

    /// Drops what came at or before a time for a checkpoint that is not there. What came
    /// later stays, if it held; what it did not replace then does not come back.
    async fn drop_orphan(&self, reclaim: &Reclaim, thread: &ThreadKeys, name: Bytes) -> Result<()> {
        let call = || {
            let mut call = self.on_thread(&ORPHAN, thread);
            call.arg(owned(&reclaim.incarnation.0)).arg(name.clone());
            call
        };
        let answer = self.run(Doing::Reading, thread.lane, &call()).await?;
        let mut answer = array(answer)?.into_iter();
        let Some(list) = answer.next().map(opt_bytes).transpose()?.flatten() else {
            return Ok(());
        };
        let wrote = array(answer.next().ok_or_else(unexpected)?)?;
        let mut calls = Vec::new();
        for (known, wrote) in list.chunks(24).zip(wrote) {
            let (id, time) = known.split_first_chunk::<8>().ok_or_else(unexpected)?;
            let time: u64 = text(time)?.parse().map_err(|e| unexpected().source(e))?;
            calls.push(((time, id8(id)?), bytes(wrote)?));
        }
        if calls.iter().all(|((time, _), _)| *time > reclaim.before_ms) {
            return Ok(());
        }
        let mut kept: HashMap<[u8; 8], Vec<PendingWrite>> = HashMap::new();
        for ((time, id), write) in Slots::of(calls.iter().cloned())?.into_writes() {
            if time > reclaim.before_ms {
                kept.entry(id).or_default().push(write);
            }
        }
        let mut call = call();
        call.arg(list.clone());
        for ((_, id), _) in &calls {
            call.arg(owned(id))
                .arg(kept.get(id).map_or(Bytes::new(), encode));
        }
        // If anything has changed meanwhile, they are due another time.
        self.run(Doing::Changing, thread.lane, &call).await?;
        Ok(())
    }
}
