//! Promises that only show when several do something at once.

use chunkpoint_core::store_backend::{Changed, Expect, SweepItems};
use futures::FutureExt;

use super::Fixture;
use super::support::*;
use crate::concurrent::at_once;

/// Tasks that write at once.
const TASKS: usize = 16;

/// Of writers that expect the same version exactly one wins, in every round.
pub async fn one_of_many_with_a_version_wins(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut last = put(&backend, packed(key("a"), None)).await;
    for round in 0..20 {
        let writers = (0..TASKS).map(|task| {
            let (backend, last) = (backend.clone(), last.clone());
            async move {
                let put = match task % 2 {
                    0 => packed(key("a"), Some(&last)),
                    _ => {
                        let mut put = item(key("a"));
                        put.expect = Expect::Version(last.version);
                        put
                    }
                };
                let changed = change(&backend, of(put.clone())).await.unwrap();
                (put.row, changed)
            }
        });
        let mut winners = Vec::new();
        for (row, changed) in at_once(writers).await {
            if let Changed::Done { .. } = changed {
                winners.push(row);
            }
        }
        assert_eq!(winners.len(), 1, "in round {round}");
        last = winners.remove(0);
        assert_intact(&backend, &last).await;
    }
}

/// Of writers that expect nothing to be there exactly one wins; then one of those
/// that remove it.
pub async fn one_of_many_that_expect_nothing_wins(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    for round in 0..10 {
        let key = key(&round.to_string());
        let writers = (0..TASKS).map(|_| {
            let (backend, key) = (backend.clone(), key.clone());
            async move {
                let mut put = item(key);
                put.expect = Expect::Absent;
                let changed = change(&backend, of(put.clone())).await.unwrap();
                matches!(changed, Changed::Done { .. }).then_some(put.row)
            }
        });
        let mut won: Vec<_> = at_once(writers).await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "in round {round}");
        let there = won.remove(0);
        assert_intact(&backend, &there).await;
        let removers = (0..TASKS).map(|_| {
            let (backend, there) = (backend.clone(), there.clone());
            async move {
                let expect = Expect::Version(there.version);
                let removal = removal_at(there.key, expect, NOW);
                let changed = change(&backend, removal).await.unwrap();
                matches!(changed, Changed::Done { .. })
            }
        });
        let removed = at_once(removers).await;
        assert_eq!(removed.iter().filter(|done| **done).count(), 1);
        assert_eq!(row(&backend, &key).await, None);
    }
}

/// Concurrent puts of distinct items all stand.
pub async fn puts_of_distinct_items_all_stand(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let writers = (0..TASKS).map(|task| {
        let backend = backend.clone();
        async move {
            let mut rows = Vec::new();
            for n in 0..20 {
                let key = key(&format!("{n:02} of {task:02}"));
                let first = put(&backend, packed(key.clone(), None)).await;
                rows.push(put(&backend, packed(key, Some(&first))).await);
            }
            rows
        }
    });
    let mut rows: Vec<_> = at_once(writers).await.into_iter().flatten().collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    for row in &rows {
        assert_intact(&backend, row).await;
    }
    assert_eq!(scanned(&backend, below(&["ns"])).await, rows);
}

/// Calls that change the same items in other orders do not block each other.
pub async fn overlapping_calls_come_to_an_end(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let writers = (0..TASKS).map(|task| {
        let backend = backend.clone();
        async move {
            for _ in 0..10 {
                let mut keys: Vec<_> = (0..20).map(|n| key(&format!("{n:02}"))).collect();
                keys.rotate_left(task);
                if task % 2 == 0 {
                    keys.reverse();
                }
                put_all(&backend, keys).await;
            }
        }
    });
    at_once(writers).await;
    assert_eq!(scanned(&backend, below(&["ns"])).await.len(), 20);
}

