//! Comparisons of results that were made up for it.

use serde_json::{Value, json};

use super::export::{Format, export};
use super::print::{Layout, print};
use super::*;

/// A run with five repetitions whose times differ by a few percent.
fn result() -> Value {
    let mut run: Value = serde_json::from_str(include_str!("../report/fixture.json")).unwrap();
    for cell in run["cells"].as_array_mut().unwrap() {
        let repeats = [1.00, 0.98, 1.03, 1.01, 0.99].map(|factor| {
            let mut figures = cell["figures"].clone();
            if let Some(p50) = figures["put_p50_ns"].as_f64() {
                figures["put_p50_ns"] = (p50 * factor).into();
            }
            figures
        });
        if cell["verdict"]["ok"] == true {
            cell["repeats"] = json!(repeats);
        }
    }
    run
}

/// Multiplies a figure of the default variant.
fn scaled(mut run: Value, figure: &str, by: f64) -> Value {
    let cell = &mut run["cells"][0];
    let scale = |figures: &mut Value| {
        let value = figures[figure].as_f64().unwrap();
        figures[figure] = (value * by).into();
    };
    scale(&mut cell["figures"]);
    let repeats = cell["repeats"].as_array_mut();
    repeats.into_iter().flatten().for_each(scale);
    run
}

fn loaded(run: &Value) -> Vec<Loaded> {
    crate::result::validate(run).unwrap();
    let run = serde_json::from_value(run.clone()).unwrap();
    vec![("run.json".into(), run)]
}

fn compared(base: &Value, new: &Value) -> Comparison {
    Comparison::of(loaded(base), loaded(new))
}

/// The figures with a verdict, as `variant.figure`.
fn with(comparison: &Comparison, verdict: Verdict) -> Vec<String> {
    let cells = comparison.runs.iter().flat_map(|run| &run.cells);
    cells
        .flat_map(|cell| cell.figures.iter().map(move |finding| (cell, finding)))
        .filter(|(_, finding)| finding.judgement.verdict == verdict)
        .map(|(cell, finding)| format!("{}.{}", cell.variant, finding.figure))
        .collect()
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let comparison = compared(&result(), &result());
    assert_eq!(comparison.regressions(GateOn::All), 0);
    assert!(with(&comparison, Verdict::Improved).is_empty());
    assert!(comparison.count(Verdict::Unchanged) > 0);
}

#[test]
fn more_bytes_and_slower_puts_are_regressions() {
    let worse = scaled(scaled(result(), "at_rest_bytes", 1.1), "put_p50_ns", 1.5);
    let comparison = compared(&result(), &worse);
    let regressed = ["default.at_rest_bytes", "default.put_p50_ns"];
    assert_eq!(with(&comparison, Verdict::Regressed), regressed);
    assert_eq!(comparison.regressions(GateOn::All), 2);
    assert_eq!(comparison.regressions(GateOn::Deterministic), 1);
    let better = compared(&worse, &result());
    assert_eq!(with(&better, Verdict::Improved), regressed);
    assert_eq!(better.regressions(GateOn::All), 0);
}

#[test]
fn another_machine_leaves_only_what_does_not_depend_on_it() {
    let mut worse = scaled(scaled(result(), "at_rest_bytes", 1.1), "put_p50_ns", 1.5);
    worse["environment"]["kernel"] = "Linux 7.0".into();
    let comparison = compared(&result(), &worse);
    assert_eq!(
        with(&comparison, Verdict::Regressed),
        ["default.at_rest_bytes"]
    );
    let warnings = &comparison.runs[0].warnings;
    assert!(warnings[0].contains("kernels differ"), "{warnings:?}");
    let text = print(&comparison, Layout::Text, true);
    assert!(text.contains("another place"), "{text}");
}

#[test]
fn other_work_is_not_compared_at_all() {
    let mut other = scaled(result(), "at_rest_bytes", 2.0);
    other["workload"]["digest"] = "2".repeat(64).into();
    let comparison = compared(&result(), &other);
    assert_eq!(comparison.regressions(GateOn::All), 0);
    assert_eq!(comparison.count(Verdict::Unchanged), 0);
}

#[test]
fn bytes_of_many_clients_are_measured() {
    let many = |mut run: Value| {
        run["scenario"]["params"] = json!({ "load": { "clients": 8 } });
        for cell in run["cells"].as_array_mut().unwrap() {
            cell.as_object_mut().unwrap().remove("repeats");
        }
        run
    };
    let worse = many(scaled(result(), "at_rest_bytes", 1.1));
    let comparison = compared(&many(result()), &worse);
    assert_eq!(comparison.regressions(GateOn::All), 0);
}

#[test]
fn a_cell_that_fails_now_is_a_regression_and_one_that_was_not_run_is_told() {
    let mut broken = result();
    broken["cells"][0]["verdict"]["ok"] = false.into();
    broken["cells"][0]["verdict"]["failures"] = json!(["a byte was wrong"]);
    broken["cells"].as_array_mut().unwrap().truncate(1);
    let comparison = compared(&result(), &broken);
    assert_eq!(comparison.regressions(GateOn::Deterministic), 1);
    let text = print(&comparison, Layout::Markdown, false);
    assert!(text.contains("default FAILED: a byte was wrong"), "{text}");
    assert!(
        text.contains("full-snapshot not compared: not run"),
        "{text}"
    );
}

#[test]
fn runs_of_another_durability_are_not_matched() {
    let mut other = result();
    other["backend"]["durability"] = "process".into();
    let comparison = compared(&result(), &other);
    assert!(comparison.runs.is_empty());
    assert_eq!(comparison.only_base, ["quick, file, disk"]);
    assert_eq!(comparison.only_new, ["quick, file, process"]);
}

#[test]
fn results_are_exported_in_the_formats_of_others() {
    let json = |format| -> Value {
        let text = export(loaded(&result()), &[Variant::Default], format).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let github = json(Format::GithubActionBenchmark);
    let put = github
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "quick, file, disk, default, put_p50_ns");
    let put = put.unwrap();
    assert_eq!(
        (&put["unit"], &put["value"]),
        (&json!("ns"), &json!(212_000.0))
    );
    assert_eq!(put["range"], "207760 to 218360");
    let bencher = json(Format::Bencher);
    assert_eq!(
        bencher["quick, file, disk, default"]["put-p50-ns"],
        json!({ "value": 212_000.0, "lower_value": 207_760.0, "upper_value": 218_360.0 })
    );
    assert!(bencher.get("quick, file, disk, full-snapshot").is_none());
}
