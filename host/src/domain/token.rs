//! The claims of OAuth2 access tokens (RFC 9068), checked after the signature has been verified.

use serde_json::{Map, Value};

use super::credential::{Credential, Grant, Owner, Scopes, check_company};

/// Bounds the tolerated difference between the issuer's clock and ours, in milliseconds, in either direction.
pub const SKEW_MS: i64 = 60_000;

/// The required claims of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The required `iss`; with `None`, every issuer whose keys are in the key set is accepted.
    pub issuer: Option<String>,
    /// The name that `aud` must contain.
    pub audience: String,
}

/// An accepted token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The rights of its bearer.
    pub grant: Grant,
    /// The time from which the token is refused, in milliseconds since 1970: `exp` plus the tolerated skew.
    pub ends_at: i64,
}

impl Expected {
    /// Checks the claims of a token whose signature has been verified. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// The text tells the bearer which claim is wrong.
    pub fn check(&self, claims: &Map<String, Value>, now: i64) -> Result<Accepted, String> {
        let ends_at = time(claims, "exp")?.ok_or("the access token has no `exp`")?.saturating_add(SKEW_MS);
        if now >= ends_at {
            return Err("the access token has expired (`exp`): get a new one".into());
        }
        if time(claims, "nbf")?.is_some_and(|from| now.saturating_add(SKEW_MS) < from) {
            return Err("the access token is not valid yet (`nbf`)".into());
        }
        if self.issuer.as_deref().is_some_and(|issuer| claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return Err("the access token is of another issuer (`iss`)".into());
        }
        if !self.is_meant(claims.get("aud")) {
            let audience = &self.audience;
            return Err(format!("the access token is meant for another service: its `aud` must contain {audience}"));
        }
        let (owner, scopes) = (Owner::Company(company(claims.get("company_id"))?), scopes(claims)?);
        let grant = Grant { owner, scopes, credential: Credential::Token };
        Ok(Accepted { grant, ends_at })
    }

    /// `aud` is one name or a list of them (RFC 7519 §4.1.3).
    fn is_meant(&self, aud: Option<&Value>) -> bool {
        match aud {
            Some(Value::Array(names)) => names.iter().any(|name| name.as_str() == Some(&self.audience)),
            Some(name) => name.as_str() == Some(&self.audience),
            None => false,
        }
    }
}

/// Checks the header's `typ` (RFC 9068 §2.1): it distinguishes an access token from an ID token, which identifies a user
/// to a client and must not be accepted here.
///
/// # Errors
/// The token has another type.
pub fn check_type(typ: Option<&str>) -> Result<(), String> {
    let is = |name: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(name));
    if is("at+jwt") || is("application/at+jwt") {
        return Ok(());
    }
    Err("this JWT is not an access token: its `typ` must be at+jwt (RFC 9068)".into())
}

/// Reads a NumericDate (RFC 7519 §2), seconds with an optional fraction, and returns milliseconds.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().ok_or_else(|| format!("the access token's `{name}` is not a number"))?;
    // The cast saturates: a value beyond i64 never passes.
    Ok(Some((seconds * 1000.0) as i64))
}

fn company(claim: Option<&Value>) -> Result<String, String> {
    let name = match claim {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
        Some(_) => return Err("the access token's `company_id` is neither a string nor an integer".into()),
        None => return Err("the access token names no company: it must have the claim `company_id`".into()),
    };
    check_company(&name).map_err(|rule| format!("the access token's `company_id` is invalid: {rule}"))?;
    Ok(name)
}

/// Reads the claim `scope` (RFC 8693 §4.2); without it the bearer has no access.
fn scopes(claims: &Map<String, Value>) -> Result<Scopes, String> {
    match claims.get("scope") {
        Some(Value::String(words)) => Ok(Scopes::among(words)),
        Some(_) => Err("the access token's `scope` is not a string".into()),
        None => Ok(Scopes::among("")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::credential::{Access, Area};

    const NOW: i64 = 1_700_000_000_000;

    fn check(change: &Value) -> Result<Accepted, String> {
        let expected = Expected { issuer: Some("https://id".into()), audience: "hooks".into() };
        let mut claims = json!({"iss": "https://id", "aud": "hooks", "exp": NOW / 1000, "company_id": "acme"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        expected.check(claims.as_object().unwrap(), NOW)
    }

    #[test]
    fn the_issuers_clock_may_differ_by_a_minute() {
        let at = |seconds: f64| json!(1_700_000_000.0 + seconds);
        assert!(check(&json!({"exp": at(-59.9), "nbf": at(60.0)})).is_ok());
        assert!(check(&json!({"exp": at(-60.0)})).unwrap_err().contains("expired"));
        assert!(check(&json!({"nbf": at(60.1)})).unwrap_err().contains("not valid yet"));
        for forever in [json!(1e300), json!(u64::MAX), json!(i64::MAX)] {
            assert_eq!(check(&json!({"exp": forever})).unwrap().ends_at, i64::MAX, "{forever}");
        }
        for bad in [json!("1700000000"), json!(null), json!(true), json!(-1e300), json!(0)] {
            assert!(check(&json!({"exp": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_claim_is_checked() {
        assert!(check(&json!({"aud": ["a", "hooks"]})).is_ok());
        for aud in [json!("hook"), json!(["a"]), json!([]), json!(null), json!({"hooks": 1}), json!([["hooks"]])] {
            assert!(check(&json!({"aud": aud})).unwrap_err().contains("`aud`"), "{aud}");
        }
        for iss in [json!("https://id/"), json!(["https://id"]), json!(null)] {
            assert!(check(&json!({"iss": iss})).unwrap_err().contains("`iss`"), "{iss}");
        }
        for company in [json!(null), json!(""), json!("a b"), json!(1.5), json!(["acme"]), json!("a".repeat(129))] {
            assert!(check(&json!({"company_id": company})).unwrap_err().contains("`company_id`"), "{company}");
        }
        for (company, name) in [(json!(42), "42"), (json!(-1), "-1"), (json!(u64::MAX), "18446744073709551615")] {
            let owner = check(&json!({"company_id": company})).unwrap().grant.owner;
            assert_eq!(owner, Owner::Company(name.into()));
        }
    }

    #[test]
    fn only_known_scopes_count() {
        let scopes = |words: &str| check(&json!({"scope": words})).unwrap().grant.scopes;
        let some = scopes("openid webhooks events:read openid:read webhooks,plugins webhooks");
        assert!(some.allow(Area::Webhooks, Access::Write) && some.allow(Area::Events, Access::Read));
        assert!(!some.allow(Area::Events, Access::Write) && !some.allow(Area::Plugins, Access::Read));
        assert_eq!(some.to_string(), "webhooks,events:read");
        assert_eq!(scopes("openid").to_string(), "none");
        assert!(check(&json!({"scope": ["webhooks"]})).is_err());
    }

    #[test]
    fn an_id_token_is_not_accepted_as_an_access_token() {
        for fine in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert!(check_type(Some(fine)).is_ok(), "{fine}");
        }
        for bad in [None, Some("JWT"), Some(""), Some("at+jwt ")] {
            assert!(check_type(bad).is_err(), "{bad:?}");
        }
    }
}
