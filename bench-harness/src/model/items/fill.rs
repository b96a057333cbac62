//! Fills the stores.

use super::{Pair, Which};
use crate::error::Result;
use crate::measure::PhaseName;
use crate::model::Bench;
use crate::progress::Teller;
use crate::scenario::LongTermStore;
use crate::subject::Variant;
use crate::workload::{Collection, Revision};

/// Puts the items of the stores, in batches. The store that fresh processes open is
/// filled only where there will be any.
pub(in crate::model) async fn fill(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    let mut all = vec![Which::Few, Which::All];
    let opens = bench.job.variant == Variant::Default
        && bench.store(Which::Many.names()[0])?.is_persistent();
    if opens {
        all.push(Which::Many);
    }
    for which in all {
        let pair = bench.open(which).await?;
        let collection = bench.collection(which, model)?;
        let open = bench.recorder.begin(PhaseName::Prepare);
        let bytes = put_all(&pair, &collection, model.batch).await?;
        let phase = bench.recorder.end(open).clone();
        let items = f64::from(collection.len());
        let per_s = items / (phase.wall_ms / 1e3);
        let open = bench.recorder.begin(PhaseName::Footprint);
        let settled = bench.settle(&pair, which).await;
        bench.recorder.end(open);
        settled?;
        let written = pair.io().bytes_written as f64;
        bench.teardown_items(&pair).await?;
        match which {
            Which::All => {
                let recorder = &mut bench.recorder;
                recorder.figure("fill_per_s", per_s);
                recorder.figure("fill_write_amplification", written / bytes as f64);
            }
            Which::Many => {
                let at_rest = bench
                    .store(Which::Many.names()[0])?
                    .footprint()
                    .await?
                    .bytes as f64;
                let namespaces = f64::from(collection.namespaces());
                let recorder = &mut bench.recorder;
                recorder.figure("many_items", items);
                recorder.figure("many_fill_per_s", per_s);
                recorder.figure("many_at_rest_bytes", at_rest);
                recorder.figure("many_namespace_bytes", at_rest / namespaces);
            }
            Which::Few | Which::Large => {}
        }
    }
    Ok(())
}

/// Puts a whole collection, and gives the bytes of its values as JSON.
async fn put_all(pair: &Pair, collection: &Collection, batch: usize) -> Result<u64> {
    let teller = Teller::new("fill", u64::from(collection.len()));
    let mut bytes = 0;
    for namespace in 0..collection.namespaces() {
        let places: Vec<u32> = collection.places(namespace).collect();
        for places in places.chunks(batch) {
            let mut items = Vec::with_capacity(places.len());
            for place in places {
                let value = collection.value(*place, Revision::default());
                bytes += crate::workload::json_len(&value) as u64;
                items.push((collection.key(*place)?, value));
            }
            pair.load(namespace, items).await?;
        }
        teller.at(u64::from(collection.places(namespace).end));
    }
    Ok(bytes)
}
