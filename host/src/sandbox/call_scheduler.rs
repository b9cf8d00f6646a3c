//! Schedules plugin calls on the sandbox's threads, fairly between companies and between the plugins of a company.
//!
//! The next call belongs to the company with the least recent thread time and, within it, to the plugin with the least. So a
//! company that calls rarely is served before every company with a backlog, however many plugins the backlog is spread over.
//! The only remaining wait is for a free thread: a plugin whose last call was slow never gets the last one. In total a call
//! waits for at most one call of other plugins to end, and usually for none.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Recorded thread time halves each time this much time has passed.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// Thread time below which an idle plugin is dropped from the records.
const NEGLIGIBLE: Duration = Duration::from_millis(1);

/// The company and the plugin that a call's thread time is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallAccount {
    pub(super) company: u64,
    pub(super) plugin: u64,
}

/// The waiting jobs, and the recent thread time of companies and plugins. Its size is bounded by the number of callers that
/// wait for an answer and of plugins that ran in the last seconds.
pub(super) struct CallScheduler<J> {
    companies: HashMap<u64, CompanyCalls<J>>,
    /// The accounts with waiting jobs, each once: few in comparison with the accounts on record.
    waiting: Vec<CallAccount>,
    /// Threads that slow plugins hold.
    slow_running: usize,
    /// Threads that one plugin may hold, and likewise all slow plugins together.
    thread_share: usize,
    /// Duration from which a call counts as slow.
    slow_from: Duration,
    last_sequence: u64,
    halved_at: Instant,
}

struct CompanyCalls<J> {
    used: Duration,
    plugins: HashMap<u64, PluginCalls<J>>,
}

struct PluginCalls<J> {
    waiting: VecDeque<J>,
    running: usize,
    used: Duration,
    /// Whether its last call was slow.
    slow: bool,
    /// Breaks ties: of two plugins with equal thread time, the one with the smaller number has waited longer.
    sequence: u64,
}

/// A plugin that may run now. The order of the fields is the order of precedence; the smallest candidate runs.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CallCandidate {
    company_used: Duration,
    plugin_used: Duration,
    sequence: u64,
    /// Its index in [`CallScheduler::waiting`].
    index: usize,
}

impl<J> CallScheduler<J> {
    /// Returns an empty scheduler. A call that takes `slow_from` or longer is slow.
    pub(super) fn new(threads: usize, slow_from: Duration, now: Instant) -> Self {
        Self {
            companies: HashMap::new(),
            waiting: Vec::new(),
            slow_running: 0,
            thread_share: threads.saturating_sub(1).max(1),
            slow_from,
            last_sequence: 0,
            halved_at: now,
        }
    }

    /// Queues a job behind the other jobs of its plugin.
    pub(super) fn push(&mut self, account: CallAccount, job: J) {
        let sequence = self.next_sequence();
        let company = self.companies.entry(account.company).or_default();
        let plugin = company.plugins.entry(account.plugin).or_default();
        if plugin.waiting.is_empty() {
            plugin.sequence = sequence;
            self.waiting.push(account);
        }
        plugin.waiting.push_back(job);
    }

    /// Takes the job that a free thread has to run next. `None` if no waiting job may run now.
    #[must_use]
    pub(super) fn take(&mut self, now: Instant) -> Option<(CallAccount, J)> {
        self.decay(now);
        let waiting = self.waiting.iter().enumerate();
        let next = waiting.filter_map(|(index, account)| self.candidate(index, *account)).min()?;
        let account = *self.waiting.get(next.index)?;
        let sequence = self.next_sequence();
        let plugin = self.plugin(account)?;
        let job = plugin.waiting.pop_front()?;
        plugin.running += 1;
        plugin.sequence = sequence;
        let (slow, empty) = (plugin.slow, plugin.waiting.is_empty());
        self.slow_running += usize::from(slow);
        if empty {
            self.waiting.swap_remove(next.index);
        }
        Some((account, job))
    }

    /// Records that a job held its thread for `spent`. Returns true if more than one waiting job may run as a consequence.
    #[must_use]
    pub(super) fn finish(&mut self, account: CallAccount, spent: Duration) -> bool {
        let slow = spent >= self.slow_from;
        if let Some(company) = self.companies.get_mut(&account.company) {
            company.used = company.used.saturating_add(spent);
        }
        let Some(plugin) = self.plugin(account) else { return false };
        let held_before = plugin.running;
        plugin.running = held_before.saturating_sub(1);
        plugin.used = plugin.used.saturating_add(spent);
        let was_slow = std::mem::replace(&mut plugin.slow, slow);
        let (slow_before, slow_after) = (if was_slow { held_before } else { 0 }, if slow { plugin.running } else { 0 });
        self.slow_running = self.slow_running.saturating_sub(slow_before).saturating_add(slow_after);
        was_slow && !slow
    }

    /// Removes and returns all waiting jobs.
    pub(super) fn clear(&mut self) -> Vec<J> {
        self.waiting.clear();
        let plugins = self.companies.values_mut().flat_map(|company| company.plugins.values_mut());
        plugins.flat_map(|plugin| std::mem::take(&mut plugin.waiting)).collect()
    }

    /// Returns the plugin's rank if one more of its jobs may run now.
    fn candidate(&self, index: usize, account: CallAccount) -> Option<CallCandidate> {
        let company = self.companies.get(&account.company)?;
        let plugin = company.plugins.get(&account.plugin)?;
        let held_back = plugin.slow && self.slow_running >= self.thread_share;
        let may_run = plugin.running < self.thread_share && !held_back;
        may_run.then_some(CallCandidate {
            company_used: company.used,
            plugin_used: plugin.used,
            sequence: plugin.sequence,
            index,
        })
    }

    fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    fn plugin(&mut self, account: CallAccount) -> Option<&mut PluginCalls<J>> {
        self.companies.get_mut(&account.company)?.plugins.get_mut(&account.plugin)
    }

    /// Halves all thread time once per [`HALF_LIFE`] that has passed, and drops idle plugins with a negligible rest.
    fn decay(&mut self, now: Instant) {
        let halvings = now.saturating_duration_since(self.halved_at).as_nanos() / HALF_LIFE.as_nanos();
        if halvings == 0 {
            return;
        }
        self.halved_at = now;
        let divisor = 1_u32 << halvings.min(31);
        self.companies.retain(|_, company| {
            company.used /= divisor;
            company.plugins.retain(|_, plugin| {
                plugin.used /= divisor;
                plugin.running > 0 || !plugin.waiting.is_empty() || plugin.used >= NEGLIGIBLE
            });
            !company.plugins.is_empty()
        });
    }
}

impl<J> Default for CompanyCalls<J> {
    fn default() -> Self {
        Self { used: Duration::ZERO, plugins: HashMap::new() }
    }
}

impl<J> Default for PluginCalls<J> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), running: 0, used: Duration::ZERO, slow: false, sequence: 0 }
    }
}
