//! Places to test on: a database of its own on one server.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_mongodb::{MongoBackend, MongoConfig};
use chunkpoint_testkit::backend_suite::Fixture;
use chunkpoint_testkit::services;

/// A database that no other test uses.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) database: String,
}

impl Place {
    pub(crate) fn on(url: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            url: url.into(),
            database: format!("t{}-{n}", std::process::id()),
        }
    }

    pub(crate) fn mongodb() -> Option<Self> {
        Some(Self::on(services::mongodb()?.url()))
    }

    pub(crate) fn config(&self) -> MongoConfig {
        MongoConfig {
            // What syncing adds is tested elsewhere; here it only takes time.
            durability: Durability::Buffered,
            database: Some(self.database.clone()),
            ..MongoConfig::new(&self.url)
        }
    }

    pub(crate) async fn backend(&self) -> MongoBackend {
        MongoBackend::from_config(self.config()).await.unwrap()
    }

    /// The database, past the backend.
    pub(crate) async fn database(&self) -> mongodb::Database {
        let client = mongodb::Client::with_uri_str(&self.url).await.unwrap();
        client.database(&self.database)
    }
}

#[async_trait::async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        Arc::new(self.backend().await)
    }

    async fn teardown(&self) {
        self.database().await.drop().await.unwrap();
    }
}
