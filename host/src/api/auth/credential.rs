//! Finds the credential in a request's headers and verifies it.

use axum::http::{HeaderMap, header};

use crate::api::ApiState;
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::credential::{Credential, Grant};
use crate::oauth::{self, TokenRefusal};

/// The credential that a request presents.
#[derive(Debug, PartialEq, Eq)]
enum PresentedCredential<'a> {
    /// `Authorization: Bearer …` (RFC 6750 §2.1): a key or an access token.
    Bearer(&'a str),
    /// `x-api-key: …`
    ApiKey(&'a str),
}

/// Returns the permissions of the credential in `headers`.
///
/// # Errors
/// 401 if there is no valid credential, 503 if it cannot be verified now.
pub(super) async fn identify(headers: &HeaderMap, api: &ApiState) -> Result<Grant, Problem> {
    let key = match presented(headers)? {
        PresentedCredential::Bearer(token) if oauth::is_token(token) => return verify_token(token, api).await,
        PresentedCredential::Bearer(key) | PresentedCredential::ApiKey(key) => key,
    };
    match api.store.key(key, api.clock.now_ms()).await? {
        Some(key) => {
            let (owner, scopes) = (key.owner.clone(), key.scopes.clone());
            Ok(Grant { owner, scopes, credential: Credential::Key(key) })
        }
        None => {
            Err(Problem::new(ProblemKind::InvalidCredential, "this key is unknown or has been revoked, or has expired"))
        }
    }
}

async fn verify_token(token: &str, api: &ApiState) -> Result<Grant, Problem> {
    let Some(tokens) = &api.tokens else {
        let detail = "this is not a key, and this service does not accept access tokens: `posthaste serve` needs \
                      --oauth-issuer";
        return Err(Problem::new(ProblemKind::InvalidCredential, detail));
    };
    tokens.check(token).await.map_err(|refusal| match refusal {
        TokenRefusal::Invalid(detail) => Problem::new(ProblemKind::InvalidCredential, detail),
        TokenRefusal::Unavailable => {
            let detail = "the keys that verify access tokens are not available at present; try again";
            Problem::new(ProblemKind::Unavailable, detail)
        }
    })
}

/// Finds the credential; a bearer takes precedence over `x-api-key`.
fn presented(headers: &HeaderMap) -> Result<PresentedCredential<'_>, Problem> {
    const HOW: &str = "send `Authorization: Bearer <key or access token>` or `x-api-key: <key>`";
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
    match (bearer, key) {
        (Some(""), _) | (None, None | Some("")) => Err(Problem::new(ProblemKind::MissingCredential, HOW)),
        (Some(bearer), _) => Ok(PresentedCredential::Bearer(bearer)),
        (None, Some(key)) => Ok(PresentedCredential::ApiKey(key)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_bearer_takes_precedence_over_an_api_key() {
        use PresentedCredential::{ApiKey, Bearer};
        for (pairs, expected) in [
            (&[("authorization", "Bearer a")][..], Bearer("a")),
            (&[("authorization", "bearer  a ")], Bearer("a")),
            (&[("x-api-key", " b ")], ApiKey("b")),
            (&[("authorization", "Bearer a"), ("x-api-key", "b")], Bearer("a")),
            (&[("authorization", "Basic eDp5"), ("x-api-key", "b")], ApiKey("b")),
        ] {
            assert_eq!(presented(&headers(pairs)).unwrap(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_empty_or_foreign_credential_counts_as_none() {
        for pairs in [
            &[][..],
            &[("x-api-key", "")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic eDp5")],
            &[("authorization", "Bearer "), ("x-api-key", "b")],
        ] {
            let problem = presented(&headers(pairs)).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::MissingCredential, "{pairs:?}");
        }
    }
}
