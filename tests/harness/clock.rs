//! Clocks that a test moves.

use std::sync::Arc;
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

/// A clock that stands still until it is turned. It starts at the time of day.
pub struct Standing(AtomicI64);

impl Standing {
    /// Standing from now on.
    pub fn now() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(SystemClock.now_ms())))
    }

    /// Turns it forward.
    pub fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.now_ms() / 1000
    }
}

impl Clock for Standing {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.now_ms()
    }
}
