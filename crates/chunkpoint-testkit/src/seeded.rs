//! What the two models share: which seeds to run, and how a failure is told.

use std::fmt::Debug;

/// What failed, after how many operations.
pub(crate) struct Failure {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// The seed that the variable `one` names; else as many as `many` does, or `count`.
pub(crate) fn seeds(one: &str, many: &str, count: u64) -> Vec<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        let number = text.parse::<u64>();
        Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text}")))
    };
    match number(one) {
        Some(seed) => vec![seed],
        None => (0..number(many).unwrap_or(count)).collect(),
    }
}

/// Fails with the operations that led there. `variable` replays the seed.
pub(crate) fn report(variable: &str, seed: u64, operations: &[impl Debug], failure: &Failure) {
    let mut list = String::new();
    for (n, op) in operations[..failure.at].iter().enumerate() {
        list += &format!("{:>4}: {op:?}\n", n + 1);
    }
    panic!(
        "after operation {} of seed {seed} ({variable}={seed} replays it):\n{}\n{list}",
        failure.at, failure.message
    );
}
