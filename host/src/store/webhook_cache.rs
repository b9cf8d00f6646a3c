//! The webhooks of recent events, bounded in bytes: a company has at most a quarter of the memory, and the company that has
//! published nothing for longest makes room for others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::domain::webhook::Webhook;
use crate::shares::{Part, Share};

/// Memory of an entry besides the texts of its webhook, in bytes.
const FIXED_BYTES: usize = 1024;
/// A company has at most this part of the memory.
const COMPANY_PART: u64 = 4;

/// Webhooks by company and event type, each for at most the `ttl`. `None` means that the company has no webhook for the type.
pub(super) struct WebhookCache {
    state: Mutex<WebhookCacheState>,
    memory: Arc<Share>,
    ttl: Duration,
}

struct WebhookCacheState {
    companies: LruCache<Arc<str>, CompanyWebhooks>,
    /// Counts the writes. A webhook is kept only if no write came between its reading and its insertion: otherwise a reader that
    /// was overtaken by a write would put the old one back.
    writes: u64,
}

struct CompanyWebhooks {
    by_type: LruCache<String, CachedWebhook>,
    memory: Part,
}

struct CachedWebhook {
    webhook: Option<Arc<Webhook>>,
    inserted_at: Instant,
    bytes: u64,
}

/// Proves when a webhook was read, relative to the writes: [`WebhookCache::insert`] takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheMark(u64);

/// The result of a look-up.
#[must_use]
pub(super) enum CacheLookup {
    /// What was read.
    Hit(Option<Arc<Webhook>>),
    /// Nothing usable is cached. Read the value, then hand it in with this mark.
    Miss(CacheMark),
}

fn memory_bytes(event_type: &str, webhook: Option<&Webhook>) -> u64 {
    let texts = webhook.map_or(0, |webhook| {
        let optional = [&webhook.challenge, &webhook.name, &webhook.disabled_reason].into_iter().flatten();
        let headers = webhook.headers.iter().map(|(name, value)| name.len() + value.len());
        let certificate = webhook.tls.as_deref().and_then(|tls| tls.ca()).map_or(0, str::len);
        let config = webhook.config.text().map_or(0, |text| text.len());
        let texts = optional.map(String::len).chain(headers).sum::<usize>();
        webhook.target_url.len() + certificate + config + texts
    });
    (FIXED_BYTES + event_type.len() + texts) as u64
}

impl CompanyWebhooks {
    fn put(&mut self, event_type: &str, entry: CachedWebhook, most: u64) {
        self.memory.hold(entry.bytes);
        if let Some((_, replaced)) = self.by_type.push(event_type.to_owned(), entry) {
            self.memory.shrink(replaced.bytes);
        }
        while self.memory.amount() > most
            && let Some((_, oldest)) = self.by_type.pop_lru()
        {
            self.memory.shrink(oldest.bytes);
        }
    }

    fn remove(&mut self, event_type: &str) {
        if let Some(removed) = self.by_type.pop(event_type) {
            self.memory.shrink(removed.bytes);
        }
    }
}

impl WebhookCache {
    /// Returns an empty cache in this memory. `ttl` bounds how long a change made by another process stays unseen.
    pub(super) fn new(memory: Arc<Share>, ttl: Duration) -> Self {
        let state = WebhookCacheState { companies: LruCache::unbounded(), writes: 0 };
        Self { state: Mutex::new(state), memory, ttl }
    }

    fn lock(&self) -> MutexGuard<'_, WebhookCacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the webhook of a company for a type if it was inserted less than the `ttl` before `now`.
    pub(super) fn get(&self, company: &str, event_type: &str, now: Instant) -> CacheLookup {
        let mut state = self.lock();
        let miss = CacheLookup::Miss(CacheMark(state.writes));
        match state.companies.get_mut(company).and_then(|own| own.by_type.get(event_type)) {
            Some(entry) if now.saturating_duration_since(entry.inserted_at) < self.ttl => {
                CacheLookup::Hit(entry.webhook.clone())
            }
            _ => miss,
        }
    }

    /// Inserts what was read after `mark` was returned, unless a write was committed since.
    pub(super) fn insert(
        &self,
        mark: CacheMark,
        (company, event_type): (&str, &str),
        webhook: Option<Arc<Webhook>>,
        now: Instant,
    ) {
        let mut state = self.lock();
        if state.writes != mark.0 {
            return;
        }
        let (bytes, most) = (memory_bytes(event_type, webhook.as_deref()), self.memory.total() / COMPANY_PART);
        let entry = CachedWebhook { webhook, inserted_at: now, bytes };
        match state.companies.get_mut(company) {
            Some(own) => own.put(event_type, entry, most),
            None => {
                let memory = self.memory.hold(company, 0);
                let mut own = CompanyWebhooks { by_type: LruCache::unbounded(), memory };
                own.put(event_type, entry, most);
                state.companies.push(company.into(), own);
            }
        }
        while self.memory.used() > self.memory.total() && state.companies.len() > 1 {
            state.companies.pop_lru();
        }
    }

