//! A comparison, for people.

use super::{CellPair, Comparison, Finding, RunPair, Verdict};
use crate::figures::{self, Unit};
use crate::table::Table;

/// How a comparison is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Text,
    Markdown,
}

/// The whole comparison; figures that are unchanged or inconclusive only if `all` is set.
pub(super) fn print(comparison: &Comparison, layout: Layout, all: bool) -> String {
    let mut out = format!("{}\n", summary(comparison));
    for run in &comparison.runs {
        out.push_str(&one(run, layout, all));
    }
    for (names, which) in [
        (&comparison.only_base, "base"),
        (&comparison.only_new, "new results"),
    ] {
        if !names.is_empty() {
            let names: String = names.iter().map(|name| format!("{name}; ")).collect();
            out.push_str(&format!(
                "\nOnly in the {which}, so not compared: {}\n",
                names.trim_end_matches("; ")
            ));
        }
    }
    out
}

/// The counts in one line.
pub(super) fn summary(comparison: &Comparison) -> String {
    let [regressed, improved, unchanged, inconclusive] = [
        Verdict::Regressed,
        Verdict::Improved,
        Verdict::Unchanged,
        Verdict::Inconclusive,
    ]
    .map(|verdict| comparison.count(verdict));
    let cells = comparison.runs.iter().flat_map(|run| &run.cells);
    let failed = match cells.filter(|cell| cell.failed.is_some()).count() {
        0 => String::new(),
        failed => format!("{failed} cells FAILED, "),
    };
    format!(
        "{failed}{regressed} regressed, {improved} improved, {unchanged} unchanged, \
         {inconclusive} inconclusive, in {} runs",
        comparison.runs.len()
    )
}

fn one(run: &RunPair, layout: Layout, all: bool) -> String {
    let (heading, item) = match layout {
        Layout::Text => ("", "  "),
        Layout::Markdown => ("### ", "- "),
    };
    let mut out = format!(
        "\n{heading}{}\n\n{item}base {} of {}, new {} of {}\n",
        run.name, run.base.revision, run.base.started, run.new.revision, run.new.started
    );
    for warning in &run.warnings {
        out.push_str(&format!("{item}warning: {warning}\n"));
    }
    let mut table = Table::new([
        "variant",
        "figure",
        "verdict",
        "base",
        "new",
        "new/base",
        "99.9 % from",
        "to",
        "threshold",
        "why",
    ])
    .words(3);
    for cell in &run.cells {
        let lines = [("FAILED", &cell.failed), ("not compared", &cell.missing)];
        for (what, why) in lines {
            if let Some(why) = why {
                out.push_str(&format!("{item}{} {what}: {why}\n", cell.variant));
            }
        }
        rows(cell, all).for_each(|row| table.row(row));
    }
    if !table.is_empty() {
        let table = match layout {
            Layout::Text => table.to_text(),
            Layout::Markdown => table.to_markdown(),
        };
        out.push_str(&format!("\n{table}"));
    }
    out
}

fn rows(cell: &CellPair, all: bool) -> impl Iterator<Item = Vec<String>> {
    let shown = move |finding: &&Finding| {
        let verdict = finding.judgement.verdict;
        all || matches!(verdict, Verdict::Improved | Verdict::Regressed)
    };
    cell.figures.iter().filter(shown).map(|finding| {
        let full = format!("{}.{}", cell.variant, finding.figure);
        let unit = figures::unit(&full).unwrap_or(Unit::Ratio);
        let judgement = &finding.judgement;
        let ratio = |value: Option<f64>| {
            value.map_or_else(|| "–".into(), |value| figures::format(value, Unit::Ratio))
        };
        vec![
            cell.variant.to_string(),
            finding.figure.clone(),
            match judgement.verdict {
                Verdict::Improved => "improved",
                Verdict::Regressed => "REGRESSED",
                Verdict::Unchanged => "unchanged",
                Verdict::Inconclusive => "inconclusive",
            }
            .into(),
            figures::format(finding.base, unit),
            figures::format(finding.new, unit),
            ratio(judgement.ratio),
            ratio(judgement.interval.map(|[low, _]| low)),
            ratio(judgement.interval.map(|[_, high]| high)),
            format!("{:.1} %", judgement.threshold * 100.0),
            judgement.why.unwrap_or_default().into(),
        ]
    })
}
