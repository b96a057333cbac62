//! The sections of the report.

use std::collections::BTreeSet;

use super::Run;
use crate::figures;
use crate::result::{Cell, HEADS, Outcome, Profile, by_size};
use crate::subject::Variant;
use crate::table::Table;
use crate::workload::Workload;

/// A column: its heading and the figure it shows.
pub(super) type Column = (&'static str, &'static str);
/// A section: its name, what it is about, and its columns.
pub(super) type Section = (&'static str, &'static str, &'static [Column]);

/// The sections of figures, the most important first.
pub(super) const SECTIONS: &[Section] = &[
    (
        "Memory",
        "Of the client's process, unless a column names the server. Peaks are of the measured phase; growth is the peak over the \
         phase's start, so it leaves out the program and the harness. A slope is the growth for \
         each 100,000 steps.",
        &[
            ("RSS peak, writing", "write_rss_peak_bytes"),
            ("growth, writing", "write_rss_growth_bytes"),
            ("live heap after", "write_heap_bytes"),
            ("growth, cold tail", "cold_tail_rss_growth_bytes"),
            ("growth, tails", "tail_read_rss_growth_bytes"),
            ("growth, loads", "load_latest_rss_growth_bytes"),
            ("RSS slope", "rss_slope_bytes_per_100k"),
            ("heap slope", "heap_slope_bytes_per_100k"),
            ("at-rest slope", "at_rest_slope_bytes_per_100k"),
            ("allocations a put", "put_allocations"),
            ("server's memory", "server_memory_bytes"),
            ("server's RSS", "server_rss_bytes"),
            ("its growth", "server_rss_growth_bytes"),
        ],
    ),
    (
        "Latency",
        "Service times of one closed-loop client unless the scenario says otherwise.",
        &[
            ("put p50", "put_p50_ns"),
            ("put p99", "put_p99_ns"),
            ("engine in turns, put p50", "paired_put_p50_ns"),
            ("system calls alone, put p50", "bare_put_p50_ns"),
            ("put p50, short thread", "put_short_p50_ns"),
            ("put p50, long thread", "put_long_p50_ns"),
            ("puts a second", "put_per_s"),
            ("CPU µs a put", "put_cpu_us"),
            ("CPU ms a MB put", "put_cpu_ms_per_mb"),
            ("load p50", "load_latest_p50_ns"),
            ("load p99", "load_latest_p99_ns"),
            ("load mean", "load_latest_mean_ns"),
            ("engine in turns, load mean", "paired_load_latest_mean_ns"),
            ("system calls alone, load mean", "bare_load_latest_mean_ns"),
            ("tail p50", "tail_read_p50_ns"),
            ("cold tail p50", "cold_tail_p50_ns"),
            ("any state p50", "state_read_p50_ns"),
        ],
    ),
    (
        "Storage",
        "Bytes at rest after closing, as the harness adds up the files (or, in memory, the \
         values). † marks a total that is extrapolated from the states that were written.",
        &[
            ("states written", "puts"),
            ("messages they added", "appended_bytes"),
            ("at rest", "at_rest_bytes"),
            ("blocks", "at_rest_allocated_bytes"),
            ("files", "at_rest_files"),
            ("all states", "total_at_rest_bytes"),
            ("live", "live_bytes"),
            ("most during the run", "at_rest_peak_bytes"),
            ("states verified", "states_verified"),
        ],
    ),
    (
        "Amplification",
        "What moves for a step or a read. Calls are calls of the backend, which would be round \
         trips to a server.",
        &[
            ("bytes a put, mean", "stored_bytes_mean"),
            ("at the threads' end", "stored_bytes_end_mean"),
            ("p99", "stored_bytes_p99"),
            ("written over appended", "write_amplification"),
            ("syncs", "sync_calls"),
            ("read for a load, mean", "load_latest_bytes_read_mean"),
            ("calls a load", "load_latest_calls_mean"),
            ("read for a tail, mean", "tail_read_bytes_read_mean"),
            ("read for a cold tail", "cold_tail_bytes_read"),
            ("calls", "cold_tail_round_trips"),
            ("round trips an append", "wire_put_round_trips_mean"),
            ("sent", "wire_put_bytes_sent_mean"),
            ("received", "wire_put_bytes_received_mean"),
        ],
    ),
    (
        "Open loads",
        "Operations arrive at a rate of their own, whether the last one was answered or not. A \
         response is counted from when the operation should have begun. Where a run is saturated, \
         its responses tell how long it ran and not how fast it is.",
        &[
            ("offered a second", "offered_per_s"),
            ("done a second", "achieved_per_s"),
            ("saturated", "saturated"),
            ("longest queue", "backlog_most"),
            ("put response p50", "put_response_p50_ns"),
            ("p99", "put_response_p99_ns"),
            ("load response p50", "load_response_p50_ns"),
            ("p99", "load_response_p99_ns"),
        ],
    ),
    (
        "Restarts and time travel",
        "A process that goes on where another one ended, or was killed; and states that branch \
         off from old ones.",
        &[
            ("open p50", "open_p50_ns"),
            ("first load p50", "resume_p50_ns"),
            ("first put p50", "first_put_p50_ns"),
            ("first load after a kill p50", "recover_p50_ns"),
            ("kills", "kills"),
            ("lost states", "lost_states"),
            ("torn states", "torn_states"),
            ("fork p50", "fork_p50_ns"),
            ("its bytes", "fork_stored_bytes_mean"),
            ("edit p50", "edit_p50_ns"),
            ("its bytes", "edit_stored_bytes_mean"),
        ],
    ),
    (
        "Items",
        "Operations of the long-term store on its larger size, and what moves for one, as means; \
         what is compacted in the background is in the bytes. Puts are in *Latency*. *Over the \
         floor* is the p50 of the engine that took turns with it over its own: what a search \
         takes to decode and filter is in the engine's alone.",
        &[
            ("get p50", "get_p50_ns"),
            ("engine in turns", "paired_get_p50_ns"),
            ("system calls alone", "bare_get_p50_ns"),
            ("over the floor", "get_over_floor"),
            ("patch p50", "patch_p50_ns"),
            ("engine in turns", "paired_patch_p50_ns"),
            ("system calls alone", "bare_patch_p50_ns"),
            ("over the floor", "patch_over_floor"),
            ("search p50", "search_p50_ns"),
            ("engine in turns", "paired_search_p50_ns"),
            ("system calls alone", "bare_search_p50_ns"),
            ("over the floor", "search_over_floor"),
            ("read for a get", "get_bytes_read_mean"),
            ("read for a search", "search_bytes_read_mean"),
            ("written for a put", "put_bytes_written_mean"),
            ("written for a patch", "patch_bytes_written_mean"),
            ("filled a second", "fill_per_s"),
            ("written over filled", "fill_write_amplification"),
            ("items verified", "items_verified"),
        ],
    ),
    (
        "One large value",
        "Single fields of it are patched: always the same one, then another each time. *Engine* \
         is what the engine hands its backend; *written* is what the backend writes. \
         `whole-value` reads the value, changes the field and puts it again.",
        &[
            ("its bytes", "large_value_bytes"),
            ("same field p50", "patch_large_p50_ns"),
            ("engine", "patch_large_engine_bytes_mean"),
            ("written", "patch_large_bytes_written_mean"),
            ("at most", "patch_large_bytes_written_max"),
            ("read", "patch_large_bytes_read_mean"),
            ("other fields p50", "patch_scattered_p50_ns"),
            ("engine", "patch_scattered_engine_bytes_mean"),
            ("written", "patch_scattered_bytes_written_mean"),
            ("at most", "patch_scattered_bytes_written_max"),
            ("read", "patch_scattered_bytes_read_mean"),
            ("growth of RSS", "large_rss_growth_bytes"),
            ("at rest", "large_at_rest_bytes"),
        ],
    ),
    (
        "Many items opened",
        "By processes that have just started: the store is opened, one item that is not there \
         is asked for, then come one get and one search. Growth is the peak over what was \
         resident before those two; of several processes, the greatest.",
        &[
            ("items", "many_items"),
            ("at rest", "many_at_rest_bytes"),
            ("filled a second", "many_fill_per_s"),
            ("read to open", "cold_open_bytes_read"),
            ("get p50", "cold_get_p50_ns"),
            ("read", "cold_get_bytes_read"),
            ("search p50", "cold_search_p50_ns"),
            ("read", "cold_search_bytes_read"),
            ("growth of RSS", "cold_rss_growth_bytes"),
            ("RSS", "cold_rss_bytes"),
        ],
    ),
];

/// Sections that are there even if no result has any of their figures.
const EVERYWHERE: [&str; 4] = ["Memory", "Latency", "Storage", "Amplification"];

/// The engine beside the whole state at every step: what the project is for.
pub(super) fn in_short(runs: &[Run]) -> String {
    let mut table = Table::new([
        "run",
        "states",
        "memory grows, default",
        "full-snapshot",
        "put p50, default",
        "full-snapshot",
        "all states at rest, default",
        "full-snapshot",
        "times less",
    ]);
    for run in runs {
        let cells = [Variant::Default, Variant::FullSnapshot].map(|v| run.result.cell(v));
        let [Some(default), Some(snapshot)] = cells.map(|cell| cell.filter(|c| c.verdict.ok))
        else {
            continue;
        };
        let Workload::Conversations(of) = &run.result.workload else {
            continue;
        };
        let mut row = vec![run.label.clone(), group(of.messages)];
        for figure in [
            "write_rss_growth_bytes",
            "put_p50_ns",
            "total_at_rest_bytes",
        ] {
            row.extend([value(default, figure), value(snapshot, figure)]);
        }
        let total = |cell: &Cell| cell.figures.get("total_at_rest_bytes").copied();
        let ratio = total(snapshot)
            .zip(total(default))
            .filter(|(_, default)| *default > 0.0);
        row.push(ratio.map_or("–".into(), |(snapshot, default)| {
            figures::format(snapshot / default, figures::Unit::Ratio)
        }));
        table.row(row);
    }
    let about = "The engine beside a snapshot of the whole state at every step, on the same \
                 backend. † marks a total that is extrapolated from the states that were written.";
    section("In short", about, &table)
}

/// All budgets and what was measured.
pub(super) fn budgets(runs: &[Run]) -> String {
    let mut table = Table::new(["run", "expected", "", "limit", "measured"]).words(3);
    for run in runs {
        for expected in &run.result.expectations {
            let outcome = match expected.outcome {
                Outcome::Met => "met",
                Outcome::Missed => "**MISSED**",
                Outcome::NotMeasured => "not measured",
            };
            let (limit, measured) = (expected.limit_text(), expected.measured_text());
            table.row([
                run.label.as_str(),
                &expected.name,
                outcome,
                &limit,
                &measured,
            ]);
        }
    }
    section(
        "Budgets",
        "What the scenarios expect of the engine.",
        &table,
    )
}

/// The tables of figures.
pub(super) fn figures(runs: &[Run]) -> String {
    let tables = SECTIONS.iter().map(|(name, about, columns)| {
        let table = table(runs, columns);
        let is_asked = EVERYWHERE.contains(name) || !table.is_empty();
        is_asked.then(|| section(name, about, &table))
    });
    tables.flatten().collect()
}

fn section(name: &str, about: &str, table: &Table) -> String {
    if table.is_empty() {
        return format!("## {name}\n\nNo result has any.\n\n");
    }
    format!("## {name}\n\n{about}\n\n{}\n", table.to_markdown())
}

/// Whether a cell of the run has the figure.
pub(super) fn has(run: &Run, figure: &str) -> bool {
    let mut cells = run.result.cells.iter();
    cells.any(|cell| cell.figures.contains_key(figure))
}

/// Those of the columns that a run has something for.
pub(super) fn columns_of(runs: &[Run], columns: &[Column]) -> Vec<Column> {
    let asked = columns.iter().copied();
    asked
        .filter(|(_, figure)| runs.iter().any(|run| has(run, figure)))
        .collect()
}

fn table(runs: &[Run], columns: &[Column]) -> Table {
    let columns = columns_of(runs, columns);
    let heads = columns.iter().map(|(head, _)| *head);
    let mut table = Table::new(["run", "variant"].into_iter().chain(heads)).words(2);
    let concerned = |run: &&Run| columns.iter().any(|(_, figure)| has(run, figure));
    for run in runs.iter().filter(concerned) {
        for variant in variants(run) {
            let mut row = vec![run.label.clone(), variant.to_string()];
            match run.result.cell(variant) {
                None => row.push("not run".into()),
                Some(cell) if cell.verdict.skipped.is_some() => row.push("skipped".into()),
                Some(cell) if !cell.verdict.ok => row.push("**FAILED**".into()),
                Some(cell) => row.extend(columns.iter().map(|(_, figure)| value(cell, figure))),
            }
            table.row(row);
        }
    }
    table
}

/// The variants that the scenario compares, and any that ran besides.
pub(super) fn variants(run: &Run) -> Vec<Variant> {
    let mut variants = run.result.scenario.variants.clone();
    for cell in &run.result.cells {
        if !variants.contains(&cell.variant) {
            variants.push(cell.variant);
        }
    }
    variants
}

/// Whether a figure is extrapolated from a sample of the states.
pub(super) fn is_sampled(cell: &Cell, figure: &str) -> bool {
    figure == "total_at_rest_bytes" && cell.figures.contains_key("sampled_share")
}

/// A figure as people read it: of repetitions the median, with the least and the greatest.
pub(super) fn value(cell: &Cell, figure: &str) -> String {
    let value = cell.figures.get(figure);
    let unit = figures::unit(&format!("{}.{figure}", cell.variant));
    let Some((value, unit)) = value.zip(unit) else {
        return "–".into();
    };
    let spread = cell.spread(figure).filter(|(least, most)| least < most);
    let spread = spread.map(|(least, most)| {
        let [least, most] = [least, most].map(|value| figures::format(value, unit));
        format!(" ({least} – {most})")
    });
    format!(
        "{}{}{}",
        figures::format(*value, unit),
        if is_sampled(cell, figure) { " †" } else { "" },
        spread.unwrap_or_default()
    )
}

/// Put latencies by the thread's length, where a scenario has them.
pub(super) fn by_length(runs: &[Run]) -> String {
    let lengths: BTreeSet<u64> = runs
        .iter()
        .flat_map(|run| &run.result.cells)
        .flat_map(|cell| cell.ops.keys())
        .filter_map(|op| op.strip_prefix("put-at-")?.parse().ok())
        .collect();
    if lengths.is_empty() {
        return String::new();
    }
    let heads = lengths
        .iter()
        .map(|length| format!("{} messages", group(*length)));
    let heads = ["run".to_string(), "variant".into()]
        .into_iter()
        .chain(heads);
    let mut table = Table::new(heads).words(2);
    for run in runs {
        for cell in run.result.cells.iter().filter(|cell| cell.verdict.ok) {
            let at: Vec<_> = lengths
                .iter()
                .map(|length| {
                    let op = cell.ops.get(&format!("put-at-{length}"))?;
                    Some(figures::format(
                        op.latency_ns.p50 as f64,
                        figures::Unit::Nanos,
                    ))
                })
                .collect();
            if at.iter().any(Option::is_some) {
                let at = at
                    .into_iter()
                    .map(|value| value.unwrap_or_else(|| "–".into()));
                table.row(
                    [run.label.clone(), cell.variant.to_string()]
                        .into_iter()
                        .chain(at),
                );
            }
        }
    }
    section(
        "Put p50 by the thread's length",
        "Of the commits that end at each length. Unlike the pair in *Latency*, these were made \
         at different times of the run.",
        &table,
    )
}

/// Operations on a small store beside those on a large one, where a scenario has both.
pub(super) fn stores_by_size(runs: &[Run]) -> String {
    let mut table = Table::new(std::iter::once("run").chain(HEADS)).words(4);
    for run in runs {
        for row in by_size(&run.result) {
            table.row(std::iter::once(run.label.clone()).chain(row));
        }
    }
    if table.is_empty() {
        return String::new();
    }
    section(
        "Operations by the store's size",
        "Of one client that takes turns between a small store and a large one, with as many \
         items in each namespace: the same operations, on the same device at the same time.",
        &table,
    )
}

fn group(number: u64) -> String {
    figures::format(number as f64, figures::Unit::Count)
}

/// What the reader must know about single runs.
pub(super) fn notes(runs: &[Run]) -> String {
    let mut out = String::from("## Notes\n\n");
    for run in runs {
        let lines = notes_of(run);
        if !lines.is_empty() {
            out.push_str(&format!("- {}\n", run.label));
            lines
                .iter()
                .for_each(|line| out.push_str(&format!("  - {line}\n")));
        }
    }
    out.push('\n');
    out
}

/// What is missing of a run, what failed, and what its cells say besides figures.
pub(super) fn notes_of(run: &Run) -> Vec<String> {
    let mut lines = run.result.warnings.clone();
    for variant in variants(run) {
        let Some(cell) = run.result.cell(variant) else {
            lines.push(format!("{variant} was not run"));
            continue;
        };
        let verdict = &cell.verdict;
        let skipped = verdict.skipped.iter();
        lines.extend(skipped.map(|why| format!("{variant} was skipped: {why}")));
        let failed = verdict.failures.iter();
        lines.extend(failed.map(|why| format!("{variant} FAILED: {why}")));
        let notes = verdict.notes.iter();
        lines.extend(notes.map(|note| format!("{variant}: {note}")));
    }
    lines
}

/// The prose of the scenarios that have results.
pub(super) fn scenarios(runs: &[Run]) -> String {
    let mut out = String::from("## Scenarios\n\n");
    let mut told = BTreeSet::new();
    for run in runs {
        let scenario = &run.result.scenario;
        if told.insert(&scenario.name) {
            let (name, description) = (&scenario.name, &scenario.description);
            out.push_str(&format!(
                "### {name}\n\n{description}\n\n{}\n\n",
                scenario.analysis
            ));
        }
    }
    out
}

/// The columns of the list of runs, before the file's.
pub(super) const RUN_HEADS: [&str; 8] = [
    "run",
    "profile",
    "messages or items",
    "their bytes",
    "as snapshots",
    "started",
    "took",
    "revision",
];

/// A run in the list of runs.
pub(super) fn run_row(run: &Run) -> [String; RUN_HEADS.len()] {
    let result = &run.result;
    let bytes = |value: u64| figures::format(value as f64, figures::Unit::Bytes);
    let (count, raw, snapshots) = match &result.workload {
        Workload::Conversations(of) => (of.messages, of.raw_bytes, bytes(of.snapshot_bytes)),
        Workload::Items(of) => (of.items, of.raw_bytes, "–".into()),
    };
    [
        run.label.clone(),
        match result.scenario.profile {
            Profile::Full => "full".into(),
            Profile::Quick => "quick".into(),
        },
        group(count),
        bytes(raw),
        snapshots,
        result.started.clone(),
        format!("{:.0} s", result.wall_s),
        result.harness.label(),
    ]
}

/// The runs that the report is made from.
pub(super) fn runs(runs: &[Run]) -> String {
    let mut table = Table::new(RUN_HEADS.into_iter().chain(["file"]));
    for run in runs {
        let file = format!("[JSON]({})", run.path);
        table.row(run_row(run).into_iter().chain([file]));
    }
    section(
        "Runs",
        "One file a run, with every histogram whole.",
        &table,
    )
}
