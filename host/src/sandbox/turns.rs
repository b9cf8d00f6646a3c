//! Whose turn it is on the threads that run plugins.
//!
//! The company that has had the least thread time of late goes first, and within it the plugin that has. So whoever
//! calls now and then comes before everyone with a backlog, however many plugins that one spreads it over. What is left
//! to wait for is a thread: a plugin whose last call was slow never gets the last free one. Together a call waits for no
//! more than one call of others to end, and as a rule for none.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Thread time counts half as much after this long.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// Thread time that is not worth remembering.
const FORGOTTEN: Duration = Duration::from_millis(1);

/// Who asks for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) company: u64,
    pub(super) plugin: u64,
}

/// The waiting jobs, and what is remembered of those who had jobs. It grows only with callers that wait for an answer.
pub(super) struct Turns<J> {
    companies: HashMap<u64, Company<J>>,
    /// Threads that one plugin may hold, and likewise all slow ones together.
    share: usize,
    /// From this on a call is slow.
    slow: Duration,
    next_turn: u64,
    halved: Instant,
}

struct Company<J> {
    used: Duration,
    plugins: HashMap<u64, Queue<J>>,
}

struct Queue<J> {
    waiting: VecDeque<J>,
    running: usize,
    used: Duration,
    /// Its last call was.
    slow: bool,
    /// Decides between equals: the smaller one has waited longer.
    turn: u64,
}

impl<J> Turns<J> {
    /// Nobody waits. A call is slow that takes `slow` or longer.
    pub(super) fn new(threads: usize, slow: Duration, now: Instant) -> Self {
        let share = threads.saturating_sub(1).max(1);
        Self { companies: HashMap::new(), share, slow, next_turn: 0, halved: now }
    }

    /// Queues a job.
    pub(super) fn push(&mut self, account: Account, job: J) {
        let turn = self.turn();
        let company = self.companies.entry(account.company).or_default();
        let queue = company.plugins.entry(account.plugin).or_default();
        if queue.waiting.is_empty() {
            queue.turn = turn;
        }
        queue.waiting.push_back(job);
    }

    /// The job to run next, on a thread that is free.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Account, J)> {
        self.forget(now);
        let slow_running: usize = self.queues().filter(|(.., queue)| queue.slow).map(|(.., queue)| queue.running).sum();
        let may_run = |queue: &Queue<J>| {
            !queue.waiting.is_empty() && queue.running < self.share && !(queue.slow && slow_running >= self.share)
        };
        let ready = self.queues().filter(|(.., queue)| may_run(queue));
        let (account, ..) = ready.min_by_key(|(_, company, queue)| (company.used, queue.used, queue.turn))?;
        let turn = self.turn();
        let queue = self.queue(account)?;
        let job = queue.waiting.pop_front()?;
        queue.running += 1;
        queue.turn = turn;
        Some((account, job))
    }

    /// A job has ended that held its thread for `spent`. True: more than one waiting job may run because of that.
    pub(super) fn finish(&mut self, account: Account, spent: Duration) -> bool {
        let slow = spent >= self.slow;
        if let Some(company) = self.companies.get_mut(&account.company) {
            company.used = company.used.saturating_add(spent);
        }
        let Some(queue) = self.queue(account) else { return false };
        queue.running = queue.running.saturating_sub(1);
        queue.used = queue.used.saturating_add(spent);
        std::mem::replace(&mut queue.slow, slow) && !slow
    }

    /// Takes all jobs that wait.
    pub(super) fn clear(&mut self) -> Vec<J> {
        let queues = self.companies.values_mut().flat_map(|company| company.plugins.values_mut());
        queues.flat_map(|queue| std::mem::take(&mut queue.waiting)).collect()
    }

    fn turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn queue(&mut self, account: Account) -> Option<&mut Queue<J>> {
        self.companies.get_mut(&account.company)?.plugins.get_mut(&account.plugin)
    }

    fn queues(&self) -> impl Iterator<Item = (Account, &Company<J>, &Queue<J>)> {
        self.companies.iter().flat_map(|(id, company)| {
            let of = |plugin| Account { company: *id, plugin };
            company.plugins.iter().map(move |(plugin, queue)| (of(*plugin), company, queue))
        })
    }

    /// Halves what everyone has used for each [`HALF_LIFE`] that has passed, and drops whom nothing is known of any more.
    fn forget(&mut self, now: Instant) {
        let halvings = now.saturating_duration_since(self.halved).as_nanos() / HALF_LIFE.as_nanos();
        if halvings == 0 {
            return;
        }
        self.halved = now;
        let divisor = 1_u32 << halvings.min(31);
        self.companies.retain(|_, company| {
            company.used /= divisor;
            company.plugins.retain(|_, queue| {
                queue.used /= divisor;
                queue.running > 0 || !queue.waiting.is_empty() || queue.used >= FORGOTTEN
            });
            !company.plugins.is_empty()
        });
    }
}

impl<J> Default for Company<J> {
    fn default() -> Self {
        Self { used: Duration::ZERO, plugins: HashMap::new() }
    }
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), running: 0, used: Duration::ZERO, slow: false, turn: 0 }
    }
}
