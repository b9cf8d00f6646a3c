//! Which runs of `cargo test` a request leads to, and what these need.

use std::collections::BTreeSet;
use std::fmt;

use super::catalog::{BINARY_PACKAGE, TestCatalog, first_segment};
use super::request::{Database, TestRequest};
use crate::Failure;
use crate::needs::Scope;

/// Modules of the suite that run once, on SQLite: they build plugins and call them, use no database, or choose their own.
const DATABASE_INDEPENDENT: [&str; 6] = ["cases", "guide", "languages", "moving", "nodes", "purity"];

/// A group of tests that one name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Workspace,
    Unit,
    Suite,
    Store,
}

impl Target {
    /// The targets that have a name of their own.
    const NAMED: [Target; 3] = [Target::Unit, Target::Suite, Target::Store];

    fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Unit => "unit",
            Self::Suite => "suite",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.name())
    }
}

/// One run of `cargo test`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestRun {
    pub(crate) target: Target,
    pub(crate) database: Database,
    /// The arguments of `cargo test` that select the tests.
    pub(crate) arguments: Vec<String>,
    /// Printed before the run.
    pub(crate) announcement: Option<String>,
}

/// The runs that a request leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestPlan {
    pub(crate) runs: Vec<TestRun>,
    /// True if the request names no tests, so that every test runs.
    pub(crate) everything: bool,
    /// The modules of the suite that run.
    suite_modules: BTreeSet<String>,
    /// The database that the request limits the tests to.
    only: Option<Database>,
}

/// The tests that the names select: of each target nothing, or the tests whose path contains one of the filters, or, with
/// an empty filter, all.
#[derive(Debug, Default)]
struct Selection {
    unit: BTreeSet<String>,
    suite: BTreeSet<String>,
    store: BTreeSet<String>,
}

impl TestPlan {
    /// Resolves the names; returns a message that lists the names if one is unknown.
    pub(crate) fn new(request: &TestRequest, catalog: &TestCatalog) -> Result<Self, Failure> {
        let mut plan =
            Self { runs: Vec::new(), everything: false, suite_modules: BTreeSet::new(), only: request.database };
        if request.names.is_empty() {
            plan.everything = true;
            plan.suite_modules = catalog.suite_modules().into_iter().map(str::to_owned).collect();
            plan.run_everything(request);
            return Ok(plan);
        }
        let mut selection = Selection::default();
        for name in &request.names {
            selection.add(name, catalog)?;
        }
        let selected = |path: &&String| selection.suite.iter().any(|filter| path.contains(filter.as_str()));
        plan.suite_modules = catalog.suite.iter().filter(selected).map(|path| first_segment(path).to_owned()).collect();
        plan.run_selected(&selection, request, catalog);
        Ok(plan)
    }

    fn run_everything(&mut self, request: &TestRequest) {
        let first = request.database.unwrap_or(Database::Sqlite);
        let skipped = request.database.map(|only| store_module(only.other()));
        let arguments = arguments(&["--workspace"], &request.cargo, [], skipped);
        self.runs.push(TestRun { target: Target::Workspace, database: first, arguments, announcement: None });
        if request.database.is_none()
            && let Some(arguments) = suite_again(&request.cargo)
        {
            let announcement = Some(format!(
                "The suite again, on PostgreSQL, without the modules that do not depend on the database: {}.",
                DATABASE_INDEPENDENT.join(", ")
            ));
            let target = Target::Workspace;
            self.runs.push(TestRun { target, database: Database::Postgres, arguments, announcement });
        }
    }

    fn run_selected(&mut self, selection: &Selection, request: &TestRequest, catalog: &TestCatalog) {
        if !selection.unit.is_empty() {
            let packages = packages(&selection.unit, catalog);
            let mut choice: Vec<_> = packages.iter().flat_map(|package| ["--package", *package]).collect();
            choice.extend(packages.iter().any(|package| *package != BINARY_PACKAGE).then_some("--lib"));
            choice.extend(packages.contains(&BINARY_PACKAGE).then_some("--bins"));
            let arguments = arguments(&choice, &request.cargo, filters(&selection.unit), []);
            self.push(Target::Unit, Database::Sqlite, arguments);
        }
        if !selection.store.is_empty() {
            // Each of its tests names its database.
            let skipped = request.database.map(|only| store_module(only.other()));
            let choice = ["--workspace", "--test", "store"];
            let arguments = arguments(&choice, &request.cargo, filters(&selection.store), skipped);
            self.push(Target::Store, request.database.unwrap_or(Database::Sqlite), arguments);
        }
        if !selection.suite.is_empty() {
            let choice = ["--workspace", "--test", "suite"];
            let first = request.database.unwrap_or(Database::Sqlite);
            self.push(Target::Suite, first, arguments(&choice, &request.cargo, filters(&selection.suite), []));
            let dependent = self.suite_modules.iter().any(|module| !DATABASE_INDEPENDENT.contains(&module.as_str()));
            if request.database.is_none() && dependent {
                let arguments = arguments(&choice, &request.cargo, filters(&selection.suite), independent());
                self.push(Target::Suite, Database::Postgres, arguments);
            }
        }
    }

    fn push(&mut self, target: Target, database: Database, arguments: Vec<String>) {
        let announcement = (target == Target::Suite).then(|| format!("The suite on {}:", database.name()));
        self.runs.push(TestRun { target, database, arguments, announcement });
    }

