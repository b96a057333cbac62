//! A checkpoint committed while the one it builds on is removed: its delta
//! history stays whole, or it is not stored.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunkpoint_core::layers::{Answer, Call, Layer, Method, Operation};
use chunkpoint_core::{Config, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::delta::{delta_chain, history, texts};
use super::support::*;

/// Where calls wait until they are let on.
#[derive(Debug, Clone, Default)]
struct Gates(Arc<Mutex<Vec<Gate>>>);

/// Stands before the `nth` call of a method from when it was set.
#[derive(Debug, Clone)]
struct Gate {
    method: Method,
    nth: u32,
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gates {
    fn set(&self, method: Method, nth: u32) -> Gate {
        let gate = Gate {
            method,
            nth,
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        };
        self.0.lock().unwrap().push(gate.clone());
        gate
    }

    fn at(&self, method: Method) -> Option<Gate> {
        let mut gates = self.0.lock().unwrap();
        let at = gates.iter().position(|gate| gate.method == method)?;
        gates[at].nth -= 1;
        (gates[at].nth == 0).then(|| gates.remove(at))
    }
}

impl Gate {
    /// Waits for the call to come.
    async fn reached(&self) {
        let wait = Duration::from_secs(60);
        let reached = tokio::time::timeout(wait, self.arrived.acquire()).await;
        reached
            .expect("the call was never made")
            .expect("gates are not closed")
            .forget();
    }

    fn open(&self) {
        self.open.add_permits(1);
    }
}

impl Layer for Gates {
    async fn around<'a, T: Answer + 'a>(
        &'a self,
        operation: Operation,
        call: Call<'a, T>,
    ) -> Result<T> {
        if let Some(gate) = self.at(operation.method) {
            gate.arrived.add_permits(1);
            let opened = gate.open.acquire().await;
            opened.expect("gates are not closed").forget();
        }
        call().await
    }
}

/// One run's checkpoint goes while its child is committed: the child's history
/// either has what it passes, or the child is refused and nowhere.
///
/// The child finds its parent there, and is committed after the removal has listed
/// what there is and before it removes: neither sees the other in time.
pub async fn a_child_of_what_goes_is_whole_or_not_there(target: &Target) {
    let saver = target.saver();
    delta_chain(&saver, "t", 2).await;
    let step = link("t", "", 3)
        .meta("run_id", serde_json::json!("gone"))
        .meta("counters_since_delta_snapshot", super::delta::counters());
    let parent = step.empty("log", 3).put(&saver).await;
    write(&saver, &parent, "task", &[("log", "w3")]).await;

    let (remover, writer) = (Gates::default(), Gates::default());
    let removing = target.memory_through(remover.clone()).saver();
    let writing = target.memory_through(writer.clone()).saver();
    let remove = remover.set(Method::Alter, 2);
    let commit = writer.set(Method::Commit, 1);
    let child = Step::new("t", &id(4))
        .parent(&id(3))
        .carry("step", 3)
        .meta("counters_since_delta_snapshot", super::delta::counters());
    let child = tokio::spawn(async move { child.empty("log", 4).try_put(&writing).await });
    commit.reached().await;
    let removed = tokio::spawn(async move { removing.delete_for_runs(&["gone"]).await });
    remove.reached().await;
    let look = writer.set(Method::Get, 1);
    commit.open();
    look.reached().await;
    remove.open();
    removed.await.unwrap().unwrap();
    look.open();
    let child = child.await.unwrap();

    let saver = target.saver();
    assert!(find(&saver, &parent).await.is_none());
    match child {
        Ok(config) => {
            let found = history(&saver, &config).await;
            assert_eq!(texts(&found), ["w1", "w2", "w3"]);
            assert!(found.seed.is_some());
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ParentGone, "{error}");
            assert!(
                find(&saver, &Config::new("t").with_id(id(4)))
                    .await
                    .is_none()
            );
        }
    }
}

/// That the newest checkpoint has no delta channel does not mean that an older
/// one needs no history.
pub async fn an_older_delta_channel_keeps_its_seed(target: &Target) {
    let saver = target.saver();
    // A plain value, as channels have before they become delta channels.
    let seed = link("t", "", 1)
        .set("log", 1, text("seed"))
        .meta("run_id", serde_json::json!("gone"));
    seed.put(&saver).await;
    let kept = link("t", "", 2).meta("counters_since_delta_snapshot", super::delta::counters());
    let kept = kept.empty("log", 2).put(&saver).await;
    link("t", "", 3).put(&saver).await;
    let before = history(&saver, &kept).await;
    assert!(before.seed.is_some());
    saver.delete_for_runs(&["gone"]).await.unwrap();
    assert_eq!(history(&target.saver(), &kept).await, before);
}
