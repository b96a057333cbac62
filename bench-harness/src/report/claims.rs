//! What others have published, beside what was measured.

use super::Run;
use crate::figures;
use crate::scenario::{Claim, Scenario};
use crate::subject::Variant;
use crate::table::Table;

/// The variants that a claim is held against, and what they are called here.
const MEASURED: [(Variant, &str); 3] = [
    (Variant::FullSnapshot, "full snapshots"),
    (Variant::LangGraph, "LangGraph's saver"),
    (Variant::Default, "Chunkpoint"),
];

/// What the section says of itself.
pub(super) const ABOUT: &str = "What others have said of such work, on their machines and in \
    their words, and what was measured here on the same work in one run. A dash is what was not \
    measured.";

/// The columns.
pub(super) fn heads() -> impl Iterator<Item = &'static str> {
    let head = ["claim", "measured in", "claimed before", "claimed after"];
    head.into_iter()
        .chain(MEASURED.iter().map(|(_, name)| *name))
}

/// Each claim of a scenario, and what its runs measured, whatever that says: a row of
/// [`heads`] each.
pub(super) fn rows<'a>(runs: &'a [Run], scenarios: &[Scenario]) -> Vec<(&'a Run, [String; 7])> {
    let mut rows = Vec::new();
    for run in runs {
        let name = &run.result.scenario.name;
        let of = scenarios.iter().filter(|scenario| scenario.name == *name);
        let claims = of.flat_map(|scenario| &scenario.claim);
        rows.extend(claims.map(|claim| (run, row(claim, run))));
    }
    rows
}

/// The section.
pub(super) fn section(runs: &[Run], scenarios: &[Scenario]) -> String {
    let mut table = Table::new(heads()).words(2);
    for (_, row) in rows(runs, scenarios) {
        table.row(row);
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Published claims\n\n{ABOUT}\n\n{}\n",
        table.to_markdown()
    )
}

fn row(claim: &Claim, run: &Run) -> [String; 7] {
    let full = |variant| format!("{variant}.{}", claim.figure);
    let unit = figures::unit(&full(Variant::Default)).unwrap_or(figures::Unit::Ratio);
    let text = |value| figures::format(value, unit);
    let [snapshots, peer, ours] = MEASURED.map(|(variant, _)| {
        let cell = run.result.cell(variant);
        let cell = cell.filter(|cell| cell.verdict.ok);
        let value = cell.and_then(|cell| cell.figures.get(&claim.figure));
        value.map_or_else(|| "–".into(), |value| text(*value))
    });
    [
        claim.name.clone(),
        run.label.clone(),
        claim.before.map_or_else(|| "without bound".into(), text),
        text(claim.after),
        snapshots,
        peer,
        ours,
    ]
}
