//! Processes that are killed while they commit.
//!
//! The parent kills the process of the stage that writes, and then starts one that looks at
//! what is there. A commit is noted in the ledger once it was acknowledged, and the note
//! handed to the system at once, which a killed process cannot take back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Bench;
use super::resume::open_at;
use super::verify::compare;
use super::writer::{Writer, finish};
use crate::error::Result;
use crate::measure::PhaseName;
use crate::progress::Teller;
use crate::subject::{Answer, Op};

/// Goes on with all conversations in turns, until this process is killed or all is
/// committed.
pub(super) async fn write(bench: &mut Bench<'_>) -> Result<()> {
    let opened = bench.provision().await?;
    let ledger = Mutex::new(bench.resumed_ledger()?);
    let mut done: HashMap<u32, usize> = HashMap::new();
    for entry in bench.acknowledged()? {
        let entry = entry?;
        done.insert(entry.thread, entry.step + 1);
    }
    let mut writer = Writer::new(&opened, true)?;
    let mut threads = Vec::new();
    let mut longest = 0;
    for (number, conversation) in (0..).zip(bench.conversations()?) {
        let conversation = Arc::new(conversation?);
        let done = done.get(&number).copied().unwrap_or(0);
        longest = longest.max(conversation.len());
        let thread = open_at(&opened, number, &conversation, done)?;
        threads.push((thread, conversation.len()));
    }
    let open = bench.recorder.begin(PhaseName::Measure);
    let teller = Teller::new("put", bench.job.workload.conversations().messages);
    let before: usize = done.values().sum();
    for _ in 0..longest {
        for (thread, len) in &mut threads {
            if thread.len() == *len {
                continue;
            }
            writer.put(thread, &ledger).await?;
            ledger
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .flush()?;
            teller.at(before as u64 + writer.puts);
        }
    }
    bench.recorder.end(open);
    finish(ledger)?;
    bench.teardown(&opened).await
}

/// Looks at what is there: every acknowledged state, and of each conversation at most the one
/// that was under way when a process was killed. That one is noted, too, so that the next
/// process goes on after it.
pub(super) async fn recover(bench: &mut Bench<'_>) -> Result<()> {
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Measure);
    let mut ledger = bench.resumed_ledger()?;
    let mut known: HashMap<u32, Vec<String>> = HashMap::new();
    for entry in bench.acknowledged()? {
        let entry = entry?;
        known.entry(entry.thread).or_default().push(entry.id);
    }
    let (mut lost, mut torn, mut unacknowledged) = (0_u32, 0_u32, 0_u32);
    for (number, conversation) in (0..).zip(bench.conversations()?) {
        let conversation = Arc::new(conversation?);
        let acknowledged = known.remove(&number).unwrap_or_default();
        let mut sessions = opened.session(number, &conversation)?;
        let answer = sessions.read(Op::Load, usize::MAX).await?;
        answer.book("recover", &mut bench.recorder)?;
        let states = match &answer.value {
            Some(Answer::State { messages, .. }) => messages.len(),
            _ => 0,
        };
        if let Some(step) = states.checked_sub(1) {
            let oracle = bench.oracle(&conversation);
            let (_, outcome) = compare(&oracle, step, answer.value, usize::MAX);
            torn += u32::from(outcome.is_err());
            bench.judge(&conversation.id, outcome);
        }
        let history = sessions.history().await?;
        let there: HashSet<_> = history.iter().collect();
        let gone = acknowledged.iter().filter(|id| !there.contains(id)).count();
        lost += gone as u32;
        let more = history.len() + gone - acknowledged.len();
        bench.judge(
            &conversation.id,
            match (gone, more) {
                (0, 0 | 1) => Ok(()),
                (0, _) => Err(format!("{more} states that were not acknowledged")),
                _ => Err(format!("{gone} acknowledged states are not there")),
            },
        );
        if let Some((newest, step)) = history.first().zip(states.checked_sub(1))
            && more == 1
        {
            unacknowledged += 1;
            ledger.note(number, step, newest)?;
        }
    }
    bench.judge(
        "any",
        match unacknowledged {
            0 | 1 => Ok(()),
            more => Err(format!("{more} commits were under way where one can be")),
        },
    );
    ledger.finish()?;
    bench.recorder.end(open);
    bench.recorder.figure("lost_states", f64::from(lost));
    bench.recorder.figure("torn_states", f64::from(torn));
    bench.footprint(&opened).await
}
