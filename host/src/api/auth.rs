//! Who calls, and what they may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::problem::{Kind, Problem};
use super::{Api, Peer};
use crate::domain::credential::{Access, Area, Grant, Owner, check_company};
use crate::oauth::{self, Refusal};

/// The holder of a valid credential.
pub(super) struct Caller(Grant);

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        // The credential first: a valid one is let in, however many wrong ones came from where it comes from.
        let identified = identify(&parts.headers, api).await;
        identified.map(Self).map_err(|problem| {
            let peer = parts.extensions.get::<Peer>();
            let slowed = problem.is_about_credential() && !api.failures.may_fail(peer, api.clock.now_ms());
            if slowed { problem.too_often() } else { problem }
        })
    }
}

/// What a request gives to show who calls.
enum Credential<'a> {
    /// `Authorization: Bearer …` (RFC 6750 §2.1): a key or an access token.
    Bearer(&'a str),
    /// `x-api-key: …`
    Key(&'a str),
}

async fn identify(headers: &HeaderMap, api: &Api) -> Result<Grant, Problem> {
    let key = match credential(headers)? {
        Credential::Bearer(token) if oauth::is_token(token) => return check_token(token, api).await,
        Credential::Bearer(key) | Credential::Key(key) => key,
    };
    match api.store.key(key).await? {
        Some(key) => Ok(Grant { owner: key.owner.clone(), scopes: key.scopes.clone() }),
        None => Err(Problem::new(Kind::Refused, "this key is unknown or has been revoked")),
    }
}

async fn check_token(token: &str, api: &Api) -> Result<Grant, Problem> {
    let Some(tokens) = &api.tokens else {
        let detail = "this is no key, and access tokens are not accepted here: `posthaste serve` needs --oauth-issuer";
        return Err(Problem::new(Kind::Refused, detail));
    };
    tokens.check(token).await.map_err(|refusal| match refusal {
        Refusal::Invalid(detail) => Problem::new(Kind::Refused, detail),
        Refusal::Unavailable => {
            Problem::new(Kind::Unavailable, "the keys that verify access tokens cannot be had at present; try again")
        }
    })
}

fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Problem> {
    const HOW: &str = "send `Authorization: Bearer <key or access token>` or `x-api-key: <key>`";
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
    match (bearer, key) {
        (Some(""), _) | (None, None | Some("")) => Err(Problem::new(Kind::Credential, HOW)),
        (Some(bearer), _) => Ok(Credential::Bearer(bearer)),
        (None, Some(key)) => Ok(Credential::Key(key)),
    }
}

impl Caller {
    /// The company that the call is about, once it is clear that the caller may do this to it.
    ///
    /// # Errors
    /// 403 for a missing scope or another company's name, 422 where a platform key does not name the company.
    pub(super) fn company(&self, area: Area, access: Access, named: Option<&str>) -> Result<String, Problem> {
        if !self.0.scopes.allow(area, access) {
            let suffix = if access == Access::Read { ":read" } else { "" };
            let detail =
                format!("this credential lacks the scope `{}{suffix}`; it has `{}`", area.name(), self.0.scopes);
            return Err(Problem::new(Kind::Scope, detail));
        }
        match (&self.0.owner, named) {
            (Owner::Company(own), None) => Ok(own.clone()),
            (Owner::Company(own), Some(named)) if own == named => Ok(own.clone()),
            (Owner::Company(_), Some(_)) => {
                Err(Problem::new(Kind::Scope, "this credential belongs to another company"))
            }
            (Owner::Platform, Some(named)) => {
                check_company(named).map_err(|detail| Problem::new(Kind::Rule, detail))?;
                Ok(named.to_owned())
            }
            (Owner::Platform, None) => Err(Problem::new(Kind::Rule, "a platform key names the company: `?company=…`")),
        }
    }
}
