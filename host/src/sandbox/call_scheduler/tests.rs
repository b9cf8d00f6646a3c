//! The order in which plugin calls get a thread, without threads and with a clock that the test sets.

use super::*;

const SLOW: Duration = Duration::from_millis(50);

const fn account(company: u64, plugin: u64) -> CallAccount {
    CallAccount { company, plugin }
}

/// A scheduler whose test decides when each call arrives and how long it takes. Jobs are numbered in order of arrival.
struct ScheduledCalls {
    scheduler: CallScheduler<usize>,
    now: Instant,
    pushed: usize,
}

impl ScheduledCalls {
    fn new(threads: usize) -> Self {
        let now = Instant::now();
        Self { scheduler: CallScheduler::new(threads, SLOW, now), now, pushed: 0 }
    }

    /// Queues `count` calls of each account, round robin.
    fn push(&mut self, count: usize, accounts: &[CallAccount]) {
        for _ in 0..count {
            for account in accounts {
                self.scheduler.push(*account, self.pushed);
                self.pushed += 1;
            }
        }
    }

    /// The account whose call gets a free thread.
    fn take(&mut self) -> Option<CallAccount> {
        self.scheduler.take(self.now).map(|(account, _)| account)
    }

    /// Ends a call after `ms`. Returns whether several jobs may run as a consequence.
    fn finish(&mut self, account: CallAccount, ms: u64) -> bool {
        self.scheduler.finish(account, Duration::from_millis(ms))
    }

    /// Runs up to `calls` calls one after the other on one thread, each for as long as `ms` says.
    fn serve(&mut self, calls: usize, ms: impl Fn(CallAccount) -> u64) -> Vec<CallAccount> {
        let mut served = Vec::new();
        while let Some(account) = (served.len() < calls).then(|| self.take()).flatten() {
            self.finish(account, ms(account));
            served.push(account);
        }
        served
    }

    fn remembers(&self, account: CallAccount) -> bool {
        self.scheduler.companies.get(&account.company).is_some_and(|c| c.plugins.contains_key(&account.plugin))
    }
}

