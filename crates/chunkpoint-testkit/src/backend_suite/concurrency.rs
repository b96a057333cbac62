//! Promises that only show when several do something at once.

use std::sync::Arc;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{Altered, Change, Detail, Fencing, ListCondemned, Pick, Reclaim};

use super::Fixture;
use super::support::*;
use crate::concurrent::at_once;

/// Tasks that write at once.
const TASKS: usize = 16;

/// Sixteen tasks commit to one thread, each its own chain; all of it stands.
pub async fn sixteen_tasks_commit_to_one_thread(fixture: &dyn Fixture) {
    const STEPS: usize = 20;
    let backend = fixture.open().await;
    let chains = (0..TASKS).map(|task| {
        let backend = backend.clone();
        async move {
            let mut chain = vec![put(&backend, root("t", &format!("{task:02}"))).await];
            for step in 0..STEPS {
                let id = format!("{task:02}-{step:02}");
                let next = put(&backend, child(&id, &[&chain[step]])).await;
                assert_intact(&backend, &next).await;
                chain.push(next);
            }
            chain
        }
    });
    let chains = at_once(chains).await;
    for stored in chains.iter().flatten() {
        assert_eq!(
            stored.incarnation, chains[0][0].incarnation,
            "one thread, one life"
        );
        assert_intact(&backend, stored).await;
    }
    let all = ids(&backend, listing("t")).await;
    assert_eq!(all.len(), TASKS * (STEPS + 1));
}

/// Roots that race to start a thread all end in one incarnation, with writes among them.
pub async fn racing_roots_share_one_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for round in 0..20 {
        let thread: Arc<str> = format!("t{round}").into();
        let roots = (0..TASKS).map(|task| {
            let (backend, thread) = (backend.clone(), thread.clone());
            async move {
                let id = format!("{task:02}");
                if task % 4 == 0 {
                    let put = writing(&thread, "00", vec![write(&id, 0, &id, false)]);
                    backend.put_writes(put).await.unwrap();
                    None
                } else {
                    Some(put(&backend, root(&thread, &id)).await)
                }
            }
        });
        let stored = at_once(roots).await;
        let current = backend.incarnation(&thread).await.unwrap();
        for stored in stored.iter().flatten() {
            assert_eq!(Some(stored.incarnation), current);
            assert_intact(&backend, stored).await;
        }
        put(&backend, root(&thread, "00")).await;
        let row = at(&backend, &thread, &key("", "00")).await.unwrap();
        assert_eq!(row.writes.len(), TASKS / 4);
    }
}

/// Of writers that expect the same latest, exactly one wins; the others store nothing.
pub async fn one_of_many_fenced_writers_wins(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    if backend.capabilities().fencing == Fencing::None {
        skipped(
            "one_of_many_fenced_writers_wins",
            "the backend does not fence",
        );
        return;
    }
    let mut last = put(&backend, root("t", "000")).await;
    for round in 1..20 {
        let writers = (0..TASKS).map(|task| {
            let (backend, last) = (backend.clone(), last.clone());
            async move {
                let mut commit = child(&format!("{round:03}-{task:02}"), &[&last]);
                commit.expect_latest = Some(Some(last.commit.key.id.clone()));
                let result = backend.commit(commit.clone()).await;
                (commit, result)
            }
        });
        let mut winners = Vec::new();
        for (commit, result) in at_once(writers).await {
            match result {
                Ok(committed) => winners.push(Stored::new(commit, committed)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    assert_nothing(&backend, &commit, last.incarnation).await;
                }
            }
        }
        assert_eq!(winners.len(), 1, "in round {round}");
        last = winners.remove(0);
        assert_intact(&backend, &last).await;
        assert_eq!(latest(&backend, "t", "").await, Some(last.row()));
    }
}

/// A commit that borrows and the removal of its parent: either the commit fails with
/// `ParentGone`, or the parent's chunks stay readable through the reclaim that follows.
pub async fn a_borrow_races_the_removal_of_its_parent(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let (mut stood, mut fell) = (0, 0);
    for round in 0..150 {
        let parent = put(&backend, root("t", &format!("{round:03}"))).await;
        let commit = child(&format!("{round:03}+"), &[&parent]);
        let borrow = {
            let (backend, commit) = (backend.clone(), commit.clone());
            async move {
                if round % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                Some(backend.commit(commit).await)
            }
        };
        let removal = {
            let (backend, parent) = (backend.clone(), parent.clone());
            async move {
                if round % 3 == 1 {
                    tokio::task::yield_now().await;
                }
                remove(&backend, &parent).await;
                None
            }
        };
        let both: Vec<futures::future::BoxFuture<'static, _>> =
            vec![Box::pin(borrow), Box::pin(removal)];
        let result = at_once(both).await.into_iter().flatten().next().unwrap();
        assert_eq!(at(&backend, "t", &parent.commit.key).await, None);
        match result {
            Ok(committed) => {
                stood += 1;
                let stored = Stored::new(commit, committed);
                reclaim_unreached(&backend, &parent, &[&parent, &stored]).await;
                assert_intact(&backend, &stored).await;
                assert_chunks(&backend, &parent).await;
                remove(&backend, &stored).await;
            }
            Err(error) => {
                fell += 1;
                assert_eq!(error.kind(), ErrorKind::ParentGone, "{error}");
                assert_nothing(&backend, &commit, parent.incarnation).await;
            }
        }
        reclaim_unreached(&backend, &parent, &[]).await;
        assert!(condemned(&backend, "t").await.is_empty());
    }
    println!("{stood} commits stood, {fell} fell");
}

