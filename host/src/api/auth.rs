//! Who calls, and what they may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::Api;
use super::problem::{Kind, Problem};
use crate::domain::credential::{Access, Area, Key, Owner, check_company};

/// The holder of a valid credential.
pub(super) struct Caller(Arc<Key>);

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let text = credential(&parts.headers)?;
        match api.store.key(text).await? {
            Some(key) => Ok(Self(key)),
            None => Err(Problem::new(Kind::Credential, "this key is unknown or has been revoked")),
        }
    }
}

/// The key's text: `Authorization: Bearer …` (RFC 6750 §2.1) or `x-api-key: …`.
fn credential(headers: &HeaderMap) -> Result<&str, Problem> {
    const HOW: &str = "send `Authorization: Bearer <key>` or `x-api-key: <key>`";
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
    bearer.or(key).filter(|text| !text.is_empty()).ok_or_else(|| Problem::new(Kind::Credential, HOW))
}

impl Caller {
    /// The company that the call is about, once it is clear that the caller may do this to it.
    ///
    /// # Errors
    /// 403 for a missing scope or another company's name, 422 where a platform key does not name the company.
    pub(super) fn company(&self, area: Area, access: Access, named: Option<&str>) -> Result<String, Problem> {
        if !self.0.scopes.allow(area, access) {
            let suffix = if access == Access::Read { ":read" } else { "" };
            let detail = format!("this key lacks the scope `{}{suffix}`; it has `{}`", area.name(), self.0.scopes);
            return Err(Problem::new(Kind::Scope, detail));
        }
        match (&self.0.owner, named) {
            (Owner::Company(own), None) => Ok(own.clone()),
            (Owner::Company(own), Some(named)) if own == named => Ok(own.clone()),
            (Owner::Company(_), Some(_)) => Err(Problem::new(Kind::Scope, "this key belongs to another company")),
            (Owner::Platform, Some(named)) => {
                check_company(named).map_err(|detail| Problem::new(Kind::Rule, detail))?;
                Ok(named.to_owned())
            }
            (Owner::Platform, None) => Err(Problem::new(Kind::Rule, "a platform key names the company: `?company=…`")),
        }
    }
}
