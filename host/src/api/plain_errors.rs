//! Translates the error texts of libraries into words of the API: they describe the request, not the Rust types that read it.

/// Rust's number types, and the numbers that they hold.
const NUMBERS: [(&str, &str); 9] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number, not negative"),
    ("usize", "a whole number, not negative"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
];

/// Says in which way a text is not JSON. `text` is the message of `serde_json`.
pub(super) fn malformed_json(bytes: &[u8], text: &str) -> String {
    let content = bytes.trim_ascii();
    if content.is_empty() {
        return "the body is not JSON: it is empty; send a JSON object".into();
    }
    let looks_like_form = content.contains(&b'=') && content.iter().all(|byte| byte.is_ascii_graphic());
    if looks_like_form && !matches!(content.first(), Some(b'{' | b'[' | b'"')) {
        return "the body is not JSON but a form; send a JSON object".into();
    }
    let (what, place) = match text.rsplit_once(" at line ") {
        Some((what, place)) => (what, format!(" (line {})", place.replace(" column ", ", column "))),
        None => (text, String::new()),
    };
    let plain = match what {
        _ if what.starts_with("EOF while parsing") => "it ends too early",
        "trailing characters" => "something follows after its end",
        "recursion limit exceeded" => "it is nested too deeply",
        "expected value" => "a value is expected here",
        "key must be a string" => "the name of a member must be a string in double quotes",
        "trailing comma" => "a comma stands before the end of an object or a list",
        other => other,
    };
    format!("the body is not JSON: {plain}{place}")
}

/// Says which rule of the API a value breaks. `text` is the message of `serde` without its place.
pub(super) fn broken_rule(text: &str) -> String {
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    // `expected one of` lists names of the API.
    let number = NUMBERS.iter().find(|(name, _)| *name == expected).map(|(_, plain)| *plain);
    let plain = match expected {
        _ if number.is_some() => number.unwrap_or_default(),
        "a map" => "an object",
        "a sequence" => "a list",
        "a borrowed string" | "a string" => "a string",
        _ if expected.starts_with("struct ") => "an object",
        other => other,
    };
    format!(
        "{}, expected {plain}",
        found.replace("invalid type: map", "invalid type: object").replace("sequence", "list")
    )
}

/// Describes the error of a query. `text` is the message of the extractor.
pub(super) fn broken_query(text: &str) -> String {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let text = text.replace("unknown field", "there is no parameter").replace("missing field", "missing parameter");
    let text = text.replace("duplicate field", "given twice: the parameter");
    let plain = match text.split_once(": ") {
        Some((name, "invalid digit found in string" | "cannot parse integer from empty string")) => {
            format!("{name}: not a whole number")
        }
        Some((name, "number too large to fit in target type" | "number too small to fit in target type")) => {
            format!("{name}: out of range")
        }
        Some((name, "provided string was not `true` or `false`")) => format!("{name}: write `true` or `false`"),
        Some((_, named)) if named.starts_with("there is no parameter") || named.starts_with("given twice") => {
            named.into()
        }
        _ => text,
    };
    format!("the query: {plain}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::extract::Query;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        limit: Option<u32>,
        unmatched: Option<bool>,
        since: Option<String>,
    }

    #[test]
    fn broken_json_is_described_without_the_reader() {
        for (body, expected) in [
            ("", "it is empty; send a JSON object"),
            (" \n", "it is empty; send a JSON object"),
            ("type=t&data=1", "but a form; send a JSON object"),
            ("{\"a\": 1", "it ends too early (line 1, column 7)"),
            ("{\"a\": \"x=", "it ends too early (line 1, column 9)"),
            ("{} {}", "something follows after its end (line 1, column 4)"),
            ("{\"a\": nope}", "(line 1, column 8)"),
            ("{a: 1}", "must be a string in double quotes (line 1, column 2)"),
            ("{\"a\": 1,}", "a comma stands before the end of an object or a list (line 1, column 9)"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(body).unwrap_err().to_string();
            let text = malformed_json(body.as_bytes(), &error);
            assert!(text.starts_with("the body is not JSON") && text.ends_with(expected), "{body}: {text}");
        }
        let deep = "[".repeat(200);
        let error = serde_json::from_str::<serde_json::Value>(&deep).unwrap_err().to_string();
        assert!(malformed_json(deep.as_bytes(), &error).contains("nested too deeply"), "{error}");
    }

    #[test]
    fn broken_rules_name_kinds_of_json() {
        fn text<'b, T: Deserialize<'b>>(body: &'b str) -> String {
            let error = serde_json::from_str::<T>(body).err().unwrap().to_string();
            broken_rule(error.rsplit_once(" at line ").unwrap().0)
        }
        assert_eq!(text::<u32>("-1"), "invalid value: integer `-1`, expected a whole number from 0 to 4294967295");
        assert_eq!(text::<u64>("\"x\""), "invalid type: string \"x\", expected a whole number, not negative");
        assert_eq!(text::<BTreeMap<String, String>>("[]"), "invalid type: list, expected an object");
        assert_eq!(text::<Vec<u8>>("{}"), "invalid type: object, expected a list");
        assert_eq!(text::<Sample>("7"), "invalid type: integer `7`, expected an object");
        assert_eq!(text::<bool>("1"), "invalid type: integer `1`, expected a boolean");
        let unknown = text::<Sample>("{\"colour\": 1}");
        assert_eq!(unknown, "unknown field `colour`, expected one of `limit`, `unmatched`, `since`");
    }

    #[test]
    fn broken_queries_name_the_parameter() {
        for (query, expected) in [
            ("limit=x", "the query: limit: not a whole number"),
            ("limit=", "the query: limit: not a whole number"),
            ("limit=99999999999", "the query: limit: out of range"),
            ("unmatched=yes", "the query: unmatched: write `true` or `false`"),
            ("colour=red", "the query: there is no parameter `colour`, expected one of `limit`, `unmatched`, `since`"),
            ("limit=1&limit=2", "the query: given twice: the parameter `limit`"),
        ] {
            let uri = format!("/?{query}").parse().unwrap();
            let error = Query::<Sample>::try_from_uri(&uri).unwrap_err().body_text();
            assert_eq!(broken_query(&error), expected);
        }
    }
}
