//! The scenarios of checkpoints, on files and in memory.

use crate::place::{Place, cell, check_replay, figure, text};

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
    check_replay(&result);
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
        "long-running",
        &[
            ("messages = 600_000", "messages = 600"),
            ("most = 400, keep = 200", "most = 40, keep = 20"),
            ("max-history = 100", "max-history = 10"),
            ("grace-ms = 1000", "grace-ms = 50"),
            ("sample-every = 1_000", "sample-every = 50"),
        ],
    );
    let result = place.run(&["long-running"]);
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
