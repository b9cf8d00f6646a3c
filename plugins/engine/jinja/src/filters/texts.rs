//! The filters for texts.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use posthaste_plugin::serde_json;
use posthaste_plugin::serde_json::value::RawValue;

use crate::node::value_of;
use crate::output::text;

pub(super) fn function(name: &str) -> Value {
    match name {
        "truncate" => Value::from_function(truncate),
        "startswith" => {
            Value::from_function(|value: &Value, part: &str| text(value).map(|text| text.starts_with(part)))
        }
        "endswith" => Value::from_function(|value: &Value, part: &str| text(value).map(|text| text.ends_with(part))),
        _ => Value::from_function(|value: &Value| text(value).map(|text| Value::from(text.as_ref()))),
    }
}

/// How the length of a text is counted.
#[derive(Clone, Copy)]
enum Unit {
    Characters,
    /// UTF-16 code units, as JavaScript counts.
    Utf16,
    Bytes,
}

impl Unit {
    fn length(self, c: char) -> usize {
        match self {
            Self::Characters => 1,
            Self::Utf16 => c.len_utf16(),
            Self::Bytes => c.len_utf8(),
        }
    }

    fn length_of(self, text: &str) -> usize {
        text.chars().map(|c| self.length(c)).sum()
    }
}

/// `truncate(length, killwords, end, unit)`: at most this length, with the end that says that something is left out.
fn truncate(
    value: &Value,
    length: Option<usize>,
    killwords: Option<bool>,
    end: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let length = kwargs.get::<Option<usize>>("length")?.or(length).unwrap_or(255);
    let killwords = kwargs.get::<Option<bool>>("killwords")?.or(killwords).unwrap_or_default();
    let end = kwargs.get::<Option<String>>("end")?.or(end).unwrap_or_else(|| "…".to_owned());
    let unit = match kwargs.get::<Option<&str>>("unit")? {
        None | Some("characters") => Unit::Characters,
        Some("utf16") => Unit::Utf16,
        Some("bytes") => Unit::Bytes,
        Some(_) => {
            let why = "the `unit` of `truncate` is \"characters\", \"utf16\" or \"bytes\"";
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
    };
    kwargs.assert_all_used()?;
    let text = text(value)?;
    let cut = cut(&text, length, &end, (unit, killwords));
    Ok(if value.is_safe() { Value::from_safe_string(cut) } else { Value::from(cut) })
}

fn cut(text: &str, length: usize, end: &str, (unit, killwords): (Unit, bool)) -> String {
    if unit.length_of(text) <= length {
        return text.to_owned();
    }
    let mut left = length.saturating_sub(unit.length_of(end));
    let kept: String = text
        .chars()
        .take_while(|c| {
            let fits = unit.length(*c) <= left;
            left = left.saturating_sub(unit.length(*c));
            fits
        })
        .collect();
    let is_within_word = text.get(kept.len()..).is_some_and(|rest| !rest.starts_with(char::is_whitespace));
    let whole_words = kept.rsplit_once(char::is_whitespace).map_or("", |(words, _)| words.trim_end());
    let kept = if killwords || !is_within_word || whole_words.is_empty() { kept.trim_end() } else { whole_words };
    let end: String = if unit.length_of(end) <= length { end.to_owned() } else { String::new() };
    format!("{kept}{end}")
}

/// Returns a text of at most `length` UTF-16 code units, the strictest count of all services, with `…` at the end if something is left out.
/// An escaped text is not cut within an escape.
pub fn shorten(text: &str, length: usize) -> String {
    let mut short = cut(text, length, "…", (Unit::Utf16, true));
    if short.len() == text.len() {
        return short;
    }
    let kept = short.strip_suffix('…').unwrap_or(&short);
    let entity =
        kept.rfind('&').filter(|at| kept.len() - at < 6 && !kept.get(*at..).is_some_and(|rest| rest.contains(';')));
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    let end = entity.unwrap_or(kept.len() - backslashes % 2);
    if end < kept.len() {
        short.truncate(end);
        short.push('…');
    }
    short
}

/// Reads a text as JSON.
pub(crate) fn from_json(value: &Value) -> Result<Value, Error> {
    let text = text(value)?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(value_of(&text, "the JSON")),
        Err(error) => Err(Error::new(ErrorKind::InvalidOperation, format!("the text is not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_not_cut() {
        assert_eq!(shorten("a &amp; b", 9), "a &amp; b");
        assert_eq!(shorten("a &amp; b", 6), "a …");
        assert_eq!(shorten("ab\\*c", 4), "ab…");
        assert_eq!(shorten("a\\\\bc", 4), "a\\\\…");
    }

    #[test]
    fn a_text_is_cut_to_its_length_in_each_unit() {
        for (text, length, end, how, expected) in [
            ("short", 5, "…", (Unit::Characters, true), "short"),
            ("a longer text", 9, "…", (Unit::Characters, true), "a longer…"),
            ("a longer text", 11, "…", (Unit::Characters, false), "a longer…"),
            ("a longer text", 8, "...", (Unit::Characters, false), "a..."),
            ("aaaaaaaaaa", 5, "…", (Unit::Characters, false), "aaaa…"),
            ("😀😀😀", 5, "…", (Unit::Utf16, true), "😀😀…"),
            ("ééé", 5, "...", (Unit::Bytes, true), "é..."),
            ("abc", 2, "...", (Unit::Characters, true), ""),
        ] {
            assert_eq!(cut(text, length, end, how), expected, "{text} {length}");
        }
    }
}
