//! Why an access token is refused.

/// Why an access token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenRefusal {
    /// The token is not valid; the text tells its bearer why.
    Invalid(String),
    /// There is no key to verify it with, and none can be fetched at present.
    Unavailable,
}
