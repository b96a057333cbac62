//! What a server says of itself, and whether it will do.

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use redis::Value;

use crate::config::RedisConfig;
use crate::link::Wait;

/// What a server, or a node of a cluster, says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether it is a node of a cluster.
    pub(crate) cluster: bool,
    /// What it gives, and why no more.
    pub(crate) gives: Durability,
    pub(crate) because: String,
    /// Whether it gives that only to those that wait for the next sync.
    lazy: bool,
    /// Whether it can be waited for what is synced (`WAITAOF`).
    tells_synced: bool,
    version: String,
    policy: String,
    replica_of: Option<String>,
    replicas: u32,
    loading: bool,
}

/// Whether a version is that or a later one.
fn at_least(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= least
}

/// The value of a field of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

impl Facts {
    /// Reads the answers of `INFO` and of `CONFIG GET appendfsync`, which may be forbidden.
    pub(crate) fn read(info: &str, appendfsync: Option<&str>) -> Self {
        let says = |name: &str, value: &str| field(info, name) == Some(value);
        let text = |name: &str| field(info, name).unwrap_or_default().to_owned();
        let version = text("redis_version");
        let tells_synced = says("aof_enabled", "1") && at_least(&version, (7, 2));
        // Redis writes to its append-only file before it answers, unless the policy is
        // `everysec` and a sync is under way: then up to two seconds later.
        let (gives, because) = match (says("aof_enabled", "1"), appendfsync) {
            (false, _) => (Durability::Buffered, "appendonly no"),
            (true, Some("always")) => (Durability::Disk, "appendfsync always"),
            (true, Some("no")) => (Durability::Process, "appendfsync no"),
            (true, Some("everysec")) if tells_synced => (Durability::Disk, "appendfsync everysec"),
            (true, Some("everysec")) => (
                Durability::Buffered,
                "appendfsync everysec before version 7.2",
            ),
            (true, _) => (Durability::Buffered, "an appendfsync that it does not tell"),
        };
        Self {
            cluster: says("cluster_enabled", "1"),
            gives,
            because: because.into(),
            lazy: appendfsync == Some("everysec"),
            tells_synced,
            version,
            policy: text("maxmemory_policy"),
            replica_of: says("role", "slave").then(|| text("master_host")),
            replicas: text("connected_slaves").parse().unwrap_or(0),
            loading: says("loading", "1"),
        }
    }

    /// What it and another node of its cluster give both.
    pub(crate) fn and(self, other: Self) -> Self {
        let (lazy, tells_synced) = (
            self.lazy || other.lazy,
            self.tells_synced && other.tells_synced,
        );
        let weaker = if other.gives < self.gives {
            other
        } else {
            self
        };
        Self {
            lazy,
            tells_synced,
            ..weaker
        }
    }

    /// Whether what it gives is had by waiting for the next sync.
    pub(crate) fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// What a mutation has to wait for, if the server is used so; it was checked.
    pub(crate) fn wait(&self, config: &RedisConfig) -> Wait {
        let replicas = config.replicas;
        let on_disks = config.durability == Durability::Disk && replicas > 0 && self.tells_synced;
        let local = [Durability::Process, Durability::Disk].contains(&config.durability);
        if on_disks || (local && self.lazy) {
            return Wait::Synced { replicas };
        }
        match replicas {
            0 => Wait::Nothing,
            replicas => Wait::Replicas(replicas),
        }
    }

