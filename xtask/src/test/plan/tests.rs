//! Which runs the arguments lead to.

use super::super::request::tests::request;
use super::*;

fn catalog() -> TestCatalog {
    let set = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
    TestCatalog {
        unit: vec![
            ("posthaste", set(&["domain::retry::tests::doubles", "metrics::tests::counts", "store::tests::opens"])),
            ("posthaste-plugin", set(&["testing::tests::reads_a_case"])),
            ("xtask", set(&["tidy::rooms::tests::one_way"])),
        ],
        suite: set(&[
            "cases::all_pass",
            "hostile::loops::a_loop_is_stopped",
            "metrics::each_is_documented",
            "nodes::one_dies",
        ]),
        store: set(&["keys::a_key_is_found", "log::a_list_is_cut"]),
    }
}

fn plan(arguments: &str) -> TestPlan {
    TestPlan::new(&request(arguments), &catalog()).unwrap()
}

/// Each run as `DATABASE: ARGUMENTS`, with `…` for the modules that run once.
fn runs(arguments: &str) -> Vec<String> {
    let once = independent().map(|module| format!("--skip {module}")).collect::<Vec<_>>().join(" ");
    let line = |run: &TestRun| format!("{}: {}", run.database.name(), run.arguments.join(" ").replace(&once, "…"));
    plan(arguments).runs.iter().map(line).collect()
}

#[test]
fn without_names_everything_runs_and_the_suite_again_on_postgres() {
    assert_eq!(runs(""), ["sqlite: --workspace", "postgres: --workspace --test suite -- …"]);
    assert_eq!(runs("--database sqlite"), ["sqlite: --workspace -- --skip postgres::"]);
    assert_eq!(runs("--database postgres"), ["postgres: --workspace -- --skip sqlite::"]);
    let everything = plan("");
    assert!(everything.everything && everything.needs_postgres());
}

#[test]
fn cargo_arguments_reach_both_runs_unless_they_leave_the_suite_out() {
    assert_eq!(
        runs("-- delivering -- --nocapture"),
        [
            "sqlite: --workspace delivering -- --nocapture",
            "postgres: --workspace --test suite delivering -- --nocapture …"
        ]
    );
    let suite = ["sqlite: --workspace --test suite", "postgres: --workspace --test suite -- …"];
    assert_eq!(runs("-- --test suite"), suite);
    assert_eq!(runs("-- --lib"), ["sqlite: --workspace --lib"]);
    assert_eq!(runs("-- --test store -- keys"), ["sqlite: --workspace --test store -- keys"]);
}

#[test]
fn a_target_runs_whole_or_in_part() {
    assert_eq!(runs("unit"), ["sqlite: --package posthaste --package posthaste-plugin --package xtask --lib --bins"]);
    assert_eq!(runs("unit::retry"), ["sqlite: --package posthaste --lib -- retry"]);
    assert_eq!(runs("store"), ["sqlite: --workspace --test store"]);
    assert_eq!(runs("store::keys"), ["sqlite: --workspace --test store -- keys"]);
    assert_eq!(runs("store --database postgres"), ["postgres: --workspace --test store -- --skip sqlite::"]);
    assert_eq!(runs("suite"), ["sqlite: --workspace --test suite", "postgres: --workspace --test suite -- …"]);
    assert_eq!(runs("suite --database sqlite"), ["sqlite: --workspace --test suite"]);
}

#[test]
fn a_module_of_the_suite_runs_on_both_databases_if_it_depends_on_them() {
    assert_eq!(
        runs("hostile metrics::each"),
        [
            "sqlite: --workspace --test suite -- hostile:: metrics::each",
            "postgres: --workspace --test suite -- hostile:: metrics::each …"
        ]
    );
    assert_eq!(runs("hostile:: --database postgres"), ["postgres: --workspace --test suite -- hostile::"]);
    assert_eq!(runs("cases"), ["sqlite: --workspace --test suite -- cases::"]);
    assert_eq!(
        runs("hostile -- --release -- --nocapture"),
        [
            "sqlite: --workspace --test suite --release -- hostile:: --nocapture",
            "postgres: --workspace --test suite --release -- hostile:: --nocapture …"
        ]
    );
}

#[test]
fn other_names_are_filters_for_whatever_has_them() {
    assert_eq!(runs("domain::retry"), ["sqlite: --package posthaste --lib -- domain::retry"]);
    assert_eq!(runs("tidy"), ["sqlite: --package xtask --bins -- tidy"]);
    assert_eq!(runs("a_list_is_cut"), ["sqlite: --workspace --test store -- a_list_is_cut"]);
    assert_eq!(runs("a_loop --database sqlite"), ["sqlite: --workspace --test suite -- a_loop"]);
    let both = runs("is_ --database sqlite");
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(runs("suite hostile")[0], "sqlite: --workspace --test suite");
}

#[test]
fn a_mistyped_name_is_refused_with_the_list_of_names() {
    let refused = TestPlan::new(&request("hostlie"), &catalog()).unwrap_err();
    for part in ["`hostlie`", "unit, suite, store", "cases, hostile, metrics, nodes", "domain, metrics, store"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn a_plan_needs_only_what_its_tests_use() {
    let needs = |arguments: &str| (plan(arguments).runs_suite(), plan(arguments).needs_postgres());
    assert_eq!(needs("unit"), (false, false));
    assert_eq!(needs("store"), (false, true));
    assert_eq!(needs("store --database sqlite"), (false, false));
    assert_eq!(needs("hostile"), (true, true));
    assert_eq!(needs("hostile --database sqlite"), (true, false));
    assert_eq!(needs("nodes --database sqlite"), (true, true));
    assert_eq!(needs("cases"), (true, false));
}
