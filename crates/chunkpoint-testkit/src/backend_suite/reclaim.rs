//! What [`condemned`] and [`reclaim`] promise.
//!
//! Whether a reclaimed chunk can still be read is left open: the caller never
//! asks for it again, and a layout may free whole packs only. Nor need a
//! reclaim do anything about packs that were not listed as condemned before:
//! a backend that cannot check parents in its atomic step settles then which
//! commits count.
//!
//! [`condemned`]: chunkpoint_core::backend::CheckpointBackend::condemned
//! [`reclaim`]: chunkpoint_core::backend::CheckpointBackend::reclaim

use chunkpoint_core::backend::{Alter, Change, ListCondemned, PutWrites, Reclaim};

use super::Fixture;
use super::support::*;

/// `None` where the thread has no incarnation; an empty page where nothing is condemned.
pub async fn condemned_of_no_thread_is_none(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let query = ListCondemned {
        thread: "t".into(),
        before_ms: LATER,
        after: None,
        limit: 10,
    };
    assert_eq!(backend.condemned(query.clone()).await.unwrap(), None);
    let stored = put(&backend, root("t", "1")).await;
    let found = backend.condemned(query).await.unwrap().unwrap();
    assert_eq!(found.incarnation, stored.incarnation);
    assert_eq!(found.packs, []);
}

/// Packs of removed and replaced records are listed, with their chunks.
pub async fn condemned_lists_removed_and_replaced_packs(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let removed = put(&backend, root("t", "1")).await;
    let replaced = put(&backend, root("t", "2")).await;
    let hidden = put(&backend, root("t", "3")).await;
    remove(&backend, &removed).await;
    put(&backend, root("t", "2")).await;
    hide(&backend, &hidden).await;
    let found = condemned(&backend, "t").await;
    let mut expected = vec![
        (removed.commit.pack, vec![0, 1]),
        (replaced.commit.pack, vec![0, 1]),
    ];
    expected.sort();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}

/// Only packs condemned at or before the time are listed, or lose chunks.
pub async fn a_pack_is_condemned_as_of_a_time(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let alter = Alter {
        time_ms: NOW + 100,
        ..altering(&stored, vec![(stored.record(), Change::Remove)])
    };
    backend.alter(alter).await.unwrap();
    for (before_ms, listed) in [(NOW, 0), (NOW + 99, 0), (NOW + 100, 1), (NOW + 101, 1)] {
        let query = ListCondemned {
            thread: "t".into(),
            before_ms,
            after: None,
            limit: 10,
        };
        let found = backend.condemned(query).await.unwrap().unwrap();
        assert_eq!(found.packs.len(), listed, "at {before_ms}");
    }
    let early = Reclaim {
        thread: "t".into(),
        incarnation: stored.incarnation,
        before_ms: NOW + 99,
        dead: vec![(stored.commit.pack, vec![0, 1])],
    };
    backend.reclaim(early).await.unwrap();
    assert_chunks(&backend, &stored).await;
    assert_eq!(condemned(&backend, "t").await.len(), 1);
}