/// A put and its own repeat at the same moment: both are done, and it counts once.
pub async fn a_put_races_its_own_repeat(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    for round in 0..20 {
        let key = key(&round.to_string());
        let before = put(&backend, packed(key.clone(), None)).await;
        let put_of = packed(key, Some(&before));
        let repeats = (0..4).map(|_| {
            let (backend, put_of) = (backend.clone(), put_of.clone());
            async move { change(&backend, of(put_of)).await.unwrap() }
        });
        for changed in at_once(repeats).await {
            assert_eq!(changed, Changed::Done { created_ms: NOW });
        }
        assert_intact(&backend, &put_of.row).await;
    }
}

/// Puts of one item without an expectation: one of them is what is there in the end,
/// whole, and what the others brought is garbage.
pub async fn racing_puts_leave_one(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    for round in 0..10 {
        let key = key(&round.to_string());
        let writers = (0..TASKS).map(|_| {
            let (backend, key) = (backend.clone(), key.clone());
            async move { put(&backend, packed(key, None)).await }
        });
        let rows = at_once(writers).await;
        let there = row(&backend, &key).await.expect("it was put");
        assert!(rows.contains(&there), "one of them stands");
        sweep(&backend, LATER).await;
        assert_intact(&backend, &there).await;
        for row in rows.iter().filter(|row| **row != there) {
            assert!(!has_pack(&backend, &key, row.version).await);
        }
    }
}

/// Whatever sweeps run meanwhile, a row that is acknowledged has all its packs; and
/// a put that cannot be made is a conflict.
pub async fn sweeps_race_puts(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let writers = (0..4).map(|task| {
        let backend = backend.clone();
        async move {
            let key = key(&task.to_string());
            let mut last = None;
            for n in 0..60 {
                let put_of = match n % 7 {
                    0 => packed(key.clone(), None),
                    _ => packed(key.clone(), last.as_ref()),
                };
                if let Changed::Done { .. } = change(&backend, of(put_of.clone())).await.unwrap() {
                    assert_intact(&backend, &put_of.row).await;
                    last = Some(put_of.row);
                }
            }
            last
        }
        .boxed()
    });
    let sweepers = (0..2).map(|_| {
        let backend = backend.clone();
        async move {
            for _ in 0..100 {
                let limit = 3;
                let before_ms = NOW;
                backend
                    .sweep(SweepItems { before_ms, limit })
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
            }
            None
        }
        .boxed()
    });
    for last in at_once(writers.chain(sweepers)).await.into_iter().flatten() {
        assert_intact(&backend, &last).await;
    }
}

/// Within the grace period a reader finds the chunks of the row it has read, however
/// often it is replaced and swept meanwhile.
pub async fn readers_find_the_chunks_of_their_row(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, packed(key("a"), None)).await;
    let writer = {
        let backend = backend.clone();
        async move {
            for n in 0..100 {
                let mut put_of = packed(key("a"), None);
                put_of.row.updated_ms = NOW + n;
                put(&backend, put_of).await;
                sweep(&backend, NOW - 1).await;
            }
        }
        .boxed()
    };
    let readers = (0..4).map(|_| {
        let backend = backend.clone();
        async move {
            for _ in 0..100 {
                let row = row(&backend, &key("a")).await.expect("it is there");
                tokio::task::yield_now().await;
                for pack in &row.packs {
                    assert!(has_pack(&backend, &row.key, *pack).await);
                }
            }
        }
        .boxed()
    });
    at_once(std::iter::once(writer).chain(readers)).await;
}

/// A change whose future is dropped has happened completely, or not at all.
pub async fn dropped_changes_are_whole_or_nothing(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    for polls in 0..40 {
        let key = key(&polls.to_string());
        let before = put(&backend, packed(key.clone(), None)).await;
        let put_of = packed(key.clone(), Some(&before));
        {
            let mut future = backend.change_items(vec![of(put_of.clone())]);
            for _ in 0..=polls / 4 {
                if futures::poll!(future.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let there = row(&backend, &key).await.expect("it was put");
        assert!(there == before || there == put_of.row);
        // What was dropped may still be under way, so the row may be another one by now.
        for pack in &there.packs {
            assert!(
                has_pack(&backend, &key, *pack).await,
                "pack {pack} is listed"
            );
        }
        // The repeat completes it, or was done.
        created(change(&backend, of(put_of.clone())).await.unwrap());
        assert_intact(&backend, &put_of.row).await;
    }
}
