//! What [`alter`] promises.
//!
//! [`alter`]: chunkpoint_core::backend::CheckpointBackend::alter

use chunkpoint_core::backend::{
    Alter, Altered, Change, CheckpointBackend, Detail, ListRecords, RecordRow,
};

use super::Fixture;
use super::support::*;

/// Every change there is.
fn every_change() -> [Change; 4] {
    [
        Change::Hide,
        Change::Pin(true),
        Change::Pin(false),
        Change::Remove,
    ]
}

/// A removed record is gone from every read at once; its chunks stay.
pub async fn a_removed_record_is_gone_from_every_read(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("t", "1")).await;
    let two = put(&backend, child("2", &[&one])).await;
    remove(&backend, &two).await;
    assert_eq!(at(&backend, "t", &key("", "2")).await, None);
    assert_eq!(latest(&backend, "t", "").await, Some(one.row()));
    let all = ListRecords {
        hidden: true,
        ..listing("t")
    };
    assert_eq!(ids(&backend, all).await, ["1"]);
    assert_chunks(&backend, &two).await;
    // The parent can go before the child as well.
    let three = put(&backend, child("3", &[&one])).await;
    remove(&backend, &one).await;
    assert_intact(&backend, &three).await;
    assert_chunks(&backend, &one).await;
}

/// A thread whose last record was removed is not listed, but still in its incarnation.
pub async fn removing_the_last_record_keeps_the_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    remove(&backend, &stored).await;
    assert!(threads(&backend, "").await.is_empty());
    let current = backend.incarnation("t").await.unwrap();
    assert_eq!(current, Some(stored.incarnation));
    let next = put(&backend, root("t", "2")).await;
    assert_eq!(next.incarnation, stored.incarnation);
}

/// A hidden record keeps its body, chunks and writes; lists that ask find it.
pub async fn a_hidden_record_keeps_all_it_has(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.index.run_id = Some("run".into());
    commit.index.parent = Some("0".into());
    commit.index.delta = true;
    let stored = put(&backend, commit).await;
    let kept = vec![write("task", 0, "kept", false)];
    backend
        .put_writes(writing("t", "1", kept.clone()))
        .await
        .unwrap();
    hide(&backend, &stored).await;
    let expected = RecordRow {
        hidden: true,
        writes: kept,
        ..stored.row()
    };
    assert_eq!(
        at(&backend, "t", &key("", "1")).await,
        Some(expected.clone())
    );
    let query = ListRecords {
        hidden: true,
        detail: Detail::Writes,
        ..listing("t")
    };
    assert_eq!(rows(&backend, query).await, [expected]);
    assert!(ids(&backend, listing("t")).await.is_empty());
    assert_chunks(&backend, &stored).await;
    assert!(
        condemned(&backend, "t").await.is_empty(),
        "the record still has its pack"
    );
}

/// A hidden record can be removed.
pub async fn a_hidden_record_can_be_removed(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    hide(&backend, &stored).await;
    remove(&backend, &stored).await;
    assert_eq!(at(&backend, "t", &key("", "1")).await, None);
}

/// A pinned record is neither removed nor hidden, until it is unpinned.
pub async fn a_pinned_record_is_not_removed_or_hidden(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    assert_eq!(
        alter(&backend, &stored, Change::Pin(true)).await,
        Altered::Done
    );
    for change in [Change::Remove, Change::Hide] {
        assert_eq!(alter(&backend, &stored, change).await, Altered::Pinned);
    }
    let pinned = RecordRow {
        pinned: true,
        ..stored.row()
    };
    assert_eq!(at(&backend, "t", &key("", "1")).await, Some(pinned));
    assert_eq!(
        alter(&backend, &stored, Change::Pin(false)).await,
        Altered::Done
    );
    assert_intact(&backend, &stored).await;
    remove(&backend, &stored).await;
    assert_eq!(at(&backend, "t", &key("", "1")).await, None);
}

/// A hidden record can be pinned, and is then not removed.
pub async fn a_hidden_record_can_be_pinned(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    hide(&backend, &stored).await;
    assert_eq!(
        alter(&backend, &stored, Change::Pin(true)).await,
        Altered::Done
    );
    assert_eq!(
        alter(&backend, &stored, Change::Remove).await,
        Altered::Pinned
    );
    let row = at(&backend, "t", &key("", "1")).await.unwrap();
    assert!(row.hidden && row.pinned);
}