    /// The targets that run, in order.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<_> = self.runs.iter().map(|run| run.target).collect();
        targets.dedup();
        targets
    }

    /// True if tests start the `posthaste` binary.
    pub(crate) fn runs_suite(&self) -> bool {
        self.everything || self.targets().contains(&Target::Suite)
    }

    /// True if tests run on PostgreSQL. The harness starts one by itself for each test binary that has none.
    pub(crate) fn needs_postgres(&self) -> bool {
        let store = self.targets().contains(&Target::Store);
        let independent = ["moving", "nodes"].iter().any(|module| self.suite_modules.contains(*module));
        let on_postgres = self.runs.iter().any(|run| run.database == Database::Postgres);
        self.everything || independent || on_postgres || (store && self.only != Some(Database::Sqlite))
    }

    /// What the tests need besides Rust.
    pub(crate) fn scope(&self) -> Scope<'_> {
        if self.everything { Scope::Everything } else { Scope::Modules(&self.suite_modules, self.needs_postgres()) }
    }
}

impl Selection {
    fn add(&mut self, name: &str, catalog: &TestCatalog) -> Result<(), Failure> {
        let (first, rest) = name.split_once("::").unwrap_or((name, ""));
        if let Some(target) = Target::NAMED.into_iter().find(|target| target.name() == first) {
            self.of(target).insert(rest.to_owned());
            return Ok(());
        }
        if catalog.suite_modules().contains(first) {
            self.suite.insert(format!("{first}::{rest}"));
            return Ok(());
        }
        let unit = catalog.unit.iter().any(|(_, paths)| contains(paths, name));
        for (target, matches) in [
            (Target::Unit, unit),
            (Target::Suite, contains(&catalog.suite, name)),
            (Target::Store, contains(&catalog.store, name)),
        ] {
            if matches {
                self.of(target).insert(name.to_owned());
            }
            // A module of the host's is a name of unit tests, whatever else has it in its name.
            if matches && target == Target::Unit && catalog.unit_modules().contains(first) {
                return Ok(());
            }
        }
        let known = [&self.unit, &self.suite, &self.store].iter().any(|filters| filters.contains(name));
        if known { Ok(()) } else { Err(unknown(name, catalog)) }
    }

    fn of(&mut self, target: Target) -> &mut BTreeSet<String> {
        match target {
            Target::Suite => &mut self.suite,
            Target::Store => &mut self.store,
            Target::Unit | Target::Workspace => &mut self.unit,
        }
    }
}

fn contains(paths: &BTreeSet<String>, name: &str) -> bool {
    paths.iter().any(|path| path.contains(name))
}

fn unknown(name: &str, catalog: &TestCatalog) -> Failure {
    let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    format!(
        "no test has `{name}` in its name; a NAME is one of\n  \
         targets: unit, suite, store, or a part of one, such as `store::keys`\n  \
         modules of the suite: {}\n  \
         modules with unit tests: {}\n  \
         any part of a test's path, such as `domain::retry`",
        list(catalog.suite_modules()),
        list(catalog.unit_modules())
    )
}

/// The module in which the store's macro puts the tests on this database.
fn store_module(database: Database) -> String {
    format!("{}::", database.name())
}

fn independent() -> impl Iterator<Item = String> {
    DATABASE_INDEPENDENT.iter().map(|module| format!("{module}::"))
}

/// The filters for the test binary: none if one of them is for all.
fn filters(selected: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    let all = selected.contains("");
    selected.iter().filter(move |_| !all)
}

/// The packages that have unit tests of this name.
fn packages(filters: &BTreeSet<String>, catalog: &TestCatalog) -> Vec<&'static str> {
    let has = |paths: &BTreeSet<String>| filters.iter().any(|filter| contains(paths, filter));
    let some: Vec<_> = catalog.unit.iter().filter(|(_, paths)| has(paths)).map(|(package, _)| *package).collect();
    // A name from a macro, which the catalogue does not know, may be in any of them.
    if some.is_empty() { catalog.unit.iter().map(|(package, _)| *package).collect() } else { some }
}

/// `CHOICE OWN… -- FILTERS… OTHER… --skip SKIPPED…`, where `OWN -- OTHER` are the user's arguments.
fn arguments<'a>(
    choice: &[&str],
    cargo: &'a [String],
    filters: impl IntoIterator<Item = &'a String>,
    skipped: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let end = cargo.iter().position(|argument| argument == "--").unwrap_or(cargo.len());
    let (own, other) = cargo.split_at(end);
    let mut all: Vec<String> = choice.iter().map(|&argument| argument.to_owned()).chain(own.iter().cloned()).collect();
    let mut harness: Vec<String> = filters.into_iter().chain(other.iter().skip(1)).cloned().collect();
    harness.extend(skipped.into_iter().flat_map(|module| ["--skip".to_owned(), module]));
    if !harness.is_empty() {
        all.push("--".to_owned());
        all.extend(harness);
    }
    all
}

/// The arguments for the suite alone, or nothing if the user's arguments leave it out.
fn suite_again(cargo: &[String]) -> Option<Vec<String>> {
    const TARGETS: [&str; 10] =
        ["--lib", "--bins", "--bin", "--tests", "--test", "--examples", "--example", "--benches", "--bench", "--doc"];
    let own: Vec<_> = cargo.iter().take_while(|argument| *argument != "--").collect();
    let chooses = own.iter().any(|argument| TARGETS.contains(&argument.split('=').next().unwrap_or_default()));
    let chosen = own.windows(2).any(|pair| pair == ["--test", "suite"]) || own.iter().any(|one| *one == "--test=suite");
    if chooses && !chosen {
        return None;
    }
    let choice: &[&str] = if chosen { &["--workspace"] } else { &["--workspace", "--test", "suite"] };
    Some(arguments(choice, cargo, [], independent()))
}

#[cfg(test)]
mod tests;
