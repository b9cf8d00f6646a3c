//! Counts how often an event was published by a request that a Posthaste itself had sent: a webhook may point at the API, so
//! that each of its events makes the next one. RFC 8586 (`CDN-Loop`) protects content delivery networks in the same way.

use std::fmt::{self, Display, Formatter};

/// The header of a POST to a receiver, and of a request that is answered 508 because of it.
pub const HOPS_HEADER: &str = "posthaste-hops";

/// Most hops of an event that is accepted.
const MAX_HOPS: u8 = 3;

/// The number of POSTs that led to an event, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hops(u8);

impl Hops {
    /// Reads the header's value. What is no number counts as too many: only a proxy or a joker changes it.
    pub fn parse(text: &str) -> Self {
        Self(text.trim().parse().unwrap_or(u8::MAX))
    }

    /// Returns the number on the POST of an event that has these.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns whether an event may be accepted after so many.
    pub fn are_allowed(self) -> bool {
        self.0 <= MAX_HOPS
    }

    /// Returns whether there are any.
    pub fn is_some(self) -> bool {
        self.0 > 0
    }

    /// Says why an event is refused.
    pub fn refusal(self) -> String {
        format!(
            "this event comes from a webhook whose events are published again, for the {MAX_HOPS}th time in a row or more; nothing \
             was stored: let no webhook point at a service that publishes what it gets"
        )
    }
}

impl Display for Hops {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_hops_are_allowed() {
        let allowed = |text: &str| Hops::parse(text).are_allowed();
        assert_eq!(
            ["0", "3", " 3 ", "4", "256", "-1", "x", ""].map(allowed),
            [true, true, true, false, false, false, false, false]
        );
        assert!(!Hops::default().is_some() && Hops::default().next().is_some());
        assert_eq!(
            (Hops::parse("3").next().to_string(), Hops::parse("255").next().to_string()),
            ("4".into(), "255".into())
        );
    }
}
