//! The long-term store against a simple model in memory: random changes through two
//! backends on one directory, with sweeps, compactions and openings in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use chunkpoint_core::backend::{ChunkName, PackId};
use chunkpoint_core::store_backend::*;
use chunkpoint_fs::FsBackend;
use futures::StreamExt;
use support::items::*;
use support::*;

const NAMESPACES: [&[&str]; 5] = [&["a"], &["a", "b"], &["a", "b", "c"], &["ab"], &["ü", "/x"]];

/// What the model knows of an item.
#[derive(Debug, Default, Clone)]
struct Known {
    row: Option<ItemRow>,
    deleted_ms: Option<u64>,
    remembered: Vec<(PackId, u64)>,
    packs: BTreeMap<PackId, (Vec<Bytes>, Option<u64>)>,
}

impl Known {
    fn live(&self, now: u64) -> Option<&ItemRow> {
        self.row.as_ref().filter(|row| !row.is_expired(now))
    }

    fn condemn(&mut self, kept: &[PackId], now: u64) {
        for id in self.row.iter().flat_map(|row| &row.packs) {
            if !kept.contains(id) {
                self.packs.get_mut(id).unwrap().1 = Some(now);
            }
        }
    }

    fn remember(&mut self, id: PackId, created: u64) {
        self.remembered.insert(0, (id, created));
        self.remembered.truncate(REMEMBERED);
    }

    fn holds(&self, expect: Expect, now: u64) -> bool {
        match expect {
            Expect::Any => true,
            Expect::Absent => self.live(now).is_none(),
            Expect::Version(version) => self.live(now).is_some_and(|row| row.version == version),
        }
    }

    fn apply(&mut self, change: &ItemChange) -> Changed {
        let id = match change {
            ItemChange::Put(put) => Some(put.row.version),
            ItemChange::Delete { write_id, .. } => Some(*write_id),
            ItemChange::Renew { .. } => None,
        };
        if let Some((_, created_ms)) = self.remembered.iter().find(|one| Some(one.0) == id) {
            return Changed::Done {
                created_ms: *created_ms,
            };
        }
        match change {
            ItemChange::Put(put) => {
                let now = put.row.updated_ms;
                let version = self.live(now).map(|row| row.version);
                let new = (!put.chunks.is_empty()).then_some(put.row.version);
                let there = |id: &PackId| Some(*id) == new || self.packs.contains_key(id);
                if !self.holds(put.expect, now) || !put.row.packs.iter().all(there) {
                    return Changed::Conflict(version);
                }
                let mut row = put.row.clone();
                row.created_ms = self.live(now).map_or(now, |row| row.created_ms);
                self.condemn(&row.packs, now);
                for id in &row.packs {
                    let chunks = || (put.chunks.clone(), None);
                    self.packs.entry(*id).or_insert_with(chunks).1 = None;
                }
                let created_ms = row.created_ms;
                self.remember(row.version, created_ms);
                self.row = Some(row);
                self.deleted_ms = None;
                Changed::Done { created_ms }
            }
            ItemChange::Delete { expect, now_ms, .. } => {
                if !self.holds(*expect, *now_ms) {
                    return Changed::Conflict(self.live(*now_ms).map(|row| row.version));
                }
                self.condemn(&[], *now_ms);
                self.row = None;
                self.deleted_ms = Some(*now_ms);
                self.remember(id.unwrap(), 0);
                Changed::Done { created_ms: 0 }
            }
            ItemChange::Renew {
                version,
                expires_ms,
                ..
            } => match &mut self.row {
                Some(row) if row.version == *version => {
                    row.expires_ms = Some(*expires_ms);
                    Changed::Done {
                        created_ms: row.created_ms,
                    }
                }
                row => Changed::Conflict(row.as_ref().map(|row| row.version)),
            },
        }
    }

    fn sweep(&mut self, before: u64, swept: &mut SweptItems) {
        if let Some(row) = self.row.take_if(|row| row.is_expired(before)) {
            swept.expired += 1;
            for id in &row.packs {
                self.packs.remove(id);
                swept.packs += 1;
            }
            self.remembered.clear();
        }
        if self.deleted_ms.take_if(|at| *at <= before).is_some() {
            self.remembered.clear();
        }
        let count = self.packs.len();
        self.packs
            .retain(|_, (_, condemned)| condemned.is_none_or(|at| at > before));
        swept.packs += (count - self.packs.len()) as u64;
    }
}

