//! A bounded read-through cache that never keeps what a write has made old.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// Values read from the database, each for at most `ttl`.
pub(super) struct ReadCache<K: Hash + Eq, V> {
    inner: Mutex<Inner<K, V>>,
    ttl: Duration,
}

struct Inner<K: Hash + Eq, V> {
    entries: LruCache<K, (Instant, V)>,
    /// Counts the writes. A value is only kept when none came between its reading and its keeping: otherwise a
    /// reader that was overtaken by a write would put the old value back.
    writes: u64,
}

impl<K: Hash + Eq, V: Clone> ReadCache<K, V> {
    /// A cache of at most `capacity` values. `ttl` bounds how long a change made by another process stays unseen.
    pub(super) fn new(capacity: NonZeroUsize, ttl: Duration) -> Self {
        Self { inner: Mutex::new(Inner { entries: LruCache::new(capacity), writes: 0 }), ttl }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kept value, or the mark to hand to [`ReadCache::keep`] once it has been read.
    pub(super) fn get(&self, key: &K) -> Result<V, u64> {
        let mut inner = self.lock();
        match inner.entries.get(key) {
            Some((since, value)) if since.elapsed() < self.ttl => Ok(value.clone()),
            _ => Err(inner.writes),
        }
    }

    /// Keeps a value read since `mark` was handed out, unless something was written in between.
    pub(super) fn keep(&self, mark: u64, key: K, value: V) {
        let mut inner = self.lock();
        if inner.writes == mark {
            inner.entries.put(key, (Instant::now(), value));
        }
    }

    /// Everything may have changed: called after a write has been committed.
    pub(super) fn forget_all(&self) {
        let mut inner = self.lock();
        inner.writes += 1;
        inner.entries.clear();
    }

    /// `key` has changed: called after the write has been committed.
    pub(super) fn forget(&self, key: &K) {
        let mut inner = self.lock();
        inner.writes += 1;
        inner.entries.pop(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_overtaken_by_a_write_is_not_kept() {
        let cache = ReadCache::new(NonZeroUsize::new(2).unwrap(), Duration::from_secs(60));
        let mark = cache.get(&"a").unwrap_err();
        cache.forget(&"a");
        cache.keep(mark, "a", 1);
        let mark = cache.get(&"a").unwrap_err();
        cache.keep(mark, "a", 2);
        assert_eq!(cache.get(&"a"), Ok(2));
    }

    #[test]
    fn is_bounded() {
        let cache = ReadCache::new(NonZeroUsize::new(2).unwrap(), Duration::from_secs(60));
        for key in 0..10 {
            cache.keep(0, key, ());
        }
        assert!((0..8).all(|key| cache.get(&key).is_err()));
    }
}
