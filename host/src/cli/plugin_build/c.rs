//! C: zig's compiler from the plugin's `requirements.txt`. It includes a C library for Wasm, and a pinned version
//! produces the same bytes on every machine; Debian's clang includes no such library.

use std::fs;
use std::path::{Path, PathBuf};

use super::rust::STACK_BYTES;
use super::{BuildError, BuiltModule, folder_name, output_of, print_progress, run, venv};

/// The files that wit-bindgen generates. The second one describes the world; without it the module could not be converted
/// to a component.
const BINDINGS: [&str; 2] = ["bindings/transform.c", "bindings/transform_component_type.o"];

/// Compiles every `.c` file of the folder except `test_*.c`, with the bindings, to a module that needs no WASI.
pub(super) fn build(folder: &Path) -> Result<BuiltModule, BuildError> {
    let mut zig = venv::program(folder, "python")?;
    let sources = sources(folder)?;
    print_progress("compiling …");
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
        run(zig.arg("-o").arg(file), "remove .venv and build again")
    })?;
    Ok(BuiltModule { name: folder_name(folder), bytes })
}

/// Returns the source files, sorted: their order determines the bytes of the output.
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
