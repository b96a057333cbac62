//! Random operations on a backend and in memory have the same results, whatever is
//! reopened or read through old locators in between.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{
    Alter, Base, Change, CheckpointBackend, ChunkName, Commit, Committed, Detail, Incarnation,
    ListCondemned, ListRecords, PackId, PendingWrite, Pick, PutWrites, Reclaim, RecordRef,
    RecordRow,
};
use chunkpoint_core::memory::MemoryBackend;
use futures::TryStreamExt;

use super::Fixture;
use super::support::{Stored, fresh, key, listing, pack_id, root};
use crate::deterministic::Rng;
use crate::seeded::seeds;

/// Does so many random operations on a fresh store, of the seed that the variable
/// `CHUNKPOINT_BACKEND_SEED` names; else of as many seeds as `CHUNKPOINT_SEEDS` says, or
/// `count`. Each seed has a store of its own, which `ended` is given afterwards.
///
/// For backends that check parents in their atomic step, as memory does, and have the same
/// packs condemned at any time.
pub async fn compare_with_memory<F: Fixture>(
    count: u64,
    operations: usize,
    fixture: impl Fn() -> F,
    mut ended: impl FnMut(&F),
) {
    for seed in seeds("CHUNKPOINT_BACKEND_SEED", "CHUNKPOINT_SEEDS", count) {
        println!("seed {seed}");
        let fixture = fixture();
        let mut model = Model::new(&fixture, seed).await;
        for _ in 0..operations {
            model.step().await;
        }
        model.check_all().await;
        model.backend.close().await.unwrap();
        ended(&fixture);
        fixture.teardown().await;
    }
}

/// A UUID that sorts by `n`.
fn uuid(n: u64) -> String {
    format!(
        "{:08x}-{:04x}-7000-8000-{:012x}",
        n >> 16,
        n & 0xffff,
        n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff_ffff
    )
}

const THREAD: &str = "t";

const NAMESPACES: [&str; 3] = ["", "child:1", "child:2"];

struct Model<'a> {
    fixture: &'a dyn Fixture,
    backend: Arc<dyn CheckpointBackend>,
    memory: MemoryBackend,
    rng: Rng,
    clock: u64,
    ids: u64,
    incarnation: Option<Incarnation>,
    /// Everything that was ever committed, by pack, with its first locator.
    packs: HashMap<PackId, (Commit, u64)>,
}

async fn everything(backend: &dyn CheckpointBackend) -> Vec<RecordRow> {
    let query = ListRecords {
        hidden: true,
        detail: Detail::Writes,
        ..listing(THREAD)
    };
    let rows = backend.list(query).await.unwrap();
    let mut rows: Vec<RecordRow> = rows.try_collect().await.unwrap();
    rows.iter_mut().for_each(normalize);
    rows
}

fn normalize(row: &mut RecordRow) {
    row.locator = 0;
    row.writes
        .sort_by(|a, b| (&a.task_id, a.idx).cmp(&(&b.task_id, b.idx)));
}

impl<'a> Model<'a> {
    async fn new(fixture: &'a dyn Fixture, seed: u64) -> Self {
        Self {
            backend: fixture.open().await,
            fixture,
            memory: MemoryBackend::new(),
            rng: Rng::new(seed),
            clock: 1_700_000_000_000,
            ids: 1000,
            incarnation: None,
            packs: HashMap::new(),
        }
    }

    fn any_id(&mut self) -> String {
        match self.rng.below(10) {
            // Mostly the next, sometimes one from before or in between.
            0 => uuid(self.rng.below(self.ids.max(2)) | 1),
            1 => uuid(self.ids - 2 * self.rng.below(20)),
            _ => {
                self.ids += 2;
                uuid(self.ids)
            }
        }
    }

    async fn any_record(&mut self) -> Option<RecordRef> {
        let rows = everything(&self.memory).await;
        if rows.is_empty() {
            return None;
        }
        // The oldest, the newest, or any.
        let at = match self.rng.below(3) {
            0 => rows.len() - 1,
            1 => 0,
            _ => self.rng.below(rows.len() as u64) as usize,
        };
        Some(rows[at].record.clone())
    }

