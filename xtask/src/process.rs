//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The cargo that runs us.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Builds everything in the dev profile.
///
/// Always the whole workspace: with a part of it, cargo unifies features differently and builds the large dependencies again.
pub(crate) fn build_workspace(root: &Path) -> Result<(), Failure> {
    run("cargo build", cargo(root).args(["build", "--workspace", "--locked"]))
}

/// Runs to the end; its output goes where ours does.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| not_started(command.get_program(), &error))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed ({status}), see above")) }
}

/// Becomes the program, so that its exit code is ours and signals reach it; returns only when that fails.
pub(crate) fn replace(program: &Path, folder: &Path, command: &str, arguments: &[String]) -> Result<(), Failure> {
    let error = Command::new(program).current_dir(folder).arg(command).args(arguments).exec();
    Err(not_started(program.as_os_str(), &error))
}

/// A program could not be started: which, why and how to mend it.
pub(crate) fn not_started(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.to_string_lossy();
    if error.kind() != io::ErrorKind::NotFound {
        return format!("`{program}` cannot be run: {error}");
    }
    let mend = match program.as_ref() {
        "sha256sum" => "install GNU coreutils",
        "cargo" => "install Rust with rustup",
        _ => "run `cargo build --workspace --locked` first",
    };
    format!("`{program}` is missing: {mend}")
}

/// The folder that cargo builds into: ours is `<target>/debug/xtask`.
pub(crate) fn target_dir() -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(|error| format!("the path of this program is unknown: {error}"))?;
    let target = own.parent().and_then(Path::parent);
    target.map(Path::to_owned).ok_or_else(|| format!("{} is not in a target folder", own.display()))
}

/// The dev build of the host.
pub(crate) fn posthaste() -> Result<PathBuf, Failure> {
    Ok(target_dir()?.join("debug/posthaste"))
}
