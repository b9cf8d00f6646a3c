//! `cargo xtask release`: the binary as it ships, with its debug information in a separate file.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Failure, process};

const BINARY: &str = "posthaste";
const DEBUG_FILE: &str = "posthaste.debug";

/// Builds `posthaste` for release and writes two files into `<target>/dist`: the stripped binary and its debug information.
///
/// The two find each other: the binary names the debug file in `.gnu_debuglink`, so that gdb, perf and Rust's own backtraces
/// show functions and lines if both are in one folder. cargo's `split-debuginfo = "packed"` cannot replace this: on Linux
/// its `.dwp` file has no line table, which stays in the binary and is lost when that is stripped.
pub(crate) fn release(root: &Path) -> Result<(), Failure> {
    process::run(
        "cargo build",
        process::cargo(root).args(["build", "--release", "--package", "posthaste", "--locked"]),
    )?;
    let target = process::target_dir()?;
    let built = target.join("release").join(BINARY);
    let dist = target.join("dist");
    fs::create_dir_all(&dist).map_err(|error| format!("{}: {error}", dist.display()))?;

    // Within the folder: `.gnu_debuglink` holds a file name, and objcopy reads that file for its checksum.
    let objcopy = |options: &[&str], to: &str| {
        let mut command = Command::new("objcopy");
        process::run("objcopy", command.current_dir(&dist).args(options).arg(&built).arg(to))
    };
    objcopy(&["--only-keep-debug", "--compress-debug-sections"], DEBUG_FILE)?;
    objcopy(&["--strip-all", "--add-gnu-debuglink", DEBUG_FILE], BINARY)?;
    println!("{}\n{}", dist.join(BINARY).display(), dist.join(DEBUG_FILE).display());
    Ok(())
}
