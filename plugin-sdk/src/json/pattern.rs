//! Pointers with wildcards, and patterns for names: what selects several values of a JSON text.

use serde::{Deserialize, Serialize, Serializer};

use super::Pointer;
use super::misread::{Wildcards, refuse_misread};
use crate::Error;

/// A JSON Pointer in which the name `*` stands for any element of a list and any member of an object: `/employees/*/iban`.
///
/// It is read from a config like a [`Pointer`]; a text that would find nothing is refused: a malformed pointer, `*` as a part of a
/// name, `-`, and `[0]` at the end of a name. No pattern names only a member that is called `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct PointerPattern(Pointer);

impl PointerPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// As [`Pointer::new`]; and if a name has `*` as a part, is `-`, or ends in an index in brackets. The text says what to write
    /// instead.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let pointer = Pointer::new(text)?;
        refuse_misread(pointer.as_str(), Wildcards::WholeName)?;
        Ok(Self(pointer))
    }

    /// Returns the pattern's text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the names of the path, unescaped; `*` is the wildcard, because no escape spells it.
    pub fn tokens(&self) -> &[String] {
        self.0.tokens()
    }
}

/// The pointer of a value that is put: a [`PointerPattern`], in which `-` stands for the element after the last one of a list (RFC
/// 6901, section 4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct PointerTarget(Pointer);

impl PointerTarget {
    /// Reads a target.
    ///
    /// # Errors
    /// As [`PointerPattern::new`], but for `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let pointer = Pointer::new(text)?;
        refuse_misread(pointer.as_str(), Wildcards::Target)?;
        Ok(Self(pointer))
    }

    /// Returns the target's text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the names of the path, unescaped; `*` is the wildcard.
    pub fn tokens(&self) -> &[String] {
        self.0.tokens()
    }
}

impl TryFrom<String> for PointerTarget {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for PointerPattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

/// Writes the pattern's text.
impl Serialize for PointerPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A pattern for the name of a member, wherever in the data it is: `iban`, or `*_token`. `*` stands for any characters or none; all
/// other characters for themselves, upper and lower case apart, as JSON's names have them.
///
/// A text that begins with `/` is refused in a config, because it is meant as a pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyPattern(String);

impl KeyPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it begins with `/`.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        if text.starts_with('/') {
            let name = text.rsplit('/').next().unwrap_or_default();
            return Err(Error::new(format!(
                "`{text}` is a JSON Pointer, and not the name of a member; write the name alone, as in `{name}`"
            )));
        }
        Ok(Self(text))
    }

    /// Returns the pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches an unescaped name, in a time linear in both: each part between two `*` is searched once,
    /// after the part before it, because an earlier place leaves more for the parts that follow.
    pub fn matches(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return self.0 == name };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let inner = name.strip_prefix(start).and_then(|name| name.strip_suffix(end));
        let mut parts = middle.split('*').filter(|part| !part.is_empty());
        let left = |inner, part: &str| Some(str::split_once(inner, part)?.1);
        inner.is_some_and(|inner| parts.try_fold(inner, left).is_some())
    }
}

impl TryFrom<String> for KeyPattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

/// Writes the pattern's text.
impl Serialize for KeyPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_wildcard_is_refused_with_what_to_write() {
        for (bad, reason, instead) in [
            (
                "/a/*_token/b",
                "only if it is the whole name, and `*_token`",
                "all of them with `/a/*/b`, or the whole object with `/a`",
            ),
            ("/a*", "`a*` has it as a part", "all of them with `/*`, or the whole object with an empty pointer"),
            ("/**", "`**` has it as a part", "`/*`"),
            ("/*/-/iban", "the element after the last one", "`/*/0/iban`, all of them with `/*/*/iban`"),
            ("/employees[*]/iban", "called `employees[*]`", "`/employees/*/iban`"),
            ("/employees[0]/iban", "called `employees[0]`", "`/employees/0/iban`"),
            ("/*/l[]", "called `l[]`", "`/*/l/0`"),
            ("/a~2", "is not a JSON Pointer", "write `~0` for `~`"),
            ("*/iban", "is not a JSON Pointer", "begin with `/`"),
        ] {
            let text = PointerPattern::new(bad).unwrap_err().to_string();
            assert!(text.starts_with(&format!("`{bad}`")) && text.contains(reason) && text.contains(instead), "{text}");
        }
        for fine in ["", "/", "/*", "/*/*", "/a/*/b~1c", "/a-b", "/price[EUR]", "/0"] {
            assert_eq!(PointerPattern::new(fine).unwrap().as_str(), fine);
        }
        assert!(PointerPattern::new("/*".repeat(129)).unwrap_err().to_string().contains("129 names"));
    }

    #[test]
    fn a_pointer_is_refused_as_the_pattern_of_a_name() {
        let text = KeyPattern::new("/employees/*/iban").unwrap_err().to_string();
        assert!(text.contains("`/employees/*/iban` is a JSON Pointer") && text.contains("`iban`"), "{text}");
    }

    #[test]
    fn a_star_in_a_name_stands_for_any_characters() {
        let matches = |pattern: &str, name| KeyPattern::new(pattern).unwrap().matches(name);
        for (pattern, name) in [
            ("iban", "iban"),
            ("*", ""),
            ("*_token", "_token"),
            ("*_token", "api_token_token"),
            ("é*", "été"),
            ("a*b*c", "aXbYc"),
            ("a*b*c", "abcbc"),
            ("**a**", "a"),
            ("*ab*ab", "abab"),
            ("[a]?", "[a]?"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("iban", "IBAN"),
            ("iban", "iban2"),
            ("*_token", "_tokens"),
            ("ab*ba", "aba"),
            ("*ab*ab", "ab"),
            ("a*b*c", "acb"),
            ("*aa*aa*", "aaa"),
            ("?", "a"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_of_many_repetitions_costs_no_more_than_others() {
        let pattern = KeyPattern::new(format!("{}*b*", "*a".repeat(100_000))).unwrap();
        assert!(!pattern.matches(&"a".repeat(1_000_000)));
    }
}
