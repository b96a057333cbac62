//! The figures that results hold and expectations name.
//!
//! A figure is `subject.name`: the subject is `workload` or a variant, the name is
//! one of [`WORKLOAD`] or [`CELL`], or an operation with a statistic, such as
//! `put_p50_ns`.

use crate::workload::Summary;

/// What a figure counts, which decides how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanos,
    /// A number of things.
    Count,
    /// A number that needs its fraction.
    Ratio,
    /// Megabytes of a million bytes.
    Megabytes,
}

/// A figure's name, unit and meaning.
type Figure = (&'static str, Unit, &'static str);

/// The figures of a workload.
pub const WORKLOAD: &[Figure] = &[
    ("conversations", Unit::Count, "conversations"),
    (
        "messages",
        Unit::Count,
        "messages, which is the number of states",
    ),
    ("raw_bytes", Unit::Bytes, "all messages, as compact JSON"),
    (
        "snapshot_bytes",
        Unit::Bytes,
        "the messages of every state, added up",
    ),
    ("largest_state_bytes", Unit::Bytes, "the largest state"),
];

/// The figures of a cell, operations aside.
pub const CELL: &[Figure] = &[
    ("puts", Unit::Count, "commits"),
    (
        "put_per_s",
        Unit::Ratio,
        "commits a second, over the measure phase",
    ),
    (
        "put_cpu_us",
        Unit::Ratio,
        "microseconds of processor time a commit, the harness's included",
    ),
    (
        "put_cpu_ms_per_mb",
        Unit::Ratio,
        "milliseconds of processor time for each MB of the states put, the harness's included",
    ),
    (
        "put_allocations",
        Unit::Ratio,
        "allocations a commit, the harness's included",
    ),
    (
        "appended_bytes",
        Unit::Bytes,
        "messages that the commits added",
    ),
    (
        "bytes_written",
        Unit::Bytes,
        "bytes handed to the storage while writing",
    ),
    ("write_calls", Unit::Count, "calls that wrote them"),
    ("sync_calls", Unit::Count, "calls that made them durable"),
    (
        "write_amplification",
        Unit::Ratio,
        "bytes written over bytes appended",
    ),
    (
        "stored_bytes_mean",
        Unit::Bytes,
        "bytes written a commit, mean",
    ),
    (
        "stored_bytes_p50",
        Unit::Bytes,
        "bytes written a commit, median",
    ),
    (
        "stored_bytes_p99",
        Unit::Bytes,
        "bytes written a commit, 99th percentile",
    ),
    (
        "stored_bytes_max",
        Unit::Bytes,
        "bytes written a commit, greatest",
    ),
    (
        "write_rss_peak_bytes",
        Unit::Bytes,
        "peak resident memory while writing",
    ),
    (
        "write_rss_growth_bytes",
        Unit::Bytes,
        "its growth over the start of writing",
    ),
    (
        "write_heap_bytes",
        Unit::Bytes,
        "live heap at the end of writing",
    ),
    (
        "stored_bytes_end_mean",
        Unit::Bytes,
        "bytes written a commit over the last tenth of each thread, mean",
    ),
    ("at_rest_bytes", Unit::Bytes, "bytes at rest after closing"),
    (
        "at_rest_allocated_bytes",
        Unit::Bytes,
        "bytes of the file system's blocks for them",
    ),
    ("at_rest_files", Unit::Count, "files at rest"),
    (
        "total_at_rest_bytes",
        Unit::Bytes,
        "at rest, extrapolated to all states if sampled",
    ),
    (
        "sampled_share",
        Unit::Ratio,
        "share of the states that was written",
    ),
    (
        "states_verified",
        Unit::Count,
        "states read back whole and found right",
    ),
    ("verified_bytes", Unit::Bytes, "bytes of these states"),
    (
        "load_latest_mb_mean",
        Unit::Megabytes,
        "message bytes a load gives, mean",
    ),
    (
        "load_latest_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a load, mean",
    ),
    (
        "load_latest_calls_mean",
        Unit::Ratio,
        "backend calls a load, mean",
    ),
    (
        "load_latest_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory while loading",
    ),
    (
        "tail_read_mb_mean",
        Unit::Megabytes,
        "message bytes a tail read gives, mean",
    ),
    (
        "tail_read_bytes_read_mean",
        Unit::Bytes,
        "bytes read for a tail read, mean",
    ),
    (
        "tail_read_calls_mean",
        Unit::Ratio,
        "backend calls a tail read, mean",
    ),
    (
        "tail_read_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory while reading",
    ),
    (
        "cold_tail_round_trips",
        Unit::Count,
        "backend calls of a cold tail read",
    ),
    (
        "cold_tail_reads",
        Unit::Count,
        "read calls of a cold tail read",
    ),
    (
        "cold_tail_bytes_read",
        Unit::Bytes,
        "bytes read for a cold tail read",
    ),
    (
        "cold_tail_rss_growth_bytes",
        Unit::Bytes,
        "peak growth of resident memory for it",
    ),
    (
        "rss_slope_bytes_per_100k",
        Unit::Bytes,
        "growth of resident memory, 100,000 steps",
    ),
    (
        "heap_slope_bytes_per_100k",
        Unit::Bytes,
        "growth of the live heap, 100,000 steps",
    ),
    (
        "at_rest_peak_bytes",
        Unit::Bytes,
        "most bytes at rest during the run",
    ),
    (
        "live_bytes",
        Unit::Bytes,
        "the kept states in a store that never had others",
    ),
    ("kept_states", Unit::Count, "checkpoints listed at the end"),
];

