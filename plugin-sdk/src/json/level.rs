//! Parses one level of a JSON value: its direct members or elements, each as text.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A member with its name, as JSON, or an element, which has none.
pub(super) type RawChild<'t> = (Option<&'t str>, &'t RawValue);

/// Returns the members of an object, including equal names, or the elements of an array; an empty list for any other value.
/// Nested values are not parsed, so that no depth of nesting needs stack.
pub(super) fn children<'t>(value: &'t RawValue) -> Result<Vec<RawChild<'t>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    match value.get().as_bytes().first() {
        Some(b'{') => reader.deserialize_map(Children),
        Some(b'[') => reader.deserialize_seq(Children),
        _ => Ok(Vec::new()),
    }
}

/// Returns whether a pointer's token names the child with this name or, in an array, this index.
pub(super) fn is_meant(name: Option<&str>, index: usize, token: &str) -> bool {
    let Some(name) = name else {
        // The comparison as text excludes leading zeros, signs and `-` (RFC 6901, section 4).
        return token.starts_with(|first: char| first.is_ascii_digit()) && index.to_string() == token;
    };
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => plain == token,
        // A lone surrogate (`"\ud800"`) is JSON but not text, so no token can name it.
        _ => serde_json::from_str::<String>(name).is_ok_and(|name| name == token),
    }
}

struct Children;

impl<'t> Visitor<'t> for Children {
    type Value = Vec<RawChild<'t>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<&RawValue, _>()? {
            members.push((Some(name.get()), value));
        }
        Ok(members)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(value) = seq.next_element()? {
            elements.push((None, value));
        }
        Ok(elements)
    }
}
