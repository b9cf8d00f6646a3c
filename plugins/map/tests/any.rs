//! For every config and every data, the result is JSON or an error.

#![cfg(test)]

use posthaste_plugin::testing::event;
use posthaste_plugin::{Event, Outcome};
use posthaste_plugin_map::{Config, check, transform};
use proptest::prelude::*;
use serde_json::{Value, json};

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab0]", 0..3).prop_map(|names| names.iter().flat_map(|name| ["/", name]).collect())
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), Just(json!("x"))];
    leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab0]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn sent(event: Event, config: &Value) -> Option<Value> {
    let config: Config = serde_json::from_value(config.clone()).ok()?;
    check(&config).ok()?;
    match transform(event, config).ok()? {
        Outcome::Replace(message) => Some(serde_json::from_str(&message.body).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn pattern() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab0*]", 0..4).prop_map(|names| names.iter().flat_map(|name| ["/", name]).collect())
}

fn has_null_member(value: &Value) -> bool {
    let is_null = |member: &Value| member.is_null() || has_null_member(member);
    match value {
        Value::Object(members) => members.values().any(is_null),
        Value::Array(elements) => elements.iter().any(has_null_member),
        _ => false,
    }
}

proptest! {
    #[test]
    fn patterns_and_values_never_break_the_json(
        data in data(),
        pick in prop::option::of(prop::collection::vec(pattern(), 0..3)),
        remove in prop::collection::vec(pattern(), 0..3),
        moves in prop::collection::btree_map(pattern(), pattern(), 0..2),
        defaults in prop::collection::btree_map(pattern(), any::<i8>(), 0..2),
        convert in prop::collection::btree_map(pattern(), prop_oneof![Just("string"), Just("number"), Just("json")], 0..2),
        set in prop::collection::btree_map(
            (pattern(), prop_oneof![Just(""), Just("/-")]).prop_map(|(pattern, end)| pattern + end),
            prop_oneof![Just("{{ a | default(omit) }}"), Just("{{ item | default(1) }}"), Just("\"{{ data }}")],
            0..3,
        ),
        drop_nulls: bool,
    ) {
        let mut config = json!({
            "remove": remove, "move": moves, "defaults": defaults, "convert": convert, "set": set, "drop_nulls": drop_nulls,
        });
        if let Some(pick) = pick {
            config["pick"] = json!(pick);
        }
        if let Some(sent) = sent(event("x", &data.to_string()), &config) {
            prop_assert!(!drop_nulls || !has_null_member(&sent), "{sent}");
            // A field that is removed everywhere, and put nowhere, is gone.
            if remove.iter().any(|field| field == "/*/a") && moves.is_empty() && defaults.is_empty() && set.is_empty() {
                let children = sent.as_array().into_iter().flatten().chain(sent.as_object().into_iter().flat_map(|map| map.values()));
                prop_assert!(children.clone().all(|child| child.get("a").is_none()), "{sent}");
            }
        }
    }

    #[test]
    fn the_message_is_json(
        data in data(),
        pick in prop::option::of(prop::collection::vec(path(), 0..3)),
        remove in prop::collection::vec(path(), 0..3),
        moves in prop::collection::btree_map(path(), path(), 0..3),
        set in prop::collection::btree_map(path(), any::<i8>(), 0..2),
    ) {
        let mut config = json!({"remove": remove, "move": moves, "set": set});
        if let Some(pick) = pick {
            config["pick"] = json!(pick);
        }
        if let Some(sent) = sent(event("x", &data.to_string()), &config) {
            for (path, value) in set {
                prop_assert_eq!(sent.pointer(&path), Some(&json!(value)));
            }
            // A removed field may exist only if another value is put there.
            let written = |path: &str| {
                let targets = config["move"].as_object().unwrap().values().filter_map(Value::as_str);
                let mut targets = targets.chain(config["set"].as_object().unwrap().keys().map(String::as_str));
                targets.any(|target| target.starts_with(path) || path.starts_with(target))
            };
            let in_lists = data.to_string().contains('[');
            for path in remove.iter().filter(|path| !in_lists && !path.is_empty() && !written(path)) {
                prop_assert_eq!(sent.pointer(path), None);
            }
        }
    }
}
