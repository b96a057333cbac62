//! Clients of one object store, interleaved request by request.
//!
//! A seed makes everything: what each client does, whose request is next, who
//! crashes, when an observer looks. The observer reads between two requests,
//! so it sees single moments, and compares them with what was acknowledged.
//!
//! `CHUNKPOINT_SEEDS=n` runs n seeds instead of the default; a failure prints
//! the line that replays it with a trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::future_not_send,
    reason = "the scheduler runs everything on one thread"
)]

mod client;
mod ledger;
mod scene;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use chunkpoint_testkit::objects::{ObjectBackend, ObjectMap, Scheduler};
use futures::task::noop_waker_ref;

use client::Client;
use ledger::Ledger;
use scene::Duty;

/// Seeds for each of the two kinds of store.
const SEEDS: u64 = 5_000;

/// The threads that clients meet in.
const THREADS: [&str; 2] = ["t", "u"];

/// More requests than any schedule needs; beyond, clients block each other.
const MOST_STEPS: usize = 500_000;

/// What the clients of one schedule share.
struct World {
    map: Arc<ObjectMap>,
    ledger: RefCell<Ledger>,
    trace: bool,
}

impl World {
    fn trace(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", line());
        }
    }
}

fn run(conditional: bool, seed: u64, trace: bool) {
    let mut scheduler = Scheduler::new(seed);
    // Small pages, so that a listing is many moments, and large ones.
    let page = [2, 5, 1_000][scheduler.below(3)];
    let world = Rc::new(World {
        map: ObjectMap::new(conditional, page),
        ledger: RefCell::default(),
        trace,
    });
    // How likely a crash is at each step, in 10,000, and how many at most.
    let crashes = [0, 0, 50, 200][scheduler.below(4)];
    let mut crashes_left = 6;
    let looks = [0, 0, 20, 100][scheduler.below(4)];
    match scheduler.below(4) {
        0 => {}
        1 => scheduler.stall(8, 60),
        2 => scheduler.stall(20, 200),
        _ => scheduler.stall(60, 1_000),
    }
    let (first, then) = scene::choose(&mut scheduler);
    at_once(Client::new(world.clone(), seed).run(first));
    for (n, duties) in (1..).zip(then) {
        let client = Client::new(world.clone(), seed ^ (n << 32));
        scheduler.spawn(client.run(duties));
    }
    let observer = ObjectBackend::new(world.map.clone());
    for step in 0.. {
        assert!(step < MOST_STEPS, "the clients do not come to an end");
        let Some(client) = scheduler.step() else {
            break;
        };
        if crashes_left > 0 && scheduler.below(10_000) < crashes {
            crashes_left -= 1;
            world.trace(|| format!("step {step}: client {client} crashes"));
            scheduler.crash(client);
            let next = Client::new(world.clone(), seed ^ ((step as u64 + 9) << 40));
            let duties = vec![scene::any(&mut scheduler), Duty::Repeat];
            scheduler.spawn(next.run(duties));
        }
        if scheduler.below(1_000) < looks {
            world.ledger.borrow_mut().look(&observer);
        }
    }
    world.ledger.borrow_mut().look(&observer);
    // Whatever was left half done can be brought to an end by anyone.
    for _ in 0..2 {
        let last = Client::new(world.clone(), seed);
        at_once(last.maintain_all());
        world.ledger.borrow_mut().look(&observer);
    }
    at_once(Client::new(world.clone(), seed).extend_all());
    world.ledger.borrow_mut().look(&observer);
}

/// Runs a future to its end between two requests of the others.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(noop_waker_ref());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn run_all(conditional: bool, test: &str) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Some(seed) = number("CHUNKPOINT_SEED") {
        run(conditional, seed, true);
        return;
    }
    for seed in 0..number("CHUNKPOINT_SEEDS").unwrap_or(SEEDS) {
        let result = catch_unwind(AssertUnwindSafe(|| run(conditional, seed, false)));
        if let Err(panic) = result {
            println!(
                "replay with: CHUNKPOINT_SEED={seed} cargo test -p chunkpoint-testkit \
                 --test interleave {test} -- --nocapture"
            );
            resume_unwind(panic);
        }
    }
}

#[test]
fn with_create_if_absent() {
    run_all(true, "with_create_if_absent");
}

#[test]
fn without_create_if_absent() {
    run_all(false, "without_create_if_absent");
}
