//! A cell: one variant on one backend, in processes of its own.
//!
//! The program runs itself with a hidden command, hands the child a [`Job`] as
//! JSON on standard input and takes a [`Report`] from its standard output. Memory
//! that one variant has touched, and an allocator it has stretched, are so never
//! another's; and where the backend outlives a process, what is written is read
//! by a process that did not write it.

mod parent;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::measure::{Io, Latency, Phase, Recorder, Series};
use crate::scenario::{Model, Scenario};
use crate::subject::{BackendKind, Footprint, Site, Variant};
use crate::workload::{TraceFile, Workload};

pub use parent::{CellReport, run};
pub use worker::work;

/// The hidden command that a child is started with.
pub const COMMAND: &str = "cell";

/// The parts of a cell; each has a process of its own where the backend lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Fills stores with items.
    Fill,
    /// Commits everything; of a long-term store, all operations that are measured.
    Write,
    /// Opens the thread and reads its tail, once, with a small cache. Of a long-term
    /// store: opens it, gets an item and searches, once.
    Cold,
    /// Loads and tail reads.
    Read,
    /// Reads back every state that the model says, and compares.
    Verify,
    /// Counts what a step sends to a server.
    Wire,
    /// Goes on where another process ended.
    Resume,
    /// Reads old states and makes others from them.
    Travel,
    /// Goes on where another process was killed, until it is killed, too.
    Crash,
    /// Finds what a killed process left.
    Recover,
}

impl Stage {
    /// The stages of a cell, in their order.
    pub fn of(model: &Model, backend: BackendKind, variant: Variant) -> Vec<Self> {
        let mut stages = match model {
            Model::Replay(_) => vec![Self::Write, Self::Read, Self::Verify],
            Model::SingleSession(_) => vec![Self::Write, Self::Cold, Self::Read, Self::Verify],
            // Every answer is compared as it is given.
            Model::ConcurrentLoad(_) => vec![Self::Write, Self::Read],
            Model::OpenLoad(_) => vec![Self::Write, Self::Verify],
            Model::Resume(_) => vec![Self::Write, Self::Resume, Self::Verify],
            Model::TimeTravel(_) => vec![Self::Write, Self::Travel],
            Model::Crash(_) => vec![Self::Crash, Self::Recover, Self::Verify],
            // Its states are gone by the time a second process could look.
            Model::Retention(_) => vec![Self::Write],
            Model::LongTermStore(_) => match variant {
                Variant::Default => vec![Self::Fill, Self::Write, Self::Verify, Self::Cold],
                // It opens and reads as the default does.
                Variant::WholeValue => vec![Self::Fill, Self::Write, Self::Verify],
                // It has nothing that another process could look at.
                _ => vec![Self::Fill, Self::Write],
            },
        };
        let appends = matches!(model, Model::SingleSession(_)) && variant == Variant::Default;
        if backend.is_server() && appends {
            // The last, as it goes on with the thread.
            stages.push(Self::Wire);
        }
        let partly = matches!(model, Model::OpenLoad(_)) && variant == Variant::NoOp;
        if variant == Variant::Floor || partly {
            // Bytes without meaning cannot be verified, nor can what stores nothing tell how
            // much of a conversation it was given.
            stages.retain(|stage| *stage != Self::Verify);
        }
        stages
    }

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Write => "write",
            Self::Cold => "cold",
            Self::Read => "read",
            Self::Verify => "verify",
            Self::Wire => "wire",
            Self::Resume => "resume",
            Self::Travel => "travel",
            Self::Crash => "crash",
            Self::Recover => "recover",
        }
    }
}

/// Which states a variant writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// All.
    All,
    /// Every so many-th of the workload, counted over all conversations.
    Every(u64),
    /// Those at the lengths that the model gives.
    AtLengths,
}

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The scenario, scaled as asked.
    pub scenario: Scenario,
    /// Where, and how durable.
    pub site: Site,
    /// What.
    pub variant: Variant,
    /// Which parts; those of one process.
    pub stages: Vec<Stage>,
    /// How many processes before this one did these parts: 0 is the first.
    pub repetition: usize,
    /// Which states.
    pub sampling: Sampling,
    /// The directory of the ledger and of what else the harness needs meanwhile.
    pub desk: PathBuf,
    /// The trace instead of the scenario's workload.
    pub trace: Option<TraceFile>,
    /// What the workload amounts to.
    pub workload: Workload,
    /// Whether the oracle is made wrong, which every check must find.
    pub corrupt_oracle: bool,
}

/// What a child reports.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The phases.
    pub phases: Vec<Phase>,
    /// Histograms in base64, by operation.
    pub ops: BTreeMap<String, String>,
    /// Figures by name.
    pub figures: BTreeMap<String, f64>,
    /// Series.
    pub series: Vec<Series>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Answers compared.
    pub checked: u64,
    /// Traffic of the write stage.
    pub io: Option<Io>,
    /// What is at rest.
    pub storage: Option<Footprint>,
    /// Answers that were wrong; the first few.
    pub wrong: Vec<String>,
    /// Why the child gave up.
    pub error: Option<String>,
}

impl Report {
    /// Turns what a child recorded into what it sends.
    ///
    /// # Errors
    /// If a histogram cannot be encoded.
    pub fn of(recorder: Recorder) -> Result<Self> {
        let encode = |(name, latency): (String, Latency)| Ok((name, latency.encode()?));
        Ok(Self {
            phases: recorder.phases,
            ops: recorder
                .ops
                .into_iter()
                .map(encode)
                .collect::<Result<_>>()?,
            figures: recorder.figures,
            series: recorder.series,
            notes: recorder.notes,
            checked: recorder.checked,
            ..Self::default()
        })
    }
}
