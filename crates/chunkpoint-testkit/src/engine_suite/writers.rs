//! Several writers, lost answers and cancelled calls.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use chunkpoint_core::backend::Fencing;
use chunkpoint_core::layers::{Answer, Call, Fault, Faults, Layer, Method, Operation, Rule};
use chunkpoint_core::{Config, Draft, ErrorKind, Item, Memory, Result, Thread, Value};
use futures::TryStreamExt;

use super::support::*;

/// Two writers on one parent may both stand.
pub async fn two_writers_may_both_stand(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    let [a, b] = ["a", "b"].map(|text| {
        let mut draft = first.draft().unwrap();
        draft.append("list", items([text])).unwrap();
        draft
    });
    let (a, b) = tokio::join!(thread.commit(a), thread.commit(b));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(
        cold(target, &a).await["list"],
        Value::List(items(["x", "a"]))
    );
    assert_eq!(
        cold(target, &b).await["list"],
        Value::List(items(["x", "b"]))
    );
    assert_eq!(history(&thread, Default::default()).await.len(), 3);
}

/// Of many that expect the same latest, one wins; the others get `Conflict`,
/// and nothing of them is stored.
pub async fn one_of_many_fenced_writers_wins(target: &Target) {
    let fencing = target.capabilities().fencing;
    let memory = target.memory();
    for round in 0..5 {
        let thread = memory.thread(&format!("round {round}")).unwrap();
        let parent = match round {
            0 => None,
            _ => Some(append(&thread, "x").await),
        };
        let mut drafts = Vec::new();
        for n in 0..8 {
            // Each from a memory of its own, as other processes are.
            let thread = target.memory().thread(thread.id()).unwrap();
            let mut draft = match &parent {
                Some(parent) => parent.draft().unwrap(),
                None => thread.draft().await.unwrap(),
            };
            draft.append("list", items([n.to_string()])).unwrap();
            draft.expect_latest();
            drafts.push((thread, draft));
        }
        let commit = |(thread, draft): (Thread, Draft)| async move { thread.commit(draft).await };
        let writers: Vec<_> = drafts.into_iter().map(commit).map(tokio::spawn).collect();
        let mut won = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                Ok(snapshot) => won.push(snapshot),
                Err(error) if fencing == Fencing::None => {
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    assert!(error.is_certainly_not_applied());
                }
            }
        }
        let left = history(&thread, Default::default()).await;
        if fencing == Fencing::None {
            assert!(won.is_empty() && left.len() == parent.iter().len());
            continue;
        }
        assert_eq!(won.len(), 1, "winners in round {round}");
        assert_eq!(left, ids_of(won.iter().chain(&parent)));
    }
}

/// An expectation that no longer holds is `Conflict`; one that does is kept.
pub async fn a_stale_expectation_is_a_conflict(target: &Target) {
    if target.capabilities().fencing == Fencing::None {
        return target.skipped("the backend does not fence");
    }
    let memory = target.memory();
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    let mut stale = first.draft().unwrap();
    stale.expect_latest();
    let mut fresh = first.draft().unwrap();
    fresh.expect_latest();
    let second = commit(&thread, fresh).await;
    assert_eq!(kind(thread.commit(stale).await), ErrorKind::Conflict);
    // A fork is not on the latest.
    let mut fork = thread.fork(first.id()).await.unwrap();
    fork.expect_latest();
    assert_eq!(kind(thread.commit(fork).await), ErrorKind::Conflict);
    assert_eq!(
        history(&thread, Default::default()).await,
        ids_of([&first, &second])
    );
}

/// An answer that is lost on the way is found by committing the draft again.
pub async fn a_lost_answer_is_found_again(target: &Target) {
    let faults = Faults::new(1);
    faults.add(Rule::new(Fault::After).on(&[Method::Commit]).first(3));
    let memory = target.memory_through(faults);
    let thread = thread(&memory);
    let mut draft = thread.draft().await.unwrap();
    draft.append("list", items(["x"])).unwrap();
    if target.capabilities().fencing == Fencing::Full {
        draft.expect_latest();
    }
    for _ in 0..3 {
        let error = thread
            .commit(draft.clone())
            .await
            .expect_err("the answer is lost");
        assert!(!error.is_certainly_not_applied(), "{error}");
    }
    let snapshot = commit(&thread, draft).await;
    assert_eq!(history(&thread, Default::default()).await, [snapshot.id()]);
    assert_eq!(
        cold(target, &snapshot).await["list"],
        Value::List(items(["x"]))
    );
}

