//! [`RedisBackend`]: what it consists of. What it does is in the modules beside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chunkpoint_core::backend::Capabilities;
use chunkpoint_core::{Clock, Error, Result};
use redis::{Cmd, RedisError, ServerErrorKind, Value};

use crate::builder::RedisBuilder;
use crate::config::RedisConfig;
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
    capabilities: Capabilities,
    shown: String,
    closed: AtomicBool,
}

impl Inner {
    pub(crate) fn new(
        links: Links,
        names: Names,
        clock: Arc<dyn Clock>,
        thread_ttl_ms: Option<u64>,
        capabilities: Capabilities,
        shown: String,
    ) -> Self {
        Self {
            links,
            names,
            clock,
            thread_ttl_ms,
            capabilities,
            shown,
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
        let mut answer = self.links.run(lane, &call.by_hash()).await;
        if matches!(&answer, Err(error) if is_unknown_script(error)) {
            answer = self.links.run(lane, &call.whole()).await;
        }
        match answer {
            Ok(value) => Ok(value),
            Err(error) if error.code() == Some("WRONGTYPE") => Err(self
                .name_wrong_key(lane, call, from_redis(doing, &error))
                .await),
            Err(error) => Err(from_redis(doing, &error)),
        }
    }

    /// Runs a single command.
    pub(crate) async fn command(&self, doing: Doing, lane: u64, cmd: &Cmd) -> Result<Value> {
        let answer = self.links.run(lane, cmd).await;
        answer.map_err(|error| from_redis(doing, &error))
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
