//! Listings that take so long that what they list is replaced and freed meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_core::backend::{
    CheckpointBackend, Detail, ListCondemned, ListRecords, Pick, Reclaim,
};
use chunkpoint_testkit::faults::commit;
use futures::TryStreamExt;
use support::Place;

/// More than are read at once.
const RECORDS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_replaced_and_freed_meanwhile_is_listed_as_it_is() {
    let Some(place) = Place::redis() else {
        return;
    };
    let backend = place.backend().await;
    let mut last = None;
    for step in 0..RECORDS {
        let next = commit(0, step, last.as_ref().map(|(commit, done)| (commit, *done)));
        let committed = backend.commit(next.clone()).await.unwrap();
        last = Some((next, committed));
    }
    let (newest, committed) = last.unwrap();
    let query = ListRecords {
        thread: "thread 0".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: false,
        detail: Detail::Bodies,
    };
    let mut rows = backend.list(query).await.unwrap();
    let first = rows.try_next().await.unwrap().unwrap();
    assert_eq!(first.record.key, newest.key);

    // The oldest is put again, and what it was is freed before the listing comes to it.
    let again = commit(0, 0, Some((&newest, committed)));
    backend.commit(again.clone()).await.unwrap();
    let condemned = ListCondemned {
        thread: "thread 0".into(),
        before_ms: u64::MAX >> 12,
        after: None,
        limit: 10,
    };
    let condemned = backend.condemned(condemned).await.unwrap().unwrap();
    assert_eq!(condemned.packs.len(), 1);
    let dead = condemned.packs.into_iter();
    let reclaim = Reclaim {
        thread: "thread 0".into(),
        incarnation: condemned.incarnation,
        before_ms: u64::MAX >> 12,
        dead: dead.map(|pack| (pack.pack, pack.chunks)).collect(),
    };
    backend.reclaim(reclaim).await.unwrap();

    let rest: Vec<_> = rows.try_collect().await.unwrap();
    assert_eq!(1 + rest.len(), RECORDS, "none is left out");
    let oldest = rest.last().unwrap();
    assert_eq!(oldest.record.key, again.key);
    assert_eq!(oldest.record.pack, again.pack);
    let picks = [Pick::At(again.key.clone())];
    let now = backend.get("thread 0", &picks, Detail::Bodies).await;
    assert_eq!(now.unwrap()[0].as_ref().unwrap().body, oldest.body);
}
