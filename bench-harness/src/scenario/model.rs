//! What a scenario does with its workload.

use serde::{Deserialize, Serialize};

use super::{LongTermStore, at_least_one};

/// What is done with the workload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Every conversation a thread, every message a commit; then every thread
    /// loaded, its tail read, and every state read back.
    Replay(Replay),
    /// One long thread: cost per append by length, cold open, tail and load.
    SingleSession(SingleSession),
    /// One thread with a bounded history: memory and storage over time.
    Retention(Retention),
    /// The long-term store: a mix of operations on a small and on a large store in
    /// turns, one large value patched, and a store of many items opened.
    LongTermStore(LongTermStore),
    /// All clients load a newest state at the same moment.
    ConcurrentLoad(ConcurrentLoad),
    /// Commits and loads that arrive at a given rate, whether or not those before them
    /// have been answered.
    OpenLoad(OpenLoad),
    /// The process ends and another goes on, again and again.
    Resume(Resume),
    /// Old states are read, and others are made from them.
    TimeTravel(TimeTravel),
    /// The process is killed while it commits, and another goes on, again and again.
    Crash(Crash),
}

impl Model {
    /// Its name, as scenarios write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Replay(_) => "replay",
            Self::SingleSession(_) => "single-session",
            Self::Retention(_) => "retention",
            Self::LongTermStore(_) => "long-term-store",
            Self::ConcurrentLoad(_) => "concurrent-load",
            Self::OpenLoad(_) => "open-load",
            Self::Resume(_) => "resume",
            Self::TimeTravel(_) => "time-travel",
            Self::Crash(_) => "crash",
        }
    }
}

/// Parameters of [`Model::Replay`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Replay {
    /// Messages of a tail read.
    #[serde(deserialize_with = "at_least_one")]
    pub tail: usize,
    /// Whether conversations are cut where the agent compacted its context; else
    /// they only grow.
    pub honour_compaction: bool,
}

/// Parameters of [`Model::SingleSession`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SingleSession {
    /// Messages of a tail read.
    #[serde(deserialize_with = "at_least_one")]
    pub tail: usize,
    /// Length of the short threads that the long one is compared with.
    #[serde(deserialize_with = "at_least_one")]
    pub short_length: usize,
    /// How many appends to the long thread alternate with appends to short ones.
    #[serde(deserialize_with = "at_least_one")]
    pub pairs: usize,
    /// Fresh processes that open the thread and read its tail.
    #[serde(deserialize_with = "at_least_one")]
    pub cold_opens: usize,
    /// The cache's budget in those processes, in MiB.
    #[serde(deserialize_with = "at_least_one")]
    pub cold_cache_mib: usize,
    /// How many times the whole state is loaded.
    #[serde(deserialize_with = "at_least_one")]
    pub loads: usize,
    /// How many states, evenly spaced, are read back whole.
    #[serde(deserialize_with = "at_least_one")]
    pub verified_states: usize,
    /// Lengths at which the full-snapshot variant writes its states.
    pub snapshot_lengths: Vec<usize>,
    /// How many consecutive states it writes at each.
    #[serde(deserialize_with = "at_least_one")]
    pub snapshot_repeats: usize,
}

/// Parameters of [`Model::Retention`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retention {
    /// Bytes of a value that every step replaces; 0 for none.
    pub scratch_bytes: usize,
    /// Steps between two samples of memory and storage.
    #[serde(deserialize_with = "at_least_one")]
    pub sample_every: usize,
    /// Share of the steps, from the start, that the slopes leave out.
    pub settle_share: f64,
    /// Steps of a variant that keeps every whole state: it would need more room than there
    /// is for all of them.
    #[serde(deserialize_with = "at_least_one")]
    pub unbounded_steps: usize,
}

/// Parameters of [`Model::ConcurrentLoad`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConcurrentLoad {
    /// How often all clients load, each time with an engine that has read nothing.
    #[serde(deserialize_with = "at_least_one")]
    pub rounds: usize,
}

/// Parameters of [`Model::OpenLoad`]. The rate is the load's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OpenLoad {
    /// How many operations arrive.
    #[serde(deserialize_with = "at_least_one")]
    pub operations: usize,
    /// Share of them that load a whole newest state; the others commit.
    #[serde(deserialize_with = "super::share")]
    pub load_share: f64,
}

/// Parameters of [`Model::Resume`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resume {
    /// Fresh processes that go on, one after the other.
    #[serde(deserialize_with = "at_least_one")]
    pub restarts: usize,
    /// Steps of every thread that each of them adds; the process before them made all
    /// others.
    #[serde(deserialize_with = "at_least_one")]
    pub steps: usize,
}

/// Parameters of [`Model::TimeTravel`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TimeTravel {
    /// Old states that are read.
    #[serde(deserialize_with = "at_least_one")]
    pub reads: usize,
    /// States that are made from an old one by another message at its end.
    #[serde(deserialize_with = "at_least_one")]
    pub forks: usize,
    /// States that are made from an old one by another message in its middle.
    #[serde(deserialize_with = "at_least_one")]
    pub edits: usize,
}

/// Parameters of [`Model::Crash`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Crash {
    /// How many processes are killed, unless all is committed before.
    #[serde(deserialize_with = "at_least_one")]
    pub kills: usize,
    /// The most milliseconds that a process commits before it is killed.
    #[serde(deserialize_with = "at_least_one")]
    pub most_ms: usize,
}
