//! Which figures are better low or high, and which come out the same when nothing changed.

use serde::Serialize;

use super::{Unit, unit};

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The less of it, the better.
    Lower,
    /// The more of it, the better.
    Higher,
}

/// Where a figure's noise comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nature {
    /// It follows from the work: bytes, calls, round trips of a single client. Random ids
    /// and how well they compress move it by far less than its tolerance.
    Deterministic,
    /// It depends on the machine, on the scheduler or on the time of day.
    Measured,
}

/// How a figure is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Which way it is better.
    pub better: Better,
    /// Where its noise comes from.
    pub nature: Nature,
    /// The share by which it may differ and still be called unchanged.
    pub tolerance: f64,
}

/// Differences of bytes and calls that random ids make: at most 0.6 % of what two runs of
/// one program wrote.
const COUNTED: f64 = 0.01;
/// Databases and background work give their space in steps.
const AT_REST: f64 = 0.05;
/// Times: under this nobody cares.
const TIMES: f64 = 0.05;
/// Resident memory comes in the allocator's runs of pages.
const MEMORY: f64 = 0.10;

/// How a figure, as `variant.name`, is judged; `None` where it tells what was done and
/// none of its values is better than another, such as the number of states read back.
pub fn judged(name: &str) -> Option<Judged> {
    let unit = unit(name)?;
    let (subject, figure) = name.split_once('.')?;
    if subject == "workload" {
        return None;
    }
    let is = |nature, tolerance| {
        let better = Better::Lower;
        Some(Judged {
            better,
            nature,
            tolerance,
        })
    };
    let has = |part: &str| figure.contains(part);
    // The greatest of many times is one event, and mostly a neighbour's.
    if figure.ends_with("_max_ns") {
        return None;
    }
    // What arrives is the scenario's to say.
    if figure == "offered_per_s" {
        return None;
    }
    if figure.ends_with("_per_s") {
        return Some(Judged {
            better: Better::Higher,
            nature: Nature::Measured,
            tolerance: TIMES,
        });
    }
    if has("rss") || has("heap") || has("server_memory") || has("slope") {
        return is(Nature::Measured, MEMORY);
    }
    // The harness allocates by the clock as well (progress, timers), and its share is in it.
    if unit == Unit::Nanos || has("_cpu_") || has("over_floor") || has("allocations") {
        return is(Nature::Measured, TIMES);
    }
    if DESCRIBES.contains(&figure) || figure.ends_with("_count") || unit == Unit::Megabytes {
        return None;
    }
    if BESIDE_COMPACTION.iter().any(|part| has(part)) {
        return is(Nature::Measured, AT_REST);
    }
    if has("at_rest") || has("live_bytes") || has("append_only") || has("namespace_bytes") {
        return is(Nature::Deterministic, AT_REST);
    }
    let moved = unit == Unit::Bytes
        || ["calls", "reads", "round_trips", "amplification"]
            .iter()
            .any(|part| has(part));
    moved.then_some(()).and(is(Nature::Deterministic, COUNTED))
}

/// What was done, and not how well.
const DESCRIBES: [&str; 12] = [
    "puts",
    "appended_bytes",
    "at_rest_files",
    "at_rest_allocated_bytes",
    "at_rest_uncompacted_bytes",
    "sampled_share",
    "states_verified",
    "verified_bytes",
    "kept_states",
    "items_kept",
    "items_verified",
    "large_value_bytes",
];

/// What background compaction is in, which runs when it runs.
const BESIDE_COMPACTION: [&str; 5] = [
    "at_rest_peak",
    "fill_write_amplification",
    "put_bytes_written",
    "patch_bytes_written",
    "delete_bytes_written",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{CELL, ITEMS};

    #[test]
    fn figures_have_a_direction_and_a_nature() {
        use Better::{Higher, Lower};
        use Nature::{Deterministic, Measured};
        for (name, better, nature) in [
            ("put_p50_ns", Lower, Measured),
            ("put_per_s", Higher, Measured),
            ("load_latest_rss_growth_bytes", Lower, Measured),
            ("put_allocations", Lower, Measured),
            ("put_cpu_ms_per_mb", Lower, Measured),
            ("stored_bytes_mean", Lower, Deterministic),
            ("wire_put_round_trips_mean", Lower, Deterministic),
            ("cold_tail_reads", Lower, Deterministic),
            ("total_at_rest_bytes", Lower, Deterministic),
            ("put_bytes_written_max", Lower, Measured),
            ("patch_large_engine_bytes_mean", Lower, Deterministic),
            ("search_over_floor", Lower, Measured),
        ] {
            let judged = judged(&format!("default.{name}")).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((judged.better, judged.nature), (better, nature), "{name}");
        }
        for name in [
            "puts",
            "put_count",
            "put_max_ns",
            "tail_read_mb_mean",
            "many_items",
        ] {
            assert_eq!(judged(&format!("default.{name}")), None, "{name}");
        }
        assert_eq!(judged("workload.raw_bytes"), None);
    }

    #[test]
    fn bytes_and_times_are_all_judged() {
        for (name, unit, _) in CELL.iter().chain(ITEMS) {
            let known = judged(&format!("default.{name}")).is_some() || DESCRIBES.contains(name);
            let must = matches!(unit, Unit::Bytes | Unit::Nanos);
            assert!(known || !must, "{name}");
        }
    }
}
