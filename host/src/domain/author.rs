//! The author of an event: who caused it. Receivers get it in two headers, as from Factorial
//! (<https://apidoc.factorialhr.com/changelog/new-webhook-author-headers>), and only the service sets these.

/// The header with the author's id, and its name among the headers of an event.
pub const AUTHOR_ID_HEADER: &str = "x-factorial-author-id";
/// The header with the author's type, and its name among the headers of an event.
pub const AUTHOR_TYPE_HEADER: &str = "x-factorial-author-type";

/// Most characters of an author's id.
const MAX_ID_BYTES: usize = 128;
/// Most characters of an author's type.
const MAX_TYPE_BYTES: usize = 64;

/// Who caused an event. Its values can stand in headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The id.
    pub id: String,
    /// The type, for example `employee` or `company`.
    pub author_type: String,
}

impl Author {
    /// Returns the author among the headers of an event.
    pub fn of(headers: &[(String, String)]) -> Option<Self> {
        let value = |wanted| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        Some(Self { id: value(AUTHOR_ID_HEADER)?, author_type: value(AUTHOR_TYPE_HEADER)? })
    }

    /// Returns the headers.
    pub fn into_headers(self) -> [(String, String); 2] {
        [(AUTHOR_ID_HEADER.into(), self.id), (AUTHOR_TYPE_HEADER.into(), self.author_type)]
    }
}

/// Checks an author's id: 1 to 128 visible ASCII characters.
///
/// # Errors
/// The rule, for people.
pub fn check_id(text: &str) -> Result<(), String> {
    check(text, MAX_ID_BYTES).map_err(|rule| format!("an author's id is {rule}, or an integer"))
}

/// Checks an author's type: 1 to 64 visible ASCII characters.
///
/// # Errors
/// The rule, for people.
pub fn check_type(text: &str) -> Result<(), String> {
    check(text, MAX_TYPE_BYTES).map_err(|rule| format!("an author's type is {rule}, for example `employee`"))
}

fn check(text: &str, most_bytes: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > most_bytes || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("1 to {most_bytes} visible ASCII characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_hold_the_author() {
        let author = Author { id: "9921".into(), author_type: "employee".into() };
        let mut headers = vec![("x-a".to_owned(), "1".to_owned())];
        assert_eq!(Author::of(&headers), None);
        headers.extend(author.clone().into_headers());
        assert_eq!(Author::of(&headers), Some(author));
        headers.pop();
        assert_eq!(Author::of(&headers), None);
    }

    #[test]
    fn values_are_short_visible_ascii() {
        assert!(check_id(&"x".repeat(128)).is_ok() && check_type(&"x".repeat(64)).is_ok());
        assert!(check_id(&"x".repeat(129)).is_err() && check_type(&"x".repeat(65)).is_err());
        for bad in ["", "a b", "a\r\nb", "é"] {
            assert!(check_id(bad).is_err() && check_type(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nobody_else_sets_the_headers() {
        for name in [AUTHOR_ID_HEADER, AUTHOR_TYPE_HEADER] {
            assert!(crate::domain::headers::check(name, "x", "x-challenge").unwrap_err().contains("set by the host"));
        }
    }
}
