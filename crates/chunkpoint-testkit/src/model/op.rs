//! Operations, drawn from a seed. Each names what it is about by small
//! numbers that are reduced to what is there when it runs, so that any part of a
//! sequence is a sequence.

use crate::deterministic::Rng;

/// A thread and a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) thread: u8,
    pub(super) namespace: u8,
}

/// Which checkpoint an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The greatest id.
    Latest,
    /// So many before it.
    Back(u8),
    /// One that may or may not exist, from a small set of ids.
    Named(u8),
}

/// A value to be made: its own seed and a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) seed: u64,
    pub(super) items: u8,
}

/// What a draft does to one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    Item(Content),
    List(Content),
    Map(Content),
    Append(Content),
    Splice { start: u8, gone: u8, new: Content },
    Remove,
}

/// What a put does to one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// A new version with another value.
    New(Content, u8),
    /// A new version, and the parent's list with more behind it.
    Grown(Content, u8),
    /// A new version without a value.
    Empty(u8),
    /// The parent's version, not new.
    Kept,
    /// Some version, not new.
    Carried(u8),
    /// Not named at all.
    Dropped,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Draft {
        place: Place,
        on: Which,
        edits: Vec<(u8, Edit)>,
        id: Option<u8>,
        run: u8,
        fenced: bool,
    },
    Late {
        held: u8,
        edits: Vec<(u8, Edit)>,
    },
    Put {
        place: Place,
        parent: Option<Which>,
        id: u8,
        given: Vec<(u8, Given)>,
        run: u8,
    },
    Writes {
        place: Place,
        of: Which,
        task: u8,
        path: u8,
        writes: Vec<(u8, Content)>,
    },
    Pin {
        place: Place,
        of: Which,
        pinned: bool,
    },
    Prune {
        threads: u8,
        delete: bool,
    },
    DeleteRuns {
        run: u8,
    },
    Maintain {
        most: Option<u8>,
        age_s: Option<u8>,
    },
    Advance {
        seconds: u8,
    },
    Delete {
        thread: u8,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Hold {
        place: Place,
        of: Which,
    },
    Forget,
    Reopen,
}

/// Threads there are.
pub(super) const THREADS: [&str; 4] = ["a", "b/../ü", "c:|#", "d"];

/// Namespaces there are. The second one's checkpoints have a delta channel.
pub(super) const NAMESPACES: [&str; 2] = ["", "delta|child"];

/// Channels there are, beside the delta channel.
pub(super) const CHANNELS: [&str; 5] = ["list", "list 2", "item", "map", "any"];

/// Channels of pending writes.
pub(super) const WRITTEN: [&str; 6] = [
    "log",
    "log",
    "list",
    "__error__",
    "__interrupt__",
    "__resume__",
];

/// The operations of a seed.
pub(super) fn operations(seed: u64, steps: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    (0..steps).map(|_| operation(&mut rng)).collect()
}

fn operation(rng: &mut Rng) -> Op {
    match rng.below(100) {
        0..30 => Op::Draft {
            place: place(rng),
            on: which(rng),
            edits: edits(rng),
            id: rng.one_in(5).then(|| small(rng, 12)),
            run: small(rng, 4),
            fenced: rng.one_in(6),
        },
        30..36 => Op::Late {
            held: small(rng, 255),
            edits: edits(rng),
        },
        36..56 => Op::Put {
            place: place(rng),
            parent: (!rng.one_in(6)).then(|| which(rng)),
            id: small(rng, 40),
            given: channels(rng, given),
            run: small(rng, 4),
        },
        56..66 => Op::Writes {
            place: place(rng),
            of: which(rng),
            task: small(rng, 3),
            path: small(rng, 3),
            writes: {
                let count = 1 + rng.below(4);
                (0..count).map(|_| (small(rng, 6), content(rng))).collect()
            },
        },
        66..70 => Op::Pin {
            place: place(rng),
            of: which(rng),
            pinned: !rng.one_in(3),
        },
        70..74 => Op::Prune {
            threads: small(rng, 16),
            delete: rng.one_in(6),
        },
        74..77 => Op::DeleteRuns { run: small(rng, 4) },
        77..83 => Op::Maintain {
            most: rng.one_in(2).then(|| 1 + small(rng, 6)),
            age_s: rng.one_in(3).then(|| small(rng, 250)),
        },
        83..89 => Op::Advance {
            seconds: small(rng, 120),
        },
        89..91 => Op::Delete {
            thread: small(rng, 4),
        },
        91..93 => Op::Copy {
            from: small(rng, 4),
            to: small(rng, 4),
        },
        93..97 => Op::Hold {
            place: place(rng),
            of: which(rng),
        },
        97..99 => Op::Forget,
        _ => Op::Reopen,
    }
}

fn small(rng: &mut Rng, end: u64) -> u8 {
    rng.below(end) as u8
}

fn place(rng: &mut Rng) -> Place {
    Place {
        // Most happens in one thread, so that it gets somewhere.
        thread: if rng.one_in(2) {
            0
        } else {
            small(rng, THREADS.len() as u64)
        },
        namespace: small(rng, NAMESPACES.len() as u64),
    }
}

fn which(rng: &mut Rng) -> Which {
    match rng.below(10) {
        0..5 => Which::Latest,
        5..8 => Which::Back(small(rng, 8)),
        _ => Which::Named(small(rng, 40)),
    }
}

fn content(rng: &mut Rng) -> Content {
    Content {
        seed: rng.next_u64(),
        items: match rng.below(12) {
            0 => 200,
            1..3 => small(rng, 60),
            _ => small(rng, 5),
        },
    }
}

fn channels<T>(rng: &mut Rng, make: impl Fn(&mut Rng) -> T) -> Vec<(u8, T)> {
    let count = rng.below(4);
    let all = CHANNELS.len() as u64;
    (0..count).map(|_| (small(rng, all), make(rng))).collect()
}

fn edits(rng: &mut Rng) -> Vec<(u8, Edit)> {
    channels(rng, |rng| match rng.below(12) {
        0..5 => Edit::Append(content(rng)),
        5..8 => Edit::Splice {
            start: small(rng, 255),
            gone: small(rng, 20),
            new: content(rng),
        },
        8 => Edit::Item(content(rng)),
        9 => Edit::List(content(rng)),
        10 => Edit::Map(content(rng)),
        _ => Edit::Remove,
    })
}

fn given(rng: &mut Rng) -> Given {
    let version = small(rng, 6);
    match rng.below(12) {
        0..3 => Given::New(content(rng), version),
        3..6 => Given::Grown(content(rng), version),
        6 => Given::Empty(version),
        7..9 => Given::Kept,
        9..11 => Given::Carried(version),
        _ => Given::Dropped,
    }
}
