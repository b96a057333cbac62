//! Patches by RFC 7396.

use chunkpoint_core::store::{Put, Ttl};
use chunkpoint_core::store_backend::Expect;
use chunkpoint_core::{ErrorKind, Settings};
use futures::future::join_all;

use super::support::*;

/// The examples of the RFC, and what they leave open, on values of any size.
pub async fn a_patch_merges_as_the_rfc_says(target: &Target) {
    let store = target.store();
    for (before, patch, after) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
        (json!({"a": 1}), json!({"a": {"b": null}}), json!({"a": {}})),
        (
            json!({"a": {"b": 1}}),
            json!({"a": [null]}),
            json!({"a": [null]}),
        ),
        (
            json!({"a": {"b": 1}}),
            json!({"a": {}}),
            json!({"a": {"b": 1}}),
        ),
        (
            json!({"a": {"b": {"c": 1}}}),
            json!({"a": {"b": 2}}),
            json!({"a": {"b": 2}}),
        ),
        (json!({"a": 1}), json!({}), json!({"a": 1})),
        (json!({"a": 1}), json!({"none": null}), json!({"a": 1})),
        (
            json!({"a.b": 1, "a": {"b": 2}, "": 3, "$set": 4, "\u{0}": 5, "\u{1}": 6}),
            json!({"a.b": null, "": {"": 1}, "$set": {"a": 1}, "\u{0}": null, "\u{1}": {"\u{0}": 1}}),
            json!({"a": {"b": 2}, "": {"": 1}, "$set": {"a": 1}, "\u{1}": {"\u{0}": 1}}),
        ),
    ] {
        for padding in [0, 20_000] {
            let padded = |value: &Json| {
                let mut value = value.clone();
                if padding > 0 {
                    value["padding"] = json!(text(1, padding));
                }
                value
            };
            put(&store, "a", padded(&before)).await;
            store.patch(NS, "a", patch.clone()).await.unwrap();
            for store in [&store, &target.store()] {
                let found = value(store, "a").await;
                assert!(found == Some(padded(&after)), "{before} with {patch}");
            }
        }
    }
}

/// A patch of what is not there makes it.
pub async fn a_patch_makes_what_is_not_there(target: &Target) {
    let store = target.store();
    let patch = json!({"a": {"b": 1, "c": null}, "d": null});
    let written = store.patch(NS, "a", patch).await.unwrap();
    assert_eq!(written.created_ms, now(target));
    assert_eq!(value(&store, "a").await, Some(json!({"a": {"b": 1}})));
    store.delete(NS, "a").await.unwrap();
    store.patch(NS, "a", json!({"x": 1})).await.unwrap();
    assert_eq!(value(&store, "a").await, Some(json!({"x": 1})));
}

/// A patch keeps when the item was created, and changes its version.
pub async fn a_patch_keeps_created(target: &Target) {
    let store = target.store();
    let first = put(&store, "a", json!({"n": 1})).await;
    target.clock().advance(minutes(1.0));
    let second = store.patch(NS, "a", json!({"n": 2})).await.unwrap();
    assert_eq!(second.created_ms, first.created_ms);
    let item = item(&store, "a").await.expect("it is there");
    assert_eq!(item.version, second.version);
    assert_ne!(item.version, first.version);
    assert_eq!(
        (item.created_ms, item.updated_ms),
        (first.created_ms, now(target))
    );
}

/// A patch that changes nothing writes nothing, and the version stays.
pub async fn a_patch_of_nothing_writes_nothing(target: &Target) {
    let store = target.store();
    for (key, padding) in [("small", 1), ("large", 50_000)] {
        let padding = text(1, padding);
        put(
            &store,
            key,
            json!({"n": 1, "o": {"p": [1]}, "padding": padding}),
        )
        .await;
        let before = item(&store, key).await;
        target.clock().advance(minutes(1.0));
        let changes = target.watch().changes();
        for patch in [
            json!({}),
            json!({"n": 1}),
            json!({"none": null, "o": {"p": [1]}}),
        ] {
            let written = store.patch(NS, key, patch).await.unwrap();
            assert_eq!(written.bytes_written, 0);
            assert_eq!(
                Some(written.version),
                before.as_ref().map(|item| item.version)
            );
        }
        assert_eq!(target.watch().changes(), changes);
        assert_eq!(item(&store, key).await, before);
    }
}

