//! The values that statements are given.

use std::sync::Arc;

/// A value to bind to a statement.
pub(in crate::store) enum QueryParameter<'q> {
    Number(Option<i64>),
    Text(Option<&'q str>),
    SharedText(Option<Arc<str>>),
    OwnedText(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for QueryParameter<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for QueryParameter<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl<'q> From<&'q str> for QueryParameter<'q> {
    fn from(text: &'q str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'q> From<&'q String> for QueryParameter<'q> {
    fn from(text: &'q String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'q> From<Option<&'q str>> for QueryParameter<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Self::Text(text)
    }
}

impl From<String> for QueryParameter<'_> {
    fn from(text: String) -> Self {
        Self::OwnedText(Some(text))
    }
}

impl From<Option<String>> for QueryParameter<'_> {
    fn from(text: Option<String>) -> Self {
        Self::OwnedText(text)
    }
}

impl From<Arc<str>> for QueryParameter<'_> {
    fn from(text: Arc<str>) -> Self {
        Self::SharedText(Some(text))
    }
}

impl From<Option<Arc<str>>> for QueryParameter<'_> {
    fn from(text: Option<Arc<str>>) -> Self {
        Self::SharedText(text)
    }
}

impl From<Vec<u8>> for QueryParameter<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl From<Option<Vec<u8>>> for QueryParameter<'_> {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self::Bytes(bytes)
    }
}
