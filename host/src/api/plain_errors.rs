//! Translates the error texts of libraries into words of the API: they describe the request, not the Rust types that read it.

/// Rust's number types, and the numbers that they hold.
const NUMBERS: [(&str, &str); 9] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number of 0 or more"),
    ("usize", "a whole number of 0 or more"),
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
    if is_form(content) {
        return "the body is not JSON but a form; send a JSON object".into();
    }
    let (what, place) = match text.rsplit_once(" at line ") {
        Some((what, place)) => (what, shown_place(content, place)),
        None => (text, String::new()),
    };
    let plain = match what {
        _ if what.starts_with("EOF while parsing") => "it ends too early",
        _ if what.starts_with("control character") => {
            "a control character within a string must be escaped, for example as \\n"
        }
        "trailing characters" => "something follows after its end",
        "recursion limit exceeded" => "it is nested too deeply",
        "expected value" => "a value is expected here",
        "expected ident" => "the only words outside strings are `true`, `false` and `null`",
        "key must be a string" => "the name of a member must be a string in double quotes",
        "trailing comma" => "a comma stands before the end of an object or a list",
        "invalid escape" => "this escape sequence does not exist",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "`\\u` with half of a surrogate pair is no character"
        }
        "invalid unicode code point" => "it is not UTF-8",
        other => other,
    };
    format!("the body is not JSON: {plain}{place}")
}

/// Whether a body is what an HTML form sends, or `curl --data name=value` and `curl --form`.
fn is_form(content: &[u8]) -> bool {
    let name = content.split(|byte| *byte == b'=').next().unwrap_or_default();
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]%+".contains(byte);
    let starts_with_name = content.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_encoded = starts_with_name && name.len() < content.len() && name.iter().all(in_name);
    let is_multipart = content.starts_with(b"--")
        && content.windows(19).take(1_000).any(|part| part.eq_ignore_ascii_case(b"Content-Disposition"));
    is_encoded || is_multipart
}

/// Writes the place of an error: in a text of one line, which a line of a batch always is, without the line's number.
fn shown_place(content: &[u8], place: &str) -> String {
    match place.split_once(" column ") {
        Some((_, column)) if !content.contains(&b'\n') => format!(" (column {column})"),
        Some((line, column)) => format!(" (line {line}, column {column})"),
        None => format!(" (line {place})"),
    }
}

/// Says which rule of the API a value breaks. `text` is the message of `serde` without its place.
pub(super) fn broken_rule(text: &str) -> String {
    if text.starts_with("missing field `") {
        return "this field is required".into();
    }
    if text.starts_with("unknown field `") {
        let known = text.split_once(", expected ").map_or("", |(_, known)| known);
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return match known {
            "" => "there is no such field".into(),
            known => format!("there is no such field; there is {known}"),
        };
    }
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    let number = NUMBERS.iter().find(|(name, _)| *name == expected).map(|(_, plain)| *plain);
    let expected = match expected {
        _ if number.is_some() => number.unwrap_or_default(),
        "a map" => "an object",
        "a sequence" => "a list",
        "a boolean" => "`true` or `false`",
        "a borrowed string" | "a string" => "a string",
        _ if expected.starts_with("struct ") => "an object",
        other => other,
    };
    let found = found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: "));
    found.map_or_else(
        || format!("{expected} is expected"),
        |found| format!("{expected} is expected, not {}", kind(found)),
    )
}

/// Names a JSON value that `serde` has found where another kind is expected.
fn kind(found: &str) -> String {
    for (name, plain) in [("integer `", "the number "), ("floating point `", "the number "), ("boolean `", "")] {
        if let Some(value) = found.strip_prefix(name) {
            return format!("{plain}`{value}");
        }
    }
    match found {
        "map" => "an object".into(),
        "sequence" => "a list".into(),
        other => other.into(),
    }
}

/// Describes the error of a query. `text` is the message of the extractor.
pub(super) fn broken_query(text: &str) -> String {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let text = text.replace("unknown field", "there is no parameter").replace("missing field", "missing parameter");
    let text = text.replace(", expected one of ", "; there is ").replace(", expected ", "; there is ");
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

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Required {
        digest: String,
    }

    #[test]
    fn broken_json_is_described_without_the_reader() {
        for (body, expected) in [
            ("", "it is empty; send a JSON object"),
            (" \n", "it is empty; send a JSON object"),
            ("type=t&data=1", "but a form; send a JSON object"),
            ("type=employee updated", "but a form; send a JSON object"),
            ("--b1\r\ncontent-disposition: form-data; name=\"type\"\r\n\r\nt", "but a form; send a JSON object"),
            ("{\"a\": 1", "it ends too early (column 7)"),
            ("{\"a\":\n 1", "it ends too early (line 2, column 2)"),
            ("{\"a\": \"x=", "it ends too early (column 9)"),
            ("{} {}", "something follows after its end (column 4)"),
            ("{\"a\": nope}", "outside strings are `true`, `false` and `null` (column 8)"),
            ("{a: 1}", "must be a string in double quotes (column 2)"),
            ("{\"a\": 1,}", "a comma stands before the end of an object or a list (column 9)"),
            ("{\"a\": \"\u{1}\"}", "must be escaped, for example as \\n (column 8)"),
            (r#"{"a": "\x"}"#, "this escape sequence does not exist (column 9)"),
            (r#"{"a": "\ud83d"}"#, "half of a surrogate pair is no character (column 14)"),
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
        for (text, expected) in [
            (text::<u32>("-1"), "a whole number from 0 to 4294967295 is expected, not the number `-1`"),
            (text::<u64>("\"x\""), "a whole number of 0 or more is expected, not string \"x\""),
            (text::<u64>("1.5"), "a whole number of 0 or more is expected, not the number `1.5`"),
            (text::<BTreeMap<String, String>>("[]"), "an object is expected, not a list"),
            (text::<Vec<u8>>("{}"), "a list is expected, not an object"),
            (text::<Sample>("7"), "an object is expected, not the number `7`"),
            (text::<bool>("1"), "`true` or `false` is expected, not the number `1`"),
            (text::<String>("true"), "a string is expected, not `true`"),
            (text::<String>("null"), "a string is expected, not null"),
            (text::<Sample>("{\"colour\": 1}"), "there is no such field; there is `limit`, `unmatched`, `since`"),
            (text::<Required>("{}"), "this field is required"),
            (text::<Required>("{\"colour\": 1}"), "there is no such field; there is `digest`"),
        ] {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn broken_queries_name_the_parameter() {
        for (query, expected) in [
            ("limit=x", "the query: limit: not a whole number"),
            ("limit=", "the query: limit: not a whole number"),
            ("limit=99999999999", "the query: limit: out of range"),
            ("unmatched=yes", "the query: unmatched: write `true` or `false`"),
            ("colour=red", "the query: there is no parameter `colour`; there is `limit`, `unmatched`, `since`"),
            ("limit=1&limit=2", "the query: given twice: the parameter `limit`"),
        ] {
            let uri = format!("/?{query}").parse().unwrap();
            let error = Query::<Sample>::try_from_uri(&uri).unwrap_err().body_text();
            assert_eq!(broken_query(&error), expected);
        }
    }
}
