//! The wasm target of the Rust toolchain: found, added with rustup, or built once from Debian's `rust-src`.
//!
//! The toolchain itself is changed only by `rustup target add`, and not if `RUSTUP_AUTO_INSTALL=0` forbids it. In that
//! case the standard library is built into a private sysroot in the cache folder, for `rustc --sysroot`.

mod build_std;
mod debian;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use thiserror::Error;

/// The target of plugins.
pub const TRIPLE: &str = "wasm32-unknown-unknown";

/// Why there is no wasm target.
#[derive(Debug, Error)]
pub enum WasmTargetError {
    /// A required program is not installed.
    #[error("`{program}` is not installed: {advice}")]
    Missing {
        /// The program.
        program: String,
        /// How to install it.
        advice: &'static str,
    },
    /// A program failed.
    #[error("{what} failed: {detail}")]
    Step {
        /// The step that failed.
        what: String,
        /// The program's own error message.
        detail: String,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The source of the standard library is not available.
    #[error("{0}; or install the wasm target with `rustup target add wasm32-unknown-unknown`")]
    NoSource(String),
    /// The wasm target is missing and could not be built.
    #[error("this Rust toolchain has no wasm target, and building one failed: {0}")]
    NotBuilt(Box<Self>),
}

impl WasmTargetError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The folders and permissions that the process's environment gives.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Folder of private sysroots; `None` if neither `XDG_CACHE_HOME` nor `HOME` is set.
    pub cache: Option<PathBuf>,
    /// Whether rustup may add to the toolchain: `RUSTUP_AUTO_INSTALL` is not `0`.
    pub rustup_may_install: bool,
    /// Folder of apt's list of sources: `/etc/apt`.
    pub apt: PathBuf,
}

impl Machine {
    /// Reads `XDG_CACHE_HOME`, `HOME` and `RUSTUP_AUTO_INSTALL`.
    #[must_use]
    pub fn from_env() -> Self {
        // The XDG base directory specification requires that relative paths are ignored.
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        Self {
            cache: cache.map(|cache| cache.join("posthaste")),
            rustup_may_install: env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0"),
            apt: PathBuf::from("/etc/apt"),
        }
    }
}

/// The Rust toolchain that is active in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toolchain {
    version: String,
    commit: String,
    sysroot: PathBuf,
}

impl Toolchain {
    fn active_in(folder: &Path) -> Result<Self, WasmTargetError> {
        let verbose = run("`rustc -vV`", cleaned("rustc", folder).arg("-vV"))?;
        let sysroot = run("`rustc --print sysroot`", cleaned("rustc", folder).args(["--print", "sysroot"]))?;
        let field = |name: &str| {
            let line = verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or("unknown").to_owned()
        };
        Ok(Self { version: field("release"), commit: field("commit-hash"), sysroot: PathBuf::from(sysroot.trim()) })
    }

    /// Returns the name of its private sysroot: a standard library works with exactly one compiler.
    fn cache_name(&self) -> String {
        let commit: String = self.commit.chars().take(9).collect();
        format!("wasm-target-{}-{commit}", self.version)
    }
}

/// Ensures that the toolchain that is active in `folder` can compile for [`TRIPLE`]; reports long steps to `progress`.
///
/// Returns a private sysroot, for rustc's `--sysroot`, or `None` if the toolchain has the target itself.
///
/// # Errors
/// Rust is missing, or the wasm target is missing and cannot be added or built. The text says how to fix it.
pub fn ensure(folder: &Path, machine: &Machine, progress: &dyn Fn(&str)) -> Result<Option<PathBuf>, WasmTargetError> {
    let toolchain = Toolchain::active_in(folder)?;
    if has_std(&toolchain.sysroot) || added_by_rustup(folder, machine, &toolchain, progress) {
        return Ok(None);
    }
    cached(machine, &toolchain, progress).map(Some).map_err(|error| WasmTargetError::NotBuilt(Box::new(error)))
}

/// Returns the folder of the target's libraries in a sysroot.
fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TRIPLE).join("lib")
}

