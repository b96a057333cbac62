//! What a step costs: what changed, and nothing that did not.

use std::collections::BTreeMap;

use chunkpoint_core::{Checkpoint, Config, Item, Value, Version};
use serde_json::Map as JsonMap;

use super::support::*;

/// Appending to a long list hands over a few KB, as at its beginning.
pub async fn an_append_costs_what_is_appended(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut at = step(&thread, |draft| {
        draft.set("list", random_items(1, 5000, 500)).unwrap();
    })
    .await;
    let mut total = 0;
    for n in 0..50 {
        let item = random_items(1000 + n, 1, 500);
        let (next, bytes) = target
            .bytes_of(step_on(&at, |draft| {
                draft.append("list", item).unwrap();
            }))
            .await;
        total += bytes;
        at = next;
    }
    assert!(total / 50 < 4096, "{} bytes an append", total / 50);
}

/// Fifty channels of 3 KB that a step does not touch cost it next to nothing,
/// and are there afterwards.
pub async fn untouched_channels_are_borrowed(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let channel = |n: u64| format!("channel {n:02}");
    let content = |n: u64| Value::List(random_items(n, 6, 500));
    let mut at = step(&thread, |draft| {
        for n in 0..50 {
            draft.set(&channel(n), content(n)).unwrap();
        }
    })
    .await;
    let mut total = 0;
    for n in 0..20 {
        let item = random_items(100 + n, 1, 500);
        let (next, bytes) = target
            .bytes_of(step_on(&at, |draft| {
                draft.append("channel 07", item).unwrap();
            }))
            .await;
        // The first step seals the tails of the others, once.
        if n > 0 {
            total += bytes;
        }
        at = next;
    }
    assert!(total / 19 < 6144, "{} bytes a step", total / 19);
    let values = cold(target, &at).await;
    assert_eq!(values.len(), 50);
    for n in (0..50).filter(|n| *n != 7) {
        assert!(values[&channel(n)] == content(n), "{}", channel(n));
    }
    assert_eq!(at.list("channel 07").await.unwrap().len(), 26);
}

/// Setting a channel to the value it has stores nothing new.
pub async fn an_equal_value_is_borrowed(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let map: BTreeMap<_, _> = (0..400)
        .map(|n| (format!("{n}"), Item::new("bytes", Rng::new(n).bytes(200))))
        .collect();
    let values = [
        (
            "item",
            Value::Item(Item::new("bytes", Rng::new(1).bytes(200_000))),
        ),
        ("list", Value::List(random_items(2, 400, 200))),
        ("map", Value::Map(map)),
    ];
    let mut at = step(&thread, |draft| {
        for (name, value) in values.clone() {
            draft.set(name, value).unwrap();
        }
    })
    .await;
    for round in 0..3 {
        let (next, bytes) = target
            .bytes_of(step_on(&at, |draft| {
                for (name, value) in values.clone() {
                    draft.set(name, value).unwrap();
                }
            }))
            .await;
        // The edges of list and map may be sealed once, within the record's cap.
        assert!(bytes < 8 * 1024, "{bytes} bytes in round {round}");
        at = next;
    }
    let found = cold(target, &at).await;
    assert!(found == values.map(|(name, value)| (name.to_owned(), value)).into());
}

/// A whole value that has grown costs about what appending to it would.
pub async fn a_grown_value_costs_as_an_append(target: &Target) {
    let memory = target.memory();
    let list = random_items(1, 2000, 300);
    let mut costs = Vec::new();
    for whole in [false, true] {
        let thread = memory
            .thread(if whole { "whole" } else { "append" })
            .unwrap();
        let mut at = step(&thread, |draft| {
            draft.set("list", list[..1000].to_vec()).unwrap();
        })
        .await;
        let mut total = 0;
        for n in 1000..1050 {
            let (next, bytes) = target
                .bytes_of(step_on(&at, |draft| {
                    if whole {
                        draft.set("list", list[..=n].to_vec()).unwrap();
                    } else {
                        draft.append("list", [list[n].clone()]).unwrap();
                    }
                }))
                .await;
            total += bytes;
            at = next;
        }
        assert!(cold(target, &at).await["list"] == Value::List(list[..1050].to_vec()));
        costs.push(total);
    }
    assert!(costs[1] < costs[0] + costs[0] / 20, "{costs:?}");
}

