//! The life of a thread, and the listing of threads.

use std::sync::Arc;

use chunkpoint_core::backend::{Incarnation, ListThreads};
use chunkpoint_core::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::row::{of_life, owned};
use crate::backend::Inner;
use crate::error::Doing;
use crate::index::{Index, Walk};
use crate::reply::{int, text, unexpected};
use crate::script::{DELETE, INCARNATION, REFUSE};

/// Threads looked at at once.
const AT_ONCE: usize = 64;

impl Inner {
    /// Puts a thread into the index, before a life of it starts.
    pub(super) async fn index(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        self.enter(Index::Threads, thread.as_bytes(), incarnation.0)
            .await
    }

    async fn leave_index(&self, thread: &str, incarnation: Incarnation) -> Result<()> {
        self.leave(Index::Threads, thread.as_bytes(), incarnation.0)
            .await
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
            self.leave_index(thread, incarnation).await?;
        }
        Ok(())
    }

    pub(crate) async fn threads(&self, query: &ListThreads) -> Result<Vec<Arc<str>>> {
        let prefix = query.prefix.as_bytes();
        let after = query.after.as_deref().unwrap_or_default().as_bytes();
        let from = if !after.is_empty() && after >= prefix {
            Walk::behind(after)
        } else {
            prefix.to_vec()
        };
        // UTF-8 has no byte 0xff.
        let to = [prefix, b"\xff"].concat();
        let mut walk = Walk::new(Index::Threads, from, to, query.limit);
        let mut found: Vec<Arc<str>> = Vec::new();
        while found.len() < query.limit {
            let wanted = (query.limit - found.len()).min(AT_ONCE);
            let some = walk.next(self, wanted).await?;
            if some.is_empty() {
                break;
            }
            let looked = stream::iter(some).map(|(thread, named)| async move {
                let (thread, named) = (text(&thread)?, Incarnation(named));
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
            self.leave_index(thread, incarnation).await?;
        }
        Ok(())
    }
}
