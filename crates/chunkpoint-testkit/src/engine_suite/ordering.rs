//! Ids, what is the latest, history and forks.

use chunkpoint_core::{Error, ErrorKind, HistoryQuery, Item, Value};
use futures::TryStreamExt;
use serde_json::json;

use super::support::*;

/// An id that is made is greater than its parent's and the latest's, when the
/// clock stands still and when it goes back, in this memory and in another.
pub async fn ids_grow_whatever_the_clock_says(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut last = append(&thread, "x").await.id().to_owned();
    for n in 0..40_u64 {
        match n % 4 {
            0 => {}
            1 => target.clock().set(1_600_000_000_000 - n * 1_000_000),
            2 => target.clock().set(0),
            _ => target.clock().set(1_900_000_000_000 + n),
        }
        // Handles and memories that have seen nothing yet, too.
        let other = target.memory();
        let other = if n % 3 == 0 {
            super::support::thread(&other)
        } else {
            thread.clone()
        };
        let next = append(&other, "x").await;
        assert!(next.id() > last.as_str(), "{} after {last}", next.id());
        assert_eq!(next.parent_id(), Some(last.as_str()));
        last = next.id().to_owned();
    }
    assert_eq!(thread.latest().await.unwrap().unwrap().id(), last);
}

/// Ids of the caller's own are taken as given, and what follows is greater.
pub async fn ids_follow_the_callers(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    for id in ["0", "step-7", "zzz", "{", "ü", "\u{1f600}"] {
        let given = step(&thread, |draft| named(draft, id)).await;
        assert_eq!(given.id(), id);
        for _ in 0..3 {
            let next = append(&thread, "x").await;
            assert!(next.id() > id, "{} after {id}", next.id());
            assert_eq!(thread.latest().await.unwrap().unwrap().id(), next.id());
        }
    }
    let full = "\u{10ffff}".repeat(63);
    step(&thread, |draft| named(draft, &full)).await;
    // Where no greater id can be made, that is said.
    assert_eq!(kind(thread.draft().await), ErrorKind::InvalidInput);
}

/// The latest is the greatest id, not the last commit.
pub async fn the_latest_is_the_greatest_id(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    for (id, latest) in [
        ("m", "m"),
        ("x", "x"),
        ("a", "x"),
        ("xa", "xa"),
        ("x", "xa"),
    ] {
        let mut draft = thread.draft().await.unwrap();
        named(&mut draft, id);
        commit(&thread, draft).await;
        assert_eq!(thread.latest().await.unwrap().unwrap().id(), latest);
    }
}

/// Namespaces have their own latest, and share nothing.
pub async fn namespaces_are_apart(target: &Target) {
    let memory = target.memory();
    let root = thread(&memory);
    let child = root.with_namespace("child:1|x").unwrap();
    append(&root, "root").await;
    assert!(child.latest().await.unwrap().is_none());
    append(&child, "child").await;
    let of = async |thread| value(&thread, "list").await;
    let found = of(root.latest().await.unwrap().unwrap()).await;
    assert_eq!(found, Some(Value::List(items(["root"]))));
    let found = of(child.latest().await.unwrap().unwrap()).await;
    assert_eq!(found, Some(Value::List(items(["child"]))));
    assert_eq!(history(&root, HistoryQuery::default()).await.len(), 1);
    assert_eq!(history(&child, HistoryQuery::default()).await.len(), 1);
}

/// A checkpoint is found by its id, with its parent and time.
pub async fn a_checkpoint_is_found_by_id(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    target.clock().set(1_234_567);
    let snapshots = appended(&thread, 5).await;
    for (n, expected) in snapshots.iter().enumerate() {
        let found = reread(&target.memory(), expected).await.unwrap();
        assert_eq!(found.id(), expected.id());
        assert_eq!(found.parent_id(), expected.parent_id());
        assert_eq!(found.time_ms(), 1_234_567);
        assert!(!found.is_pinned());
        assert_eq!(value(&found, "list").await, Some(up_to(n + 1)));
    }
    assert!(thread.at("unknown").await.unwrap().is_none());
}

/// History gives every checkpoint, newest first, each with its own state.
pub async fn history_gives_every_state(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let snapshots = appended(&thread, 30).await;
    let other = target.memory();
    let mut stream = super::support::thread(&other).history(HistoryQuery::default());
    for n in (1..=30).rev() {
        let found = stream.try_next().await.unwrap().unwrap();
        assert_eq!(found.id(), snapshots[n - 1].id());
        assert_eq!(value(&found, "list").await, Some(up_to(n)));
    }
    assert!(stream.try_next().await.unwrap().is_none());
}

