//! Tools from Python's package index, in a private environment in the plugin's folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::wasm_target::cleaned;
use super::{BuildError, run, say};

const PYTHON: &str = "install Python 3.10 or later with its `venv` (Debian: `apt-get install python3 python3-venv`)";

/// Makes sure that `.venv` holds what `requirements.txt` asks for, and answers a command that runs a program of it.
///
/// # Errors
/// There is no `requirements.txt`, Python is missing, or pip cannot install.
pub(super) fn program(folder: &Path, name: &str) -> Result<Command, BuildError> {
    let requirements = folder.join("requirements.txt");
    let Ok(wanted) = fs::read(&requirements) else {
        let why =
            "its requirements.txt is missing: it names the compiler, see what `posthaste plugin new` makes".into();
        return Err(BuildError::NotAPlugin { folder: folder.to_owned(), why });
    };
    let venv = folder.join(".venv");
    // Written last, so that an installation which was cut short is done again, and so is one whose requirements have changed.
    let installed = venv.join("installed-requirements.txt");
    if fs::read(&installed).ok().as_ref() != Some(&wanted) {
        say("installing what requirements.txt asks for into .venv …");
        run(cleaned("python3", folder).args(["-m", "venv", ".venv"]), PYTHON)?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        run(inside(folder, &venv, "python").args(install), "remove .venv, and build again")?;
        fs::write(&installed, wanted).map_err(BuildError::io(&installed))?;
    }
    Ok(inside(folder, &venv, name))
}

/// A program of the environment, without the user's own Python settings.
fn inside(folder: &Path, venv: &Path, name: &str) -> Command {
    let mut command = cleaned(venv.join("bin").join(name), folder);
    command.env("VIRTUAL_ENV", venv).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}
