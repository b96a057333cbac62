//! Copies of whole memories: what goes in at random, and what can be read of it.
//!
//! [`fill`] makes a memory of everything there is (drafts, forks, the contract's puts
//! and writes, re-puts, pins, delta channels, prunes, deletions, items with a time to
//! live), and [`readable`] reads it through the public interface alone, value by value.
//! A copy is right if that is the same of both.

mod fill;

use std::collections::BTreeMap;

use chunkpoint_core::export::Scope;
use chunkpoint_core::store::{NamespaceQuery, Search};
use chunkpoint_core::{Config, ListQuery, Memory};
use futures::{StreamExt, TryStreamExt};

pub use fill::{DELTA, fill, fill_store};

/// Everything that can be read of a memory, by what it is.
pub async fn readable(memory: &Memory) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let saver = memory.saver();
    let all: Vec<_> = saver
        .list(ListQuery::default())
        .try_collect()
        .await
        .expect("all is readable");
    let order: Vec<String> = all
        .iter()
        .map(|tuple| format!("{:?}", tuple.config))
        .collect();
    out.insert("order of the listing".into(), order.join("\n"));
    for tuple in &all {
        let config = &tuple.config;
        let whole = tuple.checkpoint().await.expect("values are readable");
        let writes: Vec<_> = tuple
            .pending_writes
            .iter()
            .map(|w| (w, &w.value.bytes))
            .collect();
        let values: Vec<_> = whole
            .channel_values
            .iter()
            .map(|(k, v)| (k, bytes(v)))
            .collect();
        out.insert(
            format!("{config:?}"),
            format!(
                "{:?} {:?} {:?} {:?} {:?} {} {} {:?}",
                whole,
                values,
                tuple.metadata,
                tuple.parent_config,
                writes,
                tuple.snapshot.time_ms(),
                tuple.snapshot.is_pinned(),
                tuple.snapshot.channels().collect::<Vec<_>>(),
            ),
        );
        let delta = saver
            .get_delta_channel_history(config, &[DELTA])
            .await
            .expect("histories are readable");
        out.insert(format!("{config:?} history"), format!("{delta:?}"));
        let latest = saver
            .get_tuple(&Config::new(&*config.thread_id).with_ns(&*config.checkpoint_ns))
            .await
            .expect("the latest is readable");
        let latest = latest.map(|latest| latest.config);
        out.insert(
            format!("{} {} latest", config.thread_id, config.checkpoint_ns),
            format!("{latest:?}"),
        );
    }
    if let Ok(store) = memory.store() {
        let search = Search {
            refresh_ttl: Some(false),
            ..Search::below::<&str>(&[]).expect("the root is a namespace")
        };
        let items = store.search(search.limit(usize::MAX)).await;
        for item in items.expect("items are readable") {
            out.insert(
                format!("item {} {}", item.namespace, item.key),
                format!(
                    "{} {} {} {:?}",
                    serde_json::to_string(&item.value).expect("it is JSON"),
                    item.created_ms,
                    item.updated_ms,
                    item.expires_ms
                ),
            );
        }
        let namespaces = store.list_namespaces(NamespaceQuery::default().limit(usize::MAX));
        let namespaces = namespaces.await.expect("namespaces are readable");
        out.insert("namespaces".into(), format!("{namespaces:?}"));
    }
    out
}

fn bytes(value: &chunkpoint_core::Value) -> Vec<Vec<u8>> {
    use chunkpoint_core::Value;
    match value {
        Value::Item(item) => vec![item.bytes.to_vec()],
        Value::List(items) => items.iter().map(|item| item.bytes.to_vec()).collect(),
        Value::Map(map) => map.values().map(|item| item.bytes.to_vec()).collect(),
    }
}

/// Panics with the first difference of two memories.
pub async fn assert_same(a: &Memory, b: &Memory) {
    let (left, right) = (readable(a).await, readable(b).await);
    for (what, value) in &left {
        let other = right.get(what);
        let cut = |text: &str| text.chars().take(3000).collect::<String>();
        assert!(
            other == Some(value),
            "{what} differs\n{}\n{}",
            cut(value),
            cut(other.map_or("nothing", String::as_str))
        );
    }
    let more: Vec<_> = right
        .keys()
        .filter(|key| !left.contains_key(*key))
        .collect();
    assert!(more.is_empty(), "only in the copy: {more:?}");
}

/// The whole export of a memory, as text.
pub async fn exported(memory: &Memory) -> String {
    let pieces: Vec<_> = memory
        .export(Scope::all(), |_| {})
        .try_collect()
        .await
        .expect("it can be exported");
    String::from_utf8(pieces.concat()).expect("lines are text")
}

/// Imports text, handed over in pieces of `piece` bytes.
///
/// # Errors
/// As [`Memory::import`].
pub async fn import(
    memory: &Memory,
    text: &str,
    piece: usize,
) -> chunkpoint_core::Result<chunkpoint_core::export::Count> {
    let pieces: Vec<_> = text
        .as_bytes()
        .chunks(piece)
        .map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    let pieces = futures::stream::iter(pieces).boxed();
    memory.import(pieces, Scope::all(), |_| {}).await
}
