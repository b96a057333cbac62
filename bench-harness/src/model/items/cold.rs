//! A store of many items, opened by a process that has just started.

use chunkpoint_core::store::item_key;

use super::Which;
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::model::Bench;
use crate::scenario::LongTermStore;
use crate::subject::items::ItemOp;
use crate::workload::{Query, Rng, Step, Wanted};

/// Tells the stream that chooses what is read.
const COLD: u64 = 0xc01d;

/// Opens the store, gets one item, and searches one namespace.
pub(in crate::model) async fn cold(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    // Made first, and kept: the harness's memory is there before anything is measured.
    let oracle = bench.first_oracle(Which::Many, model)?;
    let rng = &mut Rng::at(&[bench.items()?.seed, COLD]);
    let get = Step::Get(oracle.collection().draw(rng));
    let another = oracle.collection().draw(rng);
    let search = Step::Search(Query {
        namespace: oracle.collection().namespace_of(another),
        wanted: Wanted::draw(rng),
        offset: 0,
        limit: model.page,
    });
    let pair = bench.open(Which::Many).await?;
    // One trivial operation: an item that is not there.
    let open = bench.recorder.begin(PhaseName::WarmUp);
    let nothing = item_key(&["nobody"], "nothing").map_err(Error::engine("name an item"))?;
    pair.run(u32::MAX, ItemOp::Get(nothing)).await?;
    bench.recorder.end(open);
    let opening = pair.io();

    let steps = [("cold_get", get), ("cold_search", search)];
    let ops = [oracle.op(get)?, oracle.op(search)?];
    let open = bench.recorder.begin(PhaseName::Measure);
    let mut runs = Vec::new();
    for ((_, step), op) in steps.into_iter().zip(ops) {
        runs.push(pair.run(oracle.namespace_of(step), op).await?);
    }
    let memory = bench.recorder.end(open).memory;

    let recorder = &mut bench.recorder;
    recorder.figure("cold_open_bytes_read", opening.bytes_read as f64);
    let grown = memory.rss_growth_bytes().map(|bytes| bytes as f64);
    recorder.figure("cold_rss_growth_bytes", grown);
    recorder.figure(
        "cold_rss_bytes",
        memory.rss_end_bytes.map(|bytes| bytes as f64),
    );
    for ((name, step), run) in steps.into_iter().zip(runs) {
        let recorder = &mut bench.recorder;
        run.book(&name.replace('_', "-"), recorder)?;
        recorder.figure(&format!("{name}_bytes_read"), run.io.bytes_read as f64);
        recorder.figure(&format!("{name}_reads"), run.io.reads as f64);
        bench.check(oracle.check(step, &run.value));
    }
    bench.teardown_items(&pair).await
}
