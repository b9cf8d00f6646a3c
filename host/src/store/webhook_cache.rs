//! The webhooks of recent events, and the policies of their companies, bounded in bytes: a company has at most a quarter of the memory, and the company that has
//! published nothing for longest makes room for others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::domain::plugin_config::PluginConfig;
use crate::domain::policy::Policy;
use crate::domain::webhook::Webhook;
use crate::shares::{Part, Share};

/// Memory of an entry besides the texts of its webhook, in bytes.
const FIXED_BYTES: usize = 1024;
/// Memory of one of several transforms besides its config, in bytes.
const TRANSFORM_BYTES: usize = 256;
/// A company has at most this part of the memory.
const COMPANY_PART: u64 = 4;

/// The webhooks that match an event, in the order of their ranks.
pub(super) type MatchingWebhooks = Arc<[Arc<Webhook>]>;

/// Webhooks by company and event type, and by company and id, each for at most the `ttl`.
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
    /// By the event type, or by the id. An event type that equals an id makes both be read from the database again and again.
    entries: LruCache<String, CachedWebhooks>,
    memory: Part,
}

struct CachedWebhooks {
    found: Found,
    inserted_at: Instant,
    bytes: u64,
}

/// What was found in the database.
enum Found {
    /// The webhooks that match an event type.
    Matching(MatchingWebhooks),
    /// The webhook of an id; `None`: the company has none.
    One(Option<Arc<Webhook>>),
    /// The policies of the company.
    Policies(Arc<[Policy]>),
}

/// The key of the policies of a company: no event type, and no id.
const POLICIES: &str = "";

/// Proves when a webhook was read, relative to the writes: [`WebhookCache::insert`] takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheMark(u64);

/// The result of a look-up.
#[must_use]
pub(super) enum CacheLookup<T> {
    /// What was read.
    Hit(T),
    /// Nothing usable is cached. Read the value, then hand it in with this mark.
    Miss(CacheMark),
}

fn texts_bytes(webhook: &Webhook) -> usize {
    let optional = [&webhook.challenge, &webhook.name, &webhook.disabled_reason, &webhook.label].into_iter().flatten();
    let headers = webhook.headers.iter().map(|(name, value)| name.len() + value.len());
    let certificate = webhook.tls.as_deref().and_then(|tls| tls.ca()).map_or(0, str::len);
    let chain = webhook.chain.iter().map(|transform| &transform.config);
    let texts = chain.chain([&webhook.config]).filter_map(PluginConfig::text).map(|text| text.len());
    let configs = texts.sum::<usize>() + webhook.chain.len() * TRANSFORM_BYTES;
    let texts = optional.map(String::len).chain(headers).sum::<usize>();
    webhook.recipient.url().map_or(0, str::len) + webhook.event_type.len() + certificate + configs + texts
}

/// Returns the memory of an entry with these webhooks. A webhook counts in each of its entries, although they share it: any of
/// them may be the last to keep it.
fn memory_bytes<'w>(key: &str, webhooks: impl IntoIterator<Item = &'w Arc<Webhook>>) -> u64 {
    let webhooks = webhooks.into_iter().map(|webhook| FIXED_BYTES + texts_bytes(webhook)).sum::<usize>();
    (FIXED_BYTES + key.len() + webhooks) as u64
}

fn policy_bytes(policy: &Policy) -> u64 {
    let texts = policy.transforms.iter().filter_map(|transform| transform.config.text()).map(|text| text.len());
    let types = policy.types.iter().map(|text| text.len() + TRANSFORM_BYTES);
    (FIXED_BYTES + texts.chain(types).sum::<usize>() + policy.transforms.len() * TRANSFORM_BYTES) as u64
}

impl CachedWebhooks {
    fn new(key: &str, found: Found, now: Instant) -> Self {
        let bytes = match &found {
            Found::Matching(webhooks) => memory_bytes(key, webhooks.iter()),
            Found::One(webhook) => memory_bytes(key, webhook),
            Found::Policies(policies) => memory_bytes(key, []) + policies.iter().map(policy_bytes).sum::<u64>(),
        };
        Self { found, inserted_at: now, bytes }
    }
}

