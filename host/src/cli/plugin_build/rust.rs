//! Rust: cargo builds the crate to a core module, which is then converted to a component.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytesize::ByteSize;
use serde_json::Value;

use super::super::wasm_target::{self, Machine, TRIPLE, artifacts, cleaned, field, filenames};
use super::{BuildError, BuiltModule, print_progress};

/// The guest's stack, in bytes, unless the manifest sets another. With Rust's default of 1 MiB, every fresh instance would touch that
/// much memory, which costs more than a small transform.
pub(super) const STACK_BYTES: u32 = 65_536;
/// The stacks that a manifest may set, in bytes.
const STACKS: RangeInclusive<u64> = 16 << 10..=8 << 20;

/// The build profile of every plugin, in place of its manifest's: the component is smaller and starts faster.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// The crate in the plugin's folder, as `cargo metadata` describes it.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    manifest: PathBuf,
    workspace: PathBuf,
    /// In bytes.
    stack: u32,
}

/// Builds the crate in `folder`. The toolchain need not have a wasm target: see [`wasm_target::ensure`].
pub(super) fn build(folder: &Path) -> Result<BuiltModule, BuildError> {
    let package = package_in(folder)?;
    let sysroot = wasm_target::ensure(folder, &Machine::from_env(), &print_progress)?;
    let module = compile(folder, &package, sysroot.as_deref())?;
    let bytes = fs::read(&module).map_err(BuildError::io(&module))?;
    Ok(BuiltModule { name: package.name, bytes })
}

fn package_in(folder: &Path) -> Result<Package, BuildError> {
    let mut command = cleaned("cargo", folder);
    command.args(["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| not_started(&error))?;
    if !output.status.success() {
        return Err(BuildError::Cargo(format!("cargo cannot read {}", folder.join("Cargo.toml").display())));
    }
    let metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| BuildError::Cargo(format!("the output of `cargo metadata` cannot be parsed: {error}")))?;
    package_from(&metadata, folder).map_err(|why| BuildError::NotAPlugin { folder: folder.to_owned(), why })
}

fn package_from(metadata: &Value, folder: &Path) -> Result<Package, String> {
    let manifest = folder.join("Cargo.toml");
    let mut packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let Some(package) = packages.find(|package| Path::new(field(package, "/manifest_path")) == manifest) else {
        return Err("this is a workspace, not a crate: pass the folder of the plugin's crate".into());
    };
    let targets = || package.get("targets").and_then(Value::as_array).into_iter().flatten();
    let crate_types = targets().filter_map(|target| target.get("crate_types")?.as_array()).flatten();
    if !crate_types.into_iter().any(|crate_type| crate_type == "cdylib") {
        return Err(
            "the crate is not a `cdylib`: add `crate-type = [\"cdylib\"]` under `[lib]` in its Cargo.toml".into()
        );
    }
    let workspace = PathBuf::from(field(metadata, "/workspace_root"));
    let stack = stack(package.pointer("/metadata/posthaste/stack"))?;
    Ok(Package { name: field(package, "/name").to_owned(), manifest, workspace, stack })
}

/// Reads `stack` of `[package.metadata.posthaste]`, such as `"256 KiB"`.
fn stack(declared: Option<&Value>) -> Result<u32, String> {
    let Some(declared) = declared else { return Ok(STACK_BYTES) };
    let bytes = declared.as_str().and_then(|size| size.parse::<ByteSize>().ok()).map(|size| size.as_u64());
    // wasm-ld wants the stack aligned.
    let bytes = bytes.filter(|bytes| STACKS.contains(bytes) && bytes.is_multiple_of(16));
    bytes.and_then(|bytes| u32::try_from(bytes).ok()).ok_or_else(|| {
        format!("`stack` in [package.metadata.posthaste] of its Cargo.toml is {declared}: write a size from 16 KiB to 8 MiB, such as \"256 KiB\"")
    })
}

/// Runs cargo and returns the path of the built module.
fn compile(folder: &Path, package: &Package, sysroot: Option<&Path>) -> Result<PathBuf, BuildError> {
    let mut command = cleaned("cargo", folder);
    // Not `cargo build`: with an `rlib` beside the `cdylib`, as native tests need it, that silently omits LTO.
    command.args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--target", TRIPLE]);
    command.arg("--message-format=json-render-diagnostics");
    command.envs(PROFILE).stdin(Stdio::null()).stdout(Stdio::piped());
    set_flags(&mut command, package, sysroot);

    let mut cargo = command.spawn().map_err(|error| not_started(&error))?;
    let module = cargo.stdout.take().and_then(|messages| module_of(BufReader::new(messages), &package.manifest));
    let status = cargo.wait().map_err(|error| not_started(&error))?;
    if !status.success() {
        return Err(BuildError::Cargo(format!("building {} failed, see above", package.name)));
    }
    module.ok_or_else(|| BuildError::Cargo(format!("building {} produced no .wasm file", package.name)))
}

/// Finds the module of the crate in cargo's messages. Reads all of them: cargo would block on a full pipe.
fn module_of(messages: impl io::BufRead, manifest: &Path) -> Option<PathBuf> {
    let ours = artifacts(messages).filter(|artifact| Path::new(field(artifact, "/manifest_path")) == manifest);
    let modules = ours.filter_map(|artifact| {
        filenames(&artifact).find(|file| file.extension() == Some(OsStr::new("wasm"))).map(Path::to_owned)
    });
    modules.last()
}

/// Passes rustc's flags in cargo's configuration, which cargo joins with the flags of the plugin's own configuration.
///
/// `RUSTFLAGS` would replace both, so its flags move to the configuration too.
fn set_flags(command: &mut Command, package: &Package, sysroot: Option<&Path>) {
    let inherited = inherited_flags(|name| env::var(name).ok());
    let flags = rustc_flags(&inherited, &remapped(&package.workspace), sysroot, package.stack);
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // A JSON array of strings is a TOML array as well.
    command.arg("--config").arg(format!("target.{TRIPLE}.rustflags={}", Value::from(flags)));
}

/// Returns the user's own flags, in cargo's order of precedence.
fn inherited_flags(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let owned = |flags: std::str::Split<'_, char>| flags.filter(|flag| !flag.is_empty()).map(str::to_owned).collect();
    if let Some(encoded) = variable("CARGO_ENCODED_RUSTFLAGS") {
        return owned(encoded.split('\u{1f}'));
    }
    owned(variable("RUSTFLAGS").unwrap_or_default().split(' '))
}

fn rustc_flags(inherited: &[String], remapped: &[PathRemap], sysroot: Option<&Path>, stack: u32) -> Vec<String> {
    let mut flags = inherited.to_vec();
    flags.extend(sysroot.map(|sysroot| format!("--sysroot={}", sysroot.display())));
    flags.push(format!("-Clink-arg=-zstack-size={stack}"));
    flags.extend(remapped.iter().map(|remap| format!("--remap-path-prefix={}={}", remap.from.display(), remap.to)));
    flags
}

/// A folder, and the text that replaces it in paths of the output.
struct PathRemap {
    from: PathBuf,
    to: &'static str,
}

/// Returns the folders whose names must not occur in panic messages: the same source must give the same bytes on every
/// machine.
fn remapped(workspace: &Path) -> Vec<PathRemap> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".cargo")));
    // rustc applies the last match, so the most specific folder is last.
    let folders = [(home, "/home"), (cargo_home, "/cargo"), (Some(workspace.to_owned()), "/plugin")];
    let remap =
        |(from, to): (Option<PathBuf>, _)| Some(PathRemap { from: from.filter(|from| from.is_absolute())?, to });
    folders.into_iter().filter_map(remap).collect()
}

