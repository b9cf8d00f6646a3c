//! A clock that can be moved.

use std::sync::atomic::{AtomicI64, Ordering};

use posthaste::clock::{Clock, SystemClock};

/// The machine's clock, and what was added to it.
#[derive(Debug, Default)]
pub struct MovedClock {
    passed: AtomicI64,
    set: AtomicI64,
}

impl MovedClock {
    /// So much time passes at once, in milliseconds.
    pub fn pass(&self, ms: i64) {
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the clock forth, or back, by so many milliseconds, while no time passes.
    pub fn set(&self, ms: i64) {
        self.set.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.passed.load(Ordering::SeqCst) + self.set.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        SystemClock.steady_ms() + self.passed.load(Ordering::SeqCst)
    }
}