impl CompanyWebhooks {
    fn put(&mut self, key: &str, entry: CachedWebhooks, most: u64) {
        self.memory.hold(entry.bytes);
        if let Some((_, replaced)) = self.entries.push(key.to_owned(), entry) {
            self.memory.shrink(replaced.bytes);
        }
        while self.memory.amount() > most
            && let Some((_, oldest)) = self.entries.pop_lru()
        {
            self.memory.shrink(oldest.bytes);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(removed) = self.entries.pop(key) {
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

    /// Returns the webhooks of a company that match a type if they were inserted less than the `ttl` before `now`.
    pub(super) fn matching(&self, company: &str, event_type: &str, now: Instant) -> CacheLookup<MatchingWebhooks> {
        self.get((company, event_type), now, |found| match found {
            Found::Matching(webhooks) => Some(webhooks.clone()),
            Found::One(_) | Found::Policies(_) => None,
        })
    }

    /// Returns the webhook of a company with this id if it was inserted less than the `ttl` before `now`.
    pub(super) fn one(&self, company: &str, id: &str, now: Instant) -> CacheLookup<Option<Arc<Webhook>>> {
        self.get((company, id), now, |found| match found {
            Found::One(webhook) => Some(webhook.clone()),
            Found::Matching(_) | Found::Policies(_) => None,
        })
    }

    /// Returns the policies of a company if they were inserted less than the `ttl` before `now`.
    pub(super) fn policies(&self, company: &str, now: Instant) -> CacheLookup<Arc<[Policy]>> {
        self.get((company, POLICIES), now, |found| match found {
            Found::Policies(policies) => Some(policies.clone()),
            Found::Matching(_) | Found::One(_) => None,
        })
    }

    fn get<T>(
        &self,
        (company, key): (&str, &str),
        now: Instant,
        read: impl FnOnce(&Found) -> Option<T>,
    ) -> CacheLookup<T> {
        let mut state = self.lock();
        let miss = CacheLookup::Miss(CacheMark(state.writes));
        let entry = state.companies.get_mut(company).and_then(|own| own.entries.get(key));
        let fresh = entry.filter(|entry| now.saturating_duration_since(entry.inserted_at) < self.ttl);
        fresh.and_then(|entry| read(&entry.found)).map_or(miss, CacheLookup::Hit)
    }

    /// Inserts the webhooks that match a type, and each by its id as well, if no write was committed since `mark` was returned,
    /// after which they were read.
    pub(super) fn insert_matching(
        &self,
        mark: CacheMark,
        (company, event_type): (&str, &str),
        webhooks: &MatchingWebhooks,
        now: Instant,
    ) {
        let one = |webhook: &Arc<Webhook>| (webhook.id.clone(), Found::One(Some(webhook.clone())));
        let matching = (event_type.to_owned(), Found::Matching(webhooks.clone()));
        self.insert(mark, company, webhooks.iter().map(one).chain([matching]), now);
    }

    /// Inserts the webhook with this id, or that there is none, under the condition of [`WebhookCache::insert_matching`].
    pub(super) fn insert_one(
        &self,
        mark: CacheMark,
        (company, id): (&str, &str),
        webhook: Option<Arc<Webhook>>,
        now: Instant,
    ) {
        self.insert(mark, company, [(id.to_owned(), Found::One(webhook))], now);
    }

    /// Inserts the policies of a company, under the condition of [`WebhookCache::insert_matching`].
    pub(super) fn insert_policies(&self, mark: CacheMark, company: &str, policies: Arc<[Policy]>, now: Instant) {
        self.insert(mark, company, [(POLICIES.to_owned(), Found::Policies(policies))], now);
    }

    fn insert(&self, mark: CacheMark, company: &str, entries: impl IntoIterator<Item = (String, Found)>, now: Instant) {
        let mut state = self.lock();
        if state.writes != mark.0 {
            return;
        }
        let most = self.memory.total() / COMPANY_PART;
        if !state.companies.contains(company) {
            let memory = self.memory.hold(company, 0);
            state.companies.push(company.into(), CompanyWebhooks { entries: LruCache::unbounded(), memory });
        }
        if let Some(own) = state.companies.get_mut(company) {
            for (key, found) in entries {
                own.put(&key, CachedWebhooks::new(&key, found, now), most);
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

    /// Drops every webhook of a company, as [`WebhookCache::invalidate_all`].
    pub(super) fn invalidate_company(&self, company: &str) {
        let mut state = self.lock();
        state.writes += 1;
        state.companies.pop(company);
    }

    /// Drops the webhook with this id, and what matches its type, which is no pattern: called after the write that changed the
    /// webhook has been committed.
    pub(super) fn invalidate(&self, company: &str, event_type: &str, id: &str) {
        let mut state = self.lock();
        state.writes += 1;
        if let Some(own) = state.companies.peek_mut(company) {
            own.remove(event_type);
            own.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::shares::Resource;

    const TTL: Duration = Duration::from_secs(60);

    /// Returns the memory of an entry without a webhook.
    fn empty(key: &str) -> u64 {
        memory_bytes(key, [])
    }

    /// A cache for so many entries without a webhook.
    fn cache(entries: u64) -> (WebhookCache, Instant) {
        let memory = Share::new(Resource::WebhookCacheBytes, entries * empty("t"), &Metrics::new(0, []));
        (WebhookCache::new(Arc::new(memory), TTL), Instant::now())
    }

    fn mark(cache: &WebhookCache, company: &str, event_type: &str, now: Instant) -> CacheMark {
        match cache.matching(company, event_type, now) {
            CacheLookup::Miss(mark) => mark,
            CacheLookup::Hit(_) => panic!("it is cached"),
        }
    }

    fn insert(cache: &WebhookCache, company: &str, event_type: &str, now: Instant) {
        cache.insert_matching(mark(cache, company, event_type, now), (company, event_type), &Arc::from([]), now);
    }

    fn is_cached(cache: &WebhookCache, company: &str, event_type: &str, now: Instant) -> bool {
        matches!(cache.matching(company, event_type, now), CacheLookup::Hit(webhooks) if webhooks.is_empty())
    }

    /// Returns whether the webhook with this id is known to exist, or not to exist; `None`: it is not cached.
    fn cached_one(cache: &WebhookCache, company: &str, id: &str, now: Instant) -> Option<bool> {
        match cache.one(company, id, now) {
            CacheLookup::Hit(webhook) => Some(webhook.is_some_and(|webhook| webhook.id == id)),
            CacheLookup::Miss(_) => None,
        }
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
        assert_eq!(cache.memory.used(), 3 * empty("t"));
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
        assert_eq!(cache.memory.used(), 7 * empty("t"));
        cache.invalidate_all();
        assert_eq!(cache.memory.used(), 0);
    }

    #[test]
    fn webhook_larger_than_a_company_may_have_is_not_kept() {
        let (cache, now) = cache(4);
        let webhook = Arc::new(Webhook { name: Some("n".repeat(2000)), ..Webhook::sample("acme", "wh_1") });
        cache.insert_matching(mark(&cache, "acme", "t", now), ("acme", "t"), &Arc::from([webhook]), now);
        mark(&cache, "acme", "t", now);
        assert_eq!((cached_one(&cache, "acme", "wh_1", now), cache.memory.used()), (None, 0));
    }

    #[test]
    fn texts_of_every_webhook_count() {
        let plain = Arc::new(Webhook::sample("acme", "wh_1"));
        let headers = vec![("name".into(), "value".into())];
        let label = Some("ab".into());
        let grown = Arc::new(Webhook { config: "12345".into(), headers, label, ..Webhook::sample("acme", "wh_1") });
        let more = memory_bytes("t", [&grown]) - memory_bytes("t", [&plain]);
        assert_eq!((more, memory_bytes("type", [&plain]) - memory_bytes("t", [&plain])), (1 + 9 + 2, 3));
        assert_eq!(
            memory_bytes("t", [&plain, &plain]) - memory_bytes("t", [&plain]),
            memory_bytes("t", [&plain]) - empty("t")
        );
    }

    #[test]
    fn matching_webhooks_are_found_by_their_ids_as_well() {
        let (cache, now) = cache(99);
        let webhooks: MatchingWebhooks = ["wh_1", "wh_2"].map(|id| Arc::new(Webhook::sample("acme", id))).into();
        cache.insert_matching(mark(&cache, "acme", "t", now), ("acme", "t"), &webhooks, now);
        let CacheLookup::Hit(found) = cache.matching("acme", "t", now) else { panic!("it is not cached") };
        assert!(Arc::ptr_eq(&found, &webhooks));
        assert_eq!(
            ["wh_1", "wh_2", "wh_3"].map(|id| cached_one(&cache, "acme", id, now)),
            [Some(true), Some(true), None]
        );
        assert_eq!((cached_one(&cache, "other", "wh_1", now), cached_one(&cache, "acme", "t", now)), (None, None));
        mark(&cache, "acme", "wh_1", now);
        let CacheLookup::Miss(read) = cache.one("acme", "wh_3", now) else { panic!("it is cached") };
        cache.insert_one(read, ("acme", "wh_3"), None, now);
        assert_eq!(cached_one(&cache, "acme", "wh_3", now), Some(false));
        // What matches another type is still right.
        insert(&cache, "acme", "u", now);
        cache.invalidate("acme", "t", "wh_1");
        mark(&cache, "acme", "t", now);
        assert_eq!(["wh_1", "wh_2"].map(|id| cached_one(&cache, "acme", id, now)), [None, Some(true)]);
        assert!(is_cached(&cache, "acme", "u", now));
        cache.invalidate_company("acme");
        mark(&cache, "acme", "u", now);
        assert_eq!((cached_one(&cache, "acme", "wh_2", now), cache.memory.used()), (None, 0));
    }

    #[test]
    fn changed_webhook_is_read_again_and_read_overtaken_by_a_write_is_not_inserted() {
        type Write = fn(&WebhookCache);
        let writes: [Write; 2] =
            [|cache| cache.invalidate("acme", "a", "wh_1"), |cache| cache.invalidate_company("other")];
        for write in writes {
            let (cache, now) = cache(16);
            let overtaken = mark(&cache, "acme", "a", now);
            insert(&cache, "acme", "b", now);
            write(&cache);
            cache.insert_matching(overtaken, ("acme", "a"), &Arc::from([]), now);
            mark(&cache, "acme", "a", now);
            assert!(is_cached(&cache, "acme", "b", now));
            insert(&cache, "acme", "a", now);
            cache.invalidate("acme", "a", "wh_1");
            mark(&cache, "acme", "a", now);
            assert!(!is_cached(&cache, "acme", "b", now + TTL), "its time is over");
            insert(&cache, "acme", "b", now + TTL);
            assert_eq!(cache.memory.used(), empty("t"), "it is counted once");
        }
    }
}