struct Model {
    rng: Rng,
    dir: tempfile::TempDir,
    backends: [FsBackend; 2],
    known: BTreeMap<ItemKey, Known>,
    /// What was done last, to be done again.
    last: Option<(ItemChange, Changed)>,
    now: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            rng: Rng(seed),
            backends: [open(dir.path()), open(dir.path())],
            dir,
            known: BTreeMap::new(),
            last: None,
            now: 1_000_000,
        }
    }

    fn backend(&mut self) -> FsBackend {
        self.backends[self.rng.below(2) as usize].clone()
    }

    fn key(&mut self) -> ItemKey {
        let labels = NAMESPACES[self.rng.below(5) as usize];
        // Some keys are prefixes of others.
        let n = self.rng.below(30);
        item(
            labels,
            &"k".repeat(n as usize % 4 + 1)
                .replace("kkk", &format!("{n}")),
        )
    }

    fn change(&mut self) -> ItemChange {
        let key = self.key();
        let known = self.known.get(&key).cloned().unwrap_or_default();
        let version = known.row.as_ref().map(|row| row.version);
        let expect = match self.rng.below(6) {
            0 => Expect::Absent,
            1 => Expect::Version(PackId(unique())),
            2 | 3 => version.map_or(Expect::Absent, Expect::Version),
            _ => Expect::Any,
        };
        match self.rng.below(10) {
            0 | 1 => ItemChange::Delete {
                key,
                write_id: PackId(unique()),
                expect,
                now_ms: self.now,
            },
            2 => ItemChange::Renew {
                key,
                version: version.unwrap_or(PackId(unique())),
                expires_ms: self.now + self.rng.below(2000),
            },
            _ => {
                let count = self.rng.below(8).saturating_sub(4);
                let chunks = (0..count)
                    .map(|_| {
                        let len = self.rng.below(9000) as usize;
                        self.rng.bytes(len)
                    })
                    .collect();
                let len = self.rng.below(1500) as usize;
                let mut put = put(key, self.now, self.rng.bytes(len), chunks);
                put.expect = expect;
                // Packs of before, there or not.
                if self.rng.below(2) == 0 {
                    let before = known.packs.keys().filter(|_| self.rng.below(2) == 0);
                    put.row.packs.extend(before);
                }
                if self.rng.below(20) == 0 {
                    put.row.packs.push(PackId(unique()));
                }
                if self.rng.below(3) == 0 {
                    put.row.ttl_ms = Some(500);
                    put.row.expires_ms = Some(self.now + self.rng.below(1000));
                }
                ItemChange::Put(Box::new(put))
            }
        }
    }

    async fn step(&mut self) {
        self.now += self.rng.below(20);
        let backend = self.backend();
        match self.rng.below(100) {
            0 => {
                let n = self.rng.below(2) as usize;
                self.backends[n] = open(self.dir.path());
            }
            1 | 2 => {
                let before = self.now - self.rng.below(1500);
                let limit = 1 + self.rng.below(40) as usize;
                let swept = sweep_all(&backend, before, limit).await;
                let mut expected = SweptItems::default();
                for known in self.known.values_mut() {
                    known.sweep(before, &mut expected);
                }
                assert_eq!(swept, expected);
            }
            3 => self.check_all().await,
            4..8 => {
                if let Some((change, changed)) = self.last.take() {
                    // It may have been swept since; then it would be made anew.
                    let known = self.known.get(change.key()).cloned().unwrap_or_default();
                    let id = match &change {
                        ItemChange::Put(put) => put.row.version,
                        ItemChange::Delete { write_id, .. } => *write_id,
                        ItemChange::Renew { .. } => return,
                    };
                    if known.remembered.iter().any(|(there, _)| *there == id) {
                        let again = support::items::change(&backend, change).await.unwrap();
                        assert_eq!(again, changed);
                    }
                }
            }
            8..20 => {
                let key = self.key();
                let expected = self.known.get(&key).and_then(|known| known.row.clone());
                assert_eq!(row(&backend, &key).await.unwrap(), expected);
            }
            _ => {
                let mut changes = Vec::new();
                for _ in 0..1 + self.rng.below(4) {
                    let change = self.change();
                    let same = |there: &ItemChange| there.key() == change.key();
                    if !changes.iter().any(same) {
                        changes.push(change);
                    }
                }
                let done = backend.change_items(changes.clone()).await.unwrap();
                for (change, done) in changes.into_iter().zip(done) {
                    let known = self.known.entry(change.key().clone()).or_default();
                    let expected = known.apply(&change);
                    assert_eq!(done.unwrap(), expected, "{change:?}");
                    if matches!(expected, Changed::Done { .. }) {
                        self.last = Some((change, expected));
                    }
                }
            }
        }
    }

    async fn check_all(&mut self) {
        let backend = self.backend();
        let rows = |prefix: &Namespace, after: Option<&ItemKey>| -> Vec<ItemRow> {
            self.known
                .iter()
                .filter(|(key, _)| key.namespace.starts_with(prefix))
                .filter(|(key, _)| after.is_none_or(|after| *key > after))
                .filter_map(|(_, known)| known.row.clone())
                .collect()
        };
        let mut prefixes: Vec<_> = NAMESPACES.iter().map(|labels| namespace(labels)).collect();
        prefixes.push(Namespace::default());
        let after = self.known.keys().nth(self.known.len() / 2).cloned();
        for prefix in prefixes {
            for after in [None, after.clone()] {
                let expected = rows(&prefix, after.as_ref());
                let query = ScanItems {
                    prefix: prefix.clone(),
                    after,
                    likely: Some(5),
                    ..ScanItems::default()
                };
                let (found, errors) = scan(&backend, query).await;
                assert!(errors.is_empty(), "{errors:?}");
                assert_eq!(found, expected);
            }
            let listed: Vec<Namespace> = backend
                .namespaces(ListNamespaces {
                    prefix: prefix.clone(),
                    after: None,
                    now_ms: self.now,
                })
                .await
                .unwrap()
                .map(Result::unwrap)
                .collect()
                .await;
            let mut expected: Vec<Namespace> = self
                .known
                .iter()
                .filter(|(key, known)| {
                    key.namespace.starts_with(&prefix) && known.live(self.now).is_some()
                })
                .map(|(key, _)| key.namespace.clone())
                .collect();
            expected.dedup();
            assert_eq!(listed, expected);
        }
        for (key, known) in &self.known {
            let mut names = Vec::new();
            let mut expected = Vec::new();
            for (pack, (chunks, _)) in &known.packs {
                for ordinal in 0..=chunks.len() {
                    let chunk = chunks.get(ordinal).cloned();
                    names.push(ChunkName {
                        pack: *pack,
                        ordinal: ordinal as u32,
                        locator: 0,
                        len: chunk.as_ref().map_or(0, Bytes::len) as u32,
                    });
                    expected.push(chunk);
                }
            }
            let found = backend.item_chunks(key, &names).await.unwrap();
            assert_eq!(found, expected, "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filesystem_keeps_items_as_the_model_does() {
    let seeds = std::env::var("CHUNKPOINT_SEEDS").map_or(6, |n| n.parse().unwrap());
    let (mut compactions, mut moves) = (0, 0);
    for seed in 1..=seeds {
        println!("seed {seed}");
        let mut model = Model::new(seed * 7919);
        for _ in 0..1500 {
            model.step().await;
        }
        model.check_all().await;
        for file in files(model.dir.path(), ".items") {
            compactions += std::fs::read(file).unwrap()[12] as u64 - 1;
        }
        for file in files(model.dir.path(), ".packs") {
            moves += u64::from(!file.to_str().unwrap().ends_with(".1.packs"));
        }
        // In the end everything is due.
        let mut expected = SweptItems::default();
        for known in model.known.values_mut() {
            if let Some(row) = &mut known.row {
                row.expires_ms = Some(0);
                let renewed = ItemChange::Renew {
                    key: row.key.clone(),
                    version: row.version,
                    expires_ms: 0,
                };
                change(&model.backends[0], renewed).await.unwrap();
            }
            known.sweep(model.now, &mut expected);
        }
        assert_eq!(sweep_all(&model.backends[1], model.now, 10).await, expected);
        model.check_all().await;
        assert!(scan_all(&model.backends[0]).await.is_empty());
        let left = files(&model.dir.path().join("s"), ".items");
        assert_eq!(left.len(), 1, "only the catalog stays: {left:?}");
    }
    println!("{compactions} compactions, {moves} of packs");
    assert!(compactions > 0 && moves > 0, "what this is meant to test");
}
