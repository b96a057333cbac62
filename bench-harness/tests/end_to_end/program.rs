//! What is wrong, what is unknown, what is listed.

use crate::place::{Place, text};

#[test]
fn a_wrong_byte_fails_the_cell_and_the_run() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 3")]);
    let args = [
        "run",
        "quick",
        "--machine",
        "test",
        "--variant",
        "default",
        "--corrupt-oracle",
    ];
    let output = place.bench(&args);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        text(&output).contains("differs at byte"),
        "{}",
        text(&output)
    );
    let result = place.results().remove(0);
    assert_eq!(result["cells"][0]["verdict"]["ok"], false);
    let outcomes = result["expectations"].as_array().unwrap().iter();
    assert!(outcomes.clone().all(|one| one["outcome"] == "not-measured"));
}

#[test]
fn what_is_unknown_is_an_error_that_lists_what_is_known() {
    let place = Place::new();
    for (args, known) in [
        (&["run", "nothing"][..], "trace-replay"),
        (&["run", "quick", "--backend", "tape"], "memory"),
        (&["run", "quick", "--variant", "magic"], "full-snapshot"),
        (&["run", "long-running", "--variant", "floor"], "no-op"),
        (&["run", "long-running", "--trace", "x"], "replay"),
        (
            &["run", "long-term-store", "--variant", "full-snapshot"],
            "whole-value",
        ),
        (
            &[
                "run",
                "quick",
                "--backend",
                "memory",
                "--durability",
                "disk",
            ],
            "buffered",
        ),
    ] {
        let output = place.bench(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(known), "{args:?}: {}", text(&output));
    }
    let output = place.bench(&["run", "trace-replay", "--trace", "not-there.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("not-there.jsonl"),
        "{}",
        text(&output)
    );
}

#[test]
fn scenarios_are_listed_and_a_report_is_made() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 2")]);
    let listed = text(&place.bench(&["list", "--figures"]));
    for part in [
        "single-session (built in)",
        "model long-term-store",
        "cold_search_bytes_read",
        "scenarios/quick.toml",
        "stored_bytes_mean",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    place.run(&["quick", "--variant", "default"]);
    let output = place.bench(&["report"]);
    assert!(output.status.success(), "{}", text(&output));
    let report = std::fs::read_to_string(place.path().join("results/README.md")).unwrap();
    assert!(
        report.contains("quick, file, disk, M1") && report.contains("not run"),
        "{report}"
    );
    let page = std::fs::read_to_string(place.path().join("results/index.html")).unwrap();
    assert!(page.contains("quick, file, disk, M1") && page.ends_with("</html>"));
}
