//! Tests the case runner: a runner that never fails would make every plugin's tests worthless.

#![cfg(test)]

use std::fs;
use std::panic;
use std::path::Path;

use posthaste_plugin::testing::{Case, run_cases, run_checked_cases, take_logs};
use posthaste_plugin::{Error, Event, Message, Outcome, log};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    say: String,
}

/// Returns the outcome that its config names.
fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    log::info(format!("say {}", config.say));
    match config.say.as_str() {
        "" => Ok(Outcome::Pass),
        "drop" => Ok(Outcome::drop("told to")),
        "csv" => Ok(Message::new(event.body).content_type("text/csv").header("X-Id", event.id).into()),
        "same" => Ok(Outcome::replace(event.body)),
        other => Err(Error::new(format!("cannot {other}"))),
    }
}

fn check(config: &Config) -> Result<(), Error> {
    if config.say == "never" { Err("say: not that".into()) } else { Ok(()) }
}

/// Returns the runner's failure message for a folder with this one case.
fn failure(case: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one.json"), case).unwrap();
    failure_in(dir.path())
}

fn failure_in(dir: &Path) -> Option<String> {
    let panic = panic::catch_unwind(|| run_checked_cases(dir, transform, check)).err()?;
    Some(panic.downcast_ref::<String>().unwrap().clone())
}

#[test]
fn a_matching_case_passes() {
    for case in [
        r#"{"event": {"type": "a", "data": {}}, "outcome": "pass"}"#,
        r#"{"event": {"type": "a", "data": {}}, "config": null, "outcome": "pass"}"#,
        r#"{"event": {"type": "a", "data": 1}, "config": {"say": "drop"}, "outcome": {"drop": "told to"}}"#,
        r#"{"event": {"type": "a", "data": 1}, "config": {"say": "fly"}, "outcome": {"error": "fly"}}"#,
        r#"{"event": {"type": "a", "data": {"a":1, "b":2}}, "config": {"say": "same"}, "outcome": {"replace": {"body": {"b":2,"a":1}}}}"#,
        r#"{"event": {"type": "a", "data": [1.50,  2]}, "config": {"say": "same"}, "outcome": {"replace": {"body_text": "[1.50,  2]"}}}"#,
        r#"{"event": {"type": "a", "data": 1, "id": "e-7"}, "config": {"say": "csv"},
            "outcome": {"replace": {"body": 1, "content_type": "text/csv", "headers": {"x-id": "e-7"}}}}"#,
        r#"{"config": {"say": "never"}, "check_config": "not that"}"#,
        r#"{"config": {"do": 1}, "check_config": "unknown field `do`"}"#,
    ] {
        assert_eq!(failure(case), None, "{case}");
    }
}

#[test]
fn a_mismatch_fails_and_shows_both_results() {
    for (case, part) in [
        (r#"{"event": {"type": "a", "data": 1}, "outcome": {"drop": "x"}}"#, "came Ok(\n    Pass"),
        (r#"{"event": {"type": "a", "data": 1}, "config": {"say": "drop"}, "outcome": {"drop": "told"}}"#, "told to"),
        (r#"{"event": {"type": "a", "data": 1}, "config": {"say": "drop"}, "outcome": "pass"}"#, "told to"),
        (
            r#"{"event": {"type": "a", "data": 1}, "config": {"say": "fly"}, "outcome": {"error": "swim"}}"#,
            "cannot fly",
        ),
        (
            r#"{"event": {"type": "a", "data": 1}, "config": {"say": "same"}, "outcome": {"replace": {"body": 2}}}"#,
            "body",
        ),
        (
            r#"{"event": {"type": "a", "data": [1]}, "config": {"say": "same"}, "outcome": {"replace": {"body_text": "[ 1]"}}}"#,
            "body",
        ),
        (
            r#"{"event": {"type": "a", "data": 1}, "config": {"say": "csv"}, "outcome": {"replace": {"body": 1, "headers": {"x-id": "event-1"}}}}"#,
            "text/csv",
        ),
        (
            r#"{"event": {"type": "a", "data": 1}, "config": {"say": "csv"}, "outcome": {"replace": {"body": 1, "content_type": "text/csv"}}}"#,
            "event-1",
        ),
        (
            r#"{"event": {"type": "a", "data": 1}, "config": {"say": "never"}, "outcome": "pass"}"#,
            "the config was refused",
        ),
        (r#"{"config": {"say": "drop"}, "check_config": "x"}"#, "the config was accepted"),
        (r#"{"config": {"say": "never"}, "check_config": "other"}"#, "say: not that"),
        (r#"{"event": {"type": "a", "data": 1}}"#, "either `outcome` or `check_config`"),
        (r#"{"outcome": "pass"}"#, "`event` is missing"),
        (r#"{"event": {"type": "a", "data": 1}, "outcome": {"replace": {}}}"#, "either `body` or `body_text`"),
        (r#"{"event": {"type": "a", "data": 1}, "outcome": "pass", "extra": 1}"#, "unknown field `extra`"),
        (r#"{"event": {"type": "a"}, "outcome": "pass"}"#, "missing field `data`"),
    ] {
        let text = failure(case).unwrap_or_default();
        assert!(text.contains(part) && text.contains("one"), "{case}\n{text}");
    }
}

#[test]
fn a_folder_without_cases_fails() {
    let dir = tempfile::tempdir().unwrap();
    assert!(failure_in(dir.path()).unwrap().contains("no *.json"));
    assert!(failure_in(&dir.path().join("absent")).is_some());
}

#[test]
fn data_and_config_keep_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spelling.json");
    fs::write(&path, r#"{"event": {"type": "a", "data": {"b":1.0, "a" :1e2 } }, "config": [1.0 ], "outcome": "pass"}"#)
        .unwrap();
    let case = Case::load(&path).unwrap();
    assert_eq!((case.name.as_str(), case.event.body.as_str()), ("spelling", r#"{"b":1.0, "a" :1e2 }"#));
    assert_eq!(case.config, "[1.0 ]");
}

#[test]
fn log_lines_are_kept_for_the_test() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("a.json"),
        r#"{"event": {"type": "a", "data": 1}, "config": {"say": "drop"}, "outcome": {"drop": "told to"}}"#,
    )
    .unwrap();
    run_cases(dir.path(), transform);
    assert_eq!(take_logs(), [(log::Level::Info, "say drop".to_owned())]);
    assert_eq!(take_logs(), []);
}
