//! Results of the same program, compared.

use serde_json::Value;

use crate::place::{Place, text};

/// The only result below `out`.
fn result_in(place: &Place, out: &str) -> std::path::PathBuf {
    let date = std::fs::read_dir(place.path().join(out)).unwrap().next();
    let machine = date.unwrap().unwrap().path().join("test");
    let mut files = std::fs::read_dir(machine).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "an unfinished file is left");
    file
}

#[test]
fn two_runs_of_the_same_are_not_called_different() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 12")]);
    for out in ["base", "new"] {
        let output = place.bench(&[
            "run",
            "quick",
            "--backend",
            "memory",
            "--repeats",
            "5",
            "--machine",
            "test",
            "--out",
            out,
            "--variant",
            "default",
            "--variant",
            "full-snapshot",
            "--variant",
            "no-op",
        ]);
        assert!(output.status.success(), "{}", text(&output));
    }
    let gate = ["--gate", "--gate-on", "deterministic", "--all"];
    let output = place.bench(&[&["compare", "base", "new"], &gate[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    // What is measured may differ where the machine was busy with something else, but not
    // from itself.
    let output = place.bench(&["compare", "base", "base", "--gate"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).starts_with("0 regressed, 0 improved"));

    // The base with more bytes, and with times that no noise explains.
    let path = result_in(&place, "base");
    let mut worse: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (figure, by) in [("stored_bytes_mean", 1.1), ("put_p50_ns", 20.0)] {
        let cell = &mut worse["cells"][0];
        let scale = |figures: &mut Value| {
            figures[figure] = (figures[figure].as_f64().unwrap() * by).into();
        };
        scale(&mut cell["figures"]);
        cell["repeats"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(scale);
    }
    std::fs::write(place.path().join("worse.json"), worse.to_string()).unwrap();
    let args = [
        "compare",
        "base",
        "worse.json",
        "--gate",
        "--format",
        "json",
    ];
    let output = place.bench(&args);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for figure in ["stored_bytes_mean", "put_p50_ns"] {
        let findings = told["runs"][0]["cells"][0]["figures"].as_array().unwrap();
        let finding = findings.iter().find(|one| one["figure"] == figure).unwrap();
        assert_eq!(finding["verdict"], "regressed", "{finding}");
    }
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    let output = place.bench(&["compare", "empty", "empty"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("no result is in empty"));
    let output = place.bench(&["compare", "absent.json", "empty"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("absent.json"));
}
