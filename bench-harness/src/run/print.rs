//! Shows a result to whoever ran it.

use serde_json::json;

use crate::figures;
use crate::result::{HEADS, Outcome, RunResult, by_size};
use crate::table::Table;

/// The figures that a run prints, where it has them.
const SHOWN: &[&str] = &[
    "puts",
    "put_p50_ns",
    "put_p99_ns",
    "paired_put_p50_ns",
    "bare_put_p50_ns",
    "put_short_p50_ns",
    "put_long_p50_ns",
    "put_cpu_us",
    "put_cpu_ms_per_mb",
    "stored_bytes_mean",
    "stored_bytes_end_mean",
    "write_amplification",
    "at_rest_bytes",
    "total_at_rest_bytes",
    "at_rest_uncompacted_bytes",
    "live_bytes",
    "server_memory_bytes",
    "server_append_only_bytes",
    "server_longest_command_ns",
    "load_latest_p50_ns",
    "load_latest_p99_ns",
    "load_per_s",
    "load_latest_mean_ns",
    "paired_load_latest_mean_ns",
    "bare_load_latest_mean_ns",
    "tail_read_p50_ns",
    "cold_tail_p50_ns",
    "cold_tail_round_trips",
    "cold_tail_bytes_read",
    "wire_put_round_trips_mean",
    "wire_put_bytes_sent_mean",
    "cold_tail_rss_growth_bytes",
    "state_read_p50_ns",
    "states_verified",
    "write_rss_peak_bytes",
    "write_rss_growth_bytes",
    "load_latest_rss_growth_bytes",
    "rss_slope_bytes_per_100k",
    "heap_slope_bytes_per_100k",
    "get_p50_ns",
    "get_p99_ns",
    "paired_get_p50_ns",
    "bare_get_p50_ns",
    "get_over_floor",
    "patch_p50_ns",
    "patch_p99_ns",
    "paired_patch_p50_ns",
    "bare_patch_p50_ns",
    "patch_over_floor",
    "search_p50_ns",
    "search_p99_ns",
    "paired_search_p50_ns",
    "bare_search_p50_ns",
    "search_over_floor",
    "get_bytes_read_mean",
    "search_bytes_read_mean",
    "put_bytes_written_mean",
    "patch_bytes_written_mean",
    "fill_per_s",
    "fill_write_amplification",
    "large_value_bytes",
    "patch_large_p50_ns",
    "patch_large_bytes_written_mean",
    "patch_large_bytes_written_max",
    "patch_large_engine_bytes_mean",
    "patch_large_bytes_read_mean",
    "patch_scattered_p50_ns",
    "patch_scattered_bytes_written_mean",
    "patch_scattered_bytes_written_max",
    "patch_scattered_engine_bytes_mean",
    "patch_scattered_bytes_read_mean",
    "large_rss_growth_bytes",
    "large_at_rest_bytes",
    "write_heap_bytes",
    "many_items",
    "many_fill_per_s",
    "many_at_rest_bytes",
    "cold_open_bytes_read",
    "cold_get_p50_ns",
    "cold_get_bytes_read",
    "cold_search_p50_ns",
    "cold_search_bytes_read",
    "cold_rss_growth_bytes",
    "cold_rss_bytes",
    "items_kept",
    "items_verified",
];

/// Prints a result for a person.
pub(super) fn print(result: &RunResult) {
    let environment = &result.environment;
    println!(
        "\n{} on {}, durability {}; {} × {}, {}, {}",
        result.scenario.name,
        result.backend.kind,
        json!(result.backend.durability)
            .as_str()
            .unwrap_or_default(),
        environment.cores,
        environment.cpu,
        environment.kernel,
        environment.filesystem,
    );
    let header = result.cells.iter().map(|cell| cell.variant.to_string());
    let mut table = Table::new(std::iter::once(String::new()).chain(header));
    for name in SHOWN {
        let values: Vec<_> = result
            .cells
            .iter()
            .map(|cell| {
                let unit = figures::unit(&format!("{}.{name}", cell.variant))?;
                Some(figures::format(*cell.figures.get(*name)?, unit))
            })
            .collect();
        if values.iter().any(Option::is_some) {
            let values = values
                .into_iter()
                .map(|value| value.unwrap_or_else(|| "–".into()));
            table.row(std::iter::once(name.to_string()).chain(values));
        }
    }
    print!("{}", table.to_text());
    let mut table = Table::new(HEADS).words(3);
    by_size(result).into_iter().for_each(|row| table.row(row));
    if !table.is_empty() {
        print!("\n{}", table.to_text());
    }
    for cell in &result.cells {
        let (variant, verdict) = (cell.variant, &cell.verdict);
        verdict
            .skipped
            .iter()
            .for_each(|why| println!("skipped: {variant}: {why}"));
        verdict
            .failures
            .iter()
            .for_each(|why| println!("FAILED: {variant}: {why}"));
        verdict
            .notes
            .iter()
            .for_each(|note| println!("note: {variant}: {note}"));
    }
    let mut table = Table::new(["expected", "", "limit", "measured"]).words(2);
    for expected in &result.expectations {
        let outcome = match expected.outcome {
            Outcome::Met => "met",
            Outcome::Missed => "MISSED",
            Outcome::NotMeasured => "not measured",
        };
        let (limit, measured) = (expected.limit_text(), expected.measured_text());
        table.row([expected.name.as_str(), outcome, &limit, &measured]);
    }
    if !table.is_empty() {
        print!("\n{}", table.to_text());
    }
    result
        .warnings
        .iter()
        .for_each(|warning| println!("warning: {warning}"));
}