/// The operations, as they start a figure's name.
const OPS: &[(&str, &str)] = &[
    ("put", "a commit"),
    (
        "paired_put",
        "of the floor: a commit of the engine beside it, taking turns with it",
    ),
    (
        "paired_load_latest",
        "of the floor: a load of the engine beside it",
    ),
    (
        "paired_tail_read",
        "of the floor: a tail read of the engine beside it",
    ),
    (
        "paired_cold_tail",
        "of the floor: a cold tail read of the engine beside it",
    ),
    (
        "bare_put",
        "of the floor: the system calls of a commit alone, without the runtime's hand-over",
    ),
    ("bare_load_latest", "of the floor: those of a load alone"),
    ("bare_tail_read", "of the floor: those of a tail read alone"),
    (
        "bare_cold_tail",
        "of the floor: those of a cold tail read alone",
    ),
    (
        "put_short",
        "a commit to a short thread, taking turns with `put_long`",
    ),
    ("put_long", "a commit to the long thread, near its end"),
    (
        "put_at_<n>",
        "a commit to a thread of nearly so many messages",
    ),
    ("load_latest", "finding and reading the whole newest state"),
    ("tail_read", "finding the newest state and reading its end"),
    ("cold_tail", "the same in a process that has just started"),
    ("state_read", "finding and reading one whole state"),
];

/// The statistics of an operation, as they end a figure's name.
const STATISTICS: &[(&str, Unit)] = &[
    ("count", Unit::Count),
    ("p50_ns", Unit::Nanos),
    ("p99_ns", Unit::Nanos),
    ("max_ns", Unit::Nanos),
    ("mean_ns", Unit::Nanos),
];

/// The unit of a figure, or `None` if there is no such figure.
pub fn unit(name: &str) -> Option<Unit> {
    let (subject, figure) = name.split_once('.')?;
    if subject == "workload" {
        return find(WORKLOAD, figure);
    }
    if !["default", "whole-value", "full-snapshot", "floor", "no-op"].contains(&subject) {
        return None;
    }
    find(CELL, figure).or_else(|| {
        STATISTICS.iter().find_map(|(statistic, unit)| {
            let op = figure.strip_suffix(statistic)?.strip_suffix('_')?;
            let length = op.strip_prefix("put_at_");
            let at = length.is_some_and(|n| n.parse::<u64>().is_ok());
            (at || OPS.iter().any(|(known, _)| *known == op)).then_some(*unit)
        })
    })
}

