//! The names of all tests, read from the sources, so that a mistyped name is refused before anything is built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::source::{Source, Token};

/// The packages whose unit tests `unit` runs, and their sources.
const UNIT_PACKAGES: [(&str, &str); 3] =
    [("posthaste", "host/src"), ("posthaste-plugin", "plugin-sdk/src"), (BINARY_PACKAGE, "xtask/src")];

/// The one of them that has no library: cargo refuses `--lib` for it alone.
pub(crate) const BINARY_PACKAGE: &str = "xtask";

/// The paths of all tests, such as `hostile::neighbours::a_loop_is_stopped`.
#[derive(Debug, Default)]
pub(crate) struct TestCatalog {
    /// By package.
    pub(crate) unit: Vec<(&'static str, BTreeSet<String>)>,
    pub(crate) suite: BTreeSet<String>,
    /// Without the database that the store's macro puts before them.
    pub(crate) store: BTreeSet<String>,
}

impl TestCatalog {
    /// Reads the sources of the repository.
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let mut catalog = Self::default();
        for (package, folder) in UNIT_PACKAGES {
            catalog.unit.push((package, paths(&root.join(folder), TestFunctions::Marked)?));
        }
        catalog.suite = paths(&root.join("tests/suite"), TestFunctions::Marked)?;
        // A macro makes a test for each database of each function there.
        catalog.store = paths(&root.join("tests/store"), TestFunctions::All)?;
        Ok(catalog)
    }

    /// The modules of the suite that have tests.
    pub(crate) fn suite_modules(&self) -> BTreeSet<&str> {
        self.suite.iter().map(|path| first_segment(path)).collect()
    }

    /// The rooms of the packages that have unit tests.
    pub(crate) fn unit_modules(&self) -> BTreeSet<&str> {
        let paths = self.unit.iter().flat_map(|(_, paths)| paths);
        paths.map(|path| first_segment(path)).filter(|module| *module != "tests").collect()
    }
}

pub(crate) fn first_segment(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Which functions of a file are tests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TestFunctions {
    /// Those with an attribute that names `test`.
    Marked,
    All,
}

fn paths(folder: &Path, functions: TestFunctions) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    for file in rust_files(folder)? {
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let module = Source::module_of(file.strip_prefix(folder).unwrap_or(&file));
        found.extend(test_paths(&module, &Source::read(&file, &text), functions));
    }
    Ok(found)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn test_paths(module: &[String], source: &Source<'_>, functions: TestFunctions) -> Vec<String> {
    let mut found = Vec::new();
    // The names of the inline modules around the token, and the depth of braces at which each began.
    let mut inline: Vec<(&str, usize)> = Vec::new();
    let (mut depth, mut marked) = (0usize, false);
    for (at, token) in source.tokens.iter().enumerate() {
        let text = |distance: usize| source.tokens.get(at + distance).map_or("", |token| token.text);
        match token.text {
            "#" if text(1) == "[" => marked |= names_test(source.tokens.get(at + 2..).unwrap_or_default()),
            "mod" if text(2) == "{" => inline.push((text(1), depth)),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|(_, began)| *began == depth);
            }
            "fn" => {
                if marked || functions == TestFunctions::All {
                    let segments = module.iter().map(String::as_str).chain(inline.iter().map(|(name, _)| *name));
                    found.push(segments.chain([text(1)]).collect::<Vec<_>>().join("::"));
                }
                marked = false;
            }
            _ => {}
        }
    }
    found
}

/// True of the inside of `#[test]` and of `#[tokio::test(…)]`, but not of `#[cfg(test)]`.
fn names_test(tokens: &[Token<'_>]) -> bool {
    let path = tokens.iter().map(|token| token.text).take_while(|text| *text != "(" && *text != "]");
    path.last() == Some("test")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::scratch::Scratch;

    #[test]
    fn lists_tests_by_module_path() {
        let house = Scratch::new();
        house.write(
            "tests/suite/hostile/loops.rs",
            "#[tokio::test(flavor = \"multi_thread\")]\nasync fn a_loop_is_stopped() { {} }\nfn shared() {}\n",
        );
        house
            .write("tests/suite/main.rs", "mod hostile;\n")
            .write("tests/store/keys.rs", "async fn a_key(c: Case) {}\n");
        let unit = "fn f() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    #[cfg(unix)]\n    fn works() {}\n    fn g() {}\n}\n\
                    #[test]\nfn outside() {}\n";
        house.write("host/src/domain/retry.rs", unit).write("plugin-sdk/src/lib.rs", "").write("xtask/src/main.rs", "");
        let catalog = TestCatalog::read(house.root()).unwrap();
        let all = |paths: &BTreeSet<String>| paths.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(all(&catalog.suite), "hostile::loops::a_loop_is_stopped");
        assert_eq!(all(&catalog.store), "keys::a_key");
        assert_eq!(catalog.unit[0].0, "posthaste");
        assert_eq!(all(&catalog.unit[0].1), "domain::retry::outside domain::retry::tests::works");
        assert_eq!(catalog.suite_modules(), BTreeSet::from(["hostile"]));
        assert_eq!(catalog.unit_modules(), BTreeSet::from(["domain"]));
    }
}
