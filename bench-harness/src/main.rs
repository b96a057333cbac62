//! The program `chunkpoint-bench`.

use std::process::ExitCode;

/// jemalloc counts what it gives out, so the heap can be told from what the
/// kernel has given the process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    chunkpoint_bench::cli::main()
}
