//! Conversions of one value, without a template.

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::filters::{dates, texts};
use crate::node::value_of;
use crate::number::Numeric;
use crate::output::{json, string, text};

/// What a value is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// A text: the JSON of anything else.
    String,
    /// A number, also from a text that spells one.
    Number,
    /// `true` or `false`, also from `"true"`, `"false"`, `1`, `0`, `"1"` and `"0"`.
    Boolean,
    /// The seconds since 1970 of a time or a date.
    Epoch,
    /// The milliseconds since 1970.
    EpochMs,
    /// A time in UTC as RFC 3339, also from a number of seconds or milliseconds since 1970.
    Rfc3339,
    /// The JSON of the value, as a text.
    Json,
    /// The value of a text that is JSON.
    FromJson,
}

impl Conversion {
    /// The names in configs.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("string", Self::String),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("epoch", Self::Epoch),
        ("epoch_ms", Self::EpochMs),
        ("rfc3339", Self::Rfc3339),
        ("json", Self::Json),
        ("from_json", Self::FromJson),
    ];

    /// Returns the conversion with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(own, _)| *own == name).map(|(_, conversion)| *conversion)
    }

    /// Converts a value, which is given and returned as JSON.
    ///
    /// # Errors
    /// If the value cannot be converted; the text quotes its beginning.
    pub fn apply(self, source: &str) -> Result<String, String> {
        let value = value_of(source, "data");
        let failed = |error: minijinja::Error| error.detail().unwrap_or("it cannot be converted").to_owned();
        let wrong = |what: &str| {
            let shown: String = source.chars().take(40).collect();
            Err(format!("`{shown}` is no {what}"))
        };
        match self {
            Self::String if value.as_str().is_some() => Ok(source.to_owned()),
            Self::String | Self::Json => {
                let mut json = String::new();
                string(&mut json, source);
                Ok(json)
            }
            Self::Number => match value.as_str().map_or_else(|| Some(value.clone()), Numeric::parse) {
                Some(number) if Numeric::of(&number).is_some() => text(&number).map(Into::into).map_err(failed),
                _ => wrong("number, and no text that JSON would take as one, such as `\"12.70\"`"),
            },
            Self::Boolean => match boolean(&value) {
                Some(boolean) => Ok(boolean.to_string()),
                None => wrong("truth value: `true`, `false`, `1`, `0`, or one of these as a text"),
            },
            Self::Epoch => dates::timestamp(&value, None).and_then(|value| json(&value, None)).map_err(failed),
            Self::EpochMs => dates::timestamp(&value, Some("ms")).and_then(|value| json(&value, None)).map_err(failed),
            Self::Rfc3339 => dates::rfc3339(&value).map(|time| format!("\"{time}\"")).map_err(failed),
            Self::FromJson if value.as_str().is_some() => {
                texts::from_json(&value).and_then(|value| json(&value, None)).map_err(failed)
            }
            Self::FromJson => wrong("text"),
        }
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match (value.kind(), value.as_str(), value.as_i64()) {
        (ValueKind::Bool, ..) => Some(value.is_true()),
        (_, Some("true" | "1"), _) | (ValueKind::Number, _, Some(1)) => Some(true),
        (_, Some("false" | "0"), _) | (ValueKind::Number, _, Some(0)) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted_or_the_text_says_why_not() {
        for (name, source, expected) in [
            ("string", "2.50", "\"2.50\""),
            ("string", "\"a\"", "\"a\""),
            ("string", "[1, \"a\"]", "\"[1, \\\"a\\\"]\""),
            ("json", "\"a\"", "\"\\\"a\\\"\""),
            ("number", "\" 12.70 \"", "12.70"),
            ("number", "1e400", "1e400"),
            (
                "number",
                "\"1,5\"",
                "! `\"1,5\"` is no number, and no text that JSON would take as one, such as `\"12.70\"`",
            ),
            ("number", "true", "! `true` is no number, and no text that JSON would take as one, such as `\"12.70\"`"),
            ("boolean", "\"1\"", "true"),
            ("boolean", "false", "false"),
            ("boolean", "2", "! `2` is no truth value: `true`, `false`, `1`, `0`, or one of these as a text"),
            ("epoch", "\"2026-11-20T16:03:09.871Z\"", "1795190589"),
            ("epoch_ms", "\"2026-11-20T16:03:09.871Z\"", "1795190589871"),
            ("rfc3339", "1795190589", "\"2026-11-20T16:03:09Z\""),
            ("rfc3339", "\"9999-12-31T23:59:59+00:00\"", "\"9999-12-31T23:59:59Z\""),
            ("from_json", "\"{\\\"a\\\": 2.50}\"", "{\"a\": 2.50}"),
            ("from_json", "1", "! `1` is no text"),
        ] {
            let came = Conversion::named(name).unwrap().apply(source);
            assert_eq!(came.unwrap_or_else(|error| format!("! {error}")), expected, "{name} {source}");
        }
        assert!(Conversion::Epoch.apply("\"soon\"").unwrap_err().contains("`soon` is no time"));
        assert_eq!(Conversion::named("text"), None);
    }
}
