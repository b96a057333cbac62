//! One conversation, and the oracle of its states.

use std::ops::Range;

use bytes::Bytes;

use super::generator;
use super::rng::Rng;
use super::text::Script;
use crate::scenario::Uniform;

/// One conversation: the messages, and the state after each of them.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The thread's id.
    pub id: String,
    messages: Messages,
    cut: Cut,
    /// Messages go to so many channels in turns.
    channels: usize,
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
            channels: 1,
            scratch_bytes: 0,
        }
    }

    /// A session of messages of equal size, made on demand: number `number` of those
    /// that `spec` describes.
    pub fn uniform(id: String, spec: &Uniform, number: u64) -> Self {
        let cut = spec
            .window
            .map_or(Cut::At(Vec::new()), |window| Cut::Window {
                most: window.most,
                keep: window.keep.min(window.most),
            });
        let messages = Messages::Made {
            seed: spec.seed ^ (number << 32),
            count: spec.messages,
            bytes: spec.message_bytes,
        };
        Self {
            id,
            messages,
            cut,
            channels: spec.channels,
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

    /// The same, ending after `count` messages.
    #[must_use]
    pub fn first(mut self, most: usize) -> Self {
        match &mut self.messages {
            Messages::Held(messages) => messages.truncate(most),
            Messages::Made { count, .. } => *count = most.min(*count),
        }
        self
    }

    /// The same with another message at `at`; one more, if that is its end.
    #[must_use]
    pub fn revised(self, at: usize, message: Bytes) -> Self {
        let mut all = self.in_memory();
        if let Messages::Held(messages) = &mut all.messages {
            match messages.get_mut(at) {
                Some(old) => *old = message,
                None => messages.push(message),
            }
        }
        all
    }

    /// The same with all messages in memory, where reading them often matters more
    /// than the room they take.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        let messages = (0..self.len()).map(|step| self.message(step));
        self.messages = Messages::Held(messages.collect());
        self
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

    /// How many channels hold the messages.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The channel that the message at `step` goes to.
    pub fn channel_of(&self, step: usize) -> usize {
        step % self.channels
    }

    /// The messages of the channel of the last message in the state after `step`, last
    /// to first: what a tail read gives.
    pub fn tail(&self, step: usize) -> impl Iterator<Item = usize> {
        self.state(step).rev().step_by(self.channels)
    }

    /// Puts what arrived one by one into the order of a whole state: the channels'
    /// messages, channel after channel.
    pub fn arrange<T>(&self, arrived: impl IntoIterator<Item = T>) -> Vec<T> {
        if self.channels == 1 {
            return arrived.into_iter().collect();
        }
        let mut numbered: Vec<_> = arrived.into_iter().enumerate().collect();
        numbered.sort_by_key(|(at, _)| at % self.channels);
        numbered.into_iter().map(|(_, one)| one).collect()
    }

    /// Checks a state, or its end, against the oracle: `got` must be the state after
    /// `step` if `whole`, else the last messages of the channel of the last one.
    ///
    /// # Errors
    /// What is wrong, in words: how many messages, or which one and where.
    pub fn check(&self, step: usize, got: &[Bytes], whole: bool) -> Result<(), String> {
        let expected = if whole {
            self.arrange(self.state(step))
        } else {
            let mut tail: Vec<_> = self.tail(step).take(got.len()).collect();
            tail.reverse();
            tail
        };
        if got.len() != expected.len() {
            return Err(format!(
                "{} messages where the state after message {step} has {}",
                got.len(),
                expected.len()
            ));
        }
        for (at, message) in expected.into_iter().zip(got) {
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
        self = self.in_memory();
        if let Messages::Held(messages) = &mut self.messages
            && let Some(message) = messages.last_mut()
        {
            let mut bytes = message.to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            *message = bytes.into();
        }
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
    fn channels_take_turns_and_are_read_one_after_the_other() {
        let conversation = Conversation {
            channels: 3,
            ..conversation(Cut::At(vec![]))
        };
        let byte = |n: u8| Bytes::from(vec![n]);
        let whole = [0, 3, 6, 1, 4, 7, 2, 5].map(byte);
        assert_eq!(conversation.check(7, &whole, true), Ok(()));
        assert_eq!(conversation.check(7, &[4, 7].map(byte), false), Ok(()));
        assert!(conversation.check(7, &[6, 7].map(byte), false).is_err());
        assert_eq!(
            (conversation.tail(7).count(), conversation.channel_of(7)),
            (3, 1)
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
