//! The answer in short: how much memory, how fast, how many bytes, compared to what.

use maud::{Markup, html};

use crate::figures::{self, Unit};
use crate::report::Run;
use crate::report::sections::is_sampled;
use crate::result::{Cell, Outcome, Profile};
use crate::subject::Variant;
use crate::workload::Workload;

/// What ours is compared with: in words, and the two figures.
struct Against {
    words: &'static str,
    ours: (Variant, &'static str),
    theirs: (Variant, &'static str),
}

/// A question, and the figures that answer it.
struct Question {
    asked: &'static str,
    about: &'static str,
    against: &'static [Against],
}

/// The questions that the project is about.
const QUESTIONS: [Question; 4] = [
    Question {
        asked: "How much memory?",
        about: "Growth of the client's resident memory while it writes.",
        against: &[
            Against {
                words: "a snapshot of the whole state at every step",
                ours: (Variant::Default, "write_rss_growth_bytes"),
                theirs: (Variant::FullSnapshot, "write_rss_growth_bytes"),
            },
            Against {
                words: "LangGraph's own saver",
                ours: (Variant::Default, "write_rss_growth_bytes"),
                theirs: (Variant::LangGraph, "write_rss_growth_bytes"),
            },
        ],
    },
    Question {
        asked: "How fast to write?",
        about: "Median of a commit.",
        against: &[
            Against {
                words: "a snapshot of the whole state at every step",
                ours: (Variant::Default, "put_p50_ns"),
                theirs: (Variant::FullSnapshot, "put_p50_ns"),
            },
            Against {
                words: "LangGraph's own saver",
                ours: (Variant::Default, "put_p50_ns"),
                theirs: (Variant::LangGraph, "put_p50_ns"),
            },
            Against {
                words: "the floor: the same bytes by bare files or the bare driver, in turns",
                ours: (Variant::Floor, "paired_put_p50_ns"),
                theirs: (Variant::Floor, "put_p50_ns"),
            },
        ],
    },
    Question {
        asked: "How fast to load?",
        about: "Median of finding and reading the newest state whole.",
        against: &[
            Against {
                words: "a snapshot of the whole state at every step",
                ours: (Variant::Default, "load_latest_p50_ns"),
                theirs: (Variant::FullSnapshot, "load_latest_p50_ns"),
            },
            Against {
                words: "LangGraph's own saver",
                ours: (Variant::Default, "load_latest_p50_ns"),
                theirs: (Variant::LangGraph, "load_latest_p50_ns"),
            },
            Against {
                words: "the floor: the same bytes by bare files or the bare driver, in turns",
                ours: (Variant::Floor, "paired_load_latest_p50_ns"),
                theirs: (Variant::Floor, "load_latest_p50_ns"),
            },
        ],
    },
    Question {
        asked: "How many bytes?",
        about: "Every state of the run, at rest.",
        against: &[
            Against {
                words: "a snapshot of the whole state at every step",
                ours: (Variant::Default, "total_at_rest_bytes"),
                theirs: (Variant::FullSnapshot, "total_at_rest_bytes"),
            },
            Against {
                words: "LangGraph's own saver",
                ours: (Variant::Default, "total_at_rest_bytes"),
                theirs: (Variant::LangGraph, "total_at_rest_bytes"),
            },
        ],
    },
];

/// The section.
pub(super) fn section(runs: &[Run]) -> Markup {
    let outcomes = runs.iter().flat_map(|run| &run.result.expectations);
    let count = |of: Outcome| outcomes.clone().filter(|one| one.outcome == of).count();
    let (met, missed) = (count(Outcome::Met), count(Outcome::Missed));
    html! {
        section id="in-short" {
            h2 { "In short" }
            p {
                "Large type is the run with the most work that has both sides; of several, the one \
                 that speaks least for Chunkpoint. What all runs say stands below it. † marks a \
                 total that is extrapolated from the states that were written."
            }
            div.cards { @for question in &QUESTIONS { (card(runs, question)) } }
            p {
                "Of the budgets that the scenarios set, " b { (met) " are met" } ", "
                b { (missed) " are missed" } " and " (count(Outcome::NotMeasured))
                " were not measured: " a href="#budgets" { "all of them" } "."
            }
        }
    }
}

fn card(runs: &[Run], question: &Question) -> Markup {
    html! {
        div.card {
            h3 { (question.asked) }
            p.about { (question.about) }
            @for against in question.against { (answer(runs, against)) }
        }
    }
}

/// A pair of values and the run that has both.
struct Pair<'a> {
    run: &'a Run,
    ours: f64,
    theirs: f64,
}

fn answer(runs: &[Run], against: &Against) -> Markup {
    let full = runs
        .iter()
        .filter(|run| run.result.scenario.profile == Profile::Full);
    let pairs: Vec<_> = full.filter_map(|run| pair(run, against)).collect();
    // Of the largest runs the one that speaks least for us.
    let rank = |one: &&Pair<'_>, other: &&Pair<'_>| {
        let by_ratio = (other.theirs / other.ours).total_cmp(&(one.theirs / one.ours));
        work(one.run).cmp(&work(other.run)).then(by_ratio)
    };
    let Some(largest) = pairs.iter().max_by(rank) else {
        return html! { p.against { "Beside " (against.words) ": not measured yet." } };
    };
    let unit = figures::unit(&format!("{}.{}", against.ours.0, against.ours.1));
    let text = |value| figures::format(value, unit.unwrap_or(Unit::Ratio));
    let ratios = || pairs.iter().map(|pair| pair.theirs / pair.ours);
    let (least, most) = (
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max),
    );
    html! {
        p.against { "Beside " (against.words) }
        p.values {
            b { (text(largest.ours)) (dagger(largest.run, against.ours)) }
            span.versus {
                " against " (text(largest.theirs)) (dagger(largest.run, against.theirs)) ": "
            }
            b { (times(largest.theirs / largest.ours)) }
        }
        p.meta {
            (largest.run.label) ", revision " (largest.run.result.harness.label()) ". "
            @if pairs.len() > 1 {
                "Over the " (pairs.len()) " runs with both: " (times(least)) " to " (times(most)) "."
            }
        }
    }
}

