//! Reads states back and compares them, byte by byte, with the oracle.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Bench;
use crate::error::Result;
use crate::measure::PhaseName;
use crate::progress::Teller;
use crate::subject::Answer;
use crate::workload::Conversation;

/// Compares an answer about the state after `step`. `most` is how many messages of
/// its end were asked for. Gives the bytes of the messages and the verdict.
pub(super) fn compare(
    oracle: &Conversation,
    step: usize,
    answer: Option<Answer>,
    most: usize,
) -> (u64, Result<(), String>) {
    match answer {
        None => (
            0,
            Err(format!("the state after message {step} is not there")),
        ),
        Some(Answer::Opaque { read, expected }) if read == expected => (read, Ok(())),
        Some(Answer::Opaque { read, expected }) => {
            (read, Err(format!("{read} bytes were read, not {expected}")))
        }
        Some(Answer::State { messages, scratch }) => {
            let bytes = messages.iter().map(|message| message.len() as u64).sum();
            let whole = most == usize::MAX;
            let wanted = oracle.tail(step).take(most).count();
            let outcome = if messages.len() < wanted {
                Err(format!(
                    "{} messages where {wanted} were asked for",
                    messages.len()
                ))
            } else {
                oracle.check(step, &messages, whole)
            };
            (
                bytes,
                outcome.and_then(|()| check_scratch(oracle, step, whole, scratch)),
            )
        }
    }
}

fn check_scratch(
    oracle: &Conversation,
    step: usize,
    whole: bool,
    got: Option<Bytes>,
) -> Result<(), String> {
    if whole && got != oracle.scratch(step) {
        return Err(format!(
            "the value beside the messages differs after message {step}"
        ));
    }
    Ok(())
}

/// Reads back every state of the ledger; of each thread at most about `most`,
/// evenly spaced, the last one included.
pub(super) async fn every_state(bench: &mut Bench<'_>, most: usize) -> Result<()> {
    let mut acknowledged: HashMap<u32, Vec<(usize, String)>> = HashMap::new();
    let mut states = 0;
    for entry in bench.acknowledged()? {
        let entry = entry?;
        acknowledged
            .entry(entry.thread)
            .or_default()
            .push((entry.step, entry.id));
        states += 1;
    }
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Verify);
    let teller = Teller::new("verify", states);
    let (mut done, mut verified, mut decoded) = (0, 0_u64, 0);
    for (number, conversation) in (0..).zip(bench.conversations()?) {
        let conversation = Arc::new(conversation?.in_memory());
        let Some(acknowledged) = acknowledged.remove(&number) else {
            continue;
        };
        let mut sessions = opened.session(number, &conversation)?;
        let history = sessions.history().await?;
        bench.judge(&conversation.id, check_history(&history, &acknowledged));
        let oracle = bench.oracle(&conversation);
        let every = acknowledged.len().div_ceil(most).max(1);
        for (at, (step, id)) in acknowledged.iter().rev().enumerate() {
            done += 1;
            if at % every != 0 {
                continue;
            }
            let answer = sessions.at(id).await?;
            answer.book("state-read", &mut bench.recorder)?;
            let (bytes, outcome) = compare(&oracle, *step, answer.value, usize::MAX);
            decoded += bytes;
            verified += u64::from(outcome.is_ok());
            bench.judge(&conversation.id, outcome);
            if bench.is_hopeless() {
                break;
            }
            teller.at(done);
        }
        if bench.is_hopeless() {
            break;
        }
    }
    bench.recorder.end(open);
    bench.recorder.figure("states_verified", verified as f64);
    bench.recorder.figure("verified_bytes", decoded as f64);
    if bench.recorder.figures.get("states_verified").copied() != Some(states as f64) {
        bench.recorder.note(format!(
            "{verified} of {states} states were read back and found right"
        ));
    }
    bench.teardown(&opened).await
}

/// A thread's history must be what was acknowledged, newest first.
fn check_history(history: &[String], acknowledged: &[(usize, String)]) -> Result<(), String> {
    let expected = acknowledged.iter().rev().map(|(_, id)| id);
    if history.len() == acknowledged.len() && history.iter().eq(expected) {
        return Ok(());
    }
    Err(format!(
        "its history has {} checkpoints that are not, in this order, the {} acknowledged",
        history.len(),
        acknowledged.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Cut;

    fn oracle() -> Conversation {
        let messages = ["a", "b", "c"].map(Bytes::from).to_vec();
        Conversation::held("t".into(), messages, Cut::At(vec![]))
    }

    fn state(messages: &[&'static str]) -> Option<Answer> {
        let messages = messages.iter().map(|m| Bytes::from(*m)).collect();
        Some(Answer::State {
            messages,
            scratch: None,
        })
    }

    #[test]
    fn right_answers_pass_and_wrong_ones_do_not() {
        let verdict = |answer, most| compare(&oracle(), 2, answer, most).1;
        assert_eq!(verdict(state(&["a", "b", "c"]), usize::MAX), Ok(()));
        assert_eq!(verdict(state(&["b", "c"]), 2), Ok(()));
        for (answer, most) in [
            (None, 2),
            (state(&["b", "c"]), usize::MAX),
            (state(&["c"]), 2),
            (state(&["b", "x"]), 2),
            (
                Some(Answer::Opaque {
                    read: 1,
                    expected: 2,
                }),
                2,
            ),
        ] {
            assert!(verdict(answer, most).is_err());
        }
    }

    #[test]
    fn history_must_be_the_acknowledged_in_reverse() {
        let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let acknowledged = [(0, "a".to_string()), (1, "b".to_string())];
        assert!(check_history(&ids(&["b", "a"]), &acknowledged).is_ok());
        assert!(check_history(&ids(&["a", "b"]), &acknowledged).is_err());
        assert!(check_history(&ids(&["b"]), &acknowledged).is_err());
    }
}
