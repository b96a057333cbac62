//! What [`delete_thread`], [`copy_thread`], [`incarnation`], [`threads`] and
//! [`close`] promise.
//!
//! [`delete_thread`]: chunkpoint_core::backend::CheckpointBackend::delete_thread
//! [`copy_thread`]: chunkpoint_core::backend::CheckpointBackend::copy_thread
//! [`incarnation`]: chunkpoint_core::backend::CheckpointBackend::incarnation
//! [`threads`]: chunkpoint_core::backend::CheckpointBackend::threads
//! [`close`]: chunkpoint_core::backend::CheckpointBackend::close

use std::sync::Arc;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{Change, Detail, ListRecords, ListThreads, Reclaim};

use super::Fixture;
use super::support::*;

/// After a deletion the thread does not exist for any read.
pub async fn a_deleted_thread_does_not_exist(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("t", "1")).await;
    let two = put(&backend, child("2", &[&one])).await;
    let other = put(&backend, root("u", "1")).await;
    hide(&backend, &two).await;
    backend.delete_thread("t", one.incarnation).await.unwrap();
    assert_eq!(backend.incarnation("t").await.unwrap(), None);
    for id in ["1", "2"] {
        assert_eq!(at(&backend, "t", &key("", id)).await, None);
    }
    assert_eq!(latest(&backend, "t", "").await, None);
    let all = ListRecords {
        hidden: true,
        ..listing("t")
    };
    assert!(rows(&backend, all).await.is_empty());
    assert_eq!(threads(&backend, "").await, ["u"]);
    assert_intact(&backend, &other).await;
}

/// Deleting an incarnation that is not the current one changes nothing.
pub async fn delete_names_the_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    backend.delete_thread("no thread", fresh()).await.unwrap();
    let first = put(&backend, root("t", "1")).await;
    backend.delete_thread("t", fresh()).await.unwrap();
    assert_intact(&backend, &first).await;
    backend.delete_thread("t", first.incarnation).await.unwrap();
    let second = put(&backend, root("t", "1")).await;
    assert_ne!(second.incarnation, first.incarnation);
    // A repeat of the first deletion does not reach the second life.
    backend.delete_thread("t", first.incarnation).await.unwrap();
    assert_intact(&backend, &second).await;
}

/// The life after a deletion knows nothing of the one before, also once that was freed.
pub async fn a_new_life_knows_nothing_of_the_old(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut life = None;
    for n in 0..5 {
        let stored = put(&backend, root("t", "1")).await;
        assert_ne!(Some(stored.incarnation), life);
        assert_intact(&backend, &stored).await;
        assert_eq!(ids(&backend, listing("t")).await, ["1"]);
        let put = writing("t", "1", vec![write("task", n, "value", false)]);
        backend.put_writes(put).await.unwrap();
        let due = Reclaim {
            thread: "t".into(),
            incarnation: stored.incarnation,
            before_ms: LATER,
            dead: Vec::new(),
        };
        backend.reclaim(due).await.unwrap();
        assert_chunks(&backend, &stored).await;
        backend
            .delete_thread("t", stored.incarnation)
            .await
            .unwrap();
        life = Some(stored.incarnation);
    }
}

/// Builds a thread with everything a copy must take along.
async fn furnished(backend: &Backend) -> Vec<Stored> {
    let one = put(backend, root("source", "1")).await;
    let two = put(backend, child("2", &[&one])).await;
    let three = put(backend, child("3", &[&two])).await;
    let ns = put(backend, root_in("source", "ns|x", "1")).await;
    let put_two = writing("source", "2", vec![write("task", 0, "two", false)]);
    backend.put_writes(put_two).await.unwrap();
    let put_three = writing("source", "3", vec![write("task", -1, "three", true)]);
    backend.put_writes(put_three).await.unwrap();
    // Three needs a chunk of one, whose record is gone.
    remove(backend, &one).await;
    hide(backend, &two).await;
    alter(backend, &ns, Change::Pin(true)).await;
    vec![one, two, three, ns]
}

fn everything(thread: &str) -> ListRecords {
    ListRecords {
        hidden: true,
        detail: Detail::Writes,
        ..listing(thread)
    }
}

