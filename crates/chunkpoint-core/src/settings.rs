//! Configuration as plain data, and the injected clock and randomness.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::Compression;
use crate::error::{Error, ErrorKind, Result};

/// How a [`Memory`](crate::Memory) behaves. Every field has a default that is
/// right for one process with some hundred active threads.
///
/// ```
/// use chunkpoint_core::Settings;
/// let settings = Settings { max_history: Some(100), ..Settings::default() };
/// assert_eq!(settings.cache_bytes, 64 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Bytes the engine may keep: records, chunks and decoded values together.
    /// What open handles hold is theirs.
    pub cache_bytes: u64,
    /// Checkpoints kept for each (thread, namespace), pinned ones not counted.
    /// At least 1. Older ones go in the background after commits, so more may be
    /// there for a while, also after a restart;
    /// [`maintain`](crate::Memory::maintain) removes them at once.
    pub max_history: Option<usize>,
    /// Checkpoints older than this go, except the newest and pinned ones.
    #[serde(with = "maybe_seconds")]
    pub max_age: Option<Duration>,
    /// The codec of new chunks.
    pub compression: Compression,
    /// How long the bytes of removed checkpoints stay readable for handles
    /// that are open.
    #[serde(with = "seconds")]
    pub grace: Duration,
    /// Whether retention and reclamation run by themselves after commits, on
    /// the runtime of the caller. If not, only
    /// [`maintain`](crate::Memory::maintain) runs them.
    pub background: bool,
    /// How long items of the long-term store live unless a put says otherwise;
    /// `None`: for ever.
    #[serde(with = "maybe_seconds")]
    pub store_ttl: Option<Duration>,
    /// Whether reading an item renews its life, unless the read says otherwise.
    pub store_refresh: bool,
    /// How often expired items are removed in the background.
    #[serde(with = "seconds")]
    pub store_sweep: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            max_history: None,
            max_age: None,
            compression: Compression::default(),
            grace: Duration::from_secs(60),
            background: true,
            store_ttl: None,
            store_refresh: true,
            store_sweep: Duration::from_secs(300),
        }
    }
}

impl Settings {
    /// Reads `CHUNKPOINT_CACHE_BYTES`, `_MAX_HISTORY`, `_MAX_AGE` (seconds),
    /// `_COMPRESSION` (`none`, `lz4`, `zstd`), `_GRACE` (seconds), `_BACKGROUND`
    /// (`true`, `false`), `_STORE_TTL` (seconds), `_STORE_REFRESH` (`true`, `false`)
    /// and `_STORE_SWEEP` (seconds); what is not set keeps its default.
    ///
    /// # Errors
    /// `InvalidInput` that names the variable and what it accepts.
    pub fn from_env() -> Result<Self> {
        let mut settings = Self::default();
        for name in Self::OPTIONS {
            let variable = format!("CHUNKPOINT_{}", name.to_uppercase());
            if let Ok(text) = std::env::var(&variable) {
                settings
                    .set(name, &text)
                    .map_err(|e| e.context(&variable))?;
            }
        }
        Ok(settings)
    }

    /// The names [`set`](Self::set) knows.
    pub const OPTIONS: [&'static str; 9] = [
        "cache_bytes",
        "max_history",
        "max_age",
        "compression",
        "grace",
        "background",
        "store_ttl",
        "store_refresh",
        "store_sweep",
    ];

    /// Sets one field from text, as a URL option or environment variable gives
    /// it. Durations are in seconds and may have a fraction.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown name or a value that does not fit.
    pub fn set(&mut self, name: &str, text: &str) -> Result<()> {
        fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
            text.parse()
                .map_err(|_| Error::invalid("a whole number is expected"))
        }
        let duration = || {
            text.parse::<f64>()
                .ok()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| Error::invalid("a number of seconds is expected"))
        };
        let truth = || {
            text.parse::<bool>()
                .map_err(|_| Error::invalid("true or false is expected"))
        };
        match name {
            "cache_bytes" => self.cache_bytes = number(text)?,
            "max_history" => self.max_history = Some(number(text)?),
            "max_age" => self.max_age = Some(duration()?),
            "grace" => self.grace = duration()?,
            "compression" => {
                self.compression = match text {
                    "none" => Compression::None,
                    "lz4" => Compression::Lz4,
                    "zstd" => Compression::Zstd,
                    _ => return Err(Error::invalid("one of none, lz4, zstd is expected")),
                }
            }
            "background" => self.background = truth()?,
            "store_ttl" => self.store_ttl = Some(duration()?),
            "store_refresh" => self.store_refresh = truth()?,
            "store_sweep" => self.store_sweep = duration()?,
            _ => {
                return Err(Error::invalid(format!(
                    "unknown option {}; known are {}",
                    crate::quote(name),
                    Self::OPTIONS.join(", ")
                )));
            }
        }
        self.check()
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.max_history == Some(0) {
            return Err(Error::invalid(
                "max_history is 0; keep at least 1 checkpoint",
            ));
        }
        Ok(())
    }
}

mod seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

mod maybe_seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|value| value.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom))
            .transpose()
    }
}

/// Tells the time. No correctness rests on it: it orders ids where nothing
/// else does, and decides when something unreachable may go.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the clock that is injected"
    )]
    fn now_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

/// Gives random bytes, for pack ids, incarnations and checkpoint ids.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// Fills the buffer.
    ///
    /// # Errors
    /// `Unavailable` if there is no randomness to be had.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|e| {
            Error::new(
                ErrorKind::Unavailable,
                "the operating system gives no random bytes",
            )
            .source(e)
        })
    }
}
