//! The page: one file that asks nothing of any network, follows light and dark, and is
//! readable on a phone.
//!
//! It has no script. Sections fold with `details`, charts are drawn here, and what a mark
//! stands for is told by its shape as well as by its colour.

mod charts;
mod prose;
mod run;
mod summary;
mod svg;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::sections::{SECTIONS, columns_of};
use super::{METHOD, Run, claims, machine_lines, missing};
use crate::scenario::Scenario;
use crate::subject::Variant;

/// Colours, type and layout.
const STYLE: &str = include_str!("page.css");

/// Variants with one technique switched off, and the technique.
const ABLATIONS: [(&str, &str); 6] = [
    (
        "whole-value",
        "incremental update (the whole list is handed over at every step)",
    ),
    ("no-chunking", "chunking"),
    ("no-lazy-loading", "lazy loading"),
    ("no-cache", "the cache"),
    ("no-compression", "compression"),
    ("no-pooling", "pooling of connections"),
];

/// The charts of what a technique saves, and their figures.
const SWITCHED: [(&str, &str); 4] = [
    (
        "Growth of resident memory while writing, over the default's",
        "write_rss_growth_bytes",
    ),
    ("Median commit, over the default's", "put_p50_ns"),
    ("Median load, over the default's", "load_latest_p50_ns"),
    (
        "All states at rest, over the default's",
        "total_at_rest_bytes",
    ),
];

/// The sections, in their order: the anchor and the name.
const NAV: [(&str, &str); 14] = [
    ("in-short", "In short"),
    ("memory", "Memory"),
    ("latency", "Latency"),
    ("storage", "Storage"),
    ("amplification", "Amplification"),
    ("restarts", "Restarts"),
    ("items", "Long-term store"),
    ("ablation", "Ablation"),
    ("peers", "Peers"),
    ("claims", "Claims"),
    ("budgets", "Budgets"),
    ("scenarios", "Scenarios"),
    ("runs", "Runs"),
    ("method", "Method"),
];

/// The whole page.
pub(super) fn render(runs: &[Run], scenarios: &[Scenario]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Chunkpoint, measured" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#in-short" { "To the results" }
                header {
                    h1 { "Chunkpoint, measured" }
                    p {
                        "Durable memory for agents: what it takes in memory, time and bytes, beside \
                         snapshots of the whole state, LangGraph's own savers and the bare driver. Made by "
                        code { "chunkpoint-bench report" } " from " (runs.len())
                        " results and nothing else; every answer in them was compared with the \
                         workload, byte by byte."
                    }
                }
                nav aria-label="Sections" {
                    ul { @for (id, name) in NAV { li { a href={ "#" (id) } { (name) } } } }
                }
                main {
                    (summary::section(runs))
                    (memory(runs))
                    (latency(runs))
                    (plain(runs, "storage", "Storage"))
                    (plain(runs, "amplification", "Amplification"))
                    (plain(runs, "restarts", "Restarts and time travel"))
                    (items(runs))
                    (ablation(runs))
                    (peers(runs))
                    (published(runs, scenarios))
                    (budgets(runs))
                    (told(runs))
                    (sources(runs, scenarios))
                    section id="method" { (prose::html_of(METHOD)) }
                }
                footer {
                    p {
                        "The same as text: " a href="README.md" { "README.md" }
                        ". This page asks nothing of any network."
                    }
                }
            }
        }
    };
    page.into_string()
}

fn section(id: &str, name: &str, about: &str, inner: &Markup) -> Markup {
    html! {
        section id=(id) {
            h2 { (name) }
            (prose::html_of(about))
            (inner)
        }
    }
}

/// What the section of figures of this name is about.
fn about(name: &str) -> &'static str {
    let section = SECTIONS.iter().find(|(known, ..)| *known == name);
    section.map_or("", |(_, about, _)| about)
}

/// The table of the section of figures of this name.
fn figures(runs: &[Run], name: &str) -> Markup {
    let section = SECTIONS.iter().find(|(known, ..)| *known == name);
    html! { @if let Some(section) = section { (tables::figures_of(runs, section)) } }
}

fn published(runs: &[Run], scenarios: &[Scenario]) -> Markup {
    let table = tables::published(runs, scenarios);
    section("claims", "Published claims", claims::ABOUT, &table)
}

fn memory(runs: &[Run]) -> Markup {
    let inner = html! {
        (charts::of_section(runs, "Memory"))
        (charts::over_steps(runs))
        (figures(runs, "Memory"))
    };
    section("memory", "Memory", about("Memory"), &inner)
}

