//! The webhooks of which a plugin failed on their last attempts.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::domain::plugin::Digest;
use crate::domain::webhook::Webhook;

/// Attempts of a webhook, in a row, on which its plugin fails before that is told.
const TOLD_AFTER: u32 = 5;
/// Webhooks in memory. One that makes room for another begins again.
const WEBHOOKS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Streaks of failures, by the webhook's id.
pub(in crate::delivery) struct PluginStreaks {
    streaks: Mutex<LruCache<String, PluginStreak>>,
    /// Whether there may be any, so that attempts take the lock only while plugins fail.
    any: AtomicBool,
}

struct PluginStreak {
    /// The version that fails: another one begins anew.
    version: Option<Digest>,
    failures: u32,
}

impl Default for PluginStreaks {
    fn default() -> Self {
        Self { streaks: Mutex::new(LruCache::new(WEBHOOKS)), any: AtomicBool::new(false) }
    }
}

impl PluginStreaks {
    fn lock(&self) -> MutexGuard<'_, LruCache<String, PluginStreak>> {
        self.streaks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the plugins of the webhook worked.
    pub(super) fn worked(&self, webhook: &Webhook) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut streaks = self.lock();
        streaks.pop(&webhook.id);
        self.any.store(!streaks.is_empty(), Ordering::Relaxed);
    }

    /// Records that this version of one of them failed. Returns the number of failures in a row, once in each streak: when it is to be told.
    pub(super) fn failed(&self, webhook: &Webhook, version: Option<&Digest>) -> Option<u32> {
        let mut streaks = self.lock();
        self.any.store(true, Ordering::Relaxed);
        let new = || PluginStreak { version: version.cloned(), failures: 0 };
        let streak = streaks.get_or_insert_mut_ref(webhook.id.as_str(), new);
        if streak.version.as_ref() != version {
            *streak = new();
        }
        streak.failures = streak.failures.saturating_add(1);
        (streak.failures == TOLD_AFTER).then_some(streak.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(id: &str) -> Webhook {
        Webhook::sample("acme", id)
    }

    #[test]
    fn fifth_failure_in_a_row_is_told_once_until_one_call_works() {
        let (streaks, one, other) = (PluginStreaks::default(), webhook("wh_1"), webhook("wh_2"));
        let fails = |times: usize| -> Vec<u32> { (0..times).filter_map(|_| streaks.failed(&one, None)).collect() };
        assert!(fails(4).is_empty());
        streaks.worked(&other);
        assert_eq!((fails(1), fails(20)), (vec![5], vec![]));
        streaks.worked(&one);
        assert_eq!((fails(4), fails(1)), (vec![], vec![5]));
    }

    #[test]
    fn another_version_begins_a_streak_of_its_own() {
        let (streaks, one) = (PluginStreaks::default(), webhook("wh_1"));
        let [first, second] = ["1", "2"].map(|version| Some(Digest::of(version.as_bytes())));
        assert!((0..4).all(|_| streaks.failed(&one, first.as_ref()).is_none()));
        assert!((0..4).all(|_| streaks.failed(&one, second.as_ref()).is_none()));
        assert_eq!(streaks.failed(&one, second.as_ref()), Some(5));
    }

    #[test]
    fn memory_is_bounded_and_empty_once_all_work() {
        let streaks = PluginStreaks::default();
        let all: Vec<_> = (0..2 * WEBHOOKS.get()).map(|number| webhook(&format!("wh_{number}"))).collect();
        all.iter().for_each(|webhook| assert_eq!(streaks.failed(webhook, None), None));
        assert_eq!(streaks.lock().len(), WEBHOOKS.get());
        all.iter().for_each(|webhook| streaks.worked(webhook));
        assert!(streaks.lock().is_empty() && !streaks.any.load(Ordering::Relaxed));
    }
}
