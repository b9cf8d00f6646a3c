//! Tests editing JSON in place: against the pointers of `serde_json::Value`, and beyond what that can represent.

#![cfg(test)]

use posthaste_plugin::json::{Pointer, find, get, replace, replace_each};
use proptest::prelude::*;
use serde_json::{Value, json};

fn pointer(text: &str) -> Pointer {
    Pointer::new(text).unwrap()
}

fn masked(text: &str, pointers: &[&str]) -> Option<String> {
    replace(text, &pointers.iter().map(|text| pointer(text)).collect::<Vec<_>>(), "*").unwrap()
}

/// Keys from a small alphabet with special characters, so that pointers often match.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]", "[01]", Just("00".into()), Just(String::new()), "[~/\"\\\\é\u{1}]{1,2}"]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), key().prop_map(Value::from)];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    let token = key().prop_map(|key| key.replace('~', "~0").replace('/', "~1"));
    prop::collection::vec(token, 0..4).prop_map(|tokens| tokens.iter().flat_map(|token| ["/", token]).collect())
}

/// Spells the same value with every character of each key escaped.
fn escape_all(value: &Value) -> String {
    let text = |text: &str| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    };
    match value {
        Value::Object(map) => {
            let members: Vec<_> =
                map.iter().map(|(key, value)| format!("{} :\t{}", text(key), escape_all(value))).collect();
            format!("{{ {} }}", members.join(" , "))
        }
        Value::Array(list) => format!("[\n{} ]", list.iter().map(escape_all).collect::<Vec<_>>().join(",\r\n")),
        other => other.to_string(),
    }
}

/// Returns the document after the same replacements by `serde_json`'s own pointers.
fn expected(mut document: Value, paths: &[String]) -> Value {
    // Longest first: an outer replacement then overwrites the ones inside it.
    let mut paths = paths.to_vec();
    paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    for path in paths {
        if let Some(value) = document.pointer_mut(&path) {
            *value = json!("*");
        }
    }
    document
}

proptest! {
    #[test]
    fn agrees_with_value_pointers(document in document(), paths in prop::collection::vec(path(), 0..4), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { escape_all(&document) };
        let pointers: Vec<_> = paths.iter().map(|path| pointer(path)).collect();
        for (path, value) in paths.iter().zip(get(&text, &pointers).unwrap()) {
            let value = value.map(|value| serde_json::from_str::<Value>(value).unwrap());
            prop_assert_eq!(value.as_ref(), document.pointer(path));
        }
        let hit = paths.iter().any(|path| document.pointer(path).is_some());
        let paths_as_str: Vec<_> = paths.iter().map(String::as_str).collect();
        let edited = masked(&text, &paths_as_str);
        prop_assert_eq!(edited.is_some(), hit);
        let value: Value = serde_json::from_str(edited.as_deref().unwrap_or(&text)).unwrap();
        prop_assert_eq!(value, expected(document, &paths));
    }

    #[test]
    fn values_that_no_pointer_names_keep_their_bytes(document in document(), paths in prop::collection::vec(path(), 0..4)) {
        let text = escape_all(&document);
        let pointers: Vec<_> = paths.iter().map(|path| pointer(path)).collect();
        let found = find(&text, &pointers).unwrap();
        prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
        let mut parts = Vec::new();
        let mut at = 0;
        for span in found {
            parts.push(&text[at..span.start]);
            at = span.end;
        }
        parts.push(&text[at..]);
        prop_assert_eq!(replace(&text, &pointers, "*").unwrap().unwrap_or_else(|| text.clone()), parts.join("\"*\""));
    }

    #[test]
    fn no_text_panics(text in r#"[\[\]{}",:a0\\ud8~ ]{0,24}"#, path in path()) {
        let _ = find(&text, &[pointer(&path)]);
    }
}