/// What an engine does: asks what is condemned, and names all but what is still needed.
async fn reclaim_unreached(backend: &Backend, of: &Stored, needed: &[&Stored]) {
    let query = ListCondemned {
        thread: of.commit.thread.clone(),
        before_ms: LATER,
        after: None,
        limit: 10_000,
    };
    let found = backend.condemned(query).await.unwrap().unwrap();
    let packs = found.packs.into_iter();
    let dead = packs.filter(|pack| needed.iter().all(|kept| kept.commit.pack != pack.pack));
    let reclaim = Reclaim {
        thread: of.commit.thread.clone(),
        incarnation: of.incarnation,
        before_ms: LATER,
        dead: dead.map(|pack| (pack.pack, pack.chunks)).collect(),
    };
    backend.reclaim(reclaim).await.unwrap();
}

/// A pin and a removal of one record: the pin holds, or the record is gone; never both.
///
/// Without fencing, two that race cannot agree who came first: both may lose
/// then, the pin as `Unavailable`. But one that is acknowledged holds all the same.
pub async fn a_pin_races_a_removal(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let unfenced = backend.capabilities().fencing == Fencing::None;
    for round in 0..100 {
        let stored = put(&backend, root("t", &format!("{round:03}"))).await;
        let changes = [Change::Pin(true), Change::Remove].map(|change| {
            let (backend, stored) = (backend.clone(), stored.clone());
            let alter = altering(&stored, vec![(stored.record(), change)]);
            async move { backend.alter(alter).await }
        });
        let mut results = at_once(changes).await;
        let removal = results.pop().unwrap().unwrap()[0];
        let row = at(&backend, "t", &stored.commit.key).await;
        let there = row.is_some();
        let pinned = row.is_some_and(|row| row.pinned);
        match (results.pop().unwrap(), removal) {
            (Ok(pin), Altered::Pinned) if pin == [Altered::Done] => assert!(pinned),
            (Ok(pin), Altered::Done) if pin == [Altered::Gone] => assert!(!there),
            (Err(error), removal) if unfenced => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(!pinned && there == (removal == Altered::Pinned));
            }
            other => panic!("pin and removal gave {other:?}"),
        }
    }
}

/// Of many removals of one record, all agree that it is gone; one did it.
pub async fn racing_removals_agree(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for round in 0..30 {
        let stored = put(&backend, root("t", &format!("{round:03}"))).await;
        let removals = (0..4).map(|_| {
            let (backend, stored) = (backend.clone(), stored.clone());
            async move { alter(&backend, &stored, Change::Remove).await }
        });
        let altered = at_once(removals).await;
        assert!(altered.contains(&Altered::Done), "{altered:?}");
        assert!(!altered.contains(&Altered::Pinned), "{altered:?}");
        assert_eq!(at(&backend, "t", &stored.commit.key).await, None);
    }
    assert_eq!(condemned(&backend, "t").await.len(), 30);
}

/// Re-puts of one id: one pack is current in the end, each of the others condemned.
pub async fn racing_reputs_leave_one_current(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for round in 0..10 {
        let thread = format!("t{round}");
        put(&backend, root(&thread, "1")).await;
        let reputs = (0..TASKS).map(|_| {
            let (backend, commit) = (backend.clone(), root(&thread, "1"));
            async move { put(&backend, commit).await }
        });
        let stored = at_once(reputs).await;
        let row = at(&backend, &thread, &key("", "1")).await.unwrap();
        let current = stored
            .iter()
            .find(|stored| stored.commit.pack == row.record.pack);
        assert_intact(&backend, current.expect("the current pack is one of them")).await;
        let condemned = condemned(&backend, &thread).await;
        assert_eq!(condemned.len(), TASKS);
        assert!(!condemned.contains_key(&row.record.pack));
    }
}

