//! Collects what one process measures: phases, latencies, figures, series.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Latency, Sample, Series, Which, cpu_time, heap, process_memory, reset_peak};
use crate::error::Result;

/// The phases of a cell, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseName {
    /// Opens the fresh storage.
    Provision,
    /// Gets the workload and the oracle ready.
    Prepare,
    /// Runs the code on storage of its own, unrecorded.
    WarmUp,
    /// What the results are about.
    Measure,
    /// Reads back and compares.
    Verify,
    /// Sums up what is at rest.
    Footprint,
    /// Closes.
    Teardown,
}

/// Traffic with the storage. Reads and writes are system calls that move data and
/// their bytes on files, calls of the backend trait and their payload elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// Calls of the backend trait: what would be round trips to a server.
    pub calls: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Times the storage was told to make data durable.
    pub syncs: u64,
}

impl Io {
    /// What was done since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            reads: self.reads.saturating_sub(earlier.reads),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
            writes: self.writes.saturating_sub(earlier.writes),
            bytes_written: self.bytes_written.saturating_sub(earlier.bytes_written),
            syncs: self.syncs.saturating_sub(earlier.syncs),
        }
    }
}

/// Memory at the ends of a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident at the start.
    pub rss_start_bytes: Option<u64>,
    /// Resident at the end.
    pub rss_end_bytes: Option<u64>,
    /// The most resident.
    pub rss_peak_bytes: Option<u64>,
    /// Whether the peak is of this phase alone; else of the process so far.
    pub peak_of_phase: bool,
    /// Live heap at the start.
    pub heap_start_bytes: Option<u64>,
    /// Live heap at the end.
    pub heap_end_bytes: Option<u64>,
    /// Allocations made.
    pub allocations: Option<u64>,
}

impl Memory {
    /// The peak over the start.
    pub fn rss_growth_bytes(&self) -> Option<u64> {
        let (peak, start) = self.rss_peak_bytes.zip(self.rss_start_bytes)?;
        Some(peak.saturating_sub(start))
    }
}

/// One phase of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The stage, as the model calls it.
    pub stage: String,
    /// The phase.
    pub name: PhaseName,
    /// How long it took.
    pub wall_ms: f64,
    /// User and system time of all threads, to 10 ms.
    pub cpu_ms: Option<f64>,
    /// Memory.
    pub memory: Memory,
}

/// Collects what one process measures.
#[derive(Debug)]
pub struct Recorder {
    stage: String,
    /// The process whose memory and time are measured.
    process: Which,
    /// The phases so far.
    pub phases: Vec<Phase>,
    /// The latencies, by operation.
    pub ops: BTreeMap<String, Latency>,
    /// The figures, by name.
    pub figures: BTreeMap<String, f64>,
    /// The series.
    pub series: Vec<Series>,
    /// What the reader of the result must know.
    pub notes: Vec<String>,
    /// Answers that were compared with the oracle.
    pub checked: u64,
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            stage: String::new(),
            process: Which::This,
            phases: Vec::new(),
            ops: BTreeMap::new(),
            figures: BTreeMap::new(),
            series: Vec::new(),
            notes: Vec::new(),
            checked: 0,
        }
    }

    /// Names the stage of the phases to come.
    pub fn stage(&mut self, name: &str) {
        self.stage = name.into();
    }

    /// Measures memory and processor time of this process from here on.
    pub fn watch(&mut self, process: Which) {
        self.process = process;
    }

    /// The heap, which only this process can tell of itself.
    fn heap(&self) -> Option<super::Heap> {
        (self.process == Which::This).then(heap).flatten()
    }

    /// Begins a phase; hand what it gives to [`end`](Self::end).
    pub fn begin(&self, name: PhaseName) -> OpenPhase {
        OpenPhase {
            name,
            peak_of_phase: reset_peak(self.process),
            memory: process_memory(self.process).map(|memory| memory.rss_bytes),
            heap: self.heap(),
            cpu: cpu_time(self.process),
            start: Instant::now(),
        }
    }

    /// Ends a phase and books it.
    pub fn end(&mut self, open: OpenPhase) -> &Phase {
        let wall = open.start.elapsed();
        let of = self.process;
        let (cpu, memory, heap) = (cpu_time(of), process_memory(of), self.heap());
        let millis = |d: Duration| d.as_secs_f64() * 1e3;
        let phase = Phase {
            stage: self.stage.clone(),
            name: open.name,
            wall_ms: millis(wall),
            cpu_ms: open
                .cpu
                .zip(cpu)
                .map(|(from, to)| millis(to.saturating_sub(from))),
            memory: Memory {
                rss_start_bytes: open.memory,
                rss_end_bytes: memory.map(|memory| memory.rss_bytes),
                rss_peak_bytes: memory.map(|memory| memory.peak_bytes),
                peak_of_phase: open.peak_of_phase,
                heap_start_bytes: open.heap.map(|heap| heap.live_bytes),
                heap_end_bytes: heap.map(|heap| heap.live_bytes),
                allocations: open
                    .heap
                    .zip(heap)
                    .map(|(from, to)| to.allocations.saturating_sub(from.allocations)),
            },
        };
        let at = self.phases.len();
        self.phases.push(phase);
        &self.phases[at]
    }

    /// Runs `work` as one phase.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn phase<T>(
        &mut self,
        name: PhaseName,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let open = self.begin(name);
        let done = work.await;
        self.end(open);
        done
    }

    /// Books one operation.
    ///
    /// # Errors
    /// Never in practice; see [`Latency::new`].
    pub fn op(&mut self, name: &str, took: Duration) -> Result<()> {
        if !self.ops.contains_key(name) {
            self.ops.insert(name.into(), Latency::new()?);
        }
        if let Some(latency) = self.ops.get_mut(name) {
            latency.record(took);
        }
        Ok(())
    }

    /// Adds the latencies of another recorder.
    ///
    /// # Errors
    /// Never in practice; see [`Latency::merge`].
    pub fn merge_ops(&mut self, other: Self) -> Result<()> {
        for (name, latency) in other.ops {
            match self.ops.get_mut(&name) {
                Some(sum) => sum.merge(&latency)?,
                None => {
                    self.ops.insert(name, latency);
                }
            }
        }
        Ok(())
    }

    /// Books a figure, unless it is missing or a division by zero.
    pub fn figure(&mut self, name: &str, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.figures.insert(name.into(), value);
        }
    }

    /// Adds a sample to the series of this name.
    pub fn sample(&mut self, name: &str, sample: Sample) {
        match self.series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.samples.push(sample),
            None => self.series.push(Series {
                name: name.into(),
                samples: vec![sample],
            }),
        }
    }

    /// Adds a note, once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// A phase that has begun.
#[derive(Debug)]
pub struct OpenPhase {
    name: PhaseName,
    peak_of_phase: bool,
    memory: Option<u64>,
    heap: Option<super::Heap>,
    cpu: Option<Duration>,
    start: Instant,
}
