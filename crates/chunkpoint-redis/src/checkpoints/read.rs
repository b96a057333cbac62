//! Records by name, and chunks.

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, Detail, Incarnation, Pick, RecordRow};
use redis::Value;

use super::row::{field, level, name, of_life, owned, read};
use crate::backend::Inner;
use crate::error::Doing;
use crate::reply::{array, opt_bytes, unexpected};
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
            let mut call = self.on_thread(&CHUNKS, &keys);
            call.arg(owned(&incarnation.0));
            for name in some {
                call.arg(field(name.pack, name.ordinal));
            }
            let answer = self.run(Doing::Reading, keys.lane, &call).await?;
            match of_life(answer)? {
                None => found.extend(some.iter().map(|_| None)),
                Some((_, rest)) => {
                    let chunks = array(rest.into_iter().next().ok_or_else(unexpected)?)?;
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
}
