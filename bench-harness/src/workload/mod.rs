//! What the variants are given to store, and the oracle their answers are checked
//! against.
//!
//! A workload is a sequence of conversations; a conversation is a sequence of
//! messages, and after each of them the agent saves its state. All of it can be
//! made or read again at any time, one conversation after the other: the harness
//! never holds the whole, so that its own memory does not hide the engine's.
//!
//! The workload of a long-term store is a [`Collection`] of items, made on demand as
//! well, and its oracle the [`ItemOracle`], which knows the revision of each.

mod conversation;
mod document;
mod generator;
mod item_oracle;
mod items;
mod large;
mod quantiles;
mod rng;
mod summary;
mod text;
mod trace;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scenario::{Shape, Source};

pub use conversation::{Conversation, Cut};
pub use generator::Generator;
pub use item_oracle::{ItemOracle, Query, Step, compare};
pub(crate) use items::json_len;
pub use items::{Collection, ItemSummary, Members, Revision, Wanted};
pub use large::{Field, LargeValue, merge};
pub use quantiles::Quantiles;
pub use rng::Rng;
pub use summary::{Spread, Summary};
pub use text::{Lexicon, Script, Sink};
pub use trace::Trace;

/// What a workload amounts to, whatever it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Workload {
    /// Conversations, for checkpoints.
    Conversations(Summary),
    /// Items, for the long-term store.
    Items(ItemSummary),
}

impl Workload {
    /// Of conversations; those of another workload are none.
    pub fn conversations(&self) -> Summary {
        match self {
            Self::Conversations(summary) => summary.clone(),
            Self::Items(_) => Summary::default(),
        }
    }
}

/// The conversations of a workload, one at a time.
pub type Conversations = Box<dyn Iterator<Item = Result<Conversation>> + Send>;

/// A trace to replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TraceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Only so many of its conversations.
    pub most: Option<usize>,
}

/// Opens a workload: `trace` if one is given, else what the scenario describes.
///
/// # Errors
/// `Usage` for an unknown shape; `Input` for a workload of items; I/O errors of the
/// trace file.
pub fn open(
    source: &Source,
    trace: Option<&TraceFile>,
    honour_cuts: bool,
) -> Result<Conversations> {
    if let Some(file) = trace {
        let trace = Trace::open(&file.path)?.take(file.most.unwrap_or(usize::MAX));
        return Ok(Box::new(trace.map(move |read| {
            read.map(|conversation| conversation.with_cuts(honour_cuts))
        })));
    }
    match source {
        Source::Conversations(spec) => {
            let generator = Generator::new(Shape::named(&spec.shape)?, spec.seed);
            let numbers = 0..spec.count as u64;
            Ok(Box::new(numbers.map(move |number| {
                Ok(generator.conversation(number).with_cuts(honour_cuts))
            })))
        }
        Source::Uniform(spec) => {
            let (sessions, spec) = (spec.sessions as u64, spec.clone());
            let session = move |n| Ok(Conversation::uniform(format!("session-{n}"), &spec, n));
            Ok(Box::new((0..sessions).map(session)))
        }
        Source::Items(_) => Err(Error::Input("a workload of items has no messages".into())),
    }
}
