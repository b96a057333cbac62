//! Which charts there are, and what they are drawn from.

use maud::{Markup, html};

use super::is_ablation;
use super::run::{absence, counted, meta, variants_of};
use super::svg::{About, Dot, Dots, Line, Lines, Row, Scale, class, legend};
use crate::figures::{self, Unit};
use crate::measure::{Latency, Sample, Series};
use crate::report::{Run, sections};
use crate::result::Cell;
use crate::subject::Variant;

/// A chart of dots: the section it is in, its title, the figure, and the one that a line is
/// drawn to.
type Spec = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

/// All charts of dots, in their order.
const DOTS: &[Spec] = &[
    (
        "Memory",
        "Growth of the client's resident memory while it writes",
        "write_rss_growth_bytes",
        None,
    ),
    (
        "Memory",
        "Growth of the client's resident memory while whole states are loaded",
        "load_latest_rss_growth_bytes",
        None,
    ),
    (
        "Memory",
        "Growth of resident memory for a cold read of a thread's tail",
        "cold_tail_rss_growth_bytes",
        None,
    ),
    (
        "Latency",
        "A commit: median, and a line to the 99th percentile",
        "put_p50_ns",
        Some("put_p99_ns"),
    ),
    (
        "Latency",
        "Loading the newest state: median, and a line to the 99th percentile",
        "load_latest_p50_ns",
        Some("load_latest_p99_ns"),
    ),
    (
        "Storage",
        "All states at rest (of sampled variants extrapolated)",
        "total_at_rest_bytes",
        None,
    ),
    (
        "Amplification",
        "Bytes written for a commit, mean",
        "stored_bytes_mean",
        None,
    ),
    (
        "Amplification",
        "Bytes read for a cold read of a thread's tail",
        "cold_tail_bytes_read",
        None,
    ),
    (
        "Open loads",
        "A commit's response, from when it should have begun: median, and a line to the 99th \
         percentile",
        "put_response_p50_ns",
        Some("put_response_p99_ns"),
    ),
    (
        "Open loads",
        "A load's response, from when it should have begun: median, and a line to the 99th \
         percentile",
        "load_response_p50_ns",
        Some("load_response_p99_ns"),
    ),
    (
        "Restarts and time travel",
        "The first load of a process that goes on",
        "resume_p50_ns",
        None,
    ),
    (
        "Restarts and time travel",
        "A state with another message in its middle: bytes written, mean",
        "edit_stored_bytes_mean",
        None,
    ),
    (
        "Items",
        "Getting one item: median, and a line to the 99th percentile",
        "get_p50_ns",
        Some("get_p99_ns"),
    ),
    (
        "Items",
        "Patching one item: median, and a line to the 99th percentile",
        "patch_p50_ns",
        Some("patch_p99_ns"),
    ),
    (
        "Items",
        "A page of a search: median, and a line to the 99th percentile",
        "search_p50_ns",
        Some("search_p99_ns"),
    ),
];

/// The charts of a section.
pub(super) fn of_section(runs: &[Run], section: &str) -> Markup {
    let specs = DOTS.iter().filter(|(of, ..)| *of == section);
    html! { @for spec in specs { (dots(runs, spec)) } }
}