fn not_started(error: &io::Error) -> BuildError {
    BuildError::Cargo(format!("cargo could not be run: {error}: install Rust with rustup"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_module_of_this_crate_is_used() {
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
    fn a_manifest_sets_the_stack() {
        assert_eq!(stack(None), Ok(65_536));
        assert_eq!(stack(Some(&json!("256 KiB"))), Ok(262_144));
        for wrong in [json!("1 KiB"), json!("9 MiB"), json!("100001 B"), json!("much"), json!(262_144)] {
            let text = stack(Some(&wrong)).unwrap_err();
            assert!(text.contains(&format!("is {wrong}: write a size from 16 KiB to 8 MiB")), "{text}");
        }
    }

    #[test]
    fn the_users_own_flags_are_kept() {
        let rustflags = |name: &str| (name == "RUSTFLAGS").then(|| "-Ca=b  -Cc".to_owned());
        assert_eq!(inherited_flags(rustflags), ["-Ca=b", "-Cc"]);
        let both = |name: &str| Some(if name == "RUSTFLAGS" { "-Cno" } else { "-Cone\u{1f}--cfg=a b" }.to_owned());
        assert_eq!(inherited_flags(both), ["-Cone", "--cfg=a b"]);

        let remap = PathRemap { from: "/w".into(), to: "/plugin" };
        let flags = rustc_flags(&["-Ca".into()], &[remap], Some(Path::new("/a b")), STACK_BYTES);
        let expected = ["-Ca", "--sysroot=/a b", "-Clink-arg=-zstack-size=65536", "--remap-path-prefix=/w=/plugin"];
        assert_eq!(flags, expected);
        assert!(!rustc_flags(&[], &[], None, STACK_BYTES).iter().any(|flag| flag.starts_with("--sysroot")));
    }
}
