//! Adds up what operations of one kind moved.

use crate::error::Result;
use crate::measure::{Io, Latency, Recorder};
use crate::subject::items::ItemAnswer;

/// Traffic of operations of one kind.
#[derive(Debug)]
pub(super) struct Traffic {
    /// How its figures' names start.
    prefix: &'static str,
    written: Latency,
    /// What the engine says it handed over.
    engine: Latency,
    read: Latency,
    calls: u64,
}

impl Traffic {
    pub(super) fn new(prefix: &'static str) -> Result<Self> {
        Ok(Self {
            prefix,
            written: Latency::new()?,
            engine: Latency::new()?,
            read: Latency::new()?,
            calls: 0,
        })
    }

    /// The name of its operations.
    pub(super) fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Adds an operation.
    pub(super) fn add(&mut self, io: Io, answer: &ItemAnswer) {
        self.written.record_value(io.bytes_written);
        self.read.record_value(io.bytes_read);
        self.calls += io.calls;
        if let ItemAnswer::Written { engine_bytes } = answer {
            self.engine.record_value(*engine_bytes);
        }
    }

    /// Books means and greatest values; of reads what was read, of writes both.
    pub(super) fn book(&self, recorder: &mut Recorder) {
        let count = self.read.count();
        if count == 0 {
            return;
        }
        let mut figure =
            |name: &str, value: f64| recorder.figure(&format!("{}_{name}", self.prefix), value);
        figure("bytes_read_mean", self.read.percentiles().mean);
        figure("calls_mean", self.calls as f64 / count as f64);
        let written = self.written.percentiles();
        if written.max > 0 {
            figure("bytes_written_mean", written.mean);
            figure("bytes_written_max", written.max as f64);
        }
        let engine = self.engine.percentiles();
        if engine.max > 0 {
            figure("engine_bytes_mean", engine.mean);
            figure("engine_bytes_max", engine.max as f64);
        }
    }
}
