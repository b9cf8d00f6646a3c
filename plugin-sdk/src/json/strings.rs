//! The strings of a JSON text.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::Error;

/// Gives every string of `text` to `edit`, and puts the JSON that it answers in its place; `None` leaves the string. Names
/// of members are not given, and all other bytes stay as they are. Nor is a string with half a surrogate pair
/// (`"\ud800"`), which is JSON but no text.
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
/// `text` is no JSON, or `edit` answers with an error.
pub fn edit_strings(text: &str, mut edit: impl FnMut(&str) -> Result<Option<String>, Error>) -> Result<String, Error> {
    // Once it is known to be JSON, a quote begins a string, and a string before a colon is a name.
    serde_json::from_str::<&RawValue>(text)?;
    let mut edited = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, string, after)) = next_string(rest) {
        edited.push_str(before);
        let is_name = after.trim_start().starts_with(':');
        let value = serde_json::from_str::<String>(string).ok().filter(|_| !is_name);
        let answer = value.map_or(Ok(None), |value| edit(&value))?;
        edited.push_str(answer.as_deref().unwrap_or(string));
        rest = after;
    }
    edited.push_str(rest);
    Ok(edited)
}

/// What stands before the next string, the string with its quotes, and what stands after it.
fn next_string(text: &str) -> Option<(&str, &str, &str)> {
    let (before, string) = text.split_at_checked(text.find('"')?)?;
    let mut escaped = true; // The opening quote ends nothing.
    let closing = string.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    let (string, after) = string.split_at_checked(closing + 1)?;
    Some((before, string, after))
}

/// A value as text: a string's characters, the JSON of anything else. A string with half a surrogate pair has no
/// characters, and stays JSON.
pub fn text(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    let string = json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten();
    string.map_or(Cow::Borrowed(json), Cow::Owned)
}
