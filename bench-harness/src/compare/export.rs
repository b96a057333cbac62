//! Results in the formats of services that plot benchmarks over time.

use serde_json::{Map, Value, json};

use super::pair::{self, Loaded};
use crate::error::Result;
use crate::figures::{self, Better, Unit};
use crate::result::{Cell, RunResult};
use crate::subject::Variant;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// `customSmallerIsBetter` of github-action-benchmark: throughput is left out.
    GithubActionBenchmark,
    /// Bencher Metric Format: a benchmark for each run and variant, a measure for each
    /// figure.
    Bencher,
}

/// One figure of a result.
struct Entry<'a> {
    run: &'a RunResult,
    cell: &'a Cell,
    figure: &'a str,
    value: f64,
    unit: Unit,
    better: Better,
}

/// The figures of the newest run of each name that have a direction, of these variants.
///
/// # Errors
/// Never, unless JSON cannot be written to memory.
pub(super) fn export(results: Vec<Loaded>, variants: &[Variant], format: Format) -> Result<String> {
    let newest = pair::newest(results);
    let entries = newest.values().flat_map(|(_, run)| entries(run, variants));
    let value = match format {
        Format::GithubActionBenchmark => {
            let smaller = entries.filter(|entry| entry.better == Better::Lower);
            Value::Array(smaller.map(|entry| github(&entry)).collect())
        }
        Format::Bencher => bencher(entries),
    };
    super::command::to_json(&value)
}

fn entries<'a>(run: &'a RunResult, variants: &'a [Variant]) -> impl Iterator<Item = Entry<'a>> {
    let chosen = |cell: &&Cell| cell.verdict.ok && variants.contains(&cell.variant);
    run.cells.iter().filter(chosen).flat_map(move |cell| {
        cell.figures.iter().filter_map(move |(figure, &value)| {
            let full = format!("{}.{figure}", cell.variant);
            Some(Entry {
                run,
                cell,
                figure,
                value,
                unit: figures::unit(&full)?,
                better: figures::judged(&full)?.better,
            })
        })
    })
}

/// See <https://github.com/benchmark-action/github-action-benchmark>.
fn github(entry: &Entry<'_>) -> Value {
    let unit = match entry.unit {
        Unit::Bytes => "B",
        Unit::Nanos => "ns",
        Unit::Megabytes => "MB",
        Unit::Count | Unit::Ratio => "",
    };
    let mut out = json!({
        "name": format!("{}, {}, {}", entry.run.name(), entry.cell.variant, entry.figure),
        "unit": unit,
        "value": entry.value,
        "extra": format!(
            "{} on {}, started {}",
            entry.run.harness.label(),
            entry.run.machine,
            entry.run.started
        ),
    });
    if let Some((low, high)) = entry.cell.spread(entry.figure) {
        out["range"] = format!("{low} to {high}").into();
    }
    out
}

/// See <https://bencher.dev/docs/reference/bencher-metric-format/>.
fn bencher<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Value {
    let mut benchmarks = Map::new();
    for entry in entries {
        let name = format!("{}, {}", entry.run.name(), entry.cell.variant);
        let mut metric = json!({ "value": entry.value });
        if let Some((low, high)) = entry.cell.spread(entry.figure) {
            metric["lower_value"] = low.into();
            metric["upper_value"] = high.into();
        }
        let measures = benchmarks.entry(name).or_insert_with(|| json!({}));
        measures[entry.figure.replace('_', "-")] = metric;
    }
    Value::Object(benchmarks)
}
