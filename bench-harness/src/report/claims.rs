//! What others have published, beside what was measured.

use super::Run;
use crate::figures;
use crate::scenario::{Claim, Scenario};
use crate::subject::Variant;
use crate::table::Table;

/// The variants that a claim is held against, and what they are called here.
const MEASURED: &[(Variant, &str)] = &[
    (Variant::FullSnapshot, "full snapshots"),
    (Variant::LangGraph, "LangGraph's saver"),
    (Variant::Default, "Chunkpoint"),
];

/// The section: each claim of a scenario, and what its runs measured, whatever that says.
pub(super) fn section(runs: &[Run], scenarios: &[Scenario]) -> String {
    let head = ["claim", "measured in", "claimed before", "claimed after"];
    let measured = MEASURED.iter().map(|(_, name)| *name);
    let mut table = Table::new(head.into_iter().chain(measured)).words(2);
    for run in runs {
        let name = &run.result.scenario.name;
        let of = scenarios.iter().filter(|scenario| scenario.name == *name);
        for claim in of.flat_map(|scenario| &scenario.claim) {
            table.row(row(claim, run));
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Published claims\n\nWhat others have said of such work, on their machines and in their \
         words, and what was measured here on the same work in one run. A dash is what was not \
         measured.\n\n{}\n",
        table.to_markdown()
    )
}

fn row(claim: &Claim, run: &Run) -> Vec<String> {
    let full = |variant| format!("{variant}.{}", claim.figure);
    let unit = figures::unit(&full(Variant::Default)).unwrap_or(figures::Unit::Ratio);
    let text = |value| figures::format(value, unit);
    let mut row = vec![
        claim.name.clone(),
        run.label.clone(),
        text(claim.before),
        text(claim.after),
    ];
    for (variant, _) in MEASURED {
        let cell = run.result.cell(*variant);
        let cell = cell.filter(|cell| cell.verdict.ok);
        let value = cell.and_then(|cell| cell.figures.get(&claim.figure));
        row.push(value.map_or_else(|| "–".into(), |value| text(*value)));
    }
    row
}
