//! What the variants are given to store, and the oracle their answers are checked
//! against.
//!
//! A workload is a sequence of conversations; a conversation is a sequence of
//! messages, and after each of them the agent saves its state. All of it can be
//! made or read again at any time, one conversation after the other: the harness
//! never holds the whole, so that its own memory does not hide the engine's.

mod document;
mod generator;
mod quantiles;
mod rng;
mod summary;
mod text;
mod trace;

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::scenario::{Shape, Source};

pub use generator::Generator;
pub use quantiles::Quantiles;
pub use rng::Rng;
pub use summary::{Spread, Summary};
pub use text::{Lexicon, Script, Sink};
pub use trace::Trace;

/// The conversations of a workload, one at a time.
pub type Conversations = Box<dyn Iterator<Item = Result<Conversation>> + Send>;

/// A trace to replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TraceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Only so many of its conversations.
    pub most: Option<usize>,
}

/// Opens a workload: `trace` if one is given, else what the scenario describes.
///
/// # Errors
/// `Usage` for an unknown shape; I/O errors of the trace file.
pub fn open(
    source: &Source,
    trace: Option<&TraceFile>,
    honour_cuts: bool,
) -> Result<Conversations> {
    if let Some(file) = trace {
        let trace = Trace::open(&file.path)?.take(file.most.unwrap_or(usize::MAX));
        return Ok(Box::new(trace.map(move |read| {
            read.map(|conversation| conversation.with_cuts(honour_cuts))
        })));
    }
    match source {
        Source::Conversations(spec) => {
            let generator = Generator::new(Shape::named(&spec.shape)?, spec.seed);
            let numbers = 0..spec.count as u64;
            Ok(Box::new(numbers.map(move |number| {
                Ok(generator.conversation(number).with_cuts(honour_cuts))
            })))
        }
        Source::Uniform(spec) => {
            let conversation = Conversation::uniform("session".into(), spec);
            Ok(Box::new(std::iter::once(Ok(conversation))))
        }
    }
}

/// One conversation: the messages, and the state after each of them.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The thread's id.
    pub id: String,
    messages: Messages,
    cut: Cut,
    scratch_bytes: usize,
}

#[derive(Debug, Clone)]
enum Messages {
    Held(Vec<Bytes>),
    /// Made on demand: a hundred thousand of them would be the harness's memory.
    Made {
        seed: u64,
        count: usize,
        bytes: usize,
    },
}

/// Which messages a state drops from the front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// At these positions the history is replaced by the message there; ascending.
    At(Vec<usize>),
    /// When `most` messages are held, all but the last `keep` are dropped before
    /// the next is added.
    Window {
        /// The greatest number of messages in a state.
        most: usize,
        /// How many stay when it is reached.
        keep: usize,
    },
}

impl Cut {
    /// The first message that the state after message `step` still has.
    fn start(&self, step: usize) -> usize {
        match self {
            Self::At(cuts) => cuts[..cuts.partition_point(|&cut| cut <= step)]
                .last()
                .copied()
                .unwrap_or(0),
            Self::Window { most, keep } => {
                let dropped = (most - keep).max(1);
                step.checked_sub(*most)
                    .map_or(0, |over| (over / dropped + 1) * dropped)
            }
        }
    }
}

impl Conversation {
    /// A conversation whose messages are in memory.
    pub fn held(id: String, messages: Vec<Bytes>, cut: Cut) -> Self {
        Self {
            id,
            messages: Messages::Held(messages),
            cut,
            scratch_bytes: 0,
        }
    }

    /// A conversation of messages of equal size, made on demand.
    pub fn uniform(id: String, spec: &crate::scenario::Uniform) -> Self {
        let cut = spec
            .window
            .map_or(Cut::At(Vec::new()), |window| Cut::Window {
                most: window.most,
                keep: window.keep.min(window.most),
            });
        let messages = Messages::Made {
            seed: spec.seed,
            count: spec.messages,
            bytes: spec.message_bytes,
        };
        Self {
            id,
            messages,
            cut,
            scratch_bytes: 0,
        }
    }

    /// The same without its cuts, unless `honour` them.
    #[must_use]
    pub fn with_cuts(mut self, honour: bool) -> Self {
        if !honour && matches!(self.cut, Cut::At(_)) {
            self.cut = Cut::At(Vec::new());
        }
        self
    }

    /// The same with another id.
    #[must_use]
    pub fn named(mut self, id: String) -> Self {
        self.id = id;
        self
    }

    /// The same with a value beside the messages that every step replaces.
    #[must_use]
    pub fn with_scratch(mut self, bytes: usize) -> Self {
        self.scratch_bytes = bytes;
        self
    }

