//! Operations on a small store beside those on a large one.

use super::RunResult;
use crate::figures::{self, SIZED, Unit};
use crate::workload::Workload;

/// The heads of the columns that [`by_size`] gives.
pub const HEADS: [&str; 9] = [
    "variant",
    "operation",
    "items",
    "p50, small",
    "p50, large",
    "ratio",
    "p99, small",
    "p99, large",
    "ratio",
];

/// A row for each operation that was done on both, as people read it. None where the
/// workload is no items.
pub fn by_size(result: &RunResult) -> Vec<[String; HEADS.len()]> {
    let Workload::Items(of) = &result.workload else {
        return Vec::new();
    };
    let count = |number: u64| figures::format(number as f64, Unit::Count);
    let nanos = |nanos: u64| figures::format(nanos as f64, Unit::Nanos);
    let ratio = |large: u64, small: u64| match small {
        0 => "–".into(),
        small => figures::format(large as f64 / small as f64, Unit::Ratio),
    };
    let mut rows = Vec::new();
    for cell in result.cells.iter().filter(|cell| cell.verdict.ok) {
        for op in SIZED {
            let ops = [op.to_string(), format!("{op}-small")].map(|op| cell.ops.get(&op));
            let [Some(large), Some(small)] = ops.map(|op| op.map(|op| op.latency_ns)) else {
                continue;
            };
            rows.push([
                cell.variant.to_string(),
                op.to_string(),
                format!("{} and {}", count(of.small_items), count(of.items)),
                nanos(small.p50),
                nanos(large.p50),
                ratio(large.p50, small.p50),
                nanos(small.p99),
                nanos(large.p99),
                ratio(large.p99, small.p99),
            ]);
        }
    }
    rows
}
