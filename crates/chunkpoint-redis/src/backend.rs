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
use crate::link::Links;
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
    /// How many replicas must have a mutation before it is acknowledged, and how long to wait.
    replicas: u32,
    patience: Duration,
    capabilities: Capabilities,
    shown: String,
    closed: AtomicBool,
}

/// Why a command did not do.
enum Failure {
    Driver(RedisError),
    /// It did, and only so many replicas have it.
    TooFew(i64),
}

impl Failure {
    fn into_error(self, doing: Doing) -> Error {
        match self {
            Self::Driver(error) => from_redis(doing, &error),
            Self::TooFew(count) => Error::new(
                ErrorKind::Timeout,
                format!("it is stored, but only {count} replicas had it in time"),
            ),
        }
    }
}

impl Inner {
    pub(crate) fn new(
        links: Links,
        names: Names,
        clock: Arc<dyn Clock>,
        config: &RedisConfig,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            links,
            names,
            clock,
            thread_ttl_ms: config.thread_ttl_ms,
            replicas: config.replicas,
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
            Err(Failure::Driver(error)) if error.code() == Some("WRONGTYPE") => {
                let error = self.error_of(Failure::Driver(error), doing);
                Err(self.name_wrong_key(lane, call, error).await)
            }
            Err(failure) => Err(self.error_of(failure, doing)),
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
        if doing == Doing::Reading || self.replicas == 0 {
            return self.links.run(lane, &cmd).await.map_err(Failure::Driver);
        }
        let answer = self
            .links
            .run_and_wait(lane, cmd, self.replicas, self.patience);
        let (answer, acknowledged) = answer.await.map_err(Failure::Driver)?;
        if acknowledged < i64::from(self.replicas) {
            return Err(Failure::TooFew(acknowledged));
        }
        Ok(answer)
    }

    /// The server does not say which key has the wrong type.
    async fn name_wrong_key(&self, lane: u64, call: &Call, error: Error) -> Error {
        let mut types = Vec::new();
        for key in call.keys() {
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
