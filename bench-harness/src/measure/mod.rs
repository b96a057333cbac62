//! Instruments: latency, the process's memory and time, the heap, the machine.

mod clock;
mod heap;
mod latency;
mod machine;
mod process;
mod recorder;
mod series;
mod wire;

pub use clock::{date, timestamp, unix_millis};
pub use heap::{Heap, heap};
pub use latency::{Latency, Percentiles};
pub use machine::{Environment, Revision, filesystem_of};
pub use process::{ProcessMemory, Which, cpu_time, process_memory, reset_peak};
pub use recorder::{Io, Memory, Phase, PhaseName, Recorder};
pub use series::{Sample, Series};
pub use wire::Wire;
