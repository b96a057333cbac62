//! Retention, pins, and what becomes of the bytes.

use std::time::Duration;

use chunkpoint_core::backend::Reclaim;
use chunkpoint_core::layers::Method;
use chunkpoint_core::{Config, ErrorKind, Item, Memory, Settings, Snapshot, Value};

use super::support::*;

fn keeping(target: &Target, max_history: Option<usize>, max_age: Option<Duration>) -> Memory {
    target.memory_with(Settings {
        max_history,
        max_age,
        ..target.settings()
    })
}

/// `max_history` keeps so many of each namespace.
pub async fn max_history_keeps_the_newest(target: &Target) {
    let memory = keeping(target, Some(3), None);
    let thread = thread(&memory);
    let child = thread.with_namespace("child").unwrap();
    let snapshots = appended(&thread, 8).await;
    let few = appended(&child, 2).await;
    let done = memory.maintain().await.unwrap();
    assert_eq!((done.threads, done.removed), (1, 5));
    assert_eq!(
        history(&thread, Default::default()).await,
        ids_of(&snapshots[5..])
    );
    assert_eq!(history(&child, Default::default()).await, ids_of(&few));
    for n in 6..=8 {
        assert_eq!(cold(target, &snapshots[n - 1]).await["list"], up_to(n));
    }
    assert!(thread.at(snapshots[4].id()).await.unwrap().is_none());
}

/// `max_age` removes what is older, but never the newest.
pub async fn max_age_removes_the_old(target: &Target) {
    let memory = keeping(target, None, Some(Duration::from_secs(100)));
    let thread = thread(&memory);
    let mut snapshots = Vec::new();
    for n in 1..=6 {
        snapshots.push(append(&thread, &n.to_string()).await);
        target.clock().advance(Duration::from_secs(30));
    }
    // Their ages are 180, 150, 120, 90, 60 and 30 seconds.
    memory.maintain().await.unwrap();
    assert_eq!(
        history(&thread, Default::default()).await,
        ids_of(&snapshots[3..])
    );
    target.clock().advance(LATER);
    memory.maintain().await.unwrap();
    assert_eq!(
        history(&thread, Default::default()).await,
        [snapshots[5].id()]
    );
    assert_eq!(cold(target, &snapshots[5]).await["list"], up_to(6));
}

/// With both, what either removes goes.
pub async fn age_and_number_both_count(target: &Target) {
    let memory = keeping(target, Some(4), Some(Duration::from_secs(100)));
    let thread = thread(&memory);
    let old = appended(&thread, 3).await;
    target.clock().advance(Duration::from_secs(101));
    let new = appended(&thread, 2).await;
    memory.maintain().await.unwrap();
    assert_eq!(history(&thread, Default::default()).await, ids_of(&new));
    assert!(thread.at(old[2].id()).await.unwrap().is_none());
    appended(&thread, 5).await;
    memory.maintain().await.unwrap();
    assert_eq!(history(&thread, Default::default()).await.len(), 4);
}

/// Without either, nothing goes.
pub async fn nothing_goes_unless_asked(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let snapshots = appended(&thread, 20).await;
    target.clock().advance(LATER);
    let done = memory.maintain().await.unwrap();
    assert_eq!(done.removed, 0);
    assert_eq!(
        history(&thread, Default::default()).await,
        ids_of(&snapshots)
    );
}