    /// Refuses a server that cannot be used so.
    pub(crate) fn check(&self, config: &RedisConfig) -> Result<()> {
        if self.loading {
            let message = "the server is loading its data";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        if let Some(primary) = &self.replica_of {
            let message = format!(
                "the server is a read-only replica of {primary}; give the address of the primary"
            );
            return Err(Error::new(ErrorKind::Unavailable, message).retryable(false));
        }
        if !at_least(&self.version, (7, 0)) {
            let message = format!("the server's version is {}; 7.0 is needed", self.version);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let volatile = self.policy.starts_with("volatile-") && config.thread_ttl_ms.is_none();
        if self.policy != "noeviction" && !volatile && !config.allow_eviction {
            let message = format!(
                "the server's maxmemory_policy is {}: when its memory is full, it would drop \
                 parts of threads; set it to noeviction, or open with allow_eviction=true",
                self.policy
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if self.replicas < config.replicas {
            let message = format!(
                "mutations are to be on {} replicas, and the server has {}",
                config.replicas, self.replicas
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if config.durability == Durability::Replicated {
            if config.replicas == 0 {
                let message = "durability replicated needs replicas, the number that must have a \
                     mutation before it is acknowledged";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        } else if self.gives < config.durability {
            let message = format!(
                "durability {} was asked for, and with {} the most is {}; set appendonly yes and \
                 appendfsync always for disk, appendfsync no for process, or ask for less",
                name(config.durability),
                self.because,
                name(self.gives)
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

/// The text of a reply to `INFO`.
pub(crate) fn info_text(reply: &Value) -> String {
    match reply {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

/// The value in a reply to `CONFIG GET` of one name.
pub(crate) fn config_value(reply: &Value) -> Option<String> {
    match reply {
        Value::Array(values) => values.get(1).map(info_text),
        Value::Map(pairs) => pairs.first().map(|(_, value)| info_text(value)),
        _ => None,
    }
}

fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Buffered => "buffered",
        Durability::Process => "process",
        Durability::Disk => "disk",
        Durability::Replicated => "replicated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\n# Persistence\r\nloading:0\r\n\
         aof_enabled:1\r\nrole:master\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:0\r\n";

    fn refused(info: &str, change: impl FnOnce(&mut RedisConfig)) -> Option<Error> {
        let mut config = RedisConfig::new("redis://h");
        change(&mut config);
        Facts::read(info, Some("always")).check(&config).err()
    }

    #[test]
    fn servers_that_do_not_do_are_refused() {
        assert!(refused(INFO, |_| {}).is_none());
        for (from, to, kind, says) in [
            ("7.0.15", "6.2.14", ErrorKind::Unsupported, "7.0 is needed"),
            ("loading:0", "loading:1", ErrorKind::Unavailable, "loading"),
            (
                "role:master",
                "role:slave\r\nmaster_host:10.0.0.1",
                ErrorKind::Unavailable,
                "replica of 10.0.0.1",
            ),
            (
                "noeviction",
                "allkeys-lru",
                ErrorKind::Unsupported,
                "allow_eviction=true",
            ),
            (
                "aof_enabled:1",
                "aof_enabled:0",
                ErrorKind::Unsupported,
                "appendonly no the most is buffered",
            ),
        ] {
            let error = refused(&INFO.replace(from, to), |_| {}).unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(says), "{error}");
        }
        let evicting = INFO.replace("noeviction", "volatile-lru");
        assert!(refused(&evicting, |_| {}).is_none());
        let replicated = |config: &mut RedisConfig| config.durability = Durability::Replicated;
        assert!(refused(INFO, replicated).is_some());
        let on_two = |config: &mut RedisConfig| config.replicas = 2;
        assert!(refused(INFO, on_two).is_some());
        assert!(refused(&format!("{INFO}connected_slaves:2\r\n"), on_two).is_none());
        let idle = |config: &mut RedisConfig| config.thread_ttl_ms = Some(1);
        assert!(refused(&evicting, idle).is_some());
        let allowed = |config: &mut RedisConfig| config.allow_eviction = true;
        assert!(refused(&INFO.replace("noeviction", "allkeys-lru"), allowed).is_none());
    }

    #[test]
    fn durability_is_what_the_append_only_file_gives() {
        let gives = |policy| Facts::read(INFO, policy).gives;
        assert_eq!(gives(Some("always")), Durability::Disk);
        assert_eq!(gives(Some("no")), Durability::Process);
        assert_eq!(gives(Some("everysec")), Durability::Buffered);
        assert_eq!(gives(None), Durability::Buffered);
        let newer = INFO.replace("7.0.15", "7.2.4");
        let facts = Facts::read(&newer, Some("everysec"));
        assert_eq!(facts.gives, Durability::Disk);
        assert!(!at_least("7.1.9", (7, 2)) && at_least("10.0", (7, 2)));
    }

    #[test]
    fn mutations_wait_for_what_was_asked() {
        let newer = INFO.replace("7.0.15", "8.0.2");
        let wait = |info: &str, policy, durability, replicas| {
            let mut config = RedisConfig::new("redis://h");
            config.durability = durability;
            config.replicas = replicas;
            Facts::read(info, Some(policy)).wait(&config)
        };
        for (policy, durability, replicas, expected) in [
            ("always", Durability::Disk, 0, Wait::Nothing),
            ("always", Durability::Disk, 2, Wait::Synced { replicas: 2 }),
            (
                "everysec",
                Durability::Disk,
                0,
                Wait::Synced { replicas: 0 },
            ),
            (
                "everysec",
                Durability::Process,
                1,
                Wait::Synced { replicas: 1 },
            ),
            ("everysec", Durability::Buffered, 0, Wait::Nothing),
            ("everysec", Durability::Replicated, 1, Wait::Replicas(1)),
            ("no", Durability::Process, 0, Wait::Nothing),
        ] {
            assert_eq!(wait(&newer, policy, durability, replicas), expected);
        }
        let older = wait(INFO, "always", Durability::Disk, 2);
        assert_eq!(older, Wait::Replicas(2));
        // In a cluster, one node that has to be waited for is enough.
        let facts = |policy| Facts::read(&newer, Some(policy));
        let both = facts("always").and(facts("everysec"));
        assert_eq!(
            both.wait(&RedisConfig::new("redis://h")),
            Wait::Synced { replicas: 0 }
        );
    }
}
