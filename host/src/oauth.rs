//! OAuth2 access tokens (RFC 9068): which are accepted, and the keys that verify them. Claims are judged by
//! [`crate::domain::token`]; the only place that knows jsonwebtoken.

mod keys;
mod ring;
mod source;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use lru::LruCache;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::config::OAuth;
use crate::domain::credential::Grant;
use crate::domain::token::{Accepted, Expected, check_type};
use keys::{PublicKey, Wanted};
use ring::Ring;
use source::Source;

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Tokens that are remembered as verified, and for how long at most, in milliseconds. Verifying one takes 30 to 55 µs,
/// knowing it again less than one.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const REMEMBERED_MS: i64 = 60_000;
/// How long a start waits for a file.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

/// Why a token opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not valid, in words for its bearer.
    Invalid(String),
    /// There are no keys to verify it with, and none to be had now.
    Unavailable,
}

/// A token that was accepted before.
struct Remembered {
    grant: Grant,
    generation: u64,
    until: i64,
}

/// Judges access tokens.
pub(crate) struct Tokens {
    expected: Expected,
    ring: Arc<Ring>,
    clock: Arc<dyn Clock>,
    /// By sha-256. Only valid ones: who has none cannot push out those of others.
    remembered: Mutex<LruCache<[u8; 32], Remembered>>,
}

impl Tokens {
    /// As the flags say; none where there are no flags. An issuer need not be reachable yet, a file has to be there.
    ///
    /// # Errors
    /// The flag that is wrong or missing, and how to mend it.
    pub(crate) async fn start(flags: OAuth, clock: Arc<dyn Clock>) -> Result<Option<Self>, String> {
        let Some((source, expected)) = read(flags)? else { return Ok(None) };
        let is_file = matches!(source, Source::File(_));
        let ring = Ring::new(source, clock.clone());
        if is_file {
            ring.fetch(FILE_PATIENCE).await;
            if let Some(failure) = ring.failure() {
                return Err(format!("--oauth-jwks {failure}"));
            }
        } else {
            ring.begin();
        }
        Ok(Some(Self { expected, ring, clock, remembered: Mutex::new(LruCache::new(REMEMBERED)) }))
    }

    /// What the token gives its bearer.
    ///
    /// # Errors
    /// It is not valid, or that cannot be told now.
    pub(crate) async fn check(&self, token: &str) -> Result<Grant, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Invalid(format!("the access token is longer than {MAX_TOKEN_BYTES} bytes")));
        }
        let id = id(token);
        if let Some(grant) = self.remembered(&id) {
            return Ok(grant);
        }
        let wanted = read_header(token).map_err(Refusal::Invalid)?;
        let held = self.ring.find(&wanted).await?;
        let claims = verify(token, &held.key).map_err(Refusal::Invalid)?;
        let now = self.clock.now_ms();
        let accepted = self.expected.check(&claims, now).map_err(Refusal::Invalid)?;
        let Accepted { grant, ends_at } = accepted;
        let until = ends_at.min(now.saturating_add(REMEMBERED_MS));
        self.lock().put(id, Remembered { grant: grant.clone(), generation: held.generation, until });
        Ok(grant)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<[u8; 32], Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, id: &[u8; 32]) -> Option<Grant> {
        let (now, generation) = (self.clock.now_ms(), self.ring.generation());
        let mut remembered = self.lock();
        let found = remembered.get(id)?;
        (found.generation == generation && now < found.until).then(|| found.grant.clone())
    }
}

/// Whether a bearer's text is a JWT rather than a key: keys have no dots.
pub(crate) fn is_token(text: &str) -> bool {
    text.contains('.')
}

fn read(flags: OAuth) -> Result<Option<(Source, Expected)>, String> {
    let source = match (&flags.oauth_issuer, &flags.oauth_jwks) {
        (_, Some(jwks)) => Source::of_jwks(jwks),
        (Some(issuer), None) => Source::Issuer(issuer.clone()),
        (None, None) if flags.oauth_audience.is_none() => return Ok(None),
        (None, None) => {
            return Err("--oauth-audience says for whom access tokens have to be meant, but not whose are accepted: \
                        give --oauth-issuer or --oauth-jwks as well"
                .into());
        }
    };
    if let Some(issuer) = &flags.oauth_issuer {
        source::check_issuer(issuer).map_err(|error| format!("--oauth-issuer: {error}"))?;
    }
    let audience = flags.oauth_audience.filter(|name| !name.is_empty()).ok_or(
        "--oauth-audience is missing: without it, a token that the issuer made for any other service would be accepted \
         here too (RFC 9068 section 4); give the name that the issuer writes into `aud` for this service",
    )?;
    Ok(Some((source, Expected { issuer: flags.oauth_issuer, audience })))
}

fn id(token: &str) -> [u8; 32] {
    let mut id = [0; 32];
    for (to, from) in id.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
        *to = *from;
    }
    id
}

/// What can be refused without a key is refused first, so that it makes nobody fetch keys.
fn read_header(token: &str) -> Result<Wanted, String> {
    const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    const HOW: &str = "an access token is a JWT that is signed with RS256, ES256 or EdDSA; this is none";
    let header = decode_header(token).map_err(|_| HOW)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(HOW.into());
    }
    // RFC 7515 §4.1.11: who does not understand what is critical refuses, and there is nothing that we understand.
    if header.crit.is_some() {
        return Err("the access token's header names something critical (`crit`) that is not supported".into());
    }
    check_type(header.typ.as_deref())?;
    Ok(Wanted { kid: header.kid, algorithm: header.alg })
}

fn verify(token: &str, key: &PublicKey) -> Result<Map<String, Value>, String> {
    let mut validation = Validation::new(key.algorithm);
    // The library reads the machine's clock; its checks of claims are ours (`domain::token`).
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let verified = decode(token, &key.key, &validation).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => "the access token's signature does not verify",
        _ => "the access token cannot be read: its parts are base64url, its claims a JSON object",
    })?;
    Ok(verified.claims)
}
