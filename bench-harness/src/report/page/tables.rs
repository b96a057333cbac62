//! The tables of the page.

use maud::{Markup, html};

use super::charts::named;
use super::run::{absence, counted, meta, revision, variants_of};
use crate::figures;
use crate::report::Run;
use crate::report::claims;
use crate::report::sections::{self, Section, columns_of, has, value};
use crate::result::{HEADS, Outcome, by_size};
use crate::scenario::Scenario;
use crate::subject::Variant;

/// A table in a box of its own that scrolls where the screen is too narrow.
pub(super) fn boxed(label: &str, table: &Markup) -> Markup {
    html! { div.box tabindex="0" role="region" aria-label=(label) { (table) } }
}

/// The line that begins the rows of a run.
fn head(run: &Run, columns: usize) -> Markup {
    html! {
        tr.run {
            th colspan=(columns) scope="rowgroup" { span.pin { (run.label) " " (meta(run)) } }
        }
    }
}

/// All figures of a section, a group of rows for each run.
pub(super) fn figures_of(runs: &[Run], section: &Section) -> Markup {
    let (name, _, columns) = section;
    let columns = columns_of(runs, columns);
    let concerned = |run: &&Run| columns.iter().any(|(_, figure)| has(run, figure));
    let runs: Vec<_> = runs.iter().filter(concerned).collect();
    if runs.is_empty() {
        return html! { p.missing { "No result has any yet." } };
    }
    let table = html! {
        table {
            thead {
                tr {
                    th scope="col" { "variant" }
                    @for (head, _) in &columns { th scope="col" { (head) } }
                }
            }
            @for run in &runs {
                tbody {
                    (head(run, columns.len() + 1))
                    @for variant in variants_of(run) { (cell_row(run, variant, &columns)) }
                }
            }
        }
    };
    html! {
        details {
            summary { "All figures: " (name) " (" (counted(runs.len(), "run")) ")" }
            (boxed(name, &table))
        }
    }
}

fn cell_row(run: &Run, variant: Variant, columns: &[(&str, &str)]) -> Markup {
    html! {
        tr {
            th scope="row" { (named(variant)) }
            @match (absence(run, variant), run.result.cell(variant)) {
                (None, Some(cell)) => {
                    @for (_, figure) in columns { td { (value(cell, figure)) } }
                }
                (why, _) => {
                    td.missing colspan=(columns.len()) { (why.unwrap_or_default()) }
                }
            }
        }
    }
}

/// What others have published, and what was measured: a group of rows for each claim.
pub(super) fn published(runs: &[Run], scenarios: &[Scenario]) -> Markup {
    let rows = claims::rows(runs, scenarios);
    let groups: Vec<_> = rows
        .chunk_by(|(_, one), (_, next)| one[0] == next[0])
        .collect();
    let table = html! {
        table {
            thead { tr { @for head in claims::heads().skip(1) { th scope="col" { (head) } } } }
            @for group in &groups {
                tbody {
                    @if let Some((_, [claim, ..])) = group.first() {
                        tr.run { th colspan="6" scope="rowgroup" { span.pin { (claim) } } }
                    }
                    @for (run, [_, _, values @ ..]) in *group {
                        tr {
                            th scope="row" { (run.label) " " (revision(run)) }
                            @for text in values { td { (text) } }
                        }
                    }
                }
            }
        }
    };
    boxed("Published claims", &table)
}

/// All budgets, those that are missed marked by more than colour.
pub(super) fn budgets(runs: &[Run]) -> Markup {
    let with = runs
        .iter()
        .filter(|run| !run.result.expectations.is_empty());
    let table = html! {
        table {
            thead {
                tr {
                    th scope="col" { "outcome" }
                    th.words scope="col" { "expected" }
                    th scope="col" { "limit" }
                    th scope="col" { "measured" }
                }
            }
            @for run in with {
                tbody {
                    (head(run, 4))
                    @for expected in &run.result.expectations {
                        tr {
                            td.words { (badge(expected.outcome)) }
                            td.words title=(expected.formula) { (expected.name) }
                            td { (expected.limit_text()) }
                            td { (expected.measured_text()) }
                        }
                    }
                }
            }
        }
    };
    boxed("Budgets", &table)
}

