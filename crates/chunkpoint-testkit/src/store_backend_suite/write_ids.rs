//! A change that is repeated, because its answer was lost, counts once.

use chunkpoint_core::store_backend::{Changed, Expect, ItemChange, REMEMBERED};

use super::Fixture;
use super::support::*;

/// A repeated put gives the first result and changes nothing.
pub async fn a_repeated_put_changes_nothing(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = packed(key("a"), None);
    let there = put(&backend, first.clone()).await;
    let mut later = first;
    later.row.created_ms = NOW + 5;
    later.row.updated_ms = NOW + 5;
    let changed = change(&backend, of(later)).await.unwrap();
    assert_eq!(changed, Changed::Done { created_ms: NOW });
    assert_intact(&backend, &there).await;
}

/// The repeat is known before its expectation is checked, which it made false itself.
pub async fn a_repeat_is_known_before_its_expectation(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut first = item(key("a"));
    first.expect = Expect::Absent;
    put(&backend, first.clone()).await;
    created(change(&backend, of(first.clone())).await.unwrap());
    let mut second = item(key("a"));
    second.expect = Expect::Version(first.row.version);
    let there = put(&backend, second.clone()).await;
    created(change(&backend, of(second)).await.unwrap());
    assert_intact(&backend, &there).await;
    let removal = removal_at(key("a"), Expect::Version(there.version), NOW);
    created(change(&backend, removal.clone()).await.unwrap());
    created(change(&backend, removal).await.unwrap());
    assert_eq!(row(&backend, &key("a")).await, None);
}

/// A repeat does not undo what came after: the last few write ids are remembered.
pub async fn a_repeat_does_not_undo_an_overwrite(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let puts: Vec<_> = (0..REMEMBERED).map(|_| item(key("a"))).collect();
    let mut there = None;
    for put_of in &puts {
        there = Some(put(&backend, put_of.clone()).await);
    }
    let there = there.expect("several were put");
    for put_of in puts {
        created(change(&backend, of(put_of)).await.unwrap());
        assert_intact(&backend, &there).await;
    }
}

/// A repeated put does not bring a removed item back.
pub async fn a_repeat_does_not_undo_a_removal(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = packed(key("a"), None);
    put(&backend, first.clone()).await;
    remove(&backend, key("a")).await;
    // It is remembered while it is younger than what is swept.
    sweep(&backend, NOW - 1).await;
    created(change(&backend, of(first)).await.unwrap());
    assert_eq!(row(&backend, &key("a")).await, None);
    assert_eq!(scanned(&backend, below(&[])).await, []);
}

/// A repeated removal does not take what was put afterwards.
pub async fn a_repeated_removal_spares_what_came_after(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, item(key("a"))).await;
    let first = removal(key("a"));
    created(change(&backend, first.clone()).await.unwrap());
    let there = put(&backend, packed(key("a"), None)).await;
    created(change(&backend, first).await.unwrap());
    assert_intact(&backend, &there).await;
}

/// A removal of nothing is remembered as well.
pub async fn a_repeated_removal_of_nothing_is_known(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let first = removal(key("a"));
    created(change(&backend, first.clone()).await.unwrap());
    let there = put(&backend, item(key("a"))).await;
    created(change(&backend, first).await.unwrap());
    assert_intact(&backend, &there).await;
}

/// Puts and removals share what is remembered.
pub async fn puts_and_removals_are_remembered_together(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let changes: Vec<ItemChange> = (0..REMEMBERED)
        .map(|n| match n % 2 {
            0 => of(packed(key("a"), None)),
            _ => removal(key("a")),
        })
        .collect();
    for change_of in &changes {
        created(change(&backend, change_of.clone()).await.unwrap());
    }
    let there = row(&backend, &key("a")).await;
    for change_of in changes {
        created(change(&backend, change_of).await.unwrap());
        assert_eq!(row(&backend, &key("a")).await, there);
    }
}

/// A change that was refused is not remembered: it may succeed later.
pub async fn a_refused_change_is_not_remembered(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    put(&backend, item(key("a"))).await;
    let mut refused = packed(key("a"), None);
    refused.expect = Expect::Absent;
    let changed = change(&backend, of(refused.clone())).await.unwrap();
    assert!(matches!(changed, Changed::Conflict(_)));
    remove(&backend, key("a")).await;
    let there = put(&backend, refused).await;
    assert_intact(&backend, &there).await;
}

/// The same write id on another item is another change.
pub async fn write_ids_belong_to_their_item(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let a = packed(key("a"), None);
    let mut b = a.clone();
    b.row.key = key("b");
    let a = put(&backend, a).await;
    let b = put(&backend, b).await;
    assert_intact(&backend, &a).await;
    assert_intact(&backend, &b).await;
    remove(&backend, key("a")).await;
    sweep(&backend, LATER).await;
    assert_intact(&backend, &b).await;
}