/// A patch of one member of a megabyte writes under 64 KiB and reads little: measured
/// where it reaches the backend.
pub async fn a_patch_of_a_large_value_writes_little(target: &Target) {
    if !takes_large(target) {
        return;
    }
    let mut expected = large(1);
    let whole = target.store().put(NS, "a", expected.clone()).await.unwrap();
    assert!(
        whole.pages.0 > 50 && whole.pages.1 == 0,
        "{:?}",
        whole.pages
    );
    for (n, patch) in [
        json!({"m0500": "changed"}),
        json!({"m0000": {"now": "an object"}}),
        json!({"new": [1, 2, 3]}),
        json!({"m1023": null}),
        json!({"m0000": {"then": null, "now": 1}}),
    ]
    .into_iter()
    .enumerate()
    {
        let before = target.watch().bytes_sent();
        // A memory of its own has nothing in its cache: what it reads is counted.
        let written = target.store().patch(NS, "a", patch.clone()).await.unwrap();
        let sent = target.watch().bytes_sent() - before;
        assert!(sent < 64 << 10, "patch {n} wrote {sent} bytes");
        assert_eq!(written.bytes_written, sent);
        assert!(
            written.bytes_read < 128 << 10,
            "patch {n}: {}",
            written.bytes_read
        );
        assert!(written.pages.1 > 50, "patch {n}: {:?}", written.pages);
        merge(&mut expected, &patch);
        assert!(value(&target.store(), "a").await == Some(expected.clone()));
    }
}

/// As the RFC says it, in the plainest way.
fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in members {
        match value {
            Json::Null => {
                target.as_object_mut().unwrap().remove(name);
            }
            value => merge(&mut target[name.as_str()], value),
        }
    }
}

/// Hundreds of patches of a large value, with sweeps among them, leave it right; and
/// what it is spread over stays bounded.
pub async fn many_patches_and_sweeps_leave_the_value_right(target: &Target) {
    if !takes_large(target) {
        return;
    }
    let store = target.store();
    let mut expected = large(1);
    put(&store, "a", expected.clone()).await;
    let mut rng = Rng::new(11);
    for n in 0..300u64 {
        let member = format!("m{:04}", rng.below(1100));
        let patch = match rng.below(4) {
            0 => json!({member: null}),
            1 => json!({member: {"at": n, "text": text(n, 300)}}),
            2 => json!({member: {"at": null, "list": [n]}}),
            _ => json!({member: text(n, 900)}),
        };
        store.patch(NS, "a", patch.clone()).await.unwrap();
        merge(&mut expected, &patch);
        if n % 50 == 49 {
            sweep(target).await;
            assert!(value(&target.store(), "a").await == Some(expected.clone()));
            assert!(value(&store, "a").await == Some(expected.clone()));
        }
    }
    let key = name(NS, "a");
    let rows = store.backend().items(std::slice::from_ref(&key)).await;
    let row = rows.unwrap().remove(0).expect("it is there");
    assert!(row.packs.len() <= 64, "{} packs", row.packs.len());
}

/// A value may grow by patches from nothing to a megabyte, and shrink again.
pub async fn a_value_grows_and_shrinks_by_patches(target: &Target) {
    if !takes_large(target) {
        return;
    }
    let store = target.store();
    for n in 0..64u64 {
        let member = format!("m{n:02}");
        store
            .patch(NS, "a", json!({member: text(n, 16_000)}))
            .await
            .unwrap();
    }
    let all = (0..64u64).map(|n| (format!("m{n:02}"), json!(text(n, 16_000))));
    assert!(value(&target.store(), "a").await == Some(Json::Object(all.collect())));
    for n in 0..64u64 {
        store
            .patch(NS, "a", json!({format!("m{n:02}"): null}))
            .await
            .unwrap();
    }
    sweep(target).await;
    assert_eq!(value(&target.store(), "a").await, Some(json!({})));
    store.patch(NS, "a", json!({"x": {"y": 1}})).await.unwrap();
    assert_eq!(
        value(&target.store(), "a").await,
        Some(json!({"x": {"y": 1}}))
    );
}

