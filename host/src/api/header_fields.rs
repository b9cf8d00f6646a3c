//! The `headers` of a webhook or an event, as a request sends them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::body;
use crate::domain::{Invalid, headers};

/// Headers whose rules are not checked yet.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct HeaderFields(BTreeMap<String, HeaderValue>);

/// Values of another kind are read too, so that each of them is reported and not only the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderValue {
    Text(String),
    Other(IgnoredAny),
}

impl HeaderFields {
    /// Returns every rule that the headers break, each with its place.
    pub(super) fn errors(&self, challenge_header: &str) -> Vec<Invalid> {
        let place = |name: &str| format!("/headers/{}", body::escape_key(name));
        let others = self.0.iter().filter(|(_, value)| matches!(value, HeaderValue::Other(_)));
        let mut errors: Vec<_> = others.map(|(name, _)| Invalid::at(place(name), "a value must be a string")).collect();
        let pairs = self.pairs();
        for headers::BrokenRule { index, detail } in headers::broken_rules(&pairs, challenge_header) {
            let name = index.and_then(|index| pairs.get(index)).map(|(name, _)| place(name));
            errors.push(Invalid::at(name.unwrap_or_else(|| "/headers".into()), detail));
        }
        errors
    }

    /// Returns the names and values.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let pair = |(name, value): (&String, &HeaderValue)| match value {
            HeaderValue::Text(value) => Some((name.clone(), value.clone())),
            HeaderValue::Other(_) => None,
        };
        self.0.iter().filter_map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_that_breaks_a_rule_is_reported_at_its_place() {
        let headers = r#"{"Host": "x", "X-A": "1", "a/b": "2", "n": 7, "o": {"p": []}, "x-a": "2", "x-c": "fine"}"#;
        let headers: HeaderFields = serde_json::from_str(headers).unwrap();
        let errors = headers.errors("x-challenge");
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/headers/n", "/headers/o", "/headers/Host", "/headers/a~1b", "/headers/x-a"]);
        assert!(serde_json::from_str::<HeaderFields>("[]").is_err());
    }
}
