//! Scenarios: what is measured, as data with prose.
//!
//! A scenario is a TOML file that names a workload, the procedure (*model*) that
//! is run on it, the variants it compares and what is expected of them. Unknown
//! fields are errors, and an error names the file, the line and the field.

mod catalogue;
mod items;
mod quick;
mod shape;

use serde::{Deserialize, Serialize};

use chunkpoint_core::backend::Durability;

use crate::figures;
use crate::subject::{BackendKind, Variant};

pub use catalogue::{Catalogue, Entry, Origin};
pub use items::{ItemKind, Items, LongTermStore, Mix};
pub use quick::Quick;
pub use shape::{Kind, Shape, SystemPrompt};

/// The version of the scenario format that this harness reads.
pub const SCHEMA: u32 = 1;

/// A scenario file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The format's version; [`SCHEMA`].
    #[serde(deserialize_with = "known_schema")]
    pub schema: u32,
    /// Its name, which is the file's.
    pub name: String,
    /// What it stands for.
    pub description: String,
    /// How to read its results.
    pub analysis: String,
    /// What is stored.
    pub workload: Source,
    /// How hard the clients push.
    #[serde(default)]
    pub load: Load,
    /// Where, and against what.
    pub cells: Cells,
    /// The engine's settings.
    #[serde(default)]
    pub settings: EngineSettings,
    /// What is done.
    pub model: Model,
    /// What `--quick` makes smaller.
    #[serde(default)]
    pub quick: Quick,
    /// What the results should be.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// What others have published for such work.
    #[serde(default)]
    pub claim: Vec<Claim>,
}

/// A figure that somebody has published, before and after; the report puts what was
/// measured beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What was claimed, in words, and who did.
    pub name: String,
    /// The figure of a cell that it is about, without a variant.
    #[serde(deserialize_with = "known_cell_figure")]
    pub figure: String,
    /// Before: with whole states.
    pub before: f64,
    /// After: as the claim has it done.
    pub after: f64,
}

/// What is stored: where the conversations come from, unless a trace is given; or the
/// items.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Generated conversations of a shape.
    Conversations(Generated),
    /// Sessions of messages of equal size.
    Uniform(Uniform),
    /// Items of a long-term store.
    Items(Items),
}

impl Source {
    /// The seed that it is generated from.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Conversations(spec) => spec.seed,
            Self::Uniform(spec) => spec.seed,
            Self::Items(spec) => spec.seed,
        }
    }

    /// The same from another seed.
    pub fn set_seed(&mut self, seed: u64) {
        match self {
            Self::Conversations(spec) => spec.seed = seed,
            Self::Uniform(spec) => spec.seed = seed,
            Self::Items(spec) => spec.seed = seed,
        }
    }
}

/// Generated conversations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Generated {
    /// The name of the shape.
    pub shape: String,
    /// How many.
    #[serde(deserialize_with = "at_least_one")]
    pub count: usize,
    /// Which of the workloads of that shape.
    pub seed: u64,
}

/// Sessions of messages of equal size.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Uniform {
    /// How many messages a session.
    #[serde(deserialize_with = "at_least_one")]
    pub messages: usize,
    /// Bytes of each, as compact JSON.
    #[serde(deserialize_with = "at_least_one")]
    pub message_bytes: usize,
    /// Which sessions.
    pub seed: u64,
    /// How many sessions.
    #[serde(default = "one", deserialize_with = "at_least_one")]
    pub sessions: usize,
    /// How many channels the messages of a session go to, in turns.
    #[serde(default = "one", deserialize_with = "at_least_one")]
    pub channels: usize,
    /// Keeps only the last messages, as agents do whose context is full.
    pub window: Option<Window>,
}

/// A bound on the messages in a state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The greatest number of messages.
    #[serde(deserialize_with = "at_least_one")]
    pub most: usize,
    /// How many stay when it is reached.
    #[serde(deserialize_with = "at_least_one")]
    pub keep: usize,
}

/// How operations are issued.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Whether a client waits for an answer before it asks again.
    pub model: LoadModel,
    /// How many clients.
    #[serde(deserialize_with = "at_least_one")]
    pub clients: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            model: LoadModel::Closed,
            clients: 1,
        }
    }
}

/// The load models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadModel {
    /// A client issues its next operation when the last has been answered. The
    /// latencies are service times; they say nothing about a given rate.
    Closed,
}

/// The cells of a run: a variant on a backend each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// The backends it makes sense on; the first unless the caller says.
    pub backends: Vec<BackendKind>,
    /// The durability unless the caller says.
    pub durability: Durability,
    /// The variants that are ours.
    pub variants: Vec<Variant>,
    /// The variants they are compared with.
    pub baselines: Vec<Variant>,
}

impl Cells {
    /// Variants and baselines, in the order they run.
    pub fn all(&self) -> impl Iterator<Item = Variant> {
        self.variants.iter().chain(&self.baselines).copied()
    }
}

/// Settings of the engine; what is not given is the engine's default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EngineSettings {
    /// The cache's budget in MiB.
    pub cache_mib: Option<usize>,
    /// How many checkpoints a thread keeps.
    pub max_history: Option<usize>,
    /// Milliseconds between condemning a chunk and removing it.
    pub grace_ms: Option<u64>,
}

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
}

/// Parameters of [`Model::ConcurrentLoad`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConcurrentLoad {
    /// How often all clients load, each time with an engine that has read nothing.
    #[serde(deserialize_with = "at_least_one")]
    pub rounds: usize,
}

/// A budget.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expectation {
    /// What is expected, in words.
    pub name: String,
    /// The figure: `variant.figure` or `workload.figure`.
    #[serde(deserialize_with = "known_figure")]
    pub figure: String,
    /// Subtracted from it: another figure, times a factor.
    pub minus: Option<Scaled>,
    /// Divides what is left.
    #[serde(default, deserialize_with = "known_optional_figure")]
    pub over: Option<String>,
    /// The result may be at most this.
    pub at_most: Option<f64>,
    /// The result must be at least this.
    pub at_least: Option<f64>,
    /// The backends it is about; empty for all.
    #[serde(default)]
    pub backends: Vec<BackendKind>,
}

/// A figure times a factor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaled {
    /// The figure.
    #[serde(deserialize_with = "known_figure")]
    pub figure: String,
    /// The factor.
    pub times: f64,
}

// The checks are part of deserialising, so that a failure knows its line.

fn known_schema<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        SCHEMA => Ok(SCHEMA),
        other => Err(serde::de::Error::custom(format!(
            "schema {other} is not known; this harness reads schema {SCHEMA}"
        ))),
    }
}

fn one() -> usize {
    1
}

fn at_least_one<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        0 => Err(serde::de::Error::custom("must be at least 1")),
        number => Ok(number),
    }
}

fn known_figure<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    figures::check(&name).map_err(serde::de::Error::custom)?;
    Ok(name)
}

fn known_cell_figure<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    figures::check(&format!("{}.{name}", Variant::Default)).map_err(serde::de::Error::custom)?;
    Ok(name)
}

fn known_optional_figure<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    if let Some(name) = &name {
        figures::check(name).map_err(serde::de::Error::custom)?;
    }
    Ok(name)
}
