//! The parent's side of a cell: starts children, shows their progress, puts their
//! reports together.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{COMMAND, Job, Report, Stage};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::measure::{Io, Latency, Phase, Series};
use crate::progress::{Display, Progress};
use crate::scenario::Model;
use crate::subject::{BackendKind, Footprint, Ledger, Variant};
use crate::workload::Rng;

/// Lines of a child's standard error that are quoted if it dies.
const LAST_LINES: usize = 8;
/// How often it is looked whether a child that is to be killed has begun.
const POLL: Duration = Duration::from_millis(1);

/// What all processes of a cell found.
#[derive(Debug)]
pub struct CellReport {
    /// The variant.
    pub variant: Variant,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Latencies by operation.
    pub ops: BTreeMap<String, Latency>,
    /// Figures by name; of one that several processes measured, the greatest.
    pub figures: BTreeMap<String, f64>,
    /// Series.
    pub series: Vec<Series>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Answers compared with the oracle.
    pub checked: u64,
    /// Traffic of the write stage.
    pub io: Option<Io>,
    /// What is at rest.
    pub storage: Option<Footprint>,
    /// Why the cell failed; empty if it did not.
    pub failures: Vec<String>,
}

/// Runs a cell. A cell that fails is a report with failures, not an error.
///
/// # Errors
/// If the program cannot run itself.
pub fn run(job: &Job) -> Result<CellReport> {
    let mut cell = CellReport {
        variant: job.variant,
        phases: Vec::new(),
        ops: BTreeMap::new(),
        figures: BTreeMap::new(),
        series: Vec::new(),
        notes: Vec::new(),
        checked: 0,
        io: None,
        storage: None,
        failures: Vec::new(),
    };
    let title = format!(
        "{} · {} · {}",
        job.scenario.name, job.site.kind, job.variant
    );
    let mut display = Display::new(&title);
    let mut kills = 0;
    for process in processes(job) {
        let is_crash = process.kill_after.is_some();
        let job = Job {
            stages: process.stages,
            repetition: process.repetition,
            ..job.clone()
        };
        match run_child(&job, &mut display, process.kill_after)? {
            Some(report) => {
                cell.take(report)?;
                if is_crash && cell.failures.is_empty() {
                    cell.notes.push(format!(
                        "all was committed before kill {}",
                        job.repetition + 1
                    ));
                }
            }
            None => kills += 1,
        }
        if !cell.failures.is_empty() {
            break;
        }
    }
    if matches!(job.scenario.model, Model::Crash(_)) {
        cell.figures.insert("kills".into(), f64::from(kills));
    }
    for (op, latency) in &cell.ops {
        let p = latency.percentiles();
        let name = op.replace('-', "_");
        let count = latency.count() as f64;
        for (statistic, value) in [
            ("count", count),
            ("p50_ns", p.p50 as f64),
            ("p99_ns", p.p99 as f64),
            ("max_ns", p.max as f64),
            ("mean_ns", p.mean),
        ] {
            cell.figures.insert(format!("{name}_{statistic}"), value);
        }
        let beside = cell.ops.get(&format!("paired-{op}"));
        if let Some(beside) = beside.filter(|_| p.p50 > 0) {
            let over = beside.percentiles().p50 as f64 / p.p50 as f64;
            cell.figures.insert(format!("{name}_over_floor"), over);
        }
    }
    display.finish(if cell.failures.is_empty() {
        "done"
    } else {
        "FAILED"
    });
    Ok(cell)
}

/// One process of a cell.
struct Process {
    stages: Vec<Stage>,
    /// How many before it did the same.
    repetition: usize,
    /// How long after its first acknowledged commit it is killed.
    kill_after: Option<Duration>,
}

fn processes(job: &Job) -> Vec<Process> {
    let process = |stages, repetition| Process {
        stages,
        repetition,
        kill_after: None,
    };
    if job.site.kind == BackendKind::Memory {
        // What is in memory ends with the process, so there is only one.
        let mut stages = job.stages.clone();
        stages.retain(|stage| *stage != Stage::Cold);
        return vec![process(stages, 0)];
    }
    if let Model::Crash(model) = &job.scenario.model {
        let seed = job.scenario.workload.seed();
        let mut processes = Vec::new();
        for repetition in 0..model.kills {
            let rng = &mut Rng::at(&[seed, repetition as u64, 0x6b69_6c6c]);
            let after = Duration::from_micros(rng.below(model.most_ms * 1000) as u64);
            processes.push(Process {
                kill_after: Some(after),
                ..process(vec![Stage::Crash], repetition)
            });
            processes.push(process(vec![Stage::Recover], repetition));
        }
        processes.push(process(vec![Stage::Verify], 0));
        return processes;
    }
    let mut processes = Vec::new();
    for &stage in &job.stages {
        let count = match &job.scenario.model {
            Model::SingleSession(model) if stage == Stage::Cold => model.cold_opens,
            Model::LongTermStore(model) if stage == Stage::Cold => model.cold_opens,
            Model::Resume(model) if stage == Stage::Resume => model.restarts,
            _ => 1,
        };
        processes.extend((0..count).map(|repetition| process(vec![stage], repetition)));
    }
    processes
}

