//! Runs `cargo test` and counts over all its binaries.

use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use crate::{Failure, process};

/// The results of one or more runs of `cargo test`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// False if a test failed or cargo did.
    pub(crate) success: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self { passed: 0, failed: 0, success: true }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.success &= other.success;
    }
}

/// Runs `cargo test`, passes its output on and counts the results.
pub(crate) fn run_tests(command: &mut Command, screen: &mut impl Write) -> Result<Tally, Failure> {
    let mut cargo =
        command.stdout(Stdio::piped()).spawn().map_err(|error| process::not_started(command.get_program(), &error))?;
    let mut tally = Tally::default();
    if let Some(output) = cargo.stdout.take() {
        // Bytes, not text: a test may print anything.
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            tally.count(&line);
            writeln!(screen, "{line}").map_err(|error| format!("the output cannot be written: {error}"))?;
        }
    }
    let status = cargo.wait().map_err(|error| format!("cargo test: {error}"))?;
    tally.success = status.success();
    Ok(tally)
}

impl Tally {
    /// Returns how many tests ran.
    pub(crate) fn tests(&self) -> u64 {
        self.passed + self.failed
    }

    /// Adds one binary's summary: `test result: ok. 3 passed; 0 failed; …`.
    fn count(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        let number = |name: &str| -> u64 {
            let words: Vec<_> = summary.split([' ', ';', '.']).collect();
            let found = words.windows(2).find_map(|pair| match pair {
                [number, word] if *word == name => number.parse().ok(),
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
    fn counts_over_all_binaries() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 17 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.10s\n\
            \u{fffd} test result: ok. 100 passed\n\
            test result: FAILED. 4 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        let script = format!("printf '%s' '{output}'; exit 101");
        let mut screen = Vec::new();
        let tally = run_tests(Command::new("sh").args(["-c", &script]), &mut screen).unwrap();
        assert_eq!(String::from_utf8(screen).unwrap(), output);
        assert_eq!(tally, Tally { passed: 21, failed: 3, success: false });
    }

    #[test]
    fn one_failed_run_fails_the_sum() {
        let mut sum = Tally { passed: 1, failed: 0, success: true };
        sum += Tally { passed: 2, failed: 1, success: false };
        sum += Tally { passed: 4, failed: 0, success: true };
        assert_eq!((sum.tests(), sum), (8, Tally { passed: 7, failed: 1, success: false }));
    }
}