    /// The value that stands beside the messages after `step`, if there is one.
    pub fn scratch(&self, step: usize) -> Option<Bytes> {
        let rng = &mut Rng::at(&[step as u64, 0x5c8a]);
        (self.scratch_bytes > 0)
            .then(|| generator::prose("scratch", self.scratch_bytes, Script::Latin, rng))
    }

    /// The number of messages, which is the number of states.
    pub fn len(&self) -> usize {
        match &self.messages {
            Messages::Held(messages) => messages.len(),
            Messages::Made { count, .. } => *count,
        }
    }

    /// Whether it has no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message at `step`; empty if there is none.
    pub fn message(&self, step: usize) -> Bytes {
        match &self.messages {
            Messages::Held(messages) => messages.get(step).cloned().unwrap_or_default(),
            Messages::Made { seed, bytes, .. } => {
                let rng = &mut Rng::at(&[*seed, step as u64]);
                let role = ["user", "assistant"][step % 2];
                generator::prose(role, *bytes, Script::Latin, rng)
            }
        }
    }

    /// The messages of the state after `step`: the oracle.
    pub fn state(&self, step: usize) -> Range<usize> {
        self.cut.start(step)..step + 1
    }

    /// How many messages of the state before `step` are dropped at `step`.
    pub fn dropped(&self, step: usize) -> usize {
        match step.checked_sub(1) {
            Some(before) => self.cut.start(step) - self.cut.start(before),
            None => 0,
        }
    }

    /// Checks a state, or its end, against the oracle: `got` must be the last
    /// messages of the state after `step`, and all of them if `whole`.
    ///
    /// # Errors
    /// What is wrong, in words: how many messages, or which one and where.
    pub fn check(&self, step: usize, got: &[Bytes], whole: bool) -> Result<(), String> {
        let state = self.state(step);
        if got.len() > state.len() || (whole && got.len() != state.len()) {
            return Err(format!(
                "{} messages where the state after message {step} has {}",
                got.len(),
                state.len()
            ));
        }
        for (at, message) in (state.end - got.len()..state.end).zip(got) {
            let expected = self.message(at);
            if expected != *message {
                let same = expected
                    .iter()
                    .zip(message)
                    .take_while(|(a, b)| a == b)
                    .count();
                return Err(format!(
                    "message {at} of the state after message {step} differs at byte {same} \
                     ({} bytes read, {} expected)",
                    message.len(),
                    expected.len()
                ));
            }
        }
        Ok(())
    }

    /// The same conversation with one bit of one message wrong: an oracle that
    /// every honest answer must fail against.
    #[must_use]
    pub fn corrupted(mut self) -> Self {
        let mut messages: Vec<_> = (0..self.len()).map(|step| self.message(step)).collect();
        if let Some(message) = messages.last_mut() {
            let mut bytes = message.to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            *message = bytes.into();
        }
        self.messages = Messages::Held(messages);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(cut: Cut) -> Conversation {
        let messages = (0_u8..10).map(|n| Bytes::from(vec![n])).collect();
        Conversation::held("c".into(), messages, cut)
    }

    /// The states as an agent would build them, step by step.
    fn replayed(conversation: &Conversation) -> Vec<Vec<Bytes>> {
        let mut state = Vec::new();
        (0..conversation.len())
            .map(|step| {
                state.drain(..conversation.dropped(step));
                state.push(conversation.message(step));
                state.clone()
            })
            .collect()
    }

    #[test]
    fn states_are_what_an_agent_would_have() {
        let cuts = [
            Cut::At(vec![]),
            Cut::At(vec![3, 7]),
            Cut::Window { most: 4, keep: 2 },
            Cut::Window { most: 1, keep: 1 },
        ];
        for cut in cuts {
            let conversation = conversation(cut.clone());
            for (step, state) in replayed(&conversation).iter().enumerate() {
                assert!(
                    conversation.check(step, state, true).is_ok(),
                    "{cut:?} at {step}"
                );
                if let Cut::Window { most, .. } = cut {
                    assert!(state.len() <= most);
                }
            }
        }
    }

    #[test]
    fn a_wrong_byte_or_length_is_found() {
        let conversation = conversation(Cut::At(vec![]));
        let mut state = replayed(&conversation)[5].clone();
        assert!(conversation.check(5, &state[2..], false).is_ok());
        assert!(conversation.check(5, &state[2..], true).is_err());
        state[3] = Bytes::from_static(b"x");
        let message = conversation.check(5, &state, true).unwrap_err();
        assert!(
            message.contains("message 3") && message.contains("byte 0"),
            "{message}"
        );
    }

    #[test]
    fn a_corrupted_oracle_differs_in_the_last_message() {
        let honest = conversation(Cut::At(vec![]));
        let state = replayed(&honest);
        let corrupted = honest.corrupted();
        assert!(corrupted.check(8, &state[8], true).is_ok());
        assert!(corrupted.check(9, &state[9], true).is_err());
    }
}
