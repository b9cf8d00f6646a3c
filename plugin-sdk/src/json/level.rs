//! One level of a JSON value: what lies directly in it, each as it stands in the text.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A member with its name, which is JSON too, or an element, which has none.
pub(super) type Child<'t> = (Option<&'t str>, &'t RawValue);

/// The members of an object, equal names too, or the elements of an array; nothing of any other value. Their own insides
/// stay unread, so that no depth of nesting needs a stack.
pub(super) fn children<'t>(value: &'t RawValue) -> Result<Vec<Child<'t>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    match value.get().as_bytes().first() {
        Some(b'{') => reader.deserialize_map(Children),
        Some(b'[') => reader.deserialize_seq(Children),
        _ => Ok(Vec::new()),
    }
}

/// Whether a pointer's token means the child that has this name or, in an array, this index.
pub(super) fn is_meant(name: Option<&str>, index: usize, token: &str) -> bool {
    let Some(name) = name else {
        // Comparing as text is what rules out leading zeros, signs and `-` (RFC 6901, section 4).
        return token.starts_with(|first: char| first.is_ascii_digit()) && index.to_string() == token;
    };
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => plain == token,
        // A lone surrogate (`"\ud800"`) is JSON but no text, and so the name of nothing.
        _ => serde_json::from_str::<String>(name).is_ok_and(|name| name == token),
    }
}

struct Children;

impl<'t> Visitor<'t> for Children {
    type Value = Vec<Child<'t>>;

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
