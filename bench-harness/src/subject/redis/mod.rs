//! Stores in Redis: a prefix of key names on a server that the cells of a run share.

mod floor;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::Durability;
use chunkpoint_redis::{RedisBackend, RedisConfig};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, cmd, pipe};

use super::Footprint;
use super::site::{Server, ServerUrl, Site};
use crate::error::{Error, Result};
use crate::measure::Wire;
use crate::result::ServerInfo;

pub(super) use floor::Values;
pub use watch::{ServerUse, Watch};

/// The port of a URL that names none.
const PORT: u16 = 6379;

/// Longest wait for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys that are looked at, or removed, by one round trip.
const AT_ONCE: usize = 1_000;

/// A store in Redis.
#[derive(Debug, Clone)]
pub struct Place {
    url: ServerUrl,
    durability: Durability,
    /// What the names of its keys start with.
    prefix: String,
}

impl Place {
    /// The store `name` of a site.
    pub(super) fn new(site: &Site, name: &str) -> Result<Self> {
        let none = || Error::Cell(format!("the {} backend was given no server", site.kind));
        let server = site.server.as_ref().ok_or_else(none)?;
        Ok(Self {
            url: server.url.clone(),
            durability: site.durability,
            prefix: format!("{}{name}", server.prefix),
        })
    }

    /// Opens the backend on it.
    pub(super) async fn backend(&self) -> Result<Arc<RedisBackend>> {
        let mut config = RedisConfig::new(self.url.secret());
        config.durability = self.durability;
        config.prefix.clone_from(&self.prefix);
        let opened = RedisBackend::from_config(config).await;
        opened
            .map(Arc::new)
            .map_err(Error::engine("open the Redis backend"))
    }

    /// Opens the floor on it.
    pub(super) async fn floor(&self) -> Result<Values> {
        Values::open(self).await
    }

    /// Takes note of what the server has done and holds so far.
    pub(super) async fn watch(&self) -> Result<Watch> {
        Watch::begin(self).await
    }

    /// The same place, reached through a proxy that counts.
    pub(super) async fn through_wire(&self) -> Result<(Self, Arc<Wire>)> {
        let (url, wire) = self.url.through_wire(PORT).await?;
        let place = Self {
            url,
            ..self.clone()
        };
        Ok((place, Arc::new(wire)))
    }

    /// What its keys take by the server's own accounting: `MEMORY USAGE` of each, with every
    /// element of it. Two stores on one server are so told apart.
    pub(super) async fn footprint(&self) -> Result<Footprint> {
        let mut connection = self.connection().await?;
        let mut bytes = 0;
        let mut keys = Keys::of(format!("{}:*", self.prefix));
        while let Some(some) = keys.next(&mut connection).await? {
            if some.is_empty() {
                continue;
            }
            let mut usage = pipe();
            for key in &some {
                let mut of_key = cmd("MEMORY");
                of_key.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
                usage.add_command(of_key);
            }
            let usage: Vec<Option<u64>> = usage
                .query_async(&mut connection)
                .await
                .map_err(failed("ask the server what keys take"))?;
            bytes += usage.into_iter().flatten().sum::<u64>();
        }
        Ok(Footprint {
            bytes,
            ..Footprint::default()
        })
    }

    /// Removes everything.
    pub(super) async fn remove(&self) -> Result<()> {
        remove(&mut self.connection().await?, format!("{}:*", self.prefix)).await
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        connect(&self.url).await
    }
}

async fn connect(url: &ServerUrl) -> Result<MultiplexedConnection> {
    let client = Client::open(url.secret()).map_err(failed("read the server's URL"))?;
    // By default the driver gives up after half a second.
    let how = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&how);
    connecting.await.map_err(failed("connect to the server"))
}

async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<T> {
    let answer = cmd.query_async(connection).await;
    answer.map_err(failed("ask the server"))
}

/// An error of the driver; its own text says what the server said.
fn failed(what: &'static str) -> impl Fn(redis::RedisError) -> Error {
    move |source| Error::Database {
        what,
        source: source.into(),
    }
}

/// The keys of a pattern, some at a time.
struct Keys {
    pattern: String,
    /// `None` once all have been seen.
    cursor: Option<u64>,
}

impl Keys {
    fn of(pattern: String) -> Self {
        Self {
            pattern,
            cursor: Some(0),
        }
    }

    /// The next ones, which may be none; `None` after the last.
    async fn next(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(cursor) = self.cursor else {
            return Ok(None);
        };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&self.pattern);
        scan.arg("COUNT").arg(AT_ONCE);
        let (next, keys): (u64, _) = ask(connection, &scan).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(keys))
    }
}

async fn remove(connection: &mut MultiplexedConnection, pattern: String) -> Result<()> {
    let mut keys = Keys::of(pattern);
    while let Some(some) = keys.next(connection).await? {
        if !some.is_empty() {
            let mut unlink = cmd("UNLINK");
            unlink.arg(&some);
            ask::<u64>(connection, &unlink).await?;
        }
    }
    Ok(())
}

/// Removes everything of a cell from its server.
///
/// # Errors
/// What the server says.
pub async fn remove_all(server: &Server) -> Result<()> {
    let mut connection = connect(&server.url).await?;
    remove(&mut connection, format!("{}*", server.prefix)).await
}

/// What the server says of itself: its version, and what decides how durable it is.
///
/// # Errors
/// What the server says.
pub async fn describe(site: &Site) -> Result<ServerInfo> {
    let place = Place::new(site, "describe")?;
    let mut connection = place.connection().await?;
    let text: String = ask(&mut connection, cmd("INFO").arg("everything")).await?;
    let mut info = ServerInfo {
        version: match field(&text, "valkey_version") {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", field(&text, "redis_version").unwrap_or("?")),
        },
        ..ServerInfo::default()
    };
    if let Some(allocator) = field(&text, "mem_allocator") {
        info.settings
            .insert("mem_allocator".into(), allocator.into());
    }
    for setting in [
        "appendonly",
        "appendfsync",
        "auto-aof-rewrite-percentage",
        "auto-aof-rewrite-min-size",
        "save",
        "maxmemory",
        "maxmemory-policy",
        "io-threads",
    ] {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(setting);
        // Managed servers often forbid it.
        let known: Result<Vec<(String, String)>> = ask(&mut connection, &get).await;
        info.settings.extend(known.into_iter().flatten());
    }
    Ok(info)
}

/// The value of a field of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
