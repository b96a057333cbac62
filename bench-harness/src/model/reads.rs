//! Adds up reads.

use super::pair::Opened;
use crate::measure::{Io, Memory, Recorder};
use crate::subject::Op;

/// Reads of one kind.
#[derive(Debug)]
pub(super) struct Reads {
    op: Op,
    /// Whether their traffic can be told.
    counts: bool,
    count: u64,
    /// Bytes of the messages they gave.
    bytes: u64,
    /// Their traffic.
    bytes_read: u64,
    calls: u64,
}

impl Reads {
    pub(super) fn new(op: Op, opened: &Opened) -> Self {
        Self {
            op,
            counts: opened.counts(),
            count: 0,
            bytes: 0,
            bytes_read: 0,
            calls: 0,
        }
    }

    /// Adds a read that gave `bytes` bytes of messages.
    pub(super) fn add(&mut self, io: Io, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.bytes_read += io.bytes_read;
        self.calls += io.calls;
    }

    /// Books their means, and how `memory` grew meanwhile.
    pub(super) fn book(&self, recorder: &mut Recorder, memory: Option<Memory>) {
        let prefix = self.op.prefix();
        let mean = |sum: u64| (self.count > 0).then(|| sum as f64 / self.count as f64);
        recorder.figure(
            &format!("{prefix}_mb_mean"),
            mean(self.bytes).map(|bytes| bytes / 1e6),
        );
        let traffic = |sum: u64| mean(sum).filter(|_| self.counts);
        recorder.figure(
            &format!("{prefix}_bytes_read_mean"),
            traffic(self.bytes_read),
        );
        recorder.figure(&format!("{prefix}_calls_mean"), traffic(self.calls));
        let grown = memory.and_then(|memory| memory.rss_growth_bytes());
        recorder.figure(
            &format!("{prefix}_rss_growth_bytes"),
            grown.map(|bytes| bytes as f64),
        );
    }
}