fn find(table: &[Figure], name: &str) -> Option<Unit> {
    table
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, unit, _)| *unit)
}

/// Checks that there is a figure of this name.
///
/// # Errors
/// A message that lists the figures there are.
pub fn check(name: &str) -> Result<(), String> {
    if unit(name).is_some() {
        return Ok(());
    }
    let list = |table: &[Figure]| {
        table
            .iter()
            .map(|(name, ..)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let ops: Vec<_> = OPS.iter().map(|(op, _)| *op).collect();
    let statistics: Vec<_> = STATISTICS.iter().map(|(statistic, _)| *statistic).collect();
    Err(format!(
        "no figure is called {name:?}; known are workload.({}), <variant>.({}), and \
         <variant>.<op>_<statistic> with op {} and statistic {}",
        list(WORKLOAD),
        list(CELL),
        ops.join(", "),
        statistics.join(", ")
    ))
}

/// The figures of a workload.
pub fn of_workload(summary: &Summary) -> Vec<(String, f64)> {
    let values = [
        summary.conversations,
        summary.messages,
        summary.raw_bytes,
        summary.snapshot_bytes,
        summary.largest_state_bytes,
    ];
    let names = WORKLOAD.iter().map(|(name, ..)| format!("workload.{name}"));
    names.zip(values.map(|value| value as f64)).collect()
}

/// A value as people read it.
pub fn format(value: f64, unit: Unit) -> String {
    let scaled = |value: f64, steps: &[(&str, f64)]| {
        let fits = steps.iter().rev().find(|(_, size)| value.abs() >= *size);
        let (name, size) = fits.or(steps.first()).copied().unwrap_or(("", 1.0));
        let scaled = value / size;
        let digits = match scaled.abs() {
            _ if size == 1.0 && scaled.fract() == 0.0 => 0,
            x if x >= 100.0 => 0,
            x if x >= 10.0 => 1,
            _ => 2,
        };
        format!("{scaled:.digits$} {name}").trim_end().to_string()
    };
    match unit {
        Unit::Bytes => scaled(
            value,
            &[
                ("B", 1.0),
                ("KB", 1e3),
                ("MB", 1e6),
                ("GB", 1e9),
                ("TB", 1e12),
            ],
        ),
        Unit::Nanos => scaled(value, &[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]),
        Unit::Megabytes => format!("{value:.3} MB"),
        Unit::Count => group(value),
        Unit::Ratio => match value.abs() {
            x if x >= 1000.0 => group(value),
            x if x >= 100.0 => format!("{value:.0}"),
            x if x >= 10.0 => format!("{value:.1}"),
            _ => format!("{value:.3}"),
        },
    }
}

/// A whole number with a comma at every third digit.
fn group(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_known_by_name() {
        assert_eq!(unit("workload.raw_bytes"), Some(Unit::Bytes));
        assert_eq!(unit("full-snapshot.put_at_1000_p50_ns"), Some(Unit::Nanos));
        assert_eq!(unit("default.put_short_count"), Some(Unit::Count));
        for unknown in [
            "default.",
            "raw_bytes",
            "mine.puts",
            "default.put_at_x_p50_ns",
        ] {
            assert!(check(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn values_read_well() {
        assert_eq!(format(30_209_007.0, Unit::Bytes), "30.2 MB");
        assert_eq!(format(512.0, Unit::Bytes), "512 B");
        assert_eq!(format(211_500.0, Unit::Nanos), "212 µs");
        assert_eq!(format(22_349.0, Unit::Count), "22,349");
        assert_eq!(format(-5_000.0, Unit::Bytes), "-5.00 KB");
    }
}
