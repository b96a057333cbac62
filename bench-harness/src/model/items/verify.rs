//! Reads every item back and compares it with the oracle.

use std::collections::VecDeque;

use chunkpoint_core::store::{ItemKey, Search};

use super::{Pair, Which, large};
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::model::Bench;
use crate::progress::Teller;
use crate::scenario::LongTermStore;
use crate::subject::items::{ItemAnswer, ItemOp};
use crate::workload::{ItemOracle, Members, compare};

/// Items of a page.
const PAGE: usize = 500;

/// Goes through all items of the stores that were changed: each must be right, in its
/// place, and there must be no other.
pub(in crate::model) async fn verify(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    for which in [Which::Few, Which::All] {
        let pair = bench.open(which).await?;
        let open = bench.recorder.begin(PhaseName::Verify);
        let collection = bench.collection(which, model)?;
        let job = bench.job;
        let name = which.names()[0];
        let oracle = ItemOracle::open(collection, job.corrupt_oracle, &job.desk, name)?;
        let verified = walk(bench, &pair, &oracle).await?;
        bench.recorder.end(open);
        if which == Which::All {
            bench.recorder.figure("items_verified", verified as f64);
        }
        bench.teardown_items(&pair).await?;
    }
    large::verify(bench, model).await
}

/// Reads everything, page after page. Gives the number of items of right pages.
async fn walk(bench: &mut Bench<'_>, pair: &Pair, oracle: &ItemOracle) -> Result<usize> {
    let teller = Teller::new("verify", oracle.len() as u64);
    let mut namespaces = 0..oracle.collection().namespaces();
    let mut expected: VecDeque<(ItemKey, Members)> = VecDeque::new();
    let (mut after, mut seen, mut verified) = (None, 0, 0);
    loop {
        let page = read(pair, after).await?;
        // One more than there are: at the end it must be missing as well.
        while expected.len() <= page.len()
            && let Some(namespace) = namespaces.next()
        {
            expected.extend(oracle.items(namespace)?);
        }
        let is_last = page.len() < PAGE;
        let right = match is_last {
            true => expected.len(),
            false => page.len().min(expected.len()),
        };
        let outcome = compare(&page, expected.drain(..right));
        verified += if outcome.is_ok() { page.len() } else { 0 };
        bench.check(outcome);
        seen += page.len();
        teller.at(seen as u64);
        if is_last || bench.is_hopeless() {
            return Ok(verified);
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}

async fn read(pair: &Pair, after: Option<ItemKey>) -> Result<Vec<(ItemKey, Members)>> {
    let everything: [&str; 0] = [];
    let search = Search::below(&everything).map_err(Error::engine("make a search"))?;
    let search = Search { after, ..search };
    match pair.run(0, ItemOp::Search(search.limit(PAGE))).await?.value {
        ItemAnswer::Items(items) => Ok(items),
        _ => Err(Error::Cell(
            "a variant without items is not verified".into(),
        )),
    }
}
