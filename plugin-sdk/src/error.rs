//! The error type of transforms and config checks.

use std::fmt;

/// The error of a transform or a config check: a text for people that says what is wrong and where.
///
/// It becomes the reason of the failed attempt, or the text of the 422 response to a refused config. `?` converts a
/// [`serde_json::Error`], a `&str` or a `String` to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// Returns an error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.0
    }
}
