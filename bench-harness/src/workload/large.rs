//! One large value, and patches of single fields of it.

use serde_json::{Value, json};

use super::items::{Members, json_len};
use super::rng::Rng;
use super::text::{Lexicon, Script, Sink};

/// Bytes of the text of a section.
const SECTION: usize = 900;
/// Bytes of a field that is patched.
const FIELD: usize = 200;

/// A document of sections, such as an agent's notes on a project, and the patches made
/// so far.
#[derive(Debug, Clone)]
pub struct LargeValue {
    seed: u64,
    value: Members,
    sections: usize,
}

/// What a patch changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Always the same member.
    Same,
    /// A member of another section each time.
    Scattered,
}

impl LargeValue {
    /// One whose JSON has about `bytes` bytes: at most a section less.
    pub fn new(seed: u64, bytes: usize) -> Self {
        let mut large = Self {
            seed,
            value: Members::new(),
            sections: 0,
        };
        large
            .value
            .insert("status".into(), large.text(FIELD, &[0]).into());
        let mut sections = Members::new();
        let mut size = json_len(&large.value) + 14;
        loop {
            let n = large.sections;
            let section = json!({
                "note": large.text(FIELD, &[1, n as u64]),
                "text": large.text(SECTION, &[2, n as u64]),
            });
            size += section.to_string().len() + 9;
            if size > bytes && n > 0 {
                break;
            }
            sections.insert(name(n), section);
            large.sections += 1;
        }
        large
            .value
            .insert("sections".into(), Value::Object(sections));
        large
    }

    /// The value, with the patches made so far.
    pub fn value(&self) -> &Members {
        &self.value
    }

    /// Makes the patch number `nth`, and gives it.
    pub fn patch(&mut self, field: Field, nth: u64) -> Members {
        let text = Value::from(self.text(FIELD, &[3, field as u64, nth]));
        let mut patch = Members::new();
        match field {
            Field::Same => {
                patch.insert("status".into(), text);
            }
            Field::Scattered => {
                let section = Rng::at(&[self.seed, 4, nth]).below(self.sections);
                patch.insert("sections".into(), json!({name(section): {"note": text}}));
            }
        }
        merge(&mut self.value, &patch);
        patch
    }

    fn text(&self, bytes: usize, path: &[u64]) -> String {
        let rng = &mut Rng::at(&[&[self.seed], path].concat());
        let mut text = Sink::new(bytes);
        Lexicon::of(Script::Latin).prose(&mut text, rng);
        text.finish()
    }
}

fn name(section: usize) -> String {
    format!("s{section:04}")
}

/// The rule of RFC 7396 for members that are there and values that are no `null`, which
/// is all that the workload has: the oracle's own, and not the engine's.
pub fn merge(into: &mut Members, patch: &Members) {
    for (name, value) in patch {
        match (into.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_size_asked_for() {
        for bytes in [2_000, 100_000, 1_000_000] {
            let size = json_len(LargeValue::new(1, bytes).value());
            assert!(size <= bytes && size + 2 * SECTION > bytes, "{size}");
        }
    }

    #[test]
    fn a_patch_changes_one_field() {
        let mut large = LargeValue::new(1, 20_000);
        let before = large.value().clone();
        let patch = large.patch(Field::Same, 1);
        assert_eq!(patch.len(), 1);
        assert_ne!(before["status"], large.value()["status"]);
        assert_eq!(before["sections"], large.value()["sections"]);

        let before = large.value().clone();
        large.patch(Field::Scattered, 1);
        let (was, is) = (&before["sections"], &large.value()["sections"]);
        let differ: Vec<_> = was
            .as_object()
            .unwrap()
            .keys()
            .filter(|n| was[*n] != is[*n])
            .collect();
        assert_eq!(differ.len(), 1);
        assert_eq!(was[differ[0]]["text"], is[differ[0]]["text"]);
        assert_eq!(json_len(&before), json_len(large.value()));
    }
}
