//! Runs a scenario and writes its result.

mod cells;
mod print;
mod service;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use serde_json::json;

use chunkpoint_core::backend::Durability;

pub(crate) use self::service::Service;
use crate::error::{Error, Result};
use crate::figures;
use crate::measure::{Environment, Revision, timestamp, unix_millis};
use crate::progress::{Display, Progress};
use crate::result::{
    self, BackendInfo, Expected, Outcome, Profile, RunResult, SCHEMA_VERSION, ScenarioInfo,
    evaluate,
};
use crate::scenario::{Catalogue, Entry, Model, Scenario, Source};
use crate::subject::{BackendKind, Site, Variant, file_config, own};
use crate::table::Table;
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
    /// How often every cell runs.
    pub repeats: usize,
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
    let prepared = Prepared::new(entry, &mut scenario, options)?;
    let mut done = Done::new();
    for &backend in backends(&prepared.scenario, options) {
        let found = Service::find(backend, &options.directory)?;
        if let Some(service) = found {
            done.add(prepared.on(backend, &service, options)?);
        }
    }
    Ok(done)
}

/// Runs every scenario on every backend that it is for and that can be had, or on those
/// asked for. Servers are started once.
///
/// # Errors
/// I/O errors; a server that has to be there and is not. A cell that fails is in its
/// result and does not stop the others.
pub fn run_all(catalogue: &Catalogue, options: &Options) -> Result<Done> {
    let clock = Instant::now();
    let (mut done, mut prepared) = (Done::new(), Vec::new());
    for entry in catalogue.entries() {
        let mut scenario = entry.parse()?;
        let of_it = Options {
            // Each has some of the backends and variants.
            backends: Vec::new(),
            variants: Vec::new(),
            trace: options
                .trace
                .clone()
                .filter(|_| entry.name == "trace-replay"),
            ..options.clone()
        };
        prepared.push(Prepared::new(entry, &mut scenario, &of_it)?);
    }
    let all = BackendKind::value_variants().iter().copied();
    let is_there =
        |backend: &BackendKind| *backend != BackendKind::Own || own::registered().is_some();
    let wanted =
        |backend: &BackendKind| options.backends.is_empty() || options.backends.contains(backend);
    let mut table = Table::new(["scenario", "backend", "cells", "budgets", "took"]).words(4);
    for backend in all.filter(is_there).filter(wanted) {
        let Some(service) = Service::find(backend, &options.directory)? else {
            continue;
        };
        let on_it = |one: &&Prepared<'_>| {
            backend == BackendKind::Own || one.scenario.cells.backends.contains(&backend)
        };
        for one in prepared.iter().filter(on_it) {
            let begun = Instant::now();
            let outcome = one.on(backend, &service, options)?;
            table.row(outcome.row(&one.scenario.name, backend, begun.elapsed()));
            done.add(outcome);
        }
    }
    println!("{}", table.to_text());
    println!("all took {:.0} s", clock.elapsed().as_secs_f64());
    Ok(done)
}

impl Done {
    fn new() -> Self {
        Self {
            ok: true,
            missed: false,
            paths: Vec::new(),
        }
    }

    fn add(&mut self, one: Ran) {
        self.ok &= one.failed.is_empty();
        self.missed |= one.missed > 0;
        self.paths.push(one.path);
    }
}

/// What came of one scenario on one backend.
struct Ran {
    cells: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
    budgets: usize,
    missed: usize,
    path: PathBuf,
}

impl Ran {
    fn row(&self, scenario: &str, backend: BackendKind, took: Duration) -> Vec<String> {
        let mut cells = format!("{} ran", self.cells);
        for (what, variants) in [("skipped", &self.skipped), ("FAILED", &self.failed)] {
            if !variants.is_empty() {
                cells += &format!(", {what}: {}", variants.join(", "));
            }
        }
        let met = self.budgets - self.missed;
        vec![
            scenario.into(),
            backend.to_string(),
            cells,
            format!("{met} of {} met", self.budgets),
            format!("{:.1} s", took.as_secs_f64()),
        ]
    }
}

/// A scenario with its options, and what its workload amounts to.
struct Prepared<'a> {
    entry: &'a Entry,
    scenario: Scenario,
    trace: Option<TraceFile>,
    workload: Workload,
}

impl<'a> Prepared<'a> {
    fn new(entry: &'a Entry, scenario: &mut Scenario, options: &Options) -> Result<Self> {
        let trace = prepare(scenario, options)?;
        println!("scenario {} ({})", scenario.name, entry.origin);
        let workload = summarize(scenario, trace.as_ref())?;
        println!("workload: {}", describe(&workload));
        Ok(Self {
            entry,
            scenario: scenario.clone(),
            trace,
            workload,
        })
    }

    /// Runs it on a backend, prints what was found, writes the result.
    fn on(&self, backend: BackendKind, service: &Service, options: &Options) -> Result<Ran> {
        let started = unix_millis();
        let run = Run {
            entry: self.entry,
            scenario: &self.scenario,
            options,
            trace: &self.trace,
            workload: &self.workload,
        };
        let result = run.on(backend, service, started)?;
        print::print(&result);
        let path = result::write(&options.out, started, &result)?;
        println!("result: {}\n", path.display());
        let mut ran = Ran {
            cells: 0,
            failed: Vec::new(),
            skipped: Vec::new(),
            budgets: 0,
            missed: 0,
            path,
        };
        for cell in &result.cells {
            let name = cell.variant.to_string();
            match (&cell.verdict.skipped, cell.verdict.ok) {
                (Some(_), _) => ran.skipped.push(name),
                (None, true) => ran.cells += 1,
                (None, false) => ran.failed.push(name),
            }
        }
        let measured = |e: &&Expected| e.outcome != Outcome::NotMeasured;
        for expected in result.expectations.iter().filter(measured) {
            ran.budgets += 1;
            ran.missed += usize::from(expected.outcome == Outcome::Missed);
        }
        Ok(ran)
    }
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
        if *backend == BackendKind::Own {
            if own::registered().is_none() {
                return Err(Error::Usage(
                    "this program has no backend of its own; bench-harness/README.md, \"A backend \
                     of your own\", says how to make one that has"
                        .into(),
                ));
            }
            continue;
        }
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
                 driven on memory, sqlite, postgres and mysql"
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
        let site = Site {
            kind: backend,
            durability: self.durability(backend),
            directory: scratch.path().join("describe"),
            server: service.server(),
        };
        let server = service.describe(&site)?;
        let cells = self.cells(&site, service, scratch.path())?;
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
        if self.options.repeats > 1 {
            warnings.push(format!(
                "every cell ran {} times, all of them in a random order each time; figures are \
                 medians",
                self.options.repeats
            ));
        }
        if self.options.corrupt_oracle {
            warnings.push("the oracle was made wrong on purpose".into());
        }
        warnings
    }
}