/// No change applies to a record with another pack.
pub async fn a_change_applies_only_to_the_pack_it_names(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let old = put(&backend, root("t", "1")).await;
    let new = put(&backend, root("t", "1")).await;
    let mut never = new.clone();
    never.commit.pack = pack_id();
    for change in every_change() {
        for stranger in [&old, &never] {
            let altered = alter(&backend, stranger, change.clone()).await;
            assert_eq!(altered, Altered::Gone, "{change:?}");
        }
    }
    assert_intact(&backend, &new).await;
}

/// No change applies to what is not there.
pub async fn a_change_of_nothing_is_gone(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let mut nowhere = vec![stored.clone(), stored.clone(), stored.clone()];
    nowhere[0].commit.key.id = "2".into();
    nowhere[1].commit.key.namespace = "ns".into();
    nowhere[2].commit.thread = "no thread".into();
    for change in every_change() {
        for stored in &nowhere {
            let altered = alter(&backend, stored, change.clone()).await;
            assert_eq!(altered, Altered::Gone, "{change:?}");
        }
    }
    assert_intact(&backend, &stored).await;
    assert_eq!(backend.incarnation("no thread").await.unwrap(), None);
}

/// In any other incarnation, every change is `Gone`.
pub async fn a_change_applies_only_in_its_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let mut elsewhere = stored.clone();
    elsewhere.incarnation = fresh();
    for change in every_change() {
        let altered = alter(&backend, &elsewhere, change.clone()).await;
        assert_eq!(altered, Altered::Gone, "{change:?}");
    }
    assert_intact(&backend, &stored).await;
}

/// One answer for each change, in their order; one that fails does not stop the others.
pub async fn alter_answers_each_change_in_order(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("t", "1")).await;
    let two = put(&backend, root("t", "2")).await;
    let three = put(&backend, root_in("t", "ns", "3")).await;
    let mut never = one.clone();
    never.commit.pack = pack_id();
    let changes = vec![
        (never.record(), Change::Remove),
        (two.record(), Change::Pin(true)),
        (two.record(), Change::Remove),
        (one.record(), Change::Remove),
        (three.record(), Change::Hide),
        (one.record(), Change::Pin(true)),
    ];
    let altered = backend.alter(altering(&one, changes)).await.unwrap();
    use Altered::{Done, Gone, Pinned};
    assert_eq!(altered, [Gone, Done, Pinned, Done, Done, Gone]);
    assert_eq!(ids(&backend, listing("t")).await, ["2"]);
    let none = backend.alter(altering(&one, Vec::new())).await.unwrap();
    assert!(none.is_empty());
}

/// Repeating a change is `Done` or `Gone`, and changes nothing.
pub async fn a_repeated_change_changes_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    for pinned in [true, false] {
        for _ in 0..2 {
            let altered = alter(&backend, &stored, Change::Pin(pinned)).await;
            assert_eq!(altered, Altered::Done);
        }
    }
    hide(&backend, &stored).await;
    hide(&backend, &stored).await;
    let hidden = RecordRow {
        hidden: true,
        ..stored.row()
    };
    assert_eq!(at(&backend, "t", &key("", "1")).await, Some(hidden));
    remove(&backend, &stored).await;
    let again = alter(&backend, &stored, Change::Remove).await;
    assert_ne!(again, Altered::Pinned);
    // A repeat does not reach what came after.
    let next = put(&backend, root("t", "1")).await;
    let again = alter(&backend, &stored, Change::Remove).await;
    assert_ne!(again, Altered::Pinned);
    assert_intact(&backend, &next).await;
}

/// A thousand records removed by one call.
pub async fn a_thousand_changes_in_one_call(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut stored = Vec::new();
    for n in 0..1_000 {
        let mut commit = root("t", &format!("{n:04}"));
        commit.chunks.truncate(1);
        stored.push(put(&backend, commit).await);
    }
    let all = stored.iter();
    let changes = all
        .map(|stored| (stored.record(), Change::Remove))
        .collect();
    let alter: Alter = altering(&stored[0], changes);
    let altered = CheckpointBackend::alter(&*backend, alter).await.unwrap();
    assert!(altered.iter().all(|altered| *altered == Altered::Done));
    assert!(ids(&backend, listing("t")).await.is_empty());
    assert_eq!(condemned(&backend, "t").await.len(), 1_000);
}