/// The contract's `put` of a grown list costs as little.
pub async fn a_put_of_a_grown_list_costs_what_grew(target: &Target) {
    let saver = target.saver();
    let list = random_items(1, 1100, 300);
    let mut config = Config::new("t");
    let mut most = 0;
    for n in 1000..1100_usize {
        let versions = BTreeMap::from([("list".to_owned(), Version::Int(n as i64))]);
        let checkpoint = Checkpoint {
            id: format!("{n:06}"),
            channel_values: [("list".to_owned(), Value::List(list[..n].to_vec()))].into(),
            channel_versions: versions.clone(),
            ..Checkpoint::default()
        };
        let put = saver.put(&config, checkpoint, JsonMap::new(), &versions);
        let (put, bytes) = target.bytes_of(put).await;
        config = put.unwrap();
        if n > 1000 {
            most = most.max(bytes);
        }
    }
    assert!(most < 16 * 1024, "{most} bytes for one put");
}

/// A change in the middle of a long list, or of a large value, costs its
/// surroundings.
pub async fn a_change_costs_its_surroundings(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut list = random_items(1, 5000, 200);
    let mut large = Rng::new(2).bytes(1 << 20);
    let first = step(&thread, |draft| {
        draft.set("list", list.clone()).unwrap();
        draft
            .set("large", Item::new("bytes", large.clone()))
            .unwrap();
    })
    .await;
    list.splice(2500..2503, items(["changed"]));
    let (second, bytes) = target
        .bytes_of(step_on(&first, |draft| {
            draft
                .splice("list", 2500..2503, items(["changed"]))
                .unwrap();
        }))
        .await;
    assert!(bytes < 32 * 1024, "{bytes} bytes for a splice");
    large.splice(500_000..500_010, *b"some other bytes");
    let (third, bytes) = target
        .bytes_of(step_on(&second, |draft| {
            draft
                .set("large", Item::new("bytes", large.clone()))
                .unwrap();
        }))
        .await;
    assert!(
        bytes < 64 * 1024,
        "{bytes} bytes for a change of a large value"
    );
    let found = cold(target, &third).await;
    assert!(found["list"] == Value::List(list));
    assert!(found["large"] == Value::Item(Item::new("bytes", large)));
}

/// A commit on a parent that was read is one call to the store.
pub async fn an_append_is_one_call(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let mut at = step(&thread, |draft| {
        draft.set("list", random_items(1, 3000, 100)).unwrap();
    })
    .await;
    for n in 0..20 {
        let (next, calls) = target
            .calls_of(step_on(&at, |draft| {
                draft.append("list", random_items(50 + n, 1, 500)).unwrap();
            }))
            .await;
        assert_eq!(calls, 1, "append {n}");
        at = next;
    }
}

/// Metadata that stays as it was is written once, however large.
pub async fn unchanged_metadata_is_borrowed(target: &Target) {
    let memory = target.memory();
    let thread = thread(&memory);
    let noise = random_items(7, 1, 6000).remove(0);
    let noise: String = noise
        .bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let metadata = serde_json::json!({ "prompt": noise });
    let metadata = metadata.as_object().unwrap();
    let mut bytes = Vec::new();
    for text in ["a", "b", "c"] {
        let mut draft = thread.draft().await.unwrap();
        draft.append("list", items([text])).unwrap();
        draft.metadata(metadata.clone());
        bytes.push(target.bytes_of(commit(&thread, draft)).await.1);
    }
    assert!(bytes[2] < 1024, "{bytes:?}");
    let latest = target.memory().thread(thread.id()).unwrap().latest().await;
    assert_eq!(
        latest.unwrap().unwrap().metadata().await.unwrap(),
        *metadata
    );
}
