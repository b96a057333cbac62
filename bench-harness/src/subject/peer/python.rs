//! Finds the Python that has LangGraph's savers, or makes one.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// What has to be installed, with exact versions.
const REQUIREMENTS: &str = include_str!("../../../peers/requirements.txt");
/// Names the Python that is used.
const VARIABLE: &str = "CHUNKPOINT_PEERS_PYTHON";
/// Where [`install`] puts one, and where it is found, below the current directory.
pub const DIRECTORY: &str = ".venv-peers";
/// What the peers' program imports.
const IMPORTS: &str = "import langgraph.checkpoint.sqlite, langgraph.checkpoint.postgres, \
                       psycopg, psycopg_pool";

/// The Python that is used: the one that `CHUNKPOINT_PEERS_PYTHON` names, else that of
/// [`DIRECTORY`].
pub fn program() -> PathBuf {
    match std::env::var_os(VARIABLE) {
        Some(named) => named.into(),
        None => interpreter(Path::new(DIRECTORY)),
    }
}

fn interpreter(environment: &Path) -> PathBuf {
    match cfg!(windows) {
        true => environment.join("Scripts").join("python.exe"),
        false => environment.join("bin").join("python"),
    }
}

/// Checks that LangGraph's savers can be driven.
///
/// # Errors
/// Why not, and what to do.
pub fn check() -> Result<(), String> {
    let program = program();
    let advice = format!(
        "`chunkpoint-bench peers` installs one in {DIRECTORY}; {VARIABLE} may name another"
    );
    let tried = Command::new(&program).args(["-c", IMPORTS]).output();
    let why = match tried {
        Ok(done) if done.status.success() => return Ok(()),
        Ok(done) => {
            let text = String::from_utf8_lossy(&done.stderr).into_owned();
            text.trim().lines().last().unwrap_or_default().to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(format!(
        "no Python with LangGraph's savers: {}: {why}; {advice}",
        program.display()
    ))
}

/// Makes a virtual environment with LangGraph's savers in `directory`, with the Python 3
/// that is on the path and its `pip`. One that is there is brought up to date. Gives its
/// interpreter.
///
/// # Errors
/// What could not be run, or what it said last.
pub fn install(directory: &Path) -> Result<PathBuf> {
    let python = if cfg!(windows) { "python" } else { "python3" };
    run(Command::new(python).args(["-m", "venv"]).arg(directory))?;
    let list = directory.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).map_err(|e| Error::io("write", &list, e))?;
    let installed = interpreter(directory);
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ];
    run(Command::new(&installed).args(pip).arg(&list))?;
    Ok(installed)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|source| Error::Io {
        what: format!("run {program}"),
        source,
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Cell(format!(
            "{program} ended with {status}; see above"
        ))),
    }
}
