//! `delete_thread` and `delete_for_runs`.

use chunkpoint_core::{Config, ErrorKind, ListQuery, Saver};
use serde_json::json;

use super::support::*;

/// A deleted thread has no checkpoints.
pub async fn delete_removes_the_checkpoints(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    saver.delete_thread("t").await.unwrap();
    assert!(find(&saver, &Config::new("t")).await.is_none());
    assert!(
        find(&saver, &Config::new("t").with_id(id(2)))
            .await
            .is_none()
    );
    assert!(listed(&saver, of_thread("t")).await.is_empty());
    assert!(
        target
            .memory()
            .threads("", None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Its writes go with it: the same checkpoint in a new life has none.
pub async fn delete_removes_the_writes(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").put(&saver).await;
    let orphan = Config::new("t").with_id("2");
    for config in [&config, &orphan] {
        write(&saver, config, "task", &[("a", "x")]).await;
    }
    saver.delete_thread("t").await.unwrap();
    assert!(find(&saver, &config).await.is_none());
    for id in ["1", "2"] {
        let config = Step::new("t", id).put(&saver).await;
        assert!(pending(&saver, &config).await.is_empty());
    }
}

/// All namespaces go.
pub async fn delete_removes_all_namespaces(target: &Target) {
    let saver = target.saver();
    for namespace in ["", "child", "child|grandchild"] {
        chain(&saver, "t", namespace, 2).await;
    }
    saver.delete_thread("t").await.unwrap();
    for namespace in ["", "child", "child|grandchild"] {
        assert!(
            find(&saver, &Config::new("t").with_ns(namespace))
                .await
                .is_none()
        );
    }
}

/// Other threads stay, those with similar ids too.
pub async fn delete_preserves_other_threads(target: &Target) {
    let saver = target.saver();
    let others = ["t2", "T", "t ", "t/"];
    for thread in others.into_iter().chain(["t"]) {
        let config = link(thread, "", 1).put(&saver).await;
        write(&saver, &config, "task", &[("a", "x")]).await;
    }
    saver.delete_thread("t").await.unwrap();
    for thread in others {
        let config = Config::new(thread);
        let found = checkpoint(&saver, &config).await;
        assert_eq!(found, link(thread, "", 1).checkpoint);
        assert_eq!(pending(&saver, &config).await.len(), 1);
    }
}

/// Deleting what does not exist, or twice, is no error.
pub async fn delete_of_nothing_is_no_error(target: &Target) {
    let saver = target.saver();
    saver.delete_thread("t").await.unwrap();
    chain(&saver, "t", "", 1).await;
    saver.delete_thread("t").await.unwrap();
    saver.delete_thread("t").await.unwrap();
    assert_eq!(kind(saver.delete_thread("").await), ErrorKind::InvalidInput);
}

/// A late `put` that borrows from the deleted life is refused; one that does
/// not starts the thread anew.
pub async fn late_puts_do_not_bring_the_old_life_back(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 2).await;
    saver.delete_thread("t").await.unwrap();
    let late = Step::new("t", &id(3)).parent(&id(2)).carry("step", 2);
    assert_eq!(kind(late.try_put(&saver).await), ErrorKind::ParentGone);
    assert!(listed(&saver, of_thread("t")).await.is_empty());
    let fresh = Step::new("t", &id(1)).set("a", 1, text("fresh"));
    fresh.put(&saver).await;
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([1]));
}

/// A chain of two runs, one after the other, in both namespaces of a thread.
async fn of_runs(saver: &Saver, thread: &str) {
    for namespace in ["", "child"] {
        for n in 1..=4 {
            let run = if n <= 2 { "run-1" } else { "run-2" };
            let config = link(thread, namespace, n)
                .meta("run_id", json!(run))
                .put(saver)
                .await;
            write(saver, &config, "task", &[("a", run)]).await;
        }
    }
}

/// The checkpoints of one run go, in all namespaces and threads.
pub async fn the_checkpoints_of_a_run_go(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    of_runs(&saver, "u").await;
    saver.delete_for_runs(&["run-1"]).await.unwrap();
    for thread in ["t", "u"] {
        for namespace in ["", "child"] {
            let found = listed_ids(&saver, of_ns(thread, namespace)).await;
            assert_eq!(found, ids([4, 3]));
            for n in [3, 4] {
                let names = link(thread, namespace, n).names();
                let found = values(&target.saver(), &names).await;
                assert_eq!(found, link(thread, namespace, n).checkpoint.channel_values);
            }
        }
    }
}

/// Several runs at once.
pub async fn several_runs_go_at_once(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    Step::new("t", "9")
        .meta("run_id", json!("run-3"))
        .put(&saver)
        .await;
    saver
        .delete_for_runs(&["run-1", "run-2", "run-1"])
        .await
        .unwrap();
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ["9"]);
}

