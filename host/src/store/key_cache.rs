//! A bounded cache of keys that were read, valid and wrong ones.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// Keeps values by the digests of keys, each for at most the `ttl`.
pub(super) struct KeyCache<V> {
    entries: Mutex<LruCache<String, (V, Instant)>>,
    ttl: Duration,
}

impl<V: Clone> KeyCache<V> {
    /// Returns an empty cache of at most `capacity` values. `ttl` bounds how long a change made by another process stays
    /// unseen.
    pub(super) fn new(capacity: NonZeroUsize, ttl: Duration) -> Self {
        Self { entries: Mutex::new(LruCache::new(capacity)), ttl }
    }

    /// Returns the value of a digest if it was inserted less than the `ttl` before `now`.
    pub(super) fn get(&self, digest: &str, now: Instant) -> Option<V> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, inserted_at) = entries.get(digest)?;
        (now.saturating_duration_since(*inserted_at) < self.ttl).then(|| value.clone())
    }

    /// Drops all values.
    pub(super) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Inserts a value whose reading began at `now`.
    pub(super) fn insert(&self, digest: String, value: V, now: Instant) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).put(digest, (value, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    #[test]
    fn value_expires_when_its_ttl_has_passed_and_the_oldest_makes_room() {
        let (cache, now) = (KeyCache::new(NonZeroUsize::new(2).unwrap(), TTL), Instant::now());
        cache.insert("a".into(), 1, now);
        cache.insert("b".into(), 2, now);
        let last = now + TTL - Duration::from_nanos(1);
        assert_eq!((cache.get("a", last), cache.get("a", now + TTL)), (Some(1), None));
        cache.insert("c".into(), 3, now);
        assert_eq!(["a", "b", "c"].map(|digest| cache.get(digest, now)), [Some(1), None, Some(3)]);
        cache.insert("a".into(), 4, now + TTL);
        // Other threads may have read the clock a moment later.
        assert_eq!((cache.get("a", now + TTL), cache.get("a", now)), (Some(4), Some(4)));
    }
}
