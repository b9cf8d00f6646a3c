//! Builds the standard library for the wasm target with cargo's `-Zbuild-std`.
//!
//! That option is for nightly compilers; `RUSTC_BOOTSTRAP` enables it for a release compiler, which is sound for the
//! compiler's own library of the same version. Its dependencies are vendored in the source: nothing is downloaded.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{TRIPLE, Toolchain, WasmTargetError, artifacts, cleaned, field, filenames, libraries, run};

const CRATE_TARGET: &str = "posthaste_empty";
const MANIFEST: &str =
    "[package]\nname = \"posthaste-empty\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n";

/// Builds std from `library` and returns the new sysroot, a folder in `work`.
pub(super) fn build(
    toolchain: &Toolchain,
    library: &Path,
    work: &Path,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, WasmTargetError> {
    let crate_dir = work.join("empty");
    let source = crate_dir.join("src");
    fs::create_dir_all(&source).map_err(WasmTargetError::io(&source))?;
    write(&crate_dir.join("Cargo.toml"), MANIFEST)?;
    write(&source.join("lib.rs"), "#![no_std]\n")?;

    progress("compiling the standard library …");
    let messages = run("compiling the standard library", &mut command(toolchain, library, &crate_dir))?;

    let sysroot = work.join("sysroot");
    let to = libraries(&sysroot);
    fs::create_dir_all(&to).map_err(WasmTargetError::io(&to))?;
    for artifact in artifacts(messages.as_bytes()).filter(|artifact| field(artifact, "/target/name") != CRATE_TARGET) {
        for file in filenames(&artifact).filter(|file| file.extension().is_some_and(|extension| extension == "rlib")) {
            let Some(name) = file.file_name() else { continue };
            fs::copy(file, to.join(name)).map_err(WasmTargetError::io(file))?;
        }
    }
    Ok(sysroot)
}

fn command(toolchain: &Toolchain, library: &Path, crate_dir: &Path) -> std::process::Command {
    // The toolchain's own programs: those on PATH choose a toolchain by their working directory.
    let bin = toolchain.sysroot.join("bin");
    let mut command = cleaned(bin.join("cargo"), crate_dir);
    let vendored = library.join("vendor");
    // Fat LTO of the plugin needs bitcode in every library. The folder of the source must not occur in panic messages.
    let root = library.parent().unwrap_or(library);
    let flags = [
        "-Cembed-bitcode=yes".to_owned(),
        "-Ccodegen-units=1".to_owned(),
        format!("--remap-path-prefix={}=/rustc/{}", root.display(), toolchain.commit),
    ];
    // A JSON string is a TOML string as well.
    command
        .args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
            "--offline",
            "--release",
            "-Zbuild-std=std,panic_abort",
            "--target",
            TRIPLE,
        ])
        .args(["--target-dir", "target", "--config", "source.crates-io.replace-with='vendored'", "--config"])
        .arg(format!("source.vendored.directory={}", Value::from(vendored.to_string_lossy())))
        .env("RUSTC", bin.join("rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", library)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command
}

fn write(path: &Path, text: &str) -> Result<(), WasmTargetError> {
    fs::write(path, text).map_err(WasmTargetError::io(path))
}
