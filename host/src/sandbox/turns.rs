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
    /// The accounts with jobs waiting, each once: few beside those that are remembered.
    waiting: Vec<Account>,
    /// Threads that slow plugins hold.
    slow_running: usize,
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
        Self { companies: HashMap::new(), waiting: Vec::new(), slow_running: 0, share, slow, next_turn: 0, halved: now }
    }

    /// Queues a job.
    pub(super) fn push(&mut self, account: Account, job: J) {
        let turn = self.turn();
        let company = self.companies.entry(account.company).or_default();
        let queue = company.plugins.entry(account.plugin).or_default();
        if queue.waiting.is_empty() {
            queue.turn = turn;
            self.waiting.push(account);
        }
        queue.waiting.push_back(job);
    }

    /// The job to run next, on a thread that is free.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Account, J)> {
        self.forget(now);
        let turn_of = |(place, account): (usize, &Account)| {
            let company = self.companies.get(&account.company)?;
            let queue = company.plugins.get(&account.plugin)?;
            let held_back = queue.slow && self.slow_running >= self.share;
            let may_run = queue.running < self.share && !held_back;
            may_run.then_some(((company.used, queue.used, queue.turn), place))
        };
        let (_, place) = self.waiting.iter().enumerate().filter_map(turn_of).min()?;
        let account = *self.waiting.get(place)?;
        let turn = self.turn();
        let queue = self.queue(account)?;
        let job = queue.waiting.pop_front()?;
        queue.running += 1;
        queue.turn = turn;
        let (slow, empty) = (queue.slow, queue.waiting.is_empty());
        self.slow_running += usize::from(slow);
        if empty {
            self.waiting.swap_remove(place);
        }
        Some((account, job))
    }

    /// A job has ended that held its thread for `spent`. True: more than one waiting job may run because of that.
    pub(super) fn finish(&mut self, account: Account, spent: Duration) -> bool {
        let slow = spent >= self.slow;
        if let Some(company) = self.companies.get_mut(&account.company) {
            company.used = company.used.saturating_add(spent);
        }
        let Some(queue) = self.queue(account) else { return false };
        let held = queue.running;
        queue.running = held.saturating_sub(1);
        queue.used = queue.used.saturating_add(spent);
        let was_slow = std::mem::replace(&mut queue.slow, slow);
        let (before, after) = (if was_slow { held } else { 0 }, if slow { queue.running } else { 0 });
        self.slow_running = self.slow_running.saturating_sub(before).saturating_add(after);
        was_slow && !slow
    }

    /// Takes all jobs that wait.
    pub(super) fn clear(&mut self) -> Vec<J> {
        self.waiting.clear();
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
