//! The report: markdown made from results and nothing else.

mod chart;
mod claims;
mod sections;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::measure::Environment;
use crate::result::{Profile, RunResult, load_all};
use crate::scenario::{Catalogue, Entry, Scenario};

/// How the figures come about, what limits them, and which way they lean.
const METHOD: &str = include_str!("method.md");

/// Makes `README.md` in the root of the results, and gives its path.
///
/// # Errors
/// I/O errors; `Input` with the path of a result that does not fit the schema.
pub fn make(root: &Path) -> Result<PathBuf> {
    let runs = latest(root, load_all(root)?);
    let catalogue = Catalogue::open("scenarios".as_ref())?;
    let scenarios = catalogue.entries().iter().map(Entry::parse);
    let scenarios: Vec<_> = scenarios.collect::<Result<_>>()?;
    let path = root.join("README.md");
    std::fs::write(&path, render(&runs, &scenarios)).map_err(|e| Error::io("write", &path, e))?;
    Ok(path)
}

/// One run of the report.
#[derive(Debug)]
struct Run {
    /// The file, from the root of the results.
    path: String,
    /// Scenario, backend, durability and machine in one line: what stands beside
    /// every figure.
    label: String,
    result: RunResult,
}

/// Of the results that measure the same, the newest whose variants all ran, else the
/// newest; in the order of their labels, full runs before quick ones.
fn latest(root: &Path, results: Vec<(PathBuf, RunResult)>) -> Vec<Run> {
    let machines = machines(results.iter().map(|(_, result)| result));
    let mut newest: BTreeMap<_, (PathBuf, RunResult)> = BTreeMap::new();
    for (path, result) in results {
        let quick = result.scenario.profile == Profile::Quick;
        let machine = machines.get(&result.machine).cloned().unwrap_or_default();
        let key = (quick, label(&result, &machine));
        let rank = |run: &RunResult| (complete(run), run.started.clone());
        let kept = newest
            .get(&key)
            .is_some_and(|(_, kept)| rank(kept) > rank(&result));
        if !kept {
            newest.insert(key, (path, result));
        }
    }
    let run = |((_, label), (path, result)): ((bool, String), (PathBuf, RunResult))| {
        let path = path.strip_prefix(root).unwrap_or(&path);
        let parts = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        Run {
            path: parts.collect::<Vec<_>>().join("/"),
            label,
            result,
        }
    };
    newest.into_iter().map(run).collect()
}

/// Whether all that the scenario compares ran and is to be believed.
fn complete(result: &RunResult) -> bool {
    let believed = |variant| result.cell(variant).is_some_and(|cell| cell.verdict.ok);
    result
        .scenario
        .variants
        .iter()
        .all(|&variant| believed(variant))
}

/// `M1`, `M2` and so on, by the machine's name.
fn machines<'a>(results: impl Iterator<Item = &'a RunResult>) -> BTreeMap<String, String> {
    let names: std::collections::BTreeSet<_> = results.map(|result| &result.machine).collect();
    names
        .into_iter()
        .zip(1..)
        .map(|(name, n)| (name.clone(), format!("M{n}")))
        .collect()
}

fn label(result: &RunResult, machine: &str) -> String {
    let scenario = &result.scenario;
    let quick = if scenario.profile == Profile::Quick {
        " (quick)"
    } else {
        ""
    };
    let trace = match &scenario.trace {
        Some(trace) => format!(" of {trace}"),
        None => String::new(),
    };
    format!(
        "{}{trace}{quick}, {}, {}, {machine}",
        scenario.name,
        result.backend.kind,
        durability(result)
    )
}

fn durability(result: &RunResult) -> String {
    json!(result.backend.durability)
        .as_str()
        .unwrap_or_default()
        .to_string()
}

/// The whole report, of which every scenario should have a result on each of its backends.
fn render(runs: &[Run], scenarios: &[Scenario]) -> String {
    let mut out = String::from(
        "# Results\n\nMade by `chunkpoint-bench report` from the JSON files below; do not edit. \
         Every row names its scenario, backend, durability and machine; a dash is a figure that \
         was not measured. [Method, limits and bias](#method) are at the end.\n\n",
    );
    let has_result = |scenario: &str, backend: &str| {
        runs.iter().any(|run| {
            run.result.scenario.name == scenario
                && run.result.scenario.profile == Profile::Full
                && run.result.backend.kind.to_string() == backend
        })
    };
    let expected = scenarios.iter().flat_map(|scenario| {
        let backends = scenario.cells.backends.iter();
        backends.map(|backend| (&scenario.name, backend.to_string()))
    });
    let missing: Vec<_> = expected
        .filter(|(scenario, backend)| !has_result(scenario, backend))
        .map(|(scenario, backend)| format!("{scenario} on {backend}"))
        .collect();
    if !missing.is_empty() {
        out.push_str(&format!(
            "**No full result yet:** {}.\n\n",
            missing.join("; ")
        ));
    }
    out.push_str(&sections::in_short(runs));
    out.push_str(&claims::section(runs, scenarios));
    out.push_str(&sections::budgets(runs));
    out.push_str(&sections::figures(runs));
    out.push_str(&sections::by_length(runs));
    out.push_str(&sections::stores_by_size(runs));
    out.push_str(&chart::over_steps(runs));
    out.push_str(&sections::notes(runs));
    out.push_str(&sections::scenarios(runs));
    out.push_str(&sections::runs(runs));
    out.push_str(&machine_list(runs));
    out.push_str(METHOD);
    out
}

