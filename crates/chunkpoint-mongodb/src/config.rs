//! Which server a backend is on, and how it uses it.

use std::fmt;
use std::time::Duration;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, Result, quote};
use mongodb::options::ConnectionString;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::names::check_prefix;

/// The configuration of a [`MongoBackend`](crate::MongoBackend), as plain data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongoConfig {
    /// The server's URL, with the options of the driver only:
    /// `mongodb://user:password@host:port,host:port/database?replicaSet=rs0`, or
    /// `mongodb+srv://`. It may hold a password, and is never shown.
    pub url: String,
    /// The database; that of the URL, or else `chunkpoint`, unless told otherwise.
    #[serde(default)]
    pub database: Option<String>,
    /// What the names of all collections begin with.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// What an acknowledged mutation survives; refused where the server cannot give it.
    #[serde(default)]
    pub durability: Durability,
    /// Most connections to each server.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Longest wait for a server, for a connection, and for an answer, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

fn prefix() -> String {
    "chunkpoint".into()
}

fn connections() -> u32 {
    16
}

fn timeout_ms() -> u64 {
    30_000
}

/// What the options of a URL accept.
const ACCEPTED: &str = "durability=buffered|process|disk|replicated, database=<name>, \
     prefix=<text>, connections=<number>, timeout=<seconds>";

impl MongoConfig {
    /// The names of the options that [`from_url`](Self::from_url) knows besides those of
    /// the driver.
    pub const OPTIONS: &'static [&'static str] =
        &["durability", "database", "prefix", "connections", "timeout"];

    /// The defaults, for the server of this URL, which has no options but the driver's.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            database: None,
            prefix: prefix(),
            durability: Durability::default(),
            connections: connections(),
            timeout_ms: timeout_ms(),
        }
    }

    /// Reads a URL such as `mongodb://user:password@a,b/agents?replicaSet=rs0&prefix=cp`.
    /// What is not among [`OPTIONS`](Self::OPTIONS) is the driver's. Write and read concern
    /// follow from `durability`; options that would set them otherwise are refused.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such URL or has an option that does not exist; the
    /// message lists ours, and never holds the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let mut config = Self::new("");
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let decoded = form_urlencoded::parse(pair.as_bytes()).next();
            let (option, value) = decoded.unwrap_or_default();
            match &*option {
                known if Self::OPTIONS.contains(&known) => config.set(known, &value)?,
                concern @ ("w" | "journal" | "wtimeoutMS" | "readConcernLevel"
                | "readPreference") => {
                    return Err(invalid(format!(
                        "option {concern} follows from durability here; leave it out, and give \
                         durability=buffered|process|disk|replicated"
                    )));
                }
                _ => others.push(pair),
            }
        }
        config.url = address.into();
        if !others.is_empty() {
            // The driver wants the slash before its options.
            let authority = address.split_once("://").map_or("", |(_, rest)| rest);
            let slash = if authority.contains('/') { "" } else { "/" };
            config.url = format!("{address}{slash}?{}", others.join("&"));
        }
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
            "database" => self.database = Some(value.into()),
            "prefix" => value.clone_into(&mut self.prefix),
            "connections" => self.connections = value.parse().map_err(|_| wrong())?,
            _ => self.timeout_ms = milliseconds(value).ok_or_else(wrong)?,
        }
        Ok(())
    }

    /// Refuses what makes no sense, before anything is connected to.
    pub(crate) fn check(&self) -> Result<()> {
        if self.connections == 0 || self.connections > 10_000 {
            return Err(invalid("connections has to be 1 to 10000".into()));
        }
        if self.timeout_ms == 0 {
            return Err(invalid("timeout is 0; give at least 0.001".into()));
        }
        check_prefix(&self.prefix).map_err(|error| error.operation("open"))?;
        let database = self.database()?;
        let bad = |c: char| "/\\. \"$*<>:|?\0".contains(c);
        if database.is_empty() || database.len() > 63 || database.contains(bad) {
            return Err(invalid(format!(
                "{} cannot be the name of a database",
                quote(&database)
            )));
        }
        Ok(())
    }

    /// The URL as the driver takes it apart.
    pub(crate) fn connection(&self) -> Result<ConnectionString> {
        if !["mongodb://", "mongodb+srv://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
        {
            return Err(invalid(
                "not a URL such as mongodb://host:27017/database".into(),
            ));
        }
        // The driver's message may hold parts of the URL, and so a password.
        ConnectionString::parse(&self.url).map_err(|error| {
            let text = error.to_string();
            let about = if text.contains("option") {
                format!(
                    "the URL has an option that neither the driver knows, nor is one of ours: {}",
                    Self::OPTIONS.join(", ")
                )
            } else {
                "not a URL such as mongodb://host:27017/database; in user and password, write \
                 : / ? # [ ] @ as %3A and so on"
                    .into()
            };
            invalid(about)
        })
    }

    /// The database's name.
    pub(crate) fn database(&self) -> Result<String> {
        let of_url = self.connection()?.default_database;
        let named = self.database.clone().or(of_url);
        Ok(named.unwrap_or_else(|| "chunkpoint".into()))
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

fn invalid(what: String) -> Error {
    Error::invalid(what).operation("open")
}

fn milliseconds(value: &str) -> Option<u64> {
    let seconds: f64 = value.parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_millis()).ok()
}

/// A URL without user, password and options.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "(not a URL)".into();
    };
    let rest = rest.split('?').next().unwrap_or_default();
    let hosts = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{hosts}")
}

impl fmt::Debug for MongoConfig {
    // The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoConfig")
            .field("url", &shown(&self.url))
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .field("durability", &self.durability)
            .field("connections", &self.connections)
            .field("timeout_ms", &self.timeout_ms)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkpoint_core::ErrorKind;

    #[test]
    fn urls() {
        let config = MongoConfig::from_url(
            "mongodb://me:s%40cret@a.example:1,b.example/agents?replicaSet=rs0&connections=2\
             &timeout=0.5&prefix=cp&durability=process",
        )
        .unwrap();
        assert_eq!((config.connections, config.timeout_ms), (2, 500));
        assert_eq!(config.durability, Durability::Process);
        assert_eq!(config.database().unwrap(), "agents");
        let connection = config.connection().unwrap();
        assert_eq!(connection.replica_set.as_deref(), Some("rs0"));
        let debug = format!("{config:?}");
        assert!(!debug.contains("cret") && !debug.contains("me:"), "{debug}");
        assert!(debug.contains("mongodb://a.example:1,b.example/agents"));
        let plain = MongoConfig::from_url("mongodb://h?authSource=admin&database=d").unwrap();
        assert_eq!(plain.database().unwrap(), "d");
        assert_eq!(plain.url, "mongodb://h/?authSource=admin");
        let none = MongoConfig::from_url("mongodb://h").unwrap();
        assert_eq!(none.database().unwrap(), "chunkpoint");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, expected) in [
            ("mongodb://h/?poool=1", "prefix"),
            ("mongodb://h/?connections=0", "1 to 10000"),
            ("mongodb://h/?connections=many", "connections=<number>"),
            ("mongodb://h/?durability=much", "buffered|process"),
            ("mongodb://h/?prefix=$a", "letters"),
            ("mongodb://h/?w=1", "durability"),
            ("mongodb://h/a.b", "name of a database"),
            ("mongodb://u:p@ss:word@h/", "%3A"),
            ("http://h", "not a URL"),
            ("what", "not a URL"),
        ] {
            let error = MongoConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(expected), "{url}: {error}");
            assert!(!error.to_string().contains("p@ss"), "{error}");
        }
    }
}