fn badge(outcome: Outcome) -> Markup {
    let (class, text) = match outcome {
        Outcome::Met => ("met", "✓ met"),
        Outcome::Missed => ("missed", "✗ missed"),
        Outcome::NotMeasured => ("open", "not measured"),
    };
    html! { span class={ "badge " (class) } { (text) } }
}

/// Figures in which variants are held against the default, for each comparison.
const HELD: [(&str, &str); 7] = [
    ("RSS growth, writing", "write_rss_growth_bytes"),
    ("RSS growth, loads", "load_latest_rss_growth_bytes"),
    ("put p50", "put_p50_ns"),
    ("load p50", "load_latest_p50_ns"),
    ("all states at rest", "total_at_rest_bytes"),
    ("bytes a put", "stored_bytes_mean"),
    ("allocations a put", "put_allocations"),
];

/// These variants beside the default, each value with its ratio to the default's. Empty
/// where no run has any of them.
pub(super) fn beside_default(runs: &[Run], label: &str, is: impl Fn(Variant) -> bool) -> Markup {
    let concerned = |run: &&Run| {
        let mut cells = run.result.cells.iter();
        cells.any(|cell| is(cell.variant) && cell.verdict.ok)
    };
    let runs: Vec<_> = runs.iter().filter(concerned).collect();
    if runs.is_empty() {
        return html! { p.missing { "No result has any yet." } };
    }
    let table = html! {
        table {
            thead {
                tr {
                    th scope="col" { "variant" }
                    @for (head, _) in HELD { th scope="col" { (head) } }
                }
            }
            @for run in &runs {
                tbody {
                    (head(run, HELD.len() + 1))
                    @for variant in variants_of(run) {
                        @if is(variant) || variant == Variant::Default { (held(run, variant)) }
                    }
                }
            }
        }
    };
    boxed(label, &table)
}

fn held(run: &Run, variant: Variant) -> Markup {
    let default = run
        .result
        .cell(Variant::Default)
        .filter(|cell| cell.verdict.ok);
    let Some(cell) = run.result.cell(variant).filter(|cell| cell.verdict.ok) else {
        return cell_row(run, variant, &HELD);
    };
    let ratio = |figure: &str| {
        let of = default?.figures.get(figure).filter(|value| **value > 0.0)?;
        let ratio = cell.figures.get(figure)? / of;
        (variant != Variant::Default).then(|| figures::format(ratio, figures::Unit::Ratio))
    };
    html! {
        tr {
            th scope="row" { (named(variant)) }
            @for (_, figure) in HELD {
                td {
                    (value(cell, figure))
                    @if let Some(ratio) = ratio(figure) { " " span.ratio { "×" (ratio) } }
                }
            }
        }
    }
}

/// Operations of the long-term store on a small and on a large store.
pub(super) fn sizes(runs: &[Run]) -> Markup {
    let rows: Vec<_> = runs
        .iter()
        .map(|run| (run, by_size(&run.result)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    if rows.is_empty() {
        return html! {};
    }
    let table = html! {
        table {
            thead { tr { @for (n, head) in HEADS.iter().enumerate() { th.words[n < 3] scope="col" { (head) } } } }
            @for (run, rows) in &rows {
                tbody {
                    (head(run, HEADS.len()))
                    @for row in rows {
                        tr { @for (n, text) in row.iter().enumerate() { td.words[n < 3] { (text) } } }
                    }
                }
            }
        }
    };
    html! {
        h3 { "A small store and a large one" }
        (boxed("A small store and a large one", &table))
    }
}

/// What cells and runs say besides their figures.
pub(super) fn notes(runs: &[Run]) -> Markup {
    html! {
        dl.notes {
            @for run in runs {
                @let lines = sections::notes_of(run);
                @if !lines.is_empty() {
                    dt { (run.label) }
                    dd { ul { @for line in &lines { li { (line) } } } }
                }
            }
        }
    }
}

/// The runs, and where their files are.
pub(super) fn runs(runs: &[Run]) -> Markup {
    let table = html! {
        table {
            thead { tr { @for head in sections::RUN_HEADS { th scope="col" { (head) } } th scope="col" { "file" } } }
            tbody {
                @for run in runs {
                    @let row = sections::run_row(run);
                    tr {
                        th scope="row" { (run.label) }
                        @for text in row.iter().skip(1) { td { (text) } }
                        td { a href=(run.path) { "JSON" } }
                    }
                }
            }
        }
    };
    boxed("Runs", &table)
}