fn latency(runs: &[Run]) -> Markup {
    let inner = html! {
        (charts::of_section(runs, "Latency"))
        h3 { "Distributions" }
        p { "From the histograms that every result keeps whole. Colours as in the legends." }
        (charts::percentiles(runs))
        (figures(runs, "Latency"))
        (part(runs, "Open loads"))
    };
    section("latency", "Latency", about("Latency"), &inner)
}

fn plain(runs: &[Run], id: &str, name: &str) -> Markup {
    let inner = html! {
        (charts::of_section(runs, name))
        (figures(runs, name))
    };
    section(id, name, about(name), &inner)
}

/// A section of figures under a heading within another one; nothing where no run has any.
fn part(runs: &[Run], name: &str) -> Markup {
    let section = SECTIONS.iter().find(|(known, ..)| *known == name);
    let Some((_, about, columns)) = section else {
        return html! {};
    };
    if columns_of(runs, columns).is_empty() {
        return html! {};
    }
    html! {
        h3 { (name) }
        (prose::html_of(about))
        (charts::of_section(runs, name))
        (figures(runs, name))
    }
}

fn items(runs: &[Run]) -> Markup {
    let inner = html! {
        @for name in ["Items", "One large value", "Many items opened"] { (part(runs, name)) }
        (tables::sizes(runs))
    };
    section("items", "Long-term store", "", &inner)
}

/// Whether a variant is the default with one technique switched off.
fn is_ablation(variant: Variant) -> bool {
    let name = variant.to_string();
    let known = ABLATIONS.iter().any(|(known, _)| *known == name);
    known || (name.starts_with("no-") && variant != Variant::NoOp)
}

fn ablation(runs: &[Run]) -> Markup {
    let has = |name: &str| {
        let mut cells = runs.iter().flat_map(|run| &run.result.cells);
        cells.any(|cell| cell.verdict.ok && cell.variant.to_string() == name)
    };
    let open: Vec<_> = ABLATIONS.iter().filter(|(name, _)| !has(name)).collect();
    let inner = html! {
        ul {
            @for (name, technique) in ABLATIONS.iter().filter(|(name, _)| has(name)) {
                li { code { (name) } ": without " (technique) }
            }
        }
        @if !open.is_empty() {
            p.missing {
                "Not measured yet: "
                @for (n, (_, technique)) in open.iter().enumerate() {
                    @if n > 0 { ", " } "without " (technique)
                }
                "."
            }
        }
        @for (title, figure) in SWITCHED {
            (charts::over_default(runs, title, figure))
        }
        (tables::beside_default(runs, "Ablation", is_ablation))
    };
    let about = "One technique switched off in turn, everything else as it is. ×n is the value over \
                 the default's in the same run: more than one is what the technique saves.";
    section("ablation", "Ablation", about, &inner)
}

fn peers(runs: &[Run]) -> Markup {
    let table = tables::beside_default(runs, "Peers", |variant| variant == Variant::LangGraph);
    let about = "LangGraph's own savers, driven through the same operations in their own process. \
                 ×n is the value over the default's in the same run.";
    section("peers", "Peers", about, &table)
}

fn budgets(runs: &[Run]) -> Markup {
    let about = "What the scenarios expect of the engine, and what was measured.";
    section("budgets", "Budgets", about, &tables::budgets(runs))
}

/// Scenarios and notes.
fn told(runs: &[Run]) -> Markup {
    let mut told = Vec::new();
    for run in runs {
        let scenario = &run.result.scenario;
        if !told
            .iter()
            .any(|one: &&crate::result::ScenarioInfo| one.name == scenario.name)
        {
            told.push(scenario);
        }
    }
    let inner = html! {
        @for scenario in &told {
            details {
                summary { (scenario.name) }
                (prose::html_of(&scenario.description))
                (prose::html_of(&scenario.analysis))
            }
        }
    };
    section(
        "scenarios",
        "Scenarios",
        "What each stands for, and how to read it.",
        &inner,
    )
}

/// Runs, what is missing, machines and notes.
fn sources(runs: &[Run], scenarios: &[Scenario]) -> Markup {
    let missing = missing(runs, scenarios);
    let inner = html! {
        @if !missing.is_empty() {
            details.missing {
                summary { "No full result yet: " (missing.len()) " of the scenarios' backends" }
                ul { @for one in &missing { li { (one) } } }
            }
        }
        (tables::runs(runs))
        h3 { "Machines" }
        ul {
            @for (short, name, parts) in machine_lines(runs) {
                li { b { (short) } " " code { (name) } ": " (parts) }
            }
        }
        h3 { "Notes" }
        details {
            summary { "What runs and cells say besides their figures" }
            (tables::notes(runs))
        }
    };
    section(
        "runs",
        "Runs",
        "One file a run, with every histogram whole.",
        &inner,
    )
}

#[cfg(test)]
mod tests;
