//! Commits and chunks of sizes that layouts trip over.

use bytes::Bytes;
use chunkpoint_core::ErrorKind;

use super::Fixture;
use super::support::*;

/// Bytes that do not compress to nothing and hold every byte value.
fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = std::iter::repeat_with(|| {
        // Xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    bytes.take(len).collect()
}

/// A commit may bring no chunks, and be borrowed from.
pub async fn a_commit_without_chunks_is_stored(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.chunks.clear();
    let first = put(&backend, commit).await;
    assert_intact(&backend, &first).await;
    let mut commit = child("2", &[&first]);
    commit.chunks.clear();
    assert_intact(&backend, &put(&backend, commit).await).await;
    // Without chunks there is nothing to list as condemned.
    remove(&backend, &first).await;
    assert!(condemned(&backend, "t").await.is_empty());
}

/// A chunk of no bytes is a chunk, and an empty body a body.
pub async fn empty_chunks_and_bodies_are_stored(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.body = Bytes::new();
    commit.chunks = vec![Bytes::new(), Bytes::from_static(b"x"), Bytes::new()];
    let stored = put(&backend, commit).await;
    assert_intact(&backend, &stored).await;
    remove(&backend, &stored).await;
    let condemned = condemned(&backend, "t").await;
    assert_eq!(condemned[&stored.commit.pack], [0, 1, 2]);
}

/// Chunks and bodies are bytes, not text: any byte, any order.
pub async fn every_byte_value_is_kept(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let all: Bytes = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
    let mut commit = root("t", "1");
    commit.body = all.clone();
    commit.chunks = vec![
        all,
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"\xff\xfe\r\n\x1a"),
    ];
    assert_intact(&backend, &put(&backend, commit).await).await;
}

/// A chunk of 1 MB, and a body of 1 MB.
pub async fn a_megabyte_chunk_is_stored(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.chunks = vec![
        noise(1 << 20, 1),
        Bytes::from_static(b"small"),
        noise(1 << 20, 2),
    ];
    commit.body = noise(1 << 20, 3);
    assert_intact(&backend, &put(&backend, commit).await).await;
}

/// 5,000 chunks in one commit, read at once.
pub async fn five_thousand_chunks_in_one_commit(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut commit = root("t", "1");
    commit.chunks = (0..5_000).map(|n| noise(40 + n % 50, n as u64)).collect();
    let stored = put(&backend, commit).await;
    assert_intact(&backend, &stored).await;
    remove(&backend, &stored).await;
    let condemned = condemned(&backend, "t").await;
    assert_eq!(condemned[&stored.commit.pack].len(), 5_000);
}

/// What is over a limit is `TooLarge`, and stores nothing.
pub async fn a_value_over_the_limit_is_too_large(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let limit = backend.capabilities().max_value_bytes;
    if limit > 64 << 20 {
        skipped(
            "a_value_over_the_limit_is_too_large",
            "the limit is too high to be tried",
        );
        return;
    }
    let mut commit = root("t", "1");
    commit.chunks = vec![noise(limit as usize, 1)];
    assert_intact(&backend, &put(&backend, commit).await).await;
    let mut commit = root("t", "2");
    commit.chunks = vec![noise(limit as usize + 1, 1)];
    assert_eq!(kind(backend.commit(commit).await), ErrorKind::TooLarge);
    assert_eq!(at(&backend, "t", &key("", "2")).await, None);
}
