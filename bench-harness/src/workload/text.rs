//! Text that reads like nothing and compresses like something.
//!
//! Words are made of syllables and drawn by Zipf's law, as words of real text
//! are; much of prose comes from a stock of set phrases, because real text
//! repeats itself in more than single words. Both stocks are fixed: they are part
//! of the workload's definition.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::rng::Rng;

/// The writing system of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Script {
    /// Words of Latin letters, with spaces.
    Latin,
    /// Words of one or two ideographs, three UTF-8 bytes each, without spaces.
    Cjk,
}

const WORDS: usize = 6_000;
const PHRASES: usize = 3_000;
/// Share of the draws for prose that take a whole phrase.
const PHRASE_SHARE: f64 = 0.3;
/// Entries of the table that turns a uniform number into a Zipf rank.
const RANKS: usize = 1 << 14;

/// A stock of words and phrases, most frequent first.
#[derive(Debug)]
pub struct Lexicon {
    words: Vec<String>,
    phrases: Vec<String>,
    word_ranks: Vec<u16>,
    phrase_ranks: Vec<u16>,
    script: Script,
}

impl Lexicon {
    /// The stock of this script; made once in a process.
    pub fn of(script: Script) -> &'static Self {
        static LATIN: OnceLock<Lexicon> = OnceLock::new();
        static CJK: OnceLock<Lexicon> = OnceLock::new();
        let slot = match script {
            Script::Latin => &LATIN,
            Script::Cjk => &CJK,
        };
        slot.get_or_init(|| Self::build(script))
    }

    fn build(script: Script) -> Self {
        let rng = &mut Rng::at(&[0x1e_71c0, script as u64]);
        let mut lexicon = Self {
            words: (0..WORDS)
                .map(|rank| make_word(script, rank, rng))
                .collect(),
            phrases: Vec::new(),
            word_ranks: zipf_table(WORDS),
            phrase_ranks: zipf_table(PHRASES),
            script,
        };
        lexicon.phrases = (0..PHRASES)
            .map(|_| {
                let words: Vec<_> = (0..3 + rng.below(3)).map(|_| lexicon.word(rng)).collect();
                words.join(lexicon.gap())
            })
            .collect();
        lexicon
    }

    /// A word, by Zipf's law.
    pub fn word(&self, rng: &mut Rng) -> &str {
        draw(&self.words, &self.word_ranks, rng)
    }

    fn phrase(&self, rng: &mut Rng) -> &str {
        draw(&self.phrases, &self.phrase_ranks, rng)
    }

    fn gap(&self) -> &'static str {
        match self.script {
            Script::Latin => " ",
            Script::Cjk => "",
        }
    }

    /// Fills what `sink` has left with sentences and paragraphs.
    pub fn prose(&self, sink: &mut Sink, rng: &mut Rng) {
        let (comma, stop) = match self.script {
            Script::Latin => (", ", ". "),
            Script::Cjk => ("，", "。"),
        };
        while !sink.is_full() {
            let parts = 3 + rng.below(9);
            for part in 0..parts {
                if rng.chance(PHRASE_SHARE) {
                    sink.push(self.phrase(rng));
                } else {
                    sink.push(self.word(rng));
                }
                if part + 1 < parts {
                    sink.push(if rng.chance(0.12) { comma } else { self.gap() });
                }
            }
            sink.push(if rng.chance(0.15) { ".\n\n" } else { stop });
        }
    }
}

/// A table in which rank r stands in proportion to 1/r.
fn zipf_table(count: usize) -> Vec<u16> {
    (0..RANKS)
        .map(|i| {
            let share = (i as f64 + 0.5) / RANKS as f64;
            // The inverse of the harmonic sum, which grows as the logarithm.
            ((count as f64).powf(share) - 1.0) as u16
        })
        .collect()
}

