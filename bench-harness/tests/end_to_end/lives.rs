//! Scenarios about more than one life of a process, and about loads that do not wait.

use crate::place::{Place, figure, text};

#[test]
fn processes_go_on_where_others_ended() {
    let place = Place::new();
    place.scenario(
        "resume",
        &[
            ("messages = 400\n", "messages = 20\n"),
            ("sessions = 8", "sessions = 2"),
            ("restarts = 20", "restarts = 3"),
        ],
    );
    let result = place.run(&["resume"]);
    for variant in ["default", "full-snapshot"] {
        let of = |name| figure(&result, variant, name);
        assert_eq!((of("resume_count"), of("first_put_count")), (6.0, 6.0));
        assert_eq!(of("open_count"), 3.0);
        // 3 lives of 5 steps, of which the first is counted by itself.
        assert_eq!(of("put_count"), 2.0 * (5.0 + 3.0 * 4.0));
        assert_eq!(of("states_verified"), 40.0);
    }
}

#[test]
fn old_states_are_read_and_changed() {
    let place = Place::new();
    place.scenario(
        "time-travel",
        &[
            ("messages = 2_000", "messages = 60"),
            ("reads = 300", "reads = 10"),
            ("forks = 150", "forks = 6"),
            ("edits = 150", "edits = 7"),
        ],
    );
    let result = place.run(&["time-travel"]);
    for variant in ["default", "full-snapshot"] {
        let of = |name| figure(&result, variant, name);
        let counts = (of("state_read_count"), of("fork_count"), of("edit_count"));
        assert_eq!(counts, (10.0, 6.0, 7.0));
        assert!(of("fork_stored_bytes_mean") > 0.0);
    }
    let output = place.bench(&["run", "time-travel", "--corrupt-oracle", "--dir", "data"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
}

#[test]
fn killed_processes_lose_nothing() {
    let place = Place::new();
    place.scenario(
        "crash",
        &[
            ("kills = 20", "kills = 3"),
            ("most-ms = 250", "most-ms = 40"),
        ],
    );
    let result = place.run(&["crash"]);
    for variant in ["default", "full-snapshot"] {
        let of = |name| figure(&result, variant, name);
        assert_eq!(of("kills"), 3.0);
        assert_eq!((of("lost_states"), of("torn_states")), (0.0, 0.0));
        assert!(of("recover_count") >= 3.0 * 40.0 && of("states_verified") >= 3.0);
    }
}

#[test]
fn arrivals_do_not_wait_for_answers() {
    let place = Place::new();
    place.scenario(
        "open-load",
        &[
            ("messages = 60\n", "messages = 10\n"),
            ("sessions = 100", "sessions = 8"),
            ("operations = 6_000", "operations = 60"),
            ("rate = 200.0", "rate = 400.0"),
        ],
    );
    let result = place.run(&["open-load", "--backend", "memory", "--variant", "default"]);
    let of = |name| figure(&result, "default", name);
    let (puts, loads) = (of("put_response_count"), of("load_response_count"));
    assert_eq!(puts + loads, 60.0);
    assert_eq!(of("states_verified"), 40.0 + puts);
    assert!(of("put_response_max_ns") >= of("put_max_ns"));
    assert_eq!(of("offered_per_s"), 400.0);
}

#[test]
fn each_technique_can_be_off() {
    let place = Place::new();
    place.scenario("techniques", &[("count = 60", "count = 6")]);
    let result = place.run(&["techniques"]);
    let of = |variant| figure(&result, variant, "at_rest_bytes");
    assert!(of("default") < of("no-compression"));
    assert!(of("no-compression") < of("full-snapshot"));
    assert!(of("no-chunking") < of("full-snapshot"));
    let read = |variant| figure(&result, variant, "tail_read_bytes_read_mean");
    assert!(read("default") < read("no-lazy-loading"));
    let variants = result["scenario"]["variants"].to_string();
    assert!(!variants.contains("no-pooling"), "files have no pool");
}

#[test]
fn repetitions_are_kept_beside_their_medians() {
    let place = Place::new();
    place.scenario("quick", &[("count = 100", "count = 4")]);
    let variants = ["--variant", "default", "--variant", "no-op"];
    let more = ["quick", "--backend", "memory", "--repeats", "3"];
    let result = place.run(&[&more[..], &variants].concat());
    for at in 0..2 {
        let cell = &result["cells"][at];
        let puts: Vec<_> = (0..3)
            .map(|n| cell["repeats"][n]["puts"].as_f64())
            .collect();
        assert_eq!(puts, [cell["figures"]["puts"].as_f64(); 3]);
        let mut p50: Vec<_> = (0..3)
            .map(|n| cell["repeats"][n]["put_p50_ns"].as_f64().unwrap())
            .collect();
        p50.sort_by(f64::total_cmp);
        assert_eq!(cell["figures"]["put_p50_ns"].as_f64(), Some(p50[1]));
        let count = cell["ops"]["put"]["count"].as_f64();
        assert_eq!(count, puts[0].map(|puts| 3.0 * puts));
    }
}
