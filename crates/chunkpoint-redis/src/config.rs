//! Which server a backend is on, and how it uses it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, Result, quote};
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates,
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::names::Names;

/// The configuration of a [`RedisBackend`](crate::RedisBackend), as plain data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// The server's URL, without options: `redis://user:password@host:port/db`, `rediss:`
    /// for TLS, `redis+unix:///path` for a Unix socket. It may hold a password, and is never
    /// shown.
    pub url: String,
    /// Further nodes of a cluster, as `host:port`, to ask when the first is not there. A
    /// cluster is recognised with one address as well.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// What an acknowledged mutation survives; refused where the server cannot give it.
    #[serde(default)]
    pub durability: Durability,
    /// What all keys start with.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Connections, each shared by many calls; several, so that a large value does not keep
    /// all others waiting.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Longest wait for a connection, and for an answer, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How many replicas must have a mutation before it is acknowledged (`WAIT`); with
    /// durability `Disk` and a server of 7.2 or later, on their disks (`WAITAOF`). With as
    /// many as there are, whichever takes over has it.
    #[serde(default)]
    pub replicas: u32,
    /// How long a thread lives that is neither written nor read, in milliseconds; `None`:
    /// for ever.
    #[serde(default)]
    pub thread_ttl_ms: Option<u64>,
    /// Whether a server that evicts keys when its memory is full is accepted.
    #[serde(default)]
    pub allow_eviction: bool,
    /// For `rediss:`, a file in PEM with the certificates of those who may have signed the
    /// server's; `None`: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// For a server that asks its clients for one, a file in PEM with the client's
    /// certificate. Goes with `key`.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// The file in PEM with the private key of `cert`.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

fn prefix() -> String {
    "chunkpoint".into()
}

fn connections() -> u32 {
    4
}

fn timeout_ms() -> u64 {
    10_000
}

/// What the options of a URL accept.
const ACCEPTED: &str = "durability=buffered|process|disk|replicated, nodes=<host:port,…>, \
     prefix=<text>, connections=<number>, timeout=<seconds>, replicas=<number>, thread_ttl=<seconds>, \
     allow_eviction=true|false, ca=<file>, cert=<file>, key=<file>";

