//! A store of many items, opened by a process that has just started.

use chunkpoint_core::store::item_key;

use super::Which;
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::model::Bench;
use crate::scenario::LongTermStore;
use crate::subject::items::ItemOp;
use crate::workload::{Collection, Query, Rng, Step, Wanted};

/// Tells the stream that chooses what is read.
const COLD: u64 = 0xc01d;

/// Opens the store, gets one item, and searches one namespace.
pub(in crate::model) async fn cold(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    // Made first, and kept: the harness's memory is there before anything is measured.
    let oracle = bench.first_oracle(Which::Many, model)?;
    let seeds = [bench.items()?.seed, bench.job.repetition as u64];
    let [get, search] = steps(oracle.collection(), seeds, model.page);
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

/// A get, and a search of another namespace: what the get has read would make it no first
/// one. Every repetition draws others.
fn steps(collection: &Collection, [seed, repetition]: [u64; 2], page: usize) -> [Step; 2] {
    let rng = &mut Rng::at(&[seed, COLD, repetition]);
    let place = collection.draw(rng);
    let taken = collection.namespace_of(place);
    let mut namespace = collection.namespace_of(collection.draw(rng));
    while namespace == taken && collection.namespaces() > 1 {
        namespace = collection.namespace_of(collection.draw(rng));
    }
    let search = Query {
        namespace,
        wanted: Wanted::draw(rng),
        offset: 0,
        limit: page,
    };
    [Step::Get(place), Step::Search(search)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{ItemKind, Items};
    use crate::workload::Quantiles;

    #[test]
    fn every_repetition_looks_for_others() {
        // Of Zipf's law, so that the same namespace is often drawn twice.
        let spec = Items {
            items: 10_000,
            namespaces: 3,
            seed: 1,
            popularity: 2.0,
            kinds: vec![ItemKind {
                name: "fact".into(),
                share: 1.0,
                bytes: Quantiles::try_from(vec![(0.0, 100.0), (1.0, 200.0)]).unwrap(),
            }],
        };
        let many = Collection::new(&spec, spec.items, spec.namespaces, 2);
        let drawn: Vec<_> = (0..20).map(|nth| steps(&many, [1, nth], 10)).collect();
        for [get, search] in &drawn {
            let (Step::Get(place), Step::Search(query)) = (get, search) else {
                panic!("{get:?}, {search:?}");
            };
            assert_ne!(many.namespace_of(*place), query.namespace);
        }
        for (nth, [get, _]) in drawn.iter().enumerate() {
            assert!(drawn[..nth].iter().all(|[other, _]| other != get), "{nth}");
        }
        assert_eq!(drawn[7], steps(&many, [1, 7], 10));
    }
}
