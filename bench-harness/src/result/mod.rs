//! Results: one JSON file a run, with a published schema.

mod expect;
mod file;
mod size;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use chunkpoint_core::backend::Durability;

use crate::cell::CellReport;
use crate::error::Result;
use crate::figures;
use crate::measure::{Environment, Io, Percentiles, Phase, Revision, Series};
use crate::subject::{BackendKind, Footprint, Variant};
use crate::workload::Workload;

pub use expect::{Expected, Outcome, evaluate};
pub use file::{load_all, validate, write};
pub use size::{HEADS, by_size};

/// The version of the result format.
pub const SCHEMA_VERSION: u32 = 1;

/// All of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the run began, in UTC.
    pub started: String,
    /// How long it took.
    pub wall_s: f64,
    /// What measured, and what was measured.
    pub harness: Revision,
    /// The scenario.
    pub scenario: ScenarioInfo,
    /// The backend.
    pub backend: BackendInfo,
    /// The machine's name in the tree of results.
    pub machine: String,
    /// The machine.
    pub environment: Environment,
    /// What was stored.
    pub workload: Workload,
    /// The cells, in the order they ran.
    pub cells: Vec<Cell>,
    /// What was expected, and what came of it.
    pub expectations: Vec<Expected>,
    /// What else the reader must know.
    pub warnings: Vec<String>,
}

/// The scenario of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioInfo {
    /// Its name.
    pub name: String,
    /// BLAKE3 of its TOML.
    pub blake3: String,
    /// `full`, or `quick` for the scaled-down profile.
    pub profile: Profile,
    /// The trace's file name, where one was replayed.
    pub trace: Option<String>,
    /// The workload's seed, where it was generated.
    pub seed: Option<u64>,
    /// What it stands for.
    pub description: String,
    /// How to read its results.
    pub analysis: String,
    /// Its parameters as they were run.
    pub params: serde_json::Value,
    /// All that it compares, whether they ran or not.
    pub variants: Vec<Variant>,
}

/// How much of a scenario was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// All of it.
    Full,
    /// Scaled down.
    Quick,
}

/// The backend of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendInfo {
    /// Which.
    pub kind: BackendKind,
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// Settings that are not the default's, and those that depend on the process's
    /// limits: of files, `open-files`, how many are kept open.
    pub config: serde_json::Value,
    /// The database, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerInfo>,
}

/// What a database says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerInfo {
    /// Its name and version.
    pub version: String,
    /// Settings that decide how durable it is, and how much it keeps in memory.
    pub settings: BTreeMap<String, String>,
}

/// One variant's part of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The variant.
    pub variant: Variant,
    /// Whether it is a baseline.
    pub baseline: bool,
    /// Its phases.
    pub phases: Vec<Phase>,
    /// Its operations.
    pub ops: BTreeMap<String, OpResult>,
    /// Its figures.
    pub figures: BTreeMap<String, f64>,
    /// Traffic of its write stage.
    pub io: Option<Io>,
    /// What it left at rest.
    pub storage: Option<Footprint>,
    /// Its series.
    pub series: Vec<Series>,
    /// Whether it is to be believed.
    pub verdict: Verdict,
}

/// One operation of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpResult {
    /// How many were done.
    pub count: u64,
    /// Service times in nanoseconds.
    pub latency_ns: Percentiles,
    /// The whole histogram: HdrHistogram V2, deflated, base64.
    pub hdr: String,
}

/// Whether a cell is to be believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whether it ran to its end and every answer was right.
    pub ok: bool,
    /// Why it was not run; `None` if it was.
    pub skipped: Option<String>,
    /// Answers compared with the oracle.
    pub checked: u64,
    /// Why it is not `ok`, if it was run.
    pub failures: Vec<String>,
    /// What the reader must know.
    pub notes: Vec<String>,
}

impl Cell {
    /// The result of a cell that ran.
    ///
    /// # Errors
    /// If a histogram cannot be encoded.
    pub fn of(report: CellReport, baseline: bool) -> Result<Self> {
        let mut ops = BTreeMap::new();
        for (name, latency) in report.ops {
            let op = OpResult {
                count: latency.count(),
                latency_ns: latency.percentiles(),
                hdr: latency.encode()?,
            };
            ops.insert(name, op);
        }
        Ok(Self {
            variant: report.variant,
            baseline,
            phases: report.phases,
            ops,
            figures: report.figures,
            io: report.io,
            storage: report.storage,
            series: report.series,
            verdict: Verdict {
                ok: report.failures.is_empty(),
                skipped: None,
                checked: report.checked,
                failures: report.failures,
                notes: report.notes,
            },
        })
    }

    /// The result of a cell that cannot be run.
    pub fn skipped(variant: Variant, baseline: bool, why: String) -> Self {
        Self {
            variant,
            baseline,
            phases: Vec::new(),
            ops: BTreeMap::new(),
            figures: BTreeMap::new(),
            io: None,
            storage: None,
            series: Vec::new(),
            verdict: Verdict {
                ok: false,
                skipped: Some(why),
                checked: 0,
                failures: Vec::new(),
                notes: Vec::new(),
            },
        }
    }
}

impl RunResult {
    /// All figures under their full names. A cell that failed has none: its
    /// numbers are not to be compared.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut all: BTreeMap<_, _> = figures::of_workload(&self.workload).into_iter().collect();
        for cell in self.cells.iter().filter(|cell| cell.verdict.ok) {
            let named = cell.figures.iter();
            all.extend(named.map(|(name, &value)| (format!("{}.{name}", cell.variant), value)));
        }
        all
    }

    /// The cell of a variant.
    pub fn cell(&self, variant: Variant) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.variant == variant)
    }

    /// Whether every cell that was run is to be believed.
    pub fn is_ok(&self) -> bool {
        self.cells
            .iter()
            .all(|cell| cell.verdict.ok || cell.verdict.skipped.is_some())
    }
}
