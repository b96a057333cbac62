//! The cells of a run: in which order they run, how often, and on what.

use std::path::Path;

use super::Run;
use super::service::Service;
use crate::cell::{self, CellReport, Job, Sampling, Stage};
use crate::error::{Error, Result};
use crate::result::Cell;
use crate::scenario::Model;
use crate::subject::{Site, Variant, peer, snapshot_len};
use crate::workload::Rng;

/// The stream of random numbers that orders repetitions, unlike any of a workload.
const ORDER: u64 = 0x006f_7264_6572;

impl Run<'_> {
    /// Runs all cells as often as was asked for. What changes on the machine meanwhile
    /// should not be one variant's: each repetition runs all of them, in an order of its
    /// own. The first repetition keeps the scenario's order.
    pub(super) fn cells(
        &self,
        site: &Site,
        service: &Service,
        scratch: &Path,
    ) -> Result<Vec<Cell>> {
        let chosen = |variant: &Variant| {
            self.options.variants.is_empty() || self.options.variants.contains(variant)
        };
        let variants: Vec<_> = self.variants(site.kind).filter(chosen).collect();
        let able: Vec<_> = (0..variants.len())
            .filter(|&at| self.obstacle(variants[at]).is_none())
            .collect();
        let mut reports: Vec<Vec<CellReport>> = variants.iter().map(|_| Vec::new()).collect();
        for repetition in 0..self.options.repeats.max(1) {
            let mut order = able.clone();
            if repetition > 0 {
                shuffle(&mut order, repetition as u64);
            }
            for at in order {
                let has_failed = |one: &CellReport| !one.failures.is_empty();
                if reports[at].iter().any(has_failed) {
                    continue;
                }
                reports[at].push(self.cell(site, service, variants[at], scratch)?);
            }
        }
        let cell = |(&variant, reports): (&Variant, Vec<CellReport>)| {
            let baseline = self.scenario.cells.baselines.contains(&variant);
            match self.obstacle(variant) {
                Some(why) => Ok(Cell::skipped(variant, baseline, why)),
                None => Cell::of(reports, baseline),
            }
        };
        variants.iter().zip(reports).map(cell).collect()
    }

    /// Runs one cell once, on storage of its own.
    fn cell(
        &self,
        site: &Site,
        service: &Service,
        variant: Variant,
        scratch: &Path,
    ) -> Result<CellReport> {
        let store = scratch.join(format!("store-{variant}"));
        let desk = scratch.join(format!("desk-{variant}"));
        let site = Site {
            directory: store.clone(),
            server: service.server(),
            ..site.clone()
        };
        let before = service.memory_bytes();
        let mut report = cell::run(&self.job(&site, variant, &desk)?)?;
        if let Some((before, after)) = before.zip(service.memory_bytes()) {
            let mut book = |name: &str, bytes| report.figures.insert(name.into(), bytes);
            book("server_rss_bytes", after as f64);
            book("server_rss_growth_bytes", after as f64 - before as f64);
        }
        service.clear(&site)?;
        for left in [store, desk] {
            if left.exists() {
                std::fs::remove_dir_all(&left).map_err(|e| Error::io("remove", &left, e))?;
            }
        }
        Ok(report)
    }

    /// Why a variant cannot run; `None` if it can.
    fn obstacle(&self, variant: Variant) -> Option<String> {
        match variant {
            Variant::Floor if self.scenario.load.clients > 1 => {
                Some("the floor needs the bytes of each commit, which only one client gives".into())
            }
            Variant::LangGraph => peer::python::check().err(),
            _ => None,
        }
    }

    fn job(&self, site: &Site, variant: Variant, desk: &Path) -> Result<Job> {
        std::fs::create_dir_all(desk).map_err(|e| Error::io("create", desk, e))?;
        Ok(Job {
            scenario: self.scenario.clone(),
            site: site.clone(),
            variant,
            stages: Stage::of(&self.scenario.model, site.kind, variant),
            repetition: 0,
            sampling: self.sampling(variant),
            desk: desk.to_path_buf(),
            trace: self.trace.clone(),
            workload: self.workload.clone(),
            corrupt_oracle: self.options.corrupt_oracle,
        })
    }

    /// Full snapshots are sampled where all of them would exceed the budget.
    fn sampling(&self, variant: Variant) -> Sampling {
        if !variant.writes_whole_states() {
            return Sampling::All;
        }
        let workload = self.workload.conversations();
        let total = snapshot_len(workload.snapshot_messages, workload.snapshot_bytes);
        let budget = self.options.snapshot_budget_bytes.max(1);
        match &self.scenario.model {
            Model::SingleSession(_) => Sampling::AtLengths,
            // It stops before.
            Model::Retention(_) => Sampling::All,
            _ if total <= budget => Sampling::All,
            _ => Sampling::Every(total.div_ceil(budget)),
        }
    }
}

/// Puts them in the order of a repetition.
fn shuffle(order: &mut [usize], repetition: u64) {
    Rng::at(&[ORDER, repetition]).shuffle(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repetition_has_all_cells_in_an_order_of_its_own() {
        let order = |repetition| {
            let mut order: Vec<_> = (0..7).collect();
            shuffle(&mut order, repetition);
            order
        };
        assert_ne!(order(1), order(2));
        assert_eq!(order(3), order(3));
        let mut all = order(4);
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
    }
}