impl RedisConfig {
    /// The names of the options that [`from_url`](Self::from_url) knows.
    pub const OPTIONS: &'static [&'static str] = &[
        "durability",
        "nodes",
        "prefix",
        "connections",
        "timeout",
        "replicas",
        "thread_ttl",
        "allow_eviction",
        "ca",
        "cert",
        "key",
    ];

    /// The defaults, for the server of this URL, which has no options.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            nodes: Vec::new(),
            durability: Durability::default(),
            prefix: prefix(),
            connections: connections(),
            timeout_ms: timeout_ms(),
            replicas: 0,
            thread_ttl_ms: None,
            allow_eviction: false,
            ca: None,
            cert: None,
            key: None,
        }
    }

    /// Reads a URL such as `rediss://user:password@host:6379/0?thread_ttl=86400`.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such URL or has an option that does not exist; the
    /// message lists those that do, and never holds the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        let mut parsed = parse(url)?;
        let mut config = Self::new("");
        for (option, value) in parsed.query_pairs() {
            if !Self::OPTIONS.contains(&&*option) {
                return Err(invalid(format!(
                    "unknown option {}; known are {}",
                    quote(&option),
                    Self::OPTIONS.join(", ")
                )));
            }
            config.set(&option, &value)?;
        }
        parsed.set_query(None);
        config.url = parsed.into();
        config.check()?;
        Ok(config)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let wrong = || {
            invalid(format!(
                "option {option} cannot be {}; known: {ACCEPTED}",
                quote(value)
            ))
        };
        match option {
            "durability" => {
                self.durability = serde_json::from_value(value.into()).map_err(|_| wrong())?;
            }
            "nodes" => self.nodes = value.split(',').map(str::to_owned).collect(),
            "prefix" => value.clone_into(&mut self.prefix),
            "connections" => self.connections = value.parse().map_err(|_| wrong())?,
            "timeout" => self.timeout_ms = milliseconds(value).ok_or_else(wrong)?,
            "replicas" => self.replicas = value.parse().map_err(|_| wrong())?,
            "thread_ttl" => self.thread_ttl_ms = Some(milliseconds(value).ok_or_else(wrong)?),
            "ca" => self.ca = Some(value.into()),
            "cert" => self.cert = Some(value.into()),
            "key" => self.key = Some(value.into()),
            _ => self.allow_eviction = value.parse().map_err(|_| wrong())?,
        }
        Ok(())
    }

    /// Refuses what makes no sense, before anything is connected to.
    pub(crate) fn check(&self) -> Result<()> {
        if self.connections == 0 || self.connections > 1_000 {
            return Err(invalid("connections has to be 1 to 1000".into()));
        }
        if self.timeout_ms == 0 {
            return Err(invalid("timeout is 0; give at least 0.001".into()));
        }
        // Times count in floating point in the scripts.
        if self
            .thread_ttl_ms
            .is_some_and(|ttl| ttl == 0 || ttl > 1 << 50)
        {
            return Err(invalid("thread_ttl has to be over 0, and finite".into()));
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err(invalid("cert and key go together".into()));
        }
        let own = [&self.ca, &self.cert].into_iter().any(Option::is_some);
        if own && !self.is_encrypted() {
            return Err(invalid(
                "ca, cert and key are for TLS: the URL's scheme has to be rediss".into(),
            ));
        }
        Names::new(&self.prefix).map_err(|error| error.operation("open"))?;
        self.addresses().map(drop)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.starts_with("rediss:")
    }

    /// The certificates that connections are made with, beside what the system trusts; `None`
    /// where there are none.
    pub(crate) fn certificates(&self) -> Result<Option<TlsCertificates>> {
        let read = |what: &str, path: &Path| {
            std::fs::read(path).map_err(|error| {
                invalid(format!("{what} {} cannot be read", path.display())).source(error)
            })
        };
        let root_cert = self
            .ca
            .as_deref()
            .map(|path| read("ca", path))
            .transpose()?;
        let client_tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read("cert", cert)?,
                client_key: read("key", key)?,
            }),
            _ => None,
        };
        let any = root_cert.is_some() || client_tls.is_some();
        Ok(any.then_some(TlsCertificates {
            client_tls,
            root_cert,
        }))
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How to connect to each of the addresses.
    pub(crate) fn addresses(&self) -> Result<Vec<ConnectionInfo>> {
        let url = parse(&self.url)?;
        let tls = url.scheme() == "rediss";
        let at = |host: &str, port: u16| {
            let host = host.trim_matches(['[', ']']).to_owned();
            if tls {
                ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure: false,
                    tls_params: None,
                }
            } else {
                ConnectionAddr::Tcp(host, port)
            }
        };
        let mut settings = RedisConnectionInfo::default();
        let unescaped = |text: &str| {
            let text = format!("x:{}", text.replace('+', "%2B"));
            let pairs = url::form_urlencoded::parse(text.as_bytes());
            pairs.map(|(text, _)| text[2..].to_owned()).next()
        };
        if let Some(user) = unescaped(url.username()).filter(|user| !user.is_empty()) {
            settings = settings.set_username(user);
        }
        if let Some(password) = url.password().and_then(unescaped) {
            settings = settings.set_password(password);
        }
        let mut addresses = Vec::new();
        if url.scheme() == "redis+unix" {
            if !self.nodes.is_empty() {
                return Err(invalid("a cluster has no Unix socket".into()));
            }
            let path = unescaped(url.path()).unwrap_or_default();
            addresses.push(ConnectionAddr::Unix(path.into()));
        } else {
            let db = url.path().trim_matches('/');
            if !db.is_empty() {
                let number = db.parse().map_err(|_| {
                    invalid("the URL's path is not the number of a database".into())
                })?;
                settings = settings.set_db(number);
            }
            let host = url.host_str().unwrap_or_default();
            if host.is_empty() {
                return Err(invalid("the URL has no host".into()));
            }
            addresses.push(at(host, url.port().unwrap_or(6379)));
        }
        for node in &self.nodes {
            let (host, port) = node
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse().ok()?)))
                .filter(|(host, _)| !host.is_empty())
                .ok_or_else(|| invalid(format!("node {} is not host:port", quote(node))))?;
            addresses.push(at(host, port));
        }
        let infos = addresses.into_iter().map(|address| {
            let info = address.into_connection_info();
            let info = info.map_err(|e| invalid("the address cannot be used".into()).source(e));
            Ok(info?.set_redis_settings(settings.clone()))
        });
        infos.collect()
    }
}

