//! The indexes: of threads, and of namespaces of the long-term store.
//!
//! What an index names lies in a slot of its own, so no step can write both at once. An index
//! is a superset, therefore: a name is in it before it begins a *life*, with an entry for each
//! life, and an entry goes after its life has ended, or was refused: then it never starts. A
//! listing looks at what the index names. An entry is the name, NUL, and eight bytes of the
//! life; entries are sorted, and spread over shards.

use std::collections::VecDeque;

use bytes::Bytes;
use chunkpoint_core::{Error, Result};
use futures::future::try_join_all;
use redis::{Cmd, cmd};

use crate::backend::Inner;
use crate::error::Doing;
use crate::names::{Names, SHARDS};
use crate::reply::{array, bytes, unexpected};
use crate::script::{Call, ENTER};

/// Entries of one shard read at once, at most.
const PAGE: usize = 500;

/// One of the indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Index {
    Threads,
    Namespaces,
}

impl Index {
    fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Namespaces => "namespaces",
        }
    }
}

impl Inner {
    /// Puts a life of a name into an index.
    pub(crate) async fn enter(&self, index: Index, name: &[u8], life: [u8; 8]) -> Result<()> {
        let shard = Names::shard_of(name);
        let mut call = Call::new(&ENTER, vec![self.names.shard(index.name(), shard)]);
        call.arg([name, b"\0", &life].concat());
        let entered = self.run(Doing::Changing, shard as u64, &call).await;
        entered.map(drop)
    }

    /// Takes it out.
    pub(crate) async fn leave(&self, index: Index, name: &[u8], life: [u8; 8]) -> Result<()> {
        let mut remove = cmd("ZREM");
        let shard = Names::shard_of(name);
        remove
            .arg(&self.names.shard(index.name(), shard)[..])
            .arg([name, b"\0", &life].concat());
        let removed = self.command(Doing::Changing, shard as u64, remove).await;
        removed.map(drop)
    }
}

/// A walk over all shards of the index, in the order of the threads.
#[derive(Debug)]
pub(crate) struct Walk {
    index: Index,
    shards: Vec<Shard>,
    to: Vec<u8>,
    page: usize,
}

/// What was read of one shard and not given yet.
#[derive(Debug)]
struct Shard {
    ahead: VecDeque<Bytes>,
    from: Vec<u8>,
    ended: bool,
}

impl Walk {
    /// From one run of bytes up to another, for a reader who takes about so many names.
    pub(crate) fn new(index: Index, from: Vec<u8>, to: Vec<u8>, likely: usize) -> Self {
        let from = [b"[", &from[..]].concat();
        let shard = || Shard {
            ahead: VecDeque::new(),
            from: from.clone(),
            ended: false,
        };
        Self {
            index,
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            to: [b"(", &to[..]].concat(),
            page: likely.clamp(1, PAGE),
        }
    }

    /// Where to go on after a name and all its lives: what goes on behind it begins with a
    /// NUL, or else names something below it.
    pub(crate) fn behind(name: &[u8]) -> Vec<u8> {
        [name, b"\x01"].concat()
    }

    /// The next entries.
    pub(crate) async fn next(
        &mut self,
        inner: &Inner,
        count: usize,
    ) -> Result<Vec<(Bytes, [u8; 8])>> {
        let mut found = Vec::new();
        while found.len() < count {
            self.read_ahead(inner).await?;
            let first = self
                .shards
                .iter_mut()
                .filter(|shard| !shard.ahead.is_empty())
                .min_by(|a, b| a.ahead.front().cmp(&b.ahead.front()));
            let Some(entry) = first.and_then(|shard| shard.ahead.pop_front()) else {
                break;
            };
            found.push(read_entry(&entry)?);
        }
        Ok(found)
    }

    /// Reads on in those shards of which nothing is known.
    async fn read_ahead(&mut self, inner: &Inner) -> Result<()> {
        let mut reads = Vec::new();
        for (n, shard) in self.shards.iter().enumerate() {
            if shard.ahead.is_empty() && !shard.ended {
                let key = inner.names.shard(self.index.name(), n);
                reads.push((n, range(&key, &shard.from, &self.to, self.page)));
            }
        }
        let reads = reads.into_iter().map(|(n, range)| async move {
            // Each on a connection of its own, as far as there are so many.
            let answer = inner.command(Doing::Reading, n as u64, range).await?;
            Ok::<_, Error>((n, array(answer)?))
        });
        for (n, entries) in try_join_all(reads).await? {
            let shard = &mut self.shards[n];
            for entry in entries {
                shard.ahead.push_back(bytes(entry)?);
            }
            shard.ended = shard.ahead.len() < self.page;
            if let Some(last) = shard.ahead.back() {
                shard.from = [b"(", &last[..]].concat();
            }
        }
        Ok(())
    }
}

/// The name and the life of an entry.
fn read_entry(entry: &Bytes) -> Result<(Bytes, [u8; 8])> {
    let (rest, life) = entry.split_last_chunk::<8>().ok_or_else(unexpected)?;
    let name = rest.strip_suffix(b"\0").ok_or_else(unexpected)?;
    Ok((entry.slice_ref(name), *life))
}

fn range(key: &[u8], from: &[u8], to: &[u8], limit: usize) -> Cmd {
    let mut range = cmd("ZRANGE");
    range.arg(key).arg(from).arg(to).arg("BYLEX").arg("LIMIT");
    range.arg(0).arg(limit);
    range
}
