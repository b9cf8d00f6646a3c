//! The rules for the data of recent events, bounded in bytes: a company has at most a quarter of the memory, and the company
//! that has published nothing for longest makes room for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::domain::event_type::Validation;
use crate::domain::json_schema::Schema;
use crate::domain::plugin::Digest;

/// Most bytes of all that is kept, about.
const MAX_BYTES: usize = 64 << 20;
/// A company has at most this part of the memory.
const COMPANY_PART: usize = 4;
/// Memory of an entry besides its texts, in bytes.
const FIXED_BYTES: usize = 512;

/// A schema that was read; if it could not be, why.
pub type ReadSchema = Result<Schema, String>;

/// The rule of an event type, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeRule {
    pub(super) validation: Validation,
    /// The digest of the schema.
    pub(super) digest: Digest,
}

/// The rules of a company by event type: `None` if no type of it has one.
pub(super) type TypeRules = Option<HashMap<String, TypeRule>>;

/// The rules of companies, each for at most the `ttl`, and the schemas that were read for them.
pub(super) struct EventRuleCache {
    state: Mutex<State>,
    max_bytes: usize,
    ttl: Duration,
}

struct State {
    companies: LruCache<Arc<str>, CompanyRules>,
    bytes: usize,
    /// Counts the writes. Rules are kept only if no write came between their reading and their insertion.
    writes: u64,
}

struct CompanyRules {
    /// `None`: they have to be read again.
    rules: Option<(TypeRules, Instant)>,
    rule_bytes: usize,
    /// They never change: a new schema has another digest.
    schemas: LruCache<Digest, (Arc<ReadSchema>, usize)>,
    schema_bytes: usize,
}

/// Proves when rules were read, relative to the writes: [`EventRuleCache::insert`] takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuleMark(u64);

/// The result of a look-up.
#[must_use]
pub(super) enum RuleLookup {
    /// The events of this type are not checked.
    Unchecked,
    /// They are, by this rule; its schema, if it has been read.
    Rule(TypeRule, Option<Arc<ReadSchema>>),
    /// Read the rules of the company, then hand them in with this mark.
    Miss(RuleMark),
}

impl CompanyRules {
    fn new() -> Self {
        Self { rules: None, rule_bytes: 0, schemas: LruCache::unbounded(), schema_bytes: 0 }
    }

    fn bytes(&self) -> usize {
        FIXED_BYTES + self.rule_bytes + self.schema_bytes
    }

    /// Drops the schemas that were used least recently.
    fn shrink(&mut self, most: usize) {
        while self.bytes() > most
            && let Some((_, (_, bytes))) = self.schemas.pop_lru()
        {
            self.schema_bytes -= bytes;
        }
    }
}

impl State {
    /// Changes what is kept of a company, then makes room.
    fn change(&mut self, company: &str, max_bytes: usize, change: impl FnOnce(&mut CompanyRules)) {
        if self.companies.get(company).is_none() {
            self.companies.push(company.into(), CompanyRules::new());
            self.bytes += FIXED_BYTES;
        }
        let Some(own) = self.companies.get_mut(company) else { return };
        let before = own.bytes();
        change(own);
        own.shrink(max_bytes / COMPANY_PART);
        self.bytes = (self.bytes + own.bytes()).saturating_sub(before);
        while self.bytes > max_bytes
            && self.companies.len() > 1
            && let Some((_, removed)) = self.companies.pop_lru()
        {
            self.bytes = self.bytes.saturating_sub(removed.bytes());
        }
    }
}

impl EventRuleCache {
    /// Returns an empty cache. `ttl` bounds how long a change made by another process stays unseen.
    pub(super) fn new(ttl: Duration) -> Self {
        Self::of_size(MAX_BYTES, ttl)
    }

