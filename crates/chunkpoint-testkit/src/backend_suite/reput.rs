//! What [`commit`] promises where a record of the name is there already.
//!
//! [`commit`]: chunkpoint_core::backend::CheckpointBackend::commit

use chunkpoint_core::backend::{Altered, Change, ListCondemned};

use super::Fixture;
use super::support::*;

/// Body, index and chunks are the new commit's.
pub async fn a_reput_replaces_the_content(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let mut commit = root("t", "1");
    commit.index.time_ms = NOW + 5;
    commit.index.run_id = Some("another run".into());
    let second = put(&backend, commit).await;
    assert_eq!(second.incarnation, first.incarnation);
    assert_intact(&backend, &second).await;
    assert_eq!(ids(&backend, listing("t")).await, ["1"]);
}

/// The first parent stays, whether there was one or not.
pub async fn a_reput_keeps_the_first_parent(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    put(&backend, child("2", &[&first])).await;
    let mut commit = root("t", "2");
    commit.index.parent = Some("another".into());
    put(&backend, commit).await;
    let row = at(&backend, "t", &key("", "2")).await.unwrap();
    assert_eq!(row.index.parent.as_deref(), Some("1"));

    let mut commit = root("t", "1");
    commit.index.parent = Some("another".into());
    put(&backend, commit).await;
    let row = at(&backend, "t", &key("", "1")).await.unwrap();
    assert_eq!(row.index.parent, None);
}

/// Pending writes stay.
pub async fn a_reput_keeps_the_pending_writes(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("t", "1")).await;
    let writes = vec![write("task", 0, "kept", false)];
    backend.put_writes(writing("t", "1", writes)).await.unwrap();
    put(&backend, root("t", "1")).await;
    let values = values_at(&backend, "t", "1").await;
    assert_eq!(values, expected_values(&[("task", 0, "kept")]));
}

/// A pin stays, and protects the new pack.
pub async fn a_reput_keeps_the_pin(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    assert_eq!(
        alter(&backend, &first, Change::Pin(true)).await,
        Altered::Done
    );
    let second = put(&backend, root("t", "1")).await;
    let row = at(&backend, "t", &key("", "1")).await.unwrap();
    assert!(row.pinned);
    assert_eq!(
        alter(&backend, &second, Change::Remove).await,
        Altered::Pinned
    );
    assert_eq!(
        alter(&backend, &second, Change::Pin(false)).await,
        Altered::Done
    );
    remove(&backend, &second).await;
}

/// A hidden record becomes visible.
pub async fn a_reput_makes_a_hidden_record_visible(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    hide(&backend, &first).await;
    let second = put(&backend, root("t", "1")).await;
    assert_intact(&backend, &second).await;
    assert_eq!(latest_id(&backend, "t").await.as_deref(), Some("1"));
}

/// The old pack is condemned as of the new commit's time, and readable until reclaimed.
pub async fn a_reput_condemns_the_old_pack(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let mut commit = root("t", "1");
    commit.index.time_ms = NOW + 50;
    let second = put(&backend, commit).await;
    assert_chunks(&backend, &first).await;
    let mut query = ListCondemned {
        thread: "t".into(),
        before_ms: NOW + 49,
        after: None,
        limit: 10,
    };
    let early = backend.condemned(query.clone()).await.unwrap().unwrap();
    assert_eq!(early.packs, []);
    query.before_ms = NOW + 50;
    let due = backend.condemned(query).await.unwrap().unwrap();
    let packs: Vec<_> = due.packs.iter().map(|pack| pack.pack).collect();
    assert_eq!(packs, [first.commit.pack]);
    reclaim(&backend, &first, &[(first.commit.pack, vec![0, 1])]).await;
    assert_intact(&backend, &second).await;
}

/// A re-put may borrow from the very record it replaces.
pub async fn a_reput_may_borrow_from_what_it_replaces(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let mut commit = child("1", &[&first]);
    commit.index.parent = None;
    let second = put(&backend, commit).await;
    assert_intact(&backend, &second).await;
    assert_chunks(&backend, &first).await;
    // Only what nothing needs any more is named; the rest stays.
    reclaim(&backend, &first, &[(first.commit.pack, vec![1])]).await;
    let kept = backend
        .chunks("t", first.incarnation, &first.names()[..1])
        .await;
    assert_eq!(kept.unwrap(), [Some(first.commit.chunks[0].clone())]);
}

/// Many re-puts in a row: the last one counts, the others are condemned.
pub async fn the_last_of_many_reputs_counts(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(put(&backend, root("t", "1")).await);
    }
    let last = all.pop().unwrap();
    assert_intact(&backend, &last).await;
    let mut old: Vec<_> = all.iter().map(|stored| stored.commit.pack).collect();
    old.sort();
    let condemned: Vec<_> = condemned(&backend, "t").await.into_keys().collect();
    assert_eq!(condemned, old);
    remove(&backend, &last).await;
    assert_eq!(at(&backend, "t", &key("", "1")).await, None);
}

/// An id that was removed is a new record: no old parent, no old writes.
pub async fn a_removed_id_can_be_put_anew(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let base = put(&backend, root("t", "0")).await;
    let first = put(&backend, child("1", &[&base])).await;
    let writes = vec![write("task", 0, "old", false)];
    backend.put_writes(writing("t", "1", writes)).await.unwrap();
    remove(&backend, &first).await;
    let second = put(&backend, root("t", "1")).await;
    // `assert_intact` compares the writes, too: there are none.
    assert_intact(&backend, &second).await;
}
