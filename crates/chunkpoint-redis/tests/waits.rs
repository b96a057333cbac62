//! Mutations that are acknowledged once they are synced: by a server that syncs every second,
//! and on the disks of replicas. Redis 7.2 and later tell.
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
use support::{Place, info};

const EVERYSEC: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

fn start(options: &[&str]) -> Redis {
    Redis::start_with(Safety::Throwaway, &std::env::temp_dir(), options).unwrap()
}

fn tells_synced(server: &Redis) -> bool {
    let version = info(server, "server", "redis_version");
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
    let newer = (parts.next().unwrap(), parts.next().unwrap()) >= (7, 2);
    if !newer {
        println!("skipped: version {version} has no WAITAOF");
    }
    newer
}

fn config(server: &Redis) -> RedisConfig {
    RedisConfig {
        durability: Durability::Disk,
        ..RedisConfig::new(server.url())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_synced_every_second_is_waited_for() {
    if Place::redis().is_none() {
        return;
    }
    let server = start(&EVERYSEC);
    if !tells_synced(&server) {
        // It cannot be waited for there.
        let error = RedisBackend::from_config(config(&server))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("7.2"), "{error}");
        return;
    }
    let short = RedisConfig {
        timeout_ms: 4_000,
        ..config(&server)
    };
    // Long enough for a sync that waits for a processor.
    let backend = RedisBackend::from_config(config(&server)).await.unwrap();
    let first = commit(0, 0, None);
    let committed = backend.commit(first.clone()).await.unwrap();
    let waited = info(&server, "commandstats", "cmdstat_waitaof");
    assert!(waited.starts_with("calls="), "{waited}");

    // A server that does not sync does not acknowledge.
    let backend = RedisBackend::from_config(short.clone()).await.unwrap();
    let other = RedisBackend::from_config(short).await.unwrap();
    let policy = |policy| {
        let set = ["config", "set", "appendfsync", policy];
        server.command(&set).unwrap();
    };
    policy("no");
    let next = commit(0, 1, Some((&first, committed)));
    let error = backend.commit(next.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("did not sync"), "{error}");
    assert!(error.is_retryable() && !error.is_certainly_not_applied());
    // Nor to another client, whose repeat finds everything done.
    let error = other.commit(next.clone()).await.unwrap_err();
    assert!(error.message().contains("did not sync"), "{error}");
    policy("always");
    let mut tries = 0;
    while let Err(error) = other.commit(next.clone()).await {
        assert!(error.is_retryable() && tries < 30, "{error}");
        tries += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_have_it_on_their_disks() {
    if Place::redis().is_none() {
        return;
    }
    let primary = start(&["--appendonly", "yes", "--appendfsync", "always"]);
    if !tells_synced(&primary) {
        return;
    }
    let port = primary.port().to_string();
    let replica = start(&[
        "--replicaof",
        "127.0.0.1",
        &port,
        "--repl-diskless-sync-delay",
        "0",
    ]);
    support::linked(&replica).await;
    let on_disks = RedisConfig {
        replicas: 1,
        timeout_ms: 4_000,
        ..config(&primary)
    };
    let backend = RedisBackend::from_config(on_disks).await.unwrap();
    let first = commit(0, 0, None);
    // It keeps nothing on its disk.
    let error = backend.commit(first.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("appendonly yes"), "{error}");
    replica
        .command(&["config", "set", "appendonly", "yes"])
        .unwrap();
    replica
        .command(&["config", "set", "appendfsync", "always"])
        .unwrap();
    let mut tries = 0;
    while let Err(error) = backend.commit(first.clone()).await {
        assert!(error.is_retryable() && tries < 30, "{error}");
        tries += 1;
    }
}
