//! Which database a backend is on, and how it uses it.

use std::fmt;
use std::time::Duration;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, Result, quote};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::dialect::Dialect;

/// Whether opening may create and migrate tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// Yes, where they are not there or older than this program.
    #[default]
    Auto,
    /// No: opening fails unless they are there. For a role that may not create tables;
    /// [`schema_sql`](crate::schema_sql) gives what another role runs.
    Check,
}

/// The configuration of a [`SqlBackend`](crate::SqlBackend), as plain data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlConfig {
    /// The database's URL, with the driver's own options only. It may hold a password,
    /// and is never shown.
    pub url: String,
    /// What an acknowledged mutation survives; refused where the server cannot give it.
    #[serde(default)]
    pub durability: Durability,
    /// Most connections. SQLite has one more, which writes.
    #[serde(default = "pool")]
    pub pool: u32,
    /// Longest wait for a free connection, in milliseconds. SQLite waits as long for
    /// another process that writes.
    #[serde(default = "pool_timeout_ms")]
    pub pool_timeout_ms: u64,
    /// PostgreSQL only: the schema the tables are in; else that of the role's search path.
    #[serde(default)]
    pub schema: Option<String>,
    /// What table names start with.
    #[serde(default = "table_prefix")]
    pub table_prefix: String,
    /// Statements that each connection keeps prepared.
    #[serde(default = "statement_cache")]
    pub statement_cache: usize,
    /// PostgreSQL only: whether PgBouncer or its like hands out another connection for
    /// each transaction. Nothing is prepared then.
    #[serde(default)]
    pub pgbouncer: bool,
    /// Whether opening may create and migrate tables.
    #[serde(default)]
    pub setup: Setup,
}

fn pool() -> u32 {
    10
}

fn pool_timeout_ms() -> u64 {
    30_000
}

fn table_prefix() -> String {
    "chunkpoint_".into()
}

fn statement_cache() -> usize {
    100
}

/// What the options of a URL accept.
const ACCEPTED: &str = "durability=buffered|process|disk|replicated, pool=<number>, \
     pool_timeout=<seconds>, schema=<name>, table_prefix=<name>, statement_cache=<number>, \
     pgbouncer=true|false, setup=auto|check";

/// What the drivers take themselves.
const OF_POSTGRES: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const OF_MYSQL: &[&str] = &["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"];

impl SqlConfig {
    /// The names of the options that [`from_url`](Self::from_url) knows for every database.
    pub const OPTIONS: &'static [&'static str] = &[
        "durability",
        "pool",
        "pool_timeout",
        "schema",
        "table_prefix",
        "statement_cache",
        "pgbouncer",
        "setup",
    ];

    /// The options that a URL may have: [`OPTIONS`](Self::OPTIONS), and those that the
    /// driver of its database takes itself.
    pub fn options(dialect: Dialect) -> Vec<&'static str> {
        let of_driver = dialect.pick(&[][..], OF_POSTGRES, OF_MYSQL);
        let ours = Self::OPTIONS.iter().filter(|option| {
            dialect == Dialect::Postgres || !["schema", "pgbouncer"].contains(*option)
        });
        ours.chain(of_driver).copied().collect()
    }

    /// The defaults, for this database. `url` is what the driver takes.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            durability: Durability::default(),
            pool: pool(),
            pool_timeout_ms: pool_timeout_ms(),
            schema: None,
            table_prefix: table_prefix(),
            statement_cache: statement_cache(),
            pgbouncer: false,
            setup: Setup::default(),
        }
    }

    /// Reads a URL such as `postgres://user:password@host/database?pool=20`.
    ///
    /// SQLite: `sqlite:///absolute/path.db`, or `sqlite::memory:`.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such URL or has an option that does not exist; the
    /// message lists those that do, and never holds the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        let invalid = |what: String| Error::invalid(what).operation("open");
        let mut parsed = Url::parse(url).map_err(|error| {
            invalid("not a URL such as postgres://user@host/database".into()).source(error)
        })?;
        let dialect = dialect_of(&parsed)?;
        if parsed.fragment().is_some() {
            return Err(invalid(
                "the URL has a fragment; write a # in it as %23".into(),
            ));
        }
        let known = Self::options(dialect);
        let mut config = Self::new("");
        let mut of_driver = Vec::new();
        for (option, value) in parsed.query_pairs() {
            if !known.contains(&&*option) {
                return Err(invalid(format!(
                    "unknown option {}; known are {}",
                    quote(&option),
                    known.join(", ")
                )));
            }
            if Self::OPTIONS.contains(&&*option) {
                config.set(&option, &value)?;
            } else {
                of_driver.push((option.into_owned(), value.into_owned()));
            }
        }
        parsed.set_query(None);
        if !of_driver.is_empty() {
            parsed.query_pairs_mut().extend_pairs(of_driver);
        }
        config.url = parsed.into();
        config.check()?;
        Ok(config)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let wrong = || {
            Error::invalid(format!(
                "option {option} cannot be {}; known: {ACCEPTED}",
                quote(value)
            ))
            .operation("open")
        };
        match option {
            "durability" => self.durability = plain(value).ok_or_else(wrong)?,
            "setup" => self.setup = plain(value).ok_or_else(wrong)?,
            "pool" => self.pool = value.parse().ok().ok_or_else(wrong)?,
            "pool_timeout" => {
                let seconds: f64 = value.parse().ok().ok_or_else(wrong)?;
                let wait = Duration::try_from_secs_f64(seconds)
                    .ok()
                    .ok_or_else(wrong)?;
                self.pool_timeout_ms = u64::try_from(wait.as_millis()).ok().ok_or_else(wrong)?;
            }
            "schema" => self.schema = Some(value.to_owned()),
            "table_prefix" => value.clone_into(&mut self.table_prefix),
            "statement_cache" => self.statement_cache = value.parse().ok().ok_or_else(wrong)?,
            _ => self.pgbouncer = value.parse().ok().ok_or_else(wrong)?,
        }
        Ok(())
    }

    /// Refuses what makes no sense, before anything is connected to.
    pub(crate) fn check(&self) -> Result<()> {
        if self.pool == 0 || self.pool > 10_000 {
            return Err(Error::invalid("pool has to be 1 to 10000 connections").operation("open"));
        }
        if self.pool_timeout_ms == 0 {
            return Err(Error::invalid("pool_timeout is 0; give at least 0.001").operation("open"));
        }
        crate::names::Place::new(self.schema.as_deref(), &self.table_prefix)
            .map_err(|error| error.operation("open"))?;
        Ok(())
    }

    /// Which database the URL is of.
    ///
    /// # Errors
    /// `InvalidInput` if its scheme is none of those that this build knows.
    pub fn dialect(&self) -> Result<Dialect> {
        let url = Url::parse(&self.url).map_err(|error| {
            Error::invalid("not a URL such as postgres://user@host/database").source(error)
        })?;
        dialect_of(&url)
    }

    pub(crate) fn pool_timeout(&self) -> Duration {
        Duration::from_millis(self.pool_timeout_ms)
    }
}