    /// Drops every webhook: called after a write that may concern any of them has been committed.
    pub(super) fn invalidate_all(&self) {
        let mut state = self.lock();
        state.writes += 1;
        state.companies.clear();
    }

    /// Drops a webhook: called after the write that changed it has been committed.
    pub(super) fn invalidate(&self, company: &str, event_type: &str) {
        let mut state = self.lock();
        state.writes += 1;
        if let Some(own) = state.companies.peek_mut(company) {
            own.remove(event_type);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::shares::Resource;

    const TTL: Duration = Duration::from_secs(60);

    /// A cache for so many entries without a webhook.
    fn cache(entries: u64) -> (WebhookCache, Instant) {
        let bytes = entries * memory_bytes("t", None);
        let memory = Share::new(Resource::WebhookCacheBytes, bytes, &Metrics::new(0, []));
        (WebhookCache::new(Arc::new(memory), TTL), Instant::now())
    }

    fn mark(cache: &WebhookCache, company: &str, event_type: &str, now: Instant) -> CacheMark {
        match cache.get(company, event_type, now) {
            CacheLookup::Miss(mark) => mark,
            CacheLookup::Hit(_) => panic!("it is cached"),
        }
    }

    fn insert(cache: &WebhookCache, company: &str, event_type: &str, now: Instant) {
        cache.insert(mark(cache, company, event_type, now), (company, event_type), None, now);
    }

    fn is_cached(cache: &WebhookCache, company: &str, event_type: &str, now: Instant) -> bool {
        matches!(cache.get(company, event_type, now), CacheLookup::Hit(None))
    }

    #[test]
    fn company_with_many_types_makes_room_itself() {
        let (cache, now) = cache(8);
        insert(&cache, "other", "a", now);
        for event_type in ["a", "b", "c"] {
            insert(&cache, "acme", event_type, now);
        }
        assert_eq!(["a", "b", "c"].map(|name| is_cached(&cache, "acme", name, now)), [false, true, true]);
        assert!(is_cached(&cache, "other", "a", now));
        assert_eq!(cache.memory.used(), 3 * memory_bytes("t", None));
    }

    #[test]
    fn company_that_published_least_recently_makes_room_for_others() {
        let (cache, now) = cache(8);
        for company in ["a", "b", "c", "d"] {
            insert(&cache, company, "x", now);
            insert(&cache, company, "y", now);
        }
        assert!(is_cached(&cache, "a", "x", now));
        insert(&cache, "e", "x", now);
        let left = ["a", "b", "c", "d", "e"].map(|company| is_cached(&cache, company, "x", now));
        assert_eq!(left, [true, false, true, true, true]);
        assert_eq!(cache.memory.used(), 7 * memory_bytes("t", None));
        cache.invalidate_all();
        assert_eq!(cache.memory.used(), 0);
    }

    #[test]
    fn webhook_larger_than_a_company_may_have_is_not_kept() {
        let (cache, now) = cache(4);
        let webhook = Webhook { name: Some("n".repeat(2000)), ..Webhook::sample("acme", "wh_1") };
        cache.insert(mark(&cache, "acme", "t", now), ("acme", "t"), Some(Arc::new(webhook)), now);
        mark(&cache, "acme", "t", now);
        assert_eq!(cache.memory.used(), 0);
    }

    #[test]
    fn texts_of_a_webhook_count() {
        let plain = memory_bytes("t", Some(&Webhook::sample("acme", "wh_1")));
        let headers = vec![("name".into(), "value".into())];
        let grown = Webhook { config: "12345".into(), headers, ..Webhook::sample("acme", "wh_1") };
        assert_eq!(memory_bytes("type", Some(&grown)), plain + 1 + 9 + 3);
    }

    #[test]
    fn changed_webhook_is_read_again_and_read_overtaken_by_a_write_is_not_inserted() {
        let (cache, now) = cache(16);
        let overtaken = mark(&cache, "acme", "a", now);
        insert(&cache, "acme", "b", now);
        cache.invalidate("acme", "a");
        cache.insert(overtaken, ("acme", "a"), None, now);
        mark(&cache, "acme", "a", now);
        assert!(is_cached(&cache, "acme", "b", now));
        insert(&cache, "acme", "a", now);
        cache.invalidate("acme", "a");
        mark(&cache, "acme", "a", now);
        assert!(!is_cached(&cache, "acme", "b", now + TTL), "its time is over");
        insert(&cache, "acme", "b", now + TTL);
        assert_eq!(cache.memory.used(), memory_bytes("t", None), "it is counted once");
    }
}
