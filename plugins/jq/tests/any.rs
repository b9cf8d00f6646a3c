//! For every program and every data, the result is JSON or an error.

#![cfg(test)]

use posthaste_plugin::testing::event;
use posthaste_plugin::{Error, Outcome};
use posthaste_plugin_jq::{Config, transform};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Words of jq, of which most sequences are no program.
const WORDS: [&str; 46] = [
    ".",
    "..",
    ".a",
    ".[0]",
    ".[]",
    ".[1:]",
    "?",
    "//",
    "|",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ";",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "|=",
    "==",
    "<",
    "and",
    "not",
    "if",
    "then",
    "else",
    "end",
    "try",
    "catch",
    "reduce",
    "as",
    "$x",
    "map(",
    "del(",
    "path(",
    "\"\\(.)\"",
    "@json",
    "1",
    "1e400",
    "\"a\"",
];

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab\\\\\"]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn run(filter: &str, data: &str) -> Result<Outcome, Error> {
    let config: Config = serde_json::from_value(json!({"filter": filter}))?;
    transform(event("t", data), config)
}

proptest! {
    #[test]
    fn values_are_written_as_they_were_read(data in data()) {
        let text = data.to_string();
        let Outcome::Replace(message) = run("[.]", &text).unwrap() else { panic!("nothing is sent") };
        assert_eq!(message.body, format!("[{text}]"));
    }

    #[test]
    fn the_result_is_json_or_an_error(
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 1..12),
        data in data(),
    ) {
        if let Ok(Outcome::Replace(message)) = run(&words.join(" "), &data.to_string()) {
            serde_json::from_str::<serde::de::IgnoredAny>(&message.body).unwrap();
        }
    }

    #[test]
    fn no_text_breaks_the_compiler(filter in ".{0,40}") {
        drop(run(&filter, "null"));
    }
}
