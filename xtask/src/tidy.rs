//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod files;
mod links;
mod rooms;
#[cfg(test)]
pub(crate) mod scratch;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Failure, plugins, wit};
use source::Source;

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: PathBuf,
    line: usize,
    /// What is wrong, why that is a rule and how to mend it.
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// Checks every file and prints a line for each broken rule.
pub(crate) fn tidy(root: &Path) -> Result<(), Failure> {
    let violations = violations(root)?;
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        1 => Err("tidy: 1 rule is broken, see above".into()),
        count => Err(format!("tidy: {count} rules are broken, see above")),
    }
}

fn violations(root: &Path) -> Result<Vec<Violation>, Failure> {
    let mut found = Vec::new();
    for path in project_files(root)? {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        if wit::is_stray(relative) {
            let what =
                "is one more copy of the WIT: include wit/v0.1/transform.wit, or list the copy in xtask/src/wit.rs";
            found.push(Violation { path: relative.to_owned(), line: 1, what: what.into() });
        }
        // Other kinds of file may hold anything; they are not read.
        let is_rust = name.ends_with(".rs");
        if !is_rust && !name.ends_with(".md") && !name.ends_with(".toml") && !relative.starts_with(".ci") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", relative.display()))?;
        if is_rust {
            let source = Source::read(relative, &text);
            found.extend(files::check_rust(&source));
            found.extend(rooms::check(&source));
        }
        if name.ends_with(".md") {
            found.extend(links::check(root, relative, &text));
        } else {
            found.extend(files::check_marks(relative, &text));
        }
    }
    for path in wit::stale_copies(root)? {
        let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let what = "differs from wit/v0.1/transform.wit: run `cargo xtask wit` and commit the copies";
        found.push(Violation { path, line: 1, what: what.into() });
    }
    for (path, why) in plugins::stale(root)? {
        let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let what = format!("{why}, and the binary embeds it: run `cargo xtask plugins` and commit plugins/dist");
        found.push(Violation { path, line: 1, what });
    }
    found.sort();
    Ok(found)
}

/// Every file of the project, sorted: what lies in build folders and hidden folders (save `.ci`) is not ours.
fn project_files(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("{}: {error}", folder.display()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type().map_err(|error| format!("{}: {error}", entry.path().display()))?;
            let skipped = name == "target" || name == "node_modules" || (name.starts_with('.') && name != ".ci");
            if kind.is_dir() && !skipped {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::scratch::Scratch;
    use super::*;

    #[test]
    fn names_the_place_of_every_broken_rule() {
        let house = Scratch::new();
        house.write("host/src/domain/event.rs", "//! Events.\n\nuse crate::store::Store;\n");
        house.write("host/src/domain/target/hidden.rs", "no docs, but built\n");
        house.write("README.md", "[a](gone.md)\n").write(".hidden/x.rs", "").write("data.bin", "\u{0}");
        house.write("plugins/x/Cargo.toml", "").write("plugins/x/src/lib.rs", "fn main() {}\n");
        let found: Vec<_> = violations(house.root()).unwrap().iter().map(ToString::to_string).collect();
        let starts = [
            "README.md:1: the link `gone.md`",
            "host/src/domain/event.rs:3: `domain` names `crate::store`",
            "plugins/dist/x.wasm:1: is missing",
            "plugins/x/src/lib.rs:1: the file does not say what it is for",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }
}
