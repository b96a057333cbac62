//! `list`: every combination of its parameters against a plain reckoning.

use chunkpoint_core::{Checkpoint, CheckpointTuple, Config, ListQuery, Saver};
use serde_json::{Value as Json, json};

use super::support::*;

/// Four threads of two namespaces of one to three checkpoints each. Ids of
/// all of them interleave, so that every order but the right one shows.
async fn several(saver: &Saver) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut place = 0;
    for n in 1..=3_usize {
        for thread in ["t4", "t1", "t3", "t2"] {
            for namespace in ["child", ""] {
                place += 1;
                if n == 3 && thread < "t3" {
                    continue;
                }
                // Two threads share their ids: the others have ids of their own.
                let own = if thread < "t3" { 0 } else { place };
                let mut step = Step::new(thread, &format!("{n}-{own:03}"))
                    .ns(namespace)
                    .meta("source", json!(if n == 1 { "input" } else { "loop" }))
                    .meta("step", json!(n))
                    .set("a", n as i64, list(&vec!["item"; n]));
                let before = steps.iter().rev().find(|earlier: &&Step| {
                    earlier.config.thread_id == thread && earlier.config.checkpoint_ns == namespace
                });
                if let Some(before) = before {
                    step = step.parent(&before.checkpoint.id);
                }
                step.put(saver).await;
                write(
                    saver,
                    &step.names(),
                    "task",
                    &[("a", thread), ("b", namespace)],
                )
                .await;
                steps.push(step);
            }
        }
    }
    // Newest id first, then by thread and namespace.
    steps.sort_by(|a, b| {
        let order = b.checkpoint.id.cmp(&a.checkpoint.id);
        order.then_with(|| {
            let a = (&a.config.thread_id, &a.config.checkpoint_ns);
            a.cmp(&(&b.config.thread_id, &b.config.checkpoint_ns))
        })
    });
    steps
}

fn holds(query: &ListQuery, step: &Step) -> bool {
    let config = &step.config;
    let thread = query.thread_id.as_ref();
    let namespace = query.checkpoint_ns.as_ref();
    let id = query.checkpoint_id.as_ref();
    thread.is_none_or(|thread| *thread == config.thread_id)
        && namespace.is_none_or(|namespace| *namespace == config.checkpoint_ns)
        && id.is_none_or(|id| *id == step.checkpoint.id)
        && query
            .before
            .as_ref()
            .is_none_or(|before| step.checkpoint.id < *before)
        && query
            .filter
            .iter()
            .all(|(key, value)| step.metadata.get(key) == Some(value))
}

/// Thread × namespace × id × limit × before × filter lists what a plain
/// reckoning says, in its order.
pub async fn every_combination_lists_what_it_should(target: &Target) {
    let saver = target.saver();
    let steps = several(&saver).await;
    for query in combinations(&steps[0].checkpoint.id) {
        let expected = steps.iter().filter(|step| holds(&query, step));
        let expected: Vec<_> = expected
            .map(Step::names)
            .take(query.limit.unwrap_or(usize::MAX))
            .collect();
        let found = listed(&saver, query.clone()).await;
        let found: Vec<_> = found.into_iter().map(|tuple| tuple.config).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

fn combinations(newest: &str) -> Vec<ListQuery> {
    let text = |text: &str| Some(text.to_owned());
    let threads = [None, text("t1"), text("t3"), text("t4"), text("t")];
    let namespaces = [None, text(""), text("child"), text("chil")];
    let ids = [None, text("2-000"), text(newest)];
    let befores = [None, text("1-002"), text("2-000"), text("3")];
    let filters: [Json; 4] = [
        json!({}),
        json!({"source": "input"}),
        json!({"source": "loop", "step": 2}),
        json!({"step": 9}),
    ];
    let mut queries = vec![ListQuery::default()];
    fn product<T>(queries: &mut Vec<ListQuery>, of: &[T], set: impl Fn(&mut ListQuery, &T)) {
        let each = queries.iter().flat_map(|query| {
            of.iter().map(|value| {
                let mut query = query.clone();
                set(&mut query, value);
                query
            })
        });
        *queries = each.collect();
    }
    product(&mut queries, &threads, |q, v| q.thread_id.clone_from(v));
    product(&mut queries, &namespaces, |q, v| {
        q.checkpoint_ns.clone_from(v)
    });
    product(&mut queries, &ids, |q, v| q.checkpoint_id.clone_from(v));
    product(&mut queries, &befores, |q, v| q.before.clone_from(v));
    product(&mut queries, &filters, |q, v| q.filter = object(v.clone()));
    product(&mut queries, &[None, Some(1), Some(2), Some(0)], |q, v| {
        q.limit = *v
    });
    queries
}

/// A tuple that is listed is the one that `get_tuple` gives.
pub async fn what_is_listed_is_what_is_got(target: &Target) {
    let saver = target.saver();
    several(&saver).await;
    for thread_id in [None, Some("t3".to_owned())] {
        let query = ListQuery {
            thread_id,
            ..ListQuery::default()
        };
        let found = listed(&saver, query).await;
        assert!(!found.is_empty());
        for listed in found {
            let got = get(&target.saver(), &listed.config).await;
            assert_eq!(whole(&listed).await, whole(&got).await);
        }
    }
}

async fn whole(
    tuple: &CheckpointTuple,
) -> (
    Config,
    Checkpoint,
    Json,
    Option<Config>,
    Vec<chunkpoint_core::Write>,
) {
    (
        tuple.config.clone(),
        tuple.checkpoint().await.unwrap(),
        Json::Object(tuple.metadata.clone()),
        tuple.parent_config.clone(),
        tuple.pending_writes.clone(),
    )
}

/// `before` compares ids alone, whatever thread it is of.
pub async fn before_compares_ids_across_threads(target: &Target) {
    let saver = target.saver();
    for (n, thread) in (1..).zip(["b", "a", "c", "a"]) {
        Step::new(thread, &id(n)).put(&saver).await;
    }
    let query = ListQuery {
        before: Some(id(3)),
        ..ListQuery::default()
    };
    let found = listed_names(&saver, query).await;
    let found: Vec<_> = found
        .iter()
        .map(|(thread, _, id)| (thread.clone(), id.clone()))
        .collect();
    assert_eq!(found, [("a".to_owned(), id(2)), ("b".to_owned(), id(1))]);
}

/// Over all threads: newest id first, then by thread, then by namespace.
pub async fn all_threads_are_listed_in_one_order(target: &Target) {
    let saver = target.saver();
    for thread in ["b", "a/", "a"] {
        for namespace in ["y", "", "x"] {
            chain(&saver, thread, namespace, 2).await;
        }
    }
    let found = listed_names(&saver, ListQuery::default()).await;
    let mut expected = Vec::new();
    for n in [2, 1] {
        for thread in ["a", "a/", "b"] {
            for namespace in ["", "x", "y"] {
                expected.push((thread.to_owned(), namespace.to_owned(), id(n)));
            }
        }
    }
    assert_eq!(found, expected);
}

/// More threads than any page of a backend holds are all listed.
pub async fn a_thousand_threads_are_listed(target: &Target) {
    let saver = target.saver();
    for n in 0..1100 {
        Step::new(&format!("thread {n:04}"), "1").put(&saver).await;
    }
    let found = listed_names(&saver, ListQuery::default()).await;
    let threads = found.into_iter().map(|(thread, ..)| thread);
    assert!(threads.eq((0..1100).map(|n| format!("thread {n:04}"))));
}
