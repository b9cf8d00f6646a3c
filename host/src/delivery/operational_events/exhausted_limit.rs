//! How many exhausted deliveries of a company are told: a receiver that is gone exhausts all of its deliveries at once.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// Most exhausted deliveries of a company that are told in one [`WINDOW`].
const MOST: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// Companies in memory. One that makes room for another is told again at once, without what was omitted.
const COMPANIES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// What each company was told lately.
pub(in crate::delivery) struct ExhaustedLimit(Mutex<LruCache<String, Told>>);

struct Told {
    window: Instant,
    count: u32,
    omitted: u64,
}

impl Default for ExhaustedLimit {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(COMPANIES)))
    }
}

impl ExhaustedLimit {
    /// Decides whether the company is told about one more delivery: returns how many were omitted before it; `None`: it is
    /// omitted.
    pub(super) fn admit(&self, company: &str, now: Instant) -> Option<u64> {
        let mut companies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = companies.get_or_insert_mut_ref(company, || Told { window: now, count: 0, omitted: 0 });
        if now.duration_since(told.window) >= WINDOW {
            (told.window, told.count) = (now, 0);
        }
        if told.count < MOST {
            told.count += 1;
            return Some(std::mem::take(&mut told.omitted));
        }
        told.omitted = told.omitted.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_out_is_counted_and_said_with_the_next() {
        let (limit, start) = (ExhaustedLimit::default(), Instant::now());
        let admitted = |company: &str, after: u64| limit.admit(company, start + Duration::from_secs(after));
        assert!((0..60).all(|second| admitted("a", second) == Some(0)));
        assert!((0..7).all(|_| admitted("a", 59).is_none()));
        assert_eq!(admitted("b", 59), Some(0), "another company has a limit of its own");
        assert_eq!((admitted("a", 60), admitted("a", 61)), (Some(7), Some(0)));
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let (limit, now) = (ExhaustedLimit::default(), Instant::now());
        for number in 0..2 * COMPANIES.get() {
            assert_eq!(limit.admit(&number.to_string(), now), Some(0));
        }
        assert_eq!(limit.0.lock().unwrap().len(), COMPANIES.get());
    }
}
