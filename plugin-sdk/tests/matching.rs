//! Tests selecting values of a JSON text by patterns, against a search in `serde_json::Value` that follows the definition.

#![cfg(test)]

use posthaste_plugin::json::{KeyPattern, Matching, PointerPattern, edit_ranges, find_matching};
use proptest::prelude::*;
use serde_json::{Value, json};

fn pointers(texts: &[&str]) -> Vec<PointerPattern> {
    texts.iter().map(|text| PointerPattern::new(*text).unwrap()).collect()
}

fn keys(texts: &[&str]) -> Vec<KeyPattern> {
    texts.iter().map(|text| KeyPattern::new(*text).unwrap()).collect()
}

fn edited(text: &str, found: &Matching) -> String {
    edit_ranges(text, found.ranges.iter().map(|range| (range.clone(), r#""*""#)))
}

fn masked(text: &str, pointers_: &[&str], keys_: &[&str]) -> String {
    edited(text, &find_matching(text, &pointers(pointers_), &keys(keys_)).unwrap())
}

/// Keys from a small alphabet with special characters, so that patterns often match.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,3}", "[01]", Just("00".into()), Just(String::new()), "[~/\"\\\\é\u{1}*]{1,2}"]
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

/// The names of a pattern, unescaped; `*` is the wildcard.
fn path() -> impl Strategy<Value = Vec<String>> {
    let token = prop_oneof!["[ab]{1,2}", "[01]", "[~/é]", Just("*".to_owned())];
    prop::collection::vec(token, 0..4)
}

fn pointer(path: &[String]) -> PointerPattern {
    let tokens = path.iter().map(|token| token.replace('~', "~0").replace('/', "~1"));
    PointerPattern::new(tokens.map(|token| format!("/{token}")).collect::<String>()).unwrap()
}

/// Spells the same value with every character of each key escaped.
fn escape_all(value: &Value) -> String {
    let text = |text: &str| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    };
    match value {
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| format!("{} :\t{}", text(key), escape_all(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(" , "))
        }
        Value::Array(list) => format!("[\n{} ]", list.iter().map(escape_all).collect::<Vec<_>>().join(",\r\n")),
        other => other.to_string(),
    }
}

/// Returns whether a pattern matches, by trying every length for each `*`.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|length| glob(rest, &name[length..])),
        Some((first, rest)) => name.first() == Some(first) && glob(rest, &name[1..]),
    }
}

/// Returns every value's path with the name of the member that it is the value of, if it is one's.
fn paths(value: &Value, path: &[String], key: Option<&str>) -> Vec<(Vec<String>, Option<String>)> {
    let below = |name: &str| [path, &[name.to_owned()]].concat();
    let mut all = vec![(path.to_vec(), key.map(str::to_owned))];
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| all.extend(paths(value, &below(key), Some(key)))),
        Value::Array(list) => {
            let elements = list.iter().enumerate();
            elements.for_each(|(index, value)| all.extend(paths(value, &below(&index.to_string()), None)));
        }
        _ => {}
    }
    all
}

/// Replaces the value at a path.
fn put(value: &mut Value, path: &[String]) {
    match (path.split_first(), value) {
        (None, value) => *value = json!("*"),
        (Some((first, rest)), Value::Object(map)) => put(&mut map[first], rest),
        (Some((first, rest)), Value::Array(list)) => put(&mut list[first.parse::<usize>().unwrap()], rest),
        (Some(_), _) => {}
    }
}

fn begins(pattern: &[String], path: &[String]) -> bool {
    path.len() <= pattern.len() && pattern.iter().zip(path).all(|(token, name)| token == "*" || token == name)
}

