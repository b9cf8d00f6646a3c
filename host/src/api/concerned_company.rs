//! The company that a request concerns, for the layers around its handler.

use std::sync::{Arc, OnceLock};

use axum::http::Extensions;

/// Is set once the request is authorised. An extension of the request, of which its layer keeps a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct ConcernedCompany(Arc<OnceLock<Box<str>>>);

impl ConcernedCompany {
    /// Records the company of the request with these extensions.
    pub(super) fn record(extensions: &Extensions, company: &str) {
        if let Some(Self(concerned)) = extensions.get() {
            concerned.get_or_init(|| company.into());
        }
    }

    /// Returns the company; `None` if the request was not authorised, or concerns none.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(AsRef::as_ref)
    }
}
