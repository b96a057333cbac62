//! `list`: which checkpoints, in which order.

use chunkpoint_core::{Config, ErrorKind, ListQuery};
use serde_json::json;

use super::support::*;

/// Puts the four checkpoints most behaviours look for: steps of every source
/// and score in the root namespace of `t`.
async fn four(saver: &chunkpoint_core::Saver) {
    let sources = ["input", "loop", "loop", "update"];
    for (n, source) in (1..).zip(sources) {
        let step = link("t", "", n)
            .meta("source", json!(source))
            .meta("score", json!(n * 10));
        step.put(saver).await;
    }
}

fn filtered(filter: serde_json::Value) -> ListQuery {
    ListQuery {
        filter: object(filter),
        ..of_thread("t")
    }
}

/// Every checkpoint is listed.
pub async fn all_are_listed(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    assert_eq!(listed(&saver, of_thread("t")).await.len(), 4);
}

/// A listing of a thread has its checkpoints only.
pub async fn a_thread_is_listed_alone(target: &Target) {
    let saver = target.saver();
    for (thread, count) in [("t", 2), ("t2", 3), ("", 0)] {
        if count > 0 {
            chain(&saver, thread, "", count).await;
        }
    }
    let names = listed_names(&saver, of_thread("t")).await;
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|(thread, ..)| thread == "t"));
}

/// A listing of a namespace has its checkpoints only; the empty one is the root.
pub async fn a_namespace_is_listed_alone(target: &Target) {
    let saver = target.saver();
    for (namespace, count) in [("", 1), ("child:1", 2), ("child", 3), ("child:1|x", 4)] {
        chain(&saver, "t", namespace, count).await;
    }
    for (namespace, count) in [
        ("", 1),
        ("child:1", 2),
        ("child", 3),
        ("child:1|x", 4),
        ("c", 0),
    ] {
        let found = listed_names(&saver, of_ns("t", namespace)).await;
        assert_eq!(found.len(), count, "{namespace}");
        assert!(found.iter().all(|(_, ns, _)| ns == namespace));
    }
}

/// The newest comes first, whichever was put last.
pub async fn the_newest_comes_first(target: &Target) {
    let saver = target.saver();
    for n in [3, 1, 5, 2, 4] {
        Step::new("t", &id(n)).put(&saver).await;
    }
    let found = listed_ids(&saver, of_thread("t")).await;
    assert_eq!(found, ids([5, 4, 3, 2, 1]));
}

/// A filter by one key of the metadata.
pub async fn a_filter_by_source(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    let found = listed_ids(&saver, filtered(json!({"source": "loop"}))).await;
    assert_eq!(found, ids([3, 2]));
}

/// A filter by a number.
pub async fn a_filter_by_step(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    let found = listed_ids(&saver, filtered(json!({"step": 2}))).await;
    assert_eq!(found, ids([2]));
}

/// A filter by several keys: all must be equal.
pub async fn a_filter_by_several_keys(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    let found = listed_ids(&saver, filtered(json!({"source": "loop", "step": 3}))).await;
    assert_eq!(found, ids([3]));
    let found = listed_ids(&saver, filtered(json!({"source": "input", "step": 3}))).await;
    assert!(found.is_empty());
}

/// A filter that nothing matches lists nothing.
pub async fn a_filter_may_match_nothing(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    let found = listed_ids(&saver, filtered(json!({"source": "fork"}))).await;
    assert!(found.is_empty());
}

/// A filter by a key that only the caller knows.
pub async fn a_filter_by_a_callers_key(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    let found = listed_ids(&saver, filtered(json!({"score": 40}))).await;
    assert_eq!(found, ids([4]));
}

/// Only ids before the one named, not that one.
pub async fn before_is_exclusive(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    for (before, expected) in [(1, ids([])), (3, ids([2, 1])), (9, ids([4, 3, 2, 1]))] {
        let mut query = of_thread("t");
        query.before = Some(id(before));
        assert_eq!(listed_ids(&saver, query).await, expected);
    }
    // It need not exist.
    let mut query = of_thread("t");
    query.before = Some(id(3) + "0");
    assert_eq!(listed_ids(&saver, query).await, ids([3, 2, 1]));
}

/// At most so many; none for 0.
pub async fn a_limit_is_kept(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    for limit in 0..6 {
        for thread_id in [Some("t".to_owned()), None] {
            let query = ListQuery {
                limit: Some(limit),
                thread_id,
                ..ListQuery::default()
            };
            let expected: Vec<_> = ids([4, 3, 2, 1]).into_iter().take(limit).collect();
            assert_eq!(listed_ids(&saver, query).await, expected);
        }
    }
}

/// A limit counts from where `before` begins.
pub async fn a_limit_counts_after_before(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    let mut query = of_thread("t");
    query.before = Some(id(4));
    query.limit = Some(2);
    assert_eq!(listed_ids(&saver, query).await, ids([3, 2]));
}

/// A limit counts what the filter lets through.
pub async fn a_limit_counts_after_the_filter(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    for thread_id in [Some("t".to_owned()), None] {
        let mut query = filtered(json!({"source": "input"}));
        query.thread_id = thread_id;
        query.limit = Some(1);
        assert_eq!(listed_ids(&saver, query).await, ids([1]));
    }
}

