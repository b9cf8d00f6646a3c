//! The cached keys of an issuer (its JWKS), and the rules for fetching them again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::keys::{KeyMatch, KeySelector, KeySet, PublicKey};
use super::refusal::TokenRefusal;
use super::source::KeySource;
use crate::clock::Clock;
use crate::outbound::UnguardedClient;

/// Age at which cached keys are fetched again, in milliseconds: a key that the issuer removed stops verifying after it.
const REFRESH_INTERVAL_MS: i64 = 10 * 60 * 1000;
/// Bounds the rate of fetches, however many tokens name unknown keys: one in this time, in milliseconds.
const MIN_FETCH_INTERVAL_MS: i64 = 10_000;
/// Bounds one HTTP request of a fetch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds the wait for a fetch if the token cannot be verified without it.
const MISSING_KEY_WAIT: Duration = Duration::from_secs(15);
/// Bounds the wait for a fetch if cached keys can be used instead.
const REFRESH_WAIT: Duration = Duration::from_secs(1);

/// Caches the keys of one source and fetches them again when they are old or lack a key.
pub(super) struct JwksCache {
    source: KeySource,
    http: UnguardedClient,
    clock: Arc<dyn Clock>,
    state: Mutex<JwksCacheState>,
    /// Counts finished fetches; waiters subscribe to it.
    finished_fetches: watch::Sender<u64>,
}

#[derive(Default)]
struct JwksCacheState {
    keys: KeySet,
    /// Counts the key sets: a token that was verified with an older set is verified again.
    generation: u64,
    fetching: bool,
    /// When the last fetch started, in milliseconds since 1970.
    last_started_at: Option<i64>,
    /// When the last successful fetch started, in milliseconds since 1970.
    last_success_at: Option<i64>,
    /// The error of the last fetch, if it failed.
    failure: Option<String>,
}

/// A key from the cache.
pub(super) struct CachedKey {
    pub(super) key: Arc<PublicKey>,
    /// The generation of its key set.
    pub(super) generation: u64,
}

impl JwksCache {
    pub(super) fn new(source: KeySource, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (http, finished_fetches) = (UnguardedClient::new(REQUEST_TIMEOUT), watch::Sender::new(0));
        Arc::new(Self { source, http, clock, state: Mutex::default(), finished_fetches })
    }

    fn lock(&self) -> MutexGuard<'_, JwksCacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the generation of the current key set.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Returns the selected key. Fetches the keys first if they are old or do not contain it.
    pub(super) async fn find(self: &Arc<Self>, selector: &KeySelector) -> Result<CachedKey, TokenRefusal> {
        if elapsed_ms(self.lock().last_success_at, self.clock.now_ms()) >= REFRESH_INTERVAL_MS {
            self.fetch(REFRESH_WAIT).await;
        }
        if let Some(key) = self.find_cached(selector)? {
            return Ok(key);
        }
        self.fetch(MISSING_KEY_WAIT).await;
        if let Some(key) = self.find_cached(selector)? {
            return Ok(key);
        }
        let state = self.lock();
        // The issuer may have this key: it could not be asked, or has not answered yet.
        if state.fetching || state.failure.is_some() {
            return Err(TokenRefusal::Unavailable);
        }
        Err(TokenRefusal::Invalid("no key of the issuer matches the access token's `kid` and `alg`".into()))
    }

    fn find_cached(&self, selector: &KeySelector) -> Result<Option<CachedKey>, TokenRefusal> {
        let state = self.lock();
        match state.keys.find(selector) {
            KeyMatch::One(key) => Ok(Some(CachedKey { key, generation: state.generation })),
            KeyMatch::None => Ok(None),
            KeyMatch::Several => Err(TokenRefusal::Invalid(
                "several keys of the issuer match the access token: it must name one by `kid`".into(),
            )),
        }
    }

    /// Starts a fetch, unless the last one is too recent, and waits at most `max_wait` for it to finish.
    pub(super) async fn fetch(self: &Arc<Self>, max_wait: Duration) {
        // Subscribed before the fetch starts, so that its end is not missed.
        let mut finished = self.finished_fetches.subscribe();
        if self.start_fetch() {
            let _ = timeout(max_wait, finished.changed()).await;
        }
    }

    /// Returns the error of the last fetch, if it failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Starts a fetch, unless one is running or the last one is too recent. Returns whether a fetch is running now. The
    /// fetch is a task of its own: a caller whose client disconnects must not cancel it for the other callers.
    pub(super) fn start_fetch(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        let now = self.clock.now_ms();
        if state.fetching {
            return true;
        }
        if elapsed_ms(state.last_started_at, now) < MIN_FETCH_INTERVAL_MS {
            return false;
        }
        state.fetching = true;
        state.last_started_at = Some(now);
        let cache = self.clone();
        tokio::spawn(async move {
            let fetched = cache.source.fetch(cache.http).await;
            cache.finish_fetch(fetched, now);
        });
        true
    }

    fn finish_fetch(&self, fetched: Result<KeySet, String>, started_at: i64) {
        let mut state = self.lock();
        state.fetching = false;
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the keys that verify access tokens");
                if keys.len() == 0 {
                    tracing::warn!("the key set has no key for RS256, ES256 or EdDSA: no access token will verify");
                }
                state.keys = keys;
                state.generation += 1;
                state.last_success_at = Some(started_at);
                state.failure = None;
            }
            Err(error) => {
                tracing::warn!(%error, "could not fetch the keys that verify access tokens; cached keys stay in use");
                state.failure = Some(error);
            }
        }
        drop(state);
        self.finished_fetches.send_modify(|count| *count += 1);
    }
}

/// Returns the milliseconds since `then`, and `i64::MAX` if there is no `then` or the clock has been set back since.
fn elapsed_ms(then: Option<i64>, now: i64) -> i64 {
    then.map(|then| now.saturating_sub(then)).filter(|passed| *passed >= 0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
