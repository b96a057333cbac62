//! Commits, timed and noted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Bench;
use super::pair::{Opened, Sessions, Timed};
use crate::cell::Sampling;
use crate::error::Result;
use crate::measure::{Latency, Phase, Recorder};
use crate::subject::{Change, Ledger, snapshot_len};
use crate::workload::Conversation;

/// The change that leads to the state after `step`.
pub(super) fn change(conversation: &Conversation, step: usize) -> Change {
    Change {
        channel: conversation.channel_of(step),
        dropped: conversation.dropped(step),
        messages: vec![conversation.message(step)],
        scratch: conversation.scratch(step),
    }
}

/// A thread being written.
pub(super) struct Thread {
    number: u32,
    conversation: Arc<Conversation>,
    sessions: Sessions,
    step: usize,
    /// Sizes of the messages in its state, and their sum.
    sizes: VecDeque<u64>,
    bytes: u64,
}

impl Thread {
    pub(super) fn open(
        opened: &Opened,
        number: u32,
        conversation: &Arc<Conversation>,
    ) -> Result<Self> {
        Ok(Self {
            number,
            conversation: conversation.clone(),
            sessions: opened.session(number, conversation)?,
            step: 0,
            sizes: VecDeque::new(),
            bytes: 0,
        })
    }

    /// States so far.
    pub(super) fn len(&self) -> usize {
        self.step
    }

    /// The sessions, to read from.
    pub(super) fn sessions(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    fn advance(&mut self) -> Change {
        let change = change(&self.conversation, self.step);
        self.step += 1;
        self.bytes -= self.sizes.drain(..change.dropped).sum::<u64>();
        self.sizes
            .extend(change.messages.iter().map(|message| message.len() as u64));
        self.bytes += self.sizes.back().copied().unwrap_or(0);
        change
    }

    /// Goes on by a message without committing.
    pub(super) fn skip(&mut self) {
        let change = self.advance();
        self.sessions.skip(change);
    }
}

/// Commits of one client, added up.
pub(super) struct Writer {
    opened: Opened,
    /// With several clients, no traffic can be told to be one commit's.
    alone: bool,
    stored: Latency,
    /// The same of the last tenth of each thread.
    stored_at_end: Latency,
    /// Commits so far.
    pub(super) puts: u64,
    appended_bytes: u64,
    /// Bytes of the whole states they made, as a snapshot encodes them.
    state_bytes: u64,
}

impl Writer {
    pub(super) fn new(opened: &Opened, alone: bool) -> Result<Self> {
        Ok(Self {
            opened: opened.clone(),
            alone,
            stored: Latency::new()?,
            stored_at_end: Latency::new()?,
            puts: 0,
            appended_bytes: 0,
            state_bytes: 0,
        })
    }

    /// Commits the thread's next state and notes it in `ledger`.
    pub(super) async fn put(
        &mut self,
        thread: &mut Thread,
        ledger: &Mutex<Ledger>,
    ) -> Result<Timed<String>> {
        let change = thread.advance();
        let put = thread.sessions.put(change).await?;
        if self.alone && self.opened.counts() {
            self.stored.record_value(put.io.bytes_written);
            if thread.step * 10 > thread.conversation.len() * 9 {
                self.stored_at_end.record_value(put.io.bytes_written);
            }
        }
        self.puts += 1;
        self.appended_bytes += thread.sizes.back().copied().unwrap_or(0);
        self.state_bytes += snapshot_len(thread.sizes.len() as u64, thread.bytes);
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.note(thread.number, thread.step - 1, &put.value)?;
        Ok(put)
    }

    /// Adds another client's counts.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        self.puts += other.puts;
        self.appended_bytes += other.appended_bytes;
        self.state_bytes += other.state_bytes;
        self.stored_at_end.merge(&other.stored_at_end)?;
        self.stored.merge(&other.stored)
    }

    /// Books what the commits of a phase came to.
    pub(super) fn book(&self, recorder: &mut Recorder, phase: &Phase) {
        let puts = self.puts.max(1) as f64;
        recorder.figure("puts", self.puts as f64);
        recorder.figure("put_per_s", self.puts as f64 / (phase.wall_ms / 1e3));
        recorder.figure("appended_bytes", self.appended_bytes as f64);
        if self.opened.counts() {
            let io = self.opened.io();
            let written = io.bytes_written as f64;
            recorder.figure("bytes_written", written);
            recorder.figure("write_calls", io.writes as f64);
            recorder.figure("sync_calls", io.syncs as f64);
            let appended = self.appended_bytes.max(1) as f64;
            recorder.figure("write_amplification", written / appended);
        }
        if self.alone && self.stored.count() > 0 {
            let stored = self.stored.percentiles();
            recorder.figure("stored_bytes_mean", stored.mean);
            recorder.figure("stored_bytes_p50", stored.p50 as f64);
            recorder.figure("stored_bytes_p99", stored.p99 as f64);
            recorder.figure("stored_bytes_max", stored.max as f64);
            let at_end = self.stored_at_end.percentiles();
            recorder.figure("stored_bytes_end_mean", at_end.mean);
        }
        if self.opened.is_accompanied() {
            // The process's time and memory are mostly those of the engine beside.
            return;
        }
        let memory = phase.memory;
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        recorder.figure("put_cpu_us", phase.cpu_ms.map(|ms| ms * 1e3 / puts));
        let state_mb = self.state_bytes as f64 / 1e6;
        recorder.figure("put_cpu_ms_per_mb", phase.cpu_ms.map(|ms| ms / state_mb));
        recorder.figure(
            "put_allocations",
            bytes(memory.allocations).map(|count| count / puts),
        );
        recorder.figure("write_rss_peak_bytes", bytes(memory.rss_peak_bytes));
        recorder.figure("write_rss_growth_bytes", bytes(memory.rss_growth_bytes()));
        recorder.figure("write_heap_bytes", bytes(memory.heap_end_bytes));
    }
}

/// Ends the ledger that clients noted their commits in.
pub(super) fn finish(ledger: Mutex<Ledger>) -> Result<()> {
    ledger
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .finish()
}

impl Bench<'_> {
    /// Books what all states would take, had all been written. Exact but for the
    /// records' overhead, which is the mean of those that were written.
    pub(super) fn book_total(&mut self, writer: &Writer) {
        let Some(storage) = self.storage else {
            return;
        };
        let at_rest = storage.bytes as f64;
        if self.job.sampling == Sampling::All {
            self.recorder.figure("total_at_rest_bytes", at_rest);
            return;
        }
        let workload = self.job.workload.conversations();
        let payload = snapshot_len(workload.snapshot_messages, workload.snapshot_bytes) as f64;
        let overhead = (at_rest - writer.state_bytes as f64) / writer.puts.max(1) as f64;
        let total = payload + overhead * workload.messages as f64;
        self.recorder.figure("total_at_rest_bytes", total);
        let share = writer.puts as f64 / workload.messages.max(1) as f64;
        self.recorder.figure("sampled_share", share);
        let rule = match self.job.sampling {
            Sampling::Every(k) => format!("one of every {k} states of the workload was written"),
            _ => "the states at the scenario's snapshot lengths were written".to_string(),
        };
        self.recorder.note(format!(
            "sampled: {rule}, {} of {}; the total at rest is extrapolated from the exact sizes of \
             all states",
            writer.puts, workload.messages
        ));
    }
}
