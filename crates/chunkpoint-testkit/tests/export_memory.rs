//! Export and import between in-memory backends: everything readable comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::export::Scope;
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::{ErrorKind, Item, Memory, Settings};
use chunkpoint_testkit::copying::{assert_same, exported, fill, fill_store, import};
use chunkpoint_testkit::deterministic::{ManualClock, SeededEntropy};

fn memory(clock: &Arc<ManualClock>, seed: u64) -> Memory {
    Memory::builder(Arc::new(MemoryBackend::new()))
        .settings(Settings {
            background: false,
            ..Settings::default()
        })
        .clock(clock.clone())
        .entropy(Arc::new(SeededEntropy::new(seed)))
        .build()
        .unwrap()
}

#[tokio::test]
async fn everything_readable_comes_back() {
    let mut seen = String::new();
    for seed in 0..12 {
        let clock = Arc::new(ManualClock::default());
        let from = memory(&clock, seed);
        fill(&from, &clock, seed, 60).await;
        fill_store(&from, &clock, seed, 30).await;
        let text = exported(&from).await;
        let to = memory(&clock, seed + 1000);
        clock.advance(Duration::from_millis(5));
        let piece = 1 + (seed as usize * 7919) % 100_000;
        let count = import(&to, &text, piece).await.unwrap();
        assert_eq!(count.present, 0);
        assert_same(&from, &to).await;
        let compared = from.compare(&to, &Scope::all(), |_| {}).await.unwrap();
        assert!(compared.is_equal(), "seed {seed}: {:?}", compared.told);
        assert_eq!(compared.count.checkpoints, count.checkpoints);
        assert_eq!(compared.count.items, count.items);
        // The copy's export is the same, byte by byte.
        assert!(exported(&to).await == text, "seed {seed}");
        // Once more changes nothing.
        let again = import(&to, &text, piece).await.unwrap();
        assert_eq!(again.present, count.checkpoints + count.items);
        assert_same(&from, &to).await;
        seen.push_str(&text);
    }
    // None of it was for want of something to copy.
    for part in [
        "hidden",
        "pinned",
        "base",
        "gone",
        "writes",
        "none",
        "same",
        "item",
        "list",
        "append",
        "splice",
        "map",
        "entries",
        "continues",
        "ttl_ms",
    ] {
        assert!(seen.contains(&format!("\"{part}\":")), "no {part}");
    }
}

#[tokio::test]
async fn an_interrupted_import_goes_on() {
    let clock = Arc::new(ManualClock::default());
    let from = memory(&clock, 1);
    fill(&from, &clock, 77, 80).await;
    fill_store(&from, &clock, 77, 20).await;
    let text = exported(&from).await;
    let to = memory(&clock, 2);
    for part in 1..24 {
        let mut at = text.len() * part / 24;
        while !text.is_char_boundary(at) {
            at += 1;
        }
        let error = import(&to, &text[..at], 4096).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    import(&to, &text, 4096).await.unwrap();
    assert_same(&from, &to).await;
}

#[tokio::test]
async fn a_growing_list_is_exported_in_the_size_of_its_items() {
    let clock = Arc::new(ManualClock::default());
    let from = memory(&clock, 3);
    let thread = from.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    let mut bytes = 0;
    for n in 0..500 {
        let text = format!("{n} {}", "lorem ipsum ".repeat(20 + n % 30));
        bytes += text.len();
        draft.append("messages", [Item::text(text)]).unwrap();
        draft = thread.commit(draft).await.unwrap().draft().unwrap();
    }
    let text = exported(&from).await;
    assert!(
        text.len() < bytes + 500 * 400,
        "{} bytes for {bytes} of messages",
        text.len()
    );
}

#[tokio::test]
async fn values_of_any_size_go_through_lines_of_bounded_length() {
    let clock = Arc::new(ManualClock::default());
    let from = memory(&clock, 4);
    let thread = from.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft
        .set("binary", Item::new("bytes", vec![7; 9 << 20]))
        .unwrap();
    draft
        .set(
            "json",
            Item::new("json", format!("\"{}\"", "ä\\n".repeat(2 << 20))),
        )
        .unwrap();
    let many = (0..40_000).map(|n| Item::text(format!("message {n} {}", "x".repeat(100))));
    draft.append("list", many).unwrap();
    let map: std::collections::BTreeMap<String, Item> = (0..20_000)
        .map(|n| (format!("{n:06}"), Item::text("y".repeat(50))))
        .collect();
    draft.set("map", map).unwrap();
    draft.set("z", Item::text("last")).unwrap();
    thread.commit(draft).await.unwrap();
    let text = exported(&from).await;
    let longest = text.lines().map(str::len).max().unwrap();
    assert!(longest < 3 << 20, "{longest}");
    let to = memory(&clock, 5);
    import(&to, &text, 65_536).await.unwrap();
    assert_same(&from, &to).await;
}

#[tokio::test]
async fn what_is_there_and_different_is_a_conflict() {
    let clock = Arc::new(ManualClock::default());
    let from = memory(&clock, 6);
    let to = memory(&clock, 7);
    for (memory, text) in [(&from, "one"), (&to, "two")] {
        let thread = memory.thread("t").unwrap();
        let mut draft = thread.draft().await.unwrap();
        draft
            .set_id("1")
            .unwrap()
            .append("messages", [Item::text(text)])
            .unwrap();
        thread.commit(draft).await.unwrap();
    }
    let error = import(&to, &exported(&from).await, 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for part in ["line 2", "\"1\"", "\"t\"", "\"messages\"", "empty memory"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let compared = from.compare(&to, &Scope::all(), |_| {}).await.unwrap();
    assert_eq!(compared.differences, 1);
    assert!(
        compared.told[0].contains("\"messages\""),
        "{:?}",
        compared.told
    );
}

#[tokio::test]
async fn a_scope_takes_a_part() {
    let clock = Arc::new(ManualClock::default());
    let from = memory(&clock, 8);
    fill(&from, &clock, 8, 60).await;
    fill_store(&from, &clock, 8, 30).await;
    let text = exported(&from).await;
    let threads = Scope {
        threads: Some("a".into()),
        items: None,
    };
    let to = memory(&clock, 9);
    let lines = from.export(threads.clone(), |_| {});
    let count = to.import(lines, Scope::all(), |_| {}).await.unwrap();
    assert_eq!(count.items, 0);
    assert!(
        from.compare(&to, &threads, |_| {})
            .await
            .unwrap()
            .is_equal()
    );
    assert!(
        !from
            .compare(&to, &Scope::all(), |_| {})
            .await
            .unwrap()
            .is_equal()
    );
    // The same part of the whole file.
    let part = memory(&clock, 10);
    let bytes = bytes::Bytes::from(text.into_bytes());
    let lines = futures::stream::iter([Ok(bytes)]);
    let taken = part.import(lines, threads, |_| {}).await.unwrap();
    assert_eq!(taken.checkpoints, count.checkpoints);
    assert!(taken.skipped > 0);
    assert_same(&to, &part).await;
}
