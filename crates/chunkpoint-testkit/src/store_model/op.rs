//! What a sequence of the model test is made of.

use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::deterministic::Rng;

/// Labels below the root of a sequence.
pub(super) const SPACES: &[&[&str]] = &[&["a"], &["a", "b"], &["ab"]];

/// Keys in each namespace.
pub(super) const KEYS: &[&str] = &["1", "2", "../x", "%"];

const MEMBERS: &[&str] = &["n", "a", "b", "c.d", "", "\u{1}"];

/// One of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) space: usize,
    pub(super) key: usize,
}

/// JSON that shows itself with its long texts cut.
#[derive(Clone)]
pub(super) struct Shown(pub(super) Map<String, Json>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn cut(value: &Json) -> Json {
            match value {
                Json::String(text) if text.len() > 20 => {
                    json!(format!("{}… of {} bytes", &text[..8], text.len()))
                }
                Json::Object(members) => members.iter().map(|(k, v)| (k.clone(), cut(v))).collect(),
                Json::Array(list) => list.iter().map(cut).collect(),
                other => other.clone(),
            }
        }
        write!(f, "{}", cut(&Json::Object(self.0.clone())))
    }
}

/// What a write expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Anything,
    Nothing,
    /// The version that is there, or an arbitrary one.
    ThisVersion,
    /// The version before that, if there was one.
    AnEarlierVersion,
}

/// A condition that the model can check by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finds {
    All,
    NumberAbove(i64),
    HasA,
    NestedN(i64),
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Put {
        at: Place,
        value: Shown,
        seconds: Option<u64>,
        wants: Wants,
    },
    Patch {
        at: Place,
        patch: Shown,
        wants: Wants,
    },
    Delete {
        at: Place,
        wants: Wants,
    },
    Get {
        at: Place,
        refresh: bool,
    },
    Search {
        space: Option<usize>,
        finds: Finds,
        newest_first: bool,
        offset: usize,
        limit: usize,
        refresh: bool,
    },
    Batch(Vec<Op>),
    Advance {
        seconds: u64,
    },
    Sweep,
    /// Goes on with a memory that has nothing in its cache.
    Forget,
    Reopen,
}

/// The operations of a seed: the same ones for ever.
pub(super) fn operations(seed: u64, count: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| operation(&mut rng)).collect()
}

fn operation(rng: &mut Rng) -> Op {
    match rng.below(100) {
        0..26 => put(rng),
        26..50 => patch(rng),
        50..57 => delete(rng),
        57..66 => Op::Get {
            at: place(rng),
            refresh: rng.one_in(2),
        },
        66..76 => search(rng),
        76..82 => batch(rng),
        82..91 => Op::Advance {
            seconds: *rng.pick(&[0, 1, 9, 30, 61, 600]),
        },
        91..95 => Op::Sweep,
        95..98 => Op::Forget,
        _ => Op::Reopen,
    }
}

fn place(rng: &mut Rng) -> Place {
    Place {
        space: rng.below(SPACES.len() as u64) as usize,
        key: rng.below(KEYS.len() as u64) as usize,
    }
}

fn wants(rng: &mut Rng) -> Wants {
    match rng.below(10) {
        0 => Wants::Nothing,
        1 | 2 => Wants::ThisVersion,
        3 => Wants::AnEarlierVersion,
        _ => Wants::Anything,
    }
}

fn put(rng: &mut Rng) -> Op {
    Op::Put {
        at: place(rng),
        value: Shown(members(rng, 3, false)),
        seconds: rng.one_in(2).then(|| *rng.pick(&[1, 10, 60, 1000])),
        wants: wants(rng),
    }
}

fn patch(rng: &mut Rng) -> Op {
    Op::Patch {
        at: place(rng),
        patch: Shown(members(rng, 3, true)),
        wants: wants(rng),
    }
}

fn delete(rng: &mut Rng) -> Op {
    Op::Delete {
        at: place(rng),
        wants: wants(rng),
    }
}

fn search(rng: &mut Rng) -> Op {
    let number = rng.below(6) as i64;
    Op::Search {
        space: rng
            .one_in(2)
            .then(|| rng.below(SPACES.len() as u64) as usize),
        finds: *rng.pick(&[
            Finds::All,
            Finds::NumberAbove(number),
            Finds::HasA,
            Finds::NestedN(number),
        ]),
        newest_first: rng.one_in(3),
        offset: rng.below(4) as usize,
        limit: rng.below(6) as usize,
        refresh: rng.one_in(2),
    }
}

/// Several puts and removals, of the same items too, and one patch at most: what
/// several of one item come to is for a behaviour of its own.
fn batch(rng: &mut Rng) -> Op {
    let patch = patch(rng);
    let Op::Patch { at: patched, .. } = &patch else {
        return patch;
    };
    let mut ops: Vec<Op> = (0..rng.below(6))
        .map(|_| match rng.below(3) {
            0 => delete(rng),
            _ => put(rng),
        })
        .filter(|op| !matches!(op, Op::Put { at, .. } | Op::Delete { at, .. } if at == patched))
        .collect();
    for op in &mut ops {
        if let Op::Put { wants, .. } | Op::Delete { wants, .. } = op {
            *wants = Wants::Anything;
        }
    }
    ops.push(patch);
    Op::Batch(ops)
}

fn members(rng: &mut Rng, depth: u64, patch: bool) -> Map<String, Json> {
    (0..rng.below(5))
        .map(|_| ((*rng.pick(MEMBERS)).to_owned(), value(rng, depth, patch)))
        .collect()
}

fn value(rng: &mut Rng, depth: u64, patch: bool) -> Json {
    match rng.below(12) {
        0 | 1 if patch => Json::Null,
        0 => json!(null),
        1..4 => json!(rng.below(6)),
        4 => json!(rng.below(12) as f64 / 2.0),
        5 => json!(["x", rng.below(3), null, {"in": rng.below(2)}]),
        6 => json!(rng.one_in(2)),
        7 | 8 => {
            // Long enough that a few of them make a value of several pages.
            let len = *rng.pick(&[3, 500, 5000, 12_000]);
            let letter = char::from(b'a' + rng.below(26) as u8);
            let text = std::iter::repeat_n(letter, len);
            json!(text.collect::<String>())
        }
        _ if depth > 0 => Json::Object(members(rng, depth - 1, patch)),
        _ => json!({}),
    }
}
