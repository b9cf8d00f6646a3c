//! The threads that run plugins, and whose turn it is.
//!
//! Plugins never run on the async runtime's workers: one that loops until its deadline would stop every timer and
//! socket there. Plugins with work waiting take turns, and none gets all threads, so a slow plugin delays its own
//! events and not its neighbours'. The queue grows only with callers that wait for an answer; they bound it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::engine::THREAD_STACK;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped, each after the call that it is running.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
}

struct Queues {
    plugins: HashMap<u64, Queue>,
    /// Plugins with jobs waiting, each once, the next to be served first.
    turns: VecDeque<u64>,
    /// Threads that one plugin may hold.
    share: usize,
    stopped: bool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    running: usize,
}

impl Pool {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// When the OS gives no thread; those that started already end again.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let queues = Queues {
            plugins: HashMap::new(),
            turns: VecDeque::new(),
            share: threads.saturating_sub(1).max(1),
            stopped: false,
        };
        let pool = Self { shared: Arc::new(Shared { queues: Mutex::new(queues), ready: Condvar::new() }) };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let name = format!("transform-{number}");
            thread::Builder::new().name(name).stack_size(THREAD_STACK).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Runs `work` for `plugin` on one of the threads. `None` when it panicked or the pool was dropped. Work whose
    /// caller has gone before its turn comes is skipped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        plugin: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job = move || {
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        self.shared.lock().push(plugin, Box::new(job));
        self.shared.ready.notify_one();
        answer.await.ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queues = self.shared.lock();
        queues.stopped = true;
        let abandoned = std::mem::take(&mut queues.plugins);
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
            let Some((plugin, job)) = queues.take() else {
                queues = self.ready.wait(queues).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queues);
            // The panic hook has reported it; the caller learns of it because the reply is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            queues = self.lock();
            queues.finish(plugin);
        }
    }
}

impl Queues {
    fn push(&mut self, plugin: u64, job: Job) {
        let queue = self.plugins.entry(plugin).or_default();
        if queue.waiting.is_empty() {
            self.turns.push_back(plugin);
        }
        queue.waiting.push_back(job);
    }

    /// The next job of the first plugin that is below its share.
    fn take(&mut self) -> Option<(u64, Job)> {
        let below_share = |id| self.plugins.get(id).is_some_and(|queue| queue.running < self.share);
        let turn = self.turns.iter().position(below_share)?;
        let plugin = self.turns.remove(turn)?;
        let queue = self.plugins.get_mut(&plugin)?;
        let job = queue.waiting.pop_front()?;
        queue.running += 1;
        if !queue.waiting.is_empty() {
            self.turns.push_back(plugin);
        }
        Some((plugin, job))
    }

    fn finish(&mut self, plugin: u64) {
        let Some(queue) = self.plugins.get_mut(&plugin) else { return };
        queue.running = queue.running.saturating_sub(1);
        if queue.running == 0 && queue.waiting.is_empty() {
            self.plugins.remove(&plugin);
        }
    }
}
