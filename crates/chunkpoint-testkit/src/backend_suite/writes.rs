//! What [`put_writes`] promises.
//!
//! [`put_writes`]: chunkpoint_core::backend::CheckpointBackend::put_writes

use bytes::Bytes;
use chunkpoint_core::backend::RecordRow;

use super::Fixture;
use super::support::*;

/// Writes of a checkpoint that is there come back with it, field by field.
pub async fn writes_come_back_with_their_checkpoint(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let mut odd = write("task|:/#", -4, "x", true);
    odd.channel = "__interrupt__".into();
    odd.task_path = "a, b\n\"c\"".into();
    odd.value = Bytes::from_static(b"\0\xff");
    let mut writes = vec![
        write("task", 0, "", false),
        write("task", 1, "one", false),
        odd,
    ];
    let put = writing("t", "1", writes.clone());
    backend.put_writes(put).await.unwrap();
    let mut row = at(&backend, "t", &key("", "1")).await.unwrap();
    let order = |write: &chunkpoint_core::backend::PendingWrite| (write.task_id.clone(), write.idx);
    row.writes.sort_by_key(order);
    writes.sort_by_key(order);
    assert_eq!(
        row,
        RecordRow {
            writes,
            ..stored.row()
        }
    );
}

/// Writes may come before their checkpoint: invisible until then, and not lost.
pub async fn writes_before_their_checkpoint_wait_for_it(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let put_first = writing("t", "1", vec![write("task", 0, "early", false)]);
    backend.put_writes(put_first).await.unwrap();
    assert_eq!(at(&backend, "t", &key("", "1")).await, None);
    assert_eq!(latest(&backend, "t", "").await, None);
    assert!(ids(&backend, listing("t")).await.is_empty());
    assert!(threads(&backend, "").await.is_empty());

    let stored = put(&backend, root("t", "1")).await;
    let put_second = writing("t", "1", vec![write("task", 1, "late", false)]);
    backend.put_writes(put_second).await.unwrap();
    let values = values_at(&backend, "t", "1").await;
    assert_eq!(
        values,
        expected_values(&[("task", 0, "early"), ("task", 1, "late")])
    );
    assert_chunks(&backend, &stored).await;
    assert_eq!(threads(&backend, "").await, ["t"]);
}

/// Writes to a thread without an incarnation start one, which commits then join.
pub async fn writes_start_an_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let put_first = writing("t", "1", vec![write("task", 0, "early", false)]);
    backend.put_writes(put_first).await.unwrap();
    let started = backend.incarnation("t").await.unwrap();
    assert!(started.is_some());
    let stored = put(&backend, root("t", "1")).await;
    assert_eq!(Some(stored.incarnation), started);
}

/// Each write replaces or keeps what (task, idx) has, as it says.
pub async fn each_write_replaces_or_keeps(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("t", "1")).await;
    let first = vec![
        write("a", 0, "first", false),
        write("a", 1, "first", false),
        write("a", -1, "first", true),
        write("b", 0, "first", true),
    ];
    backend.put_writes(writing("t", "1", first)).await.unwrap();
    let second = vec![
        write("a", 0, "second", false),
        write("a", 1, "second", true),
        write("a", -1, "second", true),
        write("b", 0, "second", false),
        write("b", 1, "second", false),
    ];
    backend.put_writes(writing("t", "1", second)).await.unwrap();
    let expected = expected_values(&[
        ("a", 0, "first"),
        ("a", 1, "second"),
        ("a", -1, "second"),
        ("b", 0, "first"),
        ("b", 1, "second"),
    ]);
    assert_eq!(values_at(&backend, "t", "1").await, expected);
}

/// Repeating a call changes nothing, also when what it wrote was replaced since.
pub async fn repeated_writes_change_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("t", "1")).await;
    let first = writing(
        "t",
        "1",
        vec![write("a", 0, "first", true), write("a", 1, "1", false)],
    );
    let second = writing("t", "1", vec![write("a", 0, "second", true)]);
    backend.put_writes(first.clone()).await.unwrap();
    backend.put_writes(first.clone()).await.unwrap();
    let once = expected_values(&[("a", 0, "first"), ("a", 1, "1")]);
    assert_eq!(values_at(&backend, "t", "1").await, once);
    backend.put_writes(second.clone()).await.unwrap();
    backend.put_writes(first).await.unwrap();
    backend.put_writes(second).await.unwrap();
    let expected = expected_values(&[("a", 0, "second"), ("a", 1, "1")]);
    assert_eq!(values_at(&backend, "t", "1").await, expected);
}

/// Writes belong to one checkpoint of one namespace of one thread.
pub async fn writes_belong_to_one_checkpoint(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let others = [
        ("t", "", "1"),
        ("t", "", "2"),
        ("t", "ns", "1"),
        ("u", "", "1"),
    ];
    for (thread, namespace, id) in others {
        put(&backend, root_in(thread, namespace, id)).await;
        let value = format!("{thread}/{namespace}/{id}");
        let mut put = writing(thread, id, vec![write("task", 0, &value, false)]);
        put.key = key(namespace, id);
        backend.put_writes(put).await.unwrap();
    }
    for (thread, namespace, id) in others {
        let row = at(&backend, thread, &key(namespace, id)).await.unwrap();
        let value = format!("{thread}/{namespace}/{id}");
        assert_eq!(values(&row), expected_values(&[("task", 0, &value)]));
    }
}

/// Removing a record removes its writes; hiding it keeps them.
pub async fn writes_go_with_a_removal_and_stay_with_a_hide(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let removed = put(&backend, root("t", "1")).await;
    let hidden = put(&backend, root("t", "2")).await;
    for id in ["1", "2"] {
        let put = writing("t", id, vec![write("task", 0, id, false)]);
        backend.put_writes(put).await.unwrap();
    }
    remove(&backend, &removed).await;
    hide(&backend, &hidden).await;
    let kept = values_at(&backend, "t", "2").await;
    assert_eq!(kept, expected_values(&[("task", 0, "2")]));
    put(&backend, root("t", "1")).await;
    assert!(values_at(&backend, "t", "1").await.is_empty());
    // Writes that come after the removal are the next record's.
    let late = writing("t", "1", vec![write("task", 0, "new", false)]);
    backend.put_writes(late).await.unwrap();
    let new = values_at(&backend, "t", "1").await;
    assert_eq!(new, expected_values(&[("task", 0, "new")]));
}

/// Deleting the thread ends writes that wait for a checkpoint, too.
pub async fn writes_end_with_their_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let early = writing("t", "1", vec![write("task", 0, "early", false)]);
    backend.put_writes(early).await.unwrap();
    let started = backend.incarnation("t").await.unwrap().unwrap();
    backend.delete_thread("t", started).await.unwrap();
    put(&backend, root("t", "1")).await;
    assert!(values_at(&backend, "t", "1").await.is_empty());
}

/// 1,000 writes in one call.
pub async fn a_thousand_writes_in_one_call(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("t", "1")).await;
    let writes = (0..1_000).map(|n| write(&format!("task {}", n % 7), n, "value", false));
    backend
        .put_writes(writing("t", "1", writes.collect()))
        .await
        .unwrap();
    assert_eq!(values_at(&backend, "t", "1").await.len(), 1_000);
}

/// A call without writes is no error.
pub async fn no_writes_at_all_are_accepted(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    backend
        .put_writes(writing("t", "1", Vec::new()))
        .await
        .unwrap();
    assert_intact(&backend, &stored).await;
}
