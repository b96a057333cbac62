//! Writes, syncs and cut-backs that fail. What was acknowledged must stay, and
//! what was not must be told apart: certainly not applied, or unknown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::*;
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::TryStreamExt;

use super::{Op, submit};
use crate::FsBackend;
use crate::config::FsConfig;
use crate::fault::{Call, Faults};
use crate::row::read_pick;
use crate::store::{Store, key_of};
use crate::wait::Wait;

/// A store whose calls can be made to fail.
struct Faulty(Arc<Store>);

impl Faulty {
    fn open(dir: &Path) -> Self {
        Self(Arc::new(Store::open(&FsConfig::new(dir)).unwrap()))
    }

    fn faults(&self) -> &Faults {
        &self.0.dir.counters.faults
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let (key, thread) = (key_of(&commit.thread), commit.thread.clone());
        submit(&self.0, key, thread, |sender| {
            Op::Commit(Box::new(commit), sender)
        })
        .await
    }

    /// The latest record, as this store sees it.
    fn latest(&self, thread: &str) -> Option<RecordRow> {
        let view = self.0.view(&key_of(thread), thread, Wait::Yes).unwrap()?;
        let namespace = "".into();
        let pick = Pick::Latest { namespace };
        read_pick(&mut view.reader(), &view.state, &pick, Detail::Writes).unwrap()
    }

    fn latest_id(&self) -> String {
        self.latest("t").unwrap().record.key.id.to_string()
    }

    /// Commits `from` to `to`, which must succeed.
    async fn fill(&self, from: u32, to: u32) {
        for n in from..=to {
            self.commit(commit("t", n)).await.unwrap();
        }
    }
}

fn commit(thread: &str, n: u32) -> Commit {
    Commit {
        thread: thread.into(),
        key: RecordKey {
            namespace: "".into(),
            id: format!("{n:04}").into(),
        },
        pack: PackId(u64::from(n).to_be_bytes()),
        base: Base::Root {
            fresh: Incarnation([1; 8]),
        },
        expect_latest: None,
        index: RecordIndex::default(),
        body: Bytes::from(vec![n as u8; 700]),
        chunks: vec![Bytes::from(vec![n as u8; 300])],
        metadata: Arc::default(),
    }
}

/// Another backend on the directory finds exactly the records up to `last`,
/// whole, and can go on.
async fn assert_whole(dir: &Path, last: u32) {
    let backend = FsBackend::open(dir).unwrap();
    let query = ListRecords {
        thread: "t".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: Detail::Writes,
    };
    let rows = backend.list(query).await.unwrap();
    let rows: Vec<RecordRow> = rows.try_collect().await.unwrap();
    assert_eq!(rows.len() as u32, last);
    for (row, n) in rows.iter().rev().zip(1..) {
        let expected = commit("t", n);
        assert_eq!(
            (&row.record.key, &row.body),
            (&expected.key, &expected.body)
        );
        let name = ChunkName {
            pack: expected.pack,
            ordinal: 0,
            locator: row.locator,
            len: 300,
        };
        let chunks = backend.chunks("t", row.incarnation, &[name]).await.unwrap();
        assert_eq!(chunks, [Some(expected.chunks[0].clone())]);
    }
    let next = commit("t", last + 1);
    backend.commit(next.clone()).await.unwrap();
    let row = backend.get("t", &[Pick::At(next.key)], Detail::Keys).await;
    assert!(row.unwrap()[0].is_some());
}

fn assert_refused(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_certainly_not_applied() && !error.is_retryable());
    assert!(error.message().contains("close and open"), "{error}");
}

#[tokio::test]
async fn a_failed_sync_is_unknown_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::open(dir.path());
    store.fill(1, 5).await;
    store.faults().fail_after(Call::Sync, 0);
    for _ in 0..3 {
        let error = store.commit(commit("t", 6)).await.unwrap_err();
        assert!(!error.is_certainly_not_applied(), "{error}");
        assert_eq!(store.latest_id(), "0005");
    }
    store.faults().clear();
    // Sent again, it is stored once; and so is what follows.
    store.fill(6, 7).await;
    assert_eq!(store.latest_id(), "0007");
    assert_whole(dir.path(), 7).await;
}