    async fn step(&mut self) {
        self.clock += self.rng.below(50);
        match self.rng.below(100) {
            0..55 => self.commit().await,
            55..70 => self.alter().await,
            70..82 => self.writes().await,
            82..85 => self.reclaim().await,
            85 => {
                if self.backend.capabilities().persistent {
                    self.backend.close().await.unwrap();
                    self.backend = self.fixture.open().await;
                }
            }
            86 => {
                // Another process does the next things.
                if self.backend.capabilities().shared {
                    self.backend = self.fixture.open().await;
                }
            }
            87..90 => self.check_page().await,
            90..98 => self.check_one().await,
            _ => self.check_all().await,
        }
    }

    async fn commit(&mut self) {
        let id = self.any_id();
        let namespace = NAMESPACES[self.rng.below(4).saturating_sub(1) as usize];
        let len = self.rng.below(1500) as usize;
        let chunks = (0..self.rng.below(4))
            .map(|_| {
                let len = self.rng.below(600) as usize;
                self.rng.bytes(len).into()
            })
            .collect();
        let mut commit = root(THREAD, &id);
        commit.body = self.rng.bytes(len).into();
        commit.chunks = chunks;
        commit.key = key(namespace, &id);
        commit.index.time_ms = self.clock;
        commit.index.delta = self.rng.below(2) == 0;
        if self.rng.below(3) == 0 {
            commit.index.run_id = Some(uuid(self.rng.below(5)).into());
        }
        if let Some(parent) = self.any_record().await {
            commit.index.parent = Some(parent.key.id.clone());
            if let Some(incarnation) = self.incarnation {
                let mut from = vec![parent];
                if self.rng.below(10) == 0 {
                    from[0].pack = pack_id();
                }
                commit.base = Base::Borrow { incarnation, from };
            }
        }
        if self.rng.below(5) == 0 {
            let latest = [Pick::Latest {
                namespace: namespace.into(),
            }];
            let latest = self
                .memory
                .get(THREAD, &latest, Detail::Keys)
                .await
                .unwrap()
                .remove(0);
            let latest = latest.map(|row| row.record.key.id);
            commit.expect_latest = Some(if self.rng.below(3) == 0 { None } else { latest });
        }
        let repeats = if self.rng.below(6) == 0 { 2 } else { 1 };
        for _ in 0..repeats {
            let found = self.backend.commit(commit.clone()).await;
            let memory = self.memory.commit(commit.clone()).await;
            match (found, memory) {
                (Ok(found), Ok(memory)) => {
                    assert_eq!(found.incarnation, memory.incarnation);
                    self.incarnation = Some(found.incarnation);
                    self.packs
                        .entry(commit.pack)
                        .or_insert((commit.clone(), found.locator));
                }
                (Err(found), Err(memory)) => assert_eq!(found.kind(), memory.kind()),
                (found, memory) => panic!("{found:?} is not {memory:?}"),
            }
        }
    }

    async fn alter(&mut self) {
        let Some(incarnation) = self.incarnation else {
            return;
        };
        let mut changes = Vec::new();
        // Now and then many go at once, so that compacting pays.
        let most = if self.rng.below(12) == 0 { 80 } else { 3 };
        for _ in 0..=self.rng.below(most) {
            let Some(mut record) = self.any_record().await else {
                return;
            };
            if self.rng.below(20) == 0 {
                record.pack = pack_id();
            }
            let change = match self.rng.below(8) {
                0 => Change::Hide,
                1 => Change::Pin(true),
                2 => Change::Pin(false),
                _ => Change::Remove,
            };
            changes.push((record, change));
        }
        let alter = Alter {
            thread: THREAD.into(),
            incarnation,
            time_ms: self.clock,
            changes,
        };
        let found = self.backend.alter(alter.clone()).await.unwrap();
        let memory = self.memory.alter(alter.clone()).await.unwrap();
        assert_eq!(found, memory, "{alter:?}");
    }

    async fn writes(&mut self) {
        let id = match self.any_record().await {
            Some(record) if self.rng.below(5) != 0 => record.key,
            _ => key(NAMESPACES[self.rng.below(3) as usize], &uuid(self.ids + 2)),
        };
        let writes = (0..self.rng.below(3))
            .map(|n| PendingWrite {
                task_id: uuid(self.rng.below(3)).into(),
                task_path: "~".into(),
                idx: n as i32 - 1,
                channel: "c".into(),
                value: self.rng.bytes(9).into(),
                replace: self.rng.below(2) == 0,
            })
            .collect();
        let put = PutWrites {
            thread: THREAD.into(),
            key: id,
            write_id: pack_id(),
            fresh: fresh(),
            time_ms: self.clock,
            writes,
        };
        for _ in 0..=self.rng.below(2) {
            self.backend.put_writes(put.clone()).await.unwrap();
            self.memory.put_writes(put.clone()).await.unwrap();
        }
        self.incarnation = self.memory.incarnation(THREAD).await.unwrap();
    }

