//! The keys at hand, and when they are fetched anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Refusal;
use super::keys::{Found, KeySet, PublicKey, Wanted};
use super::source::Source;
use crate::clock::Clock;
use crate::outbound::Plain;

/// How long keys are used before they are fetched again, so that one that was removed stops verifying, in milliseconds.
const REFRESH_MS: i64 = 10 * 60 * 1000;
/// From one fetch to the next, however many tokens name unknown keys meanwhile, in milliseconds.
const REST_MS: i64 = 10_000;
/// What one request of a fetch may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a token waits for a fetch without which it cannot be judged.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a token waits for a fetch when there are keys from before.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Keeps the keys of one source.
pub(super) struct Ring {
    source: Source,
    http: Plain,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Counts the fetches that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    keys: KeySet,
    /// Counts the sets: what was verified with an older one is verified again.
    generation: u64,
    running: bool,
    /// When the last fetch began.
    tried_at: Option<i64>,
    /// When the last one began that succeeded.
    fetched_at: Option<i64>,
    /// Why the last one failed.
    failure: Option<String>,
}

/// A key.
pub(super) struct Held {
    pub(super) key: Arc<PublicKey>,
    /// Which set it is from.
    pub(super) generation: u64,
}

impl Ring {
    pub(super) fn new(source: Source, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (http, ended) = (Plain::new(REQUEST_TIMEOUT), watch::Sender::new(0));
        Arc::new(Self { source, http, clock, state: Mutex::default(), ended })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which set of keys is in use.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The wanted key; the keys are fetched first where they are old or do not have it.
    pub(super) async fn find(self: &Arc<Self>, wanted: &Wanted) -> Result<Held, Refusal> {
        if elapsed(self.lock().fetched_at, self.clock.now_ms()) >= REFRESH_MS {
            self.fetch(SHORT_PATIENCE).await;
        }
        if let Some(held) = self.look(wanted)? {
            return Ok(held);
        }
        self.fetch(PATIENCE).await;
        match self.look(wanted)? {
            Some(held) => Ok(held),
            // Whether the issuer has such a key is not known.
            None if self.lock().failure.is_some() => Err(Refusal::Unavailable),
            None => Err(Refusal::Invalid("no key of the issuer fits the access token's `kid` and `alg`".into())),
        }
    }

    fn look(&self, wanted: &Wanted) -> Result<Option<Held>, Refusal> {
        let state = self.lock();
        match state.keys.find(wanted) {
            Found::Key(key) => Ok(Some(Held { key, generation: state.generation })),
            Found::Nothing => Ok(None),
            Found::Several => Err(Refusal::Invalid(
                "several keys of the issuer fit the access token: it has to name one by `kid`".into(),
            )),
        }
    }

    /// Fetches, unless that was done just now, and waits for it.
    pub(super) async fn fetch(self: &Arc<Self>, patience: Duration) {
        // Before it may begin, so that its end is not missed.
        let mut ended = self.ended.subscribe();
        if self.begin() {
            let _ = timeout(patience, ended.changed()).await;
        }
    }

    /// Why the last fetch failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Begins a fetch, unless one is running or the last is too recent; false where there is none to wait for. It is
    /// a task of its own: a caller that hangs up must not end what others wait for.
    pub(super) fn begin(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        let now = self.clock.now_ms();
        if state.running {
            return true;
        }
        if elapsed(state.tried_at, now) < REST_MS {
            return false;
        }
        state.running = true;
        state.tried_at = Some(now);
        let ring = self.clone();
        tokio::spawn(async move {
            let fetched = ring.source.fetch(ring.http).await;
            ring.end(fetched, now);
        });
        true
    }

    fn end(&self, fetched: Result<KeySet, String>, began_at: i64) {
        let mut state = self.lock();
        state.running = false;
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the keys that verify access tokens were fetched");
                if keys.len() == 0 {
                    tracing::warn!("there is no key for RS256, ES256 or EdDSA: no access token will verify");
                }
                state.keys = keys;
                state.generation += 1;
                state.fetched_at = Some(began_at);
                state.failure = None;
            }
            Err(error) => {
                tracing::warn!(%error, "the keys that verify access tokens could not be fetched; those there are stay");
                state.failure = Some(error);
            }
        }
        drop(state);
        self.ended.send_modify(|count| *count += 1);
    }
}

/// Milliseconds since `then`; for ever where it never was, and where the clock has been set back since.
fn elapsed(then: Option<i64>, now: i64) -> i64 {
    then.map(|then| now.saturating_sub(then)).filter(|passed| *passed >= 0).unwrap_or(i64::MAX)
}
