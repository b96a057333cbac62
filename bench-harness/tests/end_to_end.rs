//! The program, run as its users run it, on tiny workloads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A small scenario of each model, in a directory of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path().join("scenarios")).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes a built-in scenario and makes it tiny.
    fn scenario(&self, name: &str, changes: &[(&str, &str)]) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let file = format!("{name}.toml");
        let mut text = std::fs::read_to_string(source.join(&file)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{name} has no {from:?}");
            text = text.replace(from, to);
        }
        std::fs::write(self.path().join("scenarios").join(file), text).unwrap();
    }

    fn bench(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_chunkpoint-bench"))
            .args(args)
            .current_dir(self.path())
            .output()
            .unwrap()
    }

    /// Runs a scenario that must succeed; gives its only result.
    fn run(&self, args: &[&str]) -> Value {
        let output =
            self.bench(&[&["run"], args, &["--dir", "data", "--machine", "test"]].concat());
        assert!(output.status.success(), "{}", text(&output));
        let mut results = self.results();
        assert_eq!(results.len(), 1, "{}", text(&output));
        results.remove(0)
    }

    fn results(&self) -> Vec<Value> {
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

fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn cell<'a>(result: &'a Value, variant: &str) -> &'a Value {
    let cells = result["cells"].as_array().unwrap();
    cells
        .iter()
        .find(|cell| cell["variant"] == variant)
        .unwrap()
}

fn figure(result: &Value, variant: &str, name: &str) -> f64 {
    let figure = cell(result, variant)["figures"][name].as_f64();
    figure.unwrap_or_else(|| panic!("{variant}.{name}"))
}

const TRACE: &str = concat!(
    r#"{"id":"a/../b","messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"hi"}]}"#,
    "\n",
    r#"{"id":"zwei","meta":{"compact_at":[2]},"messages":[{"r":1},{"r":2},{"r":3},{"r":4}]}"#,
    "\n"
);

#[test]
fn a_replay_verifies_every_state_of_every_variant() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 6")]);
    let result = place.run(&["quick"]);
    let messages = result["workload"]["messages"].as_f64().unwrap();
    for variant in ["default", "whole-value", "full-snapshot", "no-op"] {
        assert_eq!(
            figure(&result, variant, "states_verified"),
            messages,
            "{variant}"
        );
    }
    assert_eq!(figure(&result, "floor", "puts"), messages);
    // The engine beside the floor has other random ids and times.
    let moved = figure(&result, "floor", "bytes_written");
    let written = figure(&result, "default", "bytes_written");
    assert!(
        (moved / written - 1.0).abs() < 0.01,
        "{moved} is not about {written}"
    );
    let snapshots = result["workload"]["snapshot_bytes"].as_f64().unwrap();
    assert!(figure(&result, "full-snapshot", "at_rest_bytes") > snapshots);
    assert!(figure(&result, "default", "put_p50_ns") > 0.0);
    assert!(
        std::fs::read_dir(place.path().join("data"))
            .unwrap()
            .next()
            .is_none(),
        "cleaned up"
    );
}

#[test]
fn the_memory_backend_runs_in_one_process() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 4")]);
    let result = place.run(&["quick", "--backend", "memory"]);
    let messages = result["workload"]["messages"].as_f64().unwrap();
    assert_eq!(figure(&result, "default", "states_verified"), messages);
    assert!(figure(&result, "default", "at_rest_bytes") > 0.0);
}

