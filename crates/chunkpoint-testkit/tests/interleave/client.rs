//! One client: does what its seed says, and writes into the ledger what it
//! begins and what is acknowledged.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{
    Alter, Altered, Base, Change, CheckpointBackend, Commit, Incarnation, ListCondemned, PackId,
    Reclaim, RecordIndex, RecordKey, RecordRow,
};
use chunkpoint_testkit::objects::ObjectBackend;
use futures::TryStreamExt;

use crate::ledger::{body, content, everything, needs};
use crate::scene::Duty;
use crate::{THREADS, World};

pub(crate) struct Client {
    world: Rc<World>,
    backend: ObjectBackend,
    state: u64,
}

/// A commit that is under way. If its client crashes, another may repeat it.
struct UnderWay<'a> {
    world: &'a World,
    commit: Option<Commit>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(commit) = self.commit.take() {
            self.world.ledger.borrow_mut().crashed.push(commit);
        }
    }
}

impl Client {
    pub(crate) fn new(world: Rc<World>, seed: u64) -> Self {
        Self {
            backend: ObjectBackend::new(world.map.clone()),
            world,
            state: seed,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % n.max(1)
    }

    pub(crate) async fn run(mut self, duties: Vec<Duty>) {
        for duty in duties {
            // Mostly in one thread, so that clients meet.
            let thread = THREADS[usize::from(self.below(8) == 0)];
            match duty {
                Duty::Root => self.commit_root(thread).await,
                Duty::Reput => self.reput(thread).await,
                Duty::Child => self.commit_child(thread, false).await,
                Duty::Fenced => self.commit_child(thread, true).await,
                Duty::Maintain => self.maintain(thread).await,
                Duty::DeleteThread => self.delete(thread).await,
                Duty::CopyThread => self.copy().await,
                Duty::Repeat => self.repeat_crashed().await,
                Duty::Remove
                | Duty::RemoveNewest
                | Duty::RemoveOldest
                | Duty::Hide
                | Duty::Pin
                | Duty::Unpin => self.change(thread, duty).await,
            }
        }
    }

    async fn rows(&self, thread: &str) -> Vec<RecordRow> {
        let rows = self.backend.list(everything(thread)).await.unwrap();
        rows.try_collect().await.unwrap()
    }

    async fn pick(&mut self, thread: &str) -> Option<RecordRow> {
        let mut rows = self.rows(thread).await;
        if rows.is_empty() {
            return None;
        }
        // Newest first: most of what is done is done to the newest.
        let n = self.below(rows.len()).min(self.below(rows.len()));
        Some(rows.swap_remove(n))
    }

    fn new_commit(&mut self, thread: &'static str, base: Base, id: String) -> Commit {
        let pack = PackId(self.world.ledger.borrow_mut().unique());
        let chunks = 1 + self.below(2) as u32;
        Commit {
            thread: thread.into(),
            key: RecordKey {
                namespace: "".into(),
                id: id.into(),
            },
            pack,
            base,
            expect_latest: None,
            index: RecordIndex::default(),
            body: body(&(0..chunks).map(|n| (pack, n)).collect::<Vec<_>>()),
            chunks: (0..chunks).map(|n| content((pack, n))).collect(),
            metadata: Arc::default(),
        }
    }

    async fn commit_root(&mut self, thread: &'static str) {
        let id = format!("{}", self.below(4));
        self.commit_root_as(thread, id).await;
    }

    async fn commit_root_as(&mut self, thread: &'static str, id: String) {
        let fresh = Incarnation(self.world.ledger.borrow_mut().unique());
        let commit = self.new_commit(thread, Base::Root { fresh }, id);
        self.commit(thread, commit).await;
    }

    async fn reput(&mut self, thread: &'static str) {
        let newest = self.rows(thread).await.into_iter().next();
        let id = newest.map_or("0".into(), |row| row.record.key.id.to_string());
        self.commit_root_as(thread, id).await;
    }

    async fn commit_child(&mut self, thread: &'static str, fenced: bool) {
        let Some(parent) = self.pick(thread).await else {
            return self.commit_root(thread).await;
        };
        let base = Base::Borrow {
            incarnation: parent.incarnation,
            from: vec![parent.record.clone()],
        };
        let parent_id = parent.record.key.id.to_string();
        let id = match self.below(12) {
            0 => parent_id.clone(),
            1 => format!("{}", self.below(4)),
            _ => format!("{parent_id}+"),
        };
        let mut commit = self.new_commit(thread, base, id);
        // Some of what the parent needs, which may be of packs long removed.
        let mut needed: Vec<_> = needs(&parent.body)
            .into_iter()
            .filter(|_| self.below(8) > 0)
            .collect();
        needed.extend(needs(&commit.body));
        commit.body = body(&needed);
        commit.index.parent = Some(parent.record.key.id.clone());
        if fenced && self.world.map.is_conditional() {
            // Sometimes too young to be given up by who maintains.
            commit.index.time_ms = self.below(2) as u64;
            commit.expect_latest = Some(Some(parent.record.key.id));
        }
        self.commit(thread, commit).await;
    }

    async fn commit(&mut self, thread: &'static str, commit: Commit) {
        let (key, pack) = (commit.key.clone(), commit.pack);
        self.world
            .ledger
            .borrow_mut()
            .commit_begins(thread, &key, pack);
        self.world.trace(|| {
            format!(
                "{}: commits {key:?} {pack} on {:?}",
                self.backend, commit.base
            )
        });
        let expected = commit.expect_latest.clone();
        let result = {
            let mut under_way = UnderWay {
                world: &self.world,
                commit: Some(commit.clone()),
            };
            let result = self.backend.commit(commit).await;
            under_way.commit = None;
            result
        };
        self.world
            .trace(|| format!("{}: {pack} gave {result:?}", self.backend));
        let mut ledger = self.world.ledger.borrow_mut();
        match result {
            Ok(committed) => {
                let expected = expected.as_ref().map(Option::as_deref);
                ledger.commit_succeeds(thread, &key, (committed.incarnation, pack), expected);
            }
            Err(error) => {
                let kinds = [ErrorKind::ParentGone, ErrorKind::Conflict];
                assert!(kinds.contains(&error.kind()), "{error}");
                ledger.commit_fails(thread, &key, pack);
            }
        }
    }

    async fn repeat_crashed(&mut self) {
        let commit = self.world.ledger.borrow_mut().crashed.pop();
        let Some(commit) = commit else {
            return;
        };
        let thread = THREADS
            .into_iter()
            .find(|thread| **thread == *commit.thread);
        self.commit(thread.unwrap(), commit).await;
    }

    async fn change(&mut self, thread: &'static str, duty: Duty) {
        let row = match duty {
            Duty::RemoveNewest => self.rows(thread).await.into_iter().next(),
            Duty::RemoveOldest => self.rows(thread).await.pop(),
            _ => self.pick(thread).await,
        };
        let Some(row) = row else {
            return;
        };
        let place = (row.incarnation, row.record.pack);
        let change = match duty {
            Duty::Hide => Change::Hide,
            Duty::Pin => Change::Pin(true),
            Duty::Unpin => Change::Pin(false),
            _ => Change::Remove,
        };
        {
            let mut ledger = self.world.ledger.borrow_mut();
            match change {
                Change::Remove => ledger.removal_begins(place),
                Change::Pin(false) => ledger.unpin_begins(place.0, &row.record.key),
                Change::Hide => ledger.hide_begins(place),
                Change::Pin(true) => {}
            }
        }
        self.world
            .trace(|| format!("{}: {change:?} of {}", self.backend, place.1));
        let alter = Alter {
            thread: thread.into(),
            incarnation: row.incarnation,
            time_ms: 0,
            changes: vec![(row.record, change.clone())],
        };
        let altered = self.backend.alter(alter).await;
        self.world
            .trace(|| format!("{}: {duty:?} of {} gave {altered:?}", self.backend, place.1));
        let altered = match altered {
            Ok(altered) => altered,
            Err(error) => {
                let refused = error.kind() == ErrorKind::Unavailable;
                assert!(refused && !self.world.map.is_conditional(), "{error}");
                return;
            }
        };
        let mut ledger = self.world.ledger.borrow_mut();
        match (change, altered[0]) {
            (Change::Remove, Altered::Done) => ledger.removal_succeeds(place),
            (Change::Pin(true), Altered::Done) => ledger.pin_succeeds(place),
            _ => {}
        }
    }

    /// What an engine does: asks what is condemned, then works out what the
    /// records reach, then names the rest.
    async fn maintain(&mut self, thread: &str) {
        let query = ListCondemned {
            thread: thread.into(),
            before_ms: 0,
            after: None,
            limit: [1, 100][self.below(2)],
        };
        let Some(condemned) = self.backend.condemned(query).await.unwrap() else {
            return;
        };
        let mut reached = BTreeSet::new();
        for row in self.rows(thread).await {
            reached.extend(needs(&row.body));
        }
        let packs = condemned.packs.into_iter();
        let dead = packs.map(|pack| {
            let chunks = pack.chunks.into_iter();
            let dead = chunks.filter(|n| !reached.contains(&(pack.pack, *n)));
            (pack.pack, dead.collect())
        });
        let reclaim = Reclaim {
            thread: thread.into(),
            incarnation: condemned.incarnation,
            before_ms: 0,
            dead: dead.collect(),
        };
        self.world
            .trace(|| format!("{}: {reclaim:?}", self.backend));
        self.backend.reclaim(reclaim).await.unwrap();
        self.world
            .trace(|| format!("{}: has reclaimed", self.backend));
    }

    async fn delete(&mut self, thread: &str) {
        let Some(current) = self.backend.incarnation(thread).await.unwrap() else {
            return;
        };
        self.world.ledger.borrow_mut().delete_begins(current);
        self.world
            .trace(|| format!("{}: deletes {thread} {current}", self.backend));
        self.backend.delete_thread(thread, current).await.unwrap();
        self.world.ledger.borrow_mut().delete_succeeds(current);
    }

    async fn copy(&mut self) {
        let [target, source] = THREADS;
        let (source, target) = if self.below(2) == 0 {
            (source, target)
        } else {
            (target, source)
        };
        let fresh = Incarnation(self.world.ledger.borrow_mut().unique());
        let had = self.world.ledger.borrow_mut().copy_begins(source);
        self.world
            .trace(|| format!("{}: copies {source} to {target} {fresh}", self.backend));
        let meets = || {
            if !self.world.map.is_conditional() {
                let mut ledger = self.world.ledger.borrow_mut();
                ledger.copy_may_replace(source, target);
            }
        };
        meets();
        let result = self.backend.copy_thread(source, target, fresh).await;
        meets();
        self.world
            .trace(|| format!("{}: copy {fresh} gave {result:?}", self.backend));
        match result {
            // Without create-if-absent, the life it went to has another name.
            Ok(()) if self.world.map.is_conditional() => {
                self.world
                    .ledger
                    .borrow_mut()
                    .copy_succeeds(target, fresh, had);
            }
            Ok(()) => {}
            Err(error) => {
                let kinds = [ErrorKind::NotFound, ErrorKind::Conflict];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
        }
    }

    /// Maintains every thread.
    pub(crate) async fn maintain_all(mut self) {
        for thread in THREADS {
            self.maintain(thread).await;
        }
    }

    /// Commits to every thread, on its latest record: nothing that happened
    /// may block it.
    pub(crate) async fn extend_all(mut self) {
        for thread in THREADS {
            let rows = self.rows(thread).await;
            let Some(latest) = rows.into_iter().find(|row| !row.hidden) else {
                continue;
            };
            let base = Base::Borrow {
                incarnation: latest.incarnation,
                from: vec![latest.record.clone()],
            };
            let id = format!("{}+", latest.record.key.id);
            let mut commit = self.new_commit(thread, base, id);
            if self.world.map.is_conditional() {
                commit.expect_latest = Some(Some(latest.record.key.id));
            }
            let key = commit.key.clone();
            self.world
                .ledger
                .borrow_mut()
                .commit_begins(thread, &key, commit.pack);
            self.backend.commit(commit).await.unwrap();
        }
    }
}
