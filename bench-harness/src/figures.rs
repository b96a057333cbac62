//! The figures that results hold and expectations name.
//!
//! A figure is `subject.name`: the subject is `workload` or a variant, the name is
//! one of [`WORKLOAD`], [`CELL`] or [`ITEMS`], or an operation with a statistic, such as
//! `put_p50_ns`.

mod items;
mod tables;

use clap::ValueEnum as _;

use crate::subject::Variant;
use crate::workload::Workload;

use tables::{Figure, OPS, STATISTICS};

pub use items::ITEMS;
pub use tables::{CELL, SIZED, WORKLOAD};

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

/// The unit of a figure, or `None` if there is no such figure.
pub fn unit(name: &str) -> Option<Unit> {
    let (subject, figure) = name.split_once('.')?;
    if subject == "workload" {
        return find(WORKLOAD, figure);
    }
    if Variant::from_str(subject, false).is_err() {
        return None;
    }
    find(CELL, figure)
        .or_else(|| find(ITEMS, figure))
        .or_else(|| {
            STATISTICS.iter().find_map(|(statistic, unit)| {
                let op = figure.strip_suffix(statistic)?.strip_suffix('_')?;
                is_op(op).then_some(*unit)
            })
        })
}

/// Whether there is an operation of this name.
fn is_op(name: &str) -> bool {
    let known = |name: &str| OPS.iter().any(|(known, _)| *known == name);
    if let Some(length) = name.strip_prefix("put_at_") {
        return length.parse::<u64>().is_ok();
    }
    if let Some(op) = name.strip_suffix("_small") {
        return SIZED.contains(&op);
    }
    let beside = ["paired_", "bare_"];
    let op = beside.iter().find_map(|prefix| name.strip_prefix(prefix));
    known(op.unwrap_or(name))
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
        "no figure is called {name:?}; known are workload.({}), <variant>.({}, {}), and \
         <variant>.<op>_<statistic> with op {} and statistic {}",
        list(WORKLOAD),
        list(CELL),
        list(ITEMS),
        ops.join(", "),
        statistics.join(", ")
    ))
}

/// The figures of a workload.
pub fn of_workload(workload: &Workload) -> Vec<(String, f64)> {
    let values = match workload {
        Workload::Conversations(of) => vec![
            ("conversations", of.conversations),
            ("messages", of.messages),
            ("raw_bytes", of.raw_bytes),
            ("snapshot_bytes", of.snapshot_bytes),
            ("largest_state_bytes", of.largest_state_bytes),
        ],
        Workload::Items(of) => vec![
            ("items", of.items),
            ("namespaces", of.namespaces),
            ("raw_bytes", of.raw_bytes),
            ("small_items", of.small_items),
        ],
    };
    let named = |(name, value)| (format!("workload.{name}"), value as f64);
    values.into_iter().map(named).collect()
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
        assert_eq!(unit("default.search_small_p99_ns"), Some(Unit::Nanos));
        assert_eq!(unit("floor.paired_patch_large_p50_ns"), Some(Unit::Nanos));
        assert_eq!(unit("floor.search_over_floor"), Some(Unit::Ratio));
        for unknown in [
            "default.put_short_small_p50_ns",
            "floor.paired_nothing_p50_ns",
            "default.<op>_small_x_p50_ns",
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
