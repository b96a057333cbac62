//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use chunkpoint_core::backend::Durability;

use crate::error::{Error, Result};
use crate::figures::{CELL, ITEMS, WORKLOAD};
use crate::scenario::Catalogue;
use crate::subject::{BackendKind, Variant, peer};
use crate::{cell, report, run};

/// The directory of scenarios that take precedence over those built in.
const SCENARIOS: &str = "scenarios";
/// Exit code of a run in which an answer was wrong or a cell failed.
const FAILED: u8 = 3;
/// Exit code of a strict run in which a budget was missed.
const MISSED: u8 = 4;

/// Measures Chunkpoint: memory, latency and storage, every answer checked.
#[derive(Debug, Parser)]
#[command(name = "chunkpoint-bench", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  chunkpoint-bench list                            what can be run, and why
  chunkpoint-bench run quick                       a first look, under two minutes
  chunkpoint-bench run trace-replay --trace conversations.jsonl.zst
  chunkpoint-bench run single-session --quick --variant default --variant floor
  chunkpoint-bench run long-term-store --quick     items, patches, searches
  chunkpoint-bench report                          make results/README.md
  chunkpoint-bench peers                           install what `langgraph` measures

Build with --release: a debug build measures the compiler.

Exit codes: 0 done, 1 could not run, 2 wrong usage, 3 a cell failed or an answer was
wrong, 4 a budget was missed (with --strict only).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the scenarios with what they stand for.
    List {
        /// Lists the figures that expectations can name, too.
        #[arg(long)]
        figures: bool,
    },
    /// Runs a scenario: every variant in fresh processes, on fresh storage.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Makes the report from all results below a directory.
    Report {
        /// The directory of the results; the report is its README.md.
        #[arg(default_value = "results")]
        results: PathBuf,
    },
    /// Installs LangGraph's own savers, for the variant `langgraph`, with Python's venv and pip.
    Peers {
        /// Where. `run` finds the default place when it is called in this directory, another
        /// one when CHUNKPOINT_PEERS_PYTHON names its interpreter.
        #[arg(long, default_value = peer::python::DIRECTORY)]
        dir: PathBuf,
    },
    /// Does one cell's work: a job on standard input, the report on standard output.
    #[command(hide = true, name = cell::COMMAND)]
    Cell,
}

const RUN_EXAMPLES: &str = "\
Variants:
  default        the engine as a program uses it
  whole-value    the engine, handed the whole list at every step
  full-snapshot  the whole state at every step, on the same backend: the \"before\"
  floor          bare files, or a database's bare driver, moving the bytes that the
                 default variant moved
  no-op          no storage: the harness's own cost
  langgraph      LangGraph's own saver for the backend, in a process of Python: the peer
                 (memory, sqlite, postgres; install it with `chunkpoint-bench peers`)

Examples:
  chunkpoint-bench run quick
  chunkpoint-bench run quick --backend memory
  chunkpoint-bench run single-session --quick --backend sqlite --backend postgres
  chunkpoint-bench run trace-replay --trace conversations.jsonl.zst --dir /mnt/disk
  chunkpoint-bench run retention --quick --durability process
  chunkpoint-bench run long-term-store --backend file --backend memory
  chunkpoint-bench run quick --corrupt-oracle      must end with exit code 3

Servers: CHUNKPOINT_POSTGRES_URL and CHUNKPOINT_MYSQL_URL name them; else one that is
installed here is started on a private port, in a directory below --dir, and ends with the
run. One that cannot be had is named and skipped; CHUNKPOINT_REQUIRE_SERVICES=postgres,mysql
(or all) makes that an error.

The directory given with --dir should be on the device that is to be measured: where it
is memory (tmpfs), durability means nothing, and the result says so.";

