//! The clock that stops plugins which run too long.
//!
//! Compiled plugins look at the engine's epoch at every loop and call, and trap once it has passed their deadline. The
//! epoch follows wall time: whoever moves it first works out how many ticks are due, so that a ticker which the machine
//! kept waiting catches up at once instead of granting everyone the time that it lost.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// A thread of its own that moves the engine's epoch while a plugin runs, and sleeps while none does. Stops on drop.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    engine: Engine,
    started: Instant,
    tick: Duration,
    deadline_ticks: u64,
    /// Ticks since `started` that the epoch has followed.
    ticks: Mutex<u64>,
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// While this lives, the epoch moves.
pub(super) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the OS gives no thread.
    pub(super) fn start(engine: Engine, deadline: Duration) -> io::Result<Self> {
        let tick = (deadline / 20).clamp(Duration::from_millis(1), Duration::from_millis(10));
        // The tick under way when a call starts is a part of one: not counting it, no call gets less than its deadline.
        let deadline_ticks =
            whole_ticks(deadline.saturating_add(tick - Duration::from_nanos(1)), tick).saturating_add(1);
        let shared = Arc::new(Shared {
            engine,
            started: Instant::now(),
            tick,
            deadline_ticks,
            ticks: Mutex::new(0),
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let ticking = Arc::clone(&shared);
        let thread = thread::Builder::new().name("epoch".into()).spawn(move || ticking.run())?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Announces a call. Its deadline starts when this returns.
    pub(super) fn enter(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        let running = Running(&self.shared);
        // Without this, ticks that are due already would be taken from the new call's time.
        self.shared.follow();
        if self.shared.parked.load(SeqCst) {
            self.thread.unpark();
        }
        running
    }

    /// Ticks from the start of a call to its deadline.
    pub(super) fn deadline_ticks(&self) -> u64 {
        self.shared.deadline_ticks
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    fn run(&self) {
        while !self.stopped.load(SeqCst) {
            self.parked.store(true, SeqCst);
            while self.running.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
                thread::park();
            }
            self.parked.store(false, SeqCst);
            thread::park_timeout(self.tick);
            self.follow();
        }
    }

    /// Brings the epoch up to wall time.
    fn follow(&self) {
        let mut ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let due = whole_ticks(self.started.elapsed(), self.tick);
        // After an idle night only as many as end every call that could be running.
        for _ in 0..due.saturating_sub(*ticks).min(self.deadline_ticks) {
            self.engine.increment_epoch();
        }
        *ticks = due;
    }
}

fn whole_ticks(time: Duration, tick: Duration) -> u64 {
    u64::try_from(time.as_nanos() / tick.as_nanos().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticker(deadline: Duration) -> Ticker {
        Ticker::start(Engine::default(), deadline).unwrap()
    }

    #[test]
    fn sleeps_only_while_nothing_runs() {
        let ticker = ticker(Duration::from_millis(20));
        let ticks = || *ticker.shared.ticks.lock().unwrap();
        for _ in 0..3 {
            while !ticker.shared.parked.load(SeqCst) {
                thread::yield_now();
            }
            let running = ticker.enter();
            let before = ticks();
            let patience = Instant::now() + Duration::from_secs(20);
            while ticks() < before + 3 {
                assert!(Instant::now() < patience, "the ticker sleeps while something runs");
                thread::yield_now();
            }
            drop(running);
        }
    }

    #[test]
    fn a_deadline_is_never_cut_short() {
        // 20 ticks, and one for the tick under way.
        assert_eq!(ticker(Duration::from_millis(100)).deadline_ticks(), 21);
        assert_eq!(ticker(Duration::from_micros(1500)).deadline_ticks(), 3);
        assert_eq!(ticker(Duration::from_millis(1001)).deadline_ticks(), 102);
    }
}