/// A call that never reached the store left nothing, and says so.
pub async fn a_failed_commit_leaves_nothing(target: &Target) {
    let faults = Faults::new(1);
    let memory = target.memory_through(faults.clone());
    let thread = thread(&memory);
    let first = append(&thread, "x").await;
    faults.add(Rule::new(Fault::Before(ErrorKind::Unavailable)).on(&[Method::Commit]));
    let mut draft = first.draft().unwrap();
    draft.append("list", items(["y"])).unwrap();
    let error = thread
        .commit(draft.clone())
        .await
        .expect_err("the store is away");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_certainly_not_applied());
    assert_eq!(history(&thread, Default::default()).await, [first.id()]);
    faults.clear();
    let second = commit(&thread, draft).await;
    assert_eq!(
        cold(target, &second).await["list"],
        Value::List(items(["x", "y"]))
    );
}

/// A listing that breaks off gives an error, not a short history.
pub async fn a_broken_listing_is_an_error(target: &Target) {
    let memory = target.memory();
    appended(&thread(&memory), 10).await;
    let faults = Faults::new(1);
    faults.add(Rule::new(Fault::BreakList { rows: 4 }));
    let broken = target.memory_through(faults);
    let thread = thread(&broken);
    let found = thread
        .history(Default::default())
        .try_collect::<Vec<_>>()
        .await;
    assert_eq!(kind(found), ErrorKind::Unavailable);
    let found = broken
        .saver()
        .list(Default::default())
        .try_collect::<Vec<_>>()
        .await;
    assert_eq!(kind(found), ErrorKind::Unavailable);
    // Nothing is removed on half of the truth.
    let result = broken.saver().prune(&["t"], Default::default()).await;
    assert_eq!(kind(result), ErrorKind::Unavailable);
    let whole = super::support::thread(&memory);
    assert_eq!(history(&whole, Default::default()).await.len(), 10);
}

/// Makes every call wait before and after, so that it can be dropped at both.
#[derive(Debug)]
struct Waits;

impl Layer for Waits {
    async fn around<'a, T: Answer + 'a>(&'a self, _: Operation, call: Call<'a, T>) -> Result<T> {
        tokio::task::yield_now().await;
        let answer = call().await;
        tokio::task::yield_now().await;
        answer
    }
}

/// Polls `work` so often, then drops it. Tells whether it ended.
async fn dropped_after<T>(polls: usize, work: impl Future<Output = T> + Send) -> bool {
    let mut work = pin!(work);
    for _ in 0..polls {
        let ended = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready()));
        if ended.await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Every checkpoint of every thread can be read in full; gives how many there are.
async fn all_whole(memory: &Memory) -> usize {
    let tuples: Vec<_> = memory
        .saver()
        .list(Default::default())
        .try_collect()
        .await
        .unwrap();
    for tuple in &tuples {
        tuple.checkpoint().await.unwrap();
    }
    tuples.len()
}

/// A commit that is dropped at any point is there in full or not at all, and
/// nothing is in the way of the next.
pub async fn a_dropped_commit_is_whole_or_nothing(target: &Target) {
    let memory = target.memory_through(Waits);
    let thread = thread(&memory);
    let first = step(&thread, |draft| {
        draft.set("list", random_items(1, 400, 200)).unwrap();
    })
    .await;
    let mut before = 1;
    for polls in 0..12 {
        let mut draft = first.draft().unwrap();
        draft
            .splice("list", 100..101, random_items(2 + polls, 20, 200))
            .unwrap();
        let again = draft.clone();
        dropped_after(polls as usize, thread.commit(draft)).await;
        let now = all_whole(&target.memory()).await;
        assert!(now == before || now == before + 1);
        // The same draft can still be committed: it is one checkpoint.
        commit(&thread, again).await;
        before += 1;
        assert_eq!(all_whole(&target.memory()).await, before);
    }
}

