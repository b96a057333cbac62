//! Servers that are killed, connections that are cut, nodes that fail over, memory that is
//! full: nothing acknowledged is lost, nothing is there by half, and errors tell the truth.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_core::{Error, ErrorKind};
use chunkpoint_redis::{RedisBackend, RedisConfig};
use chunkpoint_testkit::faults::{commit, through, until};
use chunkpoint_testkit::proxy::proxy;
use chunkpoint_testkit::services::{Redis, RedisCluster, Safety};
use support::Place;

async fn open(config: RedisConfig) -> Arc<dyn CheckpointBackend> {
    Arc::new(RedisBackend::from_config(config).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing() {
    if Place::redis().is_none() {
        return;
    }
    let mut server = Redis::start(Safety::Durable).unwrap();
    let backend = open(RedisConfig {
        durability: Durability::Disk,
        ..RedisConfig::new(server.url())
    });
    through(backend.await, async |done| {
        until(done, 60).await;
        server.kill();
        server.restart().unwrap();
        until(done, 120).await;
        server.kill();
        server.restart().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_and_scripts_that_are_forgotten_lose_nothing() {
    if Place::redis().is_none() {
        return;
    }
    let server = Redis::start(Safety::Throwaway).unwrap();
    let (url, wire) = proxy(&server.url()).await;
    let backend = open(RedisConfig {
        durability: Durability::Buffered,
        ..RedisConfig::new(url)
    });
    through(backend.await, async |done| {
        for n in 1..9 {
            until(done, 20 * n).await;
            // The server has done what its client is not told any more.
            wire.cut(2);
            server.command(&["script", "flush"]).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_loses_nothing_that_its_replica_has() {
    if Place::cluster().is_none() {
        return;
    }
    let mut cluster = RedisCluster::start(Safety::Throwaway, 1).unwrap();
    let backend = open(RedisConfig {
        durability: Durability::Replicated,
        replicas: 1,
        timeout_ms: 2_000,
        ..RedisConfig::new(cluster.url())
    });
    through(backend.await, async |done| {
        until(done, 60).await;
        let killed = primary_of(&mut cluster, None).await;
        cluster.nodes()[killed].kill();
        // Back too early, it would be the primary of nothing: it keeps nothing on disk.
        primary_of(&mut cluster, Some(killed)).await;
        cluster.nodes()[killed].restart().unwrap();
    })
    .await;
}

/// The place of the node that is the primary of the first task's thread and, unless another
/// one has just been `killed`, has a replica that follows it. Which node that is is the
/// cluster's to say: on a busy machine it fails over without being told to.
async fn primary_of(cluster: &mut RedisCluster, killed: Option<usize>) -> usize {
    let is_primary = |node: &Redis| {
        let has_it = node.command(&["exists", "chunkpoint:{thread%200}"]);
        let followers = node.command(&["info", "replication"]);
        let is_followed = killed.is_some() || followers.unwrap().contains("state=online");
        has_it.unwrap().trim() == "1" && is_followed
    };
    for _ in 0..600 {
        let found = (cluster.nodes().iter().enumerate())
            .find(|&(place, node)| Some(place) != killed && is_primary(node));
        if let Some((place, _)) = found {
            return place;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no node becomes the primary of the thread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_hand_loses_nothing() {
    if Place::cluster().is_none() {
        return;
    }
    let mut cluster = RedisCluster::start_patient(Safety::Throwaway, 1).unwrap();
    let config = RedisConfig {
        durability: Durability::Buffered,
        ..RedisConfig::new(cluster.url())
    };
    let backend = open(config).await;
    let mut rising = None;
    // The switch may pass unnoticed: the client is told where the slot went and repeats.
    let first = commit(0, 0, None);
    let mut last = (first.clone(), backend.commit(first).await.unwrap());
    for step in 1..200 {
        if step == 50 || step == 120 {
            if let Some(replica) = rising {
                risen(&mut cluster, replica).await;
            }
            rising = Some(fail_over(&mut cluster).await);
        }
        let next = commit(0, step, Some((&last.0, last.1)));
        let mut tries = 0;
        let committed = loop {
            match backend.commit(next.clone()).await {
                Ok(committed) => break committed,
                Err(error) => {
                    assert!(error.is_retryable() && tries < 1_200, "{error}");
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        last = (next, committed);
    }
    risen(&mut cluster, rising.unwrap()).await;
    let query = chunkpoint_core::backend::ListRecords {
        thread: "thread 0".into(),
        namespace: None,
        before: None,
        limit: None,
        hidden: true,
        detail: chunkpoint_core::backend::Detail::Bodies,
    };
    let rows = backend.list(query).await.unwrap();
    assert_eq!(
        futures::TryStreamExt::try_collect::<Vec<_>>(rows)
            .await
            .unwrap()
            .len(),
        200
    );
}

/// Tells the replica of the thread's primary to take over, and does not wait: its place. Only
/// one is told at a time, as replicas that stand for election together take votes from each
/// other.
async fn fail_over(cluster: &mut RedisCluster) -> usize {
    let primary = primary_of(cluster, None).await;
    let nodes = cluster.nodes();
    let follows = format!("master_port:{}", nodes[primary].port());
    let follows_it = |node: &Redis| {
        let told = node.command(&["info", "replication"]).unwrap();
        told.lines().any(|line| line.trim() == follows)
    };
    let replica = nodes.iter().position(follows_it).unwrap();
    nodes[replica].command(&["cluster", "failover"]).unwrap();
    replica
}

/// Waits until this node has taken over. If it did not manage to within five seconds, it has
/// given up, and is told again.
async fn risen(cluster: &mut RedisCluster, replica: usize) {
    let node = &cluster.nodes()[replica];
    let mut tries = 1;
    let mut answer = String::new();
    while !node.command(&["role"]).unwrap().starts_with("master") {
        assert!(tries < 600, "the replica does not take over: {answer}");
        if tries % 60 == 0 {
            answer = node.command(&["cluster", "failover"]).unwrap();
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_says_so_and_recovers() {
    if Place::redis().is_none() {
        return;
    }
    let options = ["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"];
    let dir = std::env::temp_dir();
    let server = Redis::start_with(Safety::Throwaway, &dir, &options).unwrap();
    let config = RedisConfig {
        durability: Durability::Buffered,
        ..RedisConfig::new(server.url())
    };
    let backend = open(config).await;
    let mut stored = Vec::new();
    let refused: Error = loop {
        let next = commit(stored.len() % 4, stored.len(), None);
        match backend.commit(next.clone()).await {
            Ok(committed) => stored.push((next, committed)),
            Err(error) => break error,
        }
        assert!(stored.len() < 100_000, "memory was never full");
    };
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.message().contains("out of memory"), "{refused}");
    assert!(refused.is_certainly_not_applied());
    // What is there can be read, and removed.
    for (commit, committed) in &stored {
        let picks = [chunkpoint_core::backend::Pick::At(commit.key.clone())];
        let detail = chunkpoint_core::backend::Detail::Bodies;
        let rows = backend.get(&commit.thread, &picks, detail).await.unwrap();
        assert_eq!(rows[0].as_ref().unwrap().incarnation, committed.incarnation);
    }
    for (commit, committed) in &stored[..4] {
        let ended = backend.delete_thread(&commit.thread, committed.incarnation);
        ended.await.unwrap();
    }
    // Memory is freed in the background.
    let mut tries = 0;
    while let Err(error) = backend.commit(commit(0, 0, None)).await {
        assert!(tries < 1_200, "{error}");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_are_told() {
    if Place::redis().is_none() {
        return;
    }
    let primary = Redis::start(Safety::Throwaway).unwrap();
    let (dir, port) = (std::env::temp_dir(), primary.port().to_string());
    let options = [
        "--replicaof",
        "127.0.0.1",
        &port,
        "--repl-diskless-sync-delay",
        "0",
    ];
    let mut replica = Redis::start_with(Safety::Throwaway, &dir, &options).unwrap();
    support::linked(&replica).await;
    let config = RedisConfig {
        durability: Durability::Replicated,
        replicas: 1,
        // Half of it is for the replica, which may have to wait for a processor.
        timeout_ms: 8_000,
        ..RedisConfig::new(primary.url())
    };
    let refused = RedisBackend::from_config(RedisConfig::new(replica.url())).await;
    let error = refused.unwrap_err();
    assert!(error.message().contains("read-only replica"), "{error}");
    let two = RedisConfig {
        replicas: 2,
        ..config.clone()
    };
    let error = RedisBackend::from_config(two).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let backend = open(config).await;
    let first = commit(0, 0, None);
    let committed = backend.commit(first.clone()).await.unwrap();
    replica.kill();
    let next = commit(0, 1, Some((&first, committed)));
    let error = backend.commit(next.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable() && !error.is_certainly_not_applied());
    replica.restart().unwrap();
    let mut tries = 0;
    while let Err(error) = backend.commit(next.clone()).await {
        assert!(error.is_retryable() && tries < 30, "{error}");
        tries += 1;
    }
}
