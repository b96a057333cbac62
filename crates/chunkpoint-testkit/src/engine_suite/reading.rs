//! Snapshots: reading a part costs that part.

use std::collections::BTreeMap;

use chunkpoint_core::{Item, Settings, Value, ValueKind};
use futures::TryStreamExt;

use super::support::*;

/// A long list, appended in steps as a conversation is.
async fn conversation(target: &Target, count: usize) -> Vec<Item> {
    let memory = target.memory();
    let thread = thread(&memory);
    let list = random_items(7, count, 500);
    let mut at = None;
    for part in list.chunks(200) {
        let mut draft = thread.draft().await.unwrap();
        draft.append("list", part.to_vec()).unwrap();
        at = Some(commit(&thread, draft).await);
    }
    for item in random_items(8, 5, 500) {
        step_on(&at.take().unwrap(), |draft| {
            draft.append("list", [item]).unwrap();
        })
        .await;
        at = thread.latest().await.unwrap();
    }
    [list, random_items(8, 5, 500)].concat()
}

/// Opening a long thread takes one call, reading its tail one more, or two
/// where the tail reaches into the last sealed node; and only as many bytes as a
/// few chunks have.
pub async fn the_tail_of_a_long_list_is_a_few_calls(target: &Target) {
    let list = conversation(target, 4000).await;
    let memory = target.memory();
    let before = target.asked().total();
    let (tail, calls) = target
        .calls_of(async {
            let latest = thread(&memory).latest().await.unwrap().unwrap();
            latest.list("list").await.unwrap().tail(20).await.unwrap()
        })
        .await;
    assert!(tail == list[list.len() - 20..]);
    assert!(calls <= 3, "{calls} calls");
    let bytes = target.asked().total().bytes_received - before.bytes_received;
    assert!(bytes <= 64 * 1024, "{bytes} bytes");
}

/// Names, kinds and lengths of the channels take no call at all.
pub async fn channels_are_known_without_reading(target: &Target) {
    let memory = target.memory();
    let first = step(&thread(&memory), |draft| {
        draft.set("b list", random_items(1, 3000, 100)).unwrap();
        draft
            .set("a item", Item::new("bytes", vec![1; 100_000]))
            .unwrap();
        let map = (0..1000)
            .map(|n| (n.to_string(), Item::text("x")))
            .collect::<BTreeMap<_, _>>();
        draft.set("c map", map).unwrap();
    })
    .await;
    let memory = target.memory();
    let found = reread(&memory, &first).await.unwrap();
    let (channels, calls) = target
        .calls_of(async {
            found
                .channels()
                .map(|(n, k, l)| (n.to_owned(), k, l))
                .collect::<Vec<_>>()
        })
        .await;
    assert_eq!(calls, 0);
    let expected = [
        ("a item".to_owned(), ValueKind::Item, 1),
        ("b list".to_owned(), ValueKind::List, 3000),
        ("c map".to_owned(), ValueKind::Map, 1000),
    ];
    assert_eq!(channels, expected);
}

/// Single items, ranges and tails are what the whole list has there.
pub async fn parts_are_parts_of_the_whole(target: &Target) {
    let list = conversation(target, 1500).await;
    let memory = target.memory();
    let latest = thread(&memory).latest().await.unwrap().unwrap();
    let found = latest.list("list").await.unwrap();
    let len = list.len() as u64;
    assert_eq!(found.len(), len);
    for index in [0, 1, 511, 512, 777, len - 1] {
        assert!(found.get(index).await.unwrap().as_ref() == Some(&list[index as usize]));
    }
    for index in [len, len + 1, u64::MAX] {
        assert!(found.get(index).await.unwrap().is_none());
    }
    #[allow(clippy::reversed_empty_ranges, reason = "such a range is empty")]
    for range in [
        0..0,
        0..1,
        0..len,
        3..700,
        len - 1..len + 9,
        len..len + 1,
        9..3,
        0..u64::MAX,
    ] {
        let start = range.start.min(len) as usize;
        let end = (range.end.min(len) as usize).max(start);
        assert!(
            found.range(range.clone()).await.unwrap() == list[start..end],
            "{range:?}"
        );
    }
    for count in [0, 1, 20, len, len + 1, u64::MAX] {
        let start = list.len() - count.min(len) as usize;
        assert!(
            found.tail(count).await.unwrap() == list[start..],
            "tail {count}"
        );
    }
}

/// A stream gives all items in order, and can be dropped half-way.
pub async fn a_stream_gives_all_items(target: &Target) {
    let list = conversation(target, 1500).await;
    let memory = target.memory();
    let latest = thread(&memory).latest().await.unwrap().unwrap();
    let found = latest.list("list").await.unwrap();
    let mut stream = found.stream();
    assert!(stream.try_next().await.unwrap().as_ref() == Some(&list[0]));
    drop(stream);
    let streamed: Vec<Item> = found.stream().try_collect().await.unwrap();
    assert!(streamed == list);
}

/// A range in the middle reads each level of the tree in one call.
pub async fn a_range_reads_each_level_once(target: &Target) {
    let list = conversation(target, 4000).await;
    let memory = target.memory();
    let latest = thread(&memory).latest().await.unwrap().unwrap();
    let found = latest.list("list").await.unwrap();
    let (part, calls) = target.calls_of(found.range(1000..1100)).await;
    assert!(part.unwrap() == list[1000..1100]);
    // Nodes of 8 to 32 children over leaves of a few items: three levels.
    assert!(calls <= 4, "{calls} calls");
    let (part, calls) = target.calls_of(found.range(1000..1100)).await;
    assert!(part.unwrap() == list[1000..1100]);
    assert_eq!(calls, 0, "what was read is cached");
}

