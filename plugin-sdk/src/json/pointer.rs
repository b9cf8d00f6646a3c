//! JSON Pointers (RFC 6901).

use serde::{Deserialize, Serialize, Serializer};

use super::misread::{Wildcards, refuse_misread};
use crate::Error;

/// Names in a pointer. Bounded because code that follows a pointer may recurse, and a guest's stack is small.
const MAX_NAMES: usize = 128;

/// A JSON Pointer (RFC 6901) such as `/employee/contract/salary_amount`; the empty pointer names the whole document.
///
/// A malformed pointer in a config is refused with a text that quotes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// If it is neither empty nor begins with `/`, if a `~` in it is not followed by `0` or `1` (RFC 6901, section 3), or if it has
    /// more than 128 names, the depth that [`serde_json`] reads.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let tokens = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(unescape).collect(),
            None => text.is_empty().then(Vec::new),
        };
        match tokens {
            Some(tokens) if tokens.len() > MAX_NAMES => {
                Err(Error::new(format!("a JSON Pointer of {} names; at most {MAX_NAMES} are allowed", tokens.len())))
            }
            Some(tokens) => Ok(Self { tokens, text }),
            None => Err(Error::new(format!(
                "`{text}` is not a JSON Pointer (RFC 6901): begin with `/`, \
                 as in `/bank_number`, and write `~0` for `~` and `~1` for `/` inside a name"
            ))),
        }
    }

    /// Returns the pointer's text, as [`serde_json::Value::pointer`] takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of the path, unescaped; an array index is a name too.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Refuses a name that stands for several elements, or for an element by another notation, in other path languages: `*` in a
    /// name, `-`, and `[0]` at its end. A JSON Pointer takes them literally and would find nothing, unnoticed. For the fields
    /// in a config that are looked up in events. A [`PointerPattern`](super::PointerPattern) takes `*` as a whole name.
    ///
    /// # Errors
    /// The text names the pointer, and says what the name stands for, and what to write instead.
    pub fn check_lookup(&self) -> Result<(), Error> {
        refuse_misread(&self.text, Wildcards::None).map_err(|error| Error::new(format!("config: {error}")))
    }

    /// Returns whether `other` names the same value or one inside it: `/name` contains `/name/first`, and not `/names`.
    pub fn contains(&self, other: &Self) -> bool {
        other.tokens.starts_with(&self.tokens)
    }
}

/// Writes the pointer's text.
impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl TryFrom<String> for Pointer {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

fn unescape(token: &str) -> Option<String> {
    let escaped_well = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    // `~1` first, so that `~01` becomes `~1` and not `/` (RFC 6901, section 4).
    escaped_well.then(|| token.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        Pointer::new(text).unwrap().tokens().to_vec()
    }

    #[test]
    fn tokens_are_unescaped() {
        assert_eq!(tokens(""), [""; 0]);
        assert_eq!(tokens("/"), [""]);
        assert_eq!(tokens("/a//b"), ["a", "", "b"]);
        assert_eq!(tokens("/a~1b/m~0n/~01"), ["a/b", "m~n", "~1"]);
    }

    #[test]
    fn the_refusal_of_a_malformed_pointer_quotes_it() {
        for bad in ["bank_number", "a/b", "/a~", "/a~2", "/~~0", " /a"] {
            let text = Pointer::new(bad).unwrap_err().to_string();
            assert!(text.contains(&format!("`{bad}`")), "{text}");
        }
    }

    #[test]
    fn a_name_of_another_path_language_is_refused_for_a_lookup() {
        for (bad, literal, instead) in [
            ("/employees/*/iban", "called `*`", "`/employees/0/iban`, or the whole object or list with `/employees`"),
            ("/*", "called `*`", "as in `/0`, or the whole object or list with an empty pointer"),
            ("/a/*_token", "called `*_token`", "`/a/0`"),
            (
                "/employees/-/iban",
                "the element after the last one",
                "`/employees/0/iban`, or the whole list with `/employees`",
            ),
            ("/employees[0]/iban", "called `employees[0]`", "`/employees/0/iban`"),
            ("/employees[12]", "called `employees[12]`", "`/employees/12`"),
            ("/a/[3]/b", "called `[3]`", "`/a/3/b`"),
            ("/l[*]/a", "called `l[*]`", "`/l/0/a`"),
            ("/l[]", "called `l[]`", "`/l/0`"),
            ("/l[-1]", "called `l[-1]`", "`/l/0`"),
        ] {
            let text = Pointer::new(bad).unwrap().check_lookup().unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("config: `{bad}`: ")) && text.contains(literal) && text.contains(instead),
                "{text}"
            );
        }
        for fine in ["", "/", "/a/0/b", "/a-b", "/--", "/-1", "/price[EUR]", "/a]", "/[", "/a~1b", "/a.b"] {
            assert_eq!(Pointer::new(fine).unwrap().check_lookup(), Ok(()), "{fine}");
        }
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        assert!(Pointer::new("/a".repeat(128)).is_ok());
        let text = Pointer::new("/a".repeat(129)).unwrap_err().to_string();
        assert!(text.contains("129 names"), "{text}");
    }

    #[test]
    fn a_pointer_contains_itself_and_the_pointers_below_it() {
        let contains = |outer, inner| Pointer::new(outer).unwrap().contains(&Pointer::new(inner).unwrap());
        assert!(contains("", "/a") && contains("/a", "/a") && contains("/a", "/a/b/c") && contains("/~1", "/~1/"));
        assert!(!contains("/a/b", "/a") && !contains("/a", "/ab") && !contains("/a", "/b/a"));
    }
}
