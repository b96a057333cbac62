//! Readers and writers of the same items at the same time.

use std::time::Duration;

use chunkpoint_core::store::{Put, Store, StoreOp};
use chunkpoint_core::store_backend::Expect;
use chunkpoint_core::{ErrorKind, Settings};
use futures::future::join_all;

use super::support::*;

/// Tasks at once.
const TASKS: u64 = 16;

/// A value that is large, and that tells whether it is whole.
fn whole(n: u64) -> Json {
    json!({"first": n, "long": text(n, 30_000), "z": {"last": n}})
}

fn assert_whole(found: &Json) -> u64 {
    let n = found["first"].as_u64().expect("a number");
    assert!(
        *found == whole(n),
        "the value is that of one put, not of several"
    );
    n
}

/// Replaces the value, and sweeps what was before at once.
async fn replaced_and_swept(
    store: Store,
    clock: std::sync::Arc<crate::deterministic::ManualClock>,
) {
    put(&store, "a", whole(2)).await;
    clock.advance(minutes(60.0));
    store.sweep().await.unwrap();
}

/// A value that is replaced and swept between the reading of its row and of its chunks:
/// the reader gets the new one, by get, search and batch.
pub async fn a_reader_gets_what_replaced_it(target: &Target) {
    for way in 0..3 {
        put(&target.store(), "a", whole(1)).await;
        let work = replaced_and_swept(target.store(), target.clock_handle());
        target.watch().before_next_chunks(work);
        let reader = target.store();
        let found = match way {
            0 => value(&reader, "a").await,
            1 => {
                let mut items = reader.search(below(&[])).await.unwrap();
                items.pop().map(|item| Json::Object(item.value))
            }
            _ => {
                let get = chunkpoint_core::store::Get {
                    item: name(NS, "a"),
                    refresh_ttl: None,
                };
                let mut answers = reader.batch(vec![StoreOp::Get(get)]).await.unwrap();
                match answers.remove(0).unwrap() {
                    chunkpoint_core::store::StoreAnswer::Item(item) => {
                        item.map(|item| Json::Object(item.value))
                    }
                    other => panic!("{other:?} is no answer to a get"),
                }
            }
        };
        assert_eq!(found.map(|found| assert_whole(&found)), Some(2));
    }
}

/// A value that is replaced by a small one, or removed, in that moment.
pub async fn a_reader_gets_what_is_left(target: &Target) {
    for removed in [true, false] {
        put(&target.store(), "a", whole(1)).await;
        let (store, clock) = (target.store(), target.clock_handle());
        target.watch().before_next_chunks(async move {
            match removed {
                true => store.delete(NS, "a").await.unwrap(),
                false => {
                    put(&store, "a", json!({"small": 1})).await;
                }
            }
            clock.advance(minutes(60.0));
            store.sweep().await.unwrap();
        });
        let expected = (!removed).then(|| json!({"small": 1}));
        assert_eq!(value(&target.store(), "a").await, expected);
    }
}

/// Within the grace period a reader still gets the value whose row it has read.
pub async fn a_reader_has_the_grace_period(target: &Target) {
    put(&target.store(), "a", whole(1)).await;
    let (store, clock) = (target.store(), target.clock_handle());
    let grace = target.settings().grace;
    target.watch().before_next_chunks(async move {
        clock.advance(Duration::from_secs(1));
        put(&store, "a", whole(2)).await;
        clock.advance(grace - Duration::from_secs(1));
        store.sweep().await.unwrap();
    });
    let found = value(&target.store(), "a").await;
    assert_eq!(found.map(|found| assert_whole(&found)), Some(1));
}

