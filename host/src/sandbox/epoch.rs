//! The deadline of plugin calls: a thread that advances the engine's epoch while calls run.
//!
//! Compiled plugins compare the engine's epoch with their deadline at every loop and call, and trap once it has passed. The
//! epoch follows wall time: each advance first computes how many ticks are due. So a ticker thread that the OS scheduled late
//! catches up at once, and no running call gains the time that was lost.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A thread that advances the epoch while a plugin runs, and is parked while none does. Stops on drop.
pub(super) struct EpochTicker {
    shared: Arc<TickerShared>,
    thread: Thread,
}

struct TickerShared {
    advance_epoch: Box<dyn Fn() + Send + Sync>,
    started: Instant,
    tick: Duration,
    deadline_ticks: u64,
    clock: Mutex<EpochClock>,
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// Guards a running call: the epoch advances while at least one exists.
#[must_use]
pub(super) struct RunningCall<'a>(&'a TickerShared);

/// Converts wall time to ticks of the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EpochClock {
    tick: Duration,
    /// Ticks from the start of a call to its deadline.
    deadline_ticks: u64,
    /// Ticks since the start that the epoch has followed.
    followed: u64,
}

impl EpochTicker {
    /// Starts the thread. `advance_epoch` adds one tick to the engine's epoch.
    ///
    /// # Errors
    /// If the OS refuses a thread.
    pub(super) fn start(advance_epoch: impl Fn() + Send + Sync + 'static, deadline: Duration) -> io::Result<Self> {
        let shared = Arc::new(TickerShared::new(Box::new(advance_epoch), deadline));
        let ticking = Arc::clone(&shared);
        let thread = thread::Builder::new().name("epoch".into()).spawn(move || ticking.run())?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Registers a call. Its deadline counts from the return of this function.
    pub(super) fn enter(&self) -> RunningCall<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        let running = RunningCall(&self.shared);
        // Without this, ticks that are due already would be charged to the new call.
        self.shared.follow();
        if self.shared.parked.load(SeqCst) {
            self.thread.unpark();
        }
        running
    }

