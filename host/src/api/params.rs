//! The parameters of the path and of the query.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemKind};

/// The variable parts of the path.
///
/// # Errors
/// 400 if the path cannot be decoded.
pub(super) struct PathParams<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(error) => Err(Problem::new(ProblemKind::Malformed, format!("the path: {}", error.body_text()))),
        }
    }
}

/// The query; its type refuses unknown parameters.
///
/// # Errors
/// 422 if the query does not have the parameters of `T`.
pub(super) struct QueryParams<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::new(ProblemKind::Rule, format!("the query: {}", error.body_text()))),
        }
    }
}

/// A query that may name the company.
pub(super) trait NamesCompany {
    /// Returns the value of `company`, if it is given.
    fn company(&self) -> Option<&str>;
}

/// The query of calls that take only the company.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompanyQuery {
    pub(super) company: Option<String>,
}

impl NamesCompany for CompanyQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}
