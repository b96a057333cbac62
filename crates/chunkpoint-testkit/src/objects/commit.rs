//! The protocol of a commit: put the pack, then look again.

use std::sync::Arc;

use chunkpoint_core::backend::{Base, Commit, Committed, PackId, RecordIndex};
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use super::ObjectBackend;
use super::life::Life;
use super::map::{Object, Pack};
use super::names;
use super::view::{Standing, View};

impl ObjectBackend {
    pub(super) async fn commit_pack(&self, commit: Commit) -> Result<Committed> {
        if commit.expect_latest.is_some() && !self.conditional {
            let message = "fencing takes create-if-absent";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let current = self.current(&commit.thread).await?;
        let life = match &commit.base {
            Base::Borrow { incarnation, .. } => match current {
                Some(life) if life.incarnation == *incarnation => Some(life),
                // A pack that this life knows, from a copy: its first result stands.
                Some(life) => {
                    let known = self.load(&life).await?.pack(commit.pack).is_some();
                    known.then_some(life)
                }
                None => None,
            },
            Base::Root { fresh } => {
                if let (None, Some(expected)) = (&current, &commit.expect_latest) {
                    // Before a life is started in vain.
                    expect(&View::default(), &commit, expected.as_ref())?;
                }
                let Some(life) = self.start(&commit.thread, *fresh).await? else {
                    // The life it started, now or when it was sent before, was
                    // ended since: it counts as made just before.
                    return Ok(committed(*fresh));
                };
                Some(life)
            }
        };
        let Some(life) = life else {
            return Err(parent_gone("the thread was deleted"));
        };
        let view = self.load(&life).await?;
        if let Some(pack) = view.pack(commit.pack) {
            return self.finish(&life, commit.pack, pack.fenced).await;
        }
        if let Base::Borrow { from, .. } = &commit.base {
            for parent in from {
                let current = view.current(&parent.key).map(|(pack, _)| pack);
                if current != Some(parent.pack) {
                    let id = quote(&parent.key.id);
                    let message = format!("checkpoint {id} was removed or replaced");
                    return Err(parent_gone(&message));
                }
            }
        }
        if let Some(expected) = &commit.expect_latest {
            expect(&view, &commit, expected.as_ref())?;
            self.fence(&life, &commit, expected.as_ref()).await?;
        }
        let (pack, fenced) = (commit.pack, commit.expect_latest.is_some());
        let object = Object::Pack(pack_of(commit, &view).into());
        self.map
            .put(&life.name(format!("pack/{pack}")), object)
            .await;
        self.finish(&life, pack, fenced).await
    }

    /// Decides a fence, looks whether the pack counts, and acknowledges it or
    /// takes it back. Done again for a repeated commit, whoever put the pack.
    async fn finish(&self, life: &Life, pack: PackId, fenced: bool) -> Result<Committed> {
        if fenced && !self.decide_fence(life, pack, true).await? {
            self.map.delete(&life.name(format!("pack/{pack}"))).await;
            return Err(conflict("another fenced writer came first"));
        }
        loop {
            let view = self.load(life).await?;
            match view.standing(pack) {
                Some(Standing::Counts) => return Ok(committed(life.incarnation)),
                Some(Standing::Excluded) => {
                    // Nobody could read it, so nothing builds on it but
                    // what is excluded as well.
                    self.map.delete(&life.name(format!("pack/{pack}"))).await;
                    return Err(parent_gone("its parent was removed meanwhile"));
                }
                None => return Err(parent_gone("its parent was removed meanwhile")),
                Some(Standing::Undecided | Standing::Unknown) => {}
            }
        }
    }

    /// Becomes the one fenced writer who may commit to the latest id that it
    /// expects. Fences of one id form a chain; who adds to it has first
    /// decided that all holders before have committed, which the last look
    /// shows, or never will.
    async fn fence(&self, life: &Life, commit: &Commit, expected: Option<&Arc<str>>) -> Result<()> {
        let namespace = names::hex(&commit.key.namespace);
        // No id is empty, so its hex is free to mean none.
        let id = expected.map(|id| names::hex(id)).unwrap_or_default();
        for k in 0.. {
            let link = names::sorted(k);
            let name = life.name(format!("fence/{namespace}/{id}/{link}"));
            if self.map.create(&name, Object::Fence(commit.pack)).await? {
                break;
            }
            match self.map.get(&name).await {
                Some(Object::Fence(holder)) if holder == commit.pack => break,
                Some(Object::Fence(holder)) => {
                    self.decide_fence(life, holder, false).await?;
                }
                _ => return Err(conflict("the thread was deleted")),
            }
        }
        let view = self.load(life).await?;
        if let Err(error) = expect(&view, commit, expected) {
            self.decide_fence(life, commit.pack, false).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Decides whether a fenced pack counts, unless that is decided; and says
    /// whether it does.
    pub(super) async fn decide_fence(
        &self,
        life: &Life,
        pack: PackId,
        committed: bool,
    ) -> Result<bool> {
        let name = life.name(format!("decision/{pack}"));
        if self
            .map
            .create(&name, Object::Decision { committed })
            .await?
        {
            return Ok(committed);
        }
        let decided = self.map.get(&name).await;
        Ok(matches!(
            decided,
            Some(Object::Decision { committed: true })
        ))
    }
}

fn pack_of(commit: Commit, view: &View) -> Pack {
    let replaced = view.current(&commit.key).map(|(_, pack)| pack);
    let from = match commit.base {
        Base::Root { .. } => Vec::new(),
        Base::Borrow { from, .. } => from.into_iter().map(|parent| parent.pack).collect(),
    };
    Pack {
        rank: view.next_rank(&commit.key),
        lineage: replaced.map_or(commit.pack, |pack| pack.lineage),
        index: RecordIndex {
            parent: replaced.map_or(commit.index.parent, |pack| pack.index.parent.clone()),
            ..commit.index
        },
        key: commit.key,
        body: commit.body,
        chunks: commit.chunks,
        from,
        fenced: commit.expect_latest.is_some(),
    }
}

fn expect(view: &View, commit: &Commit, expected: Option<&Arc<str>>) -> Result<()> {
    let latest = view.latest(&commit.key.namespace);
    if latest == expected {
        return Ok(());
    }
    let found = latest.map_or("none".into(), |id| quote(id));
    Err(conflict(&format!(
        "the latest checkpoint is not as expected but {found}"
    )))
}

fn committed(incarnation: chunkpoint_core::backend::Incarnation) -> Committed {
    Committed {
        incarnation,
        locator: 0,
    }
}

fn parent_gone(message: &str) -> Error {
    Error::new(ErrorKind::ParentGone, message)
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}