proptest! {
    #[test]
    fn agrees_with_a_search_in_the_value(
        document in document(),
        patterns in prop::collection::vec(path(), 0..3),
        names in prop::collection::vec("[ab*\"\\\\é]{0,3}", 0..3),
        pretty: bool,
    ) {
        let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { escape_all(&document) };
        let pointers: Vec<_> = patterns.iter().map(|path| pointer(path)).collect();
        let keys: Vec<_> = names.iter().map(|name| KeyPattern::new(name.as_str()).unwrap()).collect();
        let found = find_matching(&text, &pointers, &keys).unwrap();

        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let all = paths(&document, &[], None);
        let matches = |name: &str, key: &Option<String>| key.as_ref().is_some_and(|key| glob(&chars(name), &chars(key)));
        let is_selected = |(path, key): &&(Vec<String>, Option<String>)| {
            patterns.iter().any(|pattern| pattern.len() == path.len() && begins(pattern, path))
                || names.iter().any(|name| matches(name, key))
        };
        let mut expected = document.clone();
        // The longest first: an outer replacement then overwrites the ones inside it.
        let mut selected: Vec<_> = all.iter().filter(is_selected).collect();
        selected.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        selected.iter().for_each(|(path, _)| put(&mut expected, path));

        prop_assert_eq!(serde_json::from_str::<Value>(&edited(&text, &found)).unwrap(), expected);
        let missing_keys = names.iter().zip(&keys).filter(|(name, _)| !all.iter().any(|(_, key)| matches(name, key)));
        prop_assert_eq!(found.missing_keys, missing_keys.map(|(_, key)| key).collect::<Vec<_>>());
        let missing_pointers = patterns.iter().zip(&pointers).filter(|(pattern, _)| {
            !all.iter().any(|value| begins(pattern, &value.0) && (value.0.len() == pattern.len() || is_selected(&value)))
        });
        prop_assert_eq!(found.missing_pointers, missing_pointers.map(|(_, pointer)| pointer).collect::<Vec<_>>());
    }

    #[test]
    fn no_text_panics(text in r#"[\[\]{}",:a0\\ud8~ ]{0,24}"#, path in path(), name in "[a*]{0,3}") {
        let _ = find_matching(&text, &[pointer(&path)], &keys(&[&name]));
    }

    #[test]
    fn a_pattern_of_a_name_agrees_with_trying_every_length(pattern in "[abé*]{0,8}", name in "[abé]{0,8}") {
        let expected = glob(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
        prop_assert_eq!(KeyPattern::new(pattern).unwrap().matches(&name), expected);
    }
}

#[test]
fn a_wildcard_names_every_element_and_member() {
    let text = r#"{"l": [{"iban":"A"}, {"n":1}, 7, {"iban":{"x":[]}}], "o": {"a":{"iban":1.50},"b":{"iban" : 2}}}"#;
    let expected = r#"{"l": [{"iban":"*"}, {"n":1}, 7, {"iban":"*"}], "o": {"a":{"iban":"*"},"b":{"iban" : "*"}}}"#;
    assert_eq!(masked(text, &["/*/*/iban"], &[]), expected);
    assert_eq!(masked(text, &[], &["iban"]), expected);
    assert_eq!(masked(r#"{"*":1,"a":2}"#, &["/*"], &[]), r#"{"*":"*","a":"*"}"#);
    assert_eq!(masked("[1,[2,3],{}]", &["/*"], &[]), r#"["*","*","*"]"#);
    assert_eq!(masked(" [1,[2,3],{}] ", &["/*/*"], &[]), r#" [1,["*","*"],{}] "#);
    for nothing in ["[]", "{}", "7", r#""*""#] {
        assert_eq!(masked(nothing, &["/*"], &["*"]), nothing);
    }
}

#[test]
fn a_key_is_found_however_deep_and_however_it_is_spelt() {
    let text = r#"[{"api\u005ftoken":{"api_token":1}},{"x":[[{"api_token" :
        [1,{"a":"}"}]}]],"api_token":null},"api_token",{"\ud800_token":true,"n":-1e5}]"#;
    let expected = r#"[{"api\u005ftoken":"*"},{"x":[[{"api_token" :
        "*"}]],"api_token":"*"},"api_token",{"\ud800_token":"*","n":-1e5}]"#;
    assert_eq!(masked(text, &[], &["*_token"]), expected);
    assert_eq!(masked(text, &[], &["n"]), text.replace("-1e5", r#""*""#));
}

#[test]
fn what_a_selected_value_contains_is_selected_with_it() {
    let text = r#"{"a":{"b":{"iban":1}},"iban":{"b":2}}"#;
    let all = ["/a", "/a/b", "/a/x/y", "/iban/*", "/c"];
    let (pointers, keys) = (pointers(&all), keys(&["iban", "b", "c"]));
    let found = find_matching(text, &pointers, &keys).unwrap();
    assert_eq!(edited(text, &found), r#"{"a":"*","iban":"*"}"#);
    assert_eq!((found.missing_pointers, found.missing_keys), (vec![&pointers[4]], vec![&keys[2]]));
}

#[test]
fn deep_nesting_costs_no_stack_and_no_second_pass() {
    let depth = 200_000;
    let text = format!(r#"{}{{"k":1}}{}"#, r#"{"a":["#.repeat(depth), "]}".repeat(depth));
    let expected = text.replace(r#""k":1"#, r#""k":"*""#);
    assert_eq!(masked(&text, &["/x/*", "/*/1"], &["k"]), expected);
    assert_eq!(masked(&text, &["/*/0/*/0"], &[]), r#"{"a":[{"a":["*"]}]}"#);
    assert_eq!(masked(&text, &[], &["a"]), r#"{"a":"*"}"#);
}

#[test]
fn invalid_json_is_refused() {
    for bad in ["", "{", r#"{"a":1}}"#, r#"{"a":01}"#, "nul"] {
        assert!(find_matching(bad, &pointers(&["/*"]), &keys(&["a"])).is_err(), "{bad}");
    }
}
