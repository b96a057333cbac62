//! Writes results, checks them against the schema, reads them again.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Profile, RunResult};
use crate::error::{Error, Result};
use crate::measure::date;

/// The published schema.
const SCHEMA: &str = include_str!("../../../results/schema.json");
/// Problems that one error message lists.
const MOST_PROBLEMS: usize = 5;

/// Checks a result against the published schema.
///
/// # Errors
/// `Input` with the first few places that do not fit.
pub fn validate(result: &Value) -> Result<()> {
    static VALIDATOR: OnceLock<Result<jsonschema::Validator, String>> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| {
        let schema: Value = serde_json::from_str(SCHEMA).map_err(|e| e.to_string())?;
        jsonschema::validator_for(&schema).map_err(|e| e.to_string())
    });
    let validator = validator
        .as_ref()
        .map_err(|e| Error::Cell(format!("results/schema.json is no schema: {e}")))?;
    let problems: Vec<_> = validator
        .iter_errors(result)
        .take(MOST_PROBLEMS)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Input(format!(
        "the result does not fit its schema: {}",
        problems.join("; ")
    )))
}

/// Writes a result to its place below `root`, and reads it back to check it
/// against the schema. An earlier result of the same name is kept.
///
/// `started_ms` is when the run began, in milliseconds since 1970.
///
/// # Errors
/// I/O errors; `Input` if the result does not fit the schema.
pub fn write(root: &Path, started_ms: u64, result: &RunResult) -> Result<PathBuf> {
    let directory = root.join(date(started_ms)).join(&result.machine);
    std::fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
    let profile = match result.scenario.profile {
        Profile::Full => "",
        Profile::Quick => "-quick",
    };
    let stem = format!(
        "{}{profile}--{}--{}",
        result.scenario.name,
        result.backend.kind,
        result.harness.label()
    );
    let path = (1_u32..)
        .map(|n| {
            if n == 1 {
                format!("{stem}.json")
            } else {
                format!("{stem}.{n}.json")
            }
        })
        .map(|name| directory.join(name))
        .find(|path| !path.exists())
        .unwrap_or_else(|| directory.join(&stem));
    let mut json = serde_json::to_string_pretty(result)
        .map_err(|e| Error::Cell(format!("the result cannot be written as JSON: {e}")))?;
    json.push('\n');
    std::fs::write(&path, json).map_err(|e| Error::io("write", &path, e))?;
    load(&path)?;
    Ok(path)
}

/// Reads one result and checks it.
fn load(path: &Path) -> Result<RunResult> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let place = |e: String| Error::Input(format!("{}: {e}", path.display()));
    let value: Value = serde_json::from_str(&text).map_err(|e| place(e.to_string()))?;
    validate(&value).map_err(|e| place(e.to_string()))?;
    serde_json::from_value(value).map_err(|e| place(e.to_string()))
}

/// Reads all results below `root`, in the order of their paths.
///
/// # Errors
/// I/O errors; `Input` with the path of a result that does not fit the schema.
pub fn load_all(root: &Path) -> Result<Vec<(PathBuf, RunResult)>> {
    let mut paths = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        let failed = |e| Error::io("read", &directory, e);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                left.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && directory != root
            {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| load(&path).map(|result| (path, result)))
        .collect()
}
