//! The life of a thread, and the index of threads.
//!
//! The index is a superset of the threads: a thread is in it before it begins, one entry for
//! each life, and an entry goes after its life has ended. So a listing looks at each thread
//! that the index names. An entry is the thread, NUL, and the incarnation.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{Incarnation, ListThreads};
use chunkpoint_core::{Error, Result};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use redis::{Cmd, cmd};

use super::row::{of_life, owned};
use crate::backend::Inner;
use crate::error::Doing;
use crate::names::SHARDS;
use crate::reply::{array, bytes, int, text, unexpected};
use crate::script::{DELETE, INCARNATION, REFUSE};

/// Entries of one shard read at once, at most.
const PAGE: usize = 500;

/// Threads looked at at once.
const AT_ONCE: usize = 64;

fn entry(thread: &str, incarnation: Incarnation) -> Vec<u8> {
    [thread.as_bytes(), b"\0", &incarnation.0].concat()
}

/// The thread and the life of an entry.
fn read_entry(entry: &[u8]) -> Result<(Arc<str>, Incarnation)> {
    let (rest, id) = entry.split_last_chunk::<8>().ok_or_else(unexpected)?;
    let thread = rest.strip_suffix(b"\0").ok_or_else(unexpected)?;
    Ok((text(thread)?, Incarnation(*id)))
}

impl Inner {
    async fn on_index(&self, what: &str, thread: &str, incarnation: Incarnation) -> Result<()> {
        let shard = self.names.shard_of(thread);
        let mut change = cmd(what);
        change.arg(&shard[..]);
        if what == "ZADD" {
            change.arg(0);
        }
        change.arg(entry(thread, incarnation));
        let lane = self.names.thread(thread).lane;
        self.command(Doing::Changing, lane, &change).await.map(drop)
    }

    /// Puts a thread into the index, before a life of it starts.
    pub(super) async fn index(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        self.on_index("ZADD", thread, incarnation).await
    }

    async fn life(&self, thread: &str) -> Result<Option<(Incarnation, bool)>> {
        let keys = self.names.thread(thread);
        let call = self.on_thread(&INCARNATION, &keys);
        let answer = self.run(Doing::Reading, keys.lane, &call).await?;
        let Some((incarnation, rest)) = of_life(answer)? else {
            return Ok(None);
        };
        let visible = int(rest.first().ok_or_else(unexpected)?)? > 0;
        Ok(Some((incarnation, visible)))
    }

    pub(crate) async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        Ok(self.life(thread).await?.map(|(incarnation, _)| incarnation))
    }

    pub(crate) async fn delete_thread(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let keys = self.names.thread(thread);
        let mut call = self.on_thread(&DELETE, &keys);
        call.arg(owned(&incarnation.0));
        let ended = self.run(Doing::Changing, keys.lane, &call).await?;
        if int(&ended)? == 1 {
            self.on_index("ZREM", thread, incarnation).await?;
        }
        Ok(())
    }

    pub(crate) async fn threads(&self, query: &ListThreads) -> Result<Vec<Arc<str>>> {
        let mut walk = Walk::new(self, query);
        let mut found: Vec<Arc<str>> = Vec::new();
        while found.len() < query.limit {
            let wanted = (query.limit - found.len()).clamp(1, AT_ONCE);
            let some = walk.next(wanted).await?;
            if some.is_empty() {
                break;
            }
            let looked = stream::iter(some).map(|(thread, named)| async move {
                let life = self.life(&thread).await?;
                if query.all && life.map(|(id, _)| id) != Some(named) {
                    self.forget(&thread, named).await?;
                }
                Ok::<_, Error>((thread, life))
            });
            let looked: Vec<_> = looked.buffered(AT_ONCE).try_collect().await?;
            for (thread, life) in looked {
                let listed = life.is_some_and(|(_, visible)| visible || query.all);
                if listed && found.last() != Some(&thread) && found.len() < query.limit {
                    found.push(thread);
                }
            }
        }
        Ok(found)
    }

    /// Takes an entry out of the index whose life was given up or has expired, once no commit
    /// can start that life any more.
    async fn forget(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        let keys = self.names.thread(thread);
        let mut call = self.on_thread(&REFUSE, &keys);
        call.arg(owned(&incarnation.0));
        let refused = self.run(Doing::Changing, keys.lane, &call).await?;
        if int(&refused)? == 1 {
            self.on_index("ZREM", thread, incarnation).await?;
        }
        Ok(())
    }
}

/// A walk over all shards of the index, in the order of the threads.
struct Walk<'a> {
    inner: &'a Inner,
    shards: Vec<Shard>,
    to: Vec<u8>,
    page: usize,
}

/// What was read of one shard and not given yet.
struct Shard {
    key: Bytes,
    ahead: VecDeque<Bytes>,
    from: Vec<u8>,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn new(inner: &'a Inner, query: &ListThreads) -> Self {
        let after = query.after.as_deref().unwrap_or_default();
        // No thread has a NUL: behind all lives of one is behind it and a one.
        let from = if !after.is_empty() && after >= query.prefix.as_str() {
            format!("[{after}\u{1}")
        } else {
            format!("[{}", query.prefix)
        };
        let shard = |n| Shard {
            key: inner.names.shard(n),
            ahead: VecDeque::new(),
            from: from.clone().into_bytes(),
            ended: false,
        };
        // UTF-8 has no byte 0xff.
        let to = if query.prefix.is_empty() {
            b"+".to_vec()
        } else {
            [b"(", query.prefix.as_bytes(), b"\xff"].concat()
        };
        Self {
            inner,
            shards: (0..SHARDS).map(shard).collect(),
            to,
            page: query.limit.saturating_add(1).min(PAGE),
        }
    }

    /// The next entries.
    async fn next(&mut self, count: usize) -> Result<Vec<(Arc<str>, Incarnation)>> {
        let mut found = Vec::new();
        while found.len() < count {
            self.read_ahead().await?;
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
    async fn read_ahead(&mut self) -> Result<()> {
        let mut reads = Vec::new();
        for (n, shard) in self.shards.iter().enumerate() {
            if shard.ahead.is_empty() && !shard.ended {
                reads.push((n, range(&shard.key, &shard.from, &self.to, self.page)));
            }
        }
        let inner = self.inner;
        let reads = reads.into_iter().map(|(n, range)| async move {
            // Each on a connection of its own, as far as there are so many.
            let answer = inner.command(Doing::Reading, n as u64, &range).await?;
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

fn range(key: &[u8], from: &[u8], to: &[u8], limit: usize) -> Cmd {
    let mut range = cmd("ZRANGE");
    range.arg(key).arg(from).arg(to).arg("BYLEX").arg("LIMIT");
    range.arg(0).arg(limit);
    range
}
