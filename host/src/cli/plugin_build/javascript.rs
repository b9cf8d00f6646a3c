//! JavaScript and TypeScript: `componentize-qjs`, the compiler that jco calls its QuickJS backend, from the plugin's `package.json`.
//!
//! The compiler itself and not jco: installed it takes 38 MB, jco 363 MB, and what jco adds, bundling and types, does not run on Node 20.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::wasm_target::{cleaned, field};
use super::{BuildError, Made, folder_name, output_of, run, say};

/// The compiler's own script: `node_modules/.bin` would hide that it is `node` which is missing.
const COMPILER: &str = "node_modules/componentize-qjs/bin/componentize-qjs";

const NODE: &str = "install Node.js 18 or later (Debian: `apt-get install nodejs npm`)";

/// Installs what `package.json` asks for where that has not been done, runs its `build` script, if any, and compiles its `main`.
pub(super) fn build(folder: &Path) -> Result<Made, BuildError> {
    let main = main_of(folder)?;
    if !folder.join(COMPILER).is_file() {
        say("installing what package.json asks for …");
        // Not `npm ci`: it refuses a lock without the compiler's builds for machines that its author has not published.
        run(npm(folder).args(["install", "--no-audit", "--no-fund"]), NODE)?;
    }
    if !folder.join(COMPILER).is_file() {
        let why = "its package.json does not ask for `componentize-qjs`: add it to `devDependencies`".into();
        return Err(BuildError::NotAPlugin { folder: folder.to_owned(), why });
    }
    run(npm(folder).args(["run", "build", "--if-present"]), NODE)?;
    say("compiling …");
    let bytes = output_of(|file| {
        let mut compiler = cleaned("node", folder);
        compiler.args([COMPILER, "--wit", "wit", "--world", "transform", "--sync", "--stub-wasi"]);
        run(compiler.arg("--js").arg(&main).arg("--output").arg(file), NODE)
    })?;
    Ok(Made { name: folder_name(folder), bytes })
}

fn npm(folder: &Path) -> Command {
    cleaned("npm", folder)
}

/// The file that is compiled: `main` of `package.json`, as Node itself has it.
fn main_of(folder: &Path) -> Result<String, BuildError> {
    let file = folder.join("package.json");
    let text = fs::read(&file).map_err(BuildError::io(&file))?;
    let wrong = |why: String| BuildError::NotAPlugin { folder: file.clone(), why };
    let package: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    match field(&package, "/main") {
        "" => Err(wrong("`main` is missing: it names the module that exports `handler`".into())),
        main => Ok(main.to_owned()),
    }
}
