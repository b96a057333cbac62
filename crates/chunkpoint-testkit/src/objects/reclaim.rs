//! The protocols of condemning and reclaiming: settle who stays, then delete.

use std::collections::BTreeSet;
use std::sync::Arc;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Condemned, CondemnedPack, ListCondemned, PackId, Reclaim, Reclaimed,
};

use super::ObjectBackend;
use super::life::Life;
use super::map::{Object, Pack};
use super::names;
use super::view::{Standing, View};

impl ObjectBackend {
    /// Decides for each of these removed packs, once, which packs were
    /// effective after it was removed.
    ///
    /// A commit that was acknowledged without seeing the removal is among
    /// them, for it became effective before its check, the check came before
    /// the removal, and this scan comes after. One that is not among them
    /// finds that out in its check, or has crashed; it never counts.
    pub(super) async fn settle(&self, life: &Life, removed: &[PackId]) -> Result<()> {
        let mut there = BTreeSet::new();
        for name in self.list_in(life, "pack/").await {
            let (Some(id), Some(pack)) = (last_pack(&name), self.pack(&name).await) else {
                continue;
            };
            if !pack.fenced || self.is_committed(life, id).await {
                there.insert(id);
            }
        }
        let there = Arc::new(there);
        for pack in removed {
            let last = Object::Final(there.clone());
            self.map.create(&life.mark(*pack, "final"), last).await?;
        }
        Ok(())
    }

    pub(super) async fn condemned_packs(&self, query: ListCondemned) -> Result<Option<Condemned>> {
        let Some(life) = self.current(&query.thread).await? else {
            return Ok(None);
        };
        let view = self.tidied(&life, query.before_ms).await?;
        let mut packs = Vec::new();
        for (pack, object) in view.effective() {
            let due = view.condemned(pack).is_some_and(|at| at <= query.before_ms);
            let chunks: Vec<u32> = left(&view, pack, object).collect();
            if due && !chunks.is_empty() && query.after.is_none_or(|after| pack > after) {
                packs.push(CondemnedPack { pack, chunks });
            }
        }
        packs.sort_by_key(|pack| pack.pack);
        packs.truncate(query.limit);
        Ok(Some(Condemned {
            incarnation: life.incarnation,
            packs,
        }))
    }

    /// Reads a life after giving up what is half done: packs that never count
    /// are deleted, fences that nobody has decided for long are decided.
    async fn tidied(&self, life: &Life, before_ms: u64) -> Result<View> {
        loop {
            let view = self.load(life).await?;
            let mut tidy = true;
            for (id, pack) in view.packs() {
                match view.standing(id) {
                    Some(Standing::Excluded) => {
                        self.map.delete(&life.name(format!("pack/{id}"))).await;
                    }
                    // Whoever comes back to it finds that it was given up.
                    Some(Standing::Undecided) if pack.index.time_ms <= before_ms => {
                        self.decide_fence(life, id, false).await?;
                    }
                    _ => continue,
                }
                tidy = false;
            }
            if tidy {
                return Ok(view);
            }
        }
    }

    pub(super) async fn reclaim_chunks(&self, reclaim: Reclaim) -> Result<Reclaimed> {
        let life = self.current(&reclaim.thread).await?;
        let Some(life) = life.filter(|life| life.incarnation == reclaim.incarnation) else {
            return Ok(Reclaimed::default());
        };
        let view = self.load(&life).await?;
        let before = view.bytes();
        for (id, ordinals) in &reclaim.dead {
            if self.may_lose_chunks(&view, *id, reclaim.before_ms) {
                let gone = Object::Gone(ordinals.iter().copied().collect());
                let name = life.mark(*id, format!("gone/{}", self.unique()));
                self.map.put(&name, gone).await;
            }
        }
        let view = self.load(&life).await?;
        let empty = view.effective().filter(|(id, pack)| {
            self.may_lose_chunks(&view, *id, reclaim.before_ms)
                && left(&view, *id, pack).next().is_none()
        });
        if self.conditional {
            for (id, _) in empty {
                self.destroy(&life, &view, id).await;
            }
            self.sweep(&life, &view).await;
        }
        self.drop_writes(&view, reclaim.before_ms).await;
        self.sweep_ended(&reclaim.thread).await?;
        let live_bytes = self.load(&life).await?.bytes();
        Ok(Reclaimed {
            freed_bytes: before.saturating_sub(live_bytes),
            live_bytes,
        })
    }

