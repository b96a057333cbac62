//! The program, run as its users run it, on tiny workloads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod checkpoints;
mod databases;
mod items;
mod peers;
mod place;
mod program;
