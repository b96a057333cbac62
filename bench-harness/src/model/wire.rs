//! What a step sends over the wire, counted by a proxy. Nothing is timed here: the proxy
//! is one more hop.

use std::sync::Arc;

use super::Bench;
use super::writer::change;
use crate::error::Result;
use crate::measure::{Io, PhaseName};
use crate::workload::Conversation;

/// Appends before any is counted: statements are prepared once a connection.
const FIRST: usize = 5;
/// Appends that are counted.
const COUNTED: usize = 200;

/// Appends the workload's first messages again to the long thread, its end known, and
/// counts what that sends.
pub(super) async fn count(bench: &mut Bench<'_>) -> Result<()> {
    let conversation = Conversation::clone(&*bench.conversation()?);
    let conversation = Arc::new(conversation.first(FIRST + COUNTED));
    let settings = bench.job.scenario.settings.clone();
    let opened = bench.provision_counted(&settings).await?;
    let open = bench.recorder.begin(PhaseName::Measure);
    let mut sessions = opened.session(0, &conversation)?;
    let (mut sum, mut puts) = (Io::default(), 0_u32);
    for step in 0..conversation.len() {
        let put = sessions.put(change(&conversation, step)).await?;
        if step >= FIRST {
            puts += 1;
            sum.calls += put.io.calls;
            sum.bytes_written += put.io.bytes_written;
            sum.bytes_read += put.io.bytes_read;
        }
    }
    bench.recorder.end(open);
    let mean = |sum: u64| (puts > 0).then(|| sum as f64 / f64::from(puts));
    for (name, sum) in [
        ("wire_put_round_trips_mean", sum.calls),
        ("wire_put_bytes_sent_mean", sum.bytes_written),
        ("wire_put_bytes_received_mean", sum.bytes_read),
    ] {
        bench.recorder.figure(name, mean(sum));
    }
    bench.teardown(&opened).await
}
