//! JavaScript and TypeScript: `componentize-qjs`, jco's QuickJS backend, from the plugin's `package.json`.
//!
//! The compiler itself rather than jco: it takes 38 MB installed, jco 363 MB, and jco's bundling and type generation do
//! not run on Node 20.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::wasm_target::{cleaned, field};
use super::{BuildError, BuiltModule, folder_name, output_of, print_progress, run};

/// The compiler's own script. If `node` is missing, an error of the wrapper in `node_modules/.bin` would not say so.
const COMPILER: &str = "node_modules/componentize-qjs/bin/componentize-qjs";

const NODE: &str = "install Node.js 18 or later (Debian: `apt-get install nodejs npm`)";

/// Installs the dependencies of `package.json` unless they are installed, runs its `build` script, if any, and compiles
/// its `main`.
pub(super) fn build(folder: &Path) -> Result<BuiltModule, BuildError> {
    let main = main_of(folder)?;
    if !folder.join(COMPILER).is_file() {
        print_progress("installing the dependencies of package.json …");
        // Not `npm ci`: it refuses a lock file that lacks the compiler's builds for unpublished platforms.
        run(npm(folder).args(["install", "--no-audit", "--no-fund"]), NODE)?;
    }
    if !folder.join(COMPILER).is_file() {
        let why = "its package.json does not depend on `componentize-qjs`: add it to `devDependencies`".into();
        return Err(BuildError::NotAPlugin { folder: folder.to_owned(), why });
    }
    run(npm(folder).args(["run", "build", "--if-present"]), NODE)?;
    print_progress("compiling …");
    let bytes = output_of(|file| {
        let mut compiler = cleaned("node", folder);
        compiler.args([COMPILER, "--wit", "wit", "--world", "transform", "--sync", "--stub-wasi"]);
        run(compiler.arg("--js").arg(&main).arg("--output").arg(file), NODE)
    })?;
    Ok(BuiltModule { name: folder_name(folder), bytes })
}

fn npm(folder: &Path) -> Command {
    cleaned("npm", folder)
}

/// Returns the file to compile: `main` of `package.json`, as in Node itself.
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
