//! [`MongoBuilder`]: a backend from a configuration.

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::{Capabilities, Durability, Fencing};
use chunkpoint_core::{Clock, Error, ErrorKind, Result, SystemClock};
use mongodb::Client;
use mongodb::bson::Document;
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};

use crate::backend::{Inner, MongoBackend};
use crate::config::{MongoConfig, shown};
use crate::db::Db;
use crate::error::{Doing, from_mongo};
use crate::parts::PART;

/// Most bytes of a commit. It is a number of inserts, of which the last counts.
const MOST_COMMIT: u64 = 1 << 30;

/// The wire protocol of MongoDB 5.0, from which on `$` and `.` in names are kept.
const WIRE_VERSION: i32 = 13;

/// Builds a [`MongoBackend`].
#[derive(Debug, Clone)]
pub struct MongoBuilder {
    config: MongoConfig,
    clock: Arc<dyn Clock>,
}

impl MongoBuilder {
    /// A backend with this configuration.
    pub fn new(config: MongoConfig) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock),
        }
    }

    /// The clock by which traces of deleted threads are kept for a day; the machine's unless
    /// told otherwise. It should be the one that the engine has.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What an acknowledged mutation survives; `Disk` unless told otherwise.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// Connects, looks whether the server gives what was asked for, and makes the
    /// collections' indexes.
    ///
    /// # Errors
    /// `InvalidInput` for a configuration that makes no sense; `Unsupported` for a server
    /// that is too old, or does not give the durability; `Unavailable` where it cannot be
    /// reached, refuses, or has indexes of another kind under our names.
    pub async fn open(self) -> Result<MongoBackend> {
        self.open_inner()
            .await
            .map_err(|error| error.operation("open"))
    }

    async fn open_inner(self) -> Result<MongoBackend> {
        let config = &self.config;
        config.check()?;
        let concern = write_concern(config.durability);
        // The host names of a `mongodb+srv:` are looked up here.
        let options = ClientOptions::parse(config.connection()?).await;
        let mut options = options.map_err(|error| from_mongo(Doing::Reading, &error))?;
        options.app_name.get_or_insert_with(|| "chunkpoint".into());
        options.connect_timeout = Some(config.timeout());
        options.server_selection_timeout = Some(config.timeout());
        options.max_pool_size = Some(config.connections);
        options.write_concern = Some(concern.clone());
        options.read_concern = Some(read_concern(config.durability));
        // What is read after a write has to be as new as the write.
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let client =
            Client::with_options(options).map_err(|error| from_mongo(Doing::Reading, &error))?;
        let db = Db::new(
            client,
            &config.database()?,
            &config.prefix,
            &concern,
            // Selecting a server may take as long, and the answer as well.
            config.timeout() * 2 + Duration::from_secs(1),
        )?;
        let inner = Inner::new(
            db,
            self.clock,
            Capabilities::new("mongodb"),
            shown(&config.url),
        );
        let facts = Facts::read(&inner.ping().await?);
        facts.check(config.durability)?;
        inner.db.make_indexes().await?;
        let capabilities = facts.capabilities();
        Ok(MongoBackend::new(inner.with(capabilities)))
    }
}

/// How far a write has to be before it is acknowledged.
fn write_concern(durability: Durability) -> WriteConcern {
    match durability {
        Durability::Buffered => WriteConcern::builder().w(Acknowledgment::Nodes(1)).build(),
        Durability::Process | Durability::Disk | Durability::Replicated => WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build(),
    }
}

/// What is read cannot be rolled back, if what is written cannot.
fn read_concern(durability: Durability) -> ReadConcern {
    match durability {
        Durability::Buffered => ReadConcern::local(),
        Durability::Process | Durability::Disk | Durability::Replicated => ReadConcern::majority(),
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    wire_version: i32,
    /// Of how many servers it is one.
    members: usize,
    /// Whether it is a router of a sharded cluster, whose shards are replica sets.
    router: bool,
}

impl Facts {
    fn read(hello: &Document) -> Self {
        let members = |name: &str| hello.get_array(name).map_or(0, Vec::len);
        let version = hello.get("maxWireVersion");
        let version = version.and_then(|v| v.as_i32().or_else(|| v.as_i64()?.try_into().ok()));
        Self {
            wire_version: version.unwrap_or(0),
            members: members("hosts"),
            router: hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid"),
        }
    }

    fn is_replicated(&self) -> bool {
        self.members > 1 || self.router
    }

    fn check(&self, durability: Durability) -> Result<()> {
        if self.wire_version < WIRE_VERSION {
            let message = "the server is older than MongoDB 5.0, which is needed";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if durability == Durability::Replicated && !self.is_replicated() {
            let message = "durability replicated was asked for, and the server is alone; ask for \
                 disk, or give the URL of a replica set of several";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let levels = [Durability::Buffered, Durability::Process, Durability::Disk];
        let replicated = self.is_replicated().then_some(Durability::Replicated);
        let mut capabilities = Capabilities::new("mongodb");
        capabilities.durability = levels.into_iter().chain(replicated).collect();
        capabilities.fencing = Fencing::Cooperative;
        capabilities.atomic_parent_check = false;
        capabilities.max_value_bytes = PART as u64;
        capabilities.max_commit_bytes = MOST_COMMIT;
        capabilities.persistent = true;
        capabilities.shared = true;
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    #[test]
    fn servers_that_do_not_do_are_refused() {
        let alone = Facts::read(&doc! { "maxWireVersion": 21, "hosts": ["a:1"] });
        alone.check(Durability::Disk).unwrap();
        let error = alone.check(Durability::Replicated).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let three = Facts::read(&doc! { "maxWireVersion": 21_i64, "hosts": ["a", "b", "c"] });
        three.check(Durability::Replicated).unwrap();
        assert!(
            three
                .capabilities()
                .durability
                .contains(&Durability::Replicated)
        );
        let router = Facts::read(&doc! { "maxWireVersion": 21, "msg": "isdbgrid" });
        router.check(Durability::Replicated).unwrap();
        let old = Facts::read(&doc! { "maxWireVersion": 9 });
        assert!(
            old.check(Durability::Disk)
                .unwrap_err()
                .message()
                .contains("5.0")
        );
    }
}
