//! The warning about fields that an event does not have.

#![cfg(test)]

use posthaste_plugin::log::Level;
use posthaste_plugin::testing::{event, take_logs};
use posthaste_plugin_mask::{Config, transform};
use serde_json::json;

/// Returns the log lines of masking these fields.
fn logs(data: &str, fields: &[String]) -> Vec<(Level, String)> {
    let config: Config = serde_json::from_value(json!({"fields": fields})).unwrap();
    transform(event("x", data), config).unwrap();
    take_logs()
}

#[test]
fn one_warning_names_the_missing_fields() {
    let fields = ["/iban", "/name/first", "/a", "/a/b", "/list/1"].map(String::from);
    let lines = logs(r#"{"iban": 1, "a": {"c": 2}, "list": [1]}"#, &fields);
    let text = "not in the data, so not masked: `/name/first`, `/list/1`";
    assert_eq!(lines, [(Level::Warn, text.to_owned())]);
    assert_eq!(logs(r#"{"iban": 1}"#, &fields[..1]), []);
}

#[test]
fn the_warning_names_missing_keys_as_keys() {
    let config = json!({"fields": ["/a/*/iban"], "keys": ["*_token", "a", "iban"]});
    transform(event("x", r#"{"a": 1}"#), serde_json::from_value(config).unwrap()).unwrap();
    // `/a/*/iban` leads into `a`, which is masked.
    let text = "not in the data, so not masked: key `*_token`, key `iban`";
    assert_eq!(take_logs(), [(Level::Warn, text.to_owned())]);
}

#[test]
fn the_warning_is_bounded() {
    let fields: Vec<_> = (0..1_000).map(|number| format!("/{number}{}", "é".repeat(10_000))).collect();
    let lines = logs("{}", &fields);
    assert!(lines.len() == 1 && lines[0].1.len() <= 2_048 && lines[0].1.ends_with("…` and 992 more"), "{lines:?}");
}
