//! The `chunkpoint` command: a memory exported, imported, copied and verified.

mod cli;
mod files;
mod names;
mod progress;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