    async fn reclaim(&mut self) {
        let Some(incarnation) = self.incarnation else {
            return;
        };
        let before_ms = self.clock - self.rng.below(200);
        let query = ListCondemned {
            thread: THREAD.into(),
            before_ms,
            after: None,
            limit: 1000,
        };
        let found = self.backend.condemned(query.clone()).await.unwrap();
        let memory = self.memory.condemned(query).await.unwrap();
        assert_eq!(found, memory);
        let mut dead = Vec::new();
        for pack in memory.map(|condemned| condemned.packs).unwrap_or_default() {
            let part = self.rng.below(3);
            let ordinals: Vec<u32> = pack
                .chunks
                .iter()
                .copied()
                .filter(|n| u64::from(*n) != part)
                .collect();
            dead.push((pack.pack, ordinals));
        }
        let reclaim = Reclaim {
            thread: THREAD.into(),
            incarnation,
            before_ms,
            dead,
        };
        self.backend.reclaim(reclaim.clone()).await.unwrap();
        self.memory.reclaim(reclaim).await.unwrap();
    }

    async fn check_page(&mut self) {
        let namespace = match self.rng.below(4) {
            3 => None,
            n => Some(NAMESPACES[n as usize].into()),
        };
        let query = ListRecords {
            namespace,
            before: Some(uuid(self.rng.below(self.ids)).into()),
            limit: Some(self.rng.below(30) as usize),
            hidden: self.rng.below(2) == 0,
            detail: Detail::Writes,
            ..listing(THREAD)
        };
        let found: Vec<_> = self
            .backend
            .list(query.clone())
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let memory: Vec<_> = self
            .memory
            .list(query)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        same_rows(found, memory);
    }

    async fn check_one(&mut self) {
        let mut picks: Vec<Pick> = NAMESPACES
            .iter()
            .map(|namespace| Pick::Latest {
                namespace: (*namespace).into(),
            })
            .collect();
        for _ in 0..3 {
            let id = uuid(1000 + self.rng.below(self.ids - 900));
            picks.push(Pick::At(key(NAMESPACES[self.rng.below(3) as usize], &id)));
        }
        if let Some(record) = self.any_record().await {
            picks.push(Pick::At(record.key));
        }
        let found = self
            .backend
            .get(THREAD, &picks, Detail::Writes)
            .await
            .unwrap();
        let memory = self
            .memory
            .get(THREAD, &picks, Detail::Writes)
            .await
            .unwrap();
        same_rows(
            found.into_iter().flatten().collect(),
            memory.into_iter().flatten().collect(),
        );
    }

    async fn check_all(&mut self) {
        same_rows(
            everything(&*self.backend).await,
            everything(&self.memory).await,
        );
        let Some(incarnation) = self.incarnation else {
            return;
        };
        let mut wanted: Vec<ChunkName> = Vec::new();
        for (commit, locator) in self.packs.values() {
            let committed = Committed {
                incarnation,
                locator: *locator,
            };
            wanted.extend(Stored::new(commit.clone(), committed).names());
        }
        let found = self
            .backend
            .chunks(THREAD, incarnation, &wanted)
            .await
            .unwrap();
        let memory = self
            .memory
            .chunks(THREAD, incarnation, &wanted)
            .await
            .unwrap();
        for ((name, found), memory) in wanted.iter().zip(found).zip(memory) {
            let stored: &Bytes = &self.packs[&name.pack].0.chunks[name.ordinal as usize];
            assert_eq!(found, memory, "{name:?}");
            assert!(found.is_none_or(|found| found == *stored));
        }
    }
}

fn same_rows(mut found: Vec<RecordRow>, mut memory: Vec<RecordRow>) {
    found.iter_mut().for_each(normalize);
    memory.iter_mut().for_each(normalize);
    for (found, memory) in found.iter().zip(&memory) {
        assert_eq!(found, memory);
    }
    assert_eq!(found.len(), memory.len());
}
