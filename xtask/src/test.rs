//! `cargo xtask test`: everything that must hold before a change goes in.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::postgres::Server;
use crate::{Failure, needs, plugins, process, tidy};

/// Checks the house rules, installs what the tests need, builds, makes the plugins from source and runs every test.
pub(crate) fn test(root: &Path, arguments: &[String]) -> Result<(), Failure> {
    tidy::tidy(root)?;
    needs::install(root)?;
    process::build_workspace(root)?;
    let fresh = process::target_dir()?.join("plugins");
    plugins::build(root, &fresh)?;

    let server = Server::start(root)?;
    let cargo_test = |arguments: &[String], database: &str| -> Result<(Total, bool), Failure> {
        let mut command = process::cargo(root);
        command.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(arguments);
        command.env("POSTHASTE_BIN", process::posthaste()?).env("POSTHASTE_PLUGINS", &fresh);
        command.env("POSTHASTE_TEST_DATABASE", database).env("POSTHASTE_TEST_POSTGRES", &server.url);
        run_tests(&mut command, &mut io::stdout().lock())
    };
    let (mut total, mut success) = cargo_test(arguments, "sqlite")?;
    if let Some(again) = suite_again(arguments) {
        println!(
            "\nThe suite once more, on PostgreSQL; without {}, which the database makes no difference to.",
            ONCE.join(", ")
        );
        let (more, passed) = cargo_test(&again, "postgres")?;
        total.passed += more.passed;
        total.failed += more.failed;
        success &= passed;
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if success { Ok(()) } else { Err("cargo test failed, see above".into()) }
}

/// The arguments for the suite alone, or nothing where these leave it out.
fn suite_again(arguments: &[String]) -> Option<Vec<String>> {
    const TARGETS: [&str; 10] =
        ["--lib", "--bins", "--bin", "--tests", "--test", "--examples", "--example", "--benches", "--bench", "--doc"];
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let (ours, theirs) = arguments.split_at(end);
    let chooses = ours.iter().any(|argument| TARGETS.contains(&argument.split('=').next().unwrap_or_default()));
    let chosen =
        ours.windows(2).any(|pair| pair == ["--test", "suite"]) || ours.iter().any(|one| one == "--test=suite");
    if chooses && !chosen {
        return None;
    }
    let mut again = ours.to_vec();
    if !chosen {
        again.extend(["--test", "suite"].map(str::to_owned));
    }
    again.push("--".into());
    again.extend(theirs.iter().skip(1).cloned());
    again.extend(ONCE.iter().flat_map(|name| ["--skip", name]).map(str::to_owned));
    Some(again)
}

/// Parts of the suite that have no database, as they build plugins and call them, or PostgreSQL in any case.
const ONCE: [&str; 5] = ["cases::", "guide::", "languages::", "nodes::", "purity::"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
}

/// Runs cargo test and passes on what it prints.
fn run_tests(command: &mut Command, screen: &mut impl Write) -> Result<(Total, bool), Failure> {
    let mut cargo =
        command.stdout(Stdio::piped()).spawn().map_err(|error| process::not_started(command.get_program(), &error))?;
    let mut total = Total::default();
    if let Some(output) = cargo.stdout.take() {
        // Bytes, not text: a test may print anything.
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            total.count(&line);
            writeln!(screen, "{line}").map_err(|error| format!("the output cannot be written: {error}"))?;
        }
    }
    let status = cargo.wait().map_err(|error| format!("cargo test: {error}"))?;
    Ok((total, status.success()))
}

impl Total {
    /// Adds one binary's summary: `test result: ok. 3 passed; 0 failed; …`.
    fn count(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        let number = |what: &str| -> u64 {
            let words: Vec<_> = summary.split([' ', ';', '.']).collect();
            let found = words.windows(2).find_map(|pair| match pair {
                [number, word] if *word == what => number.parse().ok(),
                _ => None,
            });
            found.unwrap_or(0)
        };
        self.passed += number("passed");
        self.failed += number("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_runs_again_unless_it_is_left_out() {
        let again = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            suite_again(&arguments)
                .map(|again| again.join(" ").replace(&format!(" --skip {}", ONCE.join(" --skip ")), " …"))
        };
        assert_eq!(again(&[]).as_deref(), Some("--test suite -- …"));
        assert_eq!(
            again(&["delivering", "--", "--nocapture"]).as_deref(),
            Some("delivering --test suite -- --nocapture …")
        );
        assert_eq!(again(&["--test", "suite"]).as_deref(), Some("--test suite -- …"));
        assert_eq!(again(&["--test=suite", "--", "x"]).as_deref(), Some("--test=suite -- x …"));
        assert_eq!((again(&["--lib"]), again(&["--test", "store", "--", "keys"])), (None, None));
    }

    #[test]
    fn counts_over_all_binaries() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 17 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.10s\n\
            \u{fffd} test result: ok. 100 passed\n\
            test result: FAILED. 4 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        let script = format!("printf '%s' '{output}'; exit 101");
        let mut screen = Vec::new();
        let (total, success) = run_tests(Command::new("sh").args(["-c", &script]), &mut screen).unwrap();
        assert_eq!(String::from_utf8(screen).unwrap(), output);
        assert_eq!((total, success), (Total { passed: 21, failed: 3 }, false));
    }
}
