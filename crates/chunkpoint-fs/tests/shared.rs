//! Several backends on one directory, in one process and in two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::process::Command;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::*;
use support::*;

const DIR: &str = "CHUNKPOINT_SHARED_DIR";

#[tokio::test]
async fn two_backends_see_each_other_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let backends = [open(dir.path()), open(dir.path())];
    let mut last: Option<RecordRow> = None;
    for n in 0..400u64 {
        let (writer, reader) = (&backends[n as usize % 2], &backends[(n as usize + 1) % 2]);
        let mut commit = root(
            "t",
            &uuid(n),
            "some body that is long enough to count",
            vec![],
        );
        if let Some(last) = last.take() {
            commit.base = Base::Borrow {
                incarnation: last.incarnation,
                from: vec![last.record.clone()],
            };
            commit.expect_latest = Some(Some(last.record.key.id.clone()));
        }
        writer.commit(commit.clone()).await.unwrap();
        let row = latest(reader, "t").await.unwrap().unwrap();
        assert_eq!(row.record.pack, commit.pack);
        if n % 50 == 49 {
            // One compacts or deletes, the other goes on.
            let (rows, _) = rows(writer, listing("t")).await;
            let changes = rows[1..]
                .iter()
                .map(|row| (row.record.clone(), Change::Remove))
                .collect();
            let incarnation = row.incarnation;
            let alter = Alter {
                thread: "t".into(),
                incarnation,
                time_ms: 1,
                changes,
            };
            writer.alter(alter).await.unwrap();
            let (before_ms, dead) = (1, Vec::new());
            let reclaim = Reclaim {
                thread: "t".into(),
                incarnation,
                before_ms,
                dead,
            };
            reader.reclaim(reclaim).await.unwrap();
            assert_eq!(ids(writer, "t").await, [uuid(n)]);
        }
        if n == 250 {
            writer.delete_thread("t", row.incarnation).await.unwrap();
            assert_eq!(reader.incarnation("t").await.unwrap(), None);
            let mut orphan = root("t", &uuid(n + 1), "", vec![]);
            let from = vec![row.record];
            orphan.base = Base::Borrow {
                incarnation: row.incarnation,
                from,
            };
            let error = reader.commit(orphan).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ParentGone);
        } else {
            last = Some(row);
        }
    }
}

/// What the processes of the next test do: append to one chain, taking turns
/// by expectation alone.
async fn append_a_hundred(dir: &std::path::Path) {
    let backend = open(dir);
    let mut done = 0;
    while done < 100 {
        let row = latest(&backend, "t").await.unwrap().unwrap();
        let n: u64 = row.index.time_ms + 1;
        let mut commit = root("t", &uuid(n), "body", vec![]);
        commit.index.time_ms = n;
        let (incarnation, id) = (row.incarnation, row.record.key.id.clone());
        commit.base = Base::Borrow {
            incarnation,
            from: vec![row.record],
        };
        commit.expect_latest = Some(Some(id));
        // Pack ids of two processes must differ.
        commit.pack.0[..4].copy_from_slice(&std::process::id().to_be_bytes());
        match backend.commit(commit).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
    backend.close().await.unwrap();
}

#[tokio::test]
async fn a_process_that_appends() {
    // On its own this test has nothing to do: the next one runs it.
    if let Some(dir) = std::env::var_os(DIR) {
        append_a_hundred(dir.as_ref()).await;
    }
}

#[tokio::test]
async fn two_processes_never_both_win() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = root("t", &uuid(0), "body", vec![]);
    first.index.time_ms = 0;
    open(dir.path()).commit(first).await.unwrap();
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_appends"])
            .env(DIR, dir.path())
            .spawn()
            .unwrap()
    };
    let mut children = [spawn(), spawn(), spawn()];
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let expected: Vec<String> = (0..=300).rev().map(uuid).collect();
    assert_eq!(ids(&open(dir.path()), "t").await, expected);
}

/// Callers that go away leave commits whole or absent, and lock nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_leave_no_lock_and_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut commits = Vec::new();
    for n in 0..300 {
        let commit = root("t", &uuid(n), vec![7; 2000], vec![vec![1; 3000].into()]);
        commits.push(commit.clone());
        let call = tokio::spawn({
            let backend = backend.clone();
            async move { backend.commit(commit).await }
        });
        if n % 3 == 0 {
            tokio::task::yield_now().await;
        }
        call.abort();
    }
    let last = root("t", &uuid(1000), "", vec![]);
    let incarnation = backend.commit(last).await.unwrap().incarnation;
    let present = ids(&backend, "t").await;
    for commit in &commits {
        let chunks = backend
            .chunks("t", incarnation, &names(commit, 0))
            .await
            .unwrap();
        let is_listed = present.contains(&commit.key.id.to_string());
        assert_eq!(chunks[0].is_some(), is_listed);
        assert!(
            chunks[0]
                .as_ref()
                .is_none_or(|chunk| *chunk == commit.chunks[0])
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_expect_the_same_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let backends = [open(dir.path()), open(dir.path())];
    let mut latest = None;
    for round in 0..40u64 {
        let calls: Vec<_> = (0..12)
            .map(|n| {
                // Ids neither ascend nor descend by who comes first.
                let id = uuid(round * 100 + (n * 7) % 12);
                let mut commit = root("t", &id, "body", vec![]);
                commit.expect_latest = Some(latest.clone());
                let backend = backends[n as usize % 2].clone();
                tokio::spawn(async move { backend.commit(commit).await.map(|_| id) })
            })
            .collect();
        let mut won = Vec::new();
        for call in calls {
            match call.await.unwrap() {
                Ok(id) => won.push(id),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    assert!(error.is_certainly_not_applied());
                }
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        latest = won.pop().map(Into::into);
        assert_eq!(ids(&backends[1], "t").await.len() as u64, round + 1);
    }
}
