//! What Posthaste is about: pure types and rules. No IO, no async, nothing of the other rooms.

pub mod comparison;
pub mod credential;
pub mod delivery;
pub mod event;
pub mod headers;
pub mod id;
pub mod plugin;
pub mod retry;
pub mod time;
pub mod token;
pub mod webhook;

/// One broken rule in a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where in the body: a JSON pointer (RFC 6901), empty for the body as a whole.
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub detail: String,
}

impl Invalid {
    /// A broken rule at `pointer`.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }

    /// The same rule, broken below `pointer`.
    pub fn below(self, pointer: &str) -> Self {
        Self { pointer: format!("{pointer}{}", self.pointer), ..self }
    }
}
