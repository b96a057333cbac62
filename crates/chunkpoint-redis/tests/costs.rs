//! What calls cost: round trips and bytes on the wire, memory in the server, and how long any
//! command keeps it from serving others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use chunkpoint_core::backend::{CheckpointBackend, Commit, Durability, Incarnation};
use chunkpoint_core::{Item, Memory, Settings};
use chunkpoint_redis::{RedisBackend, RedisConfig};
use chunkpoint_testkit::faults::commit;
use chunkpoint_testkit::proxy::proxy;
use chunkpoint_testkit::services::{Redis, Safety};
use support::Place;

fn message(n: usize) -> Item {
    Item::text(format!("message {n} {}", "x".repeat(480)))
}

fn memory(backend: &Arc<RedisBackend>, settings: Settings) -> Memory {
    let backend: Arc<dyn CheckpointBackend> = backend.clone();
    let settings = Settings {
        background: false,
        ..settings
    };
    Memory::builder(backend).settings(settings).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_one_round_trip_and_a_tail_two() {
    let Some(place) = Place::redis() else {
        return;
    };
    let mut config = place.config();
    let (through, counted) = proxy(&config.url).await;
    config.url = through;
    let backend = Arc::new(RedisBackend::from_config(config).await.unwrap());
    let writer = memory(&backend, Settings::default());
    let thread = writer.thread("t").unwrap();
    let mut draft = thread.draft().await.unwrap();
    draft.append("messages", (0..5_000).map(message)).unwrap();
    let mut last = thread.commit(draft).await.unwrap();
    let mut step = async |n: usize| {
        let mut draft = last.draft().unwrap();
        draft.append("messages", [message(n)]).unwrap();
        last = thread.commit(draft).await.unwrap();
    };
    step(0).await;
    counted.take();
    const STEPS: u64 = 100;
    for n in 0..STEPS {
        step(n as usize).await;
    }
    let [trips, sent, _] = counted.take();
    println!("{trips} round trips and {sent} bytes in {STEPS} steps");
    assert_eq!(trips, STEPS);
    assert!(sent / STEPS <= 4096, "{} bytes a step", sent / STEPS);

    counted.take();
    let reader = memory(&backend, Settings::default());
    let latest = reader.thread("t").unwrap().latest().await.unwrap().unwrap();
    let tail = latest.list("messages").await.unwrap().tail(20).await;
    assert_eq!(tail.unwrap().len(), 20);
    let [trips, _, received] = counted.take();
    println!("{trips} round trips and {received} bytes to load the tail");
    assert!(trips <= 2, "{trips} round trips");
    assert!(received <= 64 << 10, "{received} bytes");
}

fn used_memory(server: &Redis) -> u64 {
    support::info(server, "memory", "used_memory")
        .parse()
        .unwrap()
}

/// Scripts run so far.
fn scripts(server: &Redis) -> u64 {
    let stats = support::info(server, "commandstats", "cmdstat_evalsha");
    let calls = stats.strip_prefix("calls=").unwrap();
    calls.split(',').next().unwrap().parse().unwrap()
}

/// Processor time of the thread that serves, in milliseconds.
fn cpu_ms(server: &Redis) -> u64 {
    let of = ["used_cpu_user_main_thread", "used_cpu_sys_main_thread"];
    let seconds = of.map(|field| support::info(server, "cpu", field).parse::<f64>().unwrap());
    (seconds.iter().sum::<f64>() * 1e3) as u64
}

/// The longest command in the server's log, in microseconds.
fn longest(server: &Redis) -> u64 {
    let log = server.command(&["slowlog", "get", "-1"]).unwrap();
    // Each entry: id, time, microseconds, then words; printed without a terminal, a line each.
    // The words of ours begin with the name of the command.
    let lines: Vec<&str> = log.lines().collect();
    let entries = lines.windows(4).filter(|entry| {
        let word = entry[3].to_ascii_uppercase();
        [
            "EVALSHA", "EVAL", "HMGET", "ZRANGE", "UNLINK", "ZADD", "ZREM",
        ]
        .contains(&&*word)
    });
    let times = entries.filter_map(|entry| entry[2].parse().ok());
    times.max().unwrap_or(0)
}

/// 20,000 checkpoints are copied, pruned and reclaimed in slices, and deleted, and a large one
/// is committed. Memory goes back to where it was. How long any command took is printed: what
/// it is depends on how often the server had to wait for a processor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_keeps_the_server_busy_for_long() {
    if Place::redis().is_none() {
        return;
    }
    let dir = std::env::temp_dir();
    let options = [
        "--slowlog-log-slower-than",
        "2000",
        "--slowlog-max-len",
        "1000",
    ];
    let server = Redis::start_with(Safety::Throwaway, &dir, &options).unwrap();
    let config = RedisConfig {
        durability: Durability::Buffered,
        ..RedisConfig::new(server.url())
    };
    let backend = Arc::new(RedisBackend::from_config(config).await.unwrap());
    let before = used_memory(&server);
    const STEPS: u64 = 20_000;
    {
        let writer = memory(&backend, Settings::default());
        let thread = writer.thread("t").unwrap();
        let mut last = {
            let mut draft = thread.draft().await.unwrap();
            draft.append("messages", [message(0)]).unwrap();
            thread.commit(draft).await.unwrap()
        };
        for n in 1..STEPS {
            let mut draft = last.draft().unwrap();
            draft.append("messages", [message(n as usize)]).unwrap();
            last = thread.commit(draft).await.unwrap();
        }
    }
    let grown = used_memory(&server) - before;
    let stored: u64 = {
        let text = server
            .command(&["hget", "chunkpoint:{t}", "bytes"])
            .unwrap();
        text.trim().parse().unwrap()
    };
    println!(
        "{STEPS} checkpoints: {stored} bytes of bodies and chunks, {grown} of memory, {} a checkpoint beside them",
        (grown - stored) / STEPS
    );
    assert!(grown - stored < 500 * STEPS, "{grown} for {stored}");
    println!("longest while committing: {} µs", longest(&server));
    server.command(&["slowlog", "reset"]).unwrap();
    let fresh = Incarnation(*b"the copy");
    let run = scripts(&server);
    backend.copy_thread("t", "u", fresh).await.unwrap();
    // Pages of 1,000 members; packs and chunks 64 at a time, and those written.
    let slices = scripts(&server) - run;
    assert!(slices >= STEPS / 1_000 + 2 * STEPS / 64, "{slices} slices");
    let copied = server.command(&["zcard", "chunkpoint:{u}:order"]).unwrap();
    assert_eq!(copied.trim(), STEPS.to_string());
    println!("longest while copying: {} µs", longest(&server));
    backend.delete_thread("u", fresh).await.unwrap();
    let large = Commit {
        chunks: vec![vec![7; 4 << 20].into(); 16],
        ..commit(0, 0, None)
    };
    let before_large = cpu_ms(&server);
    let large = (large.thread.clone(), backend.commit(large).await.unwrap());
    println!(
        "longest with a commit of 64 MiB: {} µs; processor time: {} ms",
        longest(&server),
        cpu_ms(&server) - before_large
    );
    // It is one command, however long that is.
    server.command(&["slowlog", "reset"]).unwrap();
    let ended = backend.delete_thread(&large.0, large.1.incarnation);
    ended.await.unwrap();
    let pruned = memory(
        &backend,
        Settings {
            max_history: Some(10),
            grace: std::time::Duration::ZERO,
            ..Settings::default()
        },
    );
    let run = scripts(&server);
    pruned.maintain().await.unwrap();
    // 64 at a time are removed, and so many freed.
    let slices = scripts(&server) - run;
    assert!(slices >= 2 * (STEPS - 100) / 64, "{slices} slices");
    let incarnation = backend.incarnation("t").await.unwrap().unwrap();
    backend.delete_thread("t", incarnation).await.unwrap();
    println!(
        "longest while pruning and deleting: {} µs",
        longest(&server)
    );
    // What was unlinked is freed by a thread of its own.
    let mut tries = 0;
    while support::info(&server, "memory", "lazyfree_pending_objects") != "0" {
        assert!(tries < 1_200, "it is never freed");
        tries += 1;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let left = used_memory(&server).saturating_sub(before);
    println!("{left} bytes are left");
    assert!(left < grown / 10, "{left} of {grown} bytes are left");
}
