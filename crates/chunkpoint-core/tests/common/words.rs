//! Text with a fixed seed: the workload of the benchmarks and of the counts beside them.

use bytes::Bytes;

/// What the text is made of.
const WORDS: [&str; 16] = [
    "agent", "state", "the", "a", "tool", "returned", "error", "in", "file", "line", "of", "test",
    "please", "value", "and", "while",
];

/// A message of `bytes` bytes that no other number gives.
pub(crate) fn message(number: usize, bytes: usize) -> Bytes {
    // An LCG (Knuth's MMIX constants): the text has to be the same everywhere and for ever.
    let mut state = number as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut text = format!("{{\"role\":\"user\",\"n\":{number},\"content\":\"");
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 60) as usize]);
        text.push(' ');
        if (state >> 40) & 7 == 0 {
            text.push_str(&format!("{:x} ", state >> 32));
        }
    }
    text.truncate(bytes.saturating_sub(2));
    text.push_str("\"}");
    Bytes::from(text)
}
