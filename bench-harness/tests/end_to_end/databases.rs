//! What only databases have: servers, their own accounting, a wire.

use crate::place::{Place, cell, check_replay, figure, text};

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
    check_replay(&result);
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
fn redis_is_measured_where_it_is() {
    replay_on("redis");
}

#[test]
fn mongodb_is_measured_where_it_is() {
    replay_on("mongodb");
}

/// Memory, the append-only file and the longest command, as the server tells them.
#[test]
fn what_a_redis_server_held_and_did_is_told() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 3")]);
    let args = ["run", "quick", "--backend", "redis", "--variant", "default"];
    let output = place.bench(&[&args[..], &["--machine", "test"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let Some(result) = place.results().pop() else {
        assert!(text(&output).contains("skipped: no redis"));
        return;
    };
    let written = figure(&result, "default", "bytes_written");
    for name in ["server_memory_bytes", "server_append_only_bytes"] {
        let bytes = figure(&result, "default", name);
        assert!(bytes > written, "{name}: {bytes} of {written}");
    }
    let longest = figure(&result, "default", "server_longest_command_ns");
    // No command is over before a microsecond has passed, and clients wait ten seconds.
    assert!((1e3..1e10).contains(&longest), "{longest}");
}

#[test]
fn a_bounded_history_on_sqlite_is_weighed_after_its_vacuum() {
    let place = Place::new();
    place.scenario(
        "long-running",
        &[
            ("messages = 600_000", "messages = 300"),
            ("most = 400, keep = 200", "most = 40, keep = 20"),
            ("max-history = 100", "max-history = 10"),
            ("sample-every = 1_000", "sample-every = 50"),
            ("grace-ms = 1000", "grace-ms = 10"),
        ],
    );
    let result = place.run(&["long-running", "--backend", "sqlite"]);
    assert_eq!(figure(&result, "default", "kept_states"), 10.0);
    let before = figure(&result, "default", "at_rest_uncompacted_bytes");
    assert!(figure(&result, "default", "at_rest_bytes") <= before);
    let notes = cell(&result, "default")["verdict"]["notes"].to_string();
    assert!(notes.contains("after VACUUM"), "{notes}");
}

#[test]
fn what_goes_over_the_wire_to_postgres_is_counted() {
    wire_to("postgres", 1.0);
}

#[test]
fn what_goes_over_the_wire_to_redis_is_counted() {
    wire_to("redis", 1.0);
}

/// The second one looks whether what it builds on is still there.
#[test]
fn what_goes_over_the_wire_to_mongodb_is_counted() {
    wire_to("mongodb", 2.0);
}

/// What an append takes.
fn wire_to(backend: &str, round_trips: f64) {
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
    let output = place.bench(&[&args[..], &[backend, "--machine", "test"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let Some(result) = place.results().pop() else {
        assert!(text(&output).contains(&format!("skipped: no {backend}")));
        return;
    };
    let taken = figure(&result, "default", "wire_put_round_trips_mean");
    // A driver may look at the server by itself, now and then.
    assert!((round_trips..round_trips + 0.1).contains(&taken), "{taken}");
    let sent = figure(&result, "default", "wire_put_bytes_sent_mean");
    assert!((200.0..=4096.0).contains(&sent), "{sent}");
    assert!(figure(&result, "default", "cold_tail_round_trips") >= 1.0);
}

#[test]
fn many_clients_load_at_once() {
    let place = Place::new();
    place.small_concurrent_load();
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
