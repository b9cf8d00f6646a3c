//! The command `posthaste`.

use std::process::ExitCode;

use clap::Parser;
use posthaste::cli::Cli;

/// A tenth of the process went into glibc's allocator at full load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("posthaste: {error}");
            ExitCode::FAILURE
        }
    }
}
