//! Visits and edits the strings of a JSON text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserializer;
use serde::de::Visitor;
use serde_json::value::RawValue;

use super::find::{check, span};
use crate::Error;

/// Calls `edit` with every string of `text`, and replaces the string by the JSON that it returns; `None` keeps the string. Names of
/// members are not passed to `edit`, nor are strings with half a surrogate pair (`"\ud800"`), which are JSON but not text. All
/// other bytes stay unchanged.
///
/// ```
/// use posthaste_plugin::json;
///
/// let text = r#"{"email": "bob.macri@example.com", "ids": [1.0, "a@b"]}"#;
/// let edited = json::edit_strings(text, |string| Ok(string.contains('@').then(|| "null".to_owned())))?;
/// assert_eq!(edited, r#"{"email": null, "ids": [1.0, null]}"#);
/// # Ok::<(), posthaste_plugin::Error>(())
/// ```
///
/// # Errors
/// If `text` is not JSON, or `edit` returns an error.
pub fn edit_strings(text: &str, mut edit: impl FnMut(&str) -> Result<Option<String>, Error>) -> Result<String, Error> {
    // In valid JSON, a quote begins a string, and a string before a colon is a name.
    serde_json::from_str::<&RawValue>(text)?;
    let mut edited = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, string, after)) = next_string(rest) {
        edited.push_str(before);
        let value = serde_json::from_str::<String>(string).ok().filter(|_| !is_name(after));
        let answer = value.map_or(Ok(None), |value| edit(&value))?;
        edited.push_str(answer.as_deref().unwrap_or(string));
        rest = after;
    }
    edited.push_str(rest);
    Ok(edited)
}

/// Returns a JSON text without the members that are `null`, at any depth; elements stay. One pass over the text needs no stack, however
/// deep it is. All other bytes stay, except commas. `text` must be valid JSON; for any other text the result is unspecified.
///
/// ```
/// use posthaste_plugin::json;
///
/// assert_eq!(json::without_nulls(r#"{"a": null, "b": [2.50, null, {"c":null}]}"#), r#"{"b": [2.50, null, {}]}"#);
/// ```
pub fn without_nulls(json: &str) -> String {
    let mut kept = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, string, after)) = next_string(rest) {
        kept.push_str(before);
        rest = after;
        let Some(null) = value_of_member(after).and_then(|value| value.strip_prefix("null")) else {
            kept.push_str(string);
            continue;
        };
        let next = null.trim_ascii_start();
        if let Some(next) = next.strip_prefix(',') {
            rest = next.trim_ascii_start();
        } else {
            // It is the last member: the comma before it goes.
            kept.truncate(kept.trim_ascii_end().len());
            kept.truncate(kept.strip_suffix(',').unwrap_or(&kept).len());
            rest = next;
        }
    }
    kept.push_str(rest);
    kept
}

/// Returns the text from the value on, if what comes before it was the name of a member.
fn value_of_member(after: &str) -> Option<&str> {
    after.trim_ascii_start().strip_prefix(':').map(str::trim_ascii_start)
}

/// Splits a text into the part before the next string, the string with its quotes, and the part after it.
pub(super) fn next_string(text: &str) -> Option<(&str, &str, &str)> {
    let (before, string) = text.split_at_checked(text.find('"')?)?;
    let mut escaped = true; // The opening quote does not end the string.
    let closing = string.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    let (string, after) = string.split_at_checked(closing + 1)?;
    Some((before, string, after))
}

/// Returns the byte ranges of all strings in `text` that are values, with their quotes, in order. Names of members are not among
/// them.
///
/// ```
/// use posthaste_plugin::json;
///
/// let text = r#"{"email": "bob.macri@example.com", "ids": [1, "7"]}"#;
/// assert_eq!(json::find_strings(text)?.map(|range| &text[range]).collect::<Vec<_>>(), [r#""bob.macri@example.com""#, r#""7""#]);
/// # Ok::<(), posthaste_plugin::Error>(())
/// ```
///
/// # Errors
/// If `text` is not JSON.
pub fn find_strings(text: &str) -> Result<impl Iterator<Item = Range<usize>>, Error> {
    check(text)?;
    let mut rest = text;
    Ok(std::iter::from_fn(move || {
        loop {
            let (_, string, after) = next_string(rest)?;
            rest = after;
            if !is_name(after) {
                return Some(span(text, string));
            }
        }
    }))
}

/// Returns whether the string before this part of a JSON text is the name of a member.
fn is_name(after: &str) -> bool {
    after.trim_ascii_start().starts_with(':')
}

/// Returns the characters of a string, which is given as JSON. Half a surrogate pair (`"\ud800"`) becomes U+FFFD, so that a search
/// in strings overlooks none.
///
/// ```
/// assert_eq!(posthaste_plugin::json::characters(r#""caf\u00e9 \ud83d""#), "caf\u{e9} \u{fffd}");
/// ```
pub fn characters(string: &str) -> Cow<'_, str> {
    match string.strip_prefix('"').and_then(|string| string.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => serde_json::Deserializer::from_str(string).deserialize_bytes(Lossy).unwrap_or_default().into(),
    }
}

/// Reads a string whatever it contains: `serde_json` gives half a surrogate pair only as bytes, three for each.
struct Lossy;

impl Visitor<'_> for Lossy {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<String, E> {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // The other two bytes are chunks of their own.
            if chunk.invalid().first() == Some(&0xED) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }
}

/// Returns a value as text: the characters of a string, the JSON of any other value. A string with half a surrogate pair is not
/// text, and stays JSON.
pub fn text(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    let string = json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten();
    string.map_or(Cow::Borrowed(json), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characters_of_every_string_are_read() {
        for (string, expected) in [
            (r#""é\u0022\n""#, "é\"\n"),
            (r#""""#, ""),
            (r#""plain""#, "plain"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""cut \ud83d""#, "cut \u{FFFD}"),
            (r#""\ude00\ud83d_token\ud800\u00e9""#, "\u{FFFD}\u{FFFD}_token\u{FFFD}é"),
        ] {
            assert_eq!(characters(string), expected);
        }
    }

    #[test]
    fn members_that_are_null_are_left_out() {
        for (json, expected) in [
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":null,"b":1,"c":null}"#, r#"{"b":1}"#),
            (r#"{"b":1 , "a" : null , "c":null }"#, r#"{"b":1 }"#),
            (r#"[null,{"a":[null,{"b":null}]}]"#, r#"[null,{"a":[null,{}]}]"#),
            (r#"{"null":"null,","\"x":null,"y":"\"a\":null"}"#, r#"{"null":"null,","y":"\"a\":null"}"#),
            (r#"{"a":{"b":null},"c":2}"#, r#"{"a":{},"c":2}"#),
            ("null", "null"),
        ] {
            assert_eq!(without_nulls(json), expected, "{json}");
        }
    }
}
