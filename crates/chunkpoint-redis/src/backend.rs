//! [`RedisBackend`]: what it consists of. What it does is in the modules beside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkpoint_core::backend::Capabilities;
use chunkpoint_core::{Applied, Clock, Error, ErrorKind, Result};
use redis::{Cmd, RedisError, ServerErrorKind, Value};

use crate::builder::RedisBuilder;
use crate::config::{RedisConfig, shown};
use crate::error::{Doing, closed, from_redis};
use crate::link::{Links, Reached, Wait};
use crate::names::{Names, ThreadKeys};
use crate::reply::opt_bytes;
use crate::script::{Call, Script};

/// Checkpoints and a long-term store in Redis.
pub struct RedisBackend {
    inner: Arc<Inner>,
}

/// What calls and streams share with the backend.
pub(crate) struct Inner {
    links: Links,
    pub(crate) names: Names,
    clock: Arc<dyn Clock>,
    thread_ttl_ms: Option<u64>,
    /// What is waited for before a mutation is acknowledged, and how long.
    wait: Wait,
    patience: Duration,
    capabilities: Capabilities,
    shown: String,
    closed: AtomicBool,
}

/// Why a command did not do.
enum Failure {
    Driver(RedisError),
    /// It did, and has come only so far of where it has to be.
    Short(Wait, Reached),
}

impl Failure {
    fn into_error(self, doing: Doing) -> Error {
        match self {
            Self::Driver(error) => from_redis(doing, &error),
            Self::Short(wait, reached) => {
                let count = reached.replicas;
                let message = match wait {
                    Wait::Synced { .. } if !reached.synced => {
                        "it is stored, but the server did not sync its append-only file in time"
                            .into()
                    }
                    Wait::Synced { .. } => format!(
                        "it is stored, but only {count} replicas had it on their disks in time; \
                         do they have appendonly yes?"
                    ),
                    _ => format!("it is stored, but only {count} replicas had it in time"),
                };
                Error::new(ErrorKind::Timeout, message)
            }
        }
    }
}

impl Inner {
    pub(crate) fn new(
        links: Links,
        names: Names,
        clock: Arc<dyn Clock>,
        config: &RedisConfig,
        wait: Wait,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            links,
            names,
            clock,
            thread_ttl_ms: config.thread_ttl_ms,
            wait,
            // Less than the wait for an answer.
            patience: config.timeout() / 2,
            capabilities,
            shown: shown(&config.url),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// A call of a script on a thread, with the arguments that all of them begin with.
    pub(crate) fn on_thread(&self, script: &'static Script, thread: &ThreadKeys) -> Call {
        let mut call = Call::new(script, thread.keys.clone());
        call.number(self.clock.now_ms())
            .number(self.thread_ttl_ms.unwrap_or(0))
            .arg(thread.id.clone());
        call
    }

    /// Runs a script. All of one lane run in the order in which they are sent: a call that
    /// was dropped has run before the next for the same thread, or never will.
    pub(crate) async fn run(&self, doing: Doing, lane: u64, call: &Call) -> Result<Value> {
        let mut answer = self.send(doing, lane, call.by_hash()).await;
        if matches!(&answer, Err(Failure::Driver(error)) if is_unknown_script(error)) {
            answer = self.send(doing, lane, call.whole()).await;
        }
        match answer {
            Ok(value) => Ok(value),
            Err(failure) => Err(self.explain(failure, doing, lane, call.keys()).await),
        }
    }

    /// Runs two commands that read, in one round trip.
    pub(crate) async fn read_both(
        &self,
        lane: u64,
        keys: &[Bytes],
        commands: [Cmd; 2],
    ) -> Result<[Value; 2]> {
        match self.links.run_both(lane, commands).await {
            Ok(answers) => Ok(answers),
            Err(error) => {
                let failure = Failure::Driver(error);
                Err(self.explain(failure, Doing::Reading, lane, keys).await)
            }
        }
    }

    /// Whether reads need no script: nothing has to be noted of them, and there is no cluster,
    /// whose slots may move.
    pub(crate) fn reads_plainly(&self) -> bool {
        self.thread_ttl_ms.is_none() && !self.links.is_cluster()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// What a failure means; of keys that are not ours, which.
    async fn explain(&self, failure: Failure, doing: Doing, lane: u64, keys: &[Bytes]) -> Error {
        let wrong = matches!(&failure, Failure::Driver(error) if error.code() == Some("WRONGTYPE"));
        let error = self.error_of(failure, doing);
        match wrong {
            true => self.name_wrong_key(lane, keys, error).await,
            false => error,
        }
    }

    /// Runs a single command.
    pub(crate) async fn command(&self, doing: Doing, lane: u64, cmd: Cmd) -> Result<Value> {
        let answer = self.send(doing, lane, cmd).await;
        answer.map_err(|failure| self.error_of(failure, doing))
    }

    /// What a failure means. The driver repeats by itself what it sends to a cluster: whatever
    /// its last attempt says, one before it may have been applied.
    fn error_of(&self, failure: Failure, doing: Doing) -> Error {
        let error = failure.into_error(doing);
        if doing == Doing::Changing && self.links.is_cluster() && error.is_retryable() {
            return error.applied(Applied::Unknown);
        }
        error
    }

    async fn send(&self, doing: Doing, lane: u64, cmd: Cmd) -> Result<Value, Failure> {
        if doing == Doing::Reading {
            return self.links.run(lane, &cmd).await.map_err(Failure::Driver);
        }
        let answer = self.links.run_and_wait(lane, cmd, self.wait, self.patience);
        let (answer, reached) = answer.await.map_err(Failure::Driver)?;
        if !self.wait.is_over(reached) {
            return Err(Failure::Short(self.wait, reached));
        }
        Ok(answer)
    }

    /// The server does not say which key has the wrong type.
    async fn name_wrong_key(&self, lane: u64, keys: &[Bytes], error: Error) -> Error {
        let mut types = Vec::new();
        for key in keys {
            let answer = self.links.run(lane, redis::cmd("TYPE").arg(&key[..])).await;
            let kind = answer.ok().and_then(|kind| opt_bytes(kind).ok().flatten());
            if let Some(kind) = kind.filter(|kind| kind != "none") {
                types.push(format!("{} is a {}", lossy(key), lossy(&kind)));
            }
        }
        error.context(types.join(", "))
    }
}

fn lossy(bytes: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

impl RedisBackend {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens a backend with a configuration.
    ///
    /// # Errors
    /// As [`RedisBuilder::open`].
    pub async fn from_config(config: RedisConfig) -> Result<Self> {
        RedisBuilder::new(config).open().await
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// What calls work with, unless the backend was closed.
    pub(crate) fn open(&self) -> Result<&Arc<Inner>> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(&self.inner)
    }
}

impl fmt::Display for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("server", &self.inner.shown)
            .field("prefix", &self.inner.names.prefix())
            .field("connections", &self.inner.links.len())
            .field("thread_ttl_ms", &self.inner.thread_ttl_ms)
            .finish_non_exhaustive()
    }
}
