//! [`RedisBuilder`]: a backend from a configuration.

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::{Capabilities, Durability};
use chunkpoint_core::{Clock, Error, ErrorKind, Result, SystemClock};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, TlsCertificates, Value, cmd,
};

use crate::backend::{Inner, RedisBackend};
use crate::config::{RedisConfig, shown};
use crate::error::{Doing, from_redis};
use crate::link::{Links, Wait};
use crate::names::Names;
use crate::server::{Facts, config_value, info_text};

/// Most bytes of a chunk or a body. The server takes 512 MiB (`proto-max-bulk-len`), and
/// serves nobody else while it copies one.
const MOST_VALUE: u64 = 256 << 20;

/// Most bytes of a commit: it is one command, and a server's buffer for one
/// (`client-query-buffer-limit`) is 1 GiB.
const MOST_COMMIT: u64 = 512 << 20;

/// Builds a [`RedisBackend`].
#[derive(Debug, Clone)]
pub struct RedisBuilder {
    config: RedisConfig,
    clock: Arc<dyn Clock>,
}

impl RedisBuilder {
    /// A backend with this configuration.
    pub fn new(config: RedisConfig) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock),
        }
    }

    /// The clock by which idle threads expire; the machine's unless told otherwise. It
    /// should be the one that the engine has.
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

    /// How many replicas must have a mutation before it is acknowledged; none unless told
    /// otherwise.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.config.replicas = replicas;
        self
    }

    /// How long a thread lives that is neither written nor read; for ever unless told
    /// otherwise.
    #[must_use]
    pub fn thread_ttl(mut self, ttl: Duration) -> Self {
        self.config.thread_ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Connects, and looks whether the server gives what was asked for.
    ///
    /// # Errors
    /// `InvalidInput` for a configuration that makes no sense; `Unsupported` for a server
    /// that is too old, evicts keys, or does not give the durability; `Unavailable` where it
    /// cannot be reached, refuses, is loading, or is a replica.
    pub async fn open(self) -> Result<RedisBackend> {
        self.open_inner()
            .await
            .map_err(|error| error.operation("open"))
    }

    async fn open_inner(self) -> Result<RedisBackend> {
        self.config.check()?;
        let addresses = self.config.addresses()?;
        if self.config.is_encrypted() {
            // Another part of the program may have chosen already, which is as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates = self.config.certificates()?;
        let (facts, address) = first_facts(&addresses, &self.config, &certificates).await?;
        let (links, facts) = if facts.cluster {
            to_cluster(addresses, &self.config, certificates).await?
        } else if addresses.len() > 1 {
            return Err(Error::invalid(
                "several nodes were given, and the server is not of a cluster",
            ));
        } else {
            facts.check(&self.config)?;
            let client = client(address, &certificates)?;
            (to_server(client, &self.config).await?, facts)
        };
        // A user may be forbidden to; each script then goes with its first call.
        if let Err(error) = links.teach().await {
            tracing::debug!(error = %reading(&error), "the server's scripts are not known");
        }
        let wait = facts.wait(&self.config);
        if facts.is_lazy() && matches!(wait, Wait::Synced { .. }) {
            tracing::warn!(
                server = %shown(&self.config.url),
                "appendfsync is everysec: to be durable, each mutation waits for the next sync, up \
                 to a second or two; with appendfsync always it would not"
            );
        }
        Ok(RedisBackend::new(Inner::new(
            links,
            Names::new(&self.config.prefix)?,
            self.clock,
            &self.config,
            wait,
            capabilities(&facts, &self.config),
        )))
    }
}

fn client(address: ConnectionInfo, certificates: &Option<TlsCertificates>) -> Result<Client> {
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(address, certificates.clone()),
        None => Client::open(address),
    };
    client.map_err(|e| reading(&e))
}

fn reading(error: &redis::RedisError) -> Error {
    from_redis(Doing::Reading, error)
}

fn capabilities(facts: &Facts, config: &RedisConfig) -> Capabilities {
    let levels = [Durability::Buffered, Durability::Process, Durability::Disk];
    let mut capabilities = Capabilities::new("redis");
    capabilities.durability = levels
        .into_iter()
        .filter(|level| *level <= facts.gives)
        .chain((config.replicas > 0).then_some(Durability::Replicated))
        .collect();
    capabilities.max_value_bytes = MOST_VALUE;
    capabilities.max_commit_bytes = MOST_COMMIT;
    capabilities.persistent = true;
    capabilities.shared = true;
    capabilities
}