/// Condemned packs come in the order of their ids' bytes, page by page.
pub async fn condemned_pages_by_pack(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut expected = Vec::new();
    for n in 0..25 {
        let stored = put(&backend, root("t", &format!("{n:02}"))).await;
        remove(&backend, &stored).await;
        expected.push(stored.commit.pack);
    }
    expected.sort();
    for limit in [1, 7, 25, 100] {
        let mut found = Vec::new();
        loop {
            let query = ListCondemned {
                thread: "t".into(),
                before_ms: LATER,
                after: found.last().copied(),
                limit,
            };
            let page = backend.condemned(query).await.unwrap().unwrap().packs;
            assert!(page.len() <= limit);
            let full = page.len() == limit;
            found.extend(page.into_iter().map(|pack| pack.pack));
            if !full {
                break;
            }
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

/// Chunks named go; those not named stay, and stay listed.
pub async fn reclaim_takes_only_what_is_named(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.chunks = (0..6).map(|n| format!("chunk {n}").into()).collect();
    let stored = put(&backend, commit).await;
    let other = put(&backend, root("t", "2")).await;
    remove(&backend, &stored).await;
    remove(&backend, &other).await;
    reclaim(&backend, &stored, &[(stored.commit.pack, vec![1, 4])]).await;
    let found = chunks(&backend, &stored).await;
    for (n, chunk) in found.into_iter().enumerate() {
        match chunk {
            None => assert!([1, 4].contains(&n), "chunk {n} was not named"),
            Some(chunk) => assert_eq!(chunk, stored.commit.chunks[n]),
        }
    }
    assert_chunks(&backend, &other).await;
    let left = condemned(&backend, "t").await;
    assert_eq!(left[&stored.commit.pack], [0, 2, 3, 5]);
    assert_eq!(left[&other.commit.pack], [0, 1]);
    reclaim(&backend, &stored, &[(stored.commit.pack, vec![0, 2, 3, 5])]).await;
    assert!(
        !condemned(&backend, "t")
            .await
            .contains_key(&stored.commit.pack)
    );
}

/// Chunks of packs that are not condemned stay, though named.
pub async fn reclaim_leaves_what_is_not_condemned(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let visible = put(&backend, root("t", "1")).await;
    let hidden = put(&backend, root("t", "2")).await;
    hide(&backend, &hidden).await;
    let dead = [
        (visible.commit.pack, vec![0, 1]),
        (hidden.commit.pack, vec![0]),
    ];
    reclaim(&backend, &visible, &dead).await;
    assert_intact(&backend, &visible).await;
    assert_chunks(&backend, &hidden).await;
}

/// Naming what is gone already, or never was, is no error.
pub async fn reclaim_may_be_repeated(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let kept = put(&backend, root("t", "2")).await;
    remove(&backend, &stored).await;
    let dead = [(stored.commit.pack, vec![0, 1, 7]), (pack_id(), vec![0])];
    for _ in 0..3 {
        reclaim(&backend, &stored, &dead).await;
    }
    assert!(condemned(&backend, "t").await.is_empty());
    assert_intact(&backend, &kept).await;
}

/// In any other incarnation, nothing is touched.
pub async fn reclaim_touches_only_its_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    remove(&backend, &stored).await;
    let mut elsewhere = stored.clone();
    elsewhere.incarnation = fresh();
    reclaim(&backend, &elsewhere, &[(stored.commit.pack, vec![0, 1])]).await;
    assert_chunks(&backend, &stored).await;
    elsewhere.commit.thread = "no thread".into();
    reclaim(&backend, &elsewhere, &[]).await;
}

/// Records stay readable through the reclaiming of what they do not need.
pub async fn records_survive_the_reclaim_of_their_ancestors(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut last = put(&backend, root("t", "000")).await;
    let first = last.clone();
    for n in 1..30 {
        let next = put(&backend, child(&format!("{n:03}"), &[&last])).await;
        remove(&backend, &last).await;
        // Each needs chunk 0 of the very first, and nothing else of others.
        let mut dead = vec![(last.commit.pack, vec![1])];
        if n > 1 {
            dead[0].1.insert(0, 0);
        }
        reclaim(&backend, &last, &dead).await;
        assert_intact(&backend, &next).await;
        let needed = &first.names()[..1];
        let kept = backend.chunks("t", first.incarnation, needed).await;
        assert_eq!(kept.unwrap(), [Some(first.commit.chunks[0].clone())]);
        last = next;
    }
    let left = condemned(&backend, "t").await;
    assert_eq!(
        left.into_iter().collect::<Vec<_>>(),
        [(first.commit.pack, vec![0])]
    );
}

/// Writes without a checkpoint go once their time has come, not before; others stay.
pub async fn reclaim_drops_writes_without_a_checkpoint(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "kept")).await;
    for (id, time_ms) in [("early", NOW), ("late", NOW + 100), ("kept", NOW)] {
        let put = PutWrites {
            time_ms,
            ..writing("t", id, vec![write("task", 0, id, false)])
        };
        backend.put_writes(put).await.unwrap();
    }
    let due = Reclaim {
        thread: "t".into(),
        incarnation: stored.incarnation,
        before_ms: NOW + 99,
        dead: Vec::new(),
    };
    backend.reclaim(due).await.unwrap();
    for id in ["early", "late"] {
        put(&backend, root("t", id)).await;
    }
    assert!(values_at(&backend, "t", "early").await.is_empty());
    for id in ["late", "kept"] {
        let values = values_at(&backend, "t", id).await;
        assert_eq!(values, expected_values(&[("task", 0, id)]));
    }
}
