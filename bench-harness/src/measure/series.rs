//! Values over the steps of a long run, and how fast they grow.

use serde::{Deserialize, Serialize};

use super::{Which, heap, process_memory};

/// What was seen at one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Steps done.
    pub step: u64,
    /// Milliseconds since the phase began.
    pub elapsed_ms: u64,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Bytes in live allocations.
    pub heap_bytes: Option<u64>,
    /// Bytes the backend's files have.
    pub at_rest_bytes: Option<u64>,
}

impl Sample {
    /// Memory now; `at_rest_bytes` is the caller's.
    pub fn now(step: u64, elapsed_ms: u64, at_rest_bytes: Option<u64>) -> Self {
        Self {
            step,
            elapsed_ms,
            rss_bytes: process_memory(Which::This).map(|memory| memory.rss_bytes),
            heap_bytes: heap().map(|heap| heap.live_bytes),
            at_rest_bytes,
        }
    }
}

/// Samples, by step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    /// What was going on.
    pub name: String,
    /// The samples, first to last.
    pub samples: Vec<Sample>,
}

impl Series {
    /// The growth of a value for each step, by least squares over the samples at
    /// or after step `from`; `None` under three of them.
    pub fn slope(&self, from: u64, value: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
        let points: Vec<_> = self
            .samples
            .iter()
            .filter(|sample| sample.step >= from)
            .filter_map(|sample| Some((sample.step as f64, value(sample)? as f64)))
            .collect();
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / count;
        let mean_y = points.iter().map(|p| p.1).sum::<f64>() / count;
        let covariance: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        let variance: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        (variance > 0.0).then(|| covariance / variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[u64]) -> Series {
        let sample = |(step, &value): (usize, &u64)| Sample {
            step: step as u64,
            elapsed_ms: 0,
            rss_bytes: Some(value),
            heap_bytes: None,
            at_rest_bytes: None,
        };
        Series {
            name: "x".into(),
            samples: values.iter().enumerate().map(sample).collect(),
        }
    }

    #[test]
    fn slope_of_a_line_is_its_slope() {
        let slope = series(&[100, 3, 5, 7, 9])
            .slope(1, |sample| sample.rss_bytes)
            .unwrap();
        assert!((slope - 2.0).abs() < 1e-9);
        assert_eq!(series(&[1, 2]).slope(0, |sample| sample.rss_bytes), None);
        assert_eq!(
            series(&[1, 2, 3]).slope(0, |sample| sample.heap_bytes),
            None
        );
    }
}
