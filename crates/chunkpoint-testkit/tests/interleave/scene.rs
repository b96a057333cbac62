//! What clients are told to do.

use chunkpoint_testkit::objects::Scheduler;

/// One operation of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Commits on nothing.
    Root,
    /// Commits on nothing, under the newest id.
    Reput,
    /// Commits on a record, mostly the newest, most of what that needs.
    Child,
    /// As `Child`, expecting it to be the latest.
    Fenced,
    Remove,
    RemoveNewest,
    RemoveOldest,
    Hide,
    Pin,
    Unpin,
    /// Asks what is condemned, and reclaims what nothing reaches.
    Maintain,
    DeleteThread,
    CopyThread,
    /// Sends a commit again whose client has crashed.
    Repeat,
}

/// A small state, and a few clients that meet in it with one operation each.
///
/// Of so few steps, a seed tries another order each time; what takes five
/// things in one order is then met in hundreds of seeds, not in millions.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Done one after the other, by one client.
    pub(crate) first: &'static [Duty],
    /// Done at once, by one client each.
    pub(crate) then: &'static [Duty],
}

use Duty::{
    Child, CopyThread, DeleteThread, Fenced, Hide, Maintain, Pin, Remove, RemoveNewest,
    RemoveOldest, Repeat, Reput, Root, Unpin,
};

const SCENES: [Scene; 13] = [
    // The newest record needs a chunk of a removed one, is built on, and goes,
    // while somebody works out what is still needed.
    Scene {
        first: &[Root, Child, RemoveOldest],
        then: &[Child, RemoveNewest, Maintain],
    },
    Scene {
        first: &[Root, Child, RemoveOldest],
        then: &[Child, RemoveNewest, RemoveNewest, Maintain, Maintain],
    },
    Scene {
        first: &[Root, Child, RemoveOldest],
        then: &[Fenced, RemoveNewest, Maintain, Maintain],
    },
    // The same, but it is replaced.
    Scene {
        first: &[Root, Child, RemoveOldest],
        then: &[Child, Reput, Maintain, Maintain],
    },
    // A pack is deleted while a child arrives.
    Scene {
        first: &[Root],
        then: &[Child, RemoveNewest, Maintain, Maintain],
    },
    // A pack is deleted whose child stays.
    Scene {
        first: &[Root, Child, RemoveOldest, Child],
        then: &[Maintain, Maintain, Child, Remove],
    },
    Scene {
        first: &[Root, Reput, Reput, Child],
        then: &[Maintain, Reput, Remove, Maintain],
    },
    // Pins.
    Scene {
        first: &[Root],
        then: &[Pin, RemoveNewest],
    },
    Scene {
        first: &[Root],
        then: &[Pin, RemoveNewest, Pin, RemoveNewest, Maintain],
    },
    // Fences.
    Scene {
        first: &[Root],
        then: &[Fenced, Fenced, Fenced],
    },
    Scene {
        first: &[Root],
        then: &[Fenced, Fenced, Child, RemoveNewest],
    },
    // Lives.
    Scene {
        first: &[],
        then: &[Root, Root, DeleteThread, CopyThread],
    },
    Scene {
        first: &[Root, Child],
        then: &[
            DeleteThread,
            CopyThread,
            Root,
            Child,
            DeleteThread,
            Maintain,
        ],
    },
];

/// What the seed's clients do: first one of them, then all at once.
pub(crate) fn choose(scheduler: &mut Scheduler<'_>) -> (Vec<Duty>, Vec<Vec<Duty>>) {
    if scheduler.below(3) > 0 {
        let scene = &SCENES[scheduler.below(SCENES.len())];
        let then = scene.then.iter().map(|duty| vec![*duty]);
        return (scene.first.to_vec(), then.collect());
    }
    let clients = 2 + scheduler.below(3);
    let duties = 3 + scheduler.below(6);
    let mut all = || (0..duties).map(|_| any(scheduler)).collect();
    (Vec::new(), (0..clients).map(|_| all()).collect())
}

/// Anything, with odds that keep a thread alive for a while.
pub(crate) fn any(scheduler: &mut Scheduler<'_>) -> Duty {
    const ODDS: [(usize, Duty); 13] = [
        (6, Root),
        (2, Reput),
        (12, Child),
        (2, Fenced),
        (6, Remove),
        (1, RemoveOldest),
        (2, Hide),
        (3, Pin),
        (1, Unpin),
        (6, Maintain),
        (1, DeleteThread),
        (2, CopyThread),
        (1, Repeat),
    ];
    let mut n = scheduler.below(ODDS.iter().map(|(odds, _)| odds).sum());
    for (odds, duty) in ODDS {
        if n < odds {
            return duty;
        }
        n -= odds;
    }
    Root
}
