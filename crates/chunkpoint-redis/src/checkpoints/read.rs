//! Records by name, and chunks.

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, Detail, Incarnation, Pick, RecordRow};
use redis::{Value, cmd};

use super::row::{field, level, name, of_life, owned, read};
use crate::backend::Inner;
use crate::error::{Doing, other_thread};
use crate::names::{HEAD_KEY, PACKS_KEY, ThreadKeys};
use crate::reply::{array, fixed, opt_bytes, text, unexpected};
use crate::script::{CHUNKS, GET};

/// Bytes of chunks that are asked for at once: the server serves nobody else meanwhile.
const AT_ONCE: u64 = 4 << 20;

/// Chunks that are asked for at once.
const FEW: usize = 4_000;

impl Inner {
    pub(crate) async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        let keys = self.names.thread(thread);
        let mut call = self.on_thread(&GET, &keys);
        call.text(level(detail));
        for pick in picks {
            let (what, which) = match pick {
                Pick::Latest { namespace } => (b"l", owned(namespace.as_bytes())),
                Pick::At(key) => (b"a", name(key)),
            };
            call.arg([&what[..], &which].concat());
        }
        let answer = self.run(Doing::Reading, keys.lane, &call).await?;
        let Some((incarnation, rows)) = of_life(answer)? else {
            return Ok(picks.iter().map(|_| None).collect());
        };
        if rows.len() != picks.len() {
            return Err(unexpected());
        }
        let rows = rows.into_iter().map(|row| match row {
            Value::Int(_) => Ok(None),
            row => read(incarnation, row, detail)?.row().map(Some),
        });
        rows.collect()
    }

    pub(crate) async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let keys = self.names.thread(thread);
        let mut found = Vec::with_capacity(names.len());
        let mut left = names;
        while !left.is_empty() {
            let mut bytes = 0;
            let fits = left.iter().take(FEW).take_while(|name| {
                bytes += u64::from(name.len);
                bytes <= AT_ONCE
            });
            let (some, rest) = left.split_at(fits.count().max(1));
            left = rest;
            let fields = some.iter().map(|name| field(name.pack, name.ordinal));
            let chunks = if self.reads_plainly() {
                self.chunks_plainly(&keys, incarnation, fields).await?
            } else {
                self.chunks_by_script(&keys, incarnation, fields).await?
            };
            match chunks {
                None => found.extend(some.iter().map(|_| None)),
                Some(chunks) => {
                    let chunks = array(chunks)?;
                    if chunks.len() != some.len() {
                        return Err(unexpected());
                    }
                    for chunk in chunks {
                        found.push(opt_bytes(chunk)?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Chunks without a script, which would copy each of them twice more: it costs the server
    /// four to six times as much. The incarnation is read behind them: no life comes again, so
    /// if it is still the one that was asked for, it was when they were read. `None` if it is
    /// not.
    async fn chunks_plainly(
        &self,
        keys: &ThreadKeys,
        incarnation: Incarnation,
        fields: impl Iterator<Item = Bytes>,
    ) -> Result<Option<Value>> {
        let (mut chunks, mut life) = (cmd("HMGET"), cmd("HMGET"));
        chunks.arg(&keys.keys[PACKS_KEY][..]);
        for field in fields {
            chunks.arg(&field[..]);
        }
        life.arg(&keys.keys[HEAD_KEY][..]);
        life.arg("incarnation").arg("expires").arg("id");
        let read = self.read_both(keys.lane, &keys.keys, [chunks, life]);
        let [chunks, life] = read.await?;
        let [current, expires, id] = fixed(life)?;
        if opt_bytes(current)?.as_deref() != Some(&incarnation.0[..]) {
            return Ok(None);
        }
        if opt_bytes(id)?.is_some_and(|id| id != keys.id) {
            return Err(other_thread());
        }
        let expires = opt_bytes(expires)?.map(|time| text(&time)).transpose()?;
        let expires = expires.map(|time| time.parse::<u64>());
        let expires = expires.transpose().map_err(|e| unexpected().source(e))?;
        Ok(expires
            .is_none_or(|at| at > self.now_ms())
            .then_some(chunks))
    }

    async fn chunks_by_script(
        &self,
        keys: &ThreadKeys,
        incarnation: Incarnation,
        fields: impl Iterator<Item = Bytes>,
    ) -> Result<Option<Value>> {
        let mut call = self.on_thread(&CHUNKS, keys);
        call.arg(owned(&incarnation.0));
        for field in fields {
            call.arg(field);
        }
        let answer = self.run(Doing::Reading, keys.lane, &call).await?;
        of_life(answer)?
            .map(|(_, rest)| rest.into_iter().next().ok_or_else(unexpected))
            .transpose()
    }
}