/// A patch may expect a version, or that there is nothing.
pub async fn a_patch_may_expect(target: &Target) {
    let store = target.store();
    let mut patch = patching("a", json!({"n": 1}));
    patch.expect = Expect::Absent;
    let first = store.patch_with(patch.clone()).await.unwrap();
    assert_eq!(
        kind(store.patch_with(patch.clone()).await),
        ErrorKind::Conflict
    );
    patch.expect = Expect::Version(first.version);
    patch.patch = object(json!({"n": 2}));
    store.patch_with(patch.clone()).await.unwrap();
    assert_eq!(kind(store.patch_with(patch).await), ErrorKind::Conflict);
    assert_eq!(value(&store, "a").await, Some(json!({"n": 2})));
}

/// Another writer that comes between is not lost: the patch is applied to what it made.
pub async fn a_patch_is_applied_to_the_newest(target: &Target) {
    for padding in [1, 30_000] {
        let store = target.store();
        put(&store, "a", json!({"n": 1, "padding": text(1, padding)})).await;
        let other = target.store();
        target.watch().before_next_change(async move {
            put(&other, "a", json!({"other": 1, "padding": "none"})).await;
        });
        store.patch(NS, "a", json!({"mine": 1})).await.unwrap();
        let both = json!({"other": 1, "mine": 1, "padding": "none"});
        assert_eq!(value(&store, "a").await, Some(both));
    }
}

/// What a patch reads may be replaced and swept before it has read it.
pub async fn a_patch_survives_the_sweep_of_what_it_reads(target: &Target) {
    put(&target.store(), "a", json!({"padding": text(1, 30_000)})).await;
    let (other, clock) = (target.store(), target.clock_handle());
    target.watch().before_next_chunks(async move {
        put(&other, "a", json!({"other": 1, "padding": text(2, 30_000)})).await;
        clock.advance(minutes(60.0));
        other.sweep().await.unwrap();
    });
    target
        .store()
        .patch(NS, "a", json!({"mine": 1}))
        .await
        .unwrap();
    let both = json!({"other": 1, "mine": 1, "padding": text(2, 30_000)});
    assert!(value(&target.store(), "a").await == Some(both));
}

/// Patches of distinct members by many tasks at once all stand.
pub async fn concurrent_patches_all_stand(target: &Target) {
    for padding in [1, 30_000] {
        let store = target.store();
        put(&store, "a", json!({"padding": text(1, padding)})).await;
        let tasks = (0..8).map(|task| {
            let store = target.store();
            tokio::spawn(async move {
                for n in 0..4 {
                    let patch = json!({"t": {format!("{task}"): {format!("{n}"): n}}});
                    store.patch(NS, "a", patch).await.unwrap();
                }
            })
        });
        for done in join_all(tasks).await {
            done.unwrap();
        }
        let item = item(&target.store(), "a").await.expect("it is there");
        for task in 0..8 {
            let of = &item.value["t"][task.to_string()];
            assert_eq!(*of, json!({"0": 0, "1": 1, "2": 2, "3": 3}), "task {task}");
        }
        store.delete(NS, "a").await.unwrap();
    }
}

/// A patch keeps how long the item lives, and begins that time anew.
pub async fn a_patch_renews_the_life(target: &Target) {
    let store = target.store_with(Settings {
        store_ttl: Some(minutes(1000.0)),
        ..target.settings()
    });
    for patch in [json!({"x": 1}), json!({"key": "a"})] {
        put_for(&store, "a", 2.0).await;
        target.clock().advance(minutes(1.5));
        store.patch(NS, "a", patch).await.unwrap();
        let expires = item(&store, "a").await.expect("it is there").expires_ms;
        assert_eq!(expires, Some(now(target) + 120_000));
        target.clock().advance(minutes(2.0));
        assert_eq!(value(&store, "a").await, None);
    }
    let never = Put {
        ttl: Ttl::Never,
        ..putting(NS, "b", json!({}))
    };
    store.put_with(never).await.unwrap();
    store.patch(NS, "b", json!({"x": 1})).await.unwrap();
    assert_eq!(
        item(&store, "b").await.expect("it is there").expires_ms,
        None
    );
}

/// A patch of what has expired begins with nothing, and lives by default.
pub async fn a_patch_of_what_expired_begins_anew(target: &Target) {
    let store = target.store();
    put_for(&store, "a", 1.0).await;
    target.clock().advance(minutes(1.0));
    let written = store.patch(NS, "a", json!({"x": 1})).await.unwrap();
    assert_eq!(written.created_ms, now(target));
    let item = item(&store, "a").await.expect("it is there");
    assert_eq!(Json::Object(item.value), json!({"x": 1}));
    assert_eq!(item.expires_ms, None);
}