/// A copy has every record, hidden ones, pins, writes and chunks, under the same pack ids.
pub async fn a_copy_has_everything(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = furnished(&backend).await;
    let before = rows(&backend, everything("source")).await;
    backend
        .copy_thread("source", "target", fresh())
        .await
        .unwrap();
    let current = backend.incarnation("target").await.unwrap().unwrap();
    let mut copied = rows(&backend, everything("target")).await;
    for row in &mut copied {
        assert_eq!(row.incarnation, current);
        // Where things lie may differ.
        let original = before.iter().find(|old| old.record == row.record);
        let original = original.expect("nothing is in the copy that was not in the source");
        (row.incarnation, row.locator) = (original.incarnation, original.locator);
    }
    assert_eq!(copied, before);
    for stored in &stored {
        let found = backend.chunks("target", current, &stored.names()).await;
        let expected: Vec<_> = stored.commit.chunks.iter().cloned().map(Some).collect();
        assert_eq!(found.unwrap(), expected);
        assert_chunks(&backend, stored).await;
    }
    assert_eq!(rows(&backend, everything("source")).await, before);
    assert_eq!(threads(&backend, "").await, ["source", "target"]);
}

/// Source and copy go their own ways.
pub async fn a_copy_is_independent(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = furnished(&backend).await;
    backend
        .copy_thread("source", "target", fresh())
        .await
        .unwrap();
    let current = backend.incarnation("target").await.unwrap().unwrap();
    let deleted = backend.delete_thread("source", stored[0].incarnation).await;
    deleted.unwrap();
    let mut here = stored[2].clone();
    here.commit.thread = "target".into();
    here.incarnation = current;
    let next = put(&backend, child("4", &[&here])).await;
    assert_eq!(next.incarnation, current);
    assert_intact(&backend, &next).await;
    assert_chunks(&backend, &here).await;
    assert_eq!(ids(&backend, listing("target")).await, ["4", "3", "1"]);
    remove(&backend, &here).await;
    // A removed record's pack is known in the copy, too: no repeat brings it back.
    let again = put(&backend, here.commit.clone()).await;
    assert_eq!(again.incarnation, current);
    assert_eq!(at(&backend, "target", &key("", "3")).await, None);
    assert_eq!(backend.incarnation("source").await.unwrap(), None);
}

/// A target that exists, with records or only writes, is a `Conflict`.
pub async fn a_copy_onto_a_thread_is_a_conflict(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("source", "1")).await;
    let there = put(&backend, root("target", "9")).await;
    let waiting = writing("waiting", "1", vec![write("task", 0, "x", false)]);
    backend.put_writes(waiting).await.unwrap();
    for target in ["target", "source", "waiting"] {
        let result = backend.copy_thread("source", target, fresh()).await;
        assert_eq!(kind(result), ErrorKind::Conflict, "onto {target}");
    }
    assert_intact(&backend, &there).await;
    assert_eq!(ids(&backend, listing("target")).await, ["9"]);
}

/// Of a source that has only pending writes, the copy has those: they wait for
/// their checkpoint, and the copy is not listed before.
pub async fn a_copy_of_writes_has_them_wait(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let waiting = writing("source", "1", vec![write("task", 0, "early", false)]);
    backend.put_writes(waiting).await.unwrap();
    backend
        .copy_thread("source", "target", fresh())
        .await
        .unwrap();
    assert!(threads(&backend, "").await.is_empty());
    let started = backend.incarnation("target").await.unwrap();
    assert!(started.is_some());
    let stored = put(&backend, root("target", "1")).await;
    assert_eq!(Some(stored.incarnation), started);
    let early = expected_values(&[("task", 0, "early")]);
    assert_eq!(values_at(&backend, "target", "1").await, early);
    put(&backend, root("source", "1")).await;
    assert_eq!(values_at(&backend, "source", "1").await, early);
}

/// A source that does not exist is `NotFound`, and leaves no target.
pub async fn a_copy_of_nothing_is_not_found(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let result = backend.copy_thread("source", "target", fresh()).await;
    assert_eq!(kind(result), ErrorKind::NotFound);
    assert_eq!(backend.incarnation("target").await.unwrap(), None);
}

/// Repeating a copy is success and changes nothing, also after the source was deleted.
pub async fn a_repeated_copy_is_done(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("source", "1")).await;
    let life = fresh();
    backend.copy_thread("source", "target", life).await.unwrap();
    let current = backend.incarnation("target").await.unwrap().unwrap();
    put(&backend, root("target", "2")).await;
    put(&backend, root("source", "3")).await;
    backend.copy_thread("source", "target", life).await.unwrap();
    let deleted = backend.delete_thread("source", stored.incarnation).await;
    deleted.unwrap();
    backend.copy_thread("source", "target", life).await.unwrap();
    assert_eq!(ids(&backend, listing("target")).await, ["2", "1"]);
    assert_eq!(backend.incarnation("target").await.unwrap(), Some(current));
}

