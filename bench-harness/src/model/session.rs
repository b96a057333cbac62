//! One long thread.

use std::sync::{Arc, Mutex};

use super::reads::Reads;
use super::warm_up::warm_up;
use super::writer::{Thread, Writer, finish};
use super::{Bench, verify};
use crate::cell::Sampling;
use crate::error::Result;
use crate::measure::PhaseName;
use crate::progress::Teller;
use crate::scenario::{EngineSettings, SingleSession};
use crate::subject::Op;
use crate::workload::{Conversation, Cut};

/// The number of the long thread; the short ones come after it.
const LONG: u32 = 0;
/// Latency windows end at the snapshot lengths and have this many commits.
const WINDOW: usize = 100;

/// Appends to the thread until it has its length; the last appends alternate with
/// appends to short threads, so that both are timed under the same conditions.
pub(super) async fn write(bench: &mut Bench<'_>, model: &SingleSession) -> Result<()> {
    warm_up(bench).await?;
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Prepare);
    let conversation = bench.conversation()?;
    let ledger = Mutex::new(bench.ledger()?);
    let mut writer = Writer::new(&opened, true)?;
    let mut long = Thread::open(&opened, LONG, &conversation)?;
    let pairs = match bench.job.sampling {
        Sampling::AtLengths => 0,
        _ => model.pairs.min(conversation.len()),
    };
    let mut short = Vec::new();
    for number in 1..=pairs.div_ceil(model.short_length) as u32 {
        let id = format!("{}-short-{number}", conversation.id);
        let twin = Arc::new(Conversation::clone(&conversation).named(id));
        let mut thread = Thread::open(&opened, number, &twin)?;
        // Half before, so that the timed appends lie around the length asked for.
        for _ in 0..model.short_length / 2 {
            writer.put(&mut thread, &ledger).await?;
        }
        short.push(thread);
    }
    bench.recorder.end(open);

    let open = bench.recorder.begin(PhaseName::Measure);
    let teller = Teller::new("put", conversation.len() as u64);
    for step in 0..conversation.len() {
        if !is_chosen(bench.job.sampling, model, step) {
            long.skip();
            continue;
        }
        let put = writer.put(&mut long, &ledger).await?;
        put.book("put", &mut bench.recorder)?;
        if let Some(length) = window(model, step) {
            bench.recorder.op(&format!("put-at-{length}"), put.took)?;
        }
        if let Some(pair) = (step + pairs).checked_sub(conversation.len()) {
            bench.recorder.op("put-long", put.took)?;
            if let Some(thread) = short.get_mut(pair / model.short_length) {
                let put = writer.put(thread, &ledger).await?;
                bench.recorder.op("put-short", put.took)?;
            }
        }
        teller.at(long.len() as u64);
    }
    let phase = bench.recorder.end(open).clone();
    writer.book(&mut bench.recorder, &phase);
    finish(ledger)?;
    drop((long, short));
    bench.footprint(&opened).await?;
    bench.book_total(&writer);
    Ok(())
}

/// Whether the state after `step` is written.
fn is_chosen(sampling: Sampling, model: &SingleSession, step: usize) -> bool {
    let ends_near =
        |length: &usize| (length.saturating_sub(model.snapshot_repeats)..*length).contains(&step);
    match sampling {
        Sampling::AtLengths => model.snapshot_lengths.iter().any(ends_near),
        Sampling::All | Sampling::Every(_) => true,
    }
}

/// The snapshot length whose window `step` is in.
fn window(model: &SingleSession, step: usize) -> Option<usize> {
    let within = |length: &&usize| (length.saturating_sub(WINDOW)..**length).contains(&step);
    model.snapshot_lengths.iter().find(within).copied()
}

