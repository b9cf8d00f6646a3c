//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod circles;
mod files;
mod links;
mod rooms;
#[cfg(test)]
pub(crate) mod scratch;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Source;
use crate::{Failure, plugins, wit};
use circles::ImportGraph;

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: PathBuf,
    line: usize,
    /// The problem, the reason for the rule and the remedy.
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// The result of all checks, each sorted by place.
#[derive(Debug, Default)]
struct Report {
    violations: Vec<Violation>,
    /// Printed, but not an error.
    notes: Vec<Violation>,
}

/// Checks every file and prints a line for each broken rule.
pub(crate) fn tidy(root: &Path) -> Result<(), Failure> {
    let report = report(root)?;
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    for violation in &report.violations {
        eprintln!("{violation}");
    }
    match report.violations.len() {
        0 => Ok(()),
        1 => Err("tidy: 1 rule is broken, see above".into()),
        count => Err(format!("tidy: {count} rules are broken, see above")),
    }
}

fn report(root: &Path) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut imports = ImportGraph::default();
    for path in project_files(root)? {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        if wit::is_stray(relative) {
            let what =
                "is one more copy of the WIT: include wit/v0.1/transform.wit, or list the copy in xtask/src/wit.rs";
            report.violations.push(Violation { path: relative.to_owned(), line: 1, what: what.into() });
        }
        // Files of other kinds may be binary.
        let is_rust = name.ends_with(".rs");
        if !is_rust && !name.ends_with(".md") && !name.ends_with(".toml") && !relative.starts_with(".ci") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", relative.display()))?;
        if is_rust {
            let source = Source::read(relative, &text);
            report.violations.extend(files::check_rust(&source));
            report.violations.extend(rooms::check(&source));
            report.notes.extend(files::note_length(&source));
            imports.add(&source);
        }
        if name.ends_with(".md") {
            report.violations.extend(links::check(root, relative, &text));
        } else {
            report.violations.extend(files::check_marks(relative, &text));
        }
    }
    for path in wit::stale_copies(root)? {
        let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let what = "differs from wit/v0.1/transform.wit: run `cargo xtask wit` and commit the copies";
        report.violations.push(Violation { path, line: 1, what: what.into() });
    }
    for (path, why) in plugins::stale(root)? {
        let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let what = format!("{why}, and the binary embeds it: run `cargo xtask plugins` and commit plugins/dist");
        report.violations.push(Violation { path, line: 1, what });
    }
    report.violations.extend(imports.circles());
    report.notes.sort();
    report.violations.sort();
    Ok(report)
}

/// Returns every file of the project, sorted, without build folders and hidden folders other than `.ci` and `.github`.
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
            let skipped = name == "target"
                || name == "node_modules"
                || (name.starts_with('.') && name != ".ci" && name != ".github");
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
    fn reports_the_place_of_every_broken_rule() {
        let house = Scratch::new();
        house.write("host/src/domain/event.rs", "//! Events.\n\nuse crate::store::Store;\n");
        house.write("host/src/domain/target/hidden.rs", "no docs, but built\n");
        house.write("README.md", "[a](gone.md)\n").write(".hidden/x.rs", "").write("data.bin", "\u{0}");
        house.write("plugins/x/Cargo.toml", "").write("plugins/x/src/lib.rs", "fn main() {}\n");
        house
            .write("host/src/store/a.rs", "//! A.\nuse super::b;\n")
            .write("host/src/store/b.rs", "//! B.\nuse super::a;\n");
        let report = report(house.root()).unwrap();
        assert_eq!(report.notes, []);
        let found: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
        let starts = [
            "README.md:1: the link `gone.md`",
            "host/src/domain/event.rs:3: `domain` names `crate::store`",
            "host/src/store/a.rs:2: `store::a` and `store::b` name each other",
            "plugins/dist/x.wasm:1: is missing",
            "plugins/x/src/lib.rs:1: the file has no description",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }
}
