//! Runs the code before it is measured.

use std::sync::Arc;

use super::writer::change;
use super::{Bench, open_on};
use crate::error::Result;
use crate::measure::PhaseName;
use crate::subject::{Op, Store};

/// The most commits of a warm-up.
const STEPS: usize = 200;
/// Messages of its tail read.
const TAIL: usize = 20;

/// Puts the start of the workload's first conversation on storage of its own,
/// reads it, and removes it. Pages in the code, fills the allocator's and the file
/// system's caches; the cache of the engine that is measured stays cold.
pub(super) async fn warm_up(bench: &mut Bench<'_>) -> Result<()> {
    let open = bench.recorder.begin(PhaseName::WarmUp);
    let done = run(bench).await;
    bench.recorder.end(open);
    done
}

async fn run(bench: &Bench<'_>) -> Result<()> {
    let Some(conversation) = bench.conversations()?.next() else {
        return Ok(());
    };
    let conversation = Arc::new(conversation?.first(STEPS));
    let job = bench.job;
    let site = job.site.at(job.desk.clone());
    let provision = |name| Store::provision(&site, name);
    let (store, leader_store) = (provision("warm-up")?, provision("warm-up-leader")?);
    let opened = open_on(job.variant, &store, &leader_store, &job.scenario.settings).await?;
    let mut sessions = opened.session(0, &conversation)?;
    for step in 0..conversation.len() {
        sessions.put(change(&conversation, step)).await?;
    }
    sessions.read(Op::Load, TAIL).await?;
    sessions.read(Op::Tail, TAIL).await?;
    drop(sessions);
    opened.close().await?;
    drop(opened);
    store.remove().await?;
    leader_store.remove().await
}