#[tokio::test]
async fn a_failed_sync_of_a_new_thread_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::open(dir.path());
    store.faults().fail_after(Call::Sync, 0);
    let error = store.commit(commit("t", 1)).await.unwrap_err();
    assert!(!error.is_certainly_not_applied(), "{error}");
    assert_eq!(store.latest("t"), None);
    let left = std::fs::read_dir(dir.path().join("trash")).unwrap();
    assert_eq!(left.count(), 0);
    store.faults().clear();
    store.fill(1, 2).await;
    assert_whole(dir.path(), 2).await;
}

/// What another process saw between a write and the sync that failed, it does
/// not take for stored, whatever is written in its place.
#[tokio::test]
async fn a_write_that_is_cut_off_is_forgotten_by_those_who_saw_it() {
    // As long, shorter and longer than what was seen.
    for body in [700, 100, 3000] {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (Faulty::open(dir.path()), Faulty::open(dir.path()));
        store.fill(1, 5).await;
        let watcher = Faulty(other.0.clone());
        store.faults().fail_after(Call::Sync, 0);
        store
            .faults()
            .before(Call::Sync, move || assert_eq!(watcher.latest_id(), "0006"));
        let error = store.commit(commit("t", 6)).await.unwrap_err();
        assert!(!error.is_certainly_not_applied(), "{error}");
        store.faults().clear();
        // A third, which knows nothing of this, goes on.
        let third = Faulty::open(dir.path());
        let mut next = commit("t", 7);
        next.body = Bytes::from(vec![8; body]);
        third.commit(next.clone()).await.unwrap();
        let row = other.latest("t").unwrap();
        assert_eq!((&*row.record.key.id, &row.body), ("0007", &next.body));
        let view = other.0.view(&key_of("t"), "t", Wait::Yes).unwrap().unwrap();
        assert!(view.state.holes.is_empty(), "{:?}", view.state.holes);
        let key = commit("t", 6).key;
        let gone = read_pick(
            &mut view.reader(),
            &view.state,
            &Pick::At(key),
            Detail::Writes,
        );
        assert_eq!(gone.unwrap(), None);
        // And writes behind it.
        other.commit(commit("t", 8)).await.unwrap();
        let backend = FsBackend::open(dir.path()).unwrap();
        let query = ListRecords {
            thread: "t".into(),
            namespace: None,
            before: None,
            limit: None,
            hidden: true,
            detail: Detail::Writes,
        };
        let rows: Vec<RecordRow> = backend
            .list(query)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(rows.len(), 7);
    }
}

/// Whoever did it may have been killed before its sync.
#[tokio::test]
async fn what_is_found_done_is_synced_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    Faulty::open(dir.path()).fill(1, 2).await;
    let store = Faulty::open(dir.path());
    store.faults().fail_after(Call::Sync, 0);
    let error = store.commit(commit("t", 2)).await.unwrap_err();
    assert!(!error.is_certainly_not_applied(), "{error}");
    store.faults().clear();
    store.fill(2, 2).await;
    let syncs = || store.0.dir.counters.snapshot().syncs;
    let writes = || store.0.dir.counters.snapshot().writes;
    let before = (syncs(), writes());
    store.fill(2, 2).await;
    // What a failed sync left is clean to the system, so it is written again.
    assert_eq!((syncs(), writes()), (before.0 + 1, before.1 + 1));
    let before = before.0;
    // What is refused costs none.
    let mut late = commit("t", 3);
    late.expect_latest = Some(None);
    let error = store.commit(late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(syncs(), before + 1);
    assert_whole(dir.path(), 2).await;
}

/// The write is whole then, only not known to be durable: it may be seen.
#[tokio::test]
async fn a_thread_is_closed_to_writers_when_a_failed_sync_cannot_be_undone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::open(dir.path());
    store.fill(1, 5).await;
    store.faults().fail_after(Call::Sync, 0);
    store.faults().fail_after(Call::Truncate, 0);
    let error = store.commit(commit("t", 6)).await.unwrap_err();
    assert!(!error.is_certainly_not_applied(), "{error}");
    store.faults().clear();
    assert_refused(&store.commit(commit("t", 7)).await.unwrap_err());
    assert_eq!(store.latest_id(), "0006");
    // Other threads go on.
    store.commit(commit("other", 1)).await.unwrap();
    // So does this one when it is opened again, and the repeat finds itself there.
    let again = Faulty::open(dir.path());
    again.commit(commit("t", 6)).await.unwrap();
    assert_whole(dir.path(), 6).await;
    assert_refused(&store.commit(commit("t", 8)).await.unwrap_err());
}