    fn of_size(max_bytes: usize, ttl: Duration) -> Self {
        let state = State { companies: LruCache::unbounded(), bytes: 0, writes: 0 };
        Self { state: Mutex::new(state), max_bytes, ttl }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rule of a type, if the rules of the company were inserted less than the `ttl` before `now`.
    pub(super) fn get(&self, company: &str, event_type: &str, now: Instant) -> RuleLookup {
        let mut state = self.lock();
        let miss = RuleLookup::Miss(RuleMark(state.writes));
        let Some(own) = state.companies.get_mut(company) else { return miss };
        let Some((rules, inserted_at)) = &own.rules else { return miss };
        if now.saturating_duration_since(*inserted_at) >= self.ttl {
            return miss;
        }
        match rules.as_ref().and_then(|rules| rules.get(event_type)) {
            None => RuleLookup::Unchecked,
            Some(rule) => {
                let schema = own.schemas.get(&rule.digest).map(|(schema, _)| schema.clone());
                RuleLookup::Rule(rule.clone(), schema)
            }
        }
    }

    /// Inserts the rules of a company that were read after `mark` was returned, unless a write was committed since.
    pub(super) fn insert(&self, mark: RuleMark, company: &str, rules: TypeRules, now: Instant) {
        let mut state = self.lock();
        if state.writes != mark.0 {
            return;
        }
        let names = rules.iter().flat_map(HashMap::keys);
        let bytes = names.map(|name| name.len() + FIXED_BYTES).sum();
        state.change(company, self.max_bytes, |own| {
            own.rule_bytes = bytes;
            own.rules = Some((rules, now));
        });
    }

    /// Keeps a schema of a company.
    pub(super) fn insert_schema(&self, company: &str, digest: Digest, schema: Arc<ReadSchema>) {
        let bytes = FIXED_BYTES + schema.as_ref().as_ref().map_or_else(String::len, Schema::bytes);
        self.lock().change(company, self.max_bytes, |own| {
            if let Some((_, (_, replaced))) = own.schemas.push(digest, (schema, bytes)) {
                own.schema_bytes -= replaced;
            }
            own.schema_bytes += bytes;
        });
    }

    /// Drops the rules of a company: called after a write that changed one of them has been committed.
    pub(super) fn invalidate(&self, company: &str) {
        let mut state = self.lock();
        state.writes += 1;
        if let Some(own) = state.companies.peek_mut(company) {
            own.rules = None;
        }
    }

    /// Drops the rules and schemas of a company, as [`EventRuleCache::invalidate`].
    pub(super) fn remove(&self, company: &str) {
        let mut state = self.lock();
        state.writes += 1;
        if let Some(removed) = state.companies.pop(company) {
            state.bytes = state.bytes.saturating_sub(removed.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn rules(text: &str) -> TypeRules {
        let rule = TypeRule { validation: Validation::Warn, digest: Digest::of(text.as_bytes()) };
        Some(HashMap::from([("t".to_owned(), rule)]))
    }

    fn mark(cache: &EventRuleCache, company: &str, now: Instant) -> RuleMark {
        match cache.get(company, "t", now) {
            RuleLookup::Miss(mark) => mark,
            _ => panic!("it is cached"),
        }
    }

    fn schema(text: &str) -> Arc<ReadSchema> {
        Arc::new(Schema::compile(text).map_err(|_| String::new()))
    }

    /// Whether the schema of a company's rule is kept.
    fn has_schema(cache: &EventRuleCache, company: &str, now: Instant) -> bool {
        matches!(cache.get(company, "t", now), RuleLookup::Rule(_, Some(_)))
    }

    #[test]
    fn rules_are_kept_for_their_time_and_until_they_change() {
        let (cache, now) = (EventRuleCache::new(TTL), Instant::now());
        let overtaken = mark(&cache, "acme", now);
        cache.invalidate("acme");
        cache.insert(overtaken, "acme", None, now);
        cache.insert(mark(&cache, "acme", now), "acme", rules("a"), now);
        assert!(matches!(cache.get("acme", "u", now), RuleLookup::Unchecked));
        assert!(matches!(cache.get("acme", "t", now), RuleLookup::Rule(_, None)));
        cache.insert_schema("acme", Digest::of(b"a"), schema("true"));
        assert!(has_schema(&cache, "acme", now));
        mark(&cache, "acme", now + TTL);
        cache.invalidate("acme");
        cache.insert(mark(&cache, "acme", now), "acme", rules("b"), now);
        assert!(!has_schema(&cache, "acme", now), "it is another schema");
        cache.invalidate("acme");
        cache.insert(mark(&cache, "acme", now), "acme", None, now);
        assert!(matches!(cache.get("acme", "t", now), RuleLookup::Unchecked));
    }

    #[test]
    fn company_with_many_schemas_makes_room_itself_and_the_oldest_company_for_others() {
        let bytes = schema("true").as_ref().as_ref().unwrap().bytes() + FIXED_BYTES;
        let (cache, now) = (EventRuleCache::of_size(4 * (2 * bytes + 3 * FIXED_BYTES), TTL), Instant::now());
        for company in ["a", "b", "c", "d"] {
            cache.insert(mark(&cache, company, now), company, rules(company), now);
            for text in [company, "other", "another"] {
                cache.insert_schema(company, Digest::of(text.as_bytes()), schema("true"));
            }
            assert!(!has_schema(&cache, company, now), "the first had to make room");
            cache.insert_schema(company, Digest::of(company.as_bytes()), schema("true"));
            assert!(has_schema(&cache, company, now));
        }
        assert!(has_schema(&cache, "a", now));
        for company in ["e", "f"] {
            cache.insert(mark(&cache, company, now), company, rules("x"), now);
            cache.insert_schema(company, Digest::of(b"x"), schema("true"));
        }
        assert!(has_schema(&cache, "a", now), "it was used last");
        mark(&cache, "b", now);
        let state = cache.lock();
        assert_eq!(state.bytes, state.companies.iter().map(|(_, own)| own.bytes()).sum::<usize>());
    }
}
