//! A crate for cargo: to a core module, and from there to a component.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::wasm_target::{self, Machine, TRIPLE, artifacts, cleaned, field, filenames};
use super::{BuildError, Made, say};

/// The guest's stack, in bytes. Rust's default of 1 MiB is touched anew by every fresh instance, which costs more than a small
/// transform does.
pub(super) const STACK_BYTES: u32 = 65_536;

/// What every plugin is built with, whatever its manifest says: smaller and faster to start.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// The crate in the plugin's folder, as cargo sees it.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    manifest: PathBuf,
    workspace: PathBuf,
}

/// Builds the crate in `folder`; works also where the toolchain has no wasm target, see [`wasm_target::ensure`].
pub(super) fn build(folder: &Path) -> Result<Made, BuildError> {
    let package = package_in(folder)?;
    let sysroot = wasm_target::ensure(folder, &Machine::from_env(), &say)?;
    let module = compile(folder, &package, sysroot.as_deref())?;
    let bytes = fs::read(&module).map_err(BuildError::io(&module))?;
    Ok(Made { name: package.name, bytes })
}

fn package_in(folder: &Path) -> Result<Package, BuildError> {
    let mut command = cleaned("cargo", folder);
    command.args(["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| not_started(&error))?;
    if !output.status.success() {
        return Err(BuildError::Cargo(format!("cargo cannot read {}", folder.join("Cargo.toml").display())));
    }
    let metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| BuildError::Cargo(format!("the answer of `cargo metadata` cannot be read: {error}")))?;
    package_from(&metadata, folder).map_err(|why| BuildError::NotAPlugin { folder: folder.to_owned(), why })
}

fn package_from(metadata: &Value, folder: &Path) -> Result<Package, String> {
    let manifest = folder.join("Cargo.toml");
    let mut packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let Some(package) = packages.find(|package| Path::new(field(package, "/manifest_path")) == manifest) else {
        return Err("this is a workspace, not a crate: give the folder of the plugin in it".into());
    };
    let targets = || package.get("targets").and_then(Value::as_array).into_iter().flatten();
    let crate_types = targets().filter_map(|target| target.get("crate_types")?.as_array()).flatten();
    if !crate_types.into_iter().any(|crate_type| crate_type == "cdylib") {
        return Err("the crate is no `cdylib`: add `crate-type = [\"cdylib\"]` under `[lib]` in its Cargo.toml".into());
    }
    let workspace = PathBuf::from(field(metadata, "/workspace_root"));
    Ok(Package { name: field(package, "/name").to_owned(), manifest, workspace })
}

/// Runs cargo and gives the module that it built.
fn compile(folder: &Path, package: &Package, sysroot: Option<&Path>) -> Result<PathBuf, BuildError> {
    let mut command = cleaned("cargo", folder);
    // Not `cargo build`: with an `rlib` beside the `cdylib`, which native tests need, that silently leaves out LTO.
    command.args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--target", TRIPLE]);
    command.arg("--message-format=json-render-diagnostics");
    command.envs(PROFILE).stdin(Stdio::null()).stdout(Stdio::piped());
    set_flags(&mut command, &package.workspace, sysroot);

    let mut cargo = command.spawn().map_err(|error| not_started(&error))?;
    let module = cargo.stdout.take().and_then(|messages| module_of(BufReader::new(messages), &package.manifest));
    let status = cargo.wait().map_err(|error| not_started(&error))?;
    if !status.success() {
        return Err(BuildError::Cargo(format!("building {} failed, see above", package.name)));
    }
    module.ok_or_else(|| BuildError::Cargo(format!("building {} made no .wasm file", package.name)))
}

/// Reads to the end: a cargo whose messages nobody takes would block.
fn module_of(messages: impl io::BufRead, manifest: &Path) -> Option<PathBuf> {
    let ours = artifacts(messages).filter(|artifact| Path::new(field(artifact, "/manifest_path")) == manifest);
    let modules = ours.filter_map(|artifact| {
        filenames(&artifact).find(|file| file.extension() == Some(OsStr::new("wasm"))).map(Path::to_owned)
    });
    modules.last()
}

/// Gives rustc's flags in cargo's configuration, which joins them with those that the plugin's own configuration names.
///
/// `RUSTFLAGS` would displace both, so what the user put there moves over.
fn set_flags(command: &mut Command, workspace: &Path, sysroot: Option<&Path>) {
    let flags = rustc_flags(&inherited_flags(|name| env::var(name).ok()), &remapped(workspace), sysroot);
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // A JSON array of strings is a TOML array as well.
    command.arg("--config").arg(format!("target.{TRIPLE}.rustflags={}", Value::from(flags)));
}

/// The user's own flags, in cargo's order of precedence.
fn inherited_flags(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let owned = |flags: std::str::Split<'_, char>| flags.filter(|flag| !flag.is_empty()).map(str::to_owned).collect();
    if let Some(encoded) = variable("CARGO_ENCODED_RUSTFLAGS") {
        return owned(encoded.split('\u{1f}'));
    }
    owned(variable("RUSTFLAGS").unwrap_or_default().split(' '))
}

fn rustc_flags(inherited: &[String], remapped: &[(PathBuf, &str)], sysroot: Option<&Path>) -> Vec<String> {
    let mut flags = inherited.to_vec();
    flags.extend(sysroot.map(|sysroot| format!("--sysroot={}", sysroot.display())));
    flags.push(format!("-Clink-arg=-zstack-size={STACK_BYTES}"));
    flags.extend(remapped.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    flags
}

/// Folders whose names must not show in panic messages: the same source is to give the same bytes on every machine.
fn remapped(workspace: &Path) -> Vec<(PathBuf, &'static str)> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".cargo")));
    // rustc takes the last that fits, so the most specific stands last.
    let folders = [(home, "/home"), (cargo_home, "/cargo"), (Some(workspace.to_owned()), "/plugin")];
    folders.into_iter().filter_map(|(from, to)| Some((from.filter(|from| from.is_absolute())?, to))).collect()
}

fn not_started(error: &io::Error) -> BuildError {
    BuildError::Cargo(format!("cargo could not be run: {error}: install Rust with rustup"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_the_module_of_this_crate_and_no_other() {
        let artifact = |folder: &str, file: &str| json!({"reason": "compiler-artifact", "manifest_path": format!("{folder}/Cargo.toml"), "filenames": [file]});
        let lines = [
            json!({"reason": "build-script-executed"}),
            artifact("/dep", "/t/dep.wasm"),
            artifact("/p", "/t/build-script"),
            artifact("/p", "/t/p.wasm"),
            artifact("/other", "/t/other.wasm"),
        ];
        let text = lines.map(|line| format!("{line}\n")).concat() + "no JSON\n";
        let found = |folder: &str| module_of(text.as_bytes(), &Path::new(folder).join("Cargo.toml"));
        assert_eq!(found("/p"), Some(PathBuf::from("/t/p.wasm")));
        assert_eq!(found("/absent"), None);
    }

    #[test]
    fn keeps_the_flags_that_the_user_has_set() {
        let rustflags = |name: &str| (name == "RUSTFLAGS").then(|| "-Ca=b  -Cc".to_owned());
        assert_eq!(inherited_flags(rustflags), ["-Ca=b", "-Cc"]);
        let both = |name: &str| Some(if name == "RUSTFLAGS" { "-Cno" } else { "-Cone\u{1f}--cfg=a b" }.to_owned());
        assert_eq!(inherited_flags(both), ["-Cone", "--cfg=a b"]);

        let flags = rustc_flags(&["-Ca".into()], &[("/w".into(), "/plugin")], Some(Path::new("/a b")));
        let expected = ["-Ca", "--sysroot=/a b", "-Clink-arg=-zstack-size=65536", "--remap-path-prefix=/w=/plugin"];
        assert_eq!(flags, expected);
        assert!(!rustc_flags(&[], &[], None).iter().any(|flag| flag.starts_with("--sysroot")));
    }
}
