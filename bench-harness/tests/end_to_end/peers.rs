//! LangGraph's own savers, where a Python has them.

use crate::place::{Place, cell, figure, text};

/// Whether they are there; has to be true where `CHUNKPOINT_REQUIRE_SERVICES` lists
/// `langgraph` or `all`.
fn are_there() -> bool {
    let why = chunkpoint_bench::subject::peer::python::check().err();
    let required = std::env::var("CHUNKPOINT_REQUIRE_SERVICES").unwrap_or_default();
    let required = required
        .split(',')
        .any(|one| one == "langgraph" || one == "all");
    assert!(!required || why.is_none(), "{why:?}, and is required");
    if let Some(why) = &why {
        println!("skipped: {why}");
    }
    why.is_none()
}

/// Conversations that drop messages and come in their order, saved, read and read back.
fn replay_on(backend: &str) {
    let place = Place::new();
    place.scenario("trace-replay", &[("count = 600", "count = 3")]);
    let args = ["run", "trace-replay", "--backend", backend];
    let variants = ["--variant", "default", "--variant", "langgraph"];
    let more = ["--dir", "data", "--machine", "test"];
    let output = place.bench(&[&args[..], &variants, &more].concat());
    assert!(output.status.success(), "{}", text(&output));
    let Some(result) = place.results().pop() else {
        assert!(text(&output).contains("skipped: no postgres"));
        return;
    };
    if !are_there() {
        let why = cell(&result, "langgraph")["verdict"]["skipped"].as_str();
        assert!(why.unwrap().contains("chunkpoint-bench peers"), "{why:?}");
        return;
    }
    let of = |name| figure(&result, "langgraph", name);
    let messages = result["workload"]["messages"].as_f64().unwrap();
    assert_eq!((of("states_verified"), of("puts")), (messages, messages));
    // PostgreSQL compresses what it is given; whole states are still more than their messages.
    assert!(of("at_rest_bytes") > result["workload"]["raw_bytes"].as_f64().unwrap());
    // The interpreter's memory, not this program's.
    assert!(of("write_rss_peak_bytes") > 20e6 && of("put_p50_ns") > 1e4);
    let figures = &cell(&result, "langgraph")["figures"];
    assert!(figures["bytes_written"].is_null(), "nobody has counted it");
    let notes = cell(&result, "langgraph")["verdict"]["notes"].to_string();
    assert!(notes.contains("langgraph-checkpoint 4."), "{notes}");
}

#[test]
fn the_saver_in_memory_is_driven() {
    replay_on("memory");
}

#[test]
fn the_saver_on_sqlite_is_driven() {
    replay_on("sqlite");
}

#[test]
fn the_saver_on_postgres_is_driven() {
    replay_on("postgres");
}

#[test]
fn a_wrong_byte_from_a_saver_fails_its_cell() {
    if !are_there() {
        return;
    }
    let place = Place::new();
    place.scenario("trace-replay", &[("count = 600", "count = 2")]);
    let args = [
        "run",
        "trace-replay",
        "--backend",
        "sqlite",
        "--variant",
        "langgraph",
    ];
    let output = place.bench(&[&args[..], &["--corrupt-oracle"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
}

#[test]
fn there_is_no_saver_for_files() {
    let place = Place::new();
    let output = place.bench(&["run", "trace-replay", "--variant", "langgraph"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("memory, sqlite and postgres"));
}

#[test]
fn many_load_from_a_saver_at_once() {
    if !are_there() {
        return;
    }
    let place = Place::new();
    place.small_concurrent_load();
    let args = [
        "concurrent-load",
        "--backend",
        "sqlite",
        "--variant",
        "langgraph",
    ];
    let result = place.run(&args);
    assert_eq!(figure(&result, "langgraph", "load_latest_count"), 100.0);
}