#[test]
fn a_pointer_names_all_members_with_equal_keys() {
    let text = r#"{"a":{"x":1,"x":2},"b":0,"a":{"x":[3]},"a":4,"\u0061":{"\u0078":5}}"#;
    assert_eq!(
        masked(text, &["/a/x"]).unwrap(),
        r#"{"a":{"x":"*","x":"*"},"b":0,"a":{"x":"*"},"a":4,"\u0061":{"\u0078":"*"}}"#
    );
    assert_eq!(masked(text, &["/a"]).unwrap(), r#"{"a":"*","b":0,"a":"*","a":"*","\u0061":"*"}"#);
}

#[test]
fn overlapping_pointers_name_the_outer_value_once() {
    let text = r#" {"a": {"b": 1, "c": 2}, "d": 3} "#;
    for pointers in [["/a", "/a/b"], ["/a/b", "/a"], ["/a", "/a"]] {
        assert_eq!(masked(text, &pointers).unwrap(), r#" {"a": "*", "d": 3} "#);
    }
    assert_eq!(masked(text, &["/a/b", "/d", ""]).unwrap(), r#" "*" "#);
}

#[test]
fn indices_follow_rfc_6901() {
    let text = r#"[[0,1,2,3,4,5,6,7,8,9,10],{"01":1,"-":2}]"#;
    assert_eq!(masked(text, &["/0/10"]).unwrap(), r#"[[0,1,2,3,4,5,6,7,8,9,"*"],{"01":1,"-":2}]"#);
    assert_eq!(masked(text, &["/1/01", "/1/-"]).unwrap(), r#"[[0,1,2,3,4,5,6,7,8,9,10],{"01":"*","-":"*"}]"#);
    for nothing in ["/0/01", "/0/-", "/0/+1", "/0/11", "/0/-1", "/0/1e0", "/0/", "/2", "/0/0/0"] {
        assert_eq!(masked(text, &[nothing]), None, "{nothing}");
    }
}

#[test]
fn numbers_and_unpaired_surrogates_stay_as_published() {
    let text = r#"{"n":1.50E+2,"big":12345678901234567890123,"s":"\ud800","\udfff":1,"x":"\u00e9"}"#;
    assert_eq!(masked(text, &["/x"]).unwrap(), text.replace(r#""\u00e9""#, r#""*""#));
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let depth = 40_000;
    let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(masked(&text, &["/1"]), None);
    assert_eq!(masked(&format!(r#"{{"a":{text},"b":1}}"#), &["/b"]).unwrap(), format!(r#"{{"a":{text},"b":"*"}}"#));
    assert_eq!(get(&format!(r#"{{"a":{text},"b":1}}"#), &[pointer("/b")]).unwrap()[0], Some("1"));
}

#[test]
fn invalid_json_is_refused() {
    for bad in ["", "{", r#"{"a":1}}"#, r#"{"a":01}"#, "nul"] {
        assert!(find(bad, &[pointer("/a")]).is_err(), "{bad}");
    }
}

#[test]
fn get_reads_the_named_values_and_skips_all_others() {
    let text = r#"{"a":{"b":1},"cut \ud83d":"\ud83d","n":1e400,"a":{"c":[7, {"d": 2.50}]}}"#;
    let pointers: Vec<_> =
        ["/a/c/1/d", "/a/b", "/n", "", "/a/c/1/d", "/a/c/2", "/a/c/01", "/a/c/-"].map(pointer).into();
    let found = get(text, &pointers).unwrap();
    assert_eq!(found, [Some("2.50"), None, Some("1e400"), Some(text), Some("2.50"), None, None, None]);
    assert_eq!(get("7", &[pointer("/a")]).unwrap().len(), 1);
    assert!(get("{", &[pointer("/a")]).is_err());
}

#[test]
fn replace_each_returns_the_pointers_without_a_value() {
    let pointers: Vec<_> = ["/a/b", "/c", "/a", "/d/1", "/a/c", "/d/0"].map(pointer).into();
    let replaced = replace_each(r#"{"a":{"b":1},"d":[2]}"#, &pointers, "*").unwrap();
    assert_eq!(replaced.text.as_deref(), Some(r#"{"a":"*","d":["*"]}"#));
    // `/a/c` leads into `/a`, which was replaced.
    assert_eq!(replaced.missing, [&pointers[1], &pointers[3]]);
    let replaced = replace_each("[]", &pointers[..2], "*").unwrap();
    assert_eq!((replaced.text, replaced.missing), (None, vec![&pointers[0], &pointers[1]]));
}

#[test]
fn a_name_that_occurs_very_often_costs_no_more_than_others() {
    let members = vec![r#""a":1"#; 200_000].join(",");
    let pointers: Vec<_> = ["/a", "/a/b", "/b"].map(pointer).into();
    assert_eq!(get(&format!("{{{members},\"a\":2}}"), &pointers).unwrap(), [Some("2"), None, None]);
}
