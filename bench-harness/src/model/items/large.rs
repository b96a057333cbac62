//! One large value of which single fields are patched.

use chunkpoint_core::store::{ItemKey, item_key};

use super::Which;
use super::traffic::Traffic;
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::model::Bench;
use crate::progress::Teller;
use crate::scenario::LongTermStore;
use crate::subject::items::{ItemAnswer, ItemOp};
use crate::workload::{Field, LargeValue, compare};

/// The number of the only namespace, for the floor.
const NAMESPACE: u32 = 0;
/// The two ways to choose the field, and what the operation is called.
const WAYS: [(Field, &str, &str); 2] = [
    (Field::Same, "patch-large", "patch_large"),
    (Field::Scattered, "patch-scattered", "patch_scattered"),
];

fn key() -> Result<ItemKey> {
    item_key(&["memories", "project"], "notes").map_err(Error::engine("name an item"))
}

/// Puts the value, patches one field of it over and over, then another each time, and
/// weighs what is left at rest.
pub(super) async fn patch(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    let pair = bench.open(Which::Large).await?;
    let open = bench.recorder.begin(PhaseName::Prepare);
    let mut large = LargeValue::new(bench.items()?.seed, model.large_bytes);
    let size = crate::workload::json_len(large.value()) as f64;
    bench.recorder.figure("large_value_bytes", size);
    let put = ItemOp::Put(key()?, large.value().clone());
    pair.run(NAMESPACE, put).await?;
    bench.recorder.end(open);

    let open = bench.recorder.begin(PhaseName::Measure);
    let teller = Teller::new("patch", 2 * model.large_patches as u64);
    for (field, op, prefix) in WAYS {
        let mut traffic = Traffic::new(prefix)?;
        for nth in 1..=model.large_patches as u64 {
            let patch = large.patch(field, nth);
            let run = pair.run(NAMESPACE, ItemOp::Patch(key()?, patch)).await?;
            run.book(op, &mut bench.recorder)?;
            traffic.add(run.io, &run.value);
            teller.at(nth);
        }
        traffic.book(&mut bench.recorder);
    }
    let memory = bench.recorder.end(open).memory;
    let grown = memory.rss_growth_bytes().filter(|_| !pair.is_accompanied());
    let grown = grown.map(|bytes| bytes as f64);
    bench.recorder.figure("large_rss_growth_bytes", grown);

    let open = bench.recorder.begin(PhaseName::Footprint);
    let settled = bench.settle(&pair, Which::Large).await;
    let closed = pair.close().await;
    bench.recorder.end(open);
    settled.and(closed)?;
    let bytes = bench
        .store(Which::Large.names()[0])?
        .footprint()
        .await?
        .bytes as f64;
    bench.recorder.figure("large_at_rest_bytes", bytes);
    Ok(())
}

/// Reads the value back and compares it with one to which all patches were made.
pub(super) async fn verify(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    let mut expected = LargeValue::new(bench.items()?.seed, model.large_bytes);
    for (field, ..) in WAYS {
        for nth in 1..=model.large_patches as u64 {
            expected.patch(field, nth);
        }
    }
    if bench.job.corrupt_oracle {
        expected.patch(Field::Same, 0);
    }
    let pair = bench.open(Which::Large).await?;
    let open = bench.recorder.begin(PhaseName::Verify);
    let got = pair.run(NAMESPACE, ItemOp::Get(key()?)).await?;
    bench.recorder.end(open);
    bench.check(match got.value {
        ItemAnswer::Items(items) => compare(&items, [(key()?, expected.value().clone())]),
        _ => Err("the large value was not read".into()),
    });
    bench.teardown_items(&pair).await
}
