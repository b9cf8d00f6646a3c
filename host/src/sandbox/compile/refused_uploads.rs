//! Uploads that the compiler has refused, so that the same bytes are not compiled again to be refused again.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::domain::plugin::Digest;
use crate::sandbox::engine::Purpose;
use crate::sandbox::refusal::UploadRefusal;

/// Refusals in memory; each has a text of at most 4 KiB.
const MAX_REFUSALS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The refusals of this process that depend on nothing but the bytes: not those for time or memory, of which the machine may
/// have more at another moment.
pub(super) struct RefusedUploads(Mutex<LruCache<(Purpose, Digest), UploadRefusal>>);

impl Default for RefusedUploads {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_REFUSALS)))
    }
}

impl RefusedUploads {
    /// Returns why these bytes were refused, if they were.
    pub(super) fn refusal_of(&self, purpose: Purpose, digest: &Digest) -> Option<UploadRefusal> {
        self.lock().get(&(purpose, digest.clone())).cloned()
    }

    /// Remembers a refusal, in place of the one that was asked for longest ago.
    pub(super) fn add(&self, purpose: Purpose, digest: Digest, refusal: UploadRefusal) {
        self.lock().put((purpose, digest), refusal);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<(Purpose, Digest), UploadRefusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_refusals_are_remembered() {
        let (refused, digest) = (RefusedUploads::default(), |number: usize| Digest::of(&number.to_be_bytes()));
        for number in 0..=MAX_REFUSALS.get() {
            refused.add(Purpose::Calls, digest(number), UploadRefusal::new(format!("refused {number}")));
        }
        let known = |number, purpose| refused.refusal_of(purpose, &digest(number)).map(|refusal| refusal.to_string());
        assert_eq!((known(0, Purpose::Calls), known(1, Purpose::Fuel)), (None, None));
        assert_eq!(known(1, Purpose::Calls).as_deref(), Some("refused 1"));
    }
}
