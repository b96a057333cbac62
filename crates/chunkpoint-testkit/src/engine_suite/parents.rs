//! Commits whose parent has gone in the meantime, and lives of a thread.

use chunkpoint_core::{Config, ErrorKind, Snapshot, Value};

use super::support::*;

/// Commits a late step on `old`, which must be refused, and leave nothing.
async fn refused(target: &Target, old: &Snapshot) {
    let thread = old.thread();
    let before = history(thread, Default::default()).await;
    let mut draft = old.draft().unwrap();
    draft.append("list", items(["late"])).unwrap();
    let error = thread.commit(draft).await.expect_err("the parent has gone");
    assert_eq!(error.kind(), ErrorKind::ParentGone, "{error}");
    assert!(error.is_certainly_not_applied());
    assert!(!error.is_retryable());
    let other = target.memory();
    let thread = other.thread(thread.id()).unwrap();
    assert_eq!(history(&thread, Default::default()).await, before);
}

/// A step on a checkpoint that was pruned is refused, before and after its
/// bytes have gone.
pub async fn a_pruned_parent_is_gone(target: &Target) {
    let memory = target.memory();
    let snapshots = appended(&thread(&memory), 4).await;
    memory
        .saver()
        .prune(&["t"], Default::default())
        .await
        .unwrap();
    refused(target, &snapshots[1]).await;
    reclaim(target).await;
    refused(target, &snapshots[1]).await;
    let next = step_on(&snapshots[3], |draft| {
        draft.append("list", items(["5"])).unwrap();
    });
    assert_eq!(cold(target, &next.await).await["list"], up_to(5));
}

/// A step on a checkpoint that was replaced is refused: it is another one now.
pub async fn a_replaced_parent_is_gone(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let snapshots = appended(&thread, 2).await;
    let replaced = step_on(&snapshots[0], |draft| {
        named(draft, snapshots[1].id());
        draft.append("list", items(["other"])).unwrap();
    })
    .await;
    refused(target, &snapshots[1]).await;
    let next = step_on(&replaced, |draft| {
        draft.append("list", items(["more"])).unwrap();
    });
    let expected = Value::List(items(["1", "other", "more"]));
    assert_eq!(cold(target, &next.await).await["list"], expected);
}

/// A step on a checkpoint of a deleted thread is refused, whether the thread
/// has a new life or not.
pub async fn a_deleted_parent_is_gone(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let old = append(&thread, "x").await;
    thread.delete().await.unwrap();
    refused(target, &old).await;
    assert!(thread.latest().await.unwrap().is_none());
    // The same id in the new life is another checkpoint.
    let fresh = step(&thread, |draft| {
        named(draft, old.id());
        draft.append("list", items(["new life"])).unwrap();
    })
    .await;
    refused(target, &old).await;
    assert_eq!(
        cold(target, &fresh).await["list"],
        Value::List(items(["new life"]))
    );
}

/// A thread that is deleted is gone with all it has, at once.
pub async fn a_deleted_thread_is_gone(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let snapshots = appended(&thread, 3).await;
    append(&thread.with_namespace("child").unwrap(), "x").await;
    let config = Config::new("t").with_id(snapshots[0].id());
    let writes = vec![("a".to_owned(), chunkpoint_core::Item::text("x"))];
    memory
        .saver()
        .put_writes(&config, writes, "task", "")
        .await
        .unwrap();
    thread.delete().await.unwrap();
    for memory in [&memory, &target.memory()] {
        let thread = memory.thread("t").unwrap();
        assert!(thread.latest().await.unwrap().is_none());
        assert!(thread.at(snapshots[0].id()).await.unwrap().is_none());
        assert!(history(&thread, Default::default()).await.is_empty());
        let child = thread.with_namespace("child").unwrap();
        assert!(child.latest().await.unwrap().is_none());
        assert!(memory.threads("", None, 10).await.unwrap().is_empty());
    }
    thread.delete().await.unwrap();
}

/// A new life of a thread knows nothing of the old, and the old one's bytes
/// do not get into it.
pub async fn a_new_life_knows_nothing_of_the_old(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    for life in 0..4_u64 {
        let list = random_items(life, 300, 100);
        let snapshot = step(&thread, |draft| {
            assert!(draft.parent().is_none());
            named(draft, "the one id");
            draft.set("list", list.clone()).unwrap();
        })
        .await;
        assert_eq!(history(&thread, Default::default()).await.len(), 1);
        // Through the memory that has the last life in its cache, too.
        let found = reread(&memory, &snapshot).await.unwrap();
        assert!(value(&found, "list").await == Some(Value::List(list.clone())));
        assert!(cold(target, &snapshot).await["list"] == Value::List(list));
        if life % 2 == 0 {
            reclaim(target).await;
        }
        thread.delete().await.unwrap();
    }
}

/// A snapshot of a deleted thread gives what it has, or `NotFound`.
pub async fn a_snapshot_of_a_deleted_thread_is_not_corrupt(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = step(&thread, |draft| {
        draft.set("list", random_items(1, 500, 200)).unwrap();
    })
    .await;
    let held = reread(&target.memory(), &first).await.unwrap();
    thread.delete().await.unwrap();
    append(&thread, "a new life").await;
    for _ in 0..2 {
        match held.value("list").await {
            Ok(found) => assert!(found == Some(Value::List(random_items(1, 500, 200)))),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        reclaim(target).await;
    }
}

/// A copy of a thread: everything, in lives of their own.
pub async fn a_copy_goes_its_own_way(target: &Target) {
    let memory = target.memory();
    let saver = memory.saver();
    let source = memory.thread("source").unwrap();
    let first = step(&source, |draft| {
        draft.set("list", random_items(1, 800, 100)).unwrap();
    })
    .await;
    let second = step_on(&first, |draft| {
        draft.append("list", items(["more"])).unwrap();
    })
    .await;
    source.pin(first.id()).await.unwrap();
    saver.copy_thread("source", "copy").await.unwrap();
    let copy = memory.thread("copy").unwrap();
    let found = copy.at(first.id()).await.unwrap().unwrap();
    assert!(found.is_pinned());
    assert_eq!(found.time_ms(), first.time_ms());
    let latest = copy.latest().await.unwrap().unwrap();
    assert_eq!(latest.parent_id(), Some(first.id()));
    assert_eq!(cold(target, &latest).await, cold(target, &second).await);
    // Each goes on from its own; a snapshot of one is no parent in the other.
    let next = step_on(&latest, |draft| {
        draft.splice("list", 100..700, []).unwrap();
    })
    .await;
    let foreign = second.draft().unwrap();
    assert_eq!(kind(copy.commit(foreign).await), ErrorKind::InvalidInput);
    source.delete().await.unwrap();
    reclaim(target).await;
    assert_eq!(next.list("list").await.unwrap().len(), 201);
    assert_eq!(
        cold(target, &next).await["list"],
        value(&next, "list").await.unwrap()
    );
    assert_eq!(
        kind(saver.copy_thread("source", "again").await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(saver.copy_thread("copy", "copy").await),
        ErrorKind::Conflict
    );
}