/// A replay on a database: every state right, the floor beside it, figures of its own.
fn replay_on(backend: &str) {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 3")]);
    let args = ["run", "quick", "--backend", backend, "--dir", "data"];
    let output = place.bench(&[&args[..], &["--machine", "test"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let printed = text(&output);
    let Some(result) = place.results().pop() else {
        assert!(
            printed.contains(&format!("skipped: no {backend}")),
            "{printed}"
        );
        return;
    };
    let messages = result["workload"]["messages"].as_f64().unwrap();
    for variant in ["default", "whole-value", "full-snapshot", "no-op"] {
        assert_eq!(
            figure(&result, variant, "states_verified"),
            messages,
            "{variant}"
        );
    }
    assert_eq!(figure(&result, "floor", "puts"), messages);
    let moved = figure(&result, "floor", "bytes_written");
    let written = figure(&result, "default", "bytes_written");
    assert!(
        (moved / written - 1.0).abs() < 0.01,
        "{moved} is not about {written}"
    );
    // The database counts its pages, and has to keep at least what it was given.
    for variant in ["default", "full-snapshot", "floor"] {
        let (at_rest, written) = (
            figure(&result, variant, "at_rest_bytes"),
            figure(&result, variant, "bytes_written"),
        );
        assert!(at_rest > written, "{variant}: {at_rest} of {written}");
    }
    let server = &result["backend"]["server"];
    assert!(!server["version"].as_str().unwrap().is_empty());
    assert!(!server["settings"].as_object().unwrap().is_empty());
    assert!(
        std::fs::read_dir(place.path().join("data"))
            .unwrap()
            .next()
            .is_none(),
        "cleaned up"
    );
}

#[test]
fn sqlite_is_measured() {
    replay_on("sqlite");
}

#[test]
fn postgres_is_measured_where_it_is() {
    replay_on("postgres");
}

#[test]
fn mysql_is_measured_where_it_is() {
    replay_on("mysql");
}

#[test]
fn a_bounded_history_on_sqlite_is_weighed_after_its_vacuum() {
    let place = Place::new();
    place.scenario(
        "retention",
        &[
            ("messages = 600_000", "messages = 300"),
            ("most = 400, keep = 200", "most = 40, keep = 20"),
            ("max-history = 100", "max-history = 10"),
            ("sample-every = 1_000", "sample-every = 50"),
            ("grace-ms = 1000", "grace-ms = 10"),
        ],
    );
    let result = place.run(&["retention", "--backend", "sqlite"]);
    assert_eq!(figure(&result, "default", "kept_states"), 10.0);
    let before = figure(&result, "default", "at_rest_uncompacted_bytes");
    assert!(figure(&result, "default", "at_rest_bytes") <= before);
    let notes = cell(&result, "default")["verdict"]["notes"].to_string();
    assert!(notes.contains("after VACUUM"), "{notes}");
}

#[test]
fn what_goes_over_the_wire_is_counted() {
    let place = Place::new();
    place.scenario(
        "single-session",
        &[
            ("messages = 100_000", "messages = 300"),
            ("pairs = 1_000", "pairs = 20"),
            ("cold-opens = 5", "cold-opens = 1"),
            ("loads = 5", "loads = 1"),
            ("[100, 1_000, 10_000, 100_000]", "[100, 300]"),
        ],
    );
    let args = ["run", "single-session", "--variant", "default", "--backend"];
    let output = place.bench(&[&args[..], &["postgres", "--machine", "test"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let Some(result) = place.results().pop() else {
        assert!(text(&output).contains("skipped: no postgres"));
        return;
    };
    assert_eq!(figure(&result, "default", "wire_put_round_trips_mean"), 1.0);
    let sent = figure(&result, "default", "wire_put_bytes_sent_mean");
    assert!((200.0..=4096.0).contains(&sent), "{sent}");
    assert!(figure(&result, "default", "cold_tail_round_trips") >= 1.0);
}

#[test]
fn many_clients_load_at_once() {
    let place = Place::new();
    place.scenario(
        "concurrent-load",
        &[
            ("messages = 200\n", "messages = 20\n"),
            ("sessions = 20", "sessions = 3"),
            ("clients = 1_000", "clients = 50"),
            ("rounds = 5", "rounds = 2"),
        ],
    );
    let result = place.run(&["concurrent-load", "--backend", "sqlite"]);
    for variant in ["default", "full-snapshot"] {
        assert_eq!(
            figure(&result, variant, "load_latest_count"),
            100.0,
            "{variant}"
        );
        assert_eq!(cell(&result, variant)["verdict"]["checked"], 100);
        assert!(figure(&result, variant, "load_per_s") > 0.0);
    }
}

#[test]
fn several_clients_replay_too() {
    let place = Place::new();
    place.scenario(
        "quick",
        &[("count = 100", "count = 8"), ("clients = 1", "clients = 3")],
    );
    let output = place.bench(&["run", "quick", "--machine", "test"]);
    assert!(output.status.success(), "{}", text(&output));
    let result = place.results().remove(0);
    let messages = result["workload"]["messages"].as_f64().unwrap();
    assert_eq!(figure(&result, "default", "states_verified"), messages);
    let skipped = &cell(&result, "floor")["verdict"]["skipped"];
    assert!(
        skipped.as_str().unwrap().contains("one client"),
        "the floor follows only one"
    );
}

#[test]
fn a_trace_is_replayed_and_its_snapshots_sampled() {
    let place = Place::new();
    place.scenario(
        "trace-replay",
        &[("honour-compaction = false", "honour-compaction = true")],
    );
    std::fs::write(place.path().join("t.jsonl"), TRACE).unwrap();
    let budget = "--snapshot-budget-gb=0.0000001";
    let result = place.run(&["trace-replay", "--trace", "t.jsonl", budget]);
    assert_eq!(result["scenario"]["trace"], "t.jsonl");
    assert_eq!(result["workload"]["messages"], 6);
    // Of the second conversation only the last two messages are left at its end.
    assert_eq!(
        result["workload"]["snapshot_messages"],
        (1 + 2) + (1 + 2 + 1 + 2)
    );
    assert_eq!(figure(&result, "default", "states_verified"), 6.0);
    assert!(figure(&result, "full-snapshot", "sampled_share") < 1.0);
    let total = figure(&result, "full-snapshot", "total_at_rest_bytes");
    assert!(total > figure(&result, "full-snapshot", "at_rest_bytes"));
}

#[test]
fn channels_are_kept_apart() {
    let place = Place::new();
    place.scenario(
        "channels",
        &[
            ("messages = 340", "messages = 40"),
            ("sessions = 20", "sessions = 2"),
            ("channels = 50", "channels = 7"),
        ],
    );
    let result = place.run(&["channels"]);
    for variant in ["default", "whole-value", "full-snapshot", "no-op"] {
        assert_eq!(
            figure(&result, variant, "states_verified"),
            80.0,
            "{variant}"
        );
    }
}

#[test]
fn a_single_session_has_its_figures() {
    let place = Place::new();
    place.scenario(
        "single-session",
        &[
            ("messages = 100_000", "messages = 300"),
            ("pairs = 1_000", "pairs = 40"),
            ("short-length = 100", "short-length = 10"),
            ("[100, 1_000, 10_000, 100_000]", "[10, 300]"),
            ("cold-opens = 5", "cold-opens = 2"),
        ],
    );
    let result = place.run(&["single-session"]);
    for name in [
        "put_long_p50_ns",
        "put_short_p50_ns",
        "cold_tail_bytes_read",
        "put_at_300_p50_ns",
    ] {
        assert!(figure(&result, "default", name) > 0.0, "{name}");
    }
    assert_eq!(figure(&result, "default", "put_short_count"), 40.0);
    assert_eq!(figure(&result, "default", "cold_tail_count"), 2.0);
    assert_eq!(figure(&result, "full-snapshot", "puts"), 10.0);
    assert!(figure(&result, "full-snapshot", "total_at_rest_bytes") > 300.0 * 300.0 / 2.0 * 500.0);
}

#[test]
fn a_bounded_history_is_checked_and_weighed() {
    let place = Place::new();
    place.scenario(
        "retention",
        &[
            ("messages = 600_000", "messages = 600"),
            ("most = 400, keep = 200", "most = 40, keep = 20"),
            ("max-history = 100", "max-history = 10"),
            ("grace-ms = 1000", "grace-ms = 50"),
            ("sample-every = 1_000", "sample-every = 50"),
        ],
    );
    let result = place.run(&["retention"]);
    assert_eq!(figure(&result, "default", "kept_states"), 10.0);
    assert_eq!(figure(&result, "default", "states_verified"), 10.0);
    assert!(figure(&result, "default", "live_bytes") > 0.0);
    assert_eq!(
        result["cells"][0]["series"][0]["samples"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
}

/// The long-term store, tiny.
const FEW_ITEMS: &[(&str, &str)] = &[
    ("\nitems = 100_000", "\nitems = 600"),
    ("\nnamespaces = 1_000", "\nnamespaces = 12"),
    ("small-items = 1_000", "small-items = 100"),
    ("small-namespaces = 10", "small-namespaces = 2"),
    ("batch = 1_000", "batch = 20"),
    ("warm-up = 1_000", "warm-up = 20"),
    ("operations = 10_000", "operations = 300"),
    ("large-bytes = 1_000_000", "large-bytes = 100_000"),
    ("large-patches = 200", "large-patches = 10"),
    ("many-items = 1_000_000", "many-items = 400"),
    ("many-namespaces = 1_000", "many-namespaces = 4"),
    ("cold-opens = 3", "cold-opens = 2"),
    ("grace-ms = 1000", "grace-ms = 50"),
];

#[test]
fn a_long_term_store_has_its_figures_and_every_item_is_checked() {
    let place = Place::new();
    place.scenario("long-term-store", FEW_ITEMS);
    let output = place.bench(&[
        "run",
        "long-term-store",
        "--machine",
        "test",
        "--dir",
        "data",
    ]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("p50, small") && said.contains("100 and 600"),
        "{said}"
    );
    let result = place.results().remove(0);
    assert_eq!(result["workload"]["items"], 600);
    let settings = &result["backend"]["config"];
    assert_eq!(settings["grace-ms"], 50);
    assert!(settings["open-files"].as_u64() >= Some(16), "{settings}");
    for variant in ["default", "whole-value"] {
        let kept = figure(&result, variant, "items_kept");
        assert!(kept > 500.0, "{kept}");
        assert_eq!(
            figure(&result, variant, "items_verified"),
            kept,
            "{variant}"
        );
    }
    for name in [
        "get_small_p50_ns",
        "search_p99_ns",
        "delete_count",
        "patch_scattered_p50_ns",
        "get_bytes_read_mean",
        "put_engine_bytes_mean",
        "write_rss_peak_bytes",
        "at_rest_bytes",
        "large_at_rest_bytes",
        "many_at_rest_bytes",
        "cold_get_bytes_read",
        "cold_search_bytes_read",
        "cold_rss_bytes",
    ] {
        assert!(figure(&result, "default", name) > 0.0, "{name}");
    }
    assert_eq!(figure(&result, "default", "cold_get_count"), 2.0);
    // Both sizes do the same operations.
    for op in ["get", "put", "patch", "search", "delete"] {
        let counts = ["", "_small"].map(|size| format!("{op}{size}_count"));
        let [all, few] = counts.map(|name| figure(&result, "default", &name));
        assert!(
            all > 0.0 && (all - few).abs() <= 3.0,
            "{op}: {all} and {few}"
        );
    }
    let patched = |variant| figure(&result, variant, "patch_large_bytes_written_mean");
    assert!(patched("default") * 2.0 < patched("whole-value"));
    // The engine beside the floor does what the default does.
    assert_eq!(
        figure(&result, "floor", "put_count"),
        figure(&result, "floor", "paired_put_count")
    );
    for op in ["get", "put", "patch", "search"] {
        let p50 = |op: &str| figure(&result, "floor", &format!("{op}_p50_ns"));
        let over = figure(&result, "floor", &format!("{op}_over_floor"));
        assert_eq!(over, p50(&format!("paired_{op}")) / p50(op), "{op}");
        assert!(p50(&format!("bare_{op}")) <= p50(op), "{op}");
    }
    let moved = patched("floor") / patched("default");
    assert!((moved - 1.0).abs() < 0.1, "{moved}");

    let made = place.bench(&["report"]);
    assert!(made.status.success(), "{}", text(&made));
    let report = std::fs::read_to_string(place.path().join("results/README.md")).unwrap();
    for part in [
        "## Items",
        "## One large value",
        "## Many items opened",
        "## Operations by the store's size",
        "long-term-store, file, disk, M1",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
}

#[test]
fn a_long_term_store_in_memory_counts_what_moves() {
    let place = Place::new();
    place.scenario("long-term-store", FEW_ITEMS);
    let result = place.run(&["long-term-store", "--backend", "memory"]);
    let kept = figure(&result, "default", "items_kept");
    assert_eq!(figure(&result, "default", "items_verified"), kept);
    for name in [
        "patch_large_bytes_written_mean",
        "get_bytes_read_mean",
        "at_rest_bytes",
    ] {
        assert!(figure(&result, "default", name) > 0.0, "{name}");
    }
    // In memory, what the engine hands over is what is written.
    assert_eq!(
        figure(&result, "default", "patch_large_bytes_written_mean"),
        figure(&result, "default", "patch_large_engine_bytes_mean")
    );
    assert!(cell(&result, "default")["figures"]["many_items"].is_null());
}

#[test]
fn a_wrong_member_fails_the_long_term_store() {
    let place = Place::new();
    place.scenario("long-term-store", FEW_ITEMS);
    for variant in ["default", "whole-value"] {
        let args = [
            "run",
            "long-term-store",
            "--machine",
            "test",
            "--corrupt-oracle",
        ];
        let output = place.bench(&[&args[..], &["--variant", variant]].concat());
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("differs in its member \"text\""), "{said}");
    }
}

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
        (&["run", "retention", "--variant", "floor"], "no-op"),
        (&["run", "retention", "--trace", "x"], "replay"),
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
}
