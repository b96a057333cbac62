//! Runs a scenario and writes its result.

mod print;
mod service;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use chunkpoint_core::backend::Durability;

use self::service::Service;
use crate::cell::{self, Job, Sampling, Stage};
use crate::error::{Error, Result};
use crate::figures;
use crate::measure::{Environment, Revision, timestamp, unix_millis};
use crate::progress::{Display, Progress};
use crate::result::{
    self, BackendInfo, Cell, Outcome, Profile, RunResult, SCHEMA_VERSION, ScenarioInfo, evaluate,
};
use crate::scenario::{Entry, Model, Scenario, Source};
use crate::subject::{BackendKind, Site, Variant, file_config, peer, snapshot_len};
use crate::workload::{self, Collection, ItemSummary, Summary, TraceFile, Workload};

/// What the caller wants of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The backends; empty for the scenario's first.
    pub backends: Vec<BackendKind>,
    /// The variants; empty for all of the scenario's.
    pub variants: Vec<Variant>,
    /// Where cells keep their data while they run.
    pub directory: PathBuf,
    /// A trace to replay.
    pub trace: Option<PathBuf>,
    /// The root of the results.
    pub out: PathBuf,
    /// Whether the scaled-down profile is run.
    pub quick: bool,
    /// Another seed for the generated workload.
    pub seed: Option<u64>,
    /// Another durability.
    pub durability: Option<Durability>,
    /// The most that full snapshots may write.
    pub snapshot_budget_bytes: u64,
    /// The machine's name.
    pub machine: Option<String>,
    /// Whether the oracle is made wrong.
    pub corrupt_oracle: bool,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Done {
    /// Whether every cell ran to its end and every answer was right.
    pub ok: bool,
    /// Whether a budget was missed.
    pub missed: bool,
    /// The results.
    pub paths: Vec<PathBuf>,
}

/// Runs a scenario on each backend, prints what was found, writes the results.
///
/// # Errors
/// `Usage` for options that do not fit the scenario; I/O errors. A cell that fails
/// is in the result.
pub fn run(entry: &Entry, mut scenario: Scenario, options: &Options) -> Result<Done> {
    let trace = prepare(&mut scenario, options)?;
    println!("scenario {} ({})", scenario.name, entry.origin);
    let workload = summarize(&scenario, trace.as_ref())?;
    println!("workload: {}", describe(&workload));
    let mut done = Done {
        ok: true,
        missed: false,
        paths: Vec::new(),
    };
    for &backend in backends(&scenario, options) {
        let run = Run {
            entry,
            scenario: &scenario,
            options,
            trace: &trace,
            workload: &workload,
        };
        let started = unix_millis();
        let Some(service) = Service::find(backend, &options.directory)? else {
            continue;
        };
        let result = run.on(backend, &service, started)?;
        print::print(&result);
        let path = result::write(&options.out, started, &result)?;
        println!("result: {}\n", path.display());
        done.ok &= result.is_ok();
        done.missed |= result
            .expectations
            .iter()
            .any(|e| e.outcome == Outcome::Missed);
        done.paths.push(path);
    }
    Ok(done)
}

/// The backends asked for, or the scenario's first.
fn backends<'a>(scenario: &'a Scenario, options: &'a Options) -> &'a [BackendKind] {
    match options.backends.as_slice() {
        [] => &scenario.cells.backends[..1],
        given => given,
    }
}

/// A durability as scenarios and results write it.
fn name(durability: Durability) -> String {
    json!(durability).as_str().unwrap_or_default().into()
}

/// Applies the options to the scenario, and checks that they fit.
fn prepare(scenario: &mut Scenario, options: &Options) -> Result<Option<TraceFile>> {
    let misfit = |kind: &str, got: String, known: Vec<String>| {
        Error::Usage(format!(
            "scenario {:?} has no {kind} {got:?}; known: {}",
            scenario.name,
            known.join(", ")
        ))
    };
    for backend in &options.backends {
        if !scenario.cells.backends.contains(backend) {
            let known = scenario
                .cells
                .backends
                .iter()
                .map(ToString::to_string)
                .collect();
            return Err(misfit("backend", backend.to_string(), known));
        }
    }
    for variant in &options.variants {
        if !scenario.cells.all().any(|known| known == *variant) {
            let known = scenario
                .cells
                .all()
                .map(|known| known.to_string())
                .collect();
            return Err(misfit("variant", variant.to_string(), known));
        }
    }
    for variant in &options.variants {
        let on = backends(scenario, options);
        if let Some(backend) = on.iter().find(|backend| !variant.is_for(**backend)) {
            return Err(Error::Usage(format!(
                "there is no variant {variant} on the {backend} backend; LangGraph's savers are \
                 driven on memory, sqlite and postgres"
            )));
        }
    }
    if options.trace.is_some() && !matches!(scenario.model, Model::Replay(_)) {
        return Err(Error::Usage(format!(
            "scenario {:?} makes its own workload; --trace is for those that replay",
            scenario.name
        )));
    }
    if let Some(durability) = options.durability {
        for backend in backends(scenario, options) {
            if !backend.durabilities().contains(&durability) {
                let known: Vec<_> = backend.durabilities().iter().map(|d| name(*d)).collect();
                return Err(Error::Usage(format!(
                    "the {backend} backend cannot be {}; known: {}",
                    name(durability),
                    known.join(", ")
                )));
            }
        }
        scenario.cells.durability = durability;
    }
    if options.quick {
        scenario.make_quick()?;
    }
    if let Some(given) = options.seed {
        scenario.workload.set_seed(given);
    }
    let most = scenario.quick.conversations.filter(|_| options.quick);
    Ok(options.trace.clone().map(|path| TraceFile { path, most }))
}

