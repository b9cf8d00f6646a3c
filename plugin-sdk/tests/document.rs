//! Tests moving values in a document: against the same changes of a `serde_json::Value`, and beyond what that can represent.

#![cfg(test)]

use posthaste_plugin::json::{Document, Pointer, edit_strings, text};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn pointer(text: &str) -> Pointer {
    Pointer::new(text).unwrap()
}

fn document() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "[{}\",é]{0,3}".prop_map(Value::from)];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab01]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab01]", 0..4).prop_map(|names| names.iter().flat_map(|name| ["/", name]).collect())
}

fn read(document: &Document) -> Value {
    serde_json::from_str(&document.to_string()).unwrap()
}

proptest! {
    #[test]
    fn gets_and_takes_what_a_pointer_names(value in document(), path in path()) {
        let source = value.to_string();
        let mut document = Document::parse(&source).unwrap();
        let found = document.get(&pointer(&path)).map(|found| serde_json::from_str::<Value>(found.get()).unwrap());
        prop_assert_eq!(found.as_ref(), value.pointer(&path));
        prop_assert_eq!(read(&document), value.clone());
        let taken = document.take(&pointer(&path)).map(|found| serde_json::from_str::<Value>(found.get()).unwrap());
        prop_assert_eq!(taken, found);
        prop_assert!(document.get(&pointer(&path)).is_none());
    }

    #[test]
    fn a_value_that_was_put_is_found_at_its_pointer(value in document(), path in path()) {
        let source = value.to_string();
        let mut document = Document::parse(&source).unwrap();
        match document.put(&pointer(&path), "new") {
            Ok(()) => {
                let (found, now) = (document.get(&pointer(&path)).unwrap(), read(&document));
                prop_assert_eq!(found.get(), "\"new\"");
                prop_assert_eq!(now.pointer(&path), Some(&json!("new")));
            }
            Err(error) => prop_assert!(error.to_string().contains(&path)),
        }
    }

    #[test]
    fn keep_leaves_exactly_the_named_values(value in document(), paths in prop::collection::vec(path(), 0..4)) {
        let source = value.to_string();
        let mut document = Document::parse(&source).unwrap();
        document.keep(&paths.iter().map(|path| pointer(path)).collect::<Vec<_>>());
        let kept = read(&document);
        let objects_only = !source.contains('[');
        for path in paths {
            if objects_only && value.pointer(&path).is_some() {
                prop_assert_eq!(kept.pointer(&path), value.pointer(&path));
            }
        }
    }

    #[test]
    fn every_sequence_of_edits_leaves_valid_json(value in document(), steps in prop::collection::vec((0..3, path(), document()), 0..8)) {
        let source = value.to_string();
        let mut document = Document::parse(&source).unwrap();
        for (step, path, value) in steps {
            match step {
                0 => drop(document.take(&pointer(&path))),
                1 => document.keep(&[pointer(&path)]),
                _ => drop(document.put(&pointer(&path), &value)),
            }
            read(&document);
        }
    }

    #[test]
    fn only_strings_are_edited(value in document()) {
        let source = serde_json::to_string_pretty(&value).unwrap();
        let same = edit_strings(&source, |string| Ok(Some(serde_json::to_string(string).unwrap()))).unwrap();
        prop_assert_eq!(same, source.clone());
        let mut count = 0;
        let edited = edit_strings(&source, |_| { count += 1; Ok(Some("[]".into())) }).unwrap();
        let _: Value = serde_json::from_str(&edited).unwrap();
        prop_assert_eq!(edited.matches("[]").count(), source.matches("[]").count() + count);
    }

    #[test]
    fn no_text_panics(text in r#"[\[\]{}",:a0\\ud8~ ]{0,24}"#) {
        let _ = edit_strings(&text, |_| Ok(None));
        if let Ok(mut document) = Document::parse(&text) {
            drop(document.take(&pointer("/a/0")));
            read(&document);
        }
    }
}

#[test]
fn a_pointer_can_lead_into_a_value_that_was_put() {
    let mut document = Document::parse("1").unwrap();
    document.put(&pointer(""), &json!({"a": {"b": 1}})).unwrap();
    document.put(&pointer("/a/c"), &2).unwrap();
    assert_eq!(document.to_string(), r#"{"a":{"b":1,"c":2}}"#);
    assert_eq!(document.take(&pointer("")).unwrap().get(), r#"{"a":{"b":1,"c":2}}"#);
    assert_eq!(document.to_string(), "null");
}

#[test]
fn of_equal_names_the_last_counts() {
    let mut document = Document::parse(r#"{"a":1,"b":0,"\u0061":2}"#).unwrap();
    assert_eq!(document.get(&pointer("/a")).unwrap().get(), "2");
    document.put(&pointer("/a"), &3).unwrap();
    assert_eq!(document.to_string(), r#"{"b":0,"\u0061":3}"#);
    assert_eq!(document.take(&pointer("/a")).unwrap().get(), "3");
    assert_eq!(document.to_string(), r#"{"b":0}"#);
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let depth = 40_000;
    let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let source = format!(r#"{{"a":{deep}}}"#);
    let mut document = Document::parse(&source).unwrap();
    let taken = document.take(&pointer("/a")).unwrap();
    document.put(&pointer("/b/c"), &taken).unwrap();
    assert_eq!(document.to_string(), format!(r#"{{"b":{{"c":{deep}}}}}"#));
    document.put(&pointer(&"/x".repeat(128)), &1).unwrap();
    assert!(document.to_string().len() > 2 * depth);
}

#[test]
fn text_returns_the_characters_of_a_string_and_the_json_of_other_values() {
    let of = |json: &str| text(&RawValue::from_string(json.to_owned()).unwrap()).into_owned();
    assert_eq!(of(r#""N\u00faria \"x\"""#), "Núria \"x\"");
    assert_eq!(of("2.50"), "2.50");
    assert_eq!(of(r#"{"a":  1}"#), r#"{"a":  1}"#);
    assert_eq!(of(r#""a\ud800""#), r#""a\ud800""#);
}