/// The same of writes: all of a call, or none.
pub async fn dropped_writes_are_whole_or_nothing(target: &Target) {
    let memory = target.memory_through(Waits);
    let first = append(&thread(&memory), "x").await;
    let config = Config::new("t").with_id(first.id());
    for polls in 0..8 {
        let writes = ["a", "b", "c"].map(|name| (name.to_owned(), Item::text("x")));
        let task = format!("task {polls}");
        let saver = memory.saver();
        let work = saver.put_writes(&config, writes.into(), &task, "");
        dropped_after(polls, work).await;
        let found = target.saver().get_tuple(&config).await.unwrap().unwrap();
        let stored = found.pending_writes.iter().filter(|w| *w.task_id == *task);
        assert!([0, 3].contains(&stored.count()));
    }
}

/// Removing, copying, reclaiming and deleting that are dropped at any point
/// leave every checkpoint that is there whole, and can be repeated.
pub async fn dropped_removals_leave_what_is_there_whole(target: &Target) {
    let memory = target.memory_through(Waits);
    let saver = memory.saver();
    for polls in 0..24 {
        let (source, copy) = (format!("t{polls}"), format!("copy of t{polls}"));
        let thread = memory.thread(&source).unwrap();
        appended(&thread, 6).await;
        let latest = async |id: &str| memory.thread(id).unwrap().latest().await.unwrap();
        dropped_after(polls, saver.prune(&[&source], Default::default())).await;
        let found = latest(&source).await.expect("the newest stays");
        assert_eq!(value(&found, "list").await, Some(up_to(6)));
        dropped_after(polls, saver.copy_thread(&source, &copy)).await;
        if let Some(copied) = latest(&copy).await {
            assert_eq!(value(&copied, "list").await, Some(up_to(6)));
        }
        target.clock().advance(LATER);
        dropped_after(polls, memory.maintain()).await;
        all_whole(&target.memory()).await;
        dropped_after(polls, saver.delete_thread(&copy)).await;
        saver.delete_thread(&copy).await.unwrap();
        assert!(latest(&copy).await.is_none());
        saver.prune(&[&source], Default::default()).await.unwrap();
        assert_eq!(history(&thread, Default::default()).await.len(), 1);
    }
    memory.maintain().await.unwrap();
    assert_eq!(all_whole(&target.memory()).await, 24);
}

/// Readers, a writer, a pruner and a reclaimer at once: what is read is right,
/// or `NotFound`; never `Corrupt`.
pub async fn readers_never_meet_half_a_checkpoint(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    append(&thread, "1").await;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for n in 0..3_u64 {
        let (done, memory) = (done.clone(), target.memory_through(Waits));
        tasks.push(tokio::spawn(async move {
            let thread = super::support::thread(&memory);
            let mut rng = Rng::new(n);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let snapshots = thread.history(Default::default()).take_some(&mut rng).await;
                for snapshot in snapshots {
                    match snapshot.value("list").await {
                        Ok(Some(Value::List(list))) => {
                            let texts = (1..=list.len()).map(|n| Item::text(n.to_string()));
                            assert!(list.into_iter().eq(texts));
                        }
                        Ok(other) => panic!("a list was expected, not {other:?}"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                    }
                }
            }
        }));
    }
    let remover = tokio::spawn({
        let (done, memory) = (done.clone(), target.memory());
        let clock = target.clock_handle();
        async move {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                memory
                    .saver()
                    .prune(&["t"], Default::default())
                    .await
                    .unwrap();
                clock.advance(LATER);
                memory.maintain().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    for n in 2..=150 {
        append(&thread, &n.to_string()).await;
        tokio::task::yield_now().await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    remover.await.unwrap();
    let latest = thread.latest().await.unwrap().unwrap();
    assert_eq!(cold(target, &latest).await["list"], up_to(150));
}

/// A few of a stream.
trait TakeSome {
    async fn take_some(self, rng: &mut Rng) -> Vec<chunkpoint_core::Snapshot>;
}

impl TakeSome for futures::stream::BoxStream<'static, Result<chunkpoint_core::Snapshot>> {
    async fn take_some(mut self, rng: &mut Rng) -> Vec<chunkpoint_core::Snapshot> {
        let mut some = Vec::new();
        while let Some(snapshot) = self.try_next().await.unwrap() {
            some.push(snapshot);
            if rng.one_in(4) {
                break;
            }
        }
        some
    }
}
