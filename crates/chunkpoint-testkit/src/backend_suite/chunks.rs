//! What [`chunks`] promises.
//!
//! [`chunks`]: chunkpoint_core::backend::CheckpointBackend::chunks

use chunkpoint_core::backend::ChunkName;

use super::Fixture;
use super::support::*;

/// One entry for each name, in their order, `None` for what is not there.
pub async fn chunks_answers_each_name_in_order(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("t", "1")).await;
    let two = put(&backend, root_in("t", "ns", "2")).await;
    let (a, b) = (one.names(), two.names());
    let nowhere = ChunkName {
        pack: pack_id(),
        ..a[0]
    };
    let beyond = ChunkName { ordinal: 2, ..a[0] };
    let names = [b[1], a[0], nowhere, a[1], beyond, b[0], a[0]];
    let found = backend.chunks("t", one.incarnation, &names).await.unwrap();
    let chunk = |stored: &Stored, n: usize| Some(stored.commit.chunks[n].clone());
    let expected = [
        chunk(&two, 1),
        chunk(&one, 0),
        None,
        chunk(&one, 1),
        None,
        chunk(&two, 0),
        chunk(&one, 0),
    ];
    assert_eq!(found, expected);
    let nothing = backend.chunks("t", one.incarnation, &[]).await.unwrap();
    assert!(nothing.is_empty());
}

/// Wrong hints cost time, not the answer.
pub async fn wrong_hints_do_not_matter(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    for (locator, len) in [
        (0, 0),
        (1, 1),
        (u64::MAX, u32::MAX),
        (stored.locator ^ 1, 7),
    ] {
        let names: Vec<_> = stored
            .names()
            .into_iter()
            .map(|name| ChunkName {
                locator,
                len,
                ..name
            })
            .collect();
        let found = backend.chunks("t", stored.incarnation, &names).await;
        let expected: Vec<_> = stored.commit.chunks.iter().cloned().map(Some).collect();
        assert_eq!(found.unwrap(), expected, "locator {locator}, length {len}");
    }
}

/// Another incarnation's chunks, or another thread's, are not given.
pub async fn chunks_are_of_one_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let found = backend.chunks("t", fresh(), &stored.names()).await;
    assert_eq!(found.unwrap(), [None, None]);
    let names = stored.names();
    let found = backend.chunks("another", stored.incarnation, &names).await;
    assert_eq!(found.unwrap(), [None, None]);
}

/// Chunks of condemned packs, and of hidden records, are given until reclaimed.
pub async fn condemned_chunks_are_given_until_reclaimed(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let removed = put(&backend, root("t", "1")).await;
    let replaced = put(&backend, root("t", "2")).await;
    let hidden = put(&backend, root("t", "3")).await;
    remove(&backend, &removed).await;
    put(&backend, root("t", "2")).await;
    hide(&backend, &hidden).await;
    for stored in [&removed, &replaced, &hidden] {
        assert_chunks(&backend, stored).await;
    }
}

/// 2,000 names of many packs at once.
pub async fn many_chunks_are_read_at_once(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut stored = Vec::new();
    for n in 0..100 {
        let mut commit = root("t", &format!("{n:03}"));
        let chunks = (0..20).map(|k| format!("chunk {k} of {n}").into());
        commit.chunks = chunks.collect();
        stored.push(put(&backend, commit).await);
    }
    let names: Vec<_> = stored.iter().rev().flat_map(Stored::names).collect();
    let found = backend.chunks("t", stored[0].incarnation, &names).await;
    let expected = stored.iter().rev();
    let expected = expected.flat_map(|stored| stored.commit.chunks.iter().cloned().map(Some));
    assert!(found.unwrap() == expected.collect::<Vec<_>>());
}
