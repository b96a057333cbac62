//! Compares results: what is better, what is worse, and what cannot be told.
//!
//! Runs are matched by what they measure, cells by their variant. A figure that follows
//! from the work (bytes, calls, round trips) is compared as it is. One that is measured
//! (time, memory) is judged only where both runs repeated it: it has changed if a 99.9 %
//! interval of the ratio of the medians leaves 1 out, and the ratio exceeds both the
//! figure's tolerance and the noise that the repetitions have among themselves.

mod bootstrap;
mod command;
mod export;
mod pair;
mod print;
mod verdict;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::{self, Judged, Nature};
use crate::result::{Cell, RunResult};
use crate::subject::Variant;

pub use command::{CompareArgs, ExportArgs, compare as run_compare, export as run_export};
pub use verdict::{Judgement, Verdict};

use pair::{Caution, Loaded};
use verdict::Values;

/// Two sets of results beside each other.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The runs that are in both.
    pub runs: Vec<RunPair>,
    /// Names of runs that are only in the base.
    pub only_base: Vec<String>,
    /// Names of runs that are only in the new set.
    pub only_new: Vec<String>,
}

/// A run, then and now.
#[derive(Debug, Clone, Serialize)]
pub struct RunPair {
    /// Scenario, backend and durability.
    pub name: String,
    /// The base.
    pub base: Side,
    /// What is compared with it.
    pub new: Side,
    /// What differs besides.
    pub warnings: Vec<String>,
    /// The variants that the base has.
    pub cells: Vec<CellPair>,
}

/// Where a run comes from.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// The file.
    pub path: String,
    /// When it began.
    pub started: String,
    /// What was measured.
    pub revision: String,
}

/// A variant, then and now.
#[derive(Debug, Clone, Serialize)]
pub struct CellPair {
    /// Which.
    pub variant: Variant,
    /// Why the new one is not to be believed, where the base is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Why it is not there, where the base is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The figures that both have.
    pub figures: Vec<Finding>,
}

/// A figure, then and now.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its name, without the variant.
    pub figure: String,
    /// The base's value.
    pub base: f64,
    /// The new one.
    pub new: f64,
    /// How many repetitions the base and the new one have.
    pub repeats: [usize; 2],
    /// Where its noise comes from.
    pub nature: Nature,
    /// What is said of it, and on what grounds.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// What a gate looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GateOn {
    /// Bytes, calls and round trips only: they need no repetitions and no quiet machine.
    Deterministic,
    /// Whatever is judged.
    All,
}

impl Comparison {
    /// Compares all runs of one set with those of another.
    pub fn of(base: Vec<Loaded>, new: Vec<Loaded>) -> Self {
        let base = pair::newest(base);
        let mut new = pair::newest(new);
        let (mut runs, mut only_base) = (Vec::new(), Vec::new());
        for (name, base) in base {
            match new.remove(&name) {
                Some(new) => runs.push(pair_of(name, &base, &new)),
                None => only_base.push(name),
            }
        }
        Self {
            runs,
            only_base,
            only_new: new.into_keys().collect(),
        }
    }

    /// How many figures have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        let cells = self.runs.iter().flat_map(|run| &run.cells);
        cells
            .flat_map(|cell| &cell.figures)
            .filter(|finding| finding.judgement.verdict == verdict)
            .count()
    }

    /// How many regressions a gate sees: figures, and cells that no longer succeed.
    pub fn regressions(&self, on: GateOn) -> usize {
        let counts = |finding: &&Finding| {
            finding.judgement.verdict == Verdict::Regressed
                && (on == GateOn::All || finding.nature == Nature::Deterministic)
        };
        let cells = self.runs.iter().flat_map(|run| &run.cells);
        cells
            .map(|cell| {
                usize::from(cell.failed.is_some()) + cell.figures.iter().filter(counts).count()
            })
            .sum()
    }
}

fn pair_of(name: String, base: &Loaded, new: &Loaded) -> RunPair {
    let side = |(path, run): &Loaded| Side {
        path: path.display().to_string(),
        started: run.started.clone(),
        revision: run.harness.label(),
    };
    let caution = pair::caution(&base.1, &new.1);
    let believed = base.1.cells.iter().filter(|cell| cell.verdict.ok);
    RunPair {
        name,
        base: side(base),
        new: side(new),
        cells: believed
            .map(|cell| cell_pair(cell, &new.1, &caution))
            .collect(),
        warnings: caution.warnings,
    }
}

fn cell_pair(base: &Cell, run: &RunResult, caution: &Caution) -> CellPair {
    let mut out = CellPair {
        variant: base.variant,
        failed: None,
        missing: None,
        figures: Vec::new(),
    };
    match run.cell(base.variant) {
        None => out.missing = Some("not run".into()),
        Some(new) if new.verdict.skipped.is_some() => out.missing = new.verdict.skipped.clone(),
        Some(new) if !new.verdict.ok => out.failed = Some(new.verdict.failures.join("; ")),
        Some(new) => out.figures = findings(base, new, pair::clients(run) > 1, caution),
    }
    out
}

fn findings(base: &Cell, new: &Cell, concurrent: bool, caution: &Caution) -> Vec<Finding> {
    let finding = |(figure, &value): (&String, &f64)| {
        let mut judged = figures::judged(&format!("{}.{figure}", base.variant))?;
        if concurrent {
            judged = Judged {
                nature: Nature::Measured,
                ..judged
            };
        }
        let measured = judged.nature == Nature::Measured;
        let refused = caution.all.or(caution.measured.filter(|_| measured));
        let refused =
            refused.or_else(|| [base, new].into_iter().find_map(|cell| rare(cell, figure)));
        let [base_repeats, new_repeats] = [base, new].map(|cell| repeats(cell, figure));
        let new_value = *new.figures.get(figure)?;
        let judgement = verdict::judge(
            judged,
            Values {
                value,
                repeats: &base_repeats,
            },
            Values {
                value: new_value,
                repeats: &new_repeats,
            },
            refused,
        );
        Some(Finding {
            figure: figure.clone(),
            base: value,
            new: new_value,
            repeats: [base_repeats.len().max(1), new_repeats.len().max(1)],
            nature: judged.nature,
            judgement,
        })
    };
    base.figures.iter().filter_map(finding).collect()
}

/// Operations of which a 99th percentile is made by ten at least.
const FEWEST_OF_P99: f64 = 1_000.0;

/// Why a 99th percentile says nothing, where it is of so few operations that it is about
/// their maximum.
fn rare(cell: &Cell, figure: &str) -> Option<&'static str> {
    let op = figure.strip_suffix("_p99_ns")?;
    let count = cell.figures.get(&format!("{op}_count"))?;
    (*count < FEWEST_OF_P99).then_some("too few operations for a p99")
}

/// Each repetition's value of a figure.
fn repeats(cell: &Cell, figure: &str) -> Vec<f64> {
    let of = |figures: &BTreeMap<String, f64>| figures.get(figure).copied();
    cell.repeats.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests;