fn dots(runs: &[Run], &(_, title, figure, upto): &Spec) -> Markup {
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    let mut seen = Vec::new();
    for run in runs {
        let dots: Vec<_> = run
            .result
            .cells
            .iter()
            .filter(|cell| !is_ablation(cell.variant))
            .filter_map(|cell| dot(cell, figure, upto))
            .collect();
        if dots.is_empty() {
            continue;
        }
        let absent = variants_of(run)
            .into_iter()
            .filter(|variant| !is_ablation(*variant))
            .filter_map(|variant| Some((variant, absence(run, variant)?)));
        missing.extend(absent.map(|(variant, why)| format!("{variant} in {}: {why}", run.label)));
        seen.extend(dots.iter().map(|dot| dot.variant));
        rows.push(Row {
            label: run.label.clone(),
            dots,
        });
    }
    if rows.is_empty() {
        return html! {};
    }
    let unit = figures::unit(&format!("{}.{figure}", Variant::Default)).unwrap_or(Unit::Ratio);
    let mut chart = Dots {
        about: About {
            id: format!("c-{figure}"),
            title: title.into(),
            description: String::new(),
        },
        unit,
        rows,
    };
    let axis = format!("{}, {}", unit_name(unit), chart.scale().name());
    chart.about.description = format!(
        "A row for each of {}, a mark for each variant; {axis}. The values are in the table of \
         this section.",
        counted(chart.rows.len(), "run")
    );
    let mut all = chart.rows.iter().flat_map(|row| &row.dots);
    let has_zero = all.any(|dot| dot.value <= 0.0) && matches!(chart.scale(), Scale::Log { .. });
    let facts = places(runs, |run| sections::has(run, figure));
    html! {
        figure {
            h4 { (title) }
            (legend(&in_order(&seen)))
            (chart.draw())
            figcaption {
                "Axis: " (axis) ". Less is better. "
                @if has_zero { "What is zero stands at the left edge. " }
                (facts)
                @if !missing.is_empty() {
                    details.missing {
                        summary { (counted(missing.len(), "mark")) " missing" }
                        ul { @for one in &missing { li { (one) } } }
                    }
                }
            }
        }
    }
}

fn dot(cell: &Cell, figure: &str, upto: Option<&str>) -> Option<Dot> {
    let cell = Some(cell).filter(|cell| cell.verdict.ok)?;
    let value = *cell.figures.get(figure)?;
    let unit = figures::unit(&format!("{}.{figure}", cell.variant))?;
    let upto = upto.and_then(|upto| cell.figures.get(upto)).copied();
    let mut text = figures::format(value, unit);
    if let Some(upto) = upto {
        text = format!("{text}, p99 {}", figures::format(upto, unit));
    }
    Some(Dot {
        variant: cell.variant,
        value,
        upto,
        text,
    })
}

/// Each variant once, in the order of the enumeration's first appearance.
fn in_order(seen: &[Variant]) -> Vec<Variant> {
    let mut out = Vec::new();
    for &variant in seen {
        if !out.contains(&variant) {
            out.push(variant);
        }
    }
    out
}

/// Durabilities, machines and revisions of the runs in a figure.
fn places(runs: &[Run], concerned: impl Fn(&Run) -> bool) -> String {
    let mut revisions: Vec<_> = runs
        .iter()
        .filter(|run| concerned(run))
        .map(|run| format!("{} on {}", run.result.harness.label(), run.machine))
        .collect();
    revisions.sort();
    revisions.dedup();
    format!(
        "Durability is in each row's label; measured at revision {}.",
        revisions.join(", ")
    )
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "bytes",
        Unit::Nanos => "time",
        Unit::Count => "number",
        Unit::Ratio => "ratio",
        Unit::Megabytes => "megabytes",
    }
}

/// A technique switched off: each variant's figure over the default's in the same run.
pub(super) fn over_default(runs: &[Run], title: &str, figure: &str) -> Markup {
    let row = |run: &Run| {
        let default = run
            .result
            .cell(Variant::Default)
            .filter(|cell| cell.verdict.ok);
        let of = *default?.figures.get(figure).filter(|value| **value > 0.0)?;
        let ratio = |cell: &Cell| {
            let shown = cell.verdict.ok && is_ablation(cell.variant);
            let value = cell.figures.get(figure).filter(|_| shown)? / of;
            Some(Dot {
                variant: cell.variant,
                value,
                upto: None,
                text: format!("×{}", figures::format(value, Unit::Ratio)),
            })
        };
        let default = Dot {
            variant: Variant::Default,
            value: 1.0,
            upto: None,
            text: "×1".into(),
        };
        let others = run.result.cells.iter().filter_map(ratio);
        let dots: Vec<_> = std::iter::once(default).chain(others).collect();
        (dots.len() > 1).then(|| Row {
            label: run.label.clone(),
            dots,
        })
    };
    let rows: Vec<_> = runs.iter().filter_map(row).collect();
    if rows.is_empty() {
        return html! {};
    }
    let marks = rows.iter().flat_map(|row| &row.dots).map(|dot| dot.variant);
    let marks = in_order(&marks.collect::<Vec<_>>());
    let mut chart = Dots {
        about: About {
            id: format!("a-{figure}"),
            title: title.into(),
            description: String::new(),
        },
        unit: Unit::Ratio,
        rows,
    };
    let axis = format!("times the default's, {}", chart.scale().name());
    chart.about.description = format!(
        "A row for each of {}, a mark for each variant; {axis}. The values are in the table of \
         this section.",
        counted(chart.rows.len(), "run")
    );
    let labels: Vec<_> = chart.rows.iter().map(|row| &row.label).collect();
    let facts = places(runs, |run| labels.contains(&&run.label));
    html! {
        figure {
            h4 { (title) }
            (legend(&marks))
            (chart.draw())
            figcaption { "Axis: " (axis) ". " (facts) }
        }
    }
}

