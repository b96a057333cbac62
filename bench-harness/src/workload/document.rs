//! What tools give back: files, records, logs.
//!
//! A conversation has a few documents, and its tool messages show slices of them.
//! So a tool that reads a file twice gives the same lines twice, as agents' tools
//! do, and a conversation compresses better as a whole than by message. Any line
//! can be made without the lines before it.

use super::rng::Rng;
use super::text::{Lexicon, Script, Sink};

/// What a document holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Source,
    Records,
    Log,
}

/// A document of one conversation.
#[derive(Debug)]
pub(super) struct Document {
    path: [u64; 3],
    form: Form,
    /// The names its lines are made of.
    names: Vec<String>,
}

impl Document {
    /// Document `number` of the conversation that (`seed`, `conversation`) names.
    pub(super) fn new(seed: u64, conversation: u64, number: u64) -> Self {
        let path = [seed, conversation, number];
        let rng = &mut Rng::at(&[seed, conversation, number, 0xd0c]);
        let words = Lexicon::of(Script::Latin);
        let names = (0..24)
            .map(|_| match rng.below(3) {
                0 => words.word(rng).to_string(),
                1 => format!("{}_{}", words.word(rng), words.word(rng)),
                _ => format!("{}{}", words.word(rng), capital(words.word(rng))),
            })
            .collect();
        let form = match rng.below(10) {
            0..6 => Form::Source,
            6..8 => Form::Records,
            _ => Form::Log,
        };
        Self { path, form, names }
    }

    /// A file name for it.
    pub(super) fn name(&self) -> String {
        let end = match self.form {
            Form::Source => "go",
            Form::Records => "json",
            Form::Log => "log",
        };
        format!("internal/{}/{}.{end}", self.ident(0), self.ident(1))
    }

    /// Fills what `sink` has left with lines from number `first` on.
    pub(super) fn lines(&self, first: usize, sink: &mut Sink) {
        let numbered = self.form == Form::Source;
        for number in first.. {
            if sink.is_full() {
                return;
            }
            if numbered {
                sink.push(&format!("{:>6}\u{2192}", number + 1));
            }
            self.line(number, sink);
        }
    }

    fn ident(&self, at: usize) -> &str {
        self.names
            .get(at % self.names.len().max(1))
            .map_or("x", String::as_str)
    }

    fn line(&self, number: usize, sink: &mut Sink) {
        let [seed, conversation, document] = self.path;
        let rng = &mut Rng::at(&[seed, conversation, document, number as u64]);
        match self.form {
            Form::Source => self.source_line(number, sink, rng),
            Form::Records => self.record_line(number, sink, rng),
            Form::Log => self.log_line(number, sink, rng),
        }
        sink.push("\n");
    }

    fn source_line(&self, number: usize, sink: &mut Sink, rng: &mut Rng) {
        let name = |rng: &mut Rng| {
            // Squaring the draw makes some names far more frequent.
            let draw = rng.unit();
            self.ident((draw * draw * self.names.len() as f64) as usize)
                .to_string()
        };
        let indent = ["", "\t", "\t\t", "\t\t\t"][if number.is_multiple_of(12) {
            0
        } else {
            1 + rng.below(3)
        }];
        let (a, b, c) = (name(rng), name(rng), name(rng));
        let line = match rng.below(12) {
            0 => format!(
                "func ({a} *{}) {b}(ctx context.Context, {c} string) error {{",
                capital(&c)
            ),
            1 => format!("if err := {a}.{b}({c}); err != nil {{"),
            2 => format!("return nil, fmt.Errorf(\"{a} {b}: %w\", err)"),
            3 => format!("{a} := {b}.{c}({}, \"{}\")", name(rng), rng.below(1000)),
            4 => "}".to_string(),
            5 => String::new(),
            6 | 7 => {
                let words = Lexicon::of(Script::Latin);
                let said: Vec<_> = (0..4 + rng.below(7)).map(|_| words.word(rng)).collect();
                format!("// {}", said.join(" "))
            }
            8 => format!("for _, {a} := range {b}.{c} {{"),
            9 => format!("assert.Equal(t, {a}, {b}.{c})"),
            _ => format!("{a}.{b} = {c}[{}]", name(rng)),
        };
        sink.push(indent);
        sink.push(&line);
    }

    fn record_line(&self, number: usize, sink: &mut Sink, rng: &mut Rng) {
        let words = Lexicon::of(Script::Latin);
        let record = format!(
            "{{\"{}\": \"{:06X}\", \"{}\": \"{} {}\", \"{}\": {}, \"status\": \"{}\", \"updated_at\": \"2026-0{}-1{}T{:02}:{:02}:00\"}},",
            self.ident(0),
            number * 37 + rng.below(37),
            self.ident(1),
            words.word(rng),
            words.word(rng),
            self.ident(2),
            rng.below(900),
            if rng.chance(0.7) {
                "available"
            } else {
                "delayed"
            },
            1 + rng.below(9),
            rng.below(10),
            rng.below(24),
            rng.below(60),
        );
        sink.push(&record);
    }

    fn log_line(&self, number: usize, sink: &mut Sink, rng: &mut Rng) {
        let words = Lexicon::of(Script::Latin);
        let level = rng
            .pick(&["DEBUG", "INFO ", "INFO ", "INFO ", "WARN "])
            .copied();
        sink.push(&format!(
            "2026-02-12T03:{:02}:{:02}.{:03}Z {} {}: {} {} {} {}={}",
            number / 60 % 60,
            number % 60,
            rng.below(1000),
            level.unwrap_or_default(),
            self.ident(rng.below(6)),
            words.word(rng),
            words.word(rng),
            words.word(rng),
            self.ident(6 + rng.below(6)),
            rng.below(5000),
        ));
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(first: usize, bytes: usize) -> String {
        let mut sink = Sink::new(bytes);
        Document::new(1, 2, 3).lines(first, &mut sink);
        sink.finish()
    }

    #[test]
    fn a_line_is_the_same_wherever_a_slice_starts() {
        let whole = slice(0, 20_000);
        let line = whole.lines().nth(40).unwrap();
        assert!(slice(40, 4_000).starts_with(line));
    }

    #[test]
    fn slices_have_the_size_asked_for() {
        for bytes in [1, 90, 5_000, 100_000] {
            let json = serde_json::to_string(&slice(7, bytes)).unwrap();
            assert_eq!(json.len(), bytes + 2);
        }
    }
}
