//! The project's own commands: `cargo xtask bench | demo | plugins | test | tidy`.

mod needs;
mod plugins;
mod postgres;
mod process;
mod source;
mod test;
mod tidy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
The project's own commands.

Usage: cargo xtask <COMMAND>

Commands:
  bench        Build Posthaste and the load generator for release and measure, see bench/README.md
  demo [ARGS]  Build, and run `posthaste demo`; `--once` ends after the story
  plugins      Build the plugins into plugins/dist, which is committed and embedded in the binary
  test [ARGS]  Check, build and test everything, the plugins from source too, and the suite on both databases;
               ARGS go to `cargo test`
  tidy         Check the rules of the house that no compiler checks
";

/// Why a command failed, in words for the person who typed it.
type Failure = String;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let root = root();
    let done = match (command.as_deref(), rest.is_empty()) {
        (Some("--help" | "-h" | "help"), _) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        (Some("bench"), true) => bench(&root),
        (Some("demo"), _) => demo(&root, &rest),
        (Some("plugins"), true) => plugins::build_dist(&root),
        (Some("test"), _) => test::test(&root, &rest),
        (Some("tidy"), true) => tidy::tidy(&root),
        (Some("bench" | "plugins" | "tidy"), false) => return usage("this command takes no arguments"),
        (Some(unknown), _) => return usage(&format!("there is no command `{unknown}`")),
        (None, _) => return usage("a command is missing"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn usage(why: &str) -> ExitCode {
    eprint!("xtask: {why}\n\n{USAGE}");
    ExitCode::from(2)
}

fn demo(root: &Path, arguments: &[String]) -> Result<(), Failure> {
    process::build_workspace(root)?;
    process::replace(&process::posthaste()?, root, "demo", arguments)
}

fn bench(root: &Path) -> Result<(), Failure> {
    process::run("cargo build", process::cargo(root).args(["build", "--release", "--workspace", "--locked"]))?;
    let load = ["build", "--release", "--locked", "--manifest-path", "bench/load/Cargo.toml", "--target-dir", "bench/load/target"];
    process::run("cargo build of bench/load", process::cargo(root).args(load))?;
    let folder = process::target_dir()?.join("release");
    process::run("posthaste-bench", Command::new(folder.join("posthaste-bench")).current_dir(root))?;
    let mut side_by_side = Command::new(root.join("bench/side-by-side"));
    side_by_side.env("POSTHASTE_BIN", folder.join("posthaste")).current_dir(root);
    process::run("bench/side-by-side", &mut side_by_side)
}

/// The repository's folder. cargo names it anew at each run, so that a moved or copied build still finds its own.
fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map(Path::to_owned).unwrap_or(manifest)
}
