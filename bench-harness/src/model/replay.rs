//! Replays conversations: every conversation a thread, every message a commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pair::Opened;
use super::verify;
use super::warm_up::warm_up;
use super::writer::{Thread, Writer, finish};
use super::{Bench, reads::Reads};
use crate::cell::Sampling;
use crate::error::{Error, Result};
use crate::measure::{PhaseName, Recorder};
use crate::progress::Teller;
use crate::scenario::Replay;
use crate::subject::{Ledger, Op};
use crate::workload::{Conversation, Conversations};

/// Commits everything, with as many clients as the scenario says.
pub(super) async fn write(bench: &mut Bench<'_>, _: &Replay) -> Result<()> {
    warm_up(bench).await?;
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Prepare);
    let clients = bench.job.scenario.load.clients;
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            conversations: bench.conversations()?,
            number: 0,
            states: 0,
        }),
        ledger: Mutex::new(bench.ledger()?),
        sampling: bench.job.sampling,
        done: AtomicU64::new(0),
        teller: Teller::new("put", bench.job.workload.conversations().messages),
    });
    bench.recorder.end(open);

    let open = bench.recorder.begin(PhaseName::Measure);
    let running: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(client(shared.clone(), opened.clone(), clients == 1)))
        .collect();
    let mut all = Writer::new(&opened, clients == 1)?;
    for task in running {
        let ended = task
            .await
            .map_err(|e| Error::Cell(format!("a client died: {e}")))?;
        let (writer, recorder) = ended?;
        all.merge(&writer)?;
        bench.recorder.merge_ops(recorder)?;
    }
    let phase = bench.recorder.end(open).clone();
    all.book(&mut bench.recorder, &phase);
    let shared = Arc::into_inner(shared);
    let shared = shared.ok_or_else(|| Error::Cell("a client outlives its task".into()))?;
    finish(shared.ledger)?;
    bench.footprint(&opened).await?;
    bench.book_total(&all);
    Ok(())
}

/// What the clients share.
struct Shared {
    queue: Mutex<Queue>,
    ledger: Mutex<Ledger>,
    sampling: Sampling,
    done: AtomicU64,
    teller: Teller,
}

/// The conversations that no client has taken.
struct Queue {
    conversations: Conversations,
    number: u32,
    /// States of the conversations taken so far.
    states: u64,
}

impl Shared {
    /// The next conversation, its number, and the number of its first state.
    fn take(&self) -> Option<Result<(u32, u64, Arc<Conversation>)>> {
        let mut queue: MutexGuard<'_, Queue> =
            self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queue.conversations.next()?;
        Some(next.map(|conversation| {
            let taken = (queue.number, queue.states, Arc::new(conversation));
            queue.number += 1;
            queue.states += taken.2.len() as u64;
            taken
        }))
    }
}

/// Takes conversations until there are no more.
async fn client(shared: Arc<Shared>, opened: Opened, alone: bool) -> Result<(Writer, Recorder)> {
    let mut writer = Writer::new(&opened, alone)?;
    let mut recorder = Recorder::new();
    while let Some(taken) = shared.take() {
        let (number, first, conversation) = taken?;
        let mut thread = Thread::open(&opened, number, &conversation)?;
        for step in 0..conversation.len() as u64 {
            let chosen = match shared.sampling {
                Sampling::Every(k) => (first + step + 1).is_multiple_of(k.max(1)),
                Sampling::All | Sampling::AtLengths => true,
            };
            if chosen {
                writer
                    .put(&mut thread, &shared.ledger)
                    .await?
                    .book("put", &mut recorder)?;
            } else {
                thread.skip();
            }
            shared
                .teller
                .at(shared.done.fetch_add(1, Ordering::Relaxed));
        }
    }
    Ok((writer, recorder))
}

/// Reads the tail of every thread, then loads every thread, each with an engine
/// that has read nothing before.
pub(super) async fn read(bench: &mut Bench<'_>, model: &Replay) -> Result<()> {
    warm_up(bench).await?;
    let mut last = HashMap::new();
    for entry in bench.acknowledged()? {
        let entry = entry?;
        let step = last.entry(entry.thread).or_insert(entry.step);
        *step = entry.step.max(*step);
    }
    for op in [Op::Tail, Op::Load] {
        let opened = bench.provision().await?;
        let open = bench.recorder.begin(PhaseName::Measure);
        let teller = Teller::new(op.name(), last.len() as u64);
        let mut reads = Reads::new(op, &opened);
        for (number, conversation) in (0..).zip(bench.conversations()?) {
            let conversation = Arc::new(conversation?);
            let Some(&step) = last.get(&number) else {
                continue;
            };
            let answer = opened
                .session(number, &conversation)?
                .read(op, model.tail)
                .await?;
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
            if bench.is_hopeless() {
                break;
            }
            teller.at(u64::from(number));
        }
        let memory = bench.recorder.end(open).memory;
        reads.book(
            &mut bench.recorder,
            (!opened.is_accompanied()).then_some(memory),
        );
        bench.teardown(&opened).await?;
    }
    Ok(())
}
