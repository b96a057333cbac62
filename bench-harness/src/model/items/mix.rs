//! The mix of operations, on few items and on all of them in turns.

use super::traffic::Traffic;
use super::{Pair, Which};
use crate::error::Result;
use crate::measure::{Phase, PhaseName};
use crate::model::Bench;
use crate::progress::Teller;
use crate::scenario::LongTermStore;
use crate::workload::{ItemOracle, Rng, Step};

/// What the operations of the mix are called.
const OPS: [&str; 5] = ["get", "put", "patch", "search", "delete"];
/// Tells the stream of operations from the streams of values.
const MIX: u64 = 0x313;

/// One of the two stores.
struct Side {
    which: Which,
    pair: Pair,
    oracle: ItemOracle,
    traffic: Vec<Traffic>,
}

impl Side {
    async fn open(bench: &mut Bench<'_>, which: Which, model: &LongTermStore) -> Result<Self> {
        Ok(Self {
            which,
            pair: bench.open(which).await?,
            oracle: bench.first_oracle(which, model)?,
            traffic: OPS.map(Traffic::new).into_iter().collect::<Result<_>>()?,
        })
    }

    /// Does operation number `nth`, checks its answer, and books it if that is wanted.
    async fn step(
        &mut self,
        bench: &mut Bench<'_>,
        model: &LongTermStore,
        nth: u64,
        is_recorded: bool,
    ) -> Result<()> {
        // Both sides have the same stream, and so the same kinds of operations.
        let rng = &mut Rng::at(&[bench.items()?.seed, MIX, nth]);
        let step = self.oracle.draw(model.mix, model.page, rng);
        let namespace = self.oracle.namespace_of(step);
        let op = self.oracle.op(step)?;
        let run = self.pair.run(namespace, op).await?;
        if is_recorded {
            self.book(bench, step, &run)?;
        }
        let checked = self.oracle.check(step, &run.value);
        bench.check(checked.map_err(|what| format!("{} {}: {what}", step.name(), self.name())));
        self.oracle.apply(step);
        Ok(())
    }

    fn book(
        &mut self,
        bench: &mut Bench<'_>,
        step: Step,
        run: &crate::model::pair::Timed<crate::subject::items::ItemAnswer>,
    ) -> Result<()> {
        let op = step.name();
        if self.which == Which::Few {
            return bench.recorder.op(&format!("{op}-small"), run.took);
        }
        run.book(op, &mut bench.recorder)?;
        if let Some(traffic) = self.traffic.iter_mut().find(|all| all.prefix() == op) {
            traffic.add(run.io, &run.value);
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.which.names()[0]
    }
}

/// Does the mix on both stores, and weighs what is left at rest.
pub(super) async fn mix(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    let mut all = Side::open(bench, Which::All, model).await?;
    let mut few = Side::open(bench, Which::Few, model).await?;

    let open = bench.recorder.begin(PhaseName::WarmUp);
    for nth in 0..model.warm_up as u64 {
        all.step(bench, model, nth, false).await?;
        few.step(bench, model, nth, false).await?;
    }
    bench.recorder.end(open);

    let before = all.pair.io();
    let open = bench.recorder.begin(PhaseName::Measure);
    let teller = Teller::new("mix", model.operations as u64);
    for done in 0..model.operations as u64 {
        let nth = model.warm_up as u64 + done;
        // Who comes second finds the device as the first has left it.
        let sides = match nth % 2 {
            0 => [&mut all, &mut few],
            _ => [&mut few, &mut all],
        };
        for side in sides {
            side.step(bench, model, nth, true).await?;
        }
        if bench.is_hopeless() {
            break;
        }
        teller.at(done);
    }
    let phase = bench.recorder.end(open).clone();
    bench.io = Some(all.pair.io().since(before));
    book(bench, &all, &phase);
    weigh(bench, &all, &few).await
}

fn book(bench: &mut Bench<'_>, all: &Side, phase: &Phase) {
    let recorder = &mut bench.recorder;
    for traffic in &all.traffic {
        traffic.book(recorder);
    }
    if all.pair.is_accompanied() {
        // The process's memory is mostly that of the engine beside.
        return;
    }
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    let memory = phase.memory;
    recorder.figure("write_rss_peak_bytes", bytes(memory.rss_peak_bytes));
    recorder.figure("write_rss_growth_bytes", bytes(memory.rss_growth_bytes()));
    recorder.figure("write_heap_bytes", bytes(memory.heap_end_bytes));
}

/// Lets go what the grace period held back, closes, and adds up what is at rest.
async fn weigh(bench: &mut Bench<'_>, all: &Side, few: &Side) -> Result<()> {
    let open = bench.recorder.begin(PhaseName::Footprint);
    let settled = bench.settle(&all.pair, all.which).await;
    let closed = all.pair.close().await.and(few.pair.close().await);
    bench.recorder.end(open);
    settled.and(closed)?;
    let footprint = bench.store(all.name())?.footprint().await?;
    bench.book_footprint(footprint);
    for side in [all, few] {
        side.oracle.save(&bench.job.desk, side.name())?;
    }
    let kept = all.oracle.len() as f64;
    bench.recorder.figure("items_kept", kept);
    Ok(())
}