#[derive(Debug, Args)]
struct RunArgs {
    /// The scenario's name; see `list`.
    scenario: String,
    /// The backend; may be given again. Default: the scenario's first.
    #[arg(long = "backend", value_name = "BACKEND")]
    backends: Vec<BackendKind>,
    /// The variant; may be given again. Default: all of the scenario.
    #[arg(long = "variant", value_name = "VARIANT")]
    variants: Vec<Variant>,
    /// Where cells keep their data while they run. Default: the system's directory
    /// for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Replays these conversations, JSON lines or zstd of them.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Where the result goes.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// Runs the scenario's scaled-down profile.
    #[arg(long)]
    quick: bool,
    /// Another seed for the generated workload.
    #[arg(long)]
    seed: Option<u64>,
    /// What an acknowledged commit survives: buffered, process, disk or replicated.
    /// Default: the scenario's.
    #[arg(long, value_parser = parse_durability)]
    durability: Option<Durability>,
    /// The most that full snapshots may write, in GB; beyond it they are sampled.
    #[arg(long, value_name = "GB", default_value_t = 2.0)]
    snapshot_budget_gb: f64,
    /// The machine's name in the tree of results. Default: made from its parts.
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Ends with exit code 4 if a budget is missed.
    #[arg(long)]
    strict: bool,
    /// Makes one bit of the oracle wrong, to prove that a wrong byte is found.
    #[arg(long)]
    corrupt_oracle: bool,
}

/// Parses a durability as scenarios and results write it.
fn parse_durability(text: &str) -> Result<Durability, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "known are buffered, process, disk and replicated".to_string())
}

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(if matches!(e, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::List { figures } => list(figures),
        Command::Run(args) => run(args),
        Command::Report { results } => {
            let path = report::make(&results)?;
            println!("report: {}", path.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Peers { dir } => {
            let python = peer::python::install(&dir)?;
            println!("LangGraph's savers are in {}", python.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Cell => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|source| Error::Io {
                    what: "start the runtime".into(),
                    source,
                })?;
            runtime.block_on(cell::work(
                std::io::stdin().lock(),
                std::io::stdout().lock(),
            ))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run(args: RunArgs) -> Result<ExitCode> {
    let catalogue = Catalogue::open(SCENARIOS.as_ref())?;
    let (entry, scenario) = catalogue.get(&args.scenario)?;
    let options = run::Options {
        backends: args.backends,
        variants: args.variants,
        directory: args.dir.unwrap_or_else(std::env::temp_dir),
        trace: args.trace,
        out: args.out,
        quick: args.quick,
        seed: args.seed,
        durability: args.durability,
        snapshot_budget_bytes: (args.snapshot_budget_gb * 1e9) as u64,
        machine: args.machine,
        corrupt_oracle: args.corrupt_oracle,
    };
    let outcome = run::run(entry, scenario, &options)?;
    Ok(if !outcome.ok {
        ExitCode::from(FAILED)
    } else if args.strict && outcome.missed {
        ExitCode::from(MISSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn list(figures: bool) -> Result<ExitCode> {
    let catalogue = Catalogue::open(SCENARIOS.as_ref())?;
    for entry in catalogue.entries() {
        let scenario = entry.parse()?;
        let model = scenario.model.name();
        let join = |all: Vec<String>| all.join(", ");
        println!("{} ({})", entry.name, entry.origin);
        println!("{}", indent(&scenario.description));
        println!(
            "  model {model}; backends {}; variants {}\n",
            join(
                scenario
                    .cells
                    .backends
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            ),
            join(
                scenario
                    .cells
                    .all()
                    .map(|variant| variant.to_string())
                    .collect()
            )
        );
    }
    if figures {
        println!("Figures of expectations, as workload.<name>:");
        WORKLOAD
            .iter()
            .for_each(|(name, _, about)| println!("  {name:<32} {about}"));
        println!("\nand as <variant>.<name>:");
        CELL.iter()
            .chain(ITEMS)
            .for_each(|(name, _, about)| println!("  {name:<32} {about}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn indent(text: &str) -> String {
    text.trim()
        .lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_takes_its_options() {
        let cli = parse(
            "x run quick --backend file --backend memory --variant no-op --quick --seed 7 \
             --durability process --snapshot-budget-gb 0.5 --trace t --dir d --out o",
        );
        let Command::Run(args) = cli.unwrap().command else {
            panic!("not a run");
        };
        assert_eq!(args.backends, [BackendKind::File, BackendKind::Memory]);
        assert_eq!(args.variants, [Variant::NoOp]);
        assert_eq!(
            (args.seed, args.durability),
            (Some(7), Some(Durability::Process))
        );
        assert!(args.quick && !args.strict);
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_is_known() {
        for (line, known) in [
            ("x run quick --backend cassandra", "memory"),
            ("x run quick --variant fast", "full-snapshot"),
            ("x run quick --durability maybe", "buffered"),
            ("x measure", "report"),
        ] {
            let message = parse(line).unwrap_err().to_string();
            let help = Cli::command().render_help().to_string();
            assert!(
                message.contains(known) || help.contains(known),
                "{line}: {message}"
            );
        }
    }
}
