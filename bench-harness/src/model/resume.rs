//! Processes that go on where others ended.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::pair::Opened;
use super::verify::compare;
use super::writer::{Thread, Writer, finish};
use super::{Bench, concurrent, pair::Timed};
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::scenario::{Resume, Source};
use crate::subject::{Ledger, Op};
use crate::workload::Conversation;

/// Commits what the first process does: all but the steps of those that resume.
pub(super) async fn write(bench: &mut Bench<'_>, model: &Resume) -> Result<()> {
    concurrent::write(bench, model.restarts * model.steps).await
}

/// Does one process's part: finds where every conversation is, reads it, adds its steps.
pub(super) async fn resume(bench: &mut Bench<'_>, model: &Resume) -> Result<()> {
    let Source::Uniform(spec) = &bench.job.scenario.workload else {
        return Err(Error::Cell(
            "the model resume needs a uniform workload".into(),
        ));
    };
    let first = spec.messages - (model.restarts - bench.job.repetition) * model.steps;
    let start = Instant::now();
    let opened = bench.provision().await?;
    bench.recorder.op("open", start.elapsed())?;
    let open = bench.recorder.begin(PhaseName::Measure);
    let ledger = Mutex::new(bench.resumed_ledger()?);
    let mut writer = Writer::new(&opened, true)?;
    for (number, conversation) in (0..).zip(bench.conversations()?) {
        let conversation = Arc::new(conversation?);
        let mut thread = open_at(&opened, number, &conversation, first)?;
        let answer = thread.sessions().read(Op::Load, usize::MAX).await?;
        answer.book("resume", &mut bench.recorder)?;
        let oracle = bench.oracle(&conversation);
        let (_, outcome) = compare(&oracle, first - 1, answer.value, usize::MAX);
        bench.judge(&conversation.id, outcome);
        for step in 0..model.steps {
            let op = if step == 0 { "first-put" } else { "put" };
            put(bench, &mut writer, &mut thread, &ledger, op).await?;
        }
    }
    bench.recorder.end(open);
    finish(ledger)?;
    bench.footprint(&opened).await
}

/// The thread, of which `done` states are there.
pub(super) fn open_at(
    opened: &Opened,
    number: u32,
    conversation: &Arc<Conversation>,
    done: usize,
) -> Result<Thread> {
    let mut thread = Thread::open(opened, number, conversation)?;
    // What an agent has in its memory once it has read the state.
    (0..done).for_each(|_| thread.skip());
    Ok(thread)
}

pub(super) async fn put(
    bench: &mut Bench<'_>,
    writer: &mut Writer,
    thread: &mut Thread,
    ledger: &Mutex<Ledger>,
    op: &str,
) -> Result<()> {
    let put: Timed<String> = writer.put(thread, ledger).await?;
    put.book(op, &mut bench.recorder)
}
