//! What [`commit`] promises, but for expectations and re-puts.
//!
//! [`commit`]: chunkpoint_core::backend::CheckpointBackend::commit

use bytes::Bytes;
use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{Base, RecordIndex};

use super::Fixture;
use super::support::*;

/// Everything committed comes back, by name, as the latest, and chunk by chunk.
pub async fn a_commit_is_read_back_whole(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.index = RecordIndex {
        parent: Some("a parent that never was".into()),
        time_ms: NOW + 7,
        run_id: Some("run \"7\"".into()),
        delta: true,
        pack_bytes: 12_345,
    };
    let metadata = serde_json::json!({"source": "loop", "a.b$c": [1, null, {"x": "é"}]});
    if let serde_json::Value::Object(metadata) = metadata {
        commit.metadata = metadata.into();
    }
    let stored = put(&backend, commit).await;
    assert_intact(&backend, &stored).await;
    assert_eq!(latest(&backend, "t", "").await, Some(stored.row()));
}

/// A commit without a parent starts the incarnation it brings if the thread has none.
pub async fn a_root_starts_an_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    assert_eq!(backend.incarnation("t").await.unwrap(), None);
    let stored = put(&backend, root("t", "1")).await;
    let current = backend.incarnation("t").await.unwrap();
    assert_eq!(current, Some(stored.incarnation));
}

/// A commit without a parent goes into the current incarnation if there is one.
pub async fn a_root_goes_into_the_current_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, root_in("t", "ns", "2")).await;
    assert_eq!(second.incarnation, first.incarnation);
    assert_intact(&backend, &first).await;
    assert_intact(&backend, &second).await;
}

/// Borrowing from records that are there, in any namespace, succeeds.
pub async fn a_borrow_from_present_records_is_stored(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let other = put(&backend, root_in("t", "ns", "5")).await;
    let stored = put(&backend, child("2", &[&first, &other])).await;
    assert_eq!(stored.incarnation, first.incarnation);
    for stored in [&first, &other, &stored] {
        assert_intact(&backend, stored).await;
    }
}

/// A hidden record can be borrowed from.
pub async fn a_borrow_from_a_hidden_record_is_stored(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    hide(&backend, &first).await;
    let stored = put(&backend, child("2", &[&first])).await;
    assert_intact(&backend, &stored).await;
    assert_chunks(&backend, &first).await;
}

/// Borrowing from a record that was removed is `ParentGone`, and stores nothing.
pub async fn a_borrow_from_a_removed_record_fails(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let kept = put(&backend, root("t", "0")).await;
    remove(&backend, &first).await;
    let commit = child("2", &[&kept, &first]);
    let error = failure(backend.commit(commit.clone()).await);
    assert_eq!(error.kind(), ErrorKind::ParentGone);
    assert!(error.is_certainly_not_applied());
    assert!(!error.is_retryable());
    assert_nothing(&backend, &commit, first.incarnation).await;
    assert_eq!(latest(&backend, "t", "").await, Some(kept.row()));
}

/// Borrowing from a pack that its record no longer has is `ParentGone`.
pub async fn a_borrow_from_a_replaced_pack_fails(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let again = put(&backend, root("t", "1")).await;
    let commit = child("2", &[&first]);
    let result = backend.commit(commit.clone()).await;
    assert_eq!(kind(result), ErrorKind::ParentGone);
    assert_nothing(&backend, &commit, first.incarnation).await;
    put(&backend, child("2", &[&again])).await;
}

/// Borrowing from what never was is `ParentGone`: another id, another pack, another namespace.
pub async fn a_borrow_from_what_never_was_fails(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let mut strangers = vec![first.clone(), first.clone(), first.clone()];
    strangers[0].commit.key.id = "no such id".into();
    strangers[1].commit.pack = pack_id();
    strangers[2].commit.key.namespace = "no such namespace".into();
    for stranger in strangers {
        let mut commit = child("2", &[&stranger]);
        commit.key.namespace = "".into();
        let result = backend.commit(commit.clone()).await;
        assert_eq!(kind(result), ErrorKind::ParentGone);
        assert_nothing(&backend, &commit, first.incarnation).await;
    }
}

/// Borrowing in a thread that was deleted is `ParentGone`, and starts no thread.
pub async fn a_borrow_from_an_ended_incarnation_fails(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let deleted = backend.delete_thread("t", first.incarnation).await;
    deleted.unwrap();
    let commit = child("2", &[&first]);
    let result = backend.commit(commit.clone()).await;
    assert_eq!(kind(result), ErrorKind::ParentGone);
    assert_eq!(backend.incarnation("t").await.unwrap(), None);
    // Nor does it meet a namesake in the life that follows.
    let next = put(&backend, root("t", "1")).await;
    let result = backend.commit(commit.clone()).await;
    assert_eq!(kind(result), ErrorKind::ParentGone);
    assert_nothing(&backend, &commit, next.incarnation).await;
    assert_intact(&backend, &next).await;
}