/// Checkpoints of other runs, and of none, stay; so do run ids that look alike.
pub async fn other_runs_stay(target: &Target) {
    let saver = target.saver();
    let runs = [
        json!("run"),
        json!("run-10"),
        json!(" run-1"),
        json!("RUN-1"),
        json!(1),
        json!(null),
    ];
    for (n, run) in (1..).zip(&runs) {
        Step::new("t", &id(n))
            .meta("run_id", run.clone())
            .put(&saver)
            .await;
    }
    Step::new("t", &id(7)).put(&saver).await;
    Step::new("t", &id(8))
        .meta("run_id", json!("run-1"))
        .put(&saver)
        .await;
    saver
        .delete_for_runs(&["run-1", "1", "null"])
        .await
        .unwrap();
    assert_eq!(
        listed_ids(&saver, of_thread("t")).await,
        ids([7, 6, 5, 4, 3, 2, 1])
    );
}

/// The writes of a run's checkpoints go with them.
pub async fn the_writes_of_a_run_go(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    saver.delete_for_runs(&["run-2"]).await.unwrap();
    let gone = link("t", "", 4);
    assert!(find(&saver, &gone.names()).await.is_none());
    gone.put(&saver).await;
    assert!(pending(&saver, &gone.names()).await.is_empty());
    assert_eq!(pending(&saver, &link("t", "", 2).names()).await.len(), 1);
}

/// No runs are none to delete.
pub async fn no_runs_delete_nothing(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    saver.delete_for_runs(&[]).await.unwrap();
    assert_eq!(listed(&saver, ListQuery::default()).await.len(), 8);
}

/// A run that does not exist is no error.
pub async fn an_unknown_run_deletes_nothing(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    saver.delete_for_runs(&["run-9", ""]).await.unwrap();
    assert_eq!(listed(&saver, ListQuery::default()).await.len(), 8);
}

/// A thread all of whose checkpoints went is not listed, and can go on.
pub async fn a_thread_may_lose_its_last_checkpoint(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    saver.delete_for_runs(&["run-1", "run-2"]).await.unwrap();
    assert!(
        target
            .memory()
            .threads("", None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(find(&saver, &Config::new("t")).await.is_none());
    chain(&saver, "t", "", 2).await;
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([2, 1]));
}

/// A pinned checkpoint of the run stays.
pub async fn a_pinned_checkpoint_of_a_run_stays(target: &Target) {
    let saver = target.saver();
    of_runs(&saver, "t").await;
    let thread = target.memory().thread("t").unwrap();
    thread.pin(&id(1)).await.unwrap();
    saver.delete_for_runs(&["run-1"]).await.unwrap();
    assert_eq!(listed_ids(&saver, of_ns("t", "")).await, ids([4, 3, 1]));
    let found = checkpoint(&target.saver(), &link("t", "", 1).names()).await;
    assert_eq!(found, link("t", "", 1).checkpoint);
}
