//! Servers for tests.
//!
//! Each comes from, in this order: a URL in the environment (`CHUNKPOINT_POSTGRES_URL`,
//! `CHUNKPOINT_MYSQL_URL`, `CHUNKPOINT_REDIS_URL`, `CHUNKPOINT_MONGODB_URL`, …); a program found on this machine, started
//! on a free port of 127.0.0.1 in a directory of its own (`CHUNKPOINT_REDIS_SERVER` and
//! `CHUNKPOINT_REDIS_CLIENT` name other programs than those in the `PATH`, such as those of
//! Valkey); with the feature `testcontainers`, a
//! container where Docker answers. One that cannot be had is named and skipped, and is a
//! failure where `CHUNKPOINT_REQUIRE_SERVICES` lists it (`postgres,mysql,redis,mongodb`, or `all`).
//!
//! A server that was started here ends with the test process, however that ends: a shell
//! waits for its standard input to close, which the operating system does then, kills the
//! server by its process id and removes its directory.
//!
//! Measuring needs a server that syncs, on the device that is measured: [`provide`].

#[cfg(feature = "testcontainers")]
mod container;
mod mariadb;
mod mongodb;
mod pgbouncer;
mod postgres;
mod process;
mod redis;

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

#[cfg(feature = "testcontainers")]
pub use self::container::Image;
pub use self::mariadb::MariaDb;
pub use self::mongodb::MongoDb;
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::{Postgres, Safety};
pub use self::redis::{Redis, RedisCluster};

/// A server, as tests are given it.
#[derive(Debug)]
pub struct Service {
    url: String,
    kept: Kept,
}

/// What keeps a server: it ends with it.
#[derive(Debug)]
enum Kept {
    /// The environment named it.
    Elsewhere,
    Process(process::Process),
    #[cfg(feature = "testcontainers")]
    Container(#[allow(dead_code, reason = "kept")] container::Container),
}

impl Service {
    /// Its URL, with user, password and database, and without options.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's process, where it was started here: its own, or that of a program which
    /// started it as another user, so that it is among the children.
    pub fn process(&self) -> Option<u32> {
        match &self.kept {
            Kept::Process(process) => process.id(),
            _ => None,
        }
    }

    fn of_postgres(server: Postgres) -> Self {
        Self {
            url: server.url(),
            kept: Kept::Process(server.into_process()),
        }
    }

    fn of_redis(server: Redis) -> Self {
        Self {
            url: server.url(),
            kept: Kept::Process(server.into_process()),
        }
    }

    fn of_mongodb(server: MongoDb) -> Self {
        Self {
            url: server.url(),
            kept: Kept::Process(server.into_process()),
        }
    }

    fn of_mariadb(server: MariaDb) -> Self {
        Self {
            url: server.url(),
            kept: Kept::Process(server.into_process()),
        }
    }
}

/// A server that can be had here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
    /// Redis or Valkey.
    Redis,
    /// MongoDB, or what speaks its protocol.
    MongoDb,
}

impl Kind {
    /// Its name, as `CHUNKPOINT_REQUIRE_SERVICES` lists it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Redis => "redis",
            Self::MongoDb => "mongodb",
        }
    }

    /// The variable of the environment that may name one.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "CHUNKPOINT_POSTGRES_URL",
            Self::MySql => "CHUNKPOINT_MYSQL_URL",
            Self::Redis => "CHUNKPOINT_REDIS_URL",
            Self::MongoDb => "CHUNKPOINT_MONGODB_URL",
        }
    }
}

/// Why there is no server.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Whether `CHUNKPOINT_REQUIRE_SERVICES` lists it.
    pub required: bool,
    what: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Missing {}

/// What a Redis server takes note of that is measured: commands of a millisecond or more.
const SLOW: [&str; 4] = [
    "--slowlog-log-slower-than",
    "1000",
    "--slowlog-max-len",
    "1024",
];

/// A server of the caller's: the one that the environment names, else one that is started
/// in a directory of its own below `parent`, and ends with what this gives.
///
/// # Errors
/// Why there is none, and whether there has to be.
pub fn provide(kind: Kind, safety: Safety, parent: &Path) -> Result<Service, Missing> {
    seek(kind.name(), kind.variable(), || {
        let started = match kind {
            Kind::Postgres => Postgres::start_in(safety, parent).map(Service::of_postgres),
            Kind::MySql => MariaDb::start_in(safety, parent).map(Service::of_mariadb),
            Kind::MongoDb => MongoDb::start_in(safety, parent).map(Service::of_mongodb),
            Kind::Redis => Redis::start_with(safety, parent, &SLOW).map(Service::of_redis),
        };
        started.or_else(|why| in_container(kind, why))
    })
}

/// A PostgreSQL server that all tests of this process share; each uses a schema of its
/// own. `None` where there is none, with a note.
pub fn postgres() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<Service>> = OnceLock::new();
    let start = || {
        find(Kind::Postgres.name(), Kind::Postgres.variable(), || {
            let started = Postgres::start(Safety::Throwaway).map(Service::of_postgres);
            started.or_else(|why| in_container(Kind::Postgres, why))
        })
    };
    SERVICE.get_or_init(start).as_ref()
}