/// A commit and its repeat at once: one record, one result.
pub async fn a_commit_races_its_own_repeat(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for round in 0..50 {
        let commit = root(&format!("t{round}"), "1");
        let repeats = (0..4).map(|_| {
            let (backend, commit) = (backend.clone(), commit.clone());
            async move { put(&backend, commit).await }
        });
        let stored = at_once(repeats).await;
        assert!(
            stored
                .iter()
                .all(|one| one.incarnation == stored[0].incarnation)
        );
        let condemned = condemned(&backend, &commit.thread).await;
        assert!(condemned.is_empty(), "a repeat condemned its own pack");
        assert_intact(&backend, &stored[0]).await;
    }
}

/// All writes of a call appear together.
pub async fn writes_of_a_call_appear_together(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("t", "1")).await;
    let writers = (0..TASKS).map(|task| {
        let backend = backend.clone();
        async move {
            let task = format!("task {task:02}");
            for call in 0..10 {
                let writes = (0..5).map(|n| write(&task, call * 5 + n, "value", false));
                let put = writing("t", "1", writes.collect());
                backend.put_writes(put).await.unwrap();
                let row = at(&backend, "t", &key("", "1")).await.unwrap();
                let mut calls = std::collections::BTreeMap::<_, usize>::new();
                for write in row.writes {
                    *calls.entry((write.task_id, write.idx / 5)).or_default() += 1;
                }
                assert!(calls.values().all(|n| *n == 5), "a call was seen in part");
            }
        }
    });
    at_once(writers).await;
    let row = at(&backend, "t", &key("", "1")).await.unwrap();
    assert_eq!(row.writes.len(), TASKS * 50);
}

/// One reading of several picks sees one life of the thread, not parts of two.
pub async fn a_get_sees_one_incarnation(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let readers = (0..4).map(|reader| {
        let backend = backend.clone();
        async move {
            for _ in 0..100 {
                if reader == 0 {
                    let stored = put(&backend, root("t", "1")).await;
                    put(&backend, root("t", "2")).await;
                    backend
                        .delete_thread("t", stored.incarnation)
                        .await
                        .unwrap();
                    continue;
                }
                let picks = ["1", "2"].map(|id| Pick::At(key("", id)));
                let rows = backend.get("t", &picks, Detail::Bodies).await.unwrap();
                if let [Some(one), Some(two)] = &rows[..] {
                    assert_eq!(one.incarnation, two.incarnation);
                }
            }
        }
    });
    at_once(readers).await;
}

/// Of copies to one target, exactly one wins; the target is one of the sources, whole.
pub async fn one_of_many_copies_wins(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    if backend.capabilities().fencing == Fencing::None {
        let why = "without fencing, copies that race are not told apart";
        skipped("one_of_many_copies_wins", why);
        return;
    }
    for task in 0..4 {
        for id in ["1", "2", "3"] {
            put(&backend, root(&format!("source {task}"), id)).await;
        }
    }
    for round in 0..10 {
        let target: Arc<str> = format!("target {round}").into();
        let copies = (0..4).map(|task| {
            let (backend, target) = (backend.clone(), target.clone());
            async move {
                backend
                    .copy_thread(&format!("source {task}"), &target, fresh())
                    .await
            }
        });
        let results = at_once(copies).await;
        let winners: Vec<_> = (0..4).filter(|task| results[*task].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for result in results.into_iter().filter(Result::is_err) {
            assert_eq!(kind(result), ErrorKind::Conflict);
        }
        let packs = |rows: Vec<chunkpoint_core::backend::RecordRow>| {
            rows.into_iter().map(|row| row.record).collect::<Vec<_>>()
        };
        let source = format!("source {}", winners[0]);
        let source = packs(rows(&backend, listing(&source)).await);
        assert_eq!(packs(rows(&backend, listing(&target)).await), source);
    }
}

/// A mutation that is dropped at any point has happened, or not; nothing stays locked.
pub async fn dropped_futures_leave_nothing_behind(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut parent = put(&backend, root("t", "000")).await;
    for round in 1..60 {
        let commit = child(&format!("{round:03}"), &[&parent]);
        {
            let mut running = Box::pin(backend.commit(commit.clone()));
            for _ in 0..round % 6 {
                if futures::poll!(&mut running).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        if let Some(row) = at(&backend, "t", &commit.key).await {
            assert_eq!(row.body, commit.body);
        }
        // The repeat ends it, whether the first came through or not.
        let stored = put(&backend, commit).await;
        assert_intact(&backend, &stored).await;
        parent = stored;
    }
    assert!(condemned(&backend, "t").await.is_empty());
    assert_eq!(ids(&backend, listing("t")).await.len(), 60);
}