#[tokio::test]
async fn a_torn_write_that_cannot_be_undone_is_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::open(dir.path());
    store.fill(1, 5).await;
    store.faults().fail_after(Call::Write, 0);
    let error = store.commit(commit("t", 6)).await.unwrap_err();
    assert!(error.is_certainly_not_applied(), "it was undone: {error}");
    store.faults().fail_after(Call::Truncate, 0);
    let error = store.commit(commit("t", 6)).await.unwrap_err();
    assert!(!error.is_certainly_not_applied(), "{error}");
    store.faults().clear();
    assert_refused(&store.commit(commit("t", 6)).await.unwrap_err());
    assert_eq!(store.latest_id(), "0005");
    assert_whole(dir.path(), 5).await;
}

/// The state frame has a write of its own, after the sync: what it follows is
/// acknowledged.
#[tokio::test]
async fn a_torn_state_frame_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::open(dir.path());
    store.fill(1, 1).await;
    for n in 2..=60 {
        // The first write is the commit's.
        store.faults().fail_after(Call::Write, 1);
        store.commit(commit("t", n)).await.unwrap();
    }
    let view = store.0.view(&key_of("t"), "t", Wait::Yes).unwrap().unwrap();
    assert_eq!(view.state.states, 0, "each was torn, and cut off");
    store.faults().clear();
    assert_eq!(store.latest_id(), "0060");
    assert_whole(dir.path(), 60).await;
}

#[tokio::test]
async fn a_torn_state_frame_that_cannot_be_undone_closes_the_thread_to_writers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::open(dir.path());
    store.fill(1, 1).await;
    store.faults().fail_after(Call::Truncate, 0);
    let mut last = 1;
    let error = loop {
        store.faults().fail_after(Call::Write, 1);
        match store.commit(commit("t", last + 1)).await {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
        assert!(last < 100, "no state was due");
    };
    assert_refused(&error);
    store.faults().clear();
    assert_eq!(store.latest_id(), format!("{last:04}"));
    assert_whole(dir.path(), last).await;
}

#[tokio::test]
async fn directories_that_others_made_are_synced_before_the_first_answer() {
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("a/b/root");
    let process = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(&path)
    };
    let other = Faulty(Arc::new(Store::open(&process).unwrap()));
    let parents = ["a/b", "a", ""].map(|dir| outside.path().join(dir));
    let synced = other.faults().take_synced();
    for parent in parents {
        let parent = std::path::absolute(parent).unwrap();
        let parent = parent.to_string_lossy();
        let is = |synced: &String| synced.trim_end_matches('/') == parent.trim_end_matches('/');
        assert!(synced.iter().any(is), "{parent} is not in {synced:?}");
    }
    other.commit(commit("t", 1)).await.unwrap();
    assert!(other.faults().take_synced().is_empty());

    // A log that is there, in a directory that is there.
    let shard = crate::store::log_names(&key_of("t")).0;
    let store = Faulty::open(&path);
    store.commit(commit("t", 2)).await.unwrap();
    assert_eq!(store.faults().take_synced(), ["", "t", &*shard]);
    store.commit(commit("t", 3)).await.unwrap();
    assert!(store.faults().take_synced().is_empty());

    // Nor for another handle, once the directory has not changed for a while.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for (n, synced) in [(4, 1), (5, 0)] {
        store.0.forget(&key_of("t"));
        store.commit(commit("t", n)).await.unwrap();
        assert_eq!(store.faults().take_synced().len(), synced);
    }

    // A log whose maker is killed before it syncs the directory.
    let view = store.0.view(&key_of("t"), "t", Wait::Yes).unwrap().unwrap();
    let log = store.0.log_path(&key_of("t"));
    std::fs::copy(&log, log.with_extension("new")).unwrap();
    std::fs::rename(log.with_extension("new"), &log).unwrap();
    drop(view);
    store.commit(commit("t", 6)).await.unwrap();
    assert_eq!(store.faults().take_synced(), [&*shard]);

    // A new one, in a directory and with a catalog that others made.
    let store = Faulty::open(&path);
    std::fs::remove_file(&log).unwrap();
    store.commit(commit("t", 1)).await.unwrap();
    // The root twice: for the catalog, and for the logs.
    let synced = store.faults().take_synced();
    assert_eq!(synced, ["", "", "t", &*shard]);
    let twin = (0..).map(|n| format!("twin{n}"));
    let twin = twin.into_iter().find(|id| key_of(id)[0] == key_of("t")[0]);
    store.commit(commit(&twin.unwrap(), 1)).await.unwrap();
    assert_eq!(store.faults().take_synced(), [&*shard]);
}
