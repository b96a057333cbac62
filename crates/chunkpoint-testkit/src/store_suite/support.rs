//! What the behaviours are written with.

use std::time::Duration;

use chunkpoint_core::store::{
    Get, Namespace, Patch, Put, Search, Store, StoreItem, Ttl, Written, item_key,
};
use chunkpoint_core::store_backend::ItemKey;
use chunkpoint_core::{Clock, ErrorKind, Result};
pub(super) use serde_json::{Map, Value as Json, json};

pub(super) use crate::deterministic::Rng;
pub(super) use crate::target::Target;

/// The namespace most behaviours are about.
pub(super) const NS: &[&str] = &["users", "ada"];

pub(super) fn name(namespace: &[&str], key: &str) -> ItemKey {
    item_key(namespace, key).unwrap()
}

pub(super) fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

/// Puts, which must succeed.
pub(super) async fn put(store: &Store, key: &str, value: Json) -> Written {
    store.put(NS, key, value).await.unwrap()
}

/// The item, as it is found without renewing it.
pub(super) async fn item(store: &Store, key: &str) -> Option<StoreItem> {
    item_in(store, NS, key).await
}

pub(super) async fn item_in(store: &Store, namespace: &[&str], key: &str) -> Option<StoreItem> {
    let get = Get::new(namespace, key).unwrap().refresh_ttl(false);
    store.get_with(get).await.unwrap()
}

/// Its value.
pub(super) async fn value(store: &Store, key: &str) -> Option<Json> {
    item(store, key).await.map(|item| Json::Object(item.value))
}

/// A put with all its fields, to be changed.
pub(super) fn putting(namespace: &[&str], key: &str, value: Json) -> Put {
    Put::new(namespace, key, value).unwrap()
}

/// A put that lives for so many minutes.
pub(super) async fn put_for(store: &Store, key: &str, minutes: f64) -> Written {
    let put = putting(NS, key, json!({"key": key})).ttl(Ttl::Minutes(minutes));
    store.put_with(put).await.unwrap()
}

pub(super) fn patching(key: &str, patch: Json) -> Patch {
    Patch::new(NS, key, patch).unwrap()
}

/// Everything below these labels, which does not renew what it finds.
pub(super) fn below(labels: &[&str]) -> Search {
    let all = Search::below(labels).unwrap().limit(100_000);
    all.refresh_ttl(false)
}

/// The keys of what is found, in the order found.
pub(super) async fn found(store: &Store, search: Search) -> Vec<String> {
    let items = store.search(search).await.unwrap();
    items.iter().map(|item| item.key.to_string()).collect()
}

/// The keys of what fulfils a filter.
pub(super) async fn matching(store: &Store, filter: Json) -> Vec<String> {
    found(store, below(&[]).filter(&filter).unwrap()).await
}

pub(super) fn spaces(of: &[&[&str]]) -> Vec<Namespace> {
    of.iter()
        .map(|labels| Namespace::new(*labels).unwrap())
        .collect()
}

pub(super) fn now(target: &Target) -> u64 {
    target.clock().now_ms()
}

pub(super) fn minutes(minutes: f64) -> Duration {
    Duration::from_secs_f64(minutes * 60.0)
}

/// Lets the grace period pass, and sweeps.
pub(super) async fn sweep(target: &Target) -> chunkpoint_core::store_backend::SweptItems {
    target.clock().advance(minutes(60.0 * 24.0));
    target.store().sweep().await.unwrap()
}

/// Text of so many bytes that does not compress much, another for every seed.
pub(super) fn text(seed: u64, len: usize) -> String {
    let mut rng = Rng::new(seed);
    (0..len)
        .map(|_| char::from(b' ' + rng.below(95) as u8))
        .collect()
}

/// A value of about a megabyte in a thousand members.
pub(super) fn large(seed: u64) -> Json {
    let members = (0..1024u64).map(|n| {
        let text = text(seed.wrapping_mul(0x1_0000).wrapping_add(n), 1000);
        (format!("m{n:04}"), json!(text))
    });
    Json::Object(members.collect())
}

/// Skips where the backend cannot take a put of two megabytes.
pub(super) fn takes_large(target: &Target) -> bool {
    let capabilities = target.capabilities();
    let takes =
        capabilities.max_commit_bytes >= 2 << 20 && capabilities.max_value_bytes >= 64 << 10;
    if !takes {
        target.skipped("the backend takes no megabyte");
    }
    takes
}

/// The kind of the error that an operation must fail with.
pub(super) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("this must fail").kind()
}
