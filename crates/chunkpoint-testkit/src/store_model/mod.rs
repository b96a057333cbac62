//! A model-based test of the long-term store on any backend: random operations on the
//! store and on a plain map of JSON with times, which must agree after every one of
//! them, to the version and the millisecond.
//!
//! The operations are puts, patches and removals with and without expectations, reads
//! that renew, searches, batches, the passing of time, sweeps and reopening.
//!
//! A seed that fails is printed with the shortest sequence found that still fails, and
//! replayed with `CHUNKPOINT_STORE_SEED`; `CHUNKPOINT_STORE_SEEDS` says how many to run.

mod op;
mod world;

use op::Op;
use world::World;

use crate::seeded::{Failure, report, seeds};
use crate::target::Target;

/// Says which seed to run instead of all.
const SEED: &str = "CHUNKPOINT_STORE_SEED";

/// Says how many seeds to run, for a longer search.
const SEEDS_WANTED: &str = "CHUNKPOINT_STORE_SEEDS";

/// Seeds that one test of a backend's suite runs.
const SEEDS: u64 = 12;

/// Operations for each seed.
const STEPS: usize = 60;

/// Random operations on this store agree with the model.
pub async fn random_store_operations_agree_with_the_model(target: &Target) {
    search(target, SEEDS, STEPS).await;
}

/// Runs this many seeds of this many operations, each below a label of its own, and
/// looks for the shortest sequence that fails.
///
/// # Panics
/// If a seed fails, with the seed, the failure and the operations.
pub async fn search(target: &Target, count: u64, steps: usize) {
    let mut opened = None;
    let mut runs = 0;
    for seed in seeds(SEED, SEEDS_WANTED, count) {
        let mut operations = op::operations(seed, steps);
        let mut run = async |operations: &[Op]| {
            runs += 1;
            run(target, &mut opened, runs, operations).await
        };
        let Err(mut failure) = run(&operations).await else {
            continue;
        };
        // The last operation that ran is the first that failed; of those before it,
        // whatever is not needed is left out.
        operations.truncate(failure.at);
        let mut place = operations.len().saturating_sub(1);
        while place > 0 {
            place -= 1;
            let mut fewer = operations.clone();
            fewer.remove(place);
            if let Err(still) = run(&fewer).await {
                fewer.truncate(still.at);
                place = place.min(fewer.len());
                (operations, failure) = (fewer, still);
            }
        }
        report(SEED, seed, &operations, &failure);
    }
}

async fn run(
    target: &Target,
    opened: &mut Option<Target>,
    nth: usize,
    operations: &[Op],
) -> Result<(), Failure> {
    let mut world = World::new(target, opened, format!("run {nth}"));
    for (n, op) in operations.iter().enumerate() {
        let outcome = world.run(op).await;
        outcome.map_err(|message| Failure { at: n + 1, message })?;
    }
    Ok(())
}

/// The behaviour, as a test.
#[doc(hidden)]
#[macro_export]
macro_rules! store_model_list {
    ($fixture:tt) => {
        #[test]
        fn random_store_operations_agree_with_the_model() {
            $crate::target::run(
                "random_store_operations_agree_with_the_model",
                async { $fixture },
                |target| {
                    ::std::boxed::Box::pin(
                        $crate::store_model::random_store_operations_agree_with_the_model(target),
                    )
                },
            );
        }
    };
}
