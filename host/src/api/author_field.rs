//! The `author` of an event, as requests send it and answers show it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body;
use crate::domain::Invalid;
use crate::domain::author::{Author, check_id, check_type};

/// Both are read whatever they are, so that each is reported at its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorField<'b> {
    #[serde(borrow)]
    id: Option<&'b RawValue>,
    #[serde(borrow)]
    r#type: Option<&'b RawValue>,
}

/// An author as answers show it.
#[derive(Serialize)]
pub(super) struct AuthorView {
    id: String,
    r#type: String,
}

impl From<Author> for AuthorView {
    fn from(author: Author) -> Self {
        Self { id: author.id, r#type: author.author_type }
    }
}

/// Returns the author that an event names, and every rule that it breaks.
pub(super) fn read(sent: Option<&RawValue>) -> (Option<Author>, Vec<Invalid>) {
    match sent.map(|raw| body::nested(raw, "/author", check)) {
        None => (None, Vec::new()),
        Some(Ok(author)) => (Some(author), Vec::new()),
        Some(Err(errors)) => (None, errors),
    }
}

fn check(field: AuthorField<'_>) -> Result<Author, Vec<Invalid>> {
    let id = field.id.and_then(id_text).unwrap_or_default();
    let author_type: String = field.r#type.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let rules = [("/id", check_id(&id)), ("/type", check_type(&author_type))];
    let broken = rules.into_iter().filter_map(|(pointer, rule)| rule.err().map(|detail| Invalid::at(pointer, detail)));
    let broken: Vec<_> = broken.collect();
    if broken.is_empty() { Ok(Author { id, author_type }) } else { Err(broken) }
}

/// Reads an id of Factorial, which is a string, or before its API of 2026-07-01 an integer. An integer is taken as it is
/// written: it may have more digits than a number of this program. `None` for any other value.
pub(super) fn id_text(raw: &RawValue) -> Option<String> {
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(json: &str) -> (Option<Author>, Vec<String>) {
        let raw: Option<Box<RawValue>> = serde_json::from_str(json).unwrap();
        let (author, errors) = read(raw.as_deref());
        (author, errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn id_is_a_text_or_an_integer_of_any_size() {
        for (sent, id) in
            [("\"9921\"", "9921"), ("9921", "9921"), ("36893488147419100999", "36893488147419100999"), ("-1", "-1")]
        {
            let (author, errors) = read_text(&format!(r#"{{"id": {sent}, "type": "employee"}}"#));
            let expected = Author { id: id.into(), author_type: "employee".into() };
            assert_eq!((author, errors), (Some(expected), vec![]), "{sent}");
        }
        assert_eq!(read_text("null"), (None, vec![]));
    }

    #[test]
    fn every_broken_rule_is_reported_at_its_place() {
        for (sent, pointers) in [
            (r#"{"id": 1.5, "type": 1}"#, &["/author/id", "/author/type"][..]),
            (r#"{"id": true, "type": "a b"}"#, &["/author/id", "/author/type"]),
            (r#"{"id": [], "type": "t"}"#, &["/author/id"]),
            (r#"{"id": "é", "type": "t"}"#, &["/author/id"]),
            (r#"{"id": 1e3, "type": "t"}"#, &["/author/id"]),
            (r#"{"id": 1}"#, &["/author/type"]),
            (r#"{"type": "t"}"#, &["/author/id"]),
            (r#"{"id": 1, "type": "t", "name": "n"}"#, &["/author/name"]),
            ("7", &["/author"]),
        ] {
            let (author, found) = read_text(sent);
            assert!(author.is_none() && found == pointers, "{sent}: {found:?}");
        }
    }
}