/// Readers, a writer and a sweeper without any grace: every reader gets a whole value,
/// never an older one than before, and never `Corrupt`.
pub async fn readers_never_meet_half_a_value(target: &Target) {
    let no_grace = || {
        target.store_with(Settings {
            grace: Duration::ZERO,
            ..target.settings()
        })
    };
    put(&no_grace(), "a", whole(0)).await;
    let writer = {
        let (store, clock) = (no_grace(), target.clock_handle());
        tokio::spawn(async move {
            for n in 1..40 {
                put(&store, "a", whole(n)).await;
                clock.advance(Duration::from_millis(2));
                store.sweep().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let readers = (0..3).map(|reader| {
        let fresh: Vec<Store> = (0..20).map(|_| no_grace()).collect();
        tokio::spawn(async move {
            let mut last = 0;
            for store in fresh {
                let found = match reader {
                    0 => store.search(below(&[])).await.map(|mut items| items.pop()),
                    _ => store.get(NS, "a").await,
                };
                let found = match found {
                    Ok(found) => found.expect("it is there all the time"),
                    // It was replaced more often than it was read again.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                        assert!(error.is_retryable());
                        continue;
                    }
                };
                let n = assert_whole(&Json::Object(found.value));
                assert!(n >= last, "{n} after {last}");
                last = n;
            }
        })
    });
    for done in join_all(readers).await {
        done.unwrap();
    }
    writer.await.unwrap();
    let last = value(&target.store(), "a").await.expect("it is there");
    assert_eq!(assert_whole(&last), 39);
}

/// Sixteen tasks count one number up, each step on the version it has read: nothing is
/// lost, and in every round exactly one wins.
pub async fn counting_with_versions_loses_nothing(target: &Target) {
    let store = target.store();
    put(&store, "a", json!({"n": 0})).await;
    let tasks = (0..TASKS).map(|_| {
        let store = target.store();
        tokio::spawn(async move {
            let mut won = Vec::new();
            while won.len() < 5 {
                let before = item(&store, "a").await.expect("it is there");
                let n = before.value["n"].as_u64().unwrap() + 1;
                let put = Put {
                    expect: Expect::Version(before.version),
                    ..putting(NS, "a", json!({"n": n}))
                };
                match store.put_with(put).await {
                    Ok(_) => won.push(n),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
                tokio::task::yield_now().await;
            }
            won
        })
    });
    let won = join_all(tasks).await.into_iter();
    let mut won: Vec<u64> = won.flat_map(Result::unwrap).collect();
    won.sort_unstable();
    assert_eq!(won, Vec::from_iter(1..=TASKS * 5));
    assert_eq!(value(&store, "a").await, Some(json!({"n": TASKS * 5})));
}

/// Of many that put what must not be there yet, one wins.
pub async fn one_of_many_creators_wins(target: &Target) {
    for round in 0..5 {
        let key = format!("{round}");
        let tasks = (0..TASKS).map(|task| {
            let (store, key) = (target.store(), key.clone());
            tokio::spawn(async move {
                let put = Put {
                    expect: Expect::Absent,
                    ..putting(NS, &key, whole(task))
                };
                store.put_with(put).await.is_ok().then_some(task)
            })
        });
        let won: Vec<u64> = join_all(tasks)
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert_eq!(won.len(), 1, "in round {round}");
        let found = value(&target.store(), &key).await.expect("it is there");
        assert_eq!(assert_whole(&found), won[0]);
    }
}

/// Batches of many tasks over the same and other items all come to an end, and stand.
pub async fn batches_at_once_all_stand(target: &Target) {
    let tasks = (0..TASKS).map(|task| {
        let store = target.store();
        tokio::spawn(async move {
            for n in 0..5 {
                let shared = |key: u64| {
                    let key = format!("shared {}", (key + task) % 8);
                    StoreOp::Put(putting(NS, &key, json!({"task": task})))
                };
                let mut ops: Vec<StoreOp> = (0..8).map(shared).collect();
                let own = format!("own {task:02} {n}");
                ops.push(StoreOp::Put(putting(NS, &own, whole(task))));
                ops.push(StoreOp::Search(below(NS).limit(3)));
                for answer in store.batch(ops).await.unwrap() {
                    answer.unwrap();
                }
            }
        })
    });
    for done in join_all(tasks).await {
        done.unwrap();
    }
    let store = target.store();
    let keys = found(&store, below(NS)).await;
    assert_eq!(keys.len() as u64, 8 + TASKS * 5);
}

/// Paging on after the last item gives what stays exactly once, while others come and
/// go.
pub async fn pages_hold_what_stays_once(target: &Target) {
    let store = target.store();
    for n in 0..120 {
        put(&store, &format!("{n:03}"), json!({"stays": n % 2 == 0})).await;
    }
    let (mut seen, mut search) = (Vec::new(), below(NS).limit(7));
    loop {
        let page = found(&store, search.clone()).await;
        let Some(last) = page.last() else { break };
        search = search.after(name(NS, last));
        let n = (seen.len() * 13 % 120) | 1;
        store.delete(NS, &format!("{n:03}")).await.unwrap();
        put(&store, &format!("{n:03}+"), json!({})).await;
        seen.extend(page);
    }
    assert!(seen.is_sorted());
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "nothing twice");
    for n in (0..120).step_by(2) {
        assert!(seen.contains(&format!("{n:03}")), "{n}");
    }
}
