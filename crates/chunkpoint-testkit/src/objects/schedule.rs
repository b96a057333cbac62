//! [`Scheduler`]: runs clients one step at a time, in an order made by a seed.

use std::fmt;
use std::task::Context;

use futures::future::{FutureExt, LocalBoxFuture};
use futures::task::noop_waker_ref;

/// An executor of one thread whose every choice comes from a seed. Futures
/// must yield between steps, as [`ObjectMap`](super::ObjectMap) does, and wait
/// for nothing but each other.
///
/// Choosing evenly, clients stay abreast, and what goes wrong only if one is
/// overtaken by all that another does is hardly ever tried. So a client may
/// be made to stall: with the odds given, it falls asleep for a while after a step.
pub struct Scheduler<'a> {
    state: u64,
    clients: Vec<Option<LocalBoxFuture<'a, ()>>>,
    /// Until which step each client sleeps.
    asleep: Vec<usize>,
    steps: usize,
    stall_odds: usize,
    stall_steps: usize,
}

impl<'a> Scheduler<'a> {
    /// No clients yet.
    pub fn new(seed: u64) -> Self {
        Self {
            // SplitMix64 may start anywhere.
            state: seed,
            clients: Vec::new(),
            asleep: Vec::new(),
            steps: 0,
            stall_odds: 0,
            stall_steps: 0,
        }
    }

    /// Lets clients stall: after one step in `odds` (never if 0), for fewer
    /// than `steps` steps of others.
    pub fn stall(&mut self, odds: usize, steps: usize) {
        (self.stall_odds, self.stall_steps) = (odds, steps);
    }

    /// Adds a client, and returns its number.
    pub fn spawn(&mut self, client: impl Future<Output = ()> + 'a) -> usize {
        self.clients.push(Some(client.boxed_local()));
        self.asleep.push(0);
        self.clients.len() - 1
    }

    /// A number below `n`, from the seed. 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z % n.max(1) as u64) as usize
    }

    /// Clients that have not ended or crashed.
    pub fn running(&self) -> Vec<usize> {
        let clients = self.clients.iter().enumerate();
        clients
            .filter_map(|(n, client)| client.as_ref().map(|_| n))
            .collect()
    }

    /// Runs some client's next step, and returns which; `None` once all have ended.
    pub fn step(&mut self) -> Option<usize> {
        self.steps += 1;
        let mut running = self.running();
        let awake = |n: &usize| self.asleep[*n] <= self.steps;
        if running.iter().any(awake) {
            running.retain(awake);
        }
        let n = *running.get(self.below(running.len()))?;
        if self.stall_odds > 0 && self.below(self.stall_odds) == 0 {
            self.asleep[n] = self.steps + self.below(self.stall_steps);
        }
        let client = self.clients[n].as_mut()?;
        let mut context = Context::from_waker(noop_waker_ref());
        if client.poll_unpin(&mut context).is_ready() {
            self.clients[n] = None;
        }
        Some(n)
    }

    /// Drops a client where it stands.
    pub fn crash(&mut self, client: usize) {
        self.clients[client] = None;
    }
}

impl fmt::Debug for Scheduler<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}