#[test]
fn calls_of_one_plugin_run_first_in_first_out() {
    let mut calls = ScheduledCalls::new(1);
    calls.push(5, &[account(1, 1)]);
    let mut order = Vec::new();
    while let Some((account, job)) = calls.scheduler.take(calls.now) {
        calls.finish(account, 1);
        order.push(job);
    }
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn plugins_of_one_company_alternate() {
    let mut calls = ScheduledCalls::new(1);
    calls.push(2, &[account(1, 1), account(1, 1), account(1, 2)]);
    calls.push(1, &[account(1, 3)]);
    let order: Vec<_> = calls.serve(9, |_| 10).into_iter().map(|account| account.plugin).collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
}

#[test]
fn of_plugins_with_equal_thread_time_the_one_that_waits_longest_runs_first() {
    let mut calls = ScheduledCalls::new(4);
    calls.push(2, &[account(1, 7), account(1, 3), account(1, 5)]);
    let order: Vec<_> = (0..6).map(|_| calls.take().unwrap().plugin).collect();
    assert_eq!(order, [7, 3, 5, 7, 3, 5]);
}

#[test]
fn a_company_with_a_hundred_busy_plugins_is_served_after_one_that_calls_rarely() {
    let mut calls = ScheduledCalls::new(1);
    let busy: Vec<_> = (0..100).map(|plugin| account(1, plugin)).collect();
    calls.push(3, &busy);
    calls.serve(1, |_| 100);
    let rare = account(2, 1000);
    for _ in 0..10 {
        calls.push(1, &[rare]);
        assert_eq!(calls.serve(2, |served| if served == rare { 1 } else { 100 })[0], rare);
    }
}

#[test]
fn companies_share_thread_time_rather_than_calls() {
    let mut calls = ScheduledCalls::new(1);
    calls.push(1000, &[account(1, 1), account(2, 2)]);
    let served = calls.serve(440, |account| if account.company == 1 { 40 } else { 1 });
    let count = |company| served.iter().filter(|account| account.company == company).count();
    assert_eq!((count(1), count(2)), (11, 429));
}

#[test]
fn slow_plugins_together_never_hold_the_last_thread() {
    let mut calls = ScheduledCalls::new(3);
    let slow: Vec<_> = (0..5).map(|plugin| account(1, plugin)).collect();
    // The first call of each plugin may take any thread: its speed is unknown yet.
    calls.push(1, &slow);
    calls.serve(5, |_| 100);
    calls.push(9, &slow);
    let running = [calls.take().unwrap(), calls.take().unwrap()];
    assert_eq!(calls.take(), None);
    // A quick plugin of the same company.
    calls.push(1, &[account(1, 7)]);
    assert_eq!(calls.take(), Some(account(1, 7)));
    assert!(!calls.finish(account(1, 7), 1), "a quick plugin that stays quick frees one thread");
    assert!(!calls.finish(running[0], 100), "a slow plugin that stays slow frees one thread");
    assert!(calls.take().is_some());
    assert_eq!(calls.take(), None);
}

#[test]
fn a_call_is_slow_from_exactly_the_threshold() {
    for (ms, is_slow) in [(49, false), (50, true), (51, true)] {
        let mut calls = ScheduledCalls::new(2);
        calls.push(1, &[account(1, 1), account(1, 2)]);
        calls.serve(2, |_| ms);
        calls.push(1, &[account(1, 1), account(1, 2)]);
        assert!(calls.take().is_some());
        assert_eq!(calls.take().is_none(), is_slow, "{ms} ms");
    }
}

#[test]
fn a_plugin_that_becomes_quick_again_may_have_the_last_thread_again() {
    let mut calls = ScheduledCalls::new(2);
    calls.push(4, &[account(1, 1)]);
    calls.push(4, &[account(2, 2)]);
    calls.serve(2, |_| 100);
    let first = calls.take().unwrap();
    assert_eq!(calls.take(), None);
    assert!(calls.finish(first, 1), "two jobs may run now, so more than one thread has to be woken");
    assert!(calls.take().is_some() && calls.take().is_some());
}

#[test]
fn a_plugin_that_becomes_slow_counts_with_all_threads_that_it_holds() {
    let mut calls = ScheduledCalls::new(4);
    let (turning, other, quick) = (account(1, 1), account(1, 2), account(1, 3));
    calls.push(1, &[other]);
    calls.serve(1, |_| 100);
    calls.push(4, &[turning]);
    for _ in 0..3 {
        assert_eq!(calls.take(), Some(turning));
    }
    assert!(!calls.finish(turning, 60), "it was not slow before");
    // Two threads are held by a plugin that is slow now: a third slow call may run, a fourth may not.
    calls.push(2, &[other]);
    assert!(calls.take().is_some());
    assert_eq!(calls.take(), None);
    calls.push(1, &[quick]);
    assert_eq!(calls.take(), Some(quick));
}

#[test]
fn no_plugin_holds_every_thread_even_if_nothing_else_waits() {
    let mut calls = ScheduledCalls::new(3);
    let only = account(1, 1);
    calls.push(9, &[only]);
    assert_eq!([calls.take(), calls.take(), calls.take()], [Some(only), Some(only), None]);
    calls.finish(only, 1);
    assert_eq!([calls.take(), calls.take()], [Some(only), None]);
    let mut calls = ScheduledCalls::new(1);
    calls.push(9, &[only]);
    assert_eq!(calls.serve(3, |_| 100).len(), 3, "a single thread serves every plugin");
}

#[test]
fn thread_time_halves_every_second() {
    let mut calls = ScheduledCalls::new(1);
    calls.push(1, &[account(1, 1)]);
    calls.serve(1, |_| 400);
    calls.now += HALF_LIFE - Duration::from_nanos(1);
    assert_eq!(calls.take(), None);
    assert_eq!(calls.scheduler.companies[&1].used, Duration::from_millis(400), "not yet");
    calls.now += Duration::from_nanos(1);
    assert_eq!(calls.take(), None);
    assert_eq!(calls.scheduler.companies[&1].used, Duration::from_millis(200));
    assert_eq!(calls.scheduler.companies[&1].plugins[&1].used, Duration::from_millis(200));
    calls.now += HALF_LIFE * 3;
    assert_eq!(calls.take(), None);
    assert_eq!(calls.scheduler.companies[&1].used, Duration::from_millis(25));
    assert_eq!(calls.take(), None);
    assert_eq!(calls.scheduler.companies[&1].used, Duration::from_millis(25), "once for each second");
}

#[test]
fn thread_time_of_the_distant_past_has_no_influence() {
    let mut calls = ScheduledCalls::new(1);
    calls.push(1, &[account(1, 1)]);
    calls.serve(1, |_| 100);
    calls.now += Duration::from_secs(60);
    calls.push(1, &[account(1, 1), account(2, 2)]);
    assert_eq!(calls.serve(2, |_| 1), [account(1, 1), account(2, 2)]);
}

#[test]
fn an_idle_plugin_is_forgotten_once_its_thread_time_is_negligible() {
    let mut calls = ScheduledCalls::new(4);
    let [idle, recent, running, waiting] = [1, 2, 3, 4].map(|plugin| account(plugin, plugin));
    calls.push(1, &[idle, recent, running]);
    for (account, ms) in [(idle, Some(1)), (recent, Some(2)), (running, None)] {
        assert_eq!(calls.take(), Some(account));
        if let Some(ms) = ms {
            calls.finish(account, ms);
        }
    }
    calls.push(4, &[waiting]);
    for _ in 0..3 {
        assert_eq!(calls.take(), Some(waiting));
        calls.finish(waiting, 0);
    }
    calls.scheduler.decay(calls.now + HALF_LIFE);
    let remembered = [idle, recent, running, waiting].map(|account| calls.remembers(account));
    assert_eq!(remembered, [false, true, true, true]);
    assert!(!calls.scheduler.companies.contains_key(&idle.company), "nor is a company without plugins kept");
    calls.finish(running, 0);
    assert_eq!(calls.serve(9, |_| 0), [waiting]);
    calls.scheduler.decay(calls.now + HALF_LIFE * 9);
    assert!(calls.scheduler.companies.is_empty());
}

#[test]
fn clearing_returns_every_waiting_job_and_leaves_none() {
    let mut calls = ScheduledCalls::new(1);
    calls.push(2, &[account(1, 1), account(1, 2), account(2, 3)]);
    assert!(calls.take().is_some());
    let mut cleared = calls.scheduler.clear();
    cleared.sort_unstable();
    assert_eq!(cleared, [1, 2, 3, 4, 5]);
    assert_eq!(calls.take(), None);
}
