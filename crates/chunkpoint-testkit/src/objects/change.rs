//! The protocols of removing, hiding and pinning: want, look, decide.

use std::collections::BTreeSet;

use chunkpoint_core::backend::{Alter, Altered, Change, PackId, RecordKey, RecordRef};
use chunkpoint_core::{Error, ErrorKind, Result};

use super::ObjectBackend;
use super::life::Life;
use super::map::{Object, Verdict};
use super::names;
use super::view::View;

impl ObjectBackend {
    pub(super) async fn alter_all(&self, alter: Alter) -> Result<Vec<Altered>> {
        let gone = vec![Altered::Gone; alter.changes.len()];
        let life = self.current(&alter.thread).await?;
        let Some(life) = life.filter(|life| life.incarnation == alter.incarnation) else {
            return Ok(gone);
        };
        let mut altered = Vec::with_capacity(gone.len());
        let mut view = self.load(&life).await?;
        let mut touched: BTreeSet<RecordKey> = BTreeSet::new();
        for (record, change) in alter.changes {
            if !touched.insert(record.key.clone()) {
                view = self.load(&life).await?;
                touched = BTreeSet::from([record.key.clone()]);
            }
            altered.push(
                self.alter_one(&life, &view, &record, change, alter.time_ms)
                    .await?,
            );
        }
        // Settles what was removed, so that the next reader need not.
        self.load(&life).await?;
        Ok(altered)
    }

    async fn alter_one(
        &self,
        life: &Life,
        view: &View,
        record: &RecordRef,
        change: Change,
        time_ms: u64,
    ) -> Result<Altered> {
        let current = view.current(&record.key);
        let Some((_, pack)) = current.filter(|(pack, _)| *pack == record.pack) else {
            return Ok(Altered::Gone);
        };
        let (id, lineage) = (record.pack, pack.lineage);
        match change {
            Change::Pin(true) => self.pin(life, id, lineage).await,
            Change::Pin(false) => {
                self.put_pin(life, lineage, false).await;
                Ok(Altered::Done)
            }
            Change::Hide if view.hidden(id) && !view.pinned(lineage) => Ok(Altered::Done),
            Change::Remove => {
                let writes = view.write_names(&record.key);
                let want = Verdict::Removed { time_ms, writes };
                self.unless_pinned(life, id, lineage, want).await
            }
            Change::Hide => self.unless_pinned(life, id, lineage, Verdict::Hidden).await,
        }
    }

    /// Says what it wants, looks for a pin, and decides. A pin does the same
    /// from the other side, so that one of the two sees the other.
    async fn unless_pinned(
        &self,
        life: &Life,
        id: PackId,
        lineage: PackId,
        want: Verdict,
    ) -> Result<Altered> {
        if self.is_pinned(life, lineage).await {
            return Ok(Altered::Pinned);
        }
        let unique = self.unique();
        let name = life.mark(id, format!("want/{unique}"));
        self.map.put(&name, Object::Flag).await;
        let pinned = self.is_pinned(life, lineage).await;
        if pinned && !self.conditional {
            self.map.delete(&name).await;
            return Ok(Altered::Pinned);
        }
        let verdict = if pinned { Verdict::Kept } else { want };
        match self.decide(life, id, &unique, verdict).await? {
            Verdict::Kept => Ok(Altered::Pinned),
            Verdict::Removed { .. } | Verdict::Hidden => Ok(Altered::Done),
        }
    }

    /// Decides what becomes of a want, unless that is decided; and says what it is.
    async fn decide(
        &self,
        life: &Life,
        id: PackId,
        unique: &str,
        verdict: Verdict,
    ) -> Result<Verdict> {
        let name = life.mark(id, format!("verdict/{unique}"));
        if !self.conditional {
            self.map.put(&name, Object::Verdict(verdict.clone())).await;
            return Ok(verdict);
        }
        if self
            .map
            .create(&name, Object::Verdict(verdict.clone()))
            .await?
        {
            return Ok(verdict);
        }
        match self.map.get(&name).await {
            Some(Object::Verdict(decided)) => Ok(decided),
            // The pack went, marks and all.
            _ => Ok(Verdict::Removed {
                time_ms: 0,
                writes: Vec::new(),
            }),
        }
    }

    /// Pins, then decides against every want that is still open.
    ///
    /// Without create-if-absent it cannot know whether such a want is about
    /// to happen or was given up, and takes the pin back.
    async fn pin(&self, life: &Life, id: PackId, lineage: PackId) -> Result<Altered> {
        let name = self.put_pin(life, lineage, true).await;
        let mut gone = false;
        for want in self.open_wants(life, id).await {
            if !self.conditional {
                self.map.delete(&name).await;
                let message = "a removal of the checkpoint is under way, or was broken off";
                return Err(Error::new(ErrorKind::Unavailable, message).operation("alter"));
            }
            let decided = self.decide(life, id, &want, Verdict::Kept).await?;
            gone |= matches!(decided, Verdict::Removed { .. });
        }
        gone |= self.load(life).await?.is_gone(id);
        if gone {
            self.map.delete(&name).await;
            return Ok(Altered::Gone);
        }
        Ok(Altered::Done)
    }

    /// The wants of a pack that have no verdict.
    async fn open_wants(&self, life: &Life, id: PackId) -> Vec<String> {
        let last = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        let wants = self.list_in(life, &format!("mark/{id}/want/")).await;
        let verdicts = self.list_in(life, &format!("mark/{id}/verdict/")).await;
        let verdicts: BTreeSet<_> = verdicts.iter().map(last).collect();
        let wants = wants.iter().map(last);
        wants.filter(|want| !verdicts.contains(want)).collect()
    }

    async fn put_pin(&self, life: &Life, lineage: PackId, pinned: bool) -> String {
        let names = self.list_in(life, &format!("pin/{lineage}/")).await;
        let last = names.iter().map(|name| names::number(name)).max();
        let seq = names::sorted(last.map_or(1, |last| last + 1));
        let name = life.name(format!("pin/{lineage}/{seq}-{}", self.unique()));
        self.map.put(&name, Object::Pin(pinned)).await;
        name
    }

    async fn is_pinned(&self, life: &Life, lineage: PackId) -> bool {
        let names = self.list_in(life, &format!("pin/{lineage}/")).await;
        // Over several prefixes, the names' last parts decide.
        let by_call = |name: &&String| name.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(last) = names.iter().max_by_key(by_call) else {
            return false;
        };
        matches!(self.map.get(last).await, Some(Object::Pin(true)))
    }
}

impl View {
    /// Whether a pack is removed, or not there any more at all.
    fn is_gone(&self, id: PackId) -> bool {
        self.removed(id).is_some() || !self.is_there(id)
    }
}
