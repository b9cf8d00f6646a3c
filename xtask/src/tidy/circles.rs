//! Pairs of modules of the host that name each other, although neither contains the other.
//!
//! Such a pair cannot be read, tested or moved apart. Names that are re-exported count for the module that re-exports them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Violation;
use crate::source::{PathUse, Source};

type Module = Vec<String>;

/// One module names another.
struct Import {
    from: Module,
    /// The segments below the crate's root.
    path: Module,
    file: PathBuf,
    line: usize,
}

/// Collects the imports of all files of `host/src`, and then finds the circles.
#[derive(Default)]
pub(crate) struct ImportGraph {
    modules: BTreeSet<Module>,
    imports: Vec<Import>,
}

impl ImportGraph {
    /// Adds one file; tests may name anything, and files outside `host/src` are ignored.
    pub(crate) fn add(&mut self, source: &Source<'_>) {
        let Ok(file) = source.path.strip_prefix("host/src") else { return };
        if file.ends_with("tests.rs") || file.ends_with("main.rs") || file.iter().any(|part| part == "tests") {
            return;
        }
        let module = Source::module_of(file);
        let end = source.end_of_code();
        for path in source.paths().iter().filter(|path| path.line < end) {
            if let Some(target) = absolute(&module, path) {
                let import = Import { from: module.clone(), path: target, file: source.path.clone(), line: path.line };
                self.imports.push(import);
            }
        }
        self.modules.insert(module);
    }

    /// Returns one violation for each pair, at the import of the module that comes first.
    pub(crate) fn circles(&self) -> Vec<Violation> {
        let mut first_imports: BTreeMap<(&[String], &[String]), &Import> = BTreeMap::new();
        for import in &self.imports {
            let target = self.longest_module(&import.path);
            if !target.is_empty() && !import.from.starts_with(target) && !target.starts_with(&import.from) {
                first_imports.entry((import.from.as_slice(), target)).or_insert(import);
            }
        }
        let mut found = Vec::new();
        for ((from, to), import) in &first_imports {
            if from < to
                && let Some(back) = first_imports.get(&(*to, *from))
            {
                let (from, to) = (from.join("::"), to.join("::"));
                let what = format!(
                    "`{from}` and `{to}` name each other (also {}:{}): move what both use into a third module, or pass it as an argument",
                    back.file.display(),
                    back.line
                );
                found.push(Violation { path: import.file.clone(), line: import.line, what });
            }
        }
        found
    }

    /// The module that a path leads into: the rest of the path is an item of it.
    fn longest_module<'p>(&self, path: &'p [String]) -> &'p [String] {
        let lengths = (0..=path.len()).rev();
        lengths.filter_map(|length| path.get(..length)).find(|start| self.modules.contains(*start)).unwrap_or_default()
    }
}

/// Resolves `crate::…`, `super::…` and `self::…`. Other paths lead to a child module or to another crate.
fn absolute(module: &[String], path: &PathUse<'_>) -> Option<Module> {
    let (first, rest) = path.segments.split_first()?;
    if *first == "crate" {
        return Some(rest.iter().map(|&segment| segment.to_owned()).collect());
    }
    let below_self = if *first == "self" { rest } else { path.segments.as_slice() };
    let supers = below_self.iter().take_while(|segment| **segment == "super").count();
    let up = supers.checked_sub(path.nesting)?;
    if supers == 0 && *first != "self" {
        return None;
    }
    let base = module.get(..module.len().checked_sub(up)?)?;
    let rest = below_self.iter().skip(supers).map(|&segment| segment.to_owned());
    Some(base.iter().cloned().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let mut graph = ImportGraph::default();
        for (file, text) in files {
            graph.add(&Source::read(Path::new(file), text));
        }
        graph.circles().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_modules_that_name_each_other_are_found() {
        let found = circles(&[
            ("host/src/store.rs", "mod a; mod b;"),
            ("host/src/store/a.rs", "\nuse super::b::{self, B};"),
            ("host/src/store/b.rs", "fn f(_: crate::store::a::A) {}"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("host/src/store/a.rs:2: `store::a` and `store::b` name each other"), "{found:?}");
        assert!(found[0].contains("host/src/store/b.rs:1"), "{found:?}");
    }

    #[test]
    fn parents_tests_and_one_way_imports_are_no_circles() {
        let files = [
            ("host/src/store.rs", "mod a; use a::A; use self::b::B;"),
            ("host/src/store/a.rs", "use super::b::B; use crate::store::S;\n#[cfg(test)]\nmod tests { use super::c; }"),
            ("host/src/store/b.rs", "use super::S;\n#[cfg(test)]\nmod tests { use crate::store::a::A; }"),
            ("host/src/store/b/tests.rs", "use crate::store::a::A;"),
            ("host/src/lib.rs", "use crate::store::S;"),
            ("host/src/cli.rs", "use crate::Service; use std::fmt; use super::other;"),
            ("xtask/src/main.rs", "use crate::store;"),
        ];
        assert_eq!(circles(&files), [""; 0]);
    }
}