/// A MySQL or MariaDB server that all tests of this process share; each uses a table
/// prefix of its own. `None` where there is none, with a note.
pub fn mysql() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<Service>> = OnceLock::new();
    let start = || {
        find(Kind::MySql.name(), Kind::MySql.variable(), || {
            let started = MariaDb::start(Safety::Throwaway).map(Service::of_mariadb);
            started.or_else(|why| in_container(Kind::MySql, why))
        })
    };
    SERVICE.get_or_init(start).as_ref()
}

/// A Redis server that all tests of this process share; each uses a prefix of its own.
/// `None` where there is none, with a note.
pub fn redis() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<Service>> = OnceLock::new();
    let start = || {
        find(Kind::Redis.name(), Kind::Redis.variable(), || {
            let started = Redis::start(Safety::Throwaway).map(Service::of_redis);
            started.or_else(|why| in_container(Kind::Redis, why))
        })
    };
    SERVICE.get_or_init(start).as_ref()
}

/// A Redis Cluster of three nodes, likewise.
pub fn redis_cluster() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<(Service, Option<RedisCluster>)>> = OnceLock::new();
    let start = || {
        find("redis-cluster", "CHUNKPOINT_REDIS_CLUSTER_URL", || {
            let cluster = RedisCluster::start(Safety::Throwaway, 0)?;
            let service = Service {
                url: cluster.url(),
                // The cluster beside it does.
                kept: Kept::Elsewhere,
            };
            Ok((service, Some(cluster)))
        })
    };
    let service = SERVICE.get_or_init(start).as_ref();
    service.map(|(service, _)| service)
}

/// A MongoDB server that all tests of this process share; each uses a database of its own.
/// `None` where there is none, with a note.
pub fn mongodb() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<Service>> = OnceLock::new();
    let start = || {
        find(Kind::MongoDb.name(), Kind::MongoDb.variable(), || {
            let started = MongoDb::start(Safety::Throwaway).map(Service::of_mongodb);
            started.or_else(|why| in_container(Kind::MongoDb, why))
        })
    };
    SERVICE.get_or_init(start).as_ref()
}

/// PgBouncer in transaction mode, before a server of its own.
pub fn pgbouncer() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<(Service, Postgres)>> = OnceLock::new();
    let start = || {
        find("pgbouncer", "CHUNKPOINT_PGBOUNCER_URL", || {
            let server = Postgres::start(Safety::Throwaway)?;
            let bouncer = PgBouncer::start(&server)?;
            let service = Service {
                url: bouncer.url(),
                kept: Kept::Process(bouncer.into_process()),
            };
            Ok((service, server))
        })
    };
    SERVICE
        .get_or_init(start)
        .as_ref()
        .map(|(service, _)| service)
}

/// A server in a container, where a program could not be started; `why` says why not.
#[cfg(feature = "testcontainers")]
fn in_container(kind: Kind, why: String) -> Started<Service> {
    let image = match kind {
        Kind::Postgres => Image::Postgres,
        Kind::MySql => Image::MySql,
        Kind::Redis => Image::Redis,
        Kind::MongoDb => Image::Mongo,
    };
    image.start().map_err(|no| format!("{why}; {no}"))
}

#[cfg(not(feature = "testcontainers"))]
fn in_container(_: Kind, why: String) -> Started<Service> {
    Err(why)
}

/// What starting gives: the reason where there is nothing to start.
type Started<T> = Result<T, String>;

/// Something made of a URL alone, or of a server that was started.
trait Provided: Sized {
    fn of_url(url: String) -> Option<Self>;
}

impl Provided for Service {
    fn of_url(url: String) -> Option<Self> {
        Some(Self {
            url,
            kept: Kept::Elsewhere,
        })
    }
}

impl Provided for (Service, Option<RedisCluster>) {
    fn of_url(url: String) -> Option<Self> {
        Some((Service::of_url(url)?, None))
    }
}

impl Provided for (Service, Postgres) {
    fn of_url(_: String) -> Option<Self> {
        None
    }
}

fn find<T: Provided>(name: &str, variable: &str, start: impl FnOnce() -> Started<T>) -> Option<T> {
    match seek(name, variable, start) {
        Ok(provided) => Some(provided),
        Err(missing) => {
            assert!(!missing.required, "{missing}, and is required");
            println!("skipped: {missing}");
            None
        }
    }
}

fn seek<T: Provided>(
    name: &str,
    variable: &str,
    start: impl FnOnce() -> Started<T>,
) -> Result<T, Missing> {
    if let Ok(url) = std::env::var(variable)
        && let Some(provided) = T::of_url(url)
    {
        return Ok(provided);
    }
    start().map_err(|why| {
        let required = std::env::var("CHUNKPOINT_REQUIRE_SERVICES").unwrap_or_default();
        Missing {
            required: required.split(',').any(|one| one == name || one == "all"),
            what: format!("no {name} can be had: {why}; {variable} may name one"),
        }
    })
}