    /// Deletes a removed pack that nobody needs a chunk of.
    ///
    /// Its object is the switch: while it is there, its final says which
    /// children count; once it is not, what was written down at each of them.
    /// Its own marks go last, when nobody asks for them any more.
    async fn destroy(&self, life: &Life, view: &View, id: PackId) {
        let counts = |child: PackId| view.standing(child) == Some(Standing::Counts);
        for (child, object) in view.packs() {
            if object.from.contains(&id) && counts(child) {
                let name = life.mark(child, format!("adopted/{id}"));
                self.map.put(&name, Object::Flag).await;
            }
        }
        for write in view.dead_writes() {
            self.map.delete(write).await;
        }
        self.map.delete(&life.name(format!("pack/{id}"))).await;
        self.map.delete(&life.name(format!("decision/{id}"))).await;
    }

    /// Deletes marks of packs that are gone, and pins of lineages that are.
    async fn sweep(&self, life: &Life, view: &View) {
        // Listed after the marks of the view: a pack comes before its marks.
        let packs = self.list_in(life, "pack/").await;
        let packs: BTreeSet<_> = packs.iter().filter_map(|name| last_pack(name)).collect();
        for id in view.marked().filter(|id| !packs.contains(id)) {
            for name in self.list_in(life, &format!("mark/{id}/")).await {
                self.map.delete(&name).await;
            }
        }
        let lineages: BTreeSet<_> = view.packs().map(|(_, pack)| pack.lineage).collect();
        let arrived = packs.iter().any(|id| view.pack(*id).is_none());
        for lineage in view.pinned_lineages() {
            // What arrived may be of any lineage: wait for the next time.
            if !arrived && !lineages.contains(&lineage) {
                for name in self.list_in(life, &format!("pin/{lineage}/")).await {
                    self.map.delete(&name).await;
                }
            }
        }
    }

    /// Whether a pack is condemned and settled.
    fn may_lose_chunks(&self, view: &View, id: PackId, before_ms: u64) -> bool {
        if self.conditional {
            let settled = view.removed(id).filter(|_| !view.is_open(id));
            return settled.is_some_and(|at| at <= before_ms);
        }
        // Nothing is lost: it is only written off.
        view.condemned(id).is_some_and(|at| at <= before_ms)
    }

    async fn is_committed(&self, life: &Life, id: PackId) -> bool {
        let decision = self.map.get(&life.name(format!("decision/{id}"))).await;
        matches!(decision, Some(Object::Decision { committed: true }))
    }

    /// Deletes writes that went with their record, and old ones that have none.
    async fn drop_writes(&self, view: &View, before_ms: u64) {
        for (key, name, writes) in view.live_writes() {
            if view.current(key).is_none() && writes.time_ms <= before_ms {
                self.map.delete(name).await;
            }
        }
        for name in view.dead_writes() {
            self.map.delete(name).await;
        }
    }
}

/// The ordinals of the chunks that a pack still has.
fn left<'a>(view: &'a View, id: PackId, pack: &'a Pack) -> impl Iterator<Item = u32> + 'a {
    let ordinals = (0..).zip(&pack.chunks).map(|(ordinal, _)| ordinal);
    ordinals.filter(move |ordinal| !view.gone(id).contains(ordinal))
}

fn last_pack(name: &str) -> Option<PackId> {
    names::parse_pack(name.rsplit('/').next()?)
}