/// Thread and filter together.
pub async fn a_filter_is_of_the_thread(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    Step::new("u", &id(2))
        .meta("source", json!("loop"))
        .put(&saver)
        .await;
    let mut query = filtered(json!({"source": "loop"}));
    assert_eq!(listed_ids(&saver, query.clone()).await, ids([3, 2]));
    query.thread_id = Some("u".into());
    assert_eq!(listed_ids(&saver, query).await, ids([2]));
}

/// A thread that does not exist lists nothing.
pub async fn an_unknown_thread_lists_nothing(target: &Target) {
    let saver = target.saver();
    four(&saver).await;
    assert!(listed(&saver, of_thread("unknown")).await.is_empty());
}

/// Pending writes are listed with their checkpoint.
pub async fn writes_are_listed(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 2).await;
    write(
        &saver,
        &Config::new("t").with_id(id(1)),
        "task",
        &[("a", "x")],
    )
    .await;
    let found = listed(&saver, of_thread("t")).await;
    assert!(found[0].pending_writes.is_empty());
    assert_eq!(written(&found[1]), told_as(&[("task", "a", "x")]));
}

/// Without a namespace, all are listed: of equal ids, by namespace.
pub async fn all_namespaces_are_listed(target: &Target) {
    let saver = target.saver();
    for namespace in ["b", "", "a|b"] {
        chain(&saver, "t", namespace, 2).await;
    }
    let found = listed_names(&saver, of_thread("t")).await;
    let found: Vec<_> = found
        .iter()
        .map(|(_, ns, id)| (id.as_str(), ns.as_str()))
        .collect();
    let (one, two) = (id(1), id(2));
    let expected = [
        (&two, ""),
        (&two, "a|b"),
        (&two, "b"),
        (&one, ""),
        (&one, "a|b"),
        (&one, "b"),
    ];
    assert_eq!(found, expected.map(|(id, ns)| (id.as_str(), ns)));
}

/// A checkpoint id lists that one, of every namespace asked for.
pub async fn an_id_lists_that_one(target: &Target) {
    let saver = target.saver();
    for namespace in ["", "child"] {
        chain(&saver, "t", namespace, 3).await;
    }
    let mut query = of_thread("t");
    query.checkpoint_id = Some(id(2));
    assert_eq!(listed_ids(&saver, query.clone()).await, ids([2, 2]));
    query.checkpoint_ns = Some("child".into());
    assert_eq!(listed_ids(&saver, query.clone()).await, ids([2]));
    query.before = Some(id(2));
    assert!(listed_ids(&saver, query.clone()).await.is_empty());
    query.before = Some(id(3));
    assert_eq!(listed_ids(&saver, query.clone()).await, ids([2]));
    query.checkpoint_id = Some("00000".into());
    assert!(listed_ids(&saver, query).await.is_empty());
}

/// Ids are ordered by their bytes: no collation, no numbers.
pub async fn ids_are_ordered_by_bytes(target: &Target) {
    let saver = target.saver();
    let mut given = [
        "a",
        "B",
        "ä",
        "1",
        "10",
        "2",
        "~",
        "a ",
        "\u{ff5e}",
        "\u{1f600}",
        "a'",
        "A",
    ];
    for id in given {
        Step::new("t", id).put(&saver).await;
    }
    given.sort_unstable();
    given.reverse();
    assert_eq!(listed_ids(&saver, of_thread("t")).await, given);
    assert_eq!(listed_ids(&saver, ListQuery::default()).await, given);
    for before in given {
        let mut query = of_thread("t");
        query.before = Some(before.to_owned());
        let expected: Vec<_> = given.iter().copied().filter(|id| *id < before).collect();
        assert_eq!(listed_ids(&saver, query).await, expected);
    }
}

/// Ids that cannot be are refused by the stream's first item.
pub async fn list_refuses_impossible_ids(target: &Target) {
    use futures::TryStreamExt;
    let saver = target.saver();
    let bad = "x\0y".to_owned();
    let impossible = [
        of_thread(&bad),
        of_thread(""),
        of_ns("t", &bad),
        ListQuery {
            before: Some(bad.clone()),
            ..of_thread("t")
        },
        ListQuery {
            checkpoint_id: Some("x".repeat(256)),
            ..of_thread("t")
        },
    ];
    for query in impossible {
        let result = saver.list(query).try_collect::<Vec<_>>().await;
        assert_eq!(kind(result), ErrorKind::InvalidInput);
    }
}

/// What a binding needs to move the sends of old checkpoints (`v` below 4) into a
/// channel is there for listed checkpoints too: the parent of each, and its writes.
pub async fn the_writes_of_listed_parents_can_be_read(target: &Target) {
    let saver = target.saver();
    let parent = Step::new("t", "1").put(&saver).await;
    for (path, task, send) in [("~2", "t0", "send-2"), ("~1", "t1", "send-1")] {
        write_at(&saver, &parent, task, path, &[("__pregel_tasks", send)]).await;
    }
    Step::new("t", "2").parent("1").put(&saver).await;
    let tuples = listed(&saver, of_thread("t")).await;
    assert_eq!(tuples.len(), 2);
    let parent = tuples[0].parent_config.as_ref().expect("it has a parent");
    assert_eq!(parent.checkpoint_id, tuples[1].config.checkpoint_id);
    let sends: Vec<_> = tuples[1].pending_writes.iter().map(told).collect();
    assert_eq!(
        sends.iter().map(|send| &*send.2).collect::<Vec<_>>(),
        ["send-1", "send-2"]
    );
}
