//! Places to test on: a prefix of its own, on one server or on a cluster.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_redis::{RedisBackend, RedisConfig};
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::services::{self, Redis};

/// A prefix that no other test uses.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) cluster: bool,
}

impl Place {
    pub(crate) fn on(url: &str, cluster: bool) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            url: url.into(),
            prefix: format!("t{}-{n}", std::process::id()),
            cluster,
        }
    }

    pub(crate) fn redis() -> Option<Self> {
        Some(Self::on(services::redis()?.url(), false))
    }

    pub(crate) fn cluster() -> Option<Self> {
        Some(Self::on(services::redis_cluster()?.url(), true))
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig {
            // What syncing adds is tested elsewhere; here it only takes time.
            durability: Durability::Buffered,
            prefix: self.prefix.clone(),
            ..RedisConfig::new(&self.url)
        }
    }

    pub(crate) async fn backend(&self) -> RedisBackend {
        RedisBackend::from_config(self.config()).await.unwrap()
    }

    /// A connection past the backend.
    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(&*self.url).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// The keys below the prefix, on the first node.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut connection = self.connection().await;
        let mut keys = redis::cmd("KEYS");
        keys.arg(format!("{}:*", self.prefix));
        keys.query_async(&mut connection).await.unwrap()
    }
}

/// A field of what a server says of itself.
pub(crate) fn info(server: &Redis, section: &str, field: &str) -> String {
    let text = server.command(&["info", section]).unwrap();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).trim().into()
}

/// Waits until a replica has all of its primary.
pub(crate) async fn linked(replica: &Redis) {
    for _ in 0..600 {
        if info(replica, "replication", "master_link_status") == "up" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the replica does not come");
}

#[async_trait::async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(self.backend().await)
    }

    async fn teardown(&self) {
        if self.cluster {
            return; // It ends with the process.
        }
        let mut connection = self.connection().await;
        for key in self.keys().await {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(key).exec_async(&mut connection).await.unwrap();
        }
    }
}