fn has_std(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(libraries(sysroot)) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// Adds the target with rustup and returns whether that worked. A failure (no rustup, no network) is not an error: the
/// target can still be built.
fn added_by_rustup(folder: &Path, machine: &Machine, toolchain: &Toolchain, progress: &dyn Fn(&str)) -> bool {
    if !machine.rustup_may_install || cleaned("rustup", folder).arg("--version").output().is_err() {
        return false;
    }
    progress("adding the wasm target with rustup …");
    match run("`rustup target add`", cleaned("rustup", folder).args(["target", "add", TRIPLE])) {
        Ok(_) => has_std(&toolchain.sysroot),
        Err(error) => {
            progress(&error.to_string());
            false
        }
    }
}

fn cached(machine: &Machine, toolchain: &Toolchain, progress: &dyn Fn(&str)) -> Result<PathBuf, WasmTargetError> {
    let Some(cache) = &machine.cache else {
        return Err(WasmTargetError::NoSource("there is no cache folder: set HOME or XDG_CACHE_HOME".into()));
    };
    fs::create_dir_all(cache).map_err(WasmTargetError::io(cache))?;
    let sysroot = cache.join(toolchain.cache_name());
    if has_std(&sysroot) {
        return Ok(sysroot);
    }
    let lock = sysroot.with_added_extension("lock");
    let held = File::create(&lock).map_err(WasmTargetError::io(&lock))?;
    if held.try_lock().is_err() {
        progress("waiting for another build of the wasm target …");
        held.lock().map_err(WasmTargetError::io(&lock))?;
    }
    if !has_std(&sysroot) {
        make(machine, toolchain, &sysroot, progress)?;
    }
    Ok(sysroot)
}

/// Builds in a temporary folder and renames it, so that a sysroot is complete or absent. Runs under the lock.
fn make(
    machine: &Machine,
    toolchain: &Toolchain,
    sysroot: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), WasmTargetError> {
    progress("building the wasm target once, about a minute …");
    // The name is fixed, not random: paths affect the symbols' hashes, and the same input must give the same bytes.
    let work = sysroot.with_added_extension("partial");
    remove(&work)?;
    remove(sysroot)?;
    fs::create_dir(&work).map_err(WasmTargetError::io(&work))?;
    let made = debian::rust_src(&machine.apt, &toolchain.version, &work, progress)
        .and_then(|source| build_std::build(toolchain, &source, &work, progress))
        .and_then(|built| fs::rename(&built, sysroot).map_err(WasmTargetError::io(sysroot)));
    // The first error is reported; the next run removes leftovers.
    let removed = remove(&work);
    made.and(removed)
}

fn remove(folder: &Path) -> Result<(), WasmTargetError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WasmTargetError::io(folder)(error)),
        _ => Ok(()),
    }
}

/// Returns a command in `folder` without the variables that an outer cargo sets.
///
/// `cargo run` describes its own package to its child in the environment; an inner cargo and its build scripts must not
/// see that. `RUSTUP_TOOLCHAIN` stays: rustc and cargo agree on it, and it may be the user's choice.
pub(super) fn cleaned(program: impl Into<OsString>, folder: &Path) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(folder);
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| set_by_cargo(name)) {
        command.env_remove(name);
    }
    command
}

fn set_by_cargo(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    name == "CARGO" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the artifacts that cargo built, one value per crate, from the lines of `--message-format=json`.
pub(super) fn artifacts(messages: impl BufRead) -> impl Iterator<Item = Value> {
    let lines = messages.lines().map_while(Result::ok);
    let values = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    values.filter(|message| field(message, "/reason") == "compiler-artifact")
}

/// Returns the files of one artifact.
pub(super) fn filenames(artifact: &Value) -> impl Iterator<Item = &Path> {
    let names = artifact.get("filenames").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(Path::new)
}

/// Returns the text at a JSON pointer, or an empty one if there is none.
pub(super) fn field<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Runs a command to completion and returns its stdout; an error contains the line of stderr that gives the reason.
fn run(what: &str, command: &mut Command) -> Result<String, WasmTargetError> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().map_err(|error| not_started(command, what, &error))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&stderr);
    let detail = reason(&stderr).map_or_else(|| status.to_string(), str::to_owned);
    Err(WasmTargetError::Step { what: what.into(), detail })
}

fn not_started(command: &Command, what: &str, error: &io::Error) -> WasmTargetError {
    let program = command.get_program().to_string_lossy().into_owned();
    let advice = match program.as_str() {
        "rustc" | "cargo" => "install Rust with rustup",
        _ => "it is part of Debian; elsewhere install the wasm target with `rustup target add wasm32-unknown-unknown`",
    };
    if error.kind() == io::ErrorKind::NotFound {
        return WasmTargetError::Missing { program, advice };
    }
    WasmTargetError::Step { what: what.into(), detail: format!("`{program}` did not start: {error}") }
}

/// Returns the first line that is marked as an error (cargo: `error`, apt: `E:`), or else the last line with any text.
fn reason(stderr: &str) -> Option<&str> {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(|line| line.starts_with("error") || line.starts_with("E:")).or_else(|| lines().next_back())
}

#[cfg(test)]
mod tests;