/// The operations whose distributions are shown, as results name them and as people do.
const CURVES: [(&str, &str); 9] = [
    ("put", "a commit"),
    (
        "put-response",
        "a commit of an open load, from its intended start",
    ),
    (
        "load-response",
        "a load of an open load, from its intended start",
    ),
    ("load-latest", "loading the newest state"),
    ("tail-read", "reading a thread's tail"),
    ("cold-tail", "reading a thread's tail, cold"),
    ("get", "getting one item"),
    ("patch", "patching one item"),
    ("search", "a page of a search"),
];
/// The variants that are compared there.
const COMPARED: [Variant; 4] = [
    Variant::Default,
    Variant::FullSnapshot,
    Variant::Floor,
    Variant::LangGraph,
];
/// Points of a curve for each factor of ten towards 100 %.
const POINTS: usize = 12;

/// Latency by percentile, from the histograms that results keep whole.
pub(super) fn percentiles(runs: &[Run]) -> Markup {
    let of_op = |&(op, words): &(&str, &str)| {
        let charts = runs
            .iter()
            .enumerate()
            .filter_map(|(n, run)| curves(n, run, op, words));
        let charts: Vec<_> = charts.collect();
        (!charts.is_empty()).then(|| {
            html! {
                details open[op == "put"] {
                    summary {
                        "Latency by percentile: " (words) " (" (counted(charts.len(), "run")) ")"
                    }
                    (legend(&COMPARED))
                    div.grid { @for chart in &charts { (chart) } }
                }
            }
        })
    };
    html! {
        @for part in CURVES.iter().filter_map(of_op) { (part) }
    }
}

/// None unless the engine is there and something to compare it with.
fn curves(n: usize, run: &Run, op: &str, words: &str) -> Option<Markup> {
    let mut found = Vec::new();
    for variant in COMPARED {
        let cell = run.result.cell(variant).filter(|cell| cell.verdict.ok);
        let Some(of) = cell.and_then(|cell| cell.ops.get(op)) else {
            continue;
        };
        if let Ok(latency) = Latency::decode(&of.hdr) {
            found.push((variant, latency));
        }
    }
    if found.len() < 2
        || !found
            .iter()
            .any(|(variant, _)| *variant == Variant::Default)
    {
        return None;
    }
    let most = found.iter().map(|(_, latency)| latency.count()).max()?;
    // Of a thousand values, nothing is known beyond the 99.9th percentile.
    let decades = (most.max(10) as f64).log10();
    let line = |(variant, latency): &(Variant, Latency)| {
        let known = (latency.count().max(10) as f64).log10();
        let count = (known * POINTS as f64).floor() as usize;
        let at = |point: usize| {
            let nines = point as f64 / POINTS as f64;
            let value = latency.at_quantile(1.0 - 10_f64.powf(-nines));
            (nines / decades, value as f64)
        };
        Line {
            variant: *variant,
            points: (0..=count).map(at).collect(),
        }
    };
    let nines = [
        (0.0, "0"),
        (1.0, "90"),
        (2.0, "99"),
        (3.0, "99.9"),
        (4.0, "99.99"),
        (5.0, "99.999"),
    ];
    let across = nines.into_iter().filter(|(nines, _)| *nines <= decades);
    let mut chart = Lines {
        about: About {
            id: format!("p-{op}-{n}"),
            title: format!("Latency of {words}: {}", run.label),
            description: String::new(),
        },
        across: across
            .map(|(nines, text)| (nines / decades, format!("{text} %")))
            .collect(),
        across_name: "percentile",
        unit: Unit::Nanos,
        lines: found.iter().map(line).collect(),
    };
    let axis = chart.scale().name();
    chart.about.description = format!("Percentiles across, latency upwards on a {axis}.");
    let counts = found.iter().map(|(variant, latency)| {
        format!(
            "{variant} {}",
            figures::format(latency.count() as f64, Unit::Count)
        )
    });
    Some(html! {
        figure {
            h5 { (run.label) }
            (chart.draw())
            figcaption {
                "Latency, " (axis) ". Operations: " (counts.collect::<Vec<_>>().join(", ")) "."
                (meta(run))
            }
        }
    })
}

