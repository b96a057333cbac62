//! The commands `compare` and `export`.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::export::{self, Format};
use super::pair::Loaded;
use super::print::{self, Layout};
use super::{Comparison, GateOn};
use crate::error::{Error, Result};
use crate::result::{load, load_all};
use crate::subject::Variant;

/// Exit code of a gate that found a regression.
const REGRESSED: u8 = 5;

/// What `compare` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs are matched by scenario, trace, profile, backend and durability, cells by variant. Bytes,
calls and round trips of a single client are compared as they are. Times and memory are judged
only where both runs repeated every cell (`run --repeats 5`), and where machine, kernel, build
and server are the same; otherwise they are inconclusive, and the reason is told.

Examples:
  chunkpoint-bench compare results/20261125 results/20261201
  chunkpoint-bench compare base.json new.json --all
  chunkpoint-bench compare base new --gate --gate-on deterministic --format markdown")]
pub struct CompareArgs {
    /// The result, or the directory of results, that is compared with.
    base: PathBuf,
    /// The new result, or the directory of new results.
    new: PathBuf,
    /// How it is told.
    #[arg(long, value_enum, default_value = "text")]
    format: Told,
    /// Lists the figures that are unchanged or inconclusive, too.
    #[arg(long)]
    all: bool,
    /// Ends with exit code 5 if something regressed, or a cell fails that did not.
    #[arg(long)]
    gate: bool,
    /// What the gate looks at.
    #[arg(long, value_enum, default_value = "all", requires = "gate")]
    gate_on: GateOn,
}

/// What `export` takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The result, or the directory of results.
    #[arg(default_value = "results")]
    results: PathBuf,
    /// The service's format.
    #[arg(long, value_enum)]
    format: Format,
    /// The variant; may be given again.
    #[arg(long = "variant", value_name = "VARIANT", default_value = "default")]
    variants: Vec<Variant>,
}

/// How a comparison is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Told {
    /// Aligned columns.
    Text,
    /// Tables, for a comment on a pull request.
    Markdown,
    /// Everything, for programs.
    Json,
}

/// Compares, tells, and is the gate.
///
/// # Errors
/// I/O errors; `Input` for a result that does not fit the schema; `Usage` if the two have
/// nothing in common.
pub fn compare(args: CompareArgs) -> Result<ExitCode> {
    let comparison = Comparison::of(read(&args.base)?, read(&args.new)?);
    if comparison.runs.is_empty() {
        let list = |names: &[String]| names.join("; ");
        return Err(Error::Usage(format!(
            "nothing to compare: {} has {}, and {} has {}",
            args.base.display(),
            list(&comparison.only_base),
            args.new.display(),
            list(&comparison.only_new)
        )));
    }
    match args.format {
        Told::Text => tell(&print::print(&comparison, Layout::Text, args.all))?,
        Told::Markdown => tell(&print::print(&comparison, Layout::Markdown, args.all))?,
        Told::Json => tell(&to_json(&comparison)?)?,
    }
    let regressions = comparison.regressions(args.gate_on);
    if args.gate && regressions > 0 {
        eprintln!("gate: {regressions} regressions");
        return Ok(ExitCode::from(REGRESSED));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes results as another service wants them.
///
/// # Errors
/// I/O errors; `Input` for a result that does not fit the schema.
pub fn export(args: ExportArgs) -> Result<ExitCode> {
    let results = read(&args.results)?;
    tell(&export::export(results, &args.variants, args.format)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A result, or all below a directory.
fn read(path: &Path) -> Result<Vec<Loaded>> {
    let results = if path.is_dir() {
        load_all(path)?
    } else {
        vec![(path.to_path_buf(), load(path)?)]
    };
    if results.is_empty() {
        return Err(Error::Usage(format!("no result is in {}", path.display())));
    }
    Ok(results)
}

/// Prints, for as long as somebody reads it.
fn tell(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("write to", Path::new("standard output"), e))
        }
        _ => Ok(()),
    }
}

/// JSON with a line's end.
pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|e| Error::Cell(format!("cannot be written as JSON: {e}")))?;
    Ok(format!("{text}\n"))
}
