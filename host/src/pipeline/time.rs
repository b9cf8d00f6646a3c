//! What time it is for deliveries, whatever is done to the machine's clock.
//!
//! Instants in the database are of the time of day, so that they mean the same to the next process. But the time of day
//! can be set, back or forth, while this one runs. A retry must not come an hour late because the clock was set back, and
//! a clock that is set forth by a year must neither empty the log nor disable the webhooks that failed once last week.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;

/// Differences of the two clocks up to this are drift, in milliseconds: what slewing a clock does.
const DRIFT_MS: i64 = 1_000;
/// A process that starts so long after the newest event may have been started with a clock that is wrong, as machines
/// without a battery are for a while. For as long, nothing is removed by that clock. Milliseconds.
const DOUBT_MS: i64 = 86_400_000;

/// Tells the times that the pipeline goes by.
pub(super) struct Time {
    clock: Arc<dyn Clock>,
    jumps: Mutex<Jumps>,
    /// When the start is long enough ago that its clock is believed, as the steady clock tells it.
    believed: i64,
}

#[derive(Debug, Clone, Copy)]
struct Jumps {
    /// The last reading: time of day and steady clock.
    last: (i64, i64),
    /// The sum of all jumps since the start: positive when the clock was set forth.
    sum: i64,
    /// How far the clock lies behind where it has been, jumps apart.
    behind: i64,
    /// How far the clock may have been ahead at the start.
    doubted: i64,
}

impl Time {
    /// `newest` is the latest instant that an earlier process is known to have seen: the clock may have been set back
    /// since.
    pub(super) fn new(clock: Arc<dyn Clock>, newest: i64) -> Self {
        let last = (clock.now_ms(), clock.steady_ms());
        let behind = newest.saturating_sub(last.0).max(0);
        let idle = if newest > 0 { last.0.saturating_sub(newest) } else { 0 };
        let doubted = if idle > DOUBT_MS { idle } else { 0 };
        if doubted > 0 {
            tracing::warn!(
                hours = idle / 3_600_000,
                "no event for long; for a day retention removes little, in case the machine's clock is wrong"
            );
        }
        let believed = last.1.saturating_add(DOUBT_MS);
        Self { clock, jumps: Mutex::new(Jumps { last, sum: 0, behind, doubted }), believed }
    }

    fn read(&self) -> (i64, Jumps) {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock.now_ms(), self.clock.steady_ms());
        let jump = (now.0 - jumps.last.0).saturating_sub(now.1 - jumps.last.1);
        if jump.abs() > DRIFT_MS {
            tracing::warn!(jump_ms = jump, "the machine's clock was set");
            jumps.sum = jumps.sum.saturating_add(jump);
            jumps.behind = jumps.behind.saturating_sub(jump).max(0);
            jumps.doubted = jumps.doubted.saturating_add(jump.min(0)).max(0);
            jumps.last = now;
        } else if now.1 - jumps.last.1 > DRIFT_MS {
            // Taken anew now and then, or slow drift would add up to a jump.
            jumps.last = now;
        }
        (now.0, *jumps)
    }

    /// The time of day: for people, signatures and identifiers.
    pub(super) fn of_day(&self) -> i64 {
        self.clock.now_ms()
    }

    /// For what falls due, and for leases: never goes back, and follows when the clock is set forth.
    pub(super) fn due(&self) -> i64 {
        let (now, jumps) = self.read();
        now.saturating_add(jumps.behind)
    }

    /// An instant of [`Time::due`] as the time of day.
    pub(super) fn shown(&self, due: i64) -> i64 {
        due.saturating_sub(self.read().1.behind)
    }

    /// For what must not happen too early: goes no faster than time passes, and follows when the clock is set back.
    pub(super) fn cautious(&self) -> i64 {
        let (now, jumps) = self.read();
        now.saturating_sub(jumps.sum.max(0))
    }

    /// For what cannot be undone: as [`Time::cautious`], and in the first day of a process no later than that long after
    /// the newest event that it found.
    pub(super) fn doubtful(&self) -> i64 {
        let (now, jumps) = self.read();
        let doubted = if jumps.last.1 < self.believed { jumps.doubted } else { 0 };
        now.saturating_sub(jumps.sum.max(0)).saturating_sub(doubted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Set(AtomicI64, AtomicI64);

    impl Clock for Set {
        fn now_ms(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }

        fn steady_ms(&self) -> i64 {
            self.1.load(Ordering::Relaxed)
        }
    }

    fn at(time: &Time) -> (i64, i64) {
        (time.due(), time.cautious())
    }

    #[test]
    fn what_an_earlier_process_has_seen_is_past() {
        let time = Time::new(Arc::new(Set::default()), 5_000);
        assert_eq!((time.of_day(), time.due(), time.shown(5_000)), (0, 5_000, 0));
    }

    #[test]
    fn a_clock_that_may_be_wrong_at_the_start_removes_nothing_for_a_day() {
        let set = |now| Arc::new(Set(AtomicI64::new(now), AtomicI64::new(0)));
        assert_eq!(Time::new(set(DOUBT_MS), 1).doubtful(), DOUBT_MS);
        assert_eq!(Time::new(set(9 * DOUBT_MS), 0).doubtful(), 9 * DOUBT_MS, "there is nothing to remove");
        let clock = set(9 * DOUBT_MS);
        let time = Time::new(clock.clone(), DOUBT_MS);
        assert_eq!((time.doubtful(), time.cautious()), (DOUBT_MS, 9 * DOUBT_MS));
        // Somebody sets it right, or a day goes by.
        clock.0.fetch_sub(3 * DOUBT_MS, Ordering::Relaxed);
        assert_eq!(time.doubtful(), DOUBT_MS);
        clock.0.fetch_sub(6 * DOUBT_MS, Ordering::Relaxed);
        assert_eq!(time.doubtful(), 0);
        let clock = set(9 * DOUBT_MS);
        let time = Time::new(clock.clone(), DOUBT_MS);
        clock.0.fetch_add(DOUBT_MS, Ordering::Relaxed);
        clock.1.fetch_add(DOUBT_MS, Ordering::Relaxed);
        assert_eq!(time.doubtful(), 10 * DOUBT_MS);
    }

    #[test]
    fn a_clock_that_is_set_back_and_forth() {
        const HOUR: i64 = 3_600_000;
        let clock = Arc::new(Set::default());
        let time = Time::new(clock.clone(), 0);
        let pass = |day, steady| {
            clock.0.fetch_add(day, Ordering::Relaxed);
            clock.1.fetch_add(steady, Ordering::Relaxed);
        };
        pass(500, 500);
        assert_eq!(at(&time), (500, 500));
        pass(-HOUR, 0);
        assert_eq!((at(&time), time.shown(500)), ((500, 500 - HOUR), 500 - HOUR));
        pass(HOUR, 0);
        assert_eq!(at(&time), (500, 500));
        pass(HOUR, 0);
        assert_eq!(at(&time), (HOUR + 500, 500));
        pass(HOUR, HOUR);
        assert_eq!(at(&time), (2 * HOUR + 500, HOUR + 500));
        for _ in 0..5_000 {
            pass(1_001, 1_000);
            assert_eq!(time.due() - time.cautious(), HOUR);
        }
    }
}
