//! The threads that run plugins.
//!
//! Plugins never run on the async runtime's workers: one that loops until its deadline would stop every timer and
//! socket there.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::THREAD_STACK;
use super::turns::{Account, Turns};

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped, each after the call that it is running.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Names companies by a number.
    companies: RandomState,
}

struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
}

struct Queues {
    turns: Turns<Job>,
    stopped: bool,
}

impl Pool {
    /// Starts `threads` threads, at least one. A call of `slow` or longer counts against its plugin.
    ///
    /// # Errors
    /// When the OS gives no thread; those that started already end again.
    pub(super) fn start(threads: usize, slow: Duration) -> io::Result<Self> {
        let threads = threads.max(1);
        let queues = Queues { turns: Turns::new(threads, slow, Instant::now()), stopped: false };
        let shared = Arc::new(Shared { queues: Mutex::new(queues), ready: Condvar::new() });
        let pool = Self { shared, companies: RandomState::new() };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let name = format!("transform-{number}");
            thread::Builder::new().name(name).stack_size(THREAD_STACK).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs `work` for a company's `plugin` on one of the threads. `None` when it panicked or the pool was dropped. Work
    /// whose caller has gone before its turn comes is skipped.
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
        let account = Account { company: self.companies.hash_one(company), plugin };
        self.shared.lock().turns.push(account, Box::new(job));
        self.shared.ready.notify_one();
        answer.await.ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queues = self.shared.lock();
        queues.stopped = true;
        let abandoned = queues.turns.clear();
        drop(queues);
        self.shared.ready.notify_all();
        drop(abandoned);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queues = self.lock();
        while !queues.stopped {
            let Some((account, job)) = queues.turns.take(Instant::now()) else {
                queues = self.ready.wait(queues).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queues);
            let started = Instant::now();
            // The panic hook has reported it; the caller learns of it because the reply is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            queues = self.lock();
            if queues.turns.finish(account, started.elapsed()) {
                self.ready.notify_all();
            }
        }
    }
}
