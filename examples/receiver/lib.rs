//! A webhook receiver: verifies each request, recognises duplicates, and answers at once.
//!
//! The three checks come before the body is read as JSON. Whoever knows the URL can POST to it; only Posthaste knows the
//! signing secret, and only a request that was signed in the last minutes is not a replay of an old one.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// How far `webhook-timestamp` may be from the receiver's clock, in seconds, either way.
pub const TOLERANCE_S: u64 = 300;

/// How many identifiers are remembered. A retry comes with the same identifier, up to days later: a real receiver keeps them
/// in its database, in the transaction that stores the effect of the event.
const REMEMBERED: usize = 10_000;

/// What a receiver has to know.
pub struct Settings {
    /// The key of the HMAC.
    pub key: hmac::Key,
    /// The challenge that the webhook was subscribed with, if any.
    pub challenge: Option<String>,
    /// Tells the seconds since 1970.
    pub now_s: fn() -> i64,
    /// Receives each new event once, as bytes of JSON. It has to be quick, because the sender waits for the answer: store the
    /// event or queue it, and work on it afterwards.
    pub on_event: Box<dyn Fn(Bytes) + Send + Sync>,
}

/// The key for a signing secret as Posthaste shows it, `whsec_` and base64.
///
/// # Errors
/// The text is not such a secret.
pub fn parse_secret(text: &str) -> Result<hmac::Key, String> {
    let encoded = text.strip_prefix("whsec_").ok_or("a signing secret begins with whsec_")?;
    let secret = STANDARD.decode(encoded).map_err(|_| "after whsec_ a signing secret is base64")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &secret))
}

/// The identifiers of the last events.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Returns whether the identifier is new, and remembers it.
    fn is_new(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

struct Shared {
    settings: Settings,
    seen: Mutex<Seen>,
}

/// The receiver as an axum router, with its one route at `/`.
pub fn router(settings: Settings) -> Router {
    Router::new().route("/", post(receive)).with_state(Arc::new(Shared { settings, seen: Mutex::default() }))
}

/// 204 for an event that was taken, now or earlier; 401, which Posthaste retries, for a request that does not verify.
async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let id = match verify(&shared.settings, &headers, &body) {
        Ok(id) => id,
        Err(why) => return (StatusCode::UNAUTHORIZED, why),
    };
    // A duplicate is a success: the sender did not get the first answer.
    if shared.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(id) {
        (shared.settings.on_event)(body);
    }
    (StatusCode::NO_CONTENT, String::new())
}

/// Checks a request and returns its `webhook-id`. The body has to be the bytes as they arrived: JSON that was read and
/// written again has another signature.
///
/// # Errors
/// The reason, for the log. It names no secret.
pub fn verify<'h>(settings: &Settings, headers: &'h HeaderMap, body: &[u8]) -> Result<&'h str, String> {
    let header = |name: &str| {
        let value = headers.get(name).ok_or_else(|| format!("the header {name} is missing"))?;
        value.to_str().map_err(|_| format!("the header {name} is not ASCII"))
    };
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let sent_s: i64 = timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds")?;
    if (settings.now_s)().abs_diff(sent_s) > TOLERANCE_S {
        return Err(format!("webhook-timestamp is more than {TOLERANCE_S} s off"));
    }
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    // While a secret is being rotated there are two signatures, separated by a space.
    let mut signatures = header("webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    let fits = |encoded: &str| {
        // Compares in constant time.
        STANDARD.decode(encoded).is_ok_and(|given| hmac::verify(&settings.key, &message, &given).is_ok())
    };
    if !signatures.any(fits) {
        return Err("no signature in webhook-signature fits".into());
    }
    if let Some(challenge) = &settings.challenge
        && header("x-factorial-wh-challenge")? != challenge
    {
        return Err("the challenge is not the one that the webhook was subscribed with".into());
    }
    Ok(id)
}