/// Pinned checkpoints stay, are not counted, and go once they are not pinned.
pub async fn pins_are_kept_and_not_counted(target: &Target) {
    let memory = keeping(target, Some(2), Some(Duration::from_secs(1000)));
    let thread = thread(&memory);
    let snapshots = appended(&thread, 6).await;
    for n in [0, 2, 5] {
        thread.pin(snapshots[n].id()).await.unwrap();
        thread.pin(snapshots[n].id()).await.unwrap();
    }
    assert!(reread(&memory, &snapshots[0]).await.unwrap().is_pinned());
    memory.maintain().await.unwrap();
    let kept = [0, 2, 3, 4, 5].map(|n| &snapshots[n]);
    assert_eq!(history(&thread, Default::default()).await, ids_of(kept));
    target.clock().advance(LATER);
    memory.maintain().await.unwrap();
    let kept = [0, 2, 5].map(|n| &snapshots[n]);
    assert_eq!(history(&thread, Default::default()).await, ids_of(kept));
    assert_eq!(cold(target, &snapshots[0]).await["list"], up_to(1));
    for n in [0, 2, 5] {
        thread.unpin(snapshots[n].id()).await.unwrap();
        thread.unpin(snapshots[n].id()).await.unwrap();
    }
    memory.maintain().await.unwrap();
    assert_eq!(
        history(&thread, Default::default()).await,
        [snapshots[5].id()]
    );
    let gone = snapshots[0].id();
    assert_eq!(kind(thread.pin(gone).await), ErrorKind::NotFound);
    assert_eq!(kind(thread.unpin(gone).await), ErrorKind::NotFound);
}

/// A pin outlives the replacing of its checkpoint.
pub async fn a_reput_keeps_the_pin(target: &Target) {
    let memory = keeping(target, Some(1), None);
    let thread = thread(&memory);
    let snapshots = appended(&thread, 3).await;
    thread.pin(snapshots[0].id()).await.unwrap();
    step(&thread, |draft| {
        named(draft, snapshots[0].id());
        draft.append("list", items(["replaced"])).unwrap();
    })
    .await;
    memory.maintain().await.unwrap();
    let kept = [&snapshots[0], &snapshots[2]];
    assert_eq!(history(&thread, Default::default()).await, ids_of(kept));
}

/// Maintaining again, or from several memories at once, does no more.
pub async fn maintaining_is_idempotent(target: &Target) {
    let memory = keeping(target, Some(3), None);
    let thread = thread(&memory);
    let snapshots = appended(&thread, 40).await;
    target.clock().advance(LATER);
    let others = [(); 4].map(|()| keeping(target, Some(3), None));
    let runs = others.iter().map(Memory::maintain);
    for done in futures::future::join_all(runs).await {
        done.unwrap();
    }
    assert_eq!(
        history(&thread, Default::default()).await,
        ids_of(&snapshots[37..])
    );
    assert_eq!(memory.maintain().await.unwrap().removed, 0);
    assert_eq!(cold(target, &snapshots[39]).await["list"], up_to(40));
}

