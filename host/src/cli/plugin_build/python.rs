//! Python: componentize-py from the plugin's `requirements.txt`, with WASI stubbed.

use std::path::Path;

use super::{BuildError, BuiltModule, folder_name, output_of, print_progress, run, venv};

/// Compiles `component.py` and everything that it imports.
pub(super) fn build(folder: &Path) -> Result<BuiltModule, BuildError> {
    let mut compiler = venv::program(folder, "componentize-py")?;
    print_progress("compiling …");
    let bytes = output_of(|file| {
        compiler.args(["-d", "wit", "-w", "transform", "componentize", "--stub-wasi"]);
        run(compiler.args(["component", "--output"]).arg(file), "requirements.txt must name `componentize-py`")
    })?;
    Ok(BuiltModule { name: folder_name(folder), bytes })
}
