//! Commits: one script, which does all or nothing.

use bytes::Bytes;
use chunkpoint_core::backend::{Base, Commit, Committed, Incarnation};
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use super::row::{blob, digits, expectation, field, latest, member, owned, read_member};
use crate::backend::Inner;
use crate::error::Doing;
use crate::reply::{array, bytes, id8, unexpected};
use crate::script::COMMIT;

impl Inner {
    pub(crate) async fn commit(&self, commit: &Commit) -> Result<Committed> {
        self.capabilities().check(commit)?;
        let blob = blob(commit)?;
        let mut indexed = false;
        if let Base::Root { fresh } = &commit.base {
            // Asked first, as a commit that begins a thread may be large.
            if self.incarnation(&commit.thread).await?.is_none() {
                self.index(&commit.thread, *fresh).await?;
                indexed = true;
            }
        }
        loop {
            match self.try_commit(commit, &blob, indexed).await? {
                Some(committed) => return Ok(committed),
                None => {
                    // The thread has ended meanwhile.
                    if let Base::Root { fresh } = &commit.base {
                        self.index(&commit.thread, *fresh).await?;
                    }
                    indexed = true;
                }
            }
        }
    }

    /// `None` if the thread has to be in the index first.
    async fn try_commit(
        &self,
        commit: &Commit,
        blob: &Bytes,
        indexed: bool,
    ) -> Result<Option<Committed>> {
        let thread = self.names.thread(&commit.thread);
        let mut call = self.on_thread(&COMMIT, &thread);
        call.text(&commit.key.namespace)
            .text(&commit.key.id)
            .arg(owned(&commit.pack.0));
        let (base, incarnation, parents) = match &commit.base {
            Base::Root { fresh } => ("root", fresh, &[][..]),
            Base::Borrow { incarnation, from } => ("borrow", incarnation, &from[..]),
        };
        call.text(base)
            .arg(owned(&incarnation.0))
            .arg(expectation(&commit.expect_latest))
            .text(&digits(commit.index.time_ms))
            .number(commit.index.pack_bytes)
            .number(indexed.into())
            .number(parents.len() as u64);
        for parent in parents {
            call.arg(member(parent));
        }
        call.arg(owned(&commit.pack.0)).arg(blob.clone());
        for (ordinal, chunk) in (0..).zip(&commit.chunks) {
            call.arg(field(commit.pack, ordinal)).arg(chunk.clone());
        }
        let answer = self.run(Doing::Changing, thread.lane, &call).await?;
        let mut answer = array(answer)?.into_iter();
        let what = bytes(answer.next().ok_or_else(unexpected)?)?;
        let with = answer.next().map(bytes).transpose()?;
        match (&what[..], with) {
            (b"done", Some(incarnation)) => Ok(Some(Committed {
                incarnation: Incarnation(id8(&incarnation)?),
                locator: 0,
            })),
            (b"index", _) => Ok(None),
            (b"gone", None) => Err(parent_gone("the thread was deleted".into())),
            (b"gone", Some(parent)) => {
                let id = quote(&read_member(&parent)?.key.id);
                Err(parent_gone(format!(
                    "checkpoint {id} was removed or replaced"
                )))
            }
            (b"conflict", Some(found)) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the latest checkpoint is not as expected but {}",
                    latest(&found)?
                ),
            )),
            (b"refused", _) => Err(refused()),
            _ => Err(unexpected()),
        }
    }
}

fn parent_gone(message: String) -> Error {
    Error::new(ErrorKind::ParentGone, message)
}

/// What takes longer than a day between its steps may find that it was given up.
pub(super) fn refused() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the thread's beginning was given up by maintenance; begin it anew",
    )
}