fn describe(workload: &Workload) -> String {
    let bytes = |bytes: u64| figures::format(bytes as f64, figures::Unit::Bytes);
    match workload {
        Workload::Conversations(of) => format!(
            "{} conversations, {} messages, {} of messages, {} as full snapshots",
            of.conversations,
            of.messages,
            bytes(of.raw_bytes),
            bytes(of.snapshot_bytes),
        ),
        Workload::Items(of) => format!(
            "{} items in {} namespaces, {} of values; in turns with {} items",
            of.items,
            of.namespaces,
            bytes(of.raw_bytes),
            of.small_items,
        ),
    }
}

fn summarize(scenario: &Scenario, trace: Option<&TraceFile>) -> Result<Workload> {
    let mut display = Display::new("workload");
    let mut told = Instant::now();
    let mut tell = |label: &str, done| {
        if told.elapsed().as_millis() >= 100 {
            told = Instant::now();
            let label = label.to_string();
            let total = 0;
            display.show(&Progress { label, done, total });
        }
    };
    let workload = match (&scenario.workload, &scenario.model) {
        (Source::Items(spec), Model::LongTermStore(model)) => {
            let all = Collection::new(spec, spec.items, spec.namespaces, 0);
            let summary = all.summarize(|done| tell("items", done))?;
            Workload::Items(ItemSummary {
                small_items: model.small_items as u64,
                ..summary
            })
        }
        (source, model) => {
            let honour_cuts = match model {
                Model::Replay(model) => model.honour_compaction,
                _ => true,
            };
            let conversations = workload::open(source, trace, honour_cuts)?;
            let summary = Summary::of(conversations, |done| tell("messages", done))?;
            if summary.messages == 0 {
                return Err(Error::Input("the workload has no message".into()));
            }
            Workload::Conversations(summary)
        }
    };
    display.finish("read");
    Ok(workload)
}

/// One scenario with its options.
struct Run<'a> {
    entry: &'a Entry,
    scenario: &'a Scenario,
    options: &'a Options,
    trace: &'a Option<TraceFile>,
    workload: &'a Workload,
}

