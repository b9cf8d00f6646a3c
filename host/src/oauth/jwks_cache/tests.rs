//! The cache with a key set in a file and a clock that the test sets.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;

/// The start of each test, in milliseconds since 1970.
const START_MS: i64 = 1_700_000_000_000;
/// The documented refresh interval (docs/operations.md), independent of the constant in the code.
const TEN_MINUTES_MS: i64 = 600_000;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.now_ms()
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    cache: Arc<JwksCache>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(START_MS)));
        let cache = JwksCache::new(KeySource::File(folder.path().join("jwks.json")), clock.clone());
        Self { folder, clock, cache }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// Publishes one RSA key for each name.
    fn publish(&self, kids: &[&str]) {
        let keys: Vec<_> = kids.iter().map(|kid| json!({"kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB"})).collect();
        fs::write(self.file(), json!({ "keys": keys }).to_string()).unwrap();
    }

    fn set_clock(&self, since_start_ms: i64) {
        self.clock.0.store(START_MS + since_start_ms, Ordering::SeqCst);
    }

    /// The generation of the key set in which the key is found.
    async fn find(&self, kid: &str) -> Result<u64, TokenRefusal> {
        let selector = KeySelector { kid: Some(kid.to_owned()), algorithm: Algorithm::RS256 };
        self.cache.find(&selector).await.map(|found| found.generation)
    }
}

fn is_unknown_key(found: &Result<u64, TokenRefusal>) -> bool {
    matches!(found, Err(TokenRefusal::Invalid(text)) if text.contains("no key of the issuer"))
}

#[tokio::test]
async fn the_first_token_fetches_the_keys_and_the_next_uses_the_cache() {
    let fixture = Fixture::new();
    fixture.publish(&["a"]);
    assert_eq!((fixture.cache.generation(), fixture.cache.failure()), (0, None));
    assert_eq!(fixture.find("a").await, Ok(1));
    fixture.publish(&["b"]);
    fixture.set_clock(TEN_MINUTES_MS - 1);
    assert_eq!(fixture.find("a").await, Ok(1));
    assert_eq!(fixture.cache.generation(), 1);
}

#[tokio::test]
async fn old_keys_are_fetched_again_and_a_removed_key_stops_verifying() {
    let fixture = Fixture::new();
    fixture.publish(&["a"]);
    assert_eq!(fixture.find("a").await, Ok(1));
    fixture.publish(&["b"]);
    fixture.set_clock(TEN_MINUTES_MS);
    assert_eq!(fixture.find("b").await, Ok(2));
    assert!(is_unknown_key(&fixture.find("a").await));
    assert_eq!(fixture.cache.generation(), 2);
}

#[tokio::test]
async fn an_unknown_key_is_fetched_at_most_once_in_ten_seconds() {
    let fixture = Fixture::new();
    fixture.publish(&["a"]);
    assert_eq!(fixture.find("a").await, Ok(1));
    fixture.publish(&["a", "b"]);
    fixture.set_clock(MIN_FETCH_INTERVAL_MS - 1);
    assert!(is_unknown_key(&fixture.find("b").await));
    assert_eq!(fixture.cache.generation(), 1, "the last fetch was too recent");
    fixture.set_clock(MIN_FETCH_INTERVAL_MS);
    assert_eq!(fixture.find("b").await, Ok(2));
}

#[tokio::test]
async fn the_interval_counts_from_the_start_of_the_last_fetch_also_if_it_failed() {
    let fixture = Fixture::new();
    assert_eq!(fixture.find("a").await, Err(TokenRefusal::Unavailable));
    fixture.publish(&["a"]);
    fixture.set_clock(MIN_FETCH_INTERVAL_MS - 1);
    assert_eq!(fixture.find("a").await, Err(TokenRefusal::Unavailable));
    fixture.set_clock(MIN_FETCH_INTERVAL_MS);
    assert_eq!(fixture.find("a").await, Ok(1));
    assert_eq!(fixture.cache.failure(), None);
}

#[tokio::test]
async fn cached_keys_stay_in_use_while_the_source_fails() {
    let fixture = Fixture::new();
    fixture.publish(&["a"]);
    assert_eq!(fixture.find("a").await, Ok(1));
    fs::remove_file(fixture.file()).unwrap();
    fixture.set_clock(TEN_MINUTES_MS);
    assert_eq!(fixture.find("a").await, Ok(1));
    assert!(fixture.cache.failure().unwrap().contains("jwks.json"));
    assert_eq!(fixture.find("b").await, Err(TokenRefusal::Unavailable), "the issuer may have this key");
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_keys_old() {
    let fixture = Fixture::new();
    fixture.publish(&["a"]);
    assert_eq!(fixture.find("a").await, Ok(1));
    fixture.publish(&["b"]);
    fixture.set_clock(-1);
    assert_eq!(fixture.find("b").await, Ok(2));
}

#[tokio::test]
async fn a_running_fetch_is_joined_and_not_started_twice() {
    let fixture = Fixture::new();
    fixture.publish(&["a"]);
    let mut finished = fixture.cache.finished_fetches.subscribe();
    assert!(fixture.cache.start_fetch() && fixture.cache.start_fetch());
    finished.changed().await.unwrap();
    assert!(!fixture.cache.start_fetch(), "the last fetch was too recent");
    assert_eq!((fixture.cache.generation(), *finished.borrow()), (1, 1));
}

#[tokio::test]
async fn several_matching_keys_are_refused() {
    let fixture = Fixture::new();
    fixture.publish(&["a", "a"]);
    assert!(matches!(fixture.find("a").await, Err(TokenRefusal::Invalid(text)) if text.contains("several keys")));
}

#[test]
fn elapsed_time_is_the_difference_or_forever() {
    for (then, now, expected) in
        [(None, 5, i64::MAX), (Some(2), 5, 3), (Some(5), 5, 0), (Some(6), 5, i64::MAX), (Some(i64::MIN), 5, i64::MAX)]
    {
        assert_eq!(elapsed_ms(then, now), expected, "{then:?} {now}");
    }
}

#[tokio::test]
async fn token_is_not_judged_while_the_issuer_has_not_answered() {
    let fixture = Fixture::new();
    fixture.cache.lock().fetching = true;
    // Ends each wait at once, as if its time had passed.
    let end_waits = async {
        loop {
            fixture.cache.finished_fetches.send_modify(|count| *count += 1);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        found = fixture.find("a") => assert_eq!(found, Err(TokenRefusal::Unavailable)),
        () = end_waits => {}
    }
}
