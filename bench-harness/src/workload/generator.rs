//! Makes conversations of a [`Shape`].
//!
//! Every message is a function of (seed, conversation, position of the message),
//! except that its role follows from the roles before it. The kinds and lengths
//! of conversations come from a low-discrepancy sequence instead of a random one
//! (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), so
//! that twenty conversations have the same shape as six hundred.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::document::Document;
use super::rng::Rng;
use super::text::{Lexicon, Script, Sink};
use super::{Conversation, Cut};
use crate::scenario::{Kind, Shape};

/// Different short messages in the stock that a kind's conversations share.
const STOCK: usize = 40;
/// Different documents that one conversation's tools show.
const DOCUMENTS: u64 = 12;
/// Bytes of an image in base64, least and greatest.
const IMAGE: (usize, usize) = (120_000, 480_000);

/// A source of conversations.
#[derive(Debug, Clone)]
pub struct Generator {
    shape: Shape,
    seed: u64,
}

/// Who says what at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    System,
    User,
    Answer,
    Call { second: bool },
    Result,
}

impl Generator {
    /// Conversations of `shape`, different for each `seed`.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, seed }
    }

    /// The conversation of this number.
    pub fn conversation(&self, number: u64) -> Conversation {
        let (kind_at, kind, length) = self.plan(number);
        let voice = Voice {
            seed: self.seed,
            conversation: number,
            kind_at: kind_at as u64,
            kind,
        };
        let messages = voice.turns(length).into_iter().enumerate();
        let messages: Vec<_> = messages
            .map(|(at, turn)| voice.message(at as u64, turn))
            .collect();
        let cuts = kind.compact_every.map_or_else(Vec::new, |every| {
            (every..messages.len()).step_by(every.max(1)).collect()
        });
        Conversation::held(
            format!("{}-{number:04}", kind.name),
            messages,
            Cut::At(cuts),
        )
    }

    /// Kind and number of messages of a conversation.
    fn plan(&self, number: u64) -> (usize, &Kind, usize) {
        // The plastic number's first two negative powers.
        let offset = Rng::at(&[self.seed]).unit();
        let along = |step: f64| (offset + step * (number + 1) as f64).fract();
        let (which, length) = (
            along(0.754_877_666_246_692_8),
            along(0.569_840_290_998_053_2),
        );
        let total: f64 = self.shape.kinds.iter().map(|kind| kind.weight).sum();
        let mut below = 0.0;
        let at = self.shape.kinds.iter().position(|kind| {
            below += kind.weight;
            which * total < below
        });
        // Rounding may leave the greatest draw above the sum; it is the last kind's.
        let at = at.unwrap_or(self.shape.kinds.len() - 1);
        let kind = &self.shape.kinds[at];
        (at, kind, kind.messages.value(length))
    }
}

/// The fixed parts of one conversation's messages.
struct Voice<'a> {
    seed: u64,
    conversation: u64,
    kind_at: u64,
    kind: &'a Kind,
}

