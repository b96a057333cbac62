//! What a workload amounts to, found in one pass over it.

use serde::{Deserialize, Serialize};

use super::Conversations;
use crate::error::Result;

/// Sizes of a workload. `snapshot_bytes` is exact, so what a full snapshot at
/// every step would write is known without writing it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of conversations.
    pub conversations: u64,
    /// Number of messages, which is the number of states.
    pub messages: u64,
    /// Bytes of all messages.
    pub raw_bytes: u64,
    /// Bytes of the messages of every state, added up.
    pub snapshot_bytes: u64,
    /// Messages of every state, added up.
    pub snapshot_messages: u64,
    /// Bytes of the largest state.
    pub largest_state_bytes: u64,
    /// Messages a conversation.
    pub conversation_messages: Spread,
    /// Bytes a message.
    pub message_bytes: Spread,
    /// BLAKE3 over all ids and messages, in hex.
    pub digest: String,
}

/// Quantiles of a set of sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Half are at most this.
    pub p50: u64,
    /// Nine in ten are at most this.
    pub p90: u64,
    /// 99 in a hundred are at most this.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
}

impl Spread {
    /// The quantiles of `values`, by nearest rank.
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

impl Summary {
    /// Goes through a workload once; `step` is told the messages seen so far.
    ///
    /// # Errors
    /// Whatever reading the workload gives.
    pub fn of(conversations: Conversations, mut step: impl FnMut(u64)) -> Result<Self> {
        let mut summary = Self::default();
        let mut hasher = blake3::Hasher::new();
        let (mut lengths, mut sizes) = (Vec::new(), Vec::new());
        for conversation in conversations {
            let conversation = conversation?;
            hasher.update(&(conversation.id.len() as u64).to_le_bytes());
            hasher.update(conversation.id.as_bytes());
            // Where each message ends, in bytes from the conversation's start.
            let mut ends = Vec::with_capacity(conversation.len() + 1);
            let mut end = 0;
            ends.push(end);
            for at in 0..conversation.len() {
                let message = conversation.message(at);
                hasher.update(&(message.len() as u64).to_le_bytes());
                hasher.update(&message);
                sizes.push(message.len() as u64);
                end += message.len() as u64;
                ends.push(end);
                let state = conversation.state(at);
                let bytes = end - ends.get(state.start).copied().unwrap_or(0);
                summary.snapshot_bytes += bytes;
                summary.snapshot_messages += state.len() as u64;
                summary.largest_state_bytes = summary.largest_state_bytes.max(bytes);
            }
            summary.raw_bytes += end;
            summary.conversations += 1;
            summary.messages += conversation.len() as u64;
            lengths.push(conversation.len() as u64);
            step(summary.messages);
        }
        summary.conversation_messages = Spread::of(lengths);
        summary.message_bytes = Spread::of(sizes);
        summary.digest = hasher.finalize().to_hex().to_string();
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Conversation, Cut};
    use super::*;

    #[test]
    fn adds_up_states_exactly() {
        let messages = [1, 2, 3].map(|n| Bytes::from(vec![b'x'; n])).to_vec();
        let of = |cut| {
            let one = Conversation::held("a".into(), messages.clone(), cut);
            Summary::of(Box::new(std::iter::once(Ok(one))), |_| {}).unwrap()
        };
        let kept = of(Cut::At(vec![]));
        assert_eq!(
            (kept.raw_bytes, kept.snapshot_bytes, kept.snapshot_messages),
            (6, 10, 6)
        );
        let cut = of(Cut::At(vec![2]));
        assert_eq!(
            (cut.snapshot_bytes, cut.largest_state_bytes),
            (1 + 3 + 3, 3)
        );
        assert_eq!(cut.digest, kept.digest);
    }

    #[test]
    fn spread_is_by_nearest_rank() {
        let spread = Spread::of((1..=100).collect());
        assert_eq!(
            spread,
            Spread {
                p50: 50,
                p90: 90,
                p99: 99,
                max: 100
            }
        );
        assert_eq!(Spread::of(vec![]), Spread::default());
    }
}