/// In the background, retention follows the commits: the history stays bounded.
pub async fn the_background_follows_the_commits(target: &Target) {
    let memory = target.memory_with(Settings {
        max_history: Some(10),
        background: true,
        ..target.settings()
    });
    let thread = thread(&memory);
    let mut at = append(&thread, "1").await;
    for n in 2..=300 {
        at = step_on(&at, |draft| {
            draft.append("list", items([n.to_string()])).unwrap();
        })
        .await;
        tokio::task::yield_now().await;
    }
    // It may lag behind, but catches up by itself.
    let mut left = usize::MAX;
    for _ in 0..2000 {
        left = history(&thread, Default::default()).await.len();
        if left <= 10 + 8 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((10..=18).contains(&left), "{left} checkpoints are left");
    assert_eq!(cold(target, &at).await["list"], up_to(300));
    memory.close().await.unwrap();
}

/// With `max_age` alone, the history is looked at now and then, however long
/// it is; not at every commit.
pub async fn age_is_looked_at_now_and_then(target: &Target) {
    let memory = target.memory_with(Settings {
        max_age: Some(LATER),
        background: true,
        ..target.settings()
    });
    let thread = thread(&memory);
    let mut at = append(&thread, "1").await;
    let listings = || target.asked().method(Method::List).calls;
    let before = listings();
    for n in 2..=300 {
        at = step_on(&at, |draft| {
            draft.append("list", items([n.to_string()])).unwrap();
        })
        .await;
        // Lets what is due be done, so that it is seen.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    memory.close().await.unwrap();
    let looked = listings() - before;
    assert!(looked <= 8, "the history was listed {looked} times");
}

/// Pending writes whose checkpoint never comes wait for it through the grace
/// period; then they go, also from a thread that never had anything else.
pub async fn writes_without_a_checkpoint_are_swept(target: &Target) {
    let memory = target.memory();
    let saver = memory.saver();
    let grace = memory.settings().grace;
    let put_writes = async |thread: &str| {
        let config = Config::new(thread).with_id("1");
        let writes = vec![("channel".to_owned(), Item::text(thread))];
        saver.put_writes(&config, writes, "task", "").await.unwrap();
    };
    let written = async |thread: &str| {
        let config = Config::new(thread).with_id("1");
        let tuple = target.saver().get_tuple(&config).await.unwrap();
        tuple.unwrap().pending_writes.len()
    };
    let put = async |id: &str| {
        let thread = memory.thread(id).unwrap();
        step(&thread, |draft| named(draft, "1")).await;
        written(id).await
    };
    put_writes("in time").await;
    put_writes("late").await;
    target.clock().advance(grace / 2);
    put_writes("later").await;
    memory.maintain().await.unwrap();
    assert_eq!(put("in time").await, 1, "swept within the grace period");
    target.clock().advance(grace / 2 + Duration::from_secs(1));
    memory.maintain().await.unwrap();
    assert_eq!(put("later").await, 1, "swept within the grace period");
    assert_eq!(put("late").await, 0, "not swept after the grace period");
    // Those of a checkpoint that came are its own, however old.
    target.clock().advance(LATER);
    memory.maintain().await.unwrap();
    assert_eq!(written("in time").await, 1);
}

/// A state of many chunks, and a child of it that has replaced most of them.
async fn replaced(target: &Target) -> (Memory, Snapshot, Snapshot) {
    let memory = target.memory();
    let thread = thread(&memory);
    let old = step(&thread, |draft| {
        draft.set("list", random_items(1, 2000, 200)).unwrap();
    })
    .await;
    let new = step_on(&old, |draft| {
        draft
            .splice("list", 100..1900, random_items(2, 5, 200))
            .unwrap();
    })
    .await;
    (memory, old, new)
}

/// A snapshot that outlives its checkpoint is readable through the grace
/// period, then `NotFound`; never `Corrupt`.
pub async fn an_old_snapshot_is_readable_for_the_grace(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let old = step(&thread, |draft| {
        draft.set("list", random_items(3, 2000, 200)).unwrap();
    })
    .await;
    // Nothing of the first state is in the second; the third is mostly the second.
    let (_, middle, new) = replaced(target).await;
    let memories = [(); 3].map(|()| target.memory());
    let early = reread(&memories[0], &old).await.unwrap();
    let late = reread(&memories[1], &old).await.unwrap();
    let partly = reread(&memories[2], &middle).await.unwrap();
    memory
        .saver()
        .prune(&["t"], Default::default())
        .await
        .unwrap();
    let grace = memory.settings().grace;
    target.clock().advance(grace / 2);
    memory.maintain().await.unwrap();
    let expected = Some(Value::List(random_items(3, 2000, 200)));
    assert!(
        value(&early, "list").await == expected,
        "gone within the grace period"
    );
    target.clock().advance(grace);
    memory.maintain().await.unwrap();
    // What is in the cache of the one that read it in time is still there.
    assert!(value(&early, "list").await == expected);
    let expected = [expected, Some(Value::List(random_items(1, 2000, 200)))];
    for (held, expected) in [&late, &partly].into_iter().zip(expected) {
        // Its length needs no bytes.
        assert_eq!(held.list("list").await.unwrap().len(), 2000);
        match held.value("list").await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            // A backend may keep a pack while it needs a part of it.
            Ok(found) => assert!(found == expected, "a pruned checkpoint has changed"),
        }
    }
    if gives_bytes_back(target).await {
        assert_eq!(kind(late.value("list").await), ErrorKind::NotFound);
    }
    let mut list = random_items(1, 2000, 200);
    list.splice(100..1900, random_items(2, 5, 200));
    assert!(cold(target, &new).await["list"] == Value::List(list));
}

/// Reclaiming frees what only the removed had, once, and nothing that the kept
/// need.
pub async fn reclaiming_frees_what_nothing_reaches(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let old = step(&thread, |draft| {
        draft.set("list", random_items(3, 2000, 200)).unwrap();
    })
    .await;
    // Nothing of the first state is in the second; the third is mostly the second.
    let (_, _, new) = replaced(target).await;
    let expected = cold(target, &new).await;
    let early = reclaim(target).await;
    memory
        .saver()
        .prune(&["t"], Default::default())
        .await
        .unwrap();
    let freed = reclaim(target).await;
    assert!(cold(target, &new).await == expected);
    assert!(reread(&target.memory(), &old).await.is_none());
    let again = reclaim(target).await;
    assert!(cold(target, &new).await == expected);
    if gives_bytes_back(target).await {
        assert!(freed > 400_000, "{freed} bytes were freed");
        // Tidying up is all that there is to do before and after.
        assert!(early < 50_000, "{early} bytes were freed too early");
        assert!(again < 50_000, "{again} bytes were freed twice");
    }
}

/// The same of a checkpoint that was replaced.
pub async fn reclaiming_frees_what_was_replaced(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut last = None;
    for n in 0..10 {
        let snapshot = step(&thread, |draft| {
            named(draft, "the same");
            draft.set("list", random_items(n, 500, 200)).unwrap();
        });
        last = Some(snapshot.await);
    }
    let freed = reclaim(target).await;
    let found = cold(target, &last.unwrap()).await;
    assert!(found["list"] == Value::List(random_items(9, 500, 200)));
    if gives_bytes_back(target).await {
        assert!(freed > 9 * 90_000, "{freed} bytes were freed");
    }
}

/// Whether the backend gives bytes back while their thread lives on. One whose
/// storage cannot create an object only where there is none may not.
async fn gives_bytes_back(target: &Target) -> bool {
    let memory = target.memory();
    let thread = memory.thread("probe").unwrap();
    for n in 0..2 {
        step(&thread, |draft| {
            draft.set("list", random_items(n, 100, 200)).unwrap();
        })
        .await;
    }
    memory
        .saver()
        .prune(&["probe"], Default::default())
        .await
        .unwrap();
    if reclaim(target).await > 0 {
        return true;
    }
    target.skipped("the backend gives no bytes back");
    false
}

/// A long run with bounded history takes a bounded room.
pub async fn a_bounded_history_takes_bounded_room(target: &Target) {
    let memory = keeping(target, Some(5), None);
    let thread = thread(&memory);
    let mut at = step(&thread, |draft| {
        draft.set("window", random_items(0, 50, 400)).unwrap();
    })
    .await;
    for n in 1..=300_u64 {
        at = step_on(&at, |draft| {
            // A window that moves on: the first goes, a new one comes.
            draft.splice("window", 0..1, []).unwrap();
            draft.append("window", random_items(n, 1, 400)).unwrap();
        })
        .await;
        target.clock().advance(Duration::from_secs(61));
        if n % 20 == 0 {
            memory.maintain().await.unwrap();
        }
    }
    assert_eq!(at.list("window").await.unwrap().len(), 50);
    assert_eq!(
        cold(target, &at).await["window"],
        value(&at, "window").await.unwrap()
    );
    // Reclaiming nothing only asks how much is left.
    let backend = target.backend();
    let asked = Reclaim {
        thread: "t".into(),
        incarnation: backend.incarnation("t").await.unwrap().unwrap(),
        before_ms: 0,
        dead: Vec::new(),
    };
    let live = backend.reclaim(asked).await.unwrap().live_bytes;
    // Five states of a window of 20 KB, of which most is shared.
    assert!(
        live < 100_000 || !gives_bytes_back(target).await,
        "{live} bytes are left"
    );
}