/// Repeating a commit gives the first result and changes nothing.
pub async fn a_repeated_commit_gives_the_first_result(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let mut repeat = stored.commit.clone();
    // Not sent by a well-behaved caller; shows that nothing is written.
    repeat.body = Bytes::from_static(b"another body");
    let again = put(&backend, repeat).await;
    assert_eq!(again.incarnation, stored.incarnation);
    assert_eq!(again.locator, stored.locator);
    assert_intact(&backend, &stored).await;
    assert!(condemned(&backend, "t").await.is_empty());
}

/// Repeating a commit whose record was replaced since does not undo the replacement.
pub async fn a_repeated_commit_does_not_undo_a_reput(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, root("t", "1")).await;
    let again = put(&backend, first.commit.clone()).await;
    assert_eq!(again.incarnation, first.incarnation);
    assert_intact(&backend, &second).await;
    let condemned = condemned(&backend, "t").await;
    assert_eq!(condemned.keys().collect::<Vec<_>>(), [&first.commit.pack]);
}

/// Repeating a commit whose record was removed since does not bring it back.
pub async fn a_repeated_commit_does_not_undo_a_removal(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, child("2", &[&first])).await;
    remove(&backend, &second).await;
    let again = put(&backend, second.commit.clone()).await;
    assert_eq!(again.incarnation, first.incarnation);
    assert_eq!(at(&backend, "t", &second.commit.key).await, None);
    assert_eq!(latest_id(&backend, "t").await.as_deref(), Some("1"));
}

/// A repeat is recognised before the base is checked.
pub async fn a_repeated_commit_is_known_before_its_base_is_checked(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, child("2", &[&first])).await;
    remove(&backend, &first).await;
    let again = put(&backend, second.commit.clone()).await;
    assert_eq!(again.incarnation, second.incarnation);
    assert_intact(&backend, &second).await;
}

/// The incarnation a root brings matters only where it starts one.
pub async fn a_repeated_root_may_bring_another_fresh_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let mut repeat = stored.commit.clone();
    repeat.base = Base::Root { fresh: fresh() };
    assert_eq!(put(&backend, repeat).await.incarnation, stored.incarnation);
    assert_intact(&backend, &stored).await;
}

/// A root repeated after its incarnation ended is stored anew, whole, or not at all.
pub async fn a_root_repeated_after_its_end_is_whole_or_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let first = put(&backend, root("t", "1")).await;
    put(&backend, child("2", &[&first])).await;
    let deleted = backend.delete_thread("t", first.incarnation).await;
    deleted.unwrap();
    let again = put(&backend, first.commit.clone()).await;
    match backend.incarnation("t").await.unwrap() {
        Some(current) => {
            assert_eq!(again.incarnation, current);
            assert_intact(&backend, &again).await;
            assert_eq!(ids(&backend, listing("t")).await, ["1"]);
        }
        None => {
            assert_eq!(again.incarnation, first.incarnation);
            assert!(ids(&backend, listing("t")).await.is_empty());
        }
    }
    // Whichever it was, the thread can go on.
    let next = put(&backend, root("t", "3")).await;
    assert_intact(&backend, &next).await;
}

/// A commit repeated after all its chunks were reclaimed is stored anew, whole,
/// or not at all.
pub async fn a_commit_repeated_after_its_reclaim_is_whole_or_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let kept = put(&backend, root("t", "1")).await;
    let gone = put(&backend, root("t", "2")).await;
    remove(&backend, &gone).await;
    // A backend that checks parents afterwards settles what is condemned here.
    condemned(&backend, "t").await;
    reclaim(&backend, &gone, &[(gone.commit.pack, vec![0, 1])]).await;
    let again = put(&backend, gone.commit.clone()).await;
    assert_eq!(again.incarnation, gone.incarnation);
    if at(&backend, "t", &again.commit.key).await.is_some() {
        assert_intact(&backend, &again).await;
    }
    assert_intact(&backend, &kept).await;
}

/// Two threads with records, packs and chunks of the same names share nothing.
pub async fn threads_share_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("one", "1")).await;
    let mut same = root("two", "1");
    same.pack = one.commit.pack;
    let two = put(&backend, same).await;
    assert_intact(&backend, &one).await;
    assert_intact(&backend, &two).await;
    remove(&backend, &one).await;
    assert_intact(&backend, &two).await;
}
