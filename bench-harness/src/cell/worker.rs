//! The child's side of a cell.

use std::io::{BufRead, Write};

use super::{Job, Report};
use crate::error::{Error, Result};
use crate::model::Bench;

/// Reads a job, one line of `input`, does it, writes the report to `output`. The parent keeps
/// `input` open as long as it wants the report: when it ends first, however it ends, so does
/// this process.
///
/// A job that fails still gives a report, which says why.
///
/// # Errors
/// If the job cannot be read, or the report not be written.
pub async fn work(mut input: impl BufRead + Send + 'static, mut output: impl Write) -> Result<()> {
    let mut text = String::new();
    let failed = |what: &str| {
        let what = what.to_string();
        move |source| Error::Io { what, source }
    };
    input.read_line(&mut text).map_err(failed("read the job"))?;
    std::thread::spawn(move || {
        // Nothing more is sent: this ends when the parent has.
        let _ = input.read_to_end(&mut Vec::new());
        std::process::exit(ORPHANED);
    });
    let job: Job = serde_json::from_str(&text)
        .map_err(|e| Error::Input(format!("standard input holds no job: {e}")))?;
    let report = perform(&job).await?;
    let json = serde_json::to_vec(&report)
        .map_err(|e| Error::Cell(format!("the report cannot be written as JSON: {e}")))?;
    output
        .write_all(&json)
        .and_then(|()| output.flush())
        .map_err(failed("write the report"))
}

/// Exit code of a child whose parent has gone.
const ORPHANED: i32 = 1;

async fn perform(job: &Job) -> Result<Report> {
    let mut bench = Bench::new(job);
    let mut error = None;
    for &stage in &job.stages {
        bench.recorder.stage(stage.name());
        if let Err(e) = bench.run(stage).await {
            error = Some(format!("{} stage: {e}", stage.name()));
            break;
        }
    }
    let (io, storage, wrong) = (bench.io, bench.storage, bench.wrong);
    Ok(Report {
        io,
        storage,
        wrong,
        error,
        ..Report::of(bench.recorder)?
    })
}