impl Voice<'_> {
    fn turns(&self, length: usize) -> Vec<Turn> {
        let rng = &mut Rng::at(&[self.seed, self.conversation, 0x7a57]);
        let mut turns = Vec::with_capacity(length + 2);
        turns.extend(self.kind.system.as_ref().map(|_| Turn::System));
        turns.push(Turn::User);
        while turns.len() < length {
            if rng.chance(self.kind.tool_rate) {
                let second = rng.chance(self.kind.second_tool_rate);
                turns.extend([Turn::Call { second }, Turn::Result]);
                turns.extend(second.then_some(Turn::Result));
            } else {
                turns.extend([Turn::Answer, Turn::User]);
            }
        }
        turns.truncate(length);
        turns
    }

    fn message(&self, at: u64, turn: Turn) -> Bytes {
        let rng = &mut Rng::at(&[self.seed, self.conversation, at, 0x3e55]);
        match turn {
            Turn::System => self.system(rng),
            Turn::User => self.said("user", &self.kind.user, rng),
            Turn::Answer => self.said("assistant", &self.kind.assistant, rng),
            Turn::Call { second } => self.call(at, second, rng),
            Turn::Result => self.result(at, rng),
        }
    }

    fn system(&self, rng: &mut Rng) -> Bytes {
        let Some(prompt) = &self.kind.system else {
            return Bytes::new();
        };
        let variant = rng.below(prompt.variants) as u64;
        let rng = &mut Rng::at(&[self.seed, self.kind_at, variant, 0x5757]);
        let bytes = prompt.bytes.draw(rng);
        prose("system", bytes, self.kind.script, rng)
    }

    fn said(&self, role: &str, sizes: &super::Quantiles, rng: &mut Rng) -> Bytes {
        if rng.chance(self.kind.stock_rate) {
            let entry = rng.below(STOCK) as u64;
            let rng = &mut Rng::at(&[self.seed, self.kind_at, entry, role.len() as u64]);
            // What many people say word for word is short.
            let bytes = sizes.value(rng.unit() * 0.25);
            return prose(role, bytes, self.kind.script, rng);
        }
        prose(role, sizes.draw(rng), self.kind.script, rng)
    }

    fn call(&self, at: u64, second: bool, rng: &mut Rng) -> Bytes {
        let bytes = self.kind.call.as_ref().map_or(0, |sizes| sizes.draw(rng));
        let mut message = Map::new();
        message.insert("role".into(), json!("assistant"));
        message.insert("content".into(), json!(""));
        let mut left = bytes.saturating_sub(150);
        if rng.chance(self.kind.signature_rate) {
            let reasoning = left / 8;
            let signature = (left * 2 / 5).clamp(120, 4_000);
            let mut sink = Sink::new(reasoning);
            Lexicon::of(self.kind.script).prose(&mut sink, rng);
            message.insert("reasoning".into(), json!(sink.finish()));
            message.insert(
                "reasoning_signature".into(),
                json!([base64(signature, rng)]),
            );
            left = left.saturating_sub(reasoning + signature + 40);
        }
        let calls = if second { 2 } else { 1 };
        let calls: Vec<_> = (0..calls)
            .map(|which| self.tool_call(at, which, left / calls as usize, rng))
            .collect();
        message.insert("tool_calls".into(), json!(calls));
        encode(message)
    }

    fn tool_call(&self, at: u64, which: u64, bytes: usize, rng: &mut Rng) -> Value {
        let document = self.document(rng);
        let (name, key) = *rng
            .pick(&[
                ("Bash", "command"),
                ("Read", "limit"),
                ("Edit", "new_string"),
                ("Grep", "pattern"),
            ])
            .unwrap_or(&("Bash", "command"));
        let mut arguments = Map::new();
        // A short call has one short argument; a long one names a file and holds some of it.
        let mut sink = if bytes > 400 {
            arguments.insert("file_path".into(), json!(document.name()));
            Sink::nested(bytes - 80)
        } else {
            Sink::nested(bytes.saturating_sub(20))
        };
        if bytes > 400 {
            document.lines(rng.below(400), &mut sink);
        } else {
            Lexicon::of(Script::Latin).prose(&mut sink, rng);
        }
        arguments.insert(key.into(), json!(sink.finish()));
        let arguments = Value::Object(arguments);
        json!({
            "id": self.call_id(at, which),
            "type": "function",
            "function": { "name": name, "arguments": arguments.to_string() },
        })
    }

    fn result(&self, at: u64, rng: &mut Rng) -> Bytes {
        let mut bytes = self.kind.tool.as_ref().map_or(0, |sizes| sizes.draw(rng));
        let image = rng.chance(self.kind.image_rate);
        if image {
            bytes = IMAGE.0 + rng.below(IMAGE.1 - IMAGE.0);
        }
        let mut message = Map::new();
        message.insert("role".into(), json!("tool"));
        message.insert(
            "tool_call_id".into(),
            json!(self.call_id(at.saturating_sub(1), 0)),
        );
        let room = bytes.saturating_sub(75);
        let content = if image {
            base64(room, rng)
        } else {
            let mut sink = Sink::new(room);
            self.document(rng).lines(rng.below(400), &mut sink);
            sink.finish()
        };
        message.insert("content".into(), json!(content));
        encode(message)
    }

    fn call_id(&self, at: u64, which: u64) -> String {
        let number = Rng::at(&[self.seed, self.conversation, at, which]).bits();
        format!("call_{number:016x}")
    }

    fn document(&self, rng: &mut Rng) -> Document {
        // Agents come back to a few files again and again.
        let draw = rng.unit();
        let number = (draw * draw * DOCUMENTS as f64) as u64;
        Document::new(self.seed, self.conversation, number)
    }
}

/// A message of prose that takes `bytes` as compact JSON, or the least it can.
pub(super) fn prose(role: &str, bytes: usize, script: Script, rng: &mut Rng) -> Bytes {
    let envelope = r#"{"role":"","content":""}"#.len() + role.len();
    let mut sink = Sink::new(bytes.saturating_sub(envelope));
    Lexicon::of(script).prose(&mut sink, rng);
    let mut message = Map::new();
    message.insert("role".into(), json!(role));
    message.insert("content".into(), json!(sink.finish()));
    encode(message)
}