/// What a series has at each sample.
type Value = fn(&Sample) -> Option<u64>;

/// The values of a series, with their titles.
const SERIES: [(&str, Value); 3] = [
    ("Resident memory", |sample| sample.rss_bytes),
    ("Live heap", |sample| sample.heap_bytes),
    ("At rest", |sample| sample.at_rest_bytes),
];
/// The most points of a line: more than can be told apart are no use.
pub(super) const SAMPLES: usize = 200;

/// Memory and storage over the steps of long runs.
pub(super) fn over_steps(runs: &[Run]) -> Markup {
    let mut out = Vec::new();
    for (n, run) in runs.iter().enumerate() {
        let cells: Vec<_> = run
            .result
            .cells
            .iter()
            .filter(|cell| cell.verdict.ok)
            .filter_map(|cell| Some((cell.variant, cell.series.first()?)))
            .collect();
        if cells.is_empty() {
            continue;
        }
        let variants: Vec<_> = cells.iter().map(|(variant, _)| *variant).collect();
        let charts = SERIES
            .iter()
            .filter_map(|(title, value)| series(n, run, title, &cells, *value));
        out.push(html! {
            h4 { (run.label) }
            (legend(&variants))
            div.grid { @for chart in charts { (chart) } }
        });
    }
    html! {
        @if !out.is_empty() {
            h3 id="over-time" { "Over time" }
            @for one in &out { (one) }
        }
    }
}

fn series(
    n: usize,
    run: &Run,
    title: &str,
    cells: &[(Variant, &Series)],
    value: Value,
) -> Option<Markup> {
    let steps = cells.iter().flat_map(|(_, series)| &series.samples);
    let last = steps
        .map(|sample| sample.step)
        .max()
        .filter(|last| *last > 0)?;
    let line = |(variant, series): &(Variant, &Series)| {
        let every = series.samples.len().div_ceil(SAMPLES).max(1);
        let points =
            series.samples.iter().step_by(every).filter_map(|sample| {
                Some((sample.step as f64 / last as f64, value(sample)? as f64))
            });
        Line {
            variant: *variant,
            points: points.collect(),
        }
    };
    let lines: Vec<_> = cells
        .iter()
        .map(line)
        .filter(|line| !line.points.is_empty())
        .collect();
    if lines.is_empty() {
        return None;
    }
    let quarters = [0.0, 0.5, 1.0];
    let mut chart = Lines {
        about: About {
            id: format!("s-{}-{n}", title.to_lowercase().replace(' ', "-")),
            title: format!("{title} over the steps: {}", run.label),
            description: String::new(),
        },
        across: quarters
            .map(|share| {
                (
                    share,
                    figures::format((share * last as f64).round(), Unit::Count),
                )
            })
            .to_vec(),
        across_name: "steps",
        unit: Unit::Bytes,
        lines,
    };
    let axis = chart.scale().name();
    chart.about.description = format!("Steps across, bytes upwards on a {axis}.");
    Some(html! {
        figure {
            h5 { (title) }
            (chart.draw())
            figcaption { "Bytes, " (axis) "." (meta(run)) }
        }
    })
}

/// A swatch of a variant's colour before its name.
pub(super) fn named(variant: Variant) -> Markup {
    html! { span class=(class(variant)) { i.swatch {} (variant) } }
}
