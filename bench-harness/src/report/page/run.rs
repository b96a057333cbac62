//! What stands beside the figures of a run.

use maud::{Markup, html};

use crate::report::Run;
use crate::report::sections;
use crate::subject::Variant;

/// Machine, kernel, revision and the file, beside durability, which the label has.
pub(super) fn meta(run: &Run) -> Markup {
    let result = &run.result;
    html! {
        span.meta {
            "durability " (result.durability()) " · " (run.machine) " (" (result.environment.cores)
            " × " (result.environment.cpu) ", " (result.environment.kernel) ") · revision "
            (result.harness.label()) " · " (result.started.get(..10).unwrap_or_default()) " · "
            @if let Some(repeats) = repeats(run) { (repeats) " repetitions · " }
            a href=(run.path) { "JSON" }
        }
    }
}

/// The revision alone, where the label stands in a narrow column.
pub(super) fn revision(run: &Run) -> Markup {
    html! { span.meta { (run.result.harness.label()) " · " a href=(run.path) { "JSON" } } }
}

/// How often the cells ran, where more than once.
fn repeats(run: &Run) -> Option<usize> {
    let cells = run.result.cells.iter();
    cells
        .map(|cell| cell.repeats.len())
        .max()
        .filter(|repeats| *repeats > 1)
}

/// The variants that the scenario compares, and any that ran besides.
pub(super) fn variants_of(run: &Run) -> Vec<Variant> {
    sections::variants(run)
}

/// Why a variant has no figures; `None` if it has.
pub(super) fn absence(run: &Run, variant: Variant) -> Option<String> {
    let Some(cell) = run.result.cell(variant) else {
        return Some("not run".into());
    };
    let verdict = &cell.verdict;
    match &verdict.skipped {
        Some(why) => Some(format!("skipped: {why}")),
        None if !verdict.ok => Some(format!("FAILED: {}", verdict.failures.join("; "))),
        None => None,
    }
}

/// A number of things, in words.
pub(super) fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}
