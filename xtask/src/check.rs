//! `cargo xtask check`: the fast checks to run before each commit.

use std::path::Path;

use crate::{Failure, process, test, tidy};

/// Checks formatting, lints and the rules of the house, and runs the unit tests. Installs nothing, and needs no database.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    tidy::tidy(root)?;
    formatted(root, &["fmt", "--all", "--check"])?;
    // Workspaces of their own.
    for manifest in ["bench/load/Cargo.toml", "fuzz/Cargo.toml"] {
        formatted(root, &["fmt", "--check", "--manifest-path", manifest])?;
    }
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    process::run("cargo clippy", process::cargo(root).args(clippy))?;
    test::unit_tests(root)
}

fn formatted(root: &Path, arguments: &[&str]) -> Result<(), Failure> {
    process::run("cargo fmt", process::cargo(root).args(arguments))
        .map_err(|why| format!("{why}; run `cargo {}`", arguments.join(" ").replace(" --check", "")))
}
