//! The long-term store.

use crate::place::{Place, cell, figure, text};

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
