//! Wakes the fetcher, and tells when it last completed a pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Wakes the fetcher.
pub(super) struct FetchSignal {
    wake: Notify,
    /// The next pass begins by asking the database which webhooks have a backlog.
    reconcile: AtomicBool,
    last_pass: Mutex<Instant>,
}

impl FetchSignal {
    pub(super) fn new(now: Instant) -> Self {
        Self { wake: Notify::new(), reconcile: AtomicBool::new(false), last_pass: Mutex::new(now) }
    }

    /// There is something to fetch.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// There may be backlogs that only the database knows of.
    pub(super) fn reconcile_now(&self) {
        self.reconcile.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Time since the last completed pass.
    pub(super) fn since_last_pass(&self, now: Instant) -> Duration {
        now.duration_since(*self.last_pass.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn take_reconcile_request(&self) -> bool {
        self.reconcile.swap(false, Ordering::Relaxed)
    }

    pub(super) fn pass_completed(&self, now: Instant) {
        *self.last_pass.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signal_before_the_wait_is_not_lost() {
        let signal = FetchSignal::new(Instant::now());
        signal.wake();
        signal.woken().await;
    }

    #[tokio::test]
    async fn reconcile_request_wakes_and_counts_once() {
        let signal = FetchSignal::new(Instant::now());
        signal.reconcile_now();
        signal.woken().await;
        assert_eq!((signal.take_reconcile_request(), signal.take_reconcile_request()), (true, false));
    }

    #[test]
    fn age_counts_from_the_last_completed_pass() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let signal = FetchSignal::new(begin);
        assert_eq!(signal.since_last_pass(begin + 3 * second), 3 * second);
        signal.pass_completed(begin + 2 * second);
        assert_eq!(signal.since_last_pass(begin + 3 * second), second);
    }
}
