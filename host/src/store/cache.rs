//! A bounded read-through cache that never keeps a value that a write has outdated.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::domain::webhook::Webhook;

/// Webhooks by company and event type; `None` means that the company has no webhook for that type.
pub(super) type WebhookCache = ReadCache<(String, String), Option<Arc<Webhook>>>;

/// Keeps values that were read from the database, each for at most the `ttl`.
pub(super) struct ReadCache<K: Hash + Eq, V> {
    state: Mutex<ReadCacheState<K, V>>,
    ttl: Duration,
}

struct ReadCacheState<K: Hash + Eq, V> {
    entries: LruCache<K, CacheEntry<V>>,
    /// Counts the writes. A value is kept only if no write came between its reading and its insertion: otherwise a
    /// reader that was overtaken by a write would put the old value back.
    writes: u64,
}

struct CacheEntry<V> {
    value: V,
    inserted_at: Instant,
}

/// Proves when a value was read, relative to the writes: [`ReadCache::insert`] takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheMark(u64);

/// The result of a look-up.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum CacheLookup<V> {
    /// The cached value.
    Hit(V),
    /// Nothing usable is cached. Read the value, then hand it in with this mark.
    Miss(CacheMark),
}

impl<K: Hash + Eq, V: Clone> ReadCache<K, V> {
    /// Returns an empty cache of at most `capacity` values. `ttl` bounds how long a change made by another process stays
    /// unseen.
    pub(super) fn new(capacity: NonZeroUsize, ttl: Duration) -> Self {
        Self { state: Mutex::new(ReadCacheState { entries: LruCache::new(capacity), writes: 0 }), ttl }
    }

    fn lock(&self) -> MutexGuard<'_, ReadCacheState<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of `key` if it was inserted less than the `ttl` before `now`.
    pub(super) fn get(&self, key: &K, now: Instant) -> CacheLookup<V> {
        let mut state = self.lock();
        match state.entries.get(key) {
            Some(entry) if now.saturating_duration_since(entry.inserted_at) < self.ttl => {
                CacheLookup::Hit(entry.value.clone())
            }
            _ => CacheLookup::Miss(CacheMark(state.writes)),
        }
    }

    /// Inserts a value that was read after `mark` was returned, unless a write was committed since.
    pub(super) fn insert(&self, mark: CacheMark, key: K, value: V, now: Instant) {
        let mut state = self.lock();
        if state.writes == mark.0 {
            state.entries.put(key, CacheEntry { value, inserted_at: now });
        }
    }

    /// Drops every value: called after a write that may concern any of them has been committed.
    pub(super) fn invalidate_all(&self) {
        let mut state = self.lock();
        state.writes += 1;
        state.entries.clear();
    }

    /// Drops the value of `key`: called after the write that changed it has been committed.
    pub(super) fn invalidate(&self, key: &K) {
        let mut state = self.lock();
        state.writes += 1;
        state.entries.pop(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn cache(capacity: usize) -> ReadCache<&'static str, u32> {
        ReadCache::new(NonZeroUsize::new(capacity).unwrap(), TTL)
    }

    fn mark(cache: &ReadCache<&'static str, u32>, key: &'static str, now: Instant) -> CacheMark {
        match cache.get(&key, now) {
            CacheLookup::Miss(mark) => mark,
            CacheLookup::Hit(value) => panic!("`{key}` is cached: {value}"),
        }
    }

    fn insert(cache: &ReadCache<&'static str, u32>, key: &'static str, value: u32, now: Instant) {
        cache.insert(mark(cache, key, now), key, value, now);
        assert_eq!(cache.get(&key, now), CacheLookup::Hit(value));
    }

    #[test]
    fn read_overtaken_by_a_write_is_not_inserted() {
        let (cache, now) = (cache(2), Instant::now());
        let overtaken = mark(&cache, "a", now);
        cache.invalidate(&"a");
        cache.insert(overtaken, "a", 1, now);
        insert(&cache, "a", 2, now);

        let overtaken = mark(&cache, "b", now);
        cache.invalidate_all();
        cache.insert(overtaken, "b", 1, now);
        insert(&cache, "b", 2, now);
    }

    #[test]
    fn write_to_one_key_outdates_reads_of_all_keys() {
        let (cache, now) = (cache(2), Instant::now());
        let overtaken = mark(&cache, "a", now);
        cache.invalidate(&"b");
        cache.insert(overtaken, "a", 1, now);
        assert_ne!(mark(&cache, "a", now), overtaken);
    }

    #[test]
    fn marks_of_different_writes_differ() {
        let (cache, now) = (cache(2), Instant::now());
        let first = mark(&cache, "a", now);
        cache.invalidate(&"a");
        let second = mark(&cache, "a", now);
        cache.invalidate_all();
        let third = mark(&cache, "a", now);
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn invalidate_drops_one_value_and_keeps_the_others() {
        let (cache, now) = (cache(2), Instant::now());
        insert(&cache, "a", 1, now);
        insert(&cache, "b", 2, now);
        cache.invalidate(&"a");
        mark(&cache, "a", now);
        assert_eq!(cache.get(&"b", now), CacheLookup::Hit(2));
    }

    #[test]
    fn invalidate_all_drops_every_value() {
        let (cache, now) = (cache(2), Instant::now());
        insert(&cache, "a", 1, now);
        insert(&cache, "b", 2, now);
        cache.invalidate_all();
        mark(&cache, "a", now);
        mark(&cache, "b", now);
    }

    #[test]
    fn value_expires_when_its_ttl_has_passed() {
        let (cache, now) = (cache(2), Instant::now());
        insert(&cache, "a", 1, now);
        let last = now + TTL - Duration::from_nanos(1);
        assert_eq!(cache.get(&"a", last), CacheLookup::Hit(1));
        mark(&cache, "a", now + TTL);
        // A reading does not prolong the life of a value; a new insertion does.
        insert(&cache, "b", 2, now);
        assert_eq!(cache.get(&"b", last), CacheLookup::Hit(2));
        cache.insert(mark(&cache, "b", now + TTL), "b", 3, now + TTL);
        assert_eq!(cache.get(&"b", now + TTL + TTL - Duration::from_nanos(1)), CacheLookup::Hit(3));
        // Other threads may have read the clock a moment later.
        assert_eq!(cache.get(&"b", now), CacheLookup::Hit(3));
    }

    #[test]
    fn least_recently_used_value_makes_room_for_a_new_one() {
        let (cache, now) = (cache(2), Instant::now());
        insert(&cache, "a", 1, now);
        insert(&cache, "b", 2, now);
        assert_eq!(cache.get(&"a", now), CacheLookup::Hit(1));
        insert(&cache, "c", 3, now);
        mark(&cache, "b", now);
        assert_eq!(cache.get(&"a", now), CacheLookup::Hit(1));
        assert_eq!(cache.get(&"c", now), CacheLookup::Hit(3));
    }

    #[test]
    fn cache_survives_a_panic_of_another_thread() {
        let (cache, now) = (Arc::new(cache(2)), Instant::now());
        insert(&cache, "a", 1, now);
        let poisoning = cache.clone();
        let panicked = std::thread::spawn(move || {
            let _state = poisoning.lock();
            panic!("with the lock held");
        });
        assert!(panicked.join().is_err());
        assert_eq!(cache.get(&"a", now), CacheLookup::Hit(1));
    }
}
