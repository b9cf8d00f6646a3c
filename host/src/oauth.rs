//! OAuth2 access tokens (RFC 9068): verifies them with the cached keys of an issuer. [`crate::domain::token`] checks
//! the claims. The only room that uses jsonwebtoken.

mod jwks_cache;
mod keys;
mod refusal;
mod source;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use lru::LruCache;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::config::OAuthSettings;
use crate::domain::credential::Grant;
use crate::domain::token::{Accepted, Expected, check_type};
use jwks_cache::JwksCache;
use keys::{KeySelector, PublicKey};
use source::KeySource;

pub(crate) use refusal::TokenRefusal;

/// Bounds an access token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Bounds the cache of verified tokens. Verifying a token takes 30 to 55 µs, a cache hit less than one.
const MAX_VERIFIED_TOKENS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Bounds the time for which a verified token is cached, in milliseconds.
const VERIFIED_TOKEN_MS: i64 = 60_000;
/// Bounds the time that a start waits for a key set in a file.
const FILE_WAIT: Duration = Duration::from_secs(10);

/// A token that has been verified and accepted.
struct VerifiedToken {
    grant: Grant,
    /// The generation of the key set that verified it.
    generation: u64,
    /// When the entry expires, in milliseconds since 1970.
    expires_at: i64,
}

/// Verifies access tokens.
pub(crate) struct Tokens {
    expected: Expected,
    keys: Arc<JwksCache>,
    clock: Arc<dyn Clock>,
    /// Verified tokens by their sha-256. Only valid ones: invalid tokens cannot evict the valid ones of others.
    verified: Mutex<LruCache<[u8; 32], VerifiedToken>>,
}

impl Tokens {
    /// Starts verification as configured by the flags; returns `None` if no flag is given. An issuer need not be
    /// reachable yet; a key set in a file must be readable.
    ///
    /// # Errors
    /// The text names the wrong or missing flag and how to fix it.
    pub(crate) async fn start(flags: OAuthSettings, clock: Arc<dyn Clock>) -> Result<Option<Self>, String> {
        let Some((source, expected)) = read_flags(flags)? else { return Ok(None) };
        let is_file = matches!(source, KeySource::File(_));
        let keys = JwksCache::new(source, clock.clone());
        if is_file {
            keys.fetch(FILE_WAIT).await;
            if let Some(failure) = keys.failure() {
                return Err(format!("--oauth-jwks {failure}"));
            }
        } else {
            keys.start_fetch();
        }
        Ok(Some(Self { expected, keys, clock, verified: Mutex::new(LruCache::new(MAX_VERIFIED_TOKENS)) }))
    }

    /// Verifies a token and returns the rights of its bearer.
    ///
    /// # Errors
    /// The token is not valid, or its validity cannot be determined at present.
    pub(crate) async fn check(&self, token: &str) -> Result<Grant, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::Invalid(format!("the access token is longer than {MAX_TOKEN_BYTES} bytes")));
        }
        let digest = sha256(token);
        if let Some(grant) = self.cached_grant(&digest) {
            return Ok(grant);
        }
        let selector = read_header(token).map_err(TokenRefusal::Invalid)?;
        let cached = self.keys.find(&selector).await?;
        let claims = verify(token, &cached.key).map_err(TokenRefusal::Invalid)?;
        let now = self.clock.now_ms();
        let accepted = self.expected.check(&claims, now).map_err(TokenRefusal::Invalid)?;
        let Accepted { grant, ends_at } = accepted;
        let expires_at = ends_at.min(now.saturating_add(VERIFIED_TOKEN_MS));
        let verified = VerifiedToken { grant: grant.clone(), generation: cached.generation, expires_at };
        self.lock().put(digest, verified);
        Ok(grant)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<[u8; 32], VerifiedToken>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached_grant(&self, digest: &[u8; 32]) -> Option<Grant> {
        let (now, generation) = (self.clock.now_ms(), self.keys.generation());
        let mut verified = self.lock();
        let found = verified.get(digest)?;
        (found.generation == generation && now < found.expires_at).then(|| found.grant.clone())
    }
}

/// Returns whether a bearer credential is a JWT rather than an API key: API keys contain no dots.
pub(crate) fn is_token(text: &str) -> bool {
    text.contains('.')
}

fn read_flags(flags: OAuthSettings) -> Result<Option<(KeySource, Expected)>, String> {
    let source = match (&flags.oauth_issuer, &flags.oauth_jwks) {
        (_, Some(jwks)) => KeySource::of_jwks(jwks),
        (Some(issuer), None) => KeySource::Issuer(issuer.clone()),
        (None, None) if flags.oauth_audience.is_none() => return Ok(None),
        (None, None) => {
            return Err("--oauth-audience names the audience of access tokens, but no flag names their issuer: \
                        add --oauth-issuer or --oauth-jwks"
                .into());
        }
    };
    if let Some(issuer) = &flags.oauth_issuer {
        source::check_issuer(issuer).map_err(|error| format!("--oauth-issuer: {error}"))?;
    }
    let audience = flags.oauth_audience.filter(|name| !name.is_empty()).ok_or(
        "--oauth-audience is missing: without it, a token that the issuer made for any other service would be accepted \
         here too (RFC 9068 section 4); set it to the name that the issuer writes into `aud` for this service",
    )?;
    Ok(Some((source, Expected { issuer: flags.oauth_issuer, audience })))
}

fn sha256(token: &str) -> [u8; 32] {
    let mut copy = [0; 32];
    for (to, from) in copy.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
        *to = *from;
    }
    copy
}

/// Reads the header. Tokens that can be refused without a key are refused here, so that they cause no fetch.
fn read_header(token: &str) -> Result<KeySelector, String> {
    const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    const REQUIRED: &str = "an access token must be a JWT that is signed with RS256, ES256 or EdDSA; this one is not";
    let header = decode_header(token).map_err(|_| REQUIRED)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(REQUIRED.into());
    }
    // RFC 7515 §4.1.11: a recipient refuses critical extensions that it does not support, and we support none.
    if header.crit.is_some() {
        return Err("the access token's header requires an extension (`crit`) that is not supported".into());
    }
    check_type(header.typ.as_deref())?;
    Ok(KeySelector { kid: header.kid, algorithm: header.alg })
}

fn verify(token: &str, key: &PublicKey) -> Result<Map<String, Value>, String> {
    let mut validation = Validation::new(key.algorithm);
    // The library would read the machine's clock; `domain::token` checks these claims instead.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let verified = decode(token, &key.key, &validation).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => "the access token's signature does not verify",
        _ => "the access token cannot be parsed: its parts must be base64url, and its claims a JSON object",
    })?;
    Ok(verified.claims)
}