impl CellReport {
    /// Adds what another run of the same cell found: its latencies, answers, notes and
    /// failures.
    ///
    /// # Errors
    /// Never in practice; see [`Latency::merge`].
    pub fn merge(&mut self, other: Self) -> Result<()> {
        self.add(other.ops, other.notes, other.checked, other.failures)
    }

    fn take(&mut self, report: Report) -> Result<()> {
        self.phases.extend(report.phases);
        for (name, value) in report.figures {
            let kept = self.figures.entry(name).or_insert(value);
            *kept = kept.max(value);
        }
        self.series.extend(report.series);
        self.io = report.io.or(self.io);
        self.storage = report.storage.or(self.storage);
        let decode = |(name, encoded): (String, String)| Ok((name, Latency::decode(&encoded)?));
        let ops: Vec<_> = report.ops.into_iter().map(decode).collect::<Result<_>>()?;
        let failures = report.wrong.into_iter().chain(report.error);
        self.add(ops, report.notes, report.checked, failures)
    }

    fn add(
        &mut self,
        ops: impl IntoIterator<Item = (String, Latency)>,
        notes: Vec<String>,
        checked: u64,
        failures: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        for (name, latency) in ops {
            match self.ops.get_mut(&name) {
                Some(sum) => sum.merge(&latency)?,
                None => {
                    self.ops.insert(name, latency);
                }
            }
        }
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.checked += checked;
        self.failures.extend(failures);
        Ok(())
    }
}

/// Runs one child. One that dies without a report gives a report that says so, one that was
/// killed as it should be gives none.
fn run_child(
    job: &Job,
    display: &mut Display,
    kill_after: Option<Duration>,
) -> Result<Option<Report>> {
    let program = std::env::current_exe().map_err(|source| Error::Io {
        what: "find this program".into(),
        source,
    })?;
    let mut child = Command::new(&program)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Error::io("start", &program, e))?;
    let mut json = serde_json::to_vec(job)
        .map_err(|e| Error::Cell(format!("the job cannot be written as JSON: {e}")))?;
    json.push(b'\n');
    let pipes = (child.stdout.take(), child.stderr.take());
    // Open until the child has ended: see `work`.
    let mut input = child.stdin.take();
    if let Some(input) = &mut input {
        // A child that has died already is reported by its status.
        let _ = input.write_all(&json);
    }
    let child = Arc::new(Mutex::new(child));
    let _under_way = interrupt::guard(&child);
    let killer = kill_after.map(|after| {
        let (child, desk) = (child.clone(), job.desk.clone());
        let from = Ledger::bytes(&desk);
        std::thread::spawn(move || kill(&child, after, || Ledger::bytes(&desk) > from))
    });
    let outcome = converse(pipes, display);
    let waiting = |source| Error::Io {
        what: "wait for the cell's process".into(),
        source,
    };
    let killed = killer.map(|killer| killer.join().is_ok_and(|killed| killed));
    let status = lock(&child).wait().map_err(waiting)?;
    drop(input);
    if interrupt::has_been() {
        return Err(Error::Interrupted);
    }
    let (output, last) = outcome?;
    if let Ok(report) = serde_json::from_slice::<Report>(&output) {
        return Ok(Some(report));
    }
    if killed == Some(true) {
        return Ok(None);
    }
    let last: Vec<_> = last.into();
    Ok(Some(Report {
        error: Some(format!(
            "the cell's process ended with {status}: {}",
            last.join(" | ")
        )),
        ..Report::default()
    }))
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the child a while after it has `begun`, unless it ends before. Whether it was
/// killed.
fn kill(child: &Mutex<Child>, after: Duration, begun: impl Fn() -> bool) -> bool {
    let has_ended = || !matches!(lock(child).try_wait(), Ok(None));
    while !begun() {
        if has_ended() {
            return false;
        }
        std::thread::sleep(POLL);
    }
    std::thread::sleep(after);
    !has_ended() && lock(child).kill().is_ok()
}

/// Shows progress until the child is silent, takes its answer.
fn converse(
    (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
    display: &mut Display,
) -> Result<(Vec<u8>, VecDeque<String>)> {
    let failed = |source| Error::Io {
        what: "talk to the cell's process".into(),
        source,
    };
    let missing = || Error::Cell("the cell's process has no pipes".into());
    // The answer may be larger than a pipe holds: it is taken on another thread.
    let mut stdout = stdout.ok_or_else(missing)?;
    let answer = std::thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).map(|_| output)
    });
    let mut last = VecDeque::new();
    for line in BufReader::new(stderr.ok_or_else(missing)?).lines() {
        let line = line.map_err(failed)?;
        if let Some(progress) = Progress::parse(&line) {
            display.show(&progress);
            continue;
        }
        display.line(&line);
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    let output = answer
        .join()
        .map_err(|_| Error::Cell("a thread panicked".into()))?;
    Ok((output.map_err(failed)?, last))
}
