//! Runs other programs.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// Returns a command for the cargo that started this program.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Builds the `posthaste` binary in the dev profile, and nothing that it does not need.
///
/// Neither a later [`build_workspace`] nor the tests compile a dependency again: all resolve to the same features, which a
/// test checks.
pub(crate) fn build_host(root: &Path) -> Result<(), Failure> {
    run("cargo build", cargo(root).args(["build", "--package", "posthaste", "--locked"]))
}

/// Builds every member of the workspace in the dev profile.
pub(crate) fn build_workspace(root: &Path) -> Result<(), Failure> {
    run("cargo build", cargo(root).args(["build", "--workspace", "--locked"]))
}

/// Runs a program and waits for it; it inherits the standard streams.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| not_started(command.get_program(), &error))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed ({status}), see above")) }
}

/// Replaces this process by the program, which gets its signals and gives its exit code; returns only on failure.
pub(crate) fn replace(program: &Path, folder: &Path, command: &str, arguments: &[String]) -> Result<(), Failure> {
    let error = Command::new(program).current_dir(folder).arg(command).args(arguments).exec();
    Err(not_started(program.as_os_str(), &error))
}

/// Returns the message for a program that could not be started: its name, the cause and the remedy.
pub(crate) fn not_started(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.to_string_lossy();
    if error.kind() != io::ErrorKind::NotFound {
        return format!("`{program}` cannot be run: {error}");
    }
    let remedy = match program.as_ref() {
        "sha256sum" => "install GNU coreutils",
        "objcopy" => "install GNU binutils",
        "cargo" => "install Rust with rustup",
        _ => "run `cargo build --workspace --locked` first",
    };
    format!("`{program}` is missing: {remedy}")
}

/// Returns cargo's target folder: this program is `<target>/debug/xtask`.
pub(crate) fn target_dir() -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(|error| format!("the path of this program is unknown: {error}"))?;
    let target = own.parent().and_then(Path::parent);
    target.map(Path::to_owned).ok_or_else(|| format!("{} is not in a target folder", own.display()))
}

/// Returns the path of the `posthaste` binary of the dev profile.
pub(crate) fn posthaste() -> Result<PathBuf, Failure> {
    Ok(target_dir()?.join("debug/posthaste"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns every dependency of this machine's build with its version and features.
    fn resolved(arguments: &[&str]) -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = cargo(root);
        command.args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} {f}"]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
    }

    /// With other features cargo would build the dependency, and all that use it, once for the demo and again for the tests.
    #[test]
    fn demo_and_tests_build_dependencies_with_the_same_features() {
        let host = resolved(&["--package", "posthaste", "--edges", "normal,build"]);
        let tests = resolved(&["--workspace", "--edges", "normal,build,dev"]);
        assert!(host.iter().any(|line| line.starts_with("wasmtime v")), "{host:?}");
        let other: Vec<_> = host.difference(&tests).collect();
        assert!(other.is_empty(), "state these features in the root Cargo.toml: {other:#?}");
    }
}
