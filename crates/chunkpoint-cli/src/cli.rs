//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

use chunkpoint::export::Scope;
use chunkpoint::store::Namespace;
use clap::{Args, Parser, Subcommand};

use crate::names::redact_text;
use crate::run::{self, Failure};

/// Exit code of wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Exit code of a comparison that found differences.
pub(crate) const DIFFERENT: u8 = 3;
/// Exit code of a file that is no export, or not all of one.
pub(crate) const BAD_FILE: u8 = 4;
/// Exit code of a target that holds something else under the same name.
pub(crate) const CONFLICT: u8 = 5;
/// Exit code after Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Moves an agent's memory: exports it, imports it, copies it, and proves that a copy is
/// one.
///
/// A memory is named by its URL, and holds checkpoints (the state of every thread after
/// every step) and the long-term store. An export is JSON lines: readable, about as long
/// as the conversations in it, the same whatever backend it comes from.
#[derive(Debug, Parser)]
#[command(name = "chunkpoint", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
URLs:
  file:///var/lib/agents      a directory
  sqlite:///var/lib/a.db      an SQLite file
  postgres://user@host/db     a PostgreSQL database
  mysql://user@host/db        a MySQL or MariaDB database
  redis://user:pw@host/0      Redis, or a node of a Redis Cluster
  mongodb://user:pw@host/db   MongoDB; mongodb+srv:// as well
  memory:                     this process's memory: empty when the command starts

Examples:
  chunkpoint export file:///var/lib/agents agents.jsonl
  chunkpoint export file:///var/lib/agents | zstd > agents.jsonl.zst
  chunkpoint import file:///srv/agents agents.jsonl
  chunkpoint copy file:///var/lib/agents file:///srv/agents
  chunkpoint verify file:///var/lib/agents file:///srv/agents

Whatever was interrupted is started again with the same command: an import or copy
passes over what is there already, after comparing it.

Exit codes: 0 done; 1 could not be done (the message says why); 2 wrong usage; 3 the two
memories differ; 4 the file is no export, or was cut or changed; 5 the target holds
something else under the same name; 130 interrupted with Ctrl-C.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a memory to a file, as JSON lines.
    ///
    /// The file appears under its name when it is whole. The memory may be in use: what
    /// is committed meanwhile may be in the file or not. Pending writes whose checkpoint
    /// does not exist and items that have expired are not in it.
    #[command(after_help = "\
Examples:
  chunkpoint export file:///var/lib/agents agents.jsonl
  chunkpoint export file:///var/lib/agents --threads support- - | gzip > support.gz
  chunkpoint export file:///var/lib/agents --store-only --namespace users.ada ada.jsonl")]
    Export {
        /// The memory's URL.
        url: String,
        /// The file to make; - is standard output.
        #[arg(default_value = "-")]
        file: String,
        /// Replaces the file if it exists.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        talk: Talk,
    },
    /// Takes an export into a memory.
    ///
    /// Ids, times, history, pins, pending writes and hidden records are as they were. What
    /// is there already is compared and passed over, so that an import that was
    /// interrupted, by a crash too, is started again with the same command. Something else
    /// under the same name is an error (exit code 5), and is left as it is.
    #[command(after_help = "\
Examples:
  chunkpoint import file:///srv/agents agents.jsonl
  zstd -dc agents.jsonl.zst | chunkpoint import file:///srv/agents
  chunkpoint import 'file:///srv/agents?durability=process' agents.jsonl    faster: no sync")]
    Import {
        /// The memory's URL.
        url: String,
        /// The file to read; - is standard input.
        #[arg(default_value = "-")]
        file: String,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        talk: Talk,
    },
    /// Copies a memory into another, and verifies the copy.
    ///
    /// As an export and an import without the file between them, followed by `verify`.
    #[command(after_help = "\
Examples:
  chunkpoint copy file:///var/lib/agents file:///srv/agents
  chunkpoint copy --threads support- file:///var/lib/agents file:///srv/support")]
    Copy {
        /// The URL of the memory to copy.
        from: String,
        /// The URL of the memory to copy it to.
        to: String,
        /// Does not read both again afterwards.
        #[arg(long)]
        no_verify: bool,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        talk: Talk,
    },
    /// Compares two memories: every state and every item.
    ///
    /// Reads, and so checks, every byte that is stored on both sides once. Differences go
    /// to standard output, the first 20 in words; then the exit code is 3.
    #[command(after_help = "\
Examples:
  chunkpoint verify file:///var/lib/agents file:///srv/agents
  chunkpoint verify --checkpoints-only file:///var/lib/agents file:///srv/agents")]
    Verify {
        /// The first memory's URL.
        a: String,
        /// The second memory's URL.
        b: String,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        talk: Talk,
    },
    /// Prints the SQL that sets up a database's tables.
    ///
    /// For a database administrator to run, where the role that a memory is opened with
    /// may not create tables; it is opened with setup=check then. That role needs SELECT,
    /// INSERT, UPDATE and DELETE on the tables; on PostgreSQL also USAGE on the schema and
    /// EXECUTE on the functions.
    #[cfg(feature = "sql")]
    #[command(after_help = "\
