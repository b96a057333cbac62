//! Reading rows and chunks by name.

use super::Fixture;
use super::support::*;

/// The answer has one entry for each key, in their order; the same key twice too.
pub async fn items_answers_each_key_in_order(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let a = put(&backend, item(key("a"))).await;
    let b = put(&backend, item(key("b"))).await;
    let keys = ["b", "none", "a", "b", "other"].map(key);
    let rows = backend.items(&keys).await.unwrap();
    assert_eq!(rows, [Some(b.clone()), None, Some(a), Some(b), None]);
}

/// No keys, no rows.
pub async fn items_of_no_keys_gives_nothing(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    assert_eq!(backend.items(&[]).await.unwrap(), []);
    assert_eq!(backend.change_items(Vec::new()).await.unwrap().len(), 0);
}

/// Everything in a row comes back as it was put.
pub async fn a_row_comes_back_whole(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut full = until(packed(key("full"), None), NOW + 5);
    full.row.body = (0..=255u8).cycle().take(10_000).collect::<Vec<_>>().into();
    let full = put(&backend, full).await;
    assert_intact(&backend, &full).await;
    let mut bare = item(key("bare"));
    bare.row.body = bytes::Bytes::new();
    bare.value = None;
    let bare = put(&backend, bare).await;
    assert_intact(&backend, &bare).await;
}

/// Times up to 2^53 are kept to the millisecond.
pub async fn times_are_kept_to_the_millisecond(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    for (n, expires_ms) in [NOW + 1, (1 << 53) - 1].into_iter().enumerate() {
        let row = put(&backend, until(item(key(&n.to_string())), expires_ms)).await;
        assert_intact(&backend, &row).await;
        assert_eq!(row.expires_ms, Some(expires_ms));
    }
}

/// Chunks are answered for each name, in their order; what is not there is `None`.
pub async fn chunks_answers_each_name_in_order(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let row = put(&backend, packed(key("a"), None)).await;
    let [first, second] = names(row.version).try_into().unwrap();
    let mut beyond = second;
    beyond.ordinal = 2;
    let unknown = names(write_id()).remove(0);
    let asked = [second, unknown, first, beyond, second];
    let found = backend.item_chunks(&row.key, &asked).await.unwrap();
    let chunk = |n: u32| Some(bytes::Bytes::from(format!("chunk {n} of {}", row.version)));
    assert_eq!(found, [chunk(1), None, chunk(0), None, chunk(1)]);
}

/// The chunks of one item are not those of another, nor of one that is not there.
pub async fn chunks_belong_to_their_item(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let row = put(&backend, packed(key("a"), None)).await;
    put(&backend, item(key("b"))).await;
    assert!(!has_pack(&backend, &key("b"), row.version).await);
    assert!(!has_pack(&backend, &key("none"), row.version).await);
    assert!(!has_pack(&backend, &key_in(&["other"], "a"), row.version).await);
    assert!(has_pack(&backend, &key("a"), row.version).await);
}

/// Chunks of any content and number: none of a byte, one of a megabyte, many.
pub async fn chunks_of_any_size_come_back(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let most = backend.store_capabilities().max_value_bytes;
    let large = most.min(1 << 20) as usize;
    let bytes: Vec<u8> = (0..large).map(|n| (n % 251) as u8).collect();
    let mut put_of = item(key("a"));
    put_of.chunks = vec![bytes::Bytes::new(), bytes.into()];
    put_of
        .chunks
        .extend((0..500u32).map(|n| bytes::Bytes::copy_from_slice(&n.to_le_bytes())));
    put_of.row.packs = vec![put_of.row.version];
    let expected = put_of.chunks.clone();
    let row = put(&backend, put_of).await;
    let names: Vec<_> = (0..)
        .zip(&expected)
        .map(|(ordinal, chunk)| chunkpoint_core::backend::ChunkName {
            pack: row.version,
            ordinal,
            locator: 0,
            len: chunk.len() as u32,
        })
        .collect();
    let found = backend.item_chunks(&row.key, &names).await.unwrap();
    let found: Option<Vec<_>> = found.into_iter().collect();
    assert!(found == Some(expected), "every chunk comes back");
}

/// A thousand items are put and read in one call each.
pub async fn a_thousand_items_in_one_call(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let keys: Vec<_> = (0..1000).map(|n| key(&format!("{n:04}"))).collect();
    put_all(&backend, keys.clone()).await;
    let rows = backend.items(&keys).await.unwrap();
    let found: Option<Vec<_>> = rows.into_iter().map(|row| Some(row?.key)).collect();
    assert_eq!(found, Some(keys));
}
