//! A long run with a bounded history: what memory and storage do over time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::warm_up::warm_up;
use super::writer::{Thread, Writer, finish};
use super::{Bench, OWN, verify};
use crate::error::Result;
use crate::measure::{PhaseName, Sample};
use crate::progress::Teller;
use crate::scenario::{EngineSettings, Retention};
use crate::subject::{self, Change, Store, Variant};
use crate::workload::Conversation;

/// The name of the series.
const SERIES: &str = "steps";

/// Commits all steps, samples memory and storage meanwhile, waits for what the
/// grace period held back, checks what is kept, and weighs it.
pub(super) async fn run(bench: &mut Bench<'_>, model: &Retention) -> Result<()> {
    warm_up(bench).await?;
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Prepare);
    let conversation =
        Arc::new(Conversation::clone(&*bench.conversation()?).with_scratch(model.scratch_bytes));
    let keep = bench
        .job
        .scenario
        .settings
        .max_history
        .unwrap_or(usize::MAX);
    // What keeps every whole state is stopped before it has filled the machine.
    let whole = bench.job.variant.writes_whole_states();
    let (steps, keep) = match whole {
        true => (model.unbounded_steps.min(conversation.len()), usize::MAX),
        false => (conversation.len(), keep),
    };
    let sample_every = match whole {
        true => model.sample_every.min((steps / 20).max(1)),
        false => model.sample_every,
    };
    if whole && steps < conversation.len() {
        bench.recorder.note(format!(
            "it keeps every state, and stopped after {steps} of {} steps",
            conversation.len()
        ));
    }
    let ledger = Mutex::new(bench.ledger()?);
    let mut writer = Writer::new(&opened, true)?;
    let mut thread = Thread::open(&opened, 0, &conversation)?;
    // The ids that must still be there at the end, and the last that must not.
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut dropped = None;
    let storage = bench.store(OWN)?;
    let process = opened.process();
    bench.recorder.end(open);

    let open = bench.recorder.begin(PhaseName::Measure);
    let teller = Teller::new("put", steps as u64);
    let start = Instant::now();
    for step in 1..=steps {
        let put = writer.put(&mut thread, &ledger).await?;
        put.book("put", &mut bench.recorder)?;
        kept.push_back(put.value);
        if kept.len() > keep {
            dropped = kept.pop_front();
        }
        if step % sample_every == 0 {
            let at_rest = storage.footprint().await?.bytes;
            let elapsed = start.elapsed().as_millis() as u64;
            bench.recorder.sample(
                SERIES,
                Sample::of(process, step as u64, elapsed, Some(at_rest)),
            );
        }
        teller.at(step as u64);
    }
    let phase = bench.recorder.end(open).clone();
    writer.book(&mut bench.recorder, &phase);
    finish(ledger)?;
    book_slopes(bench, model, steps);

    let open = bench.recorder.begin(PhaseName::Verify);
    let grace = bench.job.scenario.settings.grace_ms.unwrap_or(0);
    // What the last removals condemned may go only after the grace period.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(grace + 100)).await;
        opened.maintain().await?;
    }
    let first = steps - kept.len();
    check(
        bench,
        &mut thread,
        &conversation,
        first,
        &kept,
        dropped.as_deref(),
    )
    .await?;
    bench.recorder.end(open);
    drop(thread);
    bench.footprint_compacted(&opened).await?;
    bench.book_total(&writer);
    if bench.job.variant == Variant::Default {
        weigh_live(bench, &conversation, kept.len()).await?;
    }
    Ok(())
}

fn book_slopes(bench: &mut Bench<'_>, model: &Retention, steps: usize) {
    let from = (steps as f64 * model.settle_share) as u64;
    let Some(series) = bench
        .recorder
        .series
        .iter()
        .find(|series| series.name == SERIES)
    else {
        return;
    };
    let per_100k = |slope: Option<f64>| slope.map(|slope| slope * 100_000.0);
    let rss = per_100k(series.slope(from, |sample| sample.rss_bytes));
    let heap = per_100k(series.slope(from, |sample| sample.heap_bytes));
    let at_rest_slope = per_100k(series.slope(from, |sample| sample.at_rest_bytes));
    let at_rest = series
        .samples
        .iter()
        .filter_map(|sample| sample.at_rest_bytes)
        .max();
    bench.recorder.figure("rss_slope_bytes_per_100k", rss);
    bench.recorder.figure("heap_slope_bytes_per_100k", heap);
    bench
        .recorder
        .figure("at_rest_slope_bytes_per_100k", at_rest_slope);
    bench
        .recorder
        .figure("at_rest_peak_bytes", at_rest.map(|bytes| bytes as f64));
}

/// Every kept state must be right, and there must be no other.
async fn check(
    bench: &mut Bench<'_>,
    thread: &mut Thread,
    conversation: &Arc<Conversation>,
    first: usize,
    kept: &VecDeque<String>,
    dropped: Option<&str>,
) -> Result<()> {
    let oracle = bench.oracle(conversation);
    let sessions = thread.sessions();
    let history = sessions.history().await?;
    bench.recorder.figure("kept_states", history.len() as f64);
    let mut verified = 0;
    for (step, id) in (first..).zip(kept) {
        let answer = sessions.at(id).await?;
        answer.book("state-read", &mut bench.recorder)?;
        let (_, outcome) = verify::compare(&oracle, step, answer.value, usize::MAX);
        verified += usize::from(outcome.is_ok());
        bench.judge(&conversation.id, outcome);
    }
    bench.recorder.figure("states_verified", verified as f64);
    if bench.job.variant == Variant::Default {
        let newest_first: Vec<_> = kept.iter().rev().collect();
        let outcome = if history.iter().eq(newest_first) {
            Ok(())
        } else {
            Err(format!(
                "{} checkpoints are kept, not the last {}",
                history.len(),
                kept.len()
            ))
        };
        bench.judge(&conversation.id, outcome);
        if let Some(id) = dropped {
            let outcome = match sessions.at(id).await?.value {
                None => Ok(()),
                Some(_) => Err("a checkpoint beyond the history is still there".into()),
            };
            bench.judge(&conversation.id, outcome);
        }
    }
    Ok(())
}

/// What the kept states take in a store that never had any other: the live bytes.
async fn weigh_live(
    bench: &mut Bench<'_>,
    conversation: &Arc<Conversation>,
    kept: usize,
) -> Result<()> {
    let job = bench.job;
    let store = Store::provision(&job.site.at(job.desk.clone()), "live")?;
    let settings = EngineSettings {
        max_history: None,
        ..job.scenario.settings.clone()
    };
    let subject = subject::open(job.variant, &store, &settings).await?;
    let mut session = subject.session(0, conversation)?;
    for step in conversation.len() - kept..conversation.len() {
        let first = step == conversation.len() - kept;
        let state = conversation.state(step);
        let from = if first { state.start } else { step };
        session
            .put(Change {
                channel: 0,
                dropped: if first { 0 } else { conversation.dropped(step) },
                messages: (from..state.end)
                    .map(|at| conversation.message(at))
                    .collect(),
                scratch: conversation.scratch(step),
            })
            .await?;
    }
    drop(session);
    subject.close().await?;
    drop(subject);
    store.compact().await?;
    let live = store.footprint().await?.bytes as f64;
    bench.recorder.figure("live_bytes", live);
    store.remove().await
}
