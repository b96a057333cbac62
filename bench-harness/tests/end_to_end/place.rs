//! A directory in which the program is run, and what its results say.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A small scenario of each model, in a directory of its own.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path().join("scenarios")).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes a built-in scenario and makes it tiny.
    pub(crate) fn scenario(&self, name: &str, changes: &[(&str, &str)]) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let file = format!("{name}.toml");
        let mut text = std::fs::read_to_string(source.join(&file)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{name} has no {from:?}");
            text = text.replace(from, to);
        }
        std::fs::write(self.path().join("scenarios").join(file), text).unwrap();
    }

    /// The scenario `concurrent-load` with two rounds of fifty clients.
    pub(crate) fn small_concurrent_load(&self) {
        self.scenario(
            "concurrent-load",
            &[
                ("messages = 200\n", "messages = 20\n"),
                ("sessions = 20", "sessions = 3"),
                ("clients = 1_000", "clients = 50"),
                ("rounds = 5", "rounds = 2"),
            ],
        );
    }

    pub(crate) fn bench(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_chunkpoint-bench"))
            .args(args)
            .current_dir(self.path())
            .output()
            .unwrap()
    }

    /// Runs a scenario that must succeed; gives its only result.
    pub(crate) fn run(&self, args: &[&str]) -> Value {
        let output =
            self.bench(&[&["run"], args, &["--dir", "data", "--machine", "test"]].concat());
        assert!(output.status.success(), "{}", text(&output));
        let mut results = self.results();
        assert_eq!(results.len(), 1, "{}", text(&output));
        results.remove(0)
    }

    pub(crate) fn results(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let Ok(dates) = std::fs::read_dir(self.path().join("results")) else {
            return found;
        };
        for date in dates {
            for file in std::fs::read_dir(date.unwrap().path().join("test")).unwrap() {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                found.push(serde_json::from_str(&text).unwrap());
            }
        }
        found
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn cell<'a>(result: &'a Value, variant: &str) -> &'a Value {
    let cells = result["cells"].as_array().unwrap();
    cells
        .iter()
        .find(|cell| cell["variant"] == variant)
        .unwrap()
}

pub(crate) fn figure(result: &Value, variant: &str, name: &str) -> f64 {
    let figure = cell(result, variant)["figures"][name].as_f64();
    figure.unwrap_or_else(|| panic!("{variant}.{name}"))
}

/// Every variant has read back every state, and the floor has moved as many bytes as the
/// engine.
pub(crate) fn check_replay(result: &Value) {
    let messages = result["workload"]["messages"].as_f64().unwrap();
    for variant in ["default", "whole-value", "full-snapshot", "no-op"] {
        assert_eq!(
            figure(result, variant, "states_verified"),
            messages,
            "{variant}"
        );
    }
    assert_eq!(figure(result, "floor", "puts"), messages);
    // The engine beside the floor has other random ids and times.
    let moved = figure(result, "floor", "bytes_written");
    let written = figure(result, "default", "bytes_written");
    assert!(
        (moved / written - 1.0).abs() < 0.01,
        "{moved} is not about {written}"
    );
}
