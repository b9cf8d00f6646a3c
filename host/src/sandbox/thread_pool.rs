//! The threads that run plugins.
//!
//! Plugins never run on the async runtime's workers: one that loops until its deadline would block every timer and socket
//! there.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::call_scheduler::{CallAccount, CallScheduler};
use super::engine::THREAD_STACK;

type PluginJob = Box<dyn FnOnce() + Send>;

/// The threads. On drop, each ends after the call that it is running.
pub(super) struct ThreadPool {
    shared: Arc<PoolShared>,
    /// Hashes company names to the numbers of their accounts.
    companies: RandomState,
}

struct PoolShared {
    state: Mutex<PoolState>,
    ready: Condvar,
}

struct PoolState {
    scheduler: CallScheduler<PluginJob>,
    stopped: bool,
}

impl ThreadPool {
    /// Starts `threads` threads, at least one. A call that takes `slow_from` or longer counts as slow.
    ///
    /// # Errors
    /// If the OS refuses a thread; the threads that started already end again.
    pub(super) fn start(threads: usize, slow_from: Duration) -> io::Result<Self> {
        let threads = threads.max(1);
        let state = PoolState { scheduler: CallScheduler::new(threads, slow_from, Instant::now()), stopped: false };
        let shared = Arc::new(PoolShared { state: Mutex::new(state), ready: Condvar::new() });
        let pool = Self { shared, companies: RandomState::new() };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let name = format!("transform-{number}");
            thread::Builder::new().name(name).stack_size(THREAD_STACK).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs `work` on one of the threads, on account of the company's `plugin`. `None` if it panicked or the pool was dropped.
    /// Work whose caller has gone before a thread is free is skipped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        company: &str,
        plugin: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job = move || {
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        let account = CallAccount { company: self.companies.hash_one(company), plugin };
        self.shared.lock().scheduler.push(account, Box::new(job));
        self.shared.ready.notify_one();
        answer.await.ok()
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        let abandoned = state.scheduler.clear();
        drop(state);
        self.shared.ready.notify_all();
        // After the lock is released: dropping a job drops values of its caller, whatever these do.
        drop(abandoned);
    }
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let Some((account, job)) = state.scheduler.take(Instant::now()) else {
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let started = Instant::now();
            // The panic hook has reported a panic; the caller notices it because the reply is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            state = self.lock();
            if state.scheduler.finish(account, started.elapsed()) {
                self.ready.notify_all();
            }
        }
    }
}
