//! Latency distributions, kept whole.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One hour in nanoseconds: what takes longer is recorded as this.
const MOST: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds (or of sizes) with three significant digits.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

/// Some of a histogram's quantiles, for reading without a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Least value.
    pub min: u64,
    /// Half are at most this.
    pub p50: u64,
    /// Nine in ten are at most this.
    pub p90: u64,
    /// 99 in a hundred are at most this.
    pub p99: u64,
    /// 999 in a thousand are at most this.
    pub p999: u64,
    /// Greatest value.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Latency {
    /// An empty histogram.
    ///
    /// # Errors
    /// Never, unless the bounds above are edited into nonsense.
    pub fn new() -> Result<Self> {
        Histogram::new_with_bounds(1, MOST, 3)
            .map(Self)
            .map_err(|e| Error::Cell(format!("histogram bounds: {e}")))
    }

    /// Adds one duration.
    pub fn record(&mut self, took: Duration) {
        self.record_value(u64::try_from(took.as_nanos()).unwrap_or(MOST));
    }

    /// Adds one value.
    pub fn record_value(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    /// Adds all of another histogram.
    ///
    /// # Errors
    /// Never, as all have the same bounds.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.0
            .add(&other.0)
            .map_err(|e| Error::Cell(format!("histograms do not add: {e}")))
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantiles.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            min: self.0.min(),
            p50: self.0.value_at_quantile(0.5),
            p90: self.0.value_at_quantile(0.9),
            p99: self.0.value_at_quantile(0.99),
            p999: self.0.value_at_quantile(0.999),
            max: self.0.max(),
            mean: self.0.mean(),
        }
    }

    /// The value that this share of the values is at most, from 0.0 to 1.0.
    pub fn at_quantile(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// The histogram in HdrHistogram's V2 format, deflated, in base64: what every
    /// HdrHistogram library reads.
    ///
    /// # Errors
    /// If it cannot be written to memory.
    pub fn encode(&self) -> Result<String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .map_err(|e| Error::Cell(format!("encode histogram: {e}")))?;
        Ok(STANDARD.encode(bytes))
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// `Input` if it is something else.
    pub fn decode(text: &str) -> Result<Self> {
        let failed = |e: String| Error::Input(format!("not an HDR histogram: {e}"));
        let bytes = STANDARD.decode(text).map_err(|e| failed(e.to_string()))?;
        let histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| failed(e.to_string()))?;
        Ok(Self(histogram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_values_through_encoding_and_merging() {
        let mut one = Latency::new().unwrap();
        (1..=1000).for_each(|us| one.record(Duration::from_micros(us)));
        let mut sum = Latency::decode(&one.encode().unwrap()).unwrap();
        assert_eq!(sum.percentiles(), one.percentiles());
        sum.merge(&one).unwrap();
        assert_eq!(sum.count(), 2000);
        let p50 = sum.percentiles().p50 as f64;
        assert!((p50 / 500_000.0 - 1.0).abs() < 0.002, "three digits: {p50}");
    }

    #[test]
    fn what_takes_over_an_hour_is_an_hour() {
        let mut one = Latency::new().unwrap();
        one.record(Duration::from_secs(100_000));
        assert!(one.percentiles().max >= MOST);
        assert!(Latency::decode("AAAA").is_err());
    }
}
