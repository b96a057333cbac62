//! What cannot be opened says why; keys of others are neither used nor touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_redis::{RedisBackend, RedisConfig};
use chunkpoint_testkit::faults::commit;
use chunkpoint_testkit::services::{Redis, Safety};
use support::Place;

async fn refused(config: RedisConfig) -> chunkpoint_core::Error {
    let error = RedisBackend::from_config(config).await.unwrap_err();
    assert!(error.is_certainly_not_applied());
    assert!(!format!("{error:?}{error}").contains("hunter2"), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_says_why() {
    if Place::redis().is_none() {
        return;
    }
    let dir = std::env::temp_dir();
    let options = ["--requirepass", "right"];
    let server = Redis::start_with(Safety::Throwaway, &dir, &options).unwrap();
    let url = |credentials: &str| format!("redis://{credentials}127.0.0.1:{}", server.port());
    let plain = |url: String| RedisConfig {
        durability: Durability::Buffered,
        ..RedisConfig::new(url)
    };
    for (config, kind, says) in [
        (
            plain(url(":hunter2@")),
            ErrorKind::Unavailable,
            "user or the password",
        ),
        (
            plain(url("me:hunter2@")),
            ErrorKind::Unavailable,
            "user or the password",
        ),
        (
            plain(url("")),
            ErrorKind::Unavailable,
            "user or the password",
        ),
        (
            RedisConfig {
                timeout_ms: 2_000,
                ..plain(url(":right@").replace("redis:", "rediss:"))
            },
            ErrorKind::Timeout,
            "encrypted",
        ),
        (
            plain("redis://:hunter2@127.0.0.1:1".into()),
            ErrorKind::Unavailable,
            "cannot be reached",
        ),
        (
            RedisConfig {
                durability: Durability::Disk,
                ..plain(url(":right@"))
            },
            ErrorKind::Unsupported,
            "appendonly no the most is buffered",
        ),
        (
            RedisConfig {
                nodes: vec![format!("127.0.0.1:{}", server.port())],
                ..plain(url(":right@"))
            },
            ErrorKind::InvalidInput,
            "not of a cluster",
        ),
    ] {
        let error = refused(config).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
    }
    RedisBackend::from_config(plain(url(":right@")))
        .await
        .unwrap();
    let set = [
        "-a",
        "right",
        "config",
        "set",
        "maxmemory-policy",
        "allkeys-lru",
    ];
    server.command(&set).unwrap();
    let error = refused(plain(url(":right@"))).await;
    assert!(error.message().contains("allkeys-lru"), "{error}");
    let allowed = RedisConfig {
        allow_eviction: true,
        ..plain(url(":right@"))
    };
    RedisBackend::from_config(allowed).await.unwrap();
}

/// Each of a thread's keys may be somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_another_program_are_named_and_left() {
    let Some(first) = Place::redis() else {
        return;
    };
    for end in [
        "",
        ":order",
        ":hidden",
        ":packs",
        ":condemned",
        ":writes",
        ":pins",
    ] {
        let place = Place::on(&first.url, false);
        let mut connection = place.connection().await;
        let key = format!("{}:{{thread%200}}{end}", place.prefix);
        let mut set = redis::cmd("SET");
        set.arg(&key).arg("ours");
        set.exec_async(&mut connection).await.unwrap();
        let backend = place.backend().await;
        let error = backend.commit(commit(0, 0, None)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_certainly_not_applied());
        let text = error.to_string();
        assert!(
            text.contains(&key) && text.contains("another prefix"),
            "{text}"
        );
        let mut get = redis::cmd("GET");
        let value: String = get.arg(&key).query_async(&mut connection).await.unwrap();
        assert_eq!(value, "ours");
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(&key).exec_async(&mut connection).await.unwrap();
    }
}
