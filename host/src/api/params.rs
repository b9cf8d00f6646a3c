//! The parameters of the path and of the query.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::plain_errors;
use super::problem::{Problem, ProblemKind};
use crate::domain::time::{HOW_WRITTEN, parse_rfc3339};

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
            Err(_) => {
                Err(Problem::new(ProblemKind::Malformed, "the path is not UTF-8, once its %-escapes are decoded"))
            }
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
            Err(error) => Err(Problem::new(ProblemKind::Rule, plain_errors::broken_query(&error.body_text()))),
        }
    }
}

/// Turns an error's text into a problem that names the query parameter.
pub(super) fn in_query(parameter: &str) -> impl Fn(String) -> Problem {
    move |detail| Problem::new(ProblemKind::Rule, format!("{parameter}: {detail}"))
}

/// Reads an instant in the query, as milliseconds since 1970.
pub(super) fn instant(parameter: &str, text: &str) -> Result<i64, Problem> {
    // The `+` of an offset arrives as a space unless it is encoded.
    let parsed = parse_rfc3339(text).or_else(|| parse_rfc3339(&text.replace(' ', "+")));
    parsed.ok_or_else(|| in_query(parameter)(HOW_WRITTEN.into()))
}

/// Checks that a range of instants is not the wrong way round.
pub(super) fn range(since: Option<i64>, until: Option<i64>) -> Result<(), Problem> {
    match since.zip(until) {
        Some((since, until)) if until < since => Err(in_query("until")("it is before `since`".into())),
        _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_of_an_offset_may_arrive_as_a_space() {
        for text in ["2023-11-14T23:13:20+01:00", "2023-11-14T23:13:20 01:00", "2023-11-14 22:13:20Z"] {
            assert_eq!(instant("since", text).ok(), Some(1_700_000_000_000), "{text}");
        }
        assert!(instant("since", "noon").is_err());
    }

    #[test]
    fn range_is_refused_only_the_wrong_way_round() {
        assert!(range(Some(2), Some(1)).is_err());
        for (since, until) in [(Some(1), Some(1)), (Some(1), Some(2)), (None, Some(1)), (Some(1), None), (None, None)] {
            assert!(range(since, until).is_ok());
        }
    }
}
