//! The domain: pure types and rules. No I/O, no async, no imports from other rooms.

pub mod attempt_timeout;
pub mod author;
pub mod clock_doubt;
pub mod company_limit;
pub mod comparison;
pub mod credential;
pub mod delivery;
pub mod delivery_control;
pub mod delivery_selection;
pub mod event;
pub mod event_type;
pub mod headers;
pub mod hops;
pub mod id;
pub mod json_condition;
pub mod json_pointer;
pub mod json_schema;
pub mod operational_event;
pub mod payload_retention;
pub mod plugin;
pub mod plugin_config;
pub mod policy;
pub mod quota;
pub mod rate_limit;
pub mod retry;
pub mod subscription;
pub mod time;
pub mod tls;
pub mod token;
pub mod transform;
pub mod waiting;
pub mod webhook;

/// A rule that a request body breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The position in the body: a JSON pointer (RFC 6901), empty for the body as a whole.
    pub pointer: String,
    /// The broken rule and how to fix the body.
    pub detail: String,
}

impl Invalid {
    /// Creates a broken rule at `pointer`.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }

    /// Returns the same rule with `pointer` as a prefix of its position.
    pub fn below(self, pointer: &str) -> Self {
        Self { pointer: format!("{pointer}{}", self.pointer), ..self }
    }
}