fn invalid(what: String) -> Error {
    Error::invalid(what).operation("open")
}

fn parse(url: &str) -> Result<Url> {
    let wrong = || invalid("not a URL such as redis://host:6379/0".into());
    let url = Url::parse(url).map_err(|error| wrong().source(error))?;
    if !["redis", "rediss", "redis+unix"].contains(&url.scheme()) {
        return Err(invalid(format!(
            "the URL's scheme is {}, and here it has to be redis, rediss or redis+unix",
            quote(url.scheme())
        )));
    }
    if url.fragment().is_some() {
        return Err(invalid(
            "the URL has a fragment; write a # in it as %23".into(),
        ));
    }
    Ok(url)
}

fn milliseconds(value: &str) -> Option<u64> {
    let seconds: f64 = value.parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_millis()).ok()
}

/// A URL without user, password and options.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "(not a URL)".into();
    };
    // Both fail only for URLs that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}

impl fmt::Debug for RedisConfig {
    // The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &shown(&self.url))
            .field("nodes", &self.nodes)
            .field("durability", &self.durability)
            .field("prefix", &self.prefix)
            .field("connections", &self.connections)
            .field("timeout_ms", &self.timeout_ms)
            .field("replicas", &self.replicas)
            .field("thread_ttl_ms", &self.thread_ttl_ms)
            .field("allow_eviction", &self.allow_eviction)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkpoint_core::ErrorKind;

    #[test]
    fn urls() {
        let config = RedisConfig::from_url(
            "rediss://me:s%2Bec%40ret@db.example/3?connections=2&timeout=0.5&prefix=cp\
             &durability=process&thread_ttl=3600&allow_eviction=true&nodes=b:1,[::1]:2",
        )
        .unwrap();
        assert_eq!((config.connections, config.timeout_ms), (2, 500));
        assert_eq!(config.thread_ttl_ms, Some(3_600_000));
        assert_eq!(config.durability, Durability::Process);
        assert!(config.allow_eviction);
        let addresses = config.addresses().unwrap();
        assert_eq!(addresses.len(), 3);
        assert_eq!(addresses[2].addr().to_string(), "::1:2");
        let settings = addresses[0].redis_settings();
        assert_eq!(settings.password(), Some("s+ec@ret"));
        assert_eq!((settings.username(), settings.db()), (Some("me"), 3));
        let debug = format!("{config:?}");
        assert!(!debug.contains("ret") && !debug.contains("me:"), "{debug}");
        let unix = RedisConfig::from_url("redis+unix:///run/a%20b.sock").unwrap();
        let address = unix.addresses().unwrap()[0].addr().to_string();
        assert_eq!(address, "/run/a b.sock");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, expected) in [
            ("redis://h?poool=1", "thread_ttl"),
            ("redis://h?connections=0", "1 to 1000"),
            ("redis://h?connections=many", "connections=<number>"),
            ("redis://h?durability=much", "buffered|process"),
            ("redis://h?prefix={a}", "letters"),
            ("redis://h?thread_ttl=0", "over 0"),
            ("redis://h?nodes=a", "host:port"),
            ("redis://h/zero", "number of a database"),
            ("redis+unix:///s?nodes=a:1", "Unix"),
            ("http://h", "scheme"),
            ("redis://h#x", "fragment"),
            ("redis://h?ca=/a.pem", "rediss"),
            ("rediss://h?cert=/a.pem", "go together"),
            ("what", "not a URL"),
        ] {
            let error = RedisConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(expected), "{url}: {error}");
        }
    }
}
