//! Old states, and others made from them.

use std::sync::Arc;

use super::Bench;
use super::pair::{Sessions, Timed};
use super::resume::open_at;
use super::verify::compare;
use super::warm_up::warm_up;
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::progress::Teller;
use crate::scenario::TimeTravel;
use crate::subject::{Answer, Entry, Revision};
use crate::workload::{Conversation, Rng};

/// Old states that are read again at the end.
const SAMPLE: usize = 50;

/// Reads old states, makes others from old ones by another last message and by another
/// message in the middle, in a random order, and checks every one of them.
pub(super) async fn run(bench: &mut Bench<'_>, model: &TimeTravel) -> Result<()> {
    warm_up(bench).await?;
    let conversation = Arc::new(Conversation::clone(&*bench.conversation()?).in_memory());
    let oracle = bench.oracle(&conversation);
    let old: Vec<Entry> = bench.acknowledged()?.collect::<Result<_>>()?;
    if old.is_empty() {
        return Err(Error::Cell("no state was written".into()));
    }
    let seed = bench.job.scenario.workload.seed();
    let mut rng = Rng::at(&[seed, 0x0074_696d_6500]);
    let mut plan = Vec::new();
    for (kind, count) in [
        (Kind::Read, model.reads),
        (Kind::Fork, model.forks),
        (Kind::Edit, model.edits),
    ] {
        plan.extend((0..count).map(|_| kind));
    }
    rng.shuffle(&mut plan);

    let opened = bench.provision().await?;
    let mut thread = open_at(&opened, 0, &conversation, conversation.len())?;
    let sessions = thread.sessions();
    let open = bench.recorder.begin(PhaseName::Measure);
    let teller = Teller::new("travel", plan.len() as u64);
    let mut stored = [(Kind::Fork, 0_u64), (Kind::Edit, 0)];
    for (number, kind) in plan.into_iter().enumerate() {
        let Some(from) = rng.pick(&old) else { break };
        let step = from.step;
        if kind == Kind::Read {
            let answer = sessions.at(&from.id).await?;
            judge(bench, &oracle, step, answer)?;
            continue;
        }
        let at = (kind == Kind::Edit).then(|| rng.below(step + 1));
        let words = format!(r#"{{"role":"user","content":"revision {number}"}}"#);
        let message = bytes::Bytes::from(words);
        let revision = Revision {
            at,
            message: message.clone(),
        };
        let made = sessions.fork(&from.id, revision).await?;
        made.book(kind.op(), &mut bench.recorder)?;
        for (of, bytes) in &mut stored {
            *bytes += if *of == kind {
                made.io.bytes_written
            } else {
                0
            };
        }
        let (end, at) = at.map_or((step + 1, step + 1), |at| (step, at));
        let revised = Conversation::clone(&oracle)
            .first(step + 1)
            .revised(at, message);
        read_back(bench, sessions, &revised, end, &made.value).await?;
        if bench.is_hopeless() {
            break;
        }
        teller.at(number as u64);
    }
    for _ in 0..SAMPLE {
        let Some(from) = rng.pick(&old) else { break };
        read_back(bench, sessions, &oracle, from.step, &from.id).await?;
    }
    bench.recorder.end(open);
    for ((kind, bytes), count) in stored.into_iter().zip([model.forks, model.edits]) {
        let mean = opened.counts().then(|| bytes as f64 / count as f64);
        let name = format!("{}_stored_bytes_mean", kind.op());
        bench.recorder.figure(&name, mean);
    }
    bench.footprint(&opened).await
}

/// What is done with an old state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Fork,
    Edit,
}

impl Kind {
    fn op(self) -> &'static str {
        match self {
            Self::Read => "state-read",
            Self::Fork => "fork",
            Self::Edit => "edit",
        }
    }
}

fn judge(
    bench: &mut Bench<'_>,
    oracle: &Conversation,
    step: usize,
    answer: Timed<Option<Answer>>,
) -> Result<()> {
    answer.book(Kind::Read.op(), &mut bench.recorder)?;
    let (_, outcome) = compare(oracle, step, answer.value, usize::MAX);
    bench.judge(&oracle.id, outcome);
    Ok(())
}

/// Reads a state to compare it, which is not measured.
async fn read_back(
    bench: &mut Bench<'_>,
    sessions: &mut Sessions,
    oracle: &Conversation,
    step: usize,
    id: &str,
) -> Result<()> {
    let answer = sessions.at(id).await?;
    let (_, outcome) = compare(oracle, step, answer.value, usize::MAX);
    bench.judge(&oracle.id, outcome);
    Ok(())
}