fn dialect_of(url: &Url) -> Result<Dialect> {
    match url.scheme() {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Dialect::Sqlite),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Dialect::Postgres),
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => Ok(Dialect::MySql),
        scheme => Err(Error::invalid(format!(
            "the URL's scheme is {}, and here it has to be that of an SQL database in this build",
            quote(scheme)
        ))
        .operation("open")),
    }
}

/// A value of an enumeration by its name.
fn plain<T: for<'de> Deserialize<'de>>(name: &str) -> Option<T> {
    serde_json::from_value(name.into()).ok()
}

impl fmt::Debug for SqlConfig {
    // The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlConfig")
            .field("url", &shown(&self.url))
            .field("durability", &self.durability)
            .field("pool", &self.pool)
            .field("pool_timeout_ms", &self.pool_timeout_ms)
            .field("schema", &self.schema)
            .field("table_prefix", &self.table_prefix)
            .field("statement_cache", &self.statement_cache)
            .field("pgbouncer", &self.pgbouncer)
            .field("setup", &self.setup)
            .finish()
    }
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

#[cfg(all(test, feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod tests {
    use super::*;
    use chunkpoint_core::ErrorKind;

    #[test]
    fn urls() {
        let url = "postgres://me:secret@db.example:5433/agents?pool=20&pool_timeout=0.5\
                   &schema=memory&table_prefix=cp_&durability=process&statement_cache=0\
                   &pgbouncer=true&setup=check&sslmode=require";
        let config = SqlConfig::from_url(url).unwrap();
        assert_eq!(
            config.url,
            "postgres://me:secret@db.example:5433/agents?sslmode=require"
        );
        assert_eq!((config.pool, config.pool_timeout_ms), (20, 500));
        assert_eq!(config.schema.as_deref(), Some("memory"));
        assert_eq!(config.table_prefix, "cp_");
        assert_eq!(config.durability, Durability::Process);
        assert!(config.pgbouncer && config.setup == Setup::Check);
        let debug = format!("{config:?}");
        assert!(
            !debug.contains("secret") && !debug.contains("me:"),
            "{debug}"
        );
        for url in ["sqlite:///var/a.db", "sqlite::memory:", "mysql://h/d"] {
            assert_eq!(SqlConfig::from_url(url).unwrap().url, url);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, expected) in [
            ("postgres://h/d?poool=1", "pool_timeout"),
            ("postgres://h/d?pool=0", "1 to 10000"),
            ("postgres://h/d?pool=many", "pool=<number>"),
            ("postgres://h/d?durability=much", "buffered|process"),
            ("postgres://h/d?schema=a;b", "lower-case"),
            ("mysql://h/d?schema=a", "unknown option"),
            ("sqlite:///a.db?sslmode=off", "unknown option"),
            ("oracle://h/d", "scheme"),
            ("postgres://h/d#x", "fragment"),
            ("what", "not a URL"),
        ] {
            let error = SqlConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains(expected), "{url}: {error}");
        }
    }
}
