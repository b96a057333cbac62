//! When operations of an open load should begin.
//!
//! A closed client that waits through a stall issues nothing meanwhile, so the stall is in one
//! latency only, where independent users would all have met it (Tene's "coordinated
//! omission"). Here every operation has a moment at which it should begin, whatever happened
//! to those before it, and its response time counts from there.

use std::time::Duration;

use crate::scenario::LoadModel;
use crate::workload::Rng;

/// The moments, from the beginning of the load, in order. Without end.
#[derive(Debug)]
pub(super) struct Arrivals {
    model: LoadModel,
    /// Seconds between two, on average.
    mean: f64,
    /// Seconds from the beginning to the next.
    next: f64,
    rng: Rng,
}

impl Arrivals {
    /// `rate` operations a second. The same seed gives the same moments.
    pub(super) fn new(model: LoadModel, rate: f64, seed: u64) -> Self {
        Self {
            model,
            mean: 1.0 / rate,
            next: 0.0,
            rng: Rng::at(&[seed, 0x0061_7272_6976]),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Duration::from_secs_f64(self.next);
        self.next += match self.model {
            // Exponential distances, by inversion: 1 - unit() is never 0.
            LoadModel::Poisson => -(1.0 - self.rng.unit()).ln() * self.mean,
            LoadModel::Constant | LoadModel::Closed => self.mean,
        };
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_are_at_equal_distances() {
        let at: Vec<_> = Arrivals::new(LoadModel::Constant, 4.0, 1).take(3).collect();
        assert_eq!(at, [0, 250, 500].map(Duration::from_millis));
    }

    #[test]
    fn random_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let at: Vec<_> = Arrivals::new(LoadModel::Poisson, 100.0, 1)
            .take(100_001)
            .collect();
        assert!(at.is_sorted());
        let gaps: Vec<f64> = at
            .windows(2)
            .map(|two| (two[1] - two[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
        let deviation = (variance / gaps.len() as f64).sqrt();
        // Of exponential distances the standard deviation is the mean.
        assert!((mean - 0.01).abs() < 1e-4, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.02, "{deviation}");
    }
}
