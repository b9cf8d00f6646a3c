//! Python: componentize-py from the plugin's `requirements.txt`, with WASI stubbed.

use std::path::Path;

use super::{BuildError, Made, folder_name, output_of, run, say, venv};

/// Compiles `component.py` and all that it imports.
pub(super) fn build(folder: &Path) -> Result<Made, BuildError> {
    let mut compiler = venv::program(folder, "componentize-py")?;
    say("compiling …");
    let bytes = output_of(|file| {
        compiler.args(["-d", "wit", "-w", "transform", "componentize", "--stub-wasi"]);
        run(compiler.args(["component", "--output"]).arg(file), "requirements.txt has to name `componentize-py`")
    })?;
    Ok(Made { name: folder_name(folder), bytes })
}
