//! Tools from Python's package index, in a virtual environment in the plugin's folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::wasm_target::cleaned;
use super::{BuildError, print_progress, run};

const PYTHON: &str = "install Python 3.10 or later with its `venv` (Debian: `apt-get install python3 python3-venv`)";

/// Installs `requirements.txt` into `.venv` unless that has been done, and returns a command for a program in it.
///
/// # Errors
/// There is no `requirements.txt`, Python is missing, or pip cannot install.
pub(super) fn program(folder: &Path, name: &str) -> Result<Command, BuildError> {
    let requirements = folder.join("requirements.txt");
    let Ok(wanted) = fs::read(&requirements) else {
        let why =
            "its requirements.txt, which names the compiler, is missing: see those of `posthaste plugin new`".into();
        return Err(BuildError::NotAPlugin { folder: folder.to_owned(), why });
    };
    let venv = folder.join(".venv");
    // Written last, so that an interrupted installation is repeated; compared, so that changed requirements are installed.
    let installed = venv.join("installed-requirements.txt");
    if fs::read(&installed).ok().as_ref() != Some(&wanted) {
        print_progress("installing requirements.txt into .venv …");
        run(cleaned("python3", folder).args(["-m", "venv", ".venv"]), PYTHON)?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        run(inside(folder, &venv, "python").args(install), "remove .venv and build again")?;
        fs::write(&installed, wanted).map_err(BuildError::io(&installed))?;
    }
    Ok(inside(folder, &venv, name))
}

/// Returns a command for a program of the environment, without the user's own Python settings.
fn inside(folder: &Path, venv: &Path, name: &str) -> Command {
    let mut command = cleaned(venv.join("bin").join(name), folder);
    command.env("VIRTUAL_ENV", venv).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}
