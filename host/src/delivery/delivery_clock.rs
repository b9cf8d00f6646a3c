//! The time for deliveries, also if somebody sets the machine's clock.
//!
//! Instants in the database are wall-clock times, so that they mean the same to the next process. But the wall clock can be
//! set back or forward while this process runs. A retry must not come an hour late because the clock was set back, and a clock
//! that is set forward by a year must neither empty the log nor disable the webhooks that failed once last week.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::domain::clock_doubt::ClockDoubt;

/// Differences of the two clocks up to this are drift, as slewing a clock causes; milliseconds.
const DRIFT_MS: i64 = 1_000;
/// A process that starts this long after the newest event may have started with a wrong clock, as machines without a battery
/// have for a while. Retention does not trust the clock for the same time. Milliseconds.
const DOUBT_MS: i64 = 86_400_000;

/// Tells the time for deliveries.
pub(super) struct DeliveryClock {
    clock: Arc<dyn Clock>,
    jumps: Mutex<Jumps>,
    /// When the process has run long enough to trust the clock that it started with; by the steady clock.
    trusted_from: i64,
}

#[derive(Debug, Clone, Copy)]
struct Jumps {
    /// The last reading: wall clock and steady clock.
    last: (i64, i64),
    /// The sum of all jumps since the start: positive if the clock was set forward.
    sum: i64,
    /// How far the clock is behind its latest reading, apart from the time that has passed.
    behind: i64,
    /// How far the clock may have been ahead at the start.
    doubted: i64,
}

impl DeliveryClock {
    /// `newest` is the latest instant that an earlier process is known to have seen, milliseconds since 1970: the clock may
    /// have been set back since.
    pub(super) fn new(clock: Arc<dyn Clock>, newest: i64) -> Self {
        let last = (clock.now_ms(), clock.steady_ms());
        let behind = newest.saturating_sub(last.0).max(0);
        let idle = if newest > 0 { last.0.saturating_sub(newest) } else { 0 };
        let doubted = if idle > DOUBT_MS { idle } else { 0 };
        if doubted > 0 {
            tracing::warn!(
                hours = idle / 3_600_000,
                "the newest event is old; retention removes little for a day, in case the machine's clock is wrong"
            );
        }
        let trusted_from = last.1.saturating_add(DOUBT_MS);
        Self { clock, jumps: Mutex::new(Jumps { last, sum: 0, behind, doubted }), trusted_from }
    }

    /// Adds the doubt of an earlier process.
    pub(super) fn doubted(mut self, kept: Option<ClockDoubt>) -> Self {
        let jumps = self.jumps.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.filter(|kept| kept.ahead_ms > jumps.doubted) {
            if jumps.doubted == 0 {
                self.trusted_from = jumps.last.1.saturating_add(kept.remaining_ms.clamp(0, DOUBT_MS));
            }
            jumps.doubted = kept.ahead_ms;
        }
        self
    }

