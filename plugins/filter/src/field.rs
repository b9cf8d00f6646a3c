//! The fields that conditions name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use posthaste_plugin::Error;
use posthaste_plugin::json::{Pointer, elements};
use serde::de::{self, Deserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON Pointer in which the name `*` stands for every element of a list and every member of an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Field {
    text: String,
    /// The names before the first `*`.
    head: Pointer,
    /// The names after each `*`.
    tails: Vec<Pointer>,
}

impl Field {
    /// The pointer that is looked up in the data; [`Self::values`] continues from there.
    pub(crate) fn head(&self) -> &Pointer {
        &self.head
    }

    /// Returns all values that the field names, given the one that its head names.
    pub(crate) fn values<'t>(&self, found: Option<&'t str>) -> Vec<&'t str> {
        let mut values: Vec<_> = found.into_iter().collect();
        for tail in &self.tails {
            let children = values.into_iter().flat_map(children);
            values = children
                .filter_map(|child| tail.tokens().iter().try_fold(child, |json, name| inner(json, name)))
                .collect();
        }
        values
    }
}

/// Returns the elements of a list or the members of an object.
fn children(json: &str) -> Vec<&str> {
    if json.starts_with('{') { members(json).into_values().collect() } else { elements(json).collect() }
}

/// Returns the element or member that a name of a pointer names.
fn inner<'t>(json: &'t str, name: &str) -> Option<&'t str> {
    if json.starts_with('{') {
        return members(json).remove(name.as_bytes());
    }
    // An index has no sign and no leading zeros (RFC 6901, section 4).
    let index: usize = name.parse().ok().filter(|index: &usize| index.to_string() == name)?;
    elements(json).nth(index)
}

/// Returns the members of an object by their names in UTF-8; of equal names the last.
fn members(object: &str) -> BTreeMap<Cow<'_, [u8]>, &str> {
    serde_json::Deserializer::from_str(object).deserialize_map(Members).unwrap_or_default()
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = BTreeMap<Cow<'t, [u8]>, &'t str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((Name(name), value)) = map.next_entry::<Name, &RawValue>()? {
            members.insert(name, value.get());
        }
        Ok(members)
    }
}

/// The name of a member, which may have half a surrogate pair.
struct Name<'t>(Cow<'t, [u8]>);

impl<'t> Deserialize<'t> for Name<'t> {
    fn deserialize<D: de::Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(crate::value::Bytes).map(Self)
    }
}

/// Refuses a pointer that would find nothing.
fn for_lookup(pointer: Pointer) -> Result<Pointer, Error> {
    // The place, which begins this text, is already named.
    let refused = |error: Error| Error::new(error.to_string().trim_start_matches("config: "));
    pointer.check_lookup().map(|()| pointer).map_err(refused)
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl TryFrom<String> for Field {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let whole = Pointer::new(text.as_str())?;
        if whole.as_str().is_empty() {
            return Err("the pointer is empty: name a field, as in `/country`".into());
        }
        // Almost every field, and this runs before every transform.
        if !text.contains('*') {
            return Ok(Self { text, head: for_lookup(whole)?, tails: Vec::new() });
        }
        let mut parts = vec![String::new()];
        for name in text.split('/').skip(1) {
            match parts.last_mut() {
                Some(part) if name != "*" => part.extend(["/", name]),
                _ => parts.push(String::new()),
            }
            if name != "*" && name.contains('*') {
                return Err(Error::new(format!(
                    "`{text}`: `*` stands for any element or member only as a whole name, as in `/tags/*`, and not \
                     within `{name}`"
                )));
            }
        }
        let mut parts = parts.into_iter().map(|part| for_lookup(Pointer::new(part)?));
        let head = parts.next().unwrap_or(Ok(whole))?;
        let tails = parts.collect::<Result<_, _>>()?;
        Ok(Self { text, head, tails })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_plugin::json;

    fn field(text: &str) -> Field {
        Field::try_from(text.to_owned()).unwrap()
    }

    fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
        let field = field(name);
        let found = json::get(text, [field.head()]).unwrap();
        field.values(found.first().copied().flatten())
    }

    #[test]
    fn a_star_names_every_element_and_member() {
        let text = r#"{"a": [1, {"b": [2, 3]}, {"b": 4, "c": {"b": 5}}], "o": {"x": [6], "y": {"0": 7}}, "s": "b"}"#;
        assert_eq!(values(text, "/a"), [r#"[1, {"b": [2, 3]}, {"b": 4, "c": {"b": 5}}]"#]);
        assert_eq!(values(text, "/a/*"), ["1", r#"{"b": [2, 3]}"#, r#"{"b": 4, "c": {"b": 5}}"#]);
        assert_eq!(values(text, "/a/*/b"), ["[2, 3]", "4"]);
        assert_eq!(values(text, "/a/*/b/*"), ["2", "3"]);
        assert_eq!(values(text, "/a/*/*/b"), ["5"]);
        assert_eq!(values(text, "/o/*/0"), ["6", "7"]);
        assert_eq!(values(text, "/*/1/b"), ["[2, 3]"]);
        for none in ["/s/*", "/a/0/*", "/none/*", "/a/*/z", "/a/*/b/01", "/a/*/b/+1", "/a/*/b/9"] {
            assert_eq!(values(text, none), [""; 0], "{none}");
        }
    }

    #[test]
    fn of_equal_names_the_last_counts_and_half_a_character_is_a_name() {
        let text = r#"{"\ud83d": 1, "k": 2, "\u006b": {"n~": 3}, "e": 1e400}"#;
        let mut all = values(text, "/*");
        all.sort_unstable();
        assert_eq!(all, ["1", "1e400", r#"{"n~": 3}"#]);
        assert_eq!(values(text, "/*/n~0"), ["3"]);
        assert_eq!(values(r#"[{"a": 1, "a": 2}]"#, "/*/a"), ["2"]);
    }

    #[test]
    fn depth_needs_no_stack() {
        let text = format!("{}7{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(values(&text, &"/*".repeat(100)).len(), 1);
    }

    #[test]
    fn a_field_that_names_nothing_is_refused() {
        for (text, reason) in [
            ("", "empty"),
            ("a", "`a` is not a JSON Pointer"),
            ("/a~2/*", "`/a~2/*` is not a JSON Pointer"),
            ("/a/*_token", "not within `*_token`"),
            ("/a/**", "not within `**`"),
            ("/*/b[0]", "names one member that is called `b[0]`"),
            ("/l[*]", "not within `l[*]`"),
            ("/a/-", "the element after the last one"),
        ] {
            let refusal = Field::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
        assert!(Field::try_from("/*".repeat(129)).is_err());
        assert_eq!(serde_json::to_string(&field("/*/a~1b")).unwrap(), r#""/*/a~1b""#);
    }
}