/// A thread that was deleted can be the target.
pub async fn a_copy_onto_a_deleted_thread_succeeds(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("source", "1")).await;
    let old = put(&backend, root("target", "9")).await;
    backend
        .delete_thread("target", old.incarnation)
        .await
        .unwrap();
    backend
        .copy_thread("source", "target", fresh())
        .await
        .unwrap();
    assert_eq!(ids(&backend, listing("target")).await, ["1"]);
}

/// Threads ascend by id, in pages, and after a given one that need not exist.
pub async fn threads_come_in_order_and_pages(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut expected: Vec<String> = (0..57).map(|n| format!("thread {n}")).collect();
    for thread in &expected {
        put(&backend, root(thread, "1")).await;
        put(&backend, root_in(thread, "ns", "1")).await;
    }
    expected.sort_unstable();
    for limit in [1, 10, 57, 1_000] {
        let mut found: Vec<Arc<str>> = Vec::new();
        loop {
            let query = ListThreads {
                prefix: String::new(),
                after: found.last().cloned(),
                limit,
                all: false,
            };
            let page = backend.threads(query).await.unwrap();
            let left = expected.len() - found.len();
            assert_eq!(page.len(), limit.min(left), "fewer only at the end");
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert!(found.iter().map(|thread| &**thread).eq(&expected));
    }
    let query = ListThreads {
        prefix: String::new(),
        after: Some("thread 4 and a half".into()),
        limit: 2,
        all: false,
    };
    let page = backend.threads(query).await.unwrap();
    assert_eq!(page, ["thread 40".into(), "thread 41".into()]);
    let query = ListThreads {
        limit: 0,
        ..ListThreads::default()
    };
    assert!(backend.threads(query).await.unwrap().is_empty());
}

/// A prefix is bytes, not a pattern.
pub async fn threads_filters_by_prefix(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let all = [
        "a", "a%", "a%b", "a*", "aX", "a_", "ab", "A", "b", "%", "[a]", "a\\", "é", "e\u{301}",
    ];
    for thread in all {
        put(&backend, root(thread, "1")).await;
    }
    for prefix in [
        "", "a", "a%", "a_", "a*", "a\\", "%", "[", "A", "é", "e", "zzz",
    ] {
        let mut expected: Vec<_> = all.iter().filter(|t| t.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert!(
            threads(&backend, prefix).await.iter().eq(expected),
            "{prefix:?}"
        );
    }
    let query = |after: &str| ListThreads {
        prefix: "a".into(),
        after: Some(after.into()),
        limit: 100,
        all: false,
    };
    let after = backend.threads(query("aX")).await.unwrap();
    let expected: [Arc<str>; 3] = ["a\\".into(), "a_".into(), "ab".into()];
    assert_eq!(after, expected);
    assert_eq!(backend.threads(query("")).await.unwrap().len(), 8);
    assert!(backend.threads(query("b")).await.unwrap().is_empty());
}

/// Only threads with a visible record are listed.
pub async fn threads_lists_only_those_with_a_visible_record(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let hidden = put(&backend, root("hidden", "1")).await;
    hide(&backend, &hidden).await;
    let removed = put(&backend, root("removed", "1")).await;
    remove(&backend, &removed).await;
    put(&backend, root("visible", "1")).await;
    put(&backend, root_in("visible in a namespace", "ns", "1")).await;
    let put_writes = writing("writes", "1", vec![write("task", 0, "x", false)]);
    backend.put_writes(put_writes).await.unwrap();
    let found = threads(&backend, "").await;
    assert_eq!(found, ["visible", "visible in a namespace"]);
    put(&backend, child("2", &[&hidden])).await;
    assert_eq!(threads(&backend, "hidden").await, ["hidden"]);
}

/// Asked for all, threads without a visible record are listed too, in the same
/// order and pages; deleted ones are not.
pub async fn threads_lists_all_if_asked(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let hidden = put(&backend, root("hidden", "1")).await;
    hide(&backend, &hidden).await;
    let removed = put(&backend, root("removed", "1")).await;
    remove(&backend, &removed).await;
    put(&backend, root("visible", "1")).await;
    for thread in ["writes", "written and deleted"] {
        let put_writes = writing(thread, "1", vec![write("task", 0, "x", false)]);
        backend.put_writes(put_writes).await.unwrap();
    }
    let written = backend.incarnation("written and deleted").await.unwrap();
    let deleted = backend.delete_thread("written and deleted", written.unwrap());
    deleted.await.unwrap();
    let expected = ["hidden", "removed", "visible", "writes"].map(Arc::<str>::from);
    for limit in [1, 3, 100] {
        let mut found: Vec<Arc<str>> = Vec::new();
        loop {
            let query = ListThreads {
                after: found.last().cloned(),
                limit,
                all: true,
                ..ListThreads::default()
            };
            let page = backend.threads(query).await.unwrap();
            let left = expected.len() - found.len();
            assert_eq!(page.len(), limit.min(left), "fewer only at the end");
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
    let query = ListThreads {
        prefix: "w".into(),
        limit: 100,
        all: true,
        ..ListThreads::default()
    };
    assert_eq!(backend.threads(query).await.unwrap(), ["writes".into()]);
}

/// After `close`, every call is `Unavailable`, and says that trying again is no use.
pub async fn a_closed_backend_is_unavailable(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    backend.close().await.unwrap();
    let error = failure(backend.commit(root("t", "2")).await);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_certainly_not_applied());
    assert!(!error.is_retryable());
    let reads = [
        kind(backend.get("t", &[], Detail::Keys).await),
        kind(
            backend
                .chunks("t", stored.incarnation, &stored.names())
                .await,
        ),
        kind(backend.incarnation("t").await),
        kind(
            backend
                .threads(ListThreads {
                    limit: 1,
                    ..Default::default()
                })
                .await,
        ),
        kind(backend.list(listing("t")).await.map(|_| ())),
        kind(backend.put_writes(writing("t", "1", Vec::new())).await),
        kind(backend.delete_thread("t", stored.incarnation).await),
        kind(backend.copy_thread("t", "u", fresh()).await),
        kind(backend.alter(altering(&stored, Vec::new())).await),
    ];
    assert!(
        reads.iter().all(|kind| *kind == ErrorKind::Unavailable),
        "{reads:?}"
    );
}

/// A persistent backend finds everything again after it was closed.
pub async fn everything_is_there_after_a_reopen(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    if !backend.capabilities().persistent {
        let why = "the backend is not persistent";
        skipped("everything_is_there_after_a_reopen", why);
        return;
    }
    let stored = furnished(&backend).await;
    let waiting = writing("source", "9", vec![write("task", 0, "waiting", false)]);
    backend.put_writes(waiting.clone()).await.unwrap();
    let gone = put(&backend, root("deleted", "1")).await;
    backend
        .delete_thread("deleted", gone.incarnation)
        .await
        .unwrap();
    let before = rows(&backend, everything("source")).await;
    backend.close().await.unwrap();
    drop(backend);

    let backend = fixture.open().await;
    assert_eq!(rows(&backend, everything("source")).await, before);
    for stored in &stored {
        assert_chunks(&backend, stored).await;
    }
    assert_eq!(threads(&backend, "").await, ["source"]);
    assert_eq!(condemned(&backend, "source").await.len(), 1);
    // Write ids are remembered.
    put(&backend, stored[0].commit.clone()).await;
    assert_eq!(at(&backend, "source", &key("", "1")).await, None);
    backend.put_writes(waiting).await.unwrap();
    let next = put(&backend, child("9", &[&stored[2]])).await;
    let values = values_at(&backend, "source", "9").await;
    assert_eq!(values, expected_values(&[("task", 0, "waiting")]));
    assert_chunks(&backend, &next).await;
}

/// Where storage is shared, a second handle sees at once what the first did.
pub async fn a_second_handle_sees_everything(fixture: &dyn Fixture) {
    let one = fixture.open().await;
    if !one.capabilities().shared {
        skipped(
            "a_second_handle_sees_everything",
            "the storage is not shared",
        );
        return;
    }
    let two = fixture.open().await;
    let first = put(&one, root("t", "1")).await;
    assert_intact(&two, &first).await;
    let second = put(&two, child("2", &[&first])).await;
    assert_intact(&one, &second).await;
    remove(&one, &first).await;
    let commit = child("3", &[&first]);
    assert_eq!(kind(two.commit(commit).await), ErrorKind::ParentGone);
    two.delete_thread("t", first.incarnation).await.unwrap();
    assert_eq!(latest(&one, "t", "").await, None);
    let third = put(&one, root("t", "3")).await;
    assert_intact(&two, &third).await;
}