fn draw<'a>(stock: &'a [String], ranks: &[u16], rng: &mut Rng) -> &'a str {
    let bits = rng.bits();
    let rank = usize::from(ranks[bits as usize % ranks.len()]);
    // Far ranks have fewer table entries than words: spread over the neighbours.
    let spread = 1 + rank / 512;
    let at = (rank + (bits >> 32) as usize % spread) % stock.len().max(1);
    stock.get(at).map_or("", String::as_str)
}

fn make_word(script: Script, rank: usize, rng: &mut Rng) -> String {
    const ONSETS: &[&str] = &[
        "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr",
        "pr", "ch", "sh", "th", "pl",
    ];
    const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "ea", "ou", "io"];
    const CODAS: &[&str] = &["", "", "", "n", "r", "s", "t", "l", "d", "ng", "ck", "nt"];
    // Frequent words are short, in every language.
    let syllables = match rank {
        0..80 => 1,
        80..1_500 => 2,
        _ => 3,
    };
    let mut word = String::new();
    match script {
        Script::Latin => {
            for _ in 0..syllables {
                for part in [ONSETS, VOWELS, CODAS] {
                    word.push_str(rng.pick(part).copied().unwrap_or_default());
                }
            }
        }
        Script::Cjk => {
            for _ in 0..syllables.min(2) {
                let ideograph = 0x4e00 + rng.below(2_500) as u32;
                word.extend(char::from_u32(ideograph));
            }
        }
    }
    word
}

/// Text under construction that stops at a size, counted as the JSON string it
/// will become.
#[derive(Debug)]
pub struct Sink {
    text: String,
    left: usize,
    /// Bytes that a newline or tab, and a quote or backslash, take once escaped.
    newline: usize,
    quote: usize,
}

impl Sink {
    /// Room for `bytes`, once the text is written as a JSON string.
    pub fn new(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            left: bytes,
            newline: 2,
            quote: 2,
        }
    }

    /// The same where that string's JSON is itself a string in JSON, as a tool
    /// call's arguments are.
    pub fn nested(bytes: usize) -> Self {
        Self {
            newline: 3,
            quote: 4,
            ..Self::new(bytes)
        }
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Adds what fits of `text`.
    pub fn push(&mut self, text: &str) {
        for c in text.chars() {
            let cost = match c {
                '\n' | '\t' => self.newline,
                '"' | '\\' => self.quote,
                c => c.len_utf8(),
            };
            if cost > self.left {
                // The rest is smaller than this character; spaces fit anywhere.
                self.text.extend(std::iter::repeat_n(' ', self.left));
                self.left = 0;
                return;
            }
            self.left -= cost;
            self.text.push(c);
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_has_exactly_the_size_asked_for() {
        for script in [Script::Latin, Script::Cjk] {
            for bytes in [1, 7, 500, 10_000] {
                let mut sink = Sink::new(bytes);
                Lexicon::of(script).prose(&mut sink, &mut Rng::at(&[bytes as u64]));
                let json = serde_json::to_string(&sink.finish()).unwrap();
                assert_eq!(json.len(), bytes + 2, "{script:?}");
            }
        }
    }

    #[test]
    fn nested_text_has_the_size_asked_for() {
        let mut sink = Sink::nested(400);
        sink.push(&"a \"quoted\" line\n".repeat(40));
        let inner = serde_json::to_string(&sink.finish()).unwrap();
        let outer = serde_json::to_string(&inner).unwrap();
        // Two plain quotes around, two escaped ones inside.
        assert_eq!(outer.len(), 400 + 2 + 4);
    }

    #[test]
    fn words_follow_zipf() {
        let lexicon = Lexicon::of(Script::Latin);
        let rng = &mut Rng::at(&[1]);
        let draws = 100_000;
        let first = (0..draws)
            .filter(|_| lexicon.word(rng) == lexicon.words[0])
            .count();
        // 1 / (ln 6000 + 0.58) is 0.108; the continuous form gives ln 2 / ln 6000.
        assert!((0.06..0.12).contains(&(first as f64 / draws as f64)));
    }
}