/// The mark of a total that is extrapolated.
fn dagger(run: &Run, (variant, figure): (Variant, &str)) -> &'static str {
    let cell = run.result.cell(variant);
    match cell.is_some_and(|cell| is_sampled(cell, figure)) {
        true => " †",
        false => "",
    }
}

/// Both values of a run. Not of one in which ours forgets old states and theirs cannot, and
/// stops early: that they do different work is what such a run is about.
fn pair<'a>(run: &'a Run, against: &Against) -> Option<Pair<'a>> {
    let forgets = |cell: &Cell| cell.figures.contains_key("kept_states");
    if run.result.cell(Variant::Default).is_some_and(forgets) {
        return None;
    }
    let value = |(variant, figure): (Variant, &str)| {
        let cell = run.result.cell(variant).filter(|cell| cell.verdict.ok)?;
        cell.figures
            .get(figure)
            .copied()
            .filter(|value| *value > 0.0)
    };
    Some(Pair {
        run,
        ours: value(against.ours)?,
        theirs: value(against.theirs)?,
    })
}

/// How much work a run is: the largest stands for the others.
fn work(run: &Run) -> u64 {
    match &run.result.workload {
        Workload::Conversations(of) => of.messages,
        Workload::Items(of) => of.items,
    }
}

/// A ratio in words: of theirs to ours.
fn times(ratio: f64) -> String {
    let number = |ratio: f64| match ratio {
        x if x >= 10.0 => figures::format(x.round(), Unit::Count),
        x if x >= 1.995 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    };
    match ratio {
        x if x >= 1.005 => format!("{} times less", number(x)),
        x if x <= 0.995 => format!("{} times more", number(1.0 / x)),
        _ => "as much".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn ratios_are_told_in_words_whichever_way_they_go() {
        assert_eq!(times(13_834.2), "13,834 times less");
        assert_eq!(times(2.44), "2.4 times less");
        assert_eq!(times(1.0 / 1.355), "1.35 times more");
        assert_eq!(times(1.0), "as much");
    }
}