/// `before`, `limit` and `filter` of a history, alone and together.
pub async fn history_takes_before_limit_and_filter(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut snapshots = Vec::new();
    for n in 0..12 {
        let metadata = json!({"kind": if n % 3 == 0 { "tool" } else { "model" }, "n": n});
        let snapshot = step(&thread, |draft| {
            draft.metadata(metadata.as_object().unwrap().clone());
        });
        snapshots.push(snapshot.await);
    }
    let before = snapshots[9].id().to_owned();
    for use_before in [false, true] {
        for use_filter in [false, true] {
            for limit in [None, Some(0), Some(1), Some(3), Some(100)] {
                let query = HistoryQuery {
                    before: use_before.then(|| before.clone()),
                    limit,
                    filter: match use_filter {
                        true => json!({"kind": "tool"}).as_object().unwrap().clone(),
                        false => Default::default(),
                    },
                };
                let expected = snapshots
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| (!use_before || *n < 9) && (!use_filter || n % 3 == 0))
                    .map(|(_, snapshot)| snapshot);
                let mut expected = ids_of(expected);
                expected.truncate(limit.unwrap_or(usize::MAX));
                assert_eq!(history(&thread, query.clone()).await, expected, "{query:?}");
            }
        }
    }
}

/// A history of more checkpoints than any page of a backend holds is whole.
pub async fn a_long_history_is_whole(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut snapshots = vec![append(&thread, "0").await];
    for n in 1..1100 {
        let next = step_on(&snapshots[n - 1], |draft| {
            draft.set("n", Item::text(n.to_string())).unwrap();
        });
        snapshots.push(next.await);
    }
    assert_eq!(
        history(&thread, HistoryQuery::default()).await,
        ids_of(&snapshots)
    );
}

/// A fork goes on from an older state, beside the newer ones.
pub async fn a_fork_goes_on_from_an_older_state(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let snapshots = appended(&thread, 6).await;
    let mut draft = thread.fork(snapshots[2].id()).await.unwrap();
    assert!(draft.id() > snapshots[5].id());
    draft.append("list", items(["fork"])).unwrap();
    let fork = commit(&thread, draft).await;
    assert_eq!(fork.parent_id(), Some(snapshots[2].id()));
    let expected = Value::List(items(["1", "2", "3", "fork"]));
    assert_eq!(cold(target, &fork).await["list"], expected);
    assert_eq!(cold(target, &snapshots[5]).await["list"], up_to(6));
    assert_eq!(thread.latest().await.unwrap().unwrap().id(), fork.id());
}

/// A fork from what is not there is `ParentGone`.
pub async fn a_fork_needs_its_checkpoint(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    append(&thread, "x").await;
    assert_eq!(kind(thread.fork("unknown").await), ErrorKind::ParentGone);
    let empty = memory.thread("empty").unwrap();
    assert_eq!(kind(empty.fork("unknown").await), ErrorKind::ParentGone);
}

/// Threads are listed by prefix and in pages, by the bytes of their ids.
pub async fn threads_are_listed(target: &Target) {
    let memory = target.memory();
    let mut ids = ["a", "b/1", "b/10", "b/2", "B", "b", "ü", "b%", "b_1"];
    for id in ids {
        append(&memory.thread(id).unwrap(), "x").await;
    }
    ids.sort_unstable();
    let all = memory.threads("", None, 100).await.unwrap();
    assert!(all.iter().map(|id| &**id).eq(ids));
    for prefix in ["b", "b/", "b%", "b/1", "x"] {
        let found = memory.threads(prefix, None, 100).await.unwrap();
        let expected = ids.into_iter().filter(|id| id.starts_with(prefix));
        assert!(found.iter().map(|id| &**id).eq(expected), "{prefix}");
    }
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|id: &std::sync::Arc<str>| id.to_string());
        let page = memory.threads("b", after.as_deref(), 2).await.unwrap();
        let full = page.len() == 2;
        paged.extend(page);
        if !full {
            break;
        }
    }
    let expected = ids.into_iter().filter(|id| id.starts_with('b'));
    assert!(paged.iter().map(|id| &**id).eq(expected));
}

/// An error says which operation failed.
pub async fn errors_name_their_operation(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let error: Error = thread
        .fork("unknown")
        .await
        .expect_err("there is no such checkpoint");
    assert_eq!(error.operation_name(), "fork");
    assert!(error.is_certainly_not_applied() && !error.is_retryable());
    let error = thread
        .pin("unknown")
        .await
        .expect_err("there is no such checkpoint");
    assert_eq!(
        (error.kind(), error.operation_name()),
        (ErrorKind::NotFound, "pin")
    );
}
