//! Changes: each one script, many of them under way at once.

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{Changed, Expect, ItemChange};
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::StreamExt;
use futures::stream;

use super::row::{packs, times};
use crate::backend::Inner;
use crate::error::Doing;
use crate::index::Index;
use crate::reply::{array, bytes, id8, text, unexpected};
use crate::script::{CHANGE, Call};

/// Changes under way at once.
const AT_ONCE: usize = 64;

/// How often a life of a namespace is begun anew that sweeps have refused.
const ATTEMPTS: usize = 16;

fn fresh_life() -> Result<[u8; 8]> {
    let mut life = [0; 8];
    getrandom::fill(&mut life).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "the system gives no randomness").source(e.to_string())
    })?;
    Ok(life)
}

fn expectation(expect: Expect) -> Bytes {
    match expect {
        Expect::Any => Bytes::new(),
        Expect::Absent => Bytes::from_static(b"-"),
        Expect::Version(version) => Bytes::copy_from_slice(&version.0),
    }
}

impl Inner {
    pub(super) async fn change_items(&self, changes: Vec<ItemChange>) -> Vec<Result<Changed>> {
        let changes = stream::iter(changes).map(|change| async move { self.change(&change).await });
        changes.buffered(AT_ONCE).collect().await
    }

    async fn change(&self, change: &ItemChange) -> Result<Changed> {
        let namespace = &change.key().namespace;
        let (mut life, mut refused) = (fresh_life()?, 0);
        let space = self.names.space(namespace);
        let mut indexed = false;
        loop {
            let mut call = Call::new(&CHANGE, space.keys.clone());
            call.arg(Bytes::copy_from_slice(&life))
                .number(indexed.into());
            self.describe(change, &mut call)?;
            let answer = self.run(Doing::Changing, space.lane, &call).await?;
            let mut answer = array(answer)?.into_iter();
            let what = bytes(answer.next().ok_or_else(unexpected)?)?;
            let with = answer.next().map(bytes).transpose()?;
            match (&what[..], with) {
                (b"done", Some(created)) => {
                    let created_ms = text(&created)?
                        .parse()
                        .map_err(|e| unexpected().source(e))?;
                    return Ok(Changed::Done { created_ms });
                }
                (b"conflict", version) => {
                    let version = version.map(|version| id8(&version)).transpose()?;
                    return Ok(Changed::Conflict(version.map(PackId)));
                }
                (b"index", _) => {
                    let name = namespace.to_bytes();
                    self.enter(Index::Namespaces, &name, life).await?;
                    indexed = true;
                }
                // A sweep came between the index and this.
                (b"refused", _) if refused < ATTEMPTS => {
                    (life, refused, indexed) = (fresh_life()?, refused + 1, false);
                }
                (b"refused", _) => {
                    let message = "the namespace's beginning was given up by sweeps; put it again";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                _ => return Err(unexpected()),
            }
        }
    }

    /// The arguments that say what to change.
    fn describe(&self, change: &ItemChange, call: &mut Call) -> Result<()> {
        let id = |id: &PackId| Bytes::copy_from_slice(&id.0);
        match change {
            ItemChange::Put(put) => {
                let row = &put.row;
                let most = self.capabilities().max_value_bytes;
                for part in put.chunks.iter().chain([&row.body]) {
                    if part.len() as u64 > most {
                        let message = format!(
                            "a part of a value has {} bytes; at most {most} are accepted",
                            part.len()
                        );
                        return Err(Error::new(ErrorKind::TooLarge, message));
                    }
                }
                call.text("p")
                    .text(&row.key.key)
                    .arg(id(&row.version))
                    .arg(expectation(put.expect))
                    .number(row.updated_ms)
                    .text(&row.expires_ms.map_or(String::new(), |ms| ms.to_string()))
                    .number(row.created_ms)
                    .arg(times(row))
                    .arg(packs(row)?)
                    .arg(row.body.clone());
                for chunk in &put.chunks {
                    call.arg(chunk.clone());
                }
            }
            ItemChange::Delete {
                key,
                write_id,
                expect,
                now_ms,
            } => {
                call.text("d")
                    .text(&key.key)
                    .arg(id(write_id))
                    .arg(expectation(*expect))
                    .number(*now_ms)
                    .text("");
            }
            ItemChange::Renew {
                key,
                version,
                expires_ms,
            } => {
                call.text("n")
                    .text(&key.key)
                    .arg(id(version))
                    .text("")
                    .number(0)
                    .number(*expires_ms);
            }
        }
        Ok(())
    }
}