    /// Returns the doubt for the next process, to which the events that this one stores make a wrong clock look right. `None`:
    /// the clock is not doubted by more than a day.
    pub(super) fn doubt(&self) -> Option<ClockDoubt> {
        let (now, jumps) = self.read();
        let remaining = self.trusted_from.saturating_sub(jumps.last.1);
        let ahead_ms = now.saturating_sub(self.retention_ms());
        // As long as this process runs, it trusts no jump.
        let remaining_ms = if jumps.sum > 0 { DOUBT_MS } else { remaining };
        (ahead_ms > DOUBT_MS).then_some(ClockDoubt { ahead_ms, remaining_ms })
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
            // Renewed now and then, or slow drift would add up to a jump.
            jumps.last = now;
        }
        (now.0, *jumps)
    }

    /// The wall clock, milliseconds since 1970: for people, signatures and identifiers.
    pub(super) fn wall_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// For due times and leases: never goes back, and follows if the clock is set forward. Milliseconds since 1970.
    pub(super) fn due_ms(&self) -> i64 {
        let (now, jumps) = self.read();
        now.saturating_add(jumps.behind)
    }

    /// An instant of [`DeliveryClock::due_ms`] as a wall-clock time.
    pub(super) fn to_wall_ms(&self, due: i64) -> i64 {
        due.saturating_sub(self.read().1.behind)
    }

    /// For actions that must not happen too early: goes no faster than time passes, and follows if the clock is set back.
    pub(super) fn cautious_ms(&self) -> i64 {
        let (now, jumps) = self.read();
        now.saturating_sub(jumps.sum.max(0))
    }

    /// For removals, which cannot be undone: as [`DeliveryClock::cautious_ms`], and during the first day of a process no later
    /// than a day after the newest event that it found.
    pub(super) fn retention_ms(&self) -> i64 {
        let (now, jumps) = self.read();
        let doubted = if jumps.last.1 < self.trusted_from { jumps.doubted } else { 0 };
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

    fn at(time: &DeliveryClock) -> (i64, i64) {
        (time.due_ms(), time.cautious_ms())
    }

    #[test]
    fn latest_instant_of_an_earlier_process_is_past() {
        let time = DeliveryClock::new(Arc::new(Set::default()), 5_000);
        assert_eq!((time.wall_ms(), time.due_ms(), time.to_wall_ms(5_000)), (0, 5_000, 0));
    }

    #[test]
    fn clock_that_may_be_wrong_at_the_start_removes_nothing_for_a_day() {
        let set = |now| Arc::new(Set(AtomicI64::new(now), AtomicI64::new(0)));
        assert_eq!(DeliveryClock::new(set(DOUBT_MS), 1).retention_ms(), DOUBT_MS);
        assert_eq!(DeliveryClock::new(set(9 * DOUBT_MS), 0).retention_ms(), 9 * DOUBT_MS, "there is nothing to remove");
        let clock = set(9 * DOUBT_MS);
        let time = DeliveryClock::new(clock.clone(), DOUBT_MS);
        assert_eq!((time.retention_ms(), time.cautious_ms()), (DOUBT_MS, 9 * DOUBT_MS));
        // The clock is corrected, or a day passes.
        clock.0.fetch_sub(3 * DOUBT_MS, Ordering::Relaxed);
        assert_eq!(time.retention_ms(), DOUBT_MS);
        clock.0.fetch_sub(6 * DOUBT_MS, Ordering::Relaxed);
        assert_eq!(time.retention_ms(), 0);
        let clock = set(9 * DOUBT_MS);
        let time = DeliveryClock::new(clock.clone(), DOUBT_MS);
        clock.0.fetch_add(DOUBT_MS, Ordering::Relaxed);
        clock.1.fetch_add(DOUBT_MS, Ordering::Relaxed);
        assert_eq!(time.retention_ms(), 10 * DOUBT_MS);
    }

    #[test]
    fn doubt_goes_on_in_the_next_process_until_both_have_run_for_a_day() {
        const HOUR: i64 = DOUBT_MS / 24;
        let clock = Arc::new(Set(AtomicI64::new(9 * DOUBT_MS), AtomicI64::new(0)));
        let pass = |day, steady| {
            clock.0.fetch_add(day, Ordering::Relaxed);
            clock.1.fetch_add(steady, Ordering::Relaxed);
        };
        let first = DeliveryClock::new(clock.clone(), DOUBT_MS);
        pass(HOUR, HOUR);
        let kept = first.doubt();
        assert_eq!(kept, Some(ClockDoubt { ahead_ms: 8 * DOUBT_MS, remaining_ms: 23 * HOUR }));
        // The newest event is of the first process.
        let next = DeliveryClock::new(clock.clone(), 9 * DOUBT_MS).doubted(kept);
        assert_eq!((next.retention_ms(), next.doubt()), (DOUBT_MS + HOUR, kept));
        pass(22 * HOUR, 22 * HOUR);
        assert_eq!(next.retention_ms(), DOUBT_MS + 23 * HOUR);
        pass(HOUR, HOUR);
        assert_eq!((next.retention_ms(), next.doubt()), (10 * DOUBT_MS, None));
        // A jump is trusted a day after the start of the next process.
        pass(5 * DOUBT_MS, 0);
        let kept = next.doubt();
        assert_eq!(kept, Some(ClockDoubt { ahead_ms: 5 * DOUBT_MS, remaining_ms: DOUBT_MS }));
        let next = DeliveryClock::new(clock.clone(), 15 * DOUBT_MS).doubted(kept);
        assert_eq!(next.retention_ms(), 10 * DOUBT_MS);
        assert_eq!(DeliveryClock::new(clock, 15 * DOUBT_MS).doubted(None).doubt(), None);
    }

    #[test]
    fn due_time_never_goes_back_and_cautious_time_never_jumps_forward() {
        const HOUR: i64 = 3_600_000;
        let clock = Arc::new(Set::default());
        let time = DeliveryClock::new(clock.clone(), 0);
        let pass = |day, steady| {
            clock.0.fetch_add(day, Ordering::Relaxed);
            clock.1.fetch_add(steady, Ordering::Relaxed);
        };
        pass(500, 500);
        assert_eq!(at(&time), (500, 500));
        pass(-HOUR, 0);
        assert_eq!((at(&time), time.to_wall_ms(500)), ((500, 500 - HOUR), 500 - HOUR));
        pass(HOUR, 0);
        assert_eq!(at(&time), (500, 500));
        pass(HOUR, 0);
        assert_eq!(at(&time), (HOUR + 500, 500));
        pass(HOUR, HOUR);
        assert_eq!(at(&time), (2 * HOUR + 500, HOUR + 500));
        for _ in 0..5_000 {
            pass(1_001, 1_000);
            assert_eq!(time.due_ms() - time.cautious_ms(), HOUR);
        }
    }

    #[test]
    fn wall_time_is_what_the_clock_says() {
        let clock = Arc::new(Set::default());
        let time = DeliveryClock::new(clock.clone(), 5_000);
        clock.0.store(700, Ordering::Relaxed);
        assert_eq!((time.wall_ms(), time.to_wall_ms(5_700)), (700, 700));
    }

    #[test]
    fn many_small_jumps_are_one_jump() {
        let clock = Arc::new(Set(AtomicI64::new(0), AtomicI64::new(10 * DRIFT_MS)));
        let time = DeliveryClock::new(clock.clone(), 0);
        for _ in 0..30 {
            clock.0.fetch_add(DRIFT_MS / 10, Ordering::Relaxed);
            time.due_ms();
        }
        assert!(time.cautious_ms() <= DRIFT_MS, "{}", time.cautious_ms());
    }
}
