//! `cargo xtask test`: every test, or the named ones.

mod catalog;
mod plan;
mod request;
mod tally;

use std::io;
use std::path::{Path, PathBuf};

use crate::postgres::Server;
use crate::{Failure, needs, plugins, process, tidy};

use catalog::TestCatalog;
use plan::{TestPlan, TestRun};
use request::TestRequest;
use tally::Tally;

/// Runs the tests that the arguments name; without names, checks the house rules, builds everything and runs every test.
pub(crate) fn test(root: &Path, arguments: &[String]) -> Result<(), Failure> {
    let request = TestRequest::parse(arguments)?;
    let plan = TestPlan::new(&request, &TestCatalog::read(root)?)?;
    if plan.everything {
        tidy::tidy(root)?;
    }
    let environment = Environment::prepare(root, &plan)?;
    let mut total = Tally::default();
    for target in plan.targets() {
        let mut of_target = Tally::default();
        for run in plan.runs.iter().filter(|run| run.target == target) {
            of_target += environment.run(root, run)?;
        }
        if of_target.tests() == 0 && of_target.success {
            return Err(format!("no test of {target} has this name: cargo ran none"));
        }
        total += of_target;
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.success { Ok(()) } else { Err("cargo test failed, see above".into()) }
}

/// Runs all unit tests; needs neither a database nor any other program.
pub(crate) fn unit_tests(root: &Path) -> Result<(), Failure> {
    test(root, &["unit".to_owned()])
}

/// The programs that the tests of one plan run against.
struct Environment {
    /// The folder of the plugins under test.
    plugins: PathBuf,
    /// Ends with this value.
    server: Option<Server>,
}

impl Environment {
    /// Installs, builds and starts what the plan needs.
    fn prepare(root: &Path, plan: &TestPlan) -> Result<Self, Failure> {
        needs::install(root, &plan.scope())?;
        if plan.everything {
            process::build_workspace(root)?;
        } else if plan.runs_suite() {
            process::build_host(root)?;
        }
        let plugins = if plan.everything || (plan.runs_suite() && !plugins::stale(root)?.is_empty()) {
            let fresh = process::target_dir()?.join("plugins");
            plugins::build(root, &fresh)?;
            if plan.everything {
                plugins::compare(root, &fresh)?;
            }
            fresh
        } else {
            root.join("plugins/dist")
        };
        let server = if plan.needs_postgres() { Some(Server::start(root)?) } else { None };
        Ok(Self { plugins, server })
    }

    fn run(&self, root: &Path, run: &TestRun) -> Result<Tally, Failure> {
        if let Some(announcement) = &run.announcement {
            println!("\n{announcement}");
        }
        let mut command = process::cargo(root);
        command.args(["test", "--locked", "--no-fail-fast"]).args(&run.arguments);
        command.env("POSTHASTE_BIN", process::posthaste()?).env("POSTHASTE_PLUGINS", &self.plugins);
        command.env("POSTHASTE_TEST_DATABASE", run.database.name());
        if let Some(server) = &self.server {
            command.env("POSTHASTE_TEST_POSTGRES", &server.url);
        }
        tally::run_tests(&mut command, &mut io::stdout().lock())
    }
}
