//! Looks at what a run would find here, and says what to do about what is missing.

mod machine;

use std::fmt;
use std::path::Path;

use chunkpoint_core::backend::Durability;
use clap::ValueEnum as _;

use crate::error::{Error, Result};
use crate::run::Service;
use crate::subject::{BackendKind, Site, own, peer};
use crate::table::Table;

/// What was found about one thing.
#[derive(Debug)]
struct Finding {
    about: &'static str,
    mark: Mark,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// It is not there, and need not be.
    Missing,
    /// Results will be worse for it.
    Warning,
    /// A run would fail.
    Bad,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "ok",
            Self::Missing => "missing",
            Self::Warning => "warning",
            Self::Bad => "REQUIRED",
        })
    }
}

/// Prints what there is; `directory` is where runs would keep their data. Whether all that
/// `CHUNKPOINT_REQUIRE_SERVICES` lists is there.
///
/// # Errors
/// I/O errors in `directory`.
pub fn examine(directory: &Path) -> Result<bool> {
    std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
    println!("Backends (each server is started, asked, and stopped again):");
    let mut all = Vec::new();
    for backend in BackendKind::value_variants() {
        if *backend == BackendKind::Own && own::registered().is_none() {
            continue;
        }
        all.push((backend.to_string(), backend_at(*backend, directory)?));
    }
    let mut rows = Table::new(["", "", ""]).words(3);
    for (name, finding) in &all {
        rows.row([name.clone(), finding.mark.to_string(), finding.text.clone()]);
    }
    let peers = peers();
    rows.row([
        "langgraph".to_string(),
        peers.mark.to_string(),
        peers.text.clone(),
    ]);
    print_rows(&rows);

    println!("\nThe machine, and what would spoil a measurement on it:");
    let mut rows = Table::new(["", "", ""]).words(3);
    let findings = machine::examine(directory)?;
    for finding in &findings {
        rows.row([
            finding.about.to_string(),
            finding.mark.to_string(),
            finding.text.clone(),
        ]);
    }
    print_rows(&rows);
    let warnings = findings
        .iter()
        .filter(|one| one.mark == Mark::Warning)
        .count();
    let missing = |mark| all.iter().filter(|(_, one)| one.mark == mark).count();
    let (absent, required) = (missing(Mark::Missing), missing(Mark::Bad));
    println!(
        "\n{} of {} backends can be measured here; {warnings} warnings about the machine.",
        all.len() - absent - required,
        all.len(),
    );
    let required = required + usize::from(peers.mark == Mark::Bad);
    Ok(required == 0)
}

/// Without the table's own empty head.
fn print_rows(table: &Table) {
    let text = table.to_text();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        println!("  {}", line.trim_end());
    }
}

fn backend_at(backend: BackendKind, directory: &Path) -> Result<Finding> {
    let about = "backend";
    let site = |service: &Service| Site {
        kind: backend,
        durability: Durability::default(),
        directory: directory.join("chunkpoint-doctor"),
        server: service.server(),
    };
    let service = match Service::provide(backend, directory)? {
        Ok(service) => service,
        Err(missing) => {
            let mark = match missing.required {
                true => Mark::Bad,
                false => Mark::Missing,
            };
            let text = format!("{missing}. {}", advice(backend));
            return Ok(Finding { about, mark, text });
        }
    };
    let site = site(&service);
    let described = service.describe(&site);
    let removed = std::fs::remove_dir_all(&site.directory);
    if site.directory.exists() {
        removed.map_err(|e| Error::io("remove", &site.directory, e))?;
    }
    let (mark, text) = match described {
        Ok(Some(info)) => (Mark::Good, info.version),
        Ok(None) => (Mark::Good, "needs nothing".into()),
        Err(e) => (Mark::Bad, e.to_string()),
    };
    Ok(Finding { about, mark, text })
}

/// How to get a server.
fn advice(backend: BackendKind) -> String {
    let package = match backend {
        BackendKind::Postgres => "postgresql",
        BackendKind::MySql => "mariadb-server",
        BackendKind::Redis => "redis-server",
        BackendKind::MongoDb => {
            return "CHUNKPOINT_MONGODB_URL may name a mongod (Debian has no package); \
                    `cargo install secantus-mdb` gives a server that speaks its protocol"
                .into();
        }
        BackendKind::File | BackendKind::Memory | BackendKind::Sqlite | BackendKind::Own => {
            return String::new();
        }
    };
    let containers = match cfg!(feature = "testcontainers") {
        true => "start Docker",
        false => "build with --features testcontainers where Docker runs",
    };
    format!("On Debian: apt-get install {package}. Or {containers}")
}

fn peers() -> Finding {
    let required = std::env::var("CHUNKPOINT_REQUIRE_SERVICES").unwrap_or_default();
    let is_required = required
        .split(',')
        .any(|one| one == "langgraph" || one == "all");
    let (mark, text) = match peer::python::check() {
        Ok(()) => (
            Mark::Good,
            format!(
                "LangGraph's savers in {}",
                peer::python::program().display()
            ),
        ),
        Err(why) if is_required => (Mark::Bad, why),
        Err(why) => (Mark::Missing, why),
    };
    Finding {
        about: "langgraph",
        mark,
        text,
    }
}
