//! Clocks that a test controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use posthaste::clock::{Clock, SystemClock};

/// The machine's clock plus an offset that the test adds to.
#[derive(Debug, Default)]
pub struct MovedClock {
    passed: AtomicI64,
    set: AtomicI64,
}

impl MovedClock {
    /// Lets this many milliseconds pass at once.
    pub fn pass(&self, ms: i64) {
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the time of day forward, or back if negative, by this many milliseconds, while no time passes.
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

/// A clock that stands still until the test moves it, so that differences between its readings are exact. It starts at
/// the time of day.
pub struct StoppedClock {
    now: AtomicI64,
    steady: AtomicI64,
}

impl StoppedClock {
    /// Stops at the present time of day.
    pub fn now() -> Arc<Self> {
        let now = SystemClock.now_ms();
        Arc::new(Self { now: AtomicI64::new(now), steady: AtomicI64::new(now) })
    }

    /// Lets this many seconds pass.
    pub fn pass_seconds(&self, seconds: i64) {
        self.pass(seconds * 1000);
    }

    /// Lets this many milliseconds pass.
    pub fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
        self.steady.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the time of day forward, or back if negative, by this many milliseconds, while no time passes.
    pub fn set(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.now_ms() / 1000
    }
}

impl Clock for StoppedClock {
    fn now_ms(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.steady.load(Ordering::SeqCst)
    }
}