impl Run<'_> {
    fn on(&self, backend: BackendKind, service: &Service, started: u64) -> Result<RunResult> {
        let clock = Instant::now();
        let directory = &self.options.directory;
        std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
        let environment = Environment::detect(directory);
        let scratch = tempfile::Builder::new()
            .prefix("chunkpoint-bench-")
            .tempdir_in(directory)
            .map_err(|e| Error::io("create a directory in", directory, e))?;
        let chosen = |variant: &Variant| {
            self.options.variants.is_empty() || self.options.variants.contains(variant)
        };
        let mut cells: Vec<Cell> = Vec::new();
        let site = Site {
            kind: backend,
            durability: self.durability(backend),
            directory: scratch.path().join("describe"),
            server: service.server(),
        };
        let server = service.describe(&site)?;
        for variant in self.variants(backend).filter(chosen) {
            let baseline = self.scenario.cells.baselines.contains(&variant);
            let cell = match self.obstacle(variant) {
                Some(why) => Cell::skipped(variant, baseline, why),
                None => {
                    let site = Site {
                        directory: scratch.path().join(format!("store-{variant}")),
                        server: service.server(),
                        ..site.clone()
                    };
                    let report = cell::run(&self.job(&site, variant, scratch.path())?)?;
                    service.clear(&site)?;
                    Cell::of(report, baseline)?
                }
            };
            let store = scratch.path().join(format!("store-{variant}"));
            if store.exists() {
                std::fs::remove_dir_all(&store).map_err(|e| Error::io("remove", &store, e))?;
            }
            cells.push(cell);
        }
        let machine = self
            .options
            .machine
            .clone()
            .unwrap_or_else(|| environment.machine());
        let mut result = RunResult {
            schema_version: SCHEMA_VERSION,
            started: timestamp(started),
            wall_s: clock.elapsed().as_secs_f64(),
            harness: Revision::detect(),
            scenario: self.info(backend)?,
            backend: BackendInfo {
                kind: backend,
                durability: self.durability(backend),
                config: self.config(&site),
                server,
            },
            machine,
            environment,
            workload: self.workload.clone(),
            cells,
            expectations: Vec::new(),
            warnings: Vec::new(),
        };
        result.warnings = self.warnings(&result);
        result.expectations = evaluate(&self.scenario.expect, backend, &result.figures());
        Ok(result)
    }

    /// The least durability that the backend can be asked for and that is what was asked
    /// for; if there is none, its most.
    fn durability(&self, backend: BackendKind) -> Durability {
        let asked = self.scenario.cells.durability;
        let can = backend.durabilities();
        let enough = can.iter().find(|can| **can >= asked).or(can.last());
        enough.copied().unwrap_or_default()
    }

    /// The scenario's variants that there are on a backend.
    fn variants(&self, backend: BackendKind) -> impl Iterator<Item = Variant> {
        let all = self.scenario.cells.all();
        all.filter(move |variant| variant.is_for(backend))
    }

    /// Why a variant cannot run; `None` if it can.
    fn obstacle(&self, variant: Variant) -> Option<String> {
        match variant {
            Variant::Floor if self.scenario.load.clients > 1 => {
                Some("the floor needs the bytes of each commit, which only one client gives".into())
            }
            Variant::LangGraph => peer::python::check().err(),
            _ => None,
        }
    }

    fn job(&self, site: &Site, variant: Variant, scratch: &Path) -> Result<Job> {
        let desk = scratch.join(format!("desk-{variant}"));
        std::fs::create_dir_all(&desk).map_err(|e| Error::io("create", &desk, e))?;
        Ok(Job {
            scenario: self.scenario.clone(),
            site: site.clone(),
            variant,
            stages: Stage::of(&self.scenario.model, site.kind, variant),
            repetition: 0,
            sampling: self.sampling(variant),
            desk,
            trace: self.trace.clone(),
            workload: self.workload.clone(),
            corrupt_oracle: self.options.corrupt_oracle,
        })
    }

    /// Full snapshots are sampled where all of them would exceed the budget.
    fn sampling(&self, variant: Variant) -> Sampling {
        if !variant.writes_whole_states() {
            return Sampling::All;
        }
        let workload = self.workload.conversations();
        let total = snapshot_len(workload.snapshot_messages, workload.snapshot_bytes);
        let budget = self.options.snapshot_budget_bytes.max(1);
        match &self.scenario.model {
            Model::SingleSession(_) => Sampling::AtLengths,
            _ if total <= budget => Sampling::All,
            _ => Sampling::Every(total.div_ceil(budget)),
        }
    }

    fn info(&self, backend: BackendKind) -> Result<ScenarioInfo> {
        let scenario = self.scenario;
        let trace = self.trace.as_ref().and_then(|trace| trace.path.file_name());
        let seed = scenario.workload.seed();
        let params = json!({
            "workload": &scenario.workload,
            "load": scenario.load,
            "settings": &scenario.settings,
            "model": &scenario.model,
            "snapshot-budget-bytes": self.options.snapshot_budget_bytes,
        });
        Ok(ScenarioInfo {
            name: scenario.name.clone(),
            blake3: self.entry.hash(),
            profile: if self.options.quick {
                Profile::Quick
            } else {
                Profile::Full
            },
            trace: trace.map(|name| name.to_string_lossy().into_owned()),
            seed: self.trace.is_none().then_some(seed),
            description: scenario.description.trim().into(),
            analysis: scenario.analysis.trim().into(),
            params,
            variants: self.variants(backend).collect(),
        })
    }

    /// The scenario's settings, and what the backend sets by the process's limits.
    fn config(&self, site: &Site) -> serde_json::Value {
        let mut config = json!(&self.scenario.settings);
        if let Some(settings) = config.as_object_mut() {
            settings.retain(|_, value| !value.is_null());
            if site.kind == BackendKind::File {
                let files = file_config(&site.directory, site.durability);
                settings.insert("open-files".into(), files.open_files.into());
            }
        }
        config
    }

    fn warnings(&self, result: &RunResult) -> Vec<String> {
        let mut warnings = Vec::new();
        let memory = ["tmpfs", "ramfs", "rootfs"].contains(&result.environment.filesystem.as_str());
        if memory && result.backend.kind == BackendKind::File {
            let kind = &result.environment.filesystem;
            warnings.push(format!(
                "the directory is on {kind}, which is memory: nothing is durable"
            ));
        }
        if !result.harness.optimised {
            warnings.push("this is a debug build: its times and memory mean nothing".into());
        }
        if result.backend.kind == BackendKind::Memory {
            warnings.push("written and read by one process, as memory does not outlive it".into());
        }
        let (load, cores) = (result.environment.load_average[0], result.environment.cores);
        if load > cores as f64 * 0.5 {
            warnings.push(format!(
                "the machine was busy when the run began: load {load:.1} on {cores} cores"
            ));
        }
        if self.options.trace.is_none() && result.scenario.name.starts_with("trace") {
            warnings.push("no trace was given: generated conversations stand in".into());
        }
        if self.options.corrupt_oracle {
            warnings.push("the oracle was made wrong on purpose".into());
        }
        warnings
    }
}
