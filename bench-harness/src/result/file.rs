//! Writes results, checks them against the schema, reads them again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Profile, RunResult};
use crate::error::{Error, Result};
use crate::measure::date;

/// The published schema.
const SCHEMA: &str = include_str!("../../../results/schema.json");
/// The schema's name where it lies among the results; it is no result.
const SCHEMA_FILE: &str = "schema.json";
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

/// Writes a result, once it fits the schema, to its place below `root`. An earlier
/// result of the same name is kept.
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
    parse(&path, &json)?;
    replace(&path, &json)?;
    Ok(path)
}

/// Writes a whole file under a temporary name beside its own and renames it, so that a
/// program that is stopped leaves the old file or the new one, and nothing in between.
///
/// # Errors
/// I/O errors.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        // What is left of it is of no use; that it cannot be removed is no other error.
        let _ = std::fs::remove_file(&temporary);
        Error::io("write", path, e)
    })
}

/// Reads one result and checks it.
///
/// # Errors
/// I/O errors; `Input` with the path if it does not fit the schema.
pub fn load(path: &Path) -> Result<RunResult> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    parse(path, &text)
}

/// A result from its text; `path` is for errors.
fn parse(path: &Path, text: &str) -> Result<RunResult> {
    let place = |e: String| Error::Input(format!("{}: {e}", path.display()));
    let value: Value = serde_json::from_str(text).map_err(|e| place(e.to_string()))?;
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
                && path.file_name().is_none_or(|name| name != SCHEMA_FILE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        replace(&path, "old").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        // A directory cannot be replaced by a file: nothing of the attempt stays.
        let taken = dir.path().join("taken");
        std::fs::create_dir_all(taken.join("x")).unwrap();
        assert!(replace(&taken, "new").is_err());
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["a.json", "taken"]);
    }

    #[test]
    fn an_unfinished_file_is_no_result() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.json.17.tmp"), "{").unwrap();
        std::fs::write(dir.path().join("schema.json"), "{}").unwrap();
        assert!(load_all(dir.path()).unwrap().is_empty());
        std::fs::write(dir.path().join("b.json"), "{}").unwrap();
        let message = load_all(dir.path()).unwrap_err().to_string();
        assert!(message.contains("b.json"), "{message}");
    }
}