Examples:
  chunkpoint sql-schema postgres --schema memory | psql agents
  chunkpoint sql-schema mysql --table-prefix agents_ | mysql agents")]
    SqlSchema {
        /// The database.
        database: Database,
        /// PostgreSQL: the schema the tables are in, made if there is none.
        #[arg(long)]
        schema: Option<String>,
        /// What table names start with.
        #[arg(long, default_value = "chunkpoint_")]
        table_prefix: String,
    },
}

/// A database.
#[cfg(feature = "sql")]
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
    Mysql,
}

#[cfg(feature = "sql")]
impl Database {
    fn dialect(self) -> chunkpoint::sql::Dialect {
        use chunkpoint::sql::Dialect;
        match self {
            Self::Sqlite => Dialect::Sqlite,
            Self::Postgres => Dialect::Postgres,
            Self::Mysql => Dialect::MySql,
        }
    }
}

/// Which part of a memory.
#[derive(Debug, Args)]
struct Part {
    /// Of the threads, only those whose id starts with this.
    #[arg(long, value_name = "PREFIX")]
    threads: Option<String>,
    /// Of the store, only items at and below this namespace; full stops stand between its
    /// labels.
    #[arg(long, value_name = "LABEL.LABEL")]
    namespace: Option<String>,
    /// Checkpoints, and no store.
    #[arg(long, conflicts_with_all = ["store_only", "namespace"])]
    checkpoints_only: bool,
    /// The store, and no checkpoints.
    #[arg(long, conflicts_with = "threads")]
    store_only: bool,
}

impl Part {
    fn scope(&self) -> Result<Scope, Failure> {
        let labels: Vec<&str> = match self.namespace.as_deref() {
            None | Some("") => Vec::new(),
            Some(namespace) => namespace.split('.').collect(),
        };
        let namespace = Namespace::new(labels)
            .map_err(|e| Failure::usage(format!("--namespace: {}", e.message())))?;
        let prefix = self.threads.clone().unwrap_or_default();
        Ok(Scope {
            threads: (!self.store_only).then_some(prefix),
            items: (!self.checkpoints_only).then_some(namespace),
        })
    }
}

/// How much to say.
#[derive(Debug, Args)]
struct Talk {
    /// Shows no progress and no summary; errors and differences only.
    #[arg(long, short)]
    quiet: bool,
}

/// The program.
pub(crate) fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // It quotes what it does not expect: that may be a URL with a password.
            let code = if error.use_stderr() { USAGE } else { 0 };
            if error.use_stderr() {
                let text = error.render().to_string();
                let args = args.iter().map(|arg| arg.to_string_lossy());
                eprint!("{}", args.fold(text, |text, arg| redact_text(&text, &arg)));
            } else {
                error.print().ok();
            }
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(interruptible(dispatch(cli.command)));
            // A read of standard input that never ends is not waited for.
            runtime.shutdown_background();
            done
        }
        Err(e) => Err(Failure::other(format!("the runtime does not start: {e}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

async fn interruptible(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        done = work => done,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure {
            code: INTERRUPTED,
            message: "interrupted; the same command again goes on from here".into(),
        }),
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Export {
            url,
            file,
            force,
            part,
            talk,
        } => run::export(&url, &file, force, part.scope()?, talk.quiet).await,
        Command::Import {
            url,
            file,
            part,
            talk,
        } => run::import(&url, &file, part.scope()?, talk.quiet).await,
        Command::Copy {
            from,
            to,
            no_verify,
            part,
            talk,
        } => run::copy(&from, &to, !no_verify, part.scope()?, talk.quiet).await,
        #[cfg(feature = "sql")]
        Command::SqlSchema {
            database,
            schema,
            table_prefix,
        } => run::sql_schema(database.dialect(), schema.as_deref(), &table_prefix),
        Command::Verify { a, b, part, talk } => {
            run::verify(&a, &b, part.scope()?, talk.quiet).await
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_part_is_a_scope() {
        let scope = |line: &str| {
            let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
            let Command::Verify { part, .. } = cli.command else {
                panic!("not a verify");
            };
            part.scope()
        };
        assert_eq!(scope("x verify a b").unwrap(), Scope::all());
        let found = scope("x verify a b --threads t --namespace users.ada").unwrap();
        assert_eq!(found.threads.as_deref(), Some("t"));
        assert_eq!(found.items.unwrap().labels().len(), 2);
        assert_eq!(
            scope("x verify a b --checkpoints-only").unwrap().items,
            None
        );
        assert_eq!(scope("x verify a b --store-only").unwrap().threads, None);
        assert_eq!(
            scope("x verify a b --namespace a..b").unwrap_err().code,
            USAGE
        );
    }
}