/// In a process that has just started, with a small cache: opens the thread and
/// reads its tail.
pub(super) async fn cold(bench: &mut Bench<'_>, model: &SingleSession) -> Result<()> {
    let conversation = bench.conversation()?;
    let Some(step) = last_step(bench)? else {
        return Ok(());
    };
    let settings = EngineSettings {
        cache_mib: Some(model.cold_cache_mib),
        ..bench.job.scenario.settings.clone()
    };
    let opened = bench.provision_counted(&settings).await?;
    // One trivial operation: a thread that is not there.
    let open = bench.recorder.begin(PhaseName::WarmUp);
    let nobody = Conversation::held("nobody".into(), Vec::new(), Cut::At(Vec::new()));
    opened
        .session(u32::MAX, &Arc::new(nobody))?
        .read(Op::Load, 0)
        .await?;
    bench.recorder.end(open);

    let mut sessions = opened.session(LONG, &conversation)?;
    let open = bench.recorder.begin(PhaseName::Measure);
    let answer = sessions.read(Op::ColdTail, model.tail).await?;
    let memory = bench.recorder.end(open).memory;
    answer.book(Op::ColdTail.name(), &mut bench.recorder)?;
    let prefix = Op::ColdTail.prefix();
    let traffic = [
        ("round_trips", answer.io.calls),
        ("reads", answer.io.reads),
        ("bytes_read", answer.io.bytes_read),
    ];
    for (name, value) in traffic {
        let value = opened.counts().then_some(value as f64);
        bench.recorder.figure(&format!("{prefix}_{name}"), value);
    }
    let grown = memory
        .rss_growth_bytes()
        .filter(|_| !opened.is_accompanied());
    bench.recorder.figure(
        &format!("{prefix}_rss_growth_bytes"),
        grown.map(|bytes| bytes as f64),
    );
    let oracle = bench.oracle(&conversation);
    let (_, outcome) = verify::compare(&oracle, step, answer.value, model.tail);
    bench.judge(&conversation.id, outcome);
    bench.teardown(&opened).await
}

/// Loads the whole state and reads its tail, each with an engine that has read
/// nothing before.
pub(super) async fn read(bench: &mut Bench<'_>, model: &SingleSession) -> Result<()> {
    warm_up(bench).await?;
    let conversation = Arc::new(Conversation::clone(&*bench.conversation()?).in_memory());
    let Some(step) = last_step(bench)? else {
        return Ok(());
    };
    let teller = Teller::new("load", model.loads as u64);
    let mut all = [Op::Tail, Op::Load].map(|op| (op, None));
    let mut memory = None;
    for load in 0..model.loads {
        for (op, reads) in &mut all {
            let op = *op;
            let opened = bench.provision().await?;
            let reads = reads.get_or_insert_with(|| Reads::new(op, &opened));
            let mut sessions = opened.session(LONG, &conversation)?;
            let open = bench.recorder.begin(PhaseName::Measure);
            let answer = sessions.read(op, model.tail).await?;
            let phase = bench.recorder.end(open).memory;
            // The first load is the one that grows the process.
            if op == Op::Load && load == 0 && !opened.is_accompanied() {
                memory = Some(phase);
            }
            answer.book(op.name(), &mut bench.recorder)?;
            let most = if op == Op::Load {
                usize::MAX
            } else {
                model.tail
            };
            let oracle = bench.oracle(&conversation);
            let (bytes, outcome) = verify::compare(&oracle, step, answer.value, most);
            reads.add(answer.io, bytes);
            bench.judge(&conversation.id, outcome);
            bench.teardown(&opened).await?;
        }
        teller.at(load as u64);
    }
    for (op, reads) in all {
        let memory = memory.filter(|_| op == Op::Load);
        if let Some(reads) = reads {
            reads.book(&mut bench.recorder, memory);
        }
    }
    Ok(())
}

/// The last step of the long thread that was acknowledged.
fn last_step(bench: &Bench<'_>) -> Result<Option<usize>> {
    let mut last = None;
    for entry in bench.acknowledged()? {
        let entry = entry?;
        if entry.thread == LONG {
            last = Some(entry.step);
        }
    }
    Ok(last)
}
