//! Charts as mermaid, which code hosts draw.

use super::Run;
use crate::measure::{Sample, Series};

/// The most points of a line: more than can be told apart are no use.
const POINTS: usize = 25;

/// Memory over the steps of long runs.
pub(super) fn over_steps(runs: &[Run]) -> String {
    let mut out = String::new();
    for run in runs {
        let lines: Vec<_> = run
            .result
            .cells
            .iter()
            .filter(|cell| cell.verdict.ok)
            .filter_map(|cell| Some((cell.variant.to_string(), cell.series.first()?)))
            .collect();
        let mib = |sample: &Sample| Some(sample.rss_bytes? as f64 / f64::from(1 << 20));
        let names: Vec<_> = lines.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(chart) = chart("Resident memory over the steps", "MiB", &lines, mib) {
            let names = names.join(", ");
            out.push_str(&format!(
                "### {}\n\nLines, in their order: {names}.\n\n{chart}\n",
                run.label
            ));
        }
    }
    if out.is_empty() {
        out
    } else {
        format!("## Over time\n\n{out}")
    }
}

fn chart(
    title: &str,
    unit: &str,
    lines: &[(String, &Series)],
    value: impl Fn(&Sample) -> Option<f64>,
) -> Option<String> {
    let steps: Vec<u64> = thin(&lines.first()?.1.samples)
        .map(|sample| sample.step)
        .collect();
    let mut out = String::new();
    let mut most = 0.0_f64;
    for (_, series) in lines {
        let values: Option<Vec<f64>> = thin(&series.samples).map(&value).collect();
        let values = values.filter(|values| values.len() == steps.len())?;
        most = values.iter().copied().fold(most, f64::max);
        let values: Vec<_> = values.iter().map(|value| format!("{value:.1}")).collect();
        out.push_str(&format!("  line [{}]\n", values.join(", ")));
    }
    let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
    Some(format!(
        "```mermaid\nxychart-beta\n  title \"{title}\"\n  x-axis [{}]\n  \
         y-axis \"{unit}\" 0 --> {:.0}\n{out}```\n",
        steps.join(", "),
        (most * 1.1).ceil().max(1.0)
    ))
}

/// Evenly spaced samples, at most about [`POINTS`].
fn thin(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples
        .iter()
        .step_by(samples.len().div_ceil(POINTS).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_bounded_number_of_points() {
        let sample = |step| Sample {
            step,
            elapsed_ms: 0,
            rss_bytes: Some(step << 20),
            heap_bytes: None,
            at_rest_bytes: None,
        };
        let series = Series {
            name: "steps".into(),
            samples: (1..=200).map(sample).collect(),
        };
        let mib = |sample: &Sample| Some(sample.rss_bytes? as f64 / f64::from(1 << 20));
        let drawn = chart("x", "MiB", &[("default".into(), &series)], mib).unwrap();
        assert_eq!(drawn.matches(".0").count(), POINTS);
        assert!(drawn.contains("0 --> 213"), "{drawn}");
    }
}
