//! C: zig's compiler from the plugin's `requirements.txt`. It brings its own C library for Wasm, and a pinned version makes the same
//! bytes on every machine; Debian's clang brings no such library.

use std::fs;
use std::path::{Path, PathBuf};

use super::rust::STACK_BYTES;
use super::{BuildError, Made, folder_name, output_of, run, say, venv};

/// What wit-bindgen generates: the second describes the world, and makes the module one that can become a component.
const BINDINGS: [&str; 2] = ["bindings/transform.c", "bindings/transform_component_type.o"];

/// Compiles every `.c` file of the folder but `test_*.c`, with the bindings, to a module that needs no WASI.
pub(super) fn build(folder: &Path) -> Result<Made, BuildError> {
    let mut zig = venv::program(folder, "python")?;
    let sources = sources(folder)?;
    say("compiling …");
    let bytes = output_of(|file| {
        // A reactor is a library: it has no `main`, which would need WASI.
        zig.args([
            "-m",
            "ziglang",
            "cc",
            "-target",
            "wasm32-wasi",
            "-mexec-model=reactor",
            "-std=gnu11",
            "-O2",
            "-s",
            "-Wall",
        ]);
        zig.arg(format!("-Wl,-z,stack-size={STACK_BYTES}")).args(sources).args(BINDINGS);
        run(zig.arg("-o").arg(file), "remove .venv, and build again")
    })?;
    Ok(Made { name: folder_name(folder), bytes })
}

/// Sorted: their order decides the bytes.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = fs::read_dir(folder).map_err(BuildError::io(folder))?;
    let names = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
    let is_source = |name: &PathBuf| {
        name.extension().is_some_and(|extension| extension == "c") && !name.to_string_lossy().starts_with("test_")
    };
    let mut sources: Vec<_> = names.filter(is_source).collect();
    sources.sort();
    Ok(sources)
}
