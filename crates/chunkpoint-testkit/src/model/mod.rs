//! A model-based test of the engine on any backend: random operations on a
//! memory and on plain maps, which must agree after every one of them.
//!
//! The operations are commits of drafts and of whole values, also on parents
//! that may have gone, replaced ids, forks, pending writes, pins, `prune`,
//! `delete_for_runs`, retention, reclaiming, deleting, copying and reopening. After
//! each, the listings are compared, some checkpoints to the byte, and a
//! snapshot that was kept open; at the end everything.
//!
//! A seed that fails is printed with the shortest sequence found that still
//! fails, and replayed with `CHUNKPOINT_MODEL_SEED`; `CHUNKPOINT_MODEL_SEEDS`
//! says how many to run.

mod commits;
mod compare;
mod op;
mod state;
mod values;
mod world;

use std::future::Future;

use op::Op;
use world::{Outcome, World};

use crate::seeded::{Failure, report, seeds};
use crate::target::Target;

/// Says which seed to run instead of all.
const SEED: &str = "CHUNKPOINT_MODEL_SEED";

/// Says how many seeds to run, for a longer search.
const SEEDS_WANTED: &str = "CHUNKPOINT_MODEL_SEEDS";

/// Seeds that one test of a backend's suite runs.
const SEEDS: u64 = 12;

/// Operations for each seed.
const STEPS: usize = 60;

/// Random operations on this store agree with the model.
pub async fn random_operations_agree_with_the_model(target: &Target) {
    // One seed reopens the store, the next goes on with what was opened last.
    let mut opened = None;
    for seed in seeds(SEED, SEEDS_WANTED, SEEDS) {
        let operations = op::operations(seed, STEPS);
        if let Err(failure) = run(target, &mut opened, seed, &operations).await {
            report(SEED, seed, &operations, &failure);
        }
    }
}

/// Runs this many seeds of this many operations, each on a store of its own
/// that `open` makes, and looks for the shortest sequence that fails.
///
/// # Panics
/// If a seed fails, with the seed, the failure and the operations.
pub async fn search<F>(open: impl Fn() -> F + Send + Sync, count: u64, steps: usize)
where
    F: Future<Output = Target> + Send,
{
    for seed in seeds(SEED, SEEDS_WANTED, count) {
        let mut operations = op::operations(seed, steps);
        let Err(mut failure) = run(&open().await, &mut None, seed, &operations).await else {
            continue;
        };
        // The last operation that ran is the first that failed; of those
        // before it, whatever is not needed is left out.
        operations.truncate(failure.at);
        let mut place = operations.len().saturating_sub(1);
        while place > 0 {
            place -= 1;
            let mut fewer = operations.clone();
            fewer.remove(place);
            if let Err(still) = run(&open().await, &mut None, seed, &fewer).await {
                fewer.truncate(still.at);
                place = place.min(fewer.len());
                (operations, failure) = (fewer, still);
            }
        }
        report(SEED, seed, &operations, &failure);
    }
}

/// Runs a sequence, and leaves the store empty if it succeeds.
async fn run(
    target: &Target,
    opened: &mut Option<Target>,
    seed: u64,
    operations: &[Op],
) -> Result<(), Failure> {
    let mut world = World::new(target, opened, seed);
    for (n, op) in operations.iter().enumerate() {
        let outcome: Outcome = world.run(op).await;
        outcome.map_err(|message| Failure { at: n + 1, message })?;
    }
    let at = operations.len();
    let failed = |message| Failure { at, message };
    compare::everything(&mut world).await.map_err(failed)?;
    for thread in op::THREADS {
        let deleted = world.memory.saver().delete_thread(thread).await;
        deleted.map_err(|error| failed(world::text(error)))?;
    }
    Ok(())
}

/// The behaviours, by the module they are in.
#[doc(hidden)]
#[macro_export]
macro_rules! model_list {
    ($fixture:tt) => {
        #[test]
        fn random_operations_agree_with_the_model() {
            $crate::target::run(
                "random_operations_agree_with_the_model",
                async { $fixture },
                |target| {
                    ::std::boxed::Box::pin($crate::model::random_operations_agree_with_the_model(
                        target,
                    ))
                },
            );
        }
    };
}