fn machine_list(runs: &[Run]) -> String {
    let mut out = String::from("## Machines\n\n");
    let machines = machines(runs.iter().map(|run| &run.result));
    for (name, short) in &machines {
        let of = runs.iter().find(|run| run.result.machine == *name);
        let Some(Environment {
            cpu,
            cores,
            memory_bytes,
            kernel,
            filesystem,
            ..
        }) = of.map(|run| &run.result.environment)
        else {
            continue;
        };
        let gib = *memory_bytes as f64 / f64::from(1 << 30);
        out.push_str(&format!(
            "- **{short}** `{name}`: {cores} × {cpu}, {gib:.0} GiB, {kernel}, files on \
             {filesystem}\n"
        ));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::validate;

    fn fixture() -> serde_json::Value {
        serde_json::from_str(include_str!("fixture.json")).unwrap()
    }

    fn written(values: &[serde_json::Value]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        for (n, value) in values.iter().enumerate() {
            let place = dir.path().join(format!("20260101/m/{n}.json"));
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, value.to_string()).unwrap();
        }
        let report = std::fs::read_to_string(make(dir.path()).unwrap()).unwrap();
        (dir, report)
    }

    #[test]
    fn the_fixture_fits_the_schema_and_a_broken_one_does_not() {
        validate(&fixture()).unwrap();
        let mut broken = fixture();
        broken["cells"][0]["verdict"]["ok"] = "yes".into();
        let message = validate(&broken).unwrap_err().to_string();
        assert!(message.contains("/cells/0/verdict/ok"), "{message}");
    }

    #[test]
    fn a_report_has_every_section_in_its_order() {
        let (_dir, report) = written(&[fixture()]);
        let mut last = 0;
        for heading in [
            "# Results",
            "## In short",
            "## Budgets",
            "## Memory",
            "## Latency",
            "## Storage",
            "## Amplification",
            "## Notes",
            "## Scenarios",
            "## Runs",
            "## Machines",
            "## Method",
        ] {
            let at = report
                .find(heading)
                .unwrap_or_else(|| panic!("{heading}\n{report}"));
            assert!(at >= last, "{heading}");
            last = at;
        }
        for part in ["disk", "M1", "sampled", "not run", "MISSED", "30.2 MB", "†"] {
            assert!(report.contains(part), "{part}\n{report}");
        }
    }

    #[test]
    fn the_newest_complete_run_is_shown() {
        let at = |started: &str, raw_bytes: u64, variants: &[&str]| {
            let mut run = fixture();
            run["started"] = started.into();
            run["workload"]["raw_bytes"] = raw_bytes.into();
            run["scenario"]["variants"] = variants.into();
            run
        };
        let all = &["default", "full-snapshot", "no-op"];
        let runs = [
            at("2026-01-02T00:00:00Z", 22, all),
            at("2026-01-01T00:00:00Z", 11, all),
            at("2026-01-03T00:00:00Z", 33, &["default", "floor"]),
        ];
        let (_dir, report) = written(&runs);
        assert!(report.contains("| 22 B"), "{report}");
        assert!(
            !report.contains("| 11 B") && !report.contains("| 33 B"),
            "{report}"
        );
    }

    #[test]
    fn a_claim_stands_beside_what_was_measured() {
        let mut run = fixture();
        run["scenario"]["name"] = "concurrent-load".into();
        run["cells"][0]["figures"]["load_latest_p50_ns"] = 61_000_000.into();
        run["cells"][1]["figures"]["load_latest_p50_ns"] = 99_000_000.into();
        let (_dir, report) = written(&[run]);
        let row = report.lines().find(|line| line.contains("an article"));
        let row = row.unwrap_or_else(|| panic!("{report}"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(
            cells[3..8],
            ["120 ms", "45.0 ms", "99.0 ms", "–", "61.0 ms"],
            "{row}"
        );
    }

    #[test]
    fn a_failed_cell_shows_no_figures() {
        let mut failed = fixture();
        failed["cells"][0]["verdict"]["ok"] = false.into();
        failed["cells"][0]["verdict"]["failures"] = vec!["a byte was wrong"].into();
        let (_dir, report) = written(&[failed]);
        assert!(
            report.contains("FAILED") && report.contains("a byte was wrong"),
            "{report}"
        );
    }
}