/// What the first server says that answers.
async fn first_facts(
    addresses: &[ConnectionInfo],
    config: &RedisConfig,
    certificates: &Option<TlsCertificates>,
) -> Result<(Facts, ConnectionInfo)> {
    let mut last = None;
    for address in addresses {
        match facts_at(address, config, certificates).await {
            Ok(facts) => return Ok((facts, address.clone())),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::InvalidInput, "no address was given")))
}

async fn facts_at(
    address: &ConnectionInfo,
    config: &RedisConfig,
    certificates: &Option<TlsCertificates>,
) -> Result<Facts> {
    let client = client(address.clone(), certificates)?;
    let how = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.timeout()))
        .set_response_timeout(Some(config.timeout()));
    let connecting = client.get_multiplexed_async_connection_with_config(&how);
    let mut connection = connecting.await.map_err(|e| {
        let error = reading(&e);
        // A server does not say that it waits for TLS, nor that it does not.
        match address.addr() {
            ConnectionAddr::TcpTls { .. } if e.is_timeout() => {
                error.context("no encrypted connection; does the server speak TLS on this port?")
            }
            ConnectionAddr::Tcp(..) if e.is_connection_dropped() && !e.is_connection_refusal() => {
                error.context("if the server speaks TLS on this port, the URL begins with rediss:")
            }
            _ => error,
        }
    })?;
    let info: Value = info()
        .query_async(&mut connection)
        .await
        .map_err(|e| reading(&e))?;
    // Managed servers often forbid it.
    let policy: Option<Value> = appendfsync().query_async(&mut connection).await.ok();
    let policy = policy.as_ref().and_then(config_value);
    Ok(Facts::read(&info_text(&info), policy.as_deref()))
}

fn info() -> Cmd {
    cmd("INFO")
}

fn appendfsync() -> Cmd {
    let mut cmd = cmd("CONFIG");
    cmd.arg("GET").arg("appendfsync");
    cmd
}

async fn to_server(client: Client, config: &RedisConfig) -> Result<Links> {
    // A call that finds the connection gone waits this long for another: 10 to 20, 20 to 40,
    // … ms, three times. Whether to go on trying is for a layer above to say.
    let how = ConnectionManagerConfig::new()
        .set_number_of_retries(3)
        .set_min_delay(Duration::from_millis(10))
        .set_max_delay(Duration::from_millis(200))
        .set_connection_timeout(Some(config.timeout()))
        .set_response_timeout(Some(config.timeout()));
    let mut links = Vec::new();
    for _ in 0..config.connections {
        let link = ConnectionManager::new_with_config(client.clone(), how.clone());
        links.push(link.await.map_err(|e| reading(&e))?);
    }
    Ok(Links::to_server(links))
}

async fn to_cluster(
    addresses: Vec<ConnectionInfo>,
    config: &RedisConfig,
    certificates: Option<TlsCertificates>,
) -> Result<(Links, Facts)> {
    let mut builder = ClusterClientBuilder::new(addresses);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    let client = builder
        .connection_timeout(config.timeout())
        .response_timeout(config.timeout())
        .retries(8)
        .min_retry_wait(10)
        .max_retry_wait(500)
        .build()
        .map_err(|e| reading(&e))?;
    let mut links = Vec::new();
    for _ in 0..config.connections {
        links.push(
            client
                .get_async_connection()
                .await
                .map_err(|e| reading(&e))?,
        );
    }
    let mut asked = Vec::new();
    for what in [info(), appendfsync()] {
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let reply = links[0].route_command(what, all).await;
        asked.push(reply);
    }
    let policies = asked.pop().and_then(Result::ok).map(by_node);
    let infos = match asked.pop() {
        Some(reply) => by_node(reply.map_err(|e| reading(&e))?),
        None => Vec::new(),
    };
    // What all of them give.
    let mut weakest: Option<Facts> = None;
    for (node, info) in infos {
        let policy = policies.iter().flatten().find(|(name, _)| *name == node);
        let policy = policy.and_then(|(_, reply)| config_value(reply));
        let facts = Facts::read(&info_text(&info), policy.as_deref());
        facts
            .check(config)
            .map_err(|error| error.context(format_args!("node {node}")))?;
        weakest = Some(match weakest {
            Some(others) => others.and(facts),
            None => facts,
        });
    }
    let facts = weakest.ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            "no primary of the cluster can be reached",
        )
    })?;
    Ok((Links::to_cluster(links), facts))
}

/// The answers of several nodes, by their addresses.
fn by_node(reply: Value) -> Vec<(String, Value)> {
    match reply {
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(node, answer)| (info_text(&node), answer))
            .collect(),
        Value::Array(pairs) => pairs
            .into_iter()
            .filter_map(|pair| match pair {
                Value::Array(pair) => {
                    let [node, answer] = <[Value; 2]>::try_from(pair).ok()?;
                    Some((info_text(&node), answer))
                }
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
