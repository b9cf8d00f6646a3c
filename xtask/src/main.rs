//! The project's own commands: `cargo xtask bench | check | demo | plugins | release | test | tidy | wit`.

mod check;
mod needs;
mod plugins;
mod postgres;
mod process;
mod release;
mod source;
mod test;
mod tidy;
mod wit;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
The project's own commands.

Usage: cargo xtask <COMMAND>

Commands:
  bench        Build Posthaste and the load generator for release and measure, see bench/README.md
  check        Check formatting, lints and the rules of `tidy`, and run the unit tests: before each commit
  demo [ARGS]  Build, and run `posthaste demo`; `--once` ends after the story
  plugins      Build the plugins into plugins/dist, which is committed and embedded in the binary
  release      Build the binary that ships, stripped, and its debug information, into target/dist
  test [NAME…] Run the named tests; without names run `tidy`, build everything and run every test
  tidy         Check the rules of the house that no compiler checks
  wit          Copy wit/v0.1/transform.wit to the crate and the examples that need it

Arguments of `test`: [NAME…] [--database sqlite|postgres] [-- ARGS]
  NAME         unit                the unit tests of host, plugin-sdk and xtask
               store               the conformance tests of the store
               suite               the whole suite
               hostile             one module of the suite; `hostile::loops` limits it further
               unit::X, store::X, suite::X
                                   the tests of that group whose path contains X
               domain::retry       any other text: every test whose path contains it
  --database   Run suite and store on this database only; otherwise both run on both
  -- ARGS      Further arguments of `cargo test`; those of the test binary follow another `--`:
               `cargo xtask test hostile -- -- --nocapture`
";

/// The reason why a command failed, as a message for its user.
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
        (Some("check"), true) => check::check(&root),
        (Some("demo"), _) => demo(&root, &rest),
        (Some("plugins"), true) => plugins::build_dist(&root),
        (Some("release"), true) => release::release(&root),
        (Some("test"), _) => test::test(&root, &rest),
        (Some("tidy"), true) => tidy::tidy(&root),
        (Some("wit"), true) => wit::write_copies(&root),
        (Some("bench" | "check" | "plugins" | "release" | "tidy" | "wit"), false) => {
            return usage("this command takes no arguments");
        }
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
    process::build_host(root)?;
    process::replace(&process::posthaste()?, root, "demo", arguments)
}

fn bench(root: &Path) -> Result<(), Failure> {
    process::run("cargo build", process::cargo(root).args(["build", "--release", "--workspace", "--locked"]))?;
    let load = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "bench/load/Cargo.toml",
        "--target-dir",
        "bench/load/target",
    ];
    process::run("cargo build of bench/load", process::cargo(root).args(load))?;
    let folder = process::target_dir()?.join("release");
    process::run("posthaste-bench", Command::new(folder.join("posthaste-bench")).current_dir(root))?;
    let mut side_by_side = Command::new(root.join("bench/side-by-side"));
    side_by_side.env("POSTHASTE_BIN", folder.join("posthaste")).current_dir(root);
    process::run("bench/side-by-side", &mut side_by_side)
}

/// Returns the repository's folder. cargo sets the variable for each run, so a moved or copied build still finds its own.
fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map(Path::to_owned).unwrap_or(manifest)
}
