//! [`Retry`]: tries again what may work the next time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::rng::Rng;
use super::{Answer, Call, Layer, Operation};
use crate::error::{Applied, Error, ErrorKind, Result};

/// How often, how long and how far apart an operation is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts in all, the first included. 0 counts as 1.
    pub attempts: u32,
    /// No attempt starts later than this after the first. It should be well below the
    /// grace period ([`Settings::grace`](crate::Settings::grace)): what a commit or a
    /// change writes and refers to is safe from removal only for so long, and a repeat
    /// must find it.
    pub total: Duration,
    /// The longest pause before the second attempt; doubles with each one after.
    pub first_pause: Duration,
    /// What the longest pause grows to.
    pub max_pause: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts within 30 s, pausing up to 50 ms, 100 ms, 200 ms, 400 ms.
    fn default() -> Self {
        Self {
            attempts: 5,
            total: Duration::from_secs(30),
            first_pause: Duration::from_millis(50),
            max_pause: Duration::from_secs(5),
        }
    }
}

/// Tries again after errors that say a retry may help, and only those.
///
/// Pauses are exponential with full jitter: uniform between nothing and the
/// bound (M. Brooker, "Exponential Backoff and Jitter", AWS, 2015), so that
/// clients which failed together do not return together.
///
/// Mutations are repeated as well: they carry a write id. An error after which
/// it is not certain that *no* attempt applied says *unknown*, whatever
/// the last attempt said. Of a batch of changes, each has its own doubt; a change that
/// meets a conflict after such an attempt has failed with an unknown outcome, too.
/// After giving up, the error is not retryable any
/// more and its message says how often it was tried. Of a batch of changes, only
/// those are repeated that failed and may work the next time.
///
/// Of a listing, the opening is retried; an error between rows ends the
/// listing and goes to the caller, who knows how far it got.
#[derive(Debug)]
pub struct Retry {
    policy: RetryPolicy,
    rng: Rng,
}

impl Retry {
    /// Retries by `policy`; `seed` makes the jitter.
    pub fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            policy,
            rng: Rng::new(seed),
        }
    }

    /// How long to pause after so many failed attempts.
    fn pause(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let bound = self.policy.first_pause.saturating_mul(1 << doublings);
        bound.min(self.policy.max_pause).mul_f64(self.rng.unit())
    }
}

impl Layer for Retry {
    async fn around<'a, T: Answer + 'a>(
        &'a self,
        operation: Operation,
        call: Call<'a, T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut tried = 0;
        let mut in_doubt = false;
        loop {
            let mut answer = call().await;
            tried += 1;
            // The parts of an answer are in doubt each by itself; the batch sees to it.
            let failures = match &mut answer {
                Ok(answer) => answer.failures(),
                Err(error) => {
                    in_doubt |= operation.method.mutates() && !error.is_certainly_not_applied();
                    if in_doubt {
                        mark(error, |error| error.applied(Applied::Unknown));
                    }
                    vec![error]
                }
            };
            let pause = self.pause(tried);
            if let Some(error) = failures.iter().find(|error| error.is_retryable())
                && tried < self.policy.attempts
                && start.elapsed() + pause <= self.policy.total
            {
                tracing::debug!(operation = operation.method.name(), tried, %error, "trying again");
                sleep(pause).await;
                continue;
            }
            for error in failures {
                if error.is_retryable() {
                    mark(error, |error| give_up(error, tried, start.elapsed()));
                }
            }
            return answer;
        }
    }
}

/// Puts what `change` makes of an error in its place.
fn mark(error: &mut Error, change: impl FnOnce(Error) -> Error) {
    let before = std::mem::replace(error, Error::new(ErrorKind::Other, ""));
    *error = change(before);
}

fn give_up(error: Error, tried: u32, elapsed: Duration) -> Error {
    let times = if tried == 1 { "time" } else { "times" };
    error
        .retryable(false)
        .context(format!("tried {tried} {times} in {elapsed:.1?}"))
}
