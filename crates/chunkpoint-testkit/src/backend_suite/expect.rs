//! What `expect_latest` promises where there is nobody else; see
//! [`concurrency`](super::concurrency) for the rest.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{Commit, Fencing};

use super::Fixture;
use super::support::*;

/// Opens the store if it can fence, else says so.
async fn fenced(fixture: &dyn Fixture, behaviour: &str) -> Option<Backend> {
    let backend = fixture.open().await;
    if backend.capabilities().fencing == Fencing::None {
        skipped(behaviour, "the backend does not fence");
        return None;
    }
    Some(backend)
}

fn expecting(mut commit: Commit, latest: Option<&str>) -> Commit {
    commit.expect_latest = Some(latest.map(Into::into));
    commit
}

/// An expectation that holds is as good as none.
pub async fn an_expectation_that_holds_lets_the_commit_through(fixture: &dyn Fixture) {
    let behaviour = "an_expectation_that_holds_lets_the_commit_through";
    let Some(backend) = fenced(fixture, behaviour).await else {
        return;
    };
    let first = put(&backend, expecting(root("t", "1"), None)).await;
    let second = put(&backend, expecting(child("2", &[&first]), Some("1"))).await;
    let third = put(&backend, expecting(child("3", &[&second]), Some("2"))).await;
    for stored in [&first, &second, &third] {
        assert_intact(&backend, stored).await;
    }
}

/// An expectation that does not hold is `Conflict`, and stores nothing.
pub async fn an_expectation_that_does_not_hold_is_a_conflict(fixture: &dyn Fixture) {
    let behaviour = "an_expectation_that_does_not_hold_is_a_conflict";
    let Some(backend) = fenced(fixture, behaviour).await else {
        return;
    };
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, child("2", &[&first])).await;
    for expected in [None, Some("1"), Some("3"), Some("")] {
        let commit = expecting(child("4", &[&second]), expected);
        let error = failure(backend.commit(commit.clone()).await);
        assert_eq!(error.kind(), ErrorKind::Conflict, "expecting {expected:?}");
        assert!(error.is_certainly_not_applied());
        assert_nothing(&backend, &commit, first.incarnation).await;
    }
    assert_eq!(latest_id(&backend, "t").await.as_deref(), Some("2"));
}

/// A failed expectation on a thread that does not exist does not start it.
pub async fn a_failed_expectation_starts_no_thread(fixture: &dyn Fixture) {
    let behaviour = "a_failed_expectation_starts_no_thread";
    let Some(backend) = fenced(fixture, behaviour).await else {
        return;
    };
    let result = backend.commit(expecting(root("t", "2"), Some("1"))).await;
    assert_eq!(kind(result), ErrorKind::Conflict);
    assert_eq!(backend.incarnation("t").await.unwrap(), None);
}

/// Only visible records of the commit's own namespace are the latest.
pub async fn an_expectation_sees_visible_records_of_its_namespace(fixture: &dyn Fixture) {
    let behaviour = "an_expectation_sees_visible_records_of_its_namespace";
    let Some(backend) = fenced(fixture, behaviour).await else {
        return;
    };
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, child("2", &[&first])).await;
    put(&backend, root_in("t", "ns", "9")).await;
    hide(&backend, &second).await;
    put(&backend, expecting(child("3", &[&second]), Some("1"))).await;
    let other = expecting(root_in("t", "other", "1"), None);
    put(&backend, other).await;
}

/// Repeating a commit succeeds although its own success ended what it expected.
pub async fn a_repeat_is_known_before_its_expectation_is_checked(fixture: &dyn Fixture) {
    let behaviour = "a_repeat_is_known_before_its_expectation_is_checked";
    let Some(backend) = fenced(fixture, behaviour).await else {
        return;
    };
    let first = put(&backend, expecting(root("t", "1"), None)).await;
    let second = put(&backend, expecting(child("2", &[&first]), Some("1"))).await;
    for stored in [&first, &second] {
        let again = put(&backend, stored.commit.clone()).await;
        assert_eq!(again.incarnation, stored.incarnation);
        assert_intact(&backend, stored).await;
    }
}

/// The same expectation can be met again once what broke it is gone.
pub async fn an_expectation_may_hold_again_after_a_removal(fixture: &dyn Fixture) {
    let behaviour = "an_expectation_may_hold_again_after_a_removal";
    let Some(backend) = fenced(fixture, behaviour).await else {
        return;
    };
    let first = put(&backend, root("t", "1")).await;
    let second = put(&backend, expecting(child("2", &[&first]), Some("1"))).await;
    remove(&backend, &second).await;
    let again = put(&backend, expecting(child("2", &[&first]), Some("1"))).await;
    assert_intact(&backend, &again).await;
}

/// Where there is no fencing, asking for it is refused, and stores nothing.
pub async fn an_expectation_is_unsupported_without_fencing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    if backend.capabilities().fencing != Fencing::None {
        skipped(
            "an_expectation_is_unsupported_without_fencing",
            "the backend fences",
        );
        return;
    }
    let first = put(&backend, root("t", "1")).await;
    let commit = expecting(child("2", &[&first]), Some("1"));
    let result = backend.commit(commit.clone()).await;
    assert_eq!(kind(result), ErrorKind::Unsupported);
    assert_nothing(&backend, &commit, first.incarnation).await;
}