    /// Returns the ticks from the start of a call to its deadline.
    pub(super) fn deadline_ticks(&self) -> u64 {
        self.shared.deadline_ticks
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl TickerShared {
    fn new(advance_epoch: Box<dyn Fn() + Send + Sync>, deadline: Duration) -> Self {
        let clock = EpochClock::new(deadline);
        Self {
            advance_epoch,
            started: Instant::now(),
            tick: clock.tick,
            deadline_ticks: clock.deadline_ticks,
            clock: Mutex::new(clock),
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    fn run(&self) {
        while !self.stopped.load(SeqCst) {
            self.parked.store(true, SeqCst);
            while self.is_idle() {
                thread::park();
            }
            self.parked.store(false, SeqCst);
            thread::park_timeout(self.tick);
            self.follow();
        }
    }

    /// Returns whether the thread may park: no call runs, and it has not been stopped.
    fn is_idle(&self) -> bool {
        self.running.load(SeqCst) == 0 && !self.stopped.load(SeqCst)
    }

    /// Advances the epoch to wall time.
    fn follow(&self) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..clock.due(self.started.elapsed()) {
            (self.advance_epoch)();
        }
    }
}

impl EpochClock {
    /// Returns a clock at zero with 20 ticks per deadline, of 1 to 10 ms each.
    fn new(deadline: Duration) -> Self {
        let tick = (deadline / 20).clamp(Duration::from_millis(1), Duration::from_millis(10));
        let ticks = whole_ticks(deadline.saturating_add(tick - Duration::from_nanos(1)), tick);
        // The tick under way when a call starts has partly elapsed. It is not counted, so that no call gets less than its
        // deadline.
        Self { tick, deadline_ticks: ticks.saturating_add(1), followed: 0 }
    }

    /// Returns the ticks by which the epoch lags behind `elapsed`, and counts them as followed. After an idle night these are
    /// only as many as end every call that could be running.
    #[must_use]
    fn due(&mut self, elapsed: Duration) -> u64 {
        let now = whole_ticks(elapsed, self.tick);
        let due = now.saturating_sub(self.followed).min(self.deadline_ticks);
        self.followed = now;
        due
    }
}

fn whole_ticks(time: Duration, tick: Duration) -> u64 {
    u64::try_from(time.as_nanos() / tick.as_nanos().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicU64;

    /// A ticker, and the ticks that its thread has added.
    fn counted_ticker(deadline: Duration) -> (EpochTicker, Arc<AtomicU64>) {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ticks);
        let advance = move || {
            counted.fetch_add(1, SeqCst);
        };
        (EpochTicker::start(advance, deadline).unwrap(), ticks)
    }

    /// Waits until `condition` holds, for at most 20 s.
    fn until(condition: impl Fn() -> bool) {
        let patience = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < patience, "the condition never held");
            thread::yield_now();
        }
    }

    /// Lets at least `time` pass by the clock.
    fn pass(time: Duration) {
        let begin = Instant::now();
        until(|| begin.elapsed() >= time);
    }

    #[test]
    fn the_thread_is_parked_only_while_no_call_runs() {
        let (ticker, ticks) = counted_ticker(Duration::from_millis(20));
        for _ in 0..3 {
            until(|| ticker.shared.parked.load(SeqCst));
            let calls = [ticker.enter(), ticker.enter()];
            let before = ticks.load(SeqCst);
            until(|| ticks.load(SeqCst) >= before + 3);
            let [first, second] = calls;
            drop(first);
            let before = ticks.load(SeqCst);
            until(|| ticks.load(SeqCst) >= before + 3);
            drop(second);
        }
    }

    #[test]
    fn the_thread_may_park_only_if_no_call_runs_and_it_is_not_stopped() {
        let shared = TickerShared::new(Box::new(|| ()), Duration::from_millis(20));
        for (running, stopped, idle) in [(0, false, true), (1, false, false), (0, true, false), (1, true, false)] {
            shared.running.store(running, SeqCst);
            shared.stopped.store(stopped, SeqCst);
            assert_eq!(shared.is_idle(), idle, "{running} running, stopped: {stopped}");
        }
    }

    #[test]
    fn a_call_is_counted_as_running_until_it_is_dropped() {
        let (ticker, _) = counted_ticker(Duration::from_millis(20));
        let running = || ticker.shared.running.load(SeqCst);
        let [first, second] = [ticker.enter(), ticker.enter()];
        assert_eq!(running(), 2);
        drop(first);
        assert_eq!(running(), 1);
        drop(second);
        assert_eq!(running(), 0);
    }

    #[test]
    fn the_epoch_rests_while_no_call_runs() {
        let (ticker, ticks) = counted_ticker(Duration::from_millis(20));
        drop(ticker.enter());
        // The tick under way when the call ends may still be added.
        until(|| {
            let before = ticks.load(SeqCst);
            pass(Duration::from_millis(8));
            ticks.load(SeqCst) == before
        });
    }

    #[test]
    fn ticks_that_are_due_before_a_call_are_not_charged_to_it() {
        let (ticker, ticks) = counted_ticker(Duration::from_millis(20));
        pass(Duration::from_millis(3));
        let call = ticker.enter();
        assert!(ticks.load(SeqCst) >= 3);
        drop(call);
    }

    #[test]
    fn the_thread_ends_when_the_ticker_is_dropped() {
        let (ticker, _) = counted_ticker(Duration::from_millis(20));
        let shared = Arc::downgrade(&ticker.shared);
        until(|| ticker.shared.parked.load(SeqCst));
        drop(ticker);
        until(|| shared.strong_count() == 0);
    }

    #[test]
    fn a_call_never_gets_less_than_its_deadline() {
        // 20 ticks, and one for the tick under way.
        assert_eq!(counted_ticker(Duration::from_millis(100)).0.deadline_ticks(), 21);
        assert_eq!(EpochClock::new(Duration::from_micros(1500)).deadline_ticks, 3);
        assert_eq!(EpochClock::new(Duration::from_millis(1001)).deadline_ticks, 102);
    }

    #[test]
    fn a_tick_is_a_twentieth_of_the_deadline_between_one_and_ten_milliseconds() {
        for (deadline, tick) in [(1, 1_000), (20, 1_000), (100, 5_000), (200, 10_000), (60_000, 10_000)] {
            let clock = EpochClock::new(Duration::from_millis(deadline));
            assert_eq!(clock.tick, Duration::from_micros(tick), "{deadline} ms");
        }
    }

    #[test]
    fn the_epoch_catches_up_with_wall_time_but_never_by_more_than_a_deadline() {
        let mut clock = EpochClock::new(Duration::from_millis(100));
        let mut due = |ms| clock.due(Duration::from_millis(ms));
        assert_eq!([due(4), due(5), due(9), due(10), due(34)], [0, 1, 0, 1, 4]);
        assert_eq!([due(34), due(30)], [0, 0], "the epoch never goes back");
        assert_eq!([due(100_000_000), due(100_000_005)], [21, 1]);
    }
}
