//! Micro-benchmarks of the engine's parts: what a change to one of them costs or saves,
//! without storage.
//!
//! ```sh
//! cargo bench -p chunkpoint-core --bench micro
//! cargo bench -p chunkpoint-core --bench micro -- codec
//! ```
//!
//! The workload has a fixed seed. `tests/allocations.rs` counts the allocations of the same
//! operations, and `.ci/instructions` the instructions.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should stop"
)]
#![allow(
    missing_docs,
    reason = "criterion's macros make items without documentation"
)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::benching::{Codec, Tree, cut};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_core::types::Item;
use chunkpoint_core::{Compression, Memory, Settings};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/common/words.rs"]
mod words;

use words::message;

fn chunking(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunking");
    let codec = Codec::new(Compression::None);
    for bytes in [64 << 10, 1 << 20, 16 << 20] {
        let value = message(1, bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("cut and hash", bytes), |b| {
            b.iter(|| cut(black_box(value.clone()), &codec).unwrap());
        });
    }
}

fn codecs(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let raw = message(2, 2048);
    group.throughput(Throughput::Bytes(raw.len() as u64));
    for (name, compression) in [
        ("none", Compression::None),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        let codec = Codec::new(compression);
        let stored = codec.pack(&raw).unwrap();
        group.bench_function(BenchmarkId::new("pack", name), |b| {
            b.iter(|| codec.pack(black_box(&raw)).unwrap());
        });
        group.bench_function(BenchmarkId::new("unpack", name), |b| {
            b.iter(|| codec.unpack(black_box(stored.clone())).unwrap());
        });
    }
}

fn trees(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    let codec = Codec::new(Compression::Zstd);
    for length in [100, 10_000, 100_000] {
        let tree = Tree::of((0..length).map(|n| message(n, 500)), &codec).unwrap();
        group.bench_function(
            BenchmarkId::new("append one of 500 bytes to", length),
            |b| {
                let mut next = length;
                b.iter_batched(
                    || {
                        next += 1;
                        (tree.clone(), message(next, 500))
                    },
                    |(mut tree, message)| tree.append([message], &codec).unwrap(),
                    BatchSize::SmallInput,
                );
            },
        );
    }
    let items: Vec<Bytes> = (0..1000).map(|n| message(n, 500)).collect();
    group.throughput(Throughput::Bytes(500_000));
    group.bench_function("build of 1,000", |b| {
        b.iter(|| Tree::of(black_box(&items).iter().cloned(), &codec).unwrap());
    });
}

fn commits(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut group = c.benchmark_group("commit");
    for length in [100, 10_000] {
        let (thread, mut snapshot) = runtime.block_on(async {
            let memory = Memory::builder(Arc::new(MemoryBackend::default()))
                .settings(Settings::default())
                .build()
                .unwrap();
            let thread = memory.thread("bench").unwrap();
            let mut draft = thread.draft().await.unwrap();
            let items = (0..length).map(|n| Item::new("json", message(n, 500)));
            draft.append("messages", items).unwrap();
            let snapshot = thread.commit(draft).await.unwrap();
            (thread, snapshot)
        });
        let mut next = length;
        group.bench_function(BenchmarkId::new("append one to", length), |b| {
            b.iter(|| {
                next += 1;
                runtime.block_on(async {
                    let mut draft = snapshot.draft().unwrap();
                    draft
                        .append("messages", [Item::new("json", message(next, 500))])
                        .unwrap();
                    snapshot = thread.commit(draft).await.unwrap();
                });
            });
        });
        group.bench_function(BenchmarkId::new("read the last 20 of", length), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let latest = thread.latest().await.unwrap().unwrap();
                    let list = latest.list("messages").await.unwrap();
                    list.tail(20).await.unwrap()
                })
            });
        });
    }
}

criterion_group!(all, chunking, codecs, trees, commits);
criterion_main!(all);
