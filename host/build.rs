//! Names the commit of the source for `posthaste --version`.
//!
//! Without git, or outside of this repository, it is `unknown`, unless POSTHASTE_COMMIT names it, as a build from an archive of
//! the source should. The result depends on the commit alone, so that a build can be reproduced.

use std::path::Path;
use std::process::Command;

/// Digits of the commit that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=POSTHASTE_COMMIT");
    let given = std::env::var("POSTHASTE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(commit_of_repository).filter(|commit| commit.bytes().all(|b| b.is_ascii_hexdigit()));
    let commit = commit.map_or_else(|| "unknown".to_owned(), |commit| commit.chars().take(DIGITS).collect());
    println!("cargo::rustc-env=POSTHASTE_BUILD_COMMIT={commit}");
}

/// Returns the commit that is checked out, and has the build script run again once that changes.
fn commit_of_repository() -> Option<String> {
    let answer = git(&["rev-parse", "--show-prefix", "HEAD"])?;
    let (prefix, commit) = answer.split_once('\n')?;
    // Otherwise this is a copy inside another repository, whose commit says nothing about it.
    if prefix != "host/" {
        return None;
    }
    // The log of HEAD changes with each commit and checkout. Files that do not exist would have it run for every build.
    for name in ["HEAD", "logs/HEAD"] {
        let file = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    Some(commit.to_owned())
}

/// Runs git in the folder of this package and returns what it prints.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}