fn base64(length: usize, rng: &mut Rng) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..length)
        .map(|_| char::from(DIGITS[(rng.bits() >> 58) as usize]))
        .collect()
}

fn encode(message: Map<String, Value>) -> Bytes {
    // A value's display is its compact JSON.
    Bytes::from(Value::Object(message).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::workload::Summary;

    fn generator(seed: u64) -> Generator {
        Generator::new(Shape::named("agents").unwrap(), seed)
    }

    fn conversations(count: u64) -> Vec<Conversation> {
        (0..count)
            .map(|number| generator(1).conversation(number).with_cuts(false))
            .collect()
    }

    fn messages(conversation: &Conversation) -> impl Iterator<Item = Bytes> + '_ {
        (0..conversation.len()).map(|step| conversation.message(step))
    }

    /// Whether `got` is within `share` of `published`.
    fn near(what: &str, got: f64, published: f64, share: f64) {
        let off = got / published - 1.0;
        assert!(
            off.abs() <= share,
            "{what}: {got:.3}, published {published}, off by {off:.2}"
        );
    }

    #[test]
    fn a_conversation_depends_on_seed_and_number_alone() {
        let again = |seed, number| generator(seed).conversation(number);
        let (one, same) = (again(1, 7), again(1, 7));
        assert!(messages(&one).eq(messages(&same)) && one.id == same.id);
        assert!(!messages(&one).eq(messages(&again(2, 7))));
        assert!(!messages(&one).eq(messages(&again(1, 8))));
    }

    #[test]
    fn every_message_is_a_chat_message() {
        for conversation in conversations(40) {
            assert!(!conversation.is_empty());
            for message in messages(&conversation) {
                let value: Value = serde_json::from_slice(&message).unwrap();
                let role = value["role"].as_str().unwrap();
                assert!(["system", "user", "assistant", "tool"].contains(&role));
                assert!(value["content"].is_string());
                for call in value["tool_calls"].as_array().into_iter().flatten() {
                    let arguments = call["function"]["arguments"].as_str().unwrap();
                    assert!(
                        serde_json::from_str::<Value>(arguments)
                            .unwrap()
                            .is_object()
                    );
                }
            }
        }
    }

    /// The published statistics of the recorded conversations that the shape
    /// stands for. Tails are drawn, so they may be further off.
    #[test]
    fn the_shape_is_that_of_recorded_conversations() {
        let all = conversations(600);
        let summary = Summary::of(Box::new(all.clone().into_iter().map(Ok)), |_| {}).unwrap();
        let (lengths, sizes) = (summary.conversation_messages, summary.message_bytes);
        near("messages", summary.messages as f64, 22_349.0, 0.15);
        near("bytes", summary.raw_bytes as f64, 30.21e6, 0.15);
        near("snapshots", summary.snapshot_bytes as f64, 6.10e9, 0.25);
        near("messages p50", lengths.p50 as f64, 20.0, 0.1);
        near("messages p90", lengths.p90 as f64, 48.0, 0.25);
        near("messages p99", lengths.p99 as f64, 576.0, 0.25);
        near("bytes p50", sizes.p50 as f64, 259.0, 0.15);
        near("bytes p90", sizes.p90 as f64, 2_842.0, 0.15);
        near("bytes p99", sizes.p99 as f64, 16_683.0, 0.2);
        assert!(
            (100_000..=500_000).contains(&sizes.max),
            "bytes max: {}",
            sizes.max
        );

        let mut shares: HashMap<String, f64> = HashMap::new();
        let (mut compressed, mut duplicates) = (0, 0);
        let mut seen: HashSet<Bytes> = HashSet::new();
        for conversation in &all {
            let mut own = HashSet::new();
            for message in messages(conversation) {
                let value: Value = serde_json::from_slice(&message).unwrap();
                let role = value["role"].as_str().unwrap().to_string();
                *shares.entry(role).or_default() += message.len() as f64 * 100.0;
                compressed += zstd::bulk::compress(&message, 3).unwrap().len();
                if seen.contains(&message) {
                    duplicates += message.len();
                }
                own.insert(message);
            }
            seen.extend(own);
        }
        let raw = summary.raw_bytes as f64;
        for (role, share, tolerance) in [
            ("system", 4.5, 0.3),
            ("user", 6.4, 0.5),
            ("assistant", 32.9, 0.2),
            ("tool", 56.2, 0.2),
        ] {
            near(role, shares[role] / raw, share, tolerance);
        }
        near("zstd -3 of a message", raw / compressed as f64, 2.22, 0.1);
        let share = duplicates as f64 / raw * 100.0;
        assert!(
            (3.0..12.0).contains(&share),
            "duplicates: {share:.1} % of bytes"
        );
    }
}
