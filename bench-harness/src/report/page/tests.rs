//! The page, made from results that were made up for it.

use serde_json::{Value, json};

use super::super::{Run, latest};
use super::render;
use crate::measure::Latency;
use crate::scenario::Catalogue;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixture.json")).unwrap()
}

fn page(values: &[Value]) -> String {
    let load = |(n, value): (usize, &Value)| {
        crate::result::validate(value).unwrap();
        let result = serde_json::from_value(value.clone()).unwrap();
        (format!("20260101/m/{n}.json").into(), result)
    };
    let results = values.iter().enumerate().map(load).collect();
    let runs: Vec<Run> = latest("".as_ref(), results);
    let catalogue = Catalogue::open("/nowhere".as_ref()).unwrap();
    let scenarios = catalogue
        .entries()
        .iter()
        .map(|entry| entry.parse().unwrap());
    render(&runs, &scenarios.collect::<Vec<_>>())
}

/// The values of an attribute.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    let values = page.split(&start).skip(1);
    values.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_page_asks_nothing_of_any_network() {
    let page = page(&[fixture()]);
    for asking in [
        "http:",
        "https:",
        "src=",
        "srcset=",
        "@import",
        "url(",
        "<link",
        "<script",
        "<img",
        "<iframe",
        "<object",
        "<use",
        "<image",
        " on",
        "javascript:",
    ] {
        let found = page.match_indices(asking);
        // Words in prose may begin with "on"; an attribute has a value.
        let found = found.filter(|(at, _)| asking != " on" || is_attribute(&page[at + 1..]));
        assert_eq!(found.count(), 0, "{asking}");
    }
    // What it links to is within the page or beside it.
    for href in attributes(&page, "href") {
        let inside = href.strip_prefix('#');
        let beside = href == "README.md" || href.starts_with("20260101/");
        assert!(
            beside || inside.is_some_and(|id| page.contains(&format!("id=\"{id}\""))),
            "{href}"
        );
    }
}

fn is_attribute(text: &str) -> bool {
    let name = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    text[name..].starts_with("=\"")
}

#[test]
fn the_sections_stand_in_their_order_and_can_be_reached() {
    let page = page(&[fixture()]);
    let mut last = 0;
    for (id, _) in super::NAV {
        let at = page.find(&format!("<section id=\"{id}\""));
        let at = at.unwrap_or_else(|| panic!("{id}"));
        assert!(at > last, "{id}");
        last = at;
    }
    let mut ids = attributes(&page, "id");
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there twice");
}

#[test]
fn names_from_results_cannot_change_the_page() {
    let mut run = fixture();
    let evil = "<script src=//x>alert(1)</script>";
    run["scenario"]["trace"] = evil.into();
    run["scenario"]["description"] = format!("Prose {evil} ![i](//x)").into();
    run["environment"]["cpu"] = evil.into();
    run["warnings"] = json!([evil]);
    run["expectations"][0]["name"] = evil.into();
    let page = page(&[run]);
    assert!(
        !page.contains("<script") && !page.contains("<img"),
        "{page}"
    );
    assert!(page.contains("&lt;script src=//x&gt;"));
}

#[test]
fn what_is_missing_is_there_with_its_reason() {
    let mut run = fixture();
    run["scenario"]["variants"] =
        json!(["default", "full-snapshot", "floor", "langgraph", "no-op"]);
    let mut skipped = run["cells"][0].clone();
    skipped["variant"] = "langgraph".into();
    skipped["verdict"] = json!({
        "ok": false, "skipped": "no Python here", "checked": 0, "failures": [], "notes": [],
    });
    run["cells"].as_array_mut().unwrap().push(skipped);
    run["cells"][0]["verdict"]["ok"] = false.into();
    run["cells"][0]["verdict"]["failures"] = json!(["a byte was wrong"]);
    run["cells"][0]["figures"]["put_p50_ns"] = 987_000.0.into();
    let page = page(&[run]);
    for reason in [
        "skipped: no Python here",
        "FAILED: a byte was wrong",
        "not run",
        "Not measured yet: ",
        "No full result yet",
        "† marks",
    ] {
        assert!(page.contains(reason), "{reason}");
    }
    assert!(!page.contains("987 µs"), "the figures of a failed cell");
}

#[test]
fn budgets_say_in_words_what_came_of_them() {
    let page = page(&[fixture()]);
    assert!(
        page.contains("✗ missed") && page.contains("are missed"),
        "{page}"
    );
}

#[test]
fn distributions_come_from_the_histograms() {
    let mut run = fixture();
    let mut latency = Latency::new().unwrap();
    (1..=2_000).for_each(|value| latency.record_value(value * 1_000));
    let hdr = latency.encode().unwrap();
    for cell in [0, 1] {
        run["cells"][cell]["ops"]["put"] = run["cells"][0]["ops"]["put"].clone();
        run["cells"][cell]["ops"]["put"]["hdr"] = hdr.clone().into();
    }
    let page = page(&[run]);
    let chart = page.split("id=\"p-put-0-t\"").nth(1).unwrap();
    let chart = chart.split("</figure>").next().unwrap();
    assert_eq!(chart.matches("class=\"curve").count(), 2);
    assert!(
        chart.contains("99.9 %") && !chart.contains("99.99 %"),
        "of 2,000 values"
    );
    assert!(chart.contains("logarithmic scale") && chart.contains("1 ms"));
    assert!(chart.contains("durability disk") && chart.contains("revision 0123456789ab"));
}

#[test]
fn repetitions_show_their_spread() {
    let mut run = fixture();
    let figures = run["cells"][0]["figures"].clone();
    let repeats = [200_000.0, 212_000.0, 230_000.0].map(|p50| {
        let mut figures = figures.clone();
        figures["put_p50_ns"] = p50.into();
        figures
    });
    run["cells"][0]["repeats"] = json!(repeats);
    let page = page(&[run]);
    assert!(page.contains("212 µs (200 µs – 230 µs)") && page.contains("3 repetitions"));
}

#[test]
fn a_technique_that_is_off_is_held_against_the_default() {
    let mut run = fixture();
    let mut whole = run["cells"][0].clone();
    whole["variant"] = "whole-value".into();
    whole["figures"]["put_p50_ns"] = 424_000.0.into();
    run["cells"].as_array_mut().unwrap().push(whole);
    let page = page(&[run]);
    let ablation = page.split("<section id=\"ablation\"").nth(1).unwrap();
    assert!(ablation.contains("without incremental update"));
    assert!(
        ablation.contains("<title>whole-value: ×2.000</title>"),
        "{ablation}"
    );
    assert!(ablation.contains("×2.000</span>"));
}

#[test]
fn long_runs_are_drawn_over_their_steps() {
    let mut run = fixture();
    let samples = (1..=1_000).map(|step| {
        json!({
            "step": step, "elapsed_ms": step, "rss_bytes": 30_000_000, "heap_bytes": null,
            "at_rest_bytes": step * 1_000,
        })
    });
    run["cells"][0]["series"] =
        json!([{ "name": "steps", "samples": samples.collect::<Vec<_>>() }]);
    let page = page(&[run]);
    let drawn = page.split("id=\"over-time\"").nth(1).unwrap();
    assert!(drawn.contains("Resident memory over the steps") && drawn.contains("At rest over"));
    assert!(
        !drawn.contains("Live heap over"),
        "nothing of it was measured"
    );
    let curve = drawn.split(" d=\"M").nth(3).unwrap_or_default();
    let curve = curve.split('"').next().unwrap();
    assert!(
        curve.matches('L').count() <= super::charts::SAMPLES,
        "{curve}"
    );
}