/// A map finds each of its keys, and no other.
pub async fn a_map_finds_its_keys(target: &Target) {
    let memory = target.memory();
    let map: BTreeMap<String, Item> = (0..3000)
        .map(|n| {
            (
                format!("key {:05}", n * 2),
                Item::text(format!("value {n}, of some length")),
            )
        })
        .collect();
    let first = step(&thread(&memory), |draft| {
        draft.set("map", map.clone()).unwrap();
    })
    .await;
    let memory = target.memory();
    let found = reread(&memory, &first)
        .await
        .unwrap()
        .map("map")
        .await
        .unwrap();
    for n in [0, 2, 2998, 3000, 5998] {
        let key = format!("key {n:05}");
        assert!(found.get(&key).await.unwrap().as_ref() == Some(&map[&key]));
    }
    for key in ["", "key", "key 00001", "key 05999", "key 99999", "zzz"] {
        assert!(found.get(key).await.unwrap().is_none(), "{key}");
    }
    let one = target.memory();
    let found = reread(&one, &first)
        .await
        .unwrap()
        .map("map")
        .await
        .unwrap();
    let before = target.asked().total().bytes_received;
    found.get("key 03000").await.unwrap().unwrap();
    let bytes = target.asked().total().bytes_received - before;
    assert!(bytes < 64 * 1024, "{bytes} bytes for one key");
}

/// Reading a channel reads nothing of another.
pub async fn a_value_reads_its_channel_only(target: &Target) {
    let memory = target.memory();
    let first = step(&thread(&memory), |draft| {
        draft
            .set("large", Item::new("bytes", Rng::new(1).bytes(1 << 20)))
            .unwrap();
        draft.set("small", Item::text("x".repeat(5000))).unwrap();
    })
    .await;
    let memory = target.memory();
    let found = reread(&memory, &first).await.unwrap();
    let before = target.asked().total().bytes_received;
    assert!(value(&found, "small").await.is_some());
    assert!(value(&found, "none").await.is_none());
    let bytes = target.asked().total().bytes_received - before;
    assert!(bytes < 16 * 1024, "{bytes} bytes");
}

/// Loading a history of states far beyond the budget keeps the cache within it.
pub async fn the_cache_keeps_its_budget(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    for n in 0..20 {
        step(&thread, |draft| {
            draft.set("list", random_items(n, 500, 400)).unwrap();
        })
        .await;
    }
    let cache_bytes = 256 << 10;
    let small = target.memory_with(Settings {
        cache_bytes,
        ..target.settings()
    });
    let mut history = small.thread("t").unwrap().history(Default::default());
    let mut n = 20;
    while let Some(snapshot) = history.try_next().await.unwrap() {
        n -= 1;
        let expected = Value::List(random_items(n, 500, 400));
        assert!(value(&snapshot, "list").await == Some(expected));
        let bytes = small.cached_bytes();
        assert!(bytes <= cache_bytes, "{bytes} bytes are cached");
    }
    assert_eq!(n, 0);
    // A budget of nothing works as well.
    let none = target.memory_with(Settings {
        cache_bytes: 0,
        ..target.settings()
    });
    let latest = none.thread("t").unwrap().latest().await.unwrap().unwrap();
    assert!(value(&latest, "list").await == Some(Value::List(random_items(19, 500, 400))));
    assert_eq!(none.cached_bytes(), 0);
}

/// Handles on one checkpoint share what they decode: the second reads nothing.
pub async fn snapshots_share_what_is_decoded(target: &Target) {
    let memory = target.memory();
    let first = step(&thread(&memory), |draft| {
        draft.set("list", random_items(1, 2000, 200)).unwrap();
    })
    .await;
    let memory = target.memory();
    let one = reread(&memory, &first).await.unwrap();
    let (loaded, calls) = target.calls_of(one.load()).await;
    assert!(loaded.is_ok() && calls > 0);
    let bytes = memory.cached_bytes();
    let two = reread(&memory, &first).await.unwrap();
    let (loaded, calls) = target.calls_of(two.load()).await;
    assert!(loaded.is_ok());
    assert_eq!(calls, 0, "the second handle reads again");
    assert_eq!(
        memory.cached_bytes(),
        bytes,
        "the second handle is cached beside the first"
    );
    // Both hold the very same bytes, not copies.
    let a = one
        .list("list")
        .await
        .unwrap()
        .get(1000)
        .await
        .unwrap()
        .unwrap();
    let b = two
        .list("list")
        .await
        .unwrap()
        .get(1000)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(a.bytes.as_ptr(), b.bytes.as_ptr());
}

/// Everything is there after the store was closed and opened again.
pub async fn a_reopened_store_has_everything(target: &Target) {
    let list = conversation(target, 600).await;
    let Some(target) = target.reopened().await else {
        return;
    };
    let memory = target.memory();
    let latest = thread(&memory).latest().await.unwrap().unwrap();
    assert!(value(&latest, "list").await == Some(Value::List(list)));
    append(&thread(&memory), "more").await;
}
