//! Whose turn it is: a slow plugin delays its own calls and no others; and nothing hangs when callers, work or the
//! sandbox go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::domain::plugin::{Failure, Outcome};
use crate::sandbox::pool::Pool;
use crate::sandbox::turns::{Account, Turns};
use crate::sandbox::{Limits, Sandbox};

use super::event;
use super::guest::{Guest, LOOP};

#[tokio::test]
async fn a_looping_plugin_never_holds_every_thread() {
    let limits = Limits { threads: 2, deadline: Duration::from_secs(1), ..Limits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let looping = Guest::transforming(LOOP).compile(&sandbox).unwrap();
    let fine = Guest::default().compile(&sandbox).unwrap();
    let stuck: Vec<_> = (0..20)
        .map(|_| {
            let (sandbox, looping) = (sandbox.clone(), looping.clone());
            tokio::spawn(async move { sandbox.transform(&looping, event(), "null".into()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for _ in 0..10 {
        assert_eq!(sandbox.transform(&fine, event(), "null".into()).await.result, Ok(Outcome::Pass));
    }
    // Twenty loops take twenty seconds on the one thread that they get: most must still be waiting.
    assert!(stuck.iter().filter(|task| !task.is_finished()).count() > 10);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Occupies the only thread of `pool` until the sender is dropped.
async fn occupy(pool: &Arc<Pool>) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel();
    let (entered, wait) = tokio::sync::oneshot::channel();
    let busy = Arc::clone(pool);
    tokio::spawn(async move {
        let work = move || {
            let _ = entered.send(());
            let _ = held.recv();
        };
        busy.run("c", 0, work).await
    });
    wait.await.unwrap();
    release
}

const SLOW: Duration = Duration::from_millis(50);

/// Turns without threads: the test says who asks and how long each call takes.
struct Table {
    turns: Turns<()>,
    now: Instant,
}

impl Table {
    fn new(threads: usize) -> Self {
        let now = Instant::now();
        Self { turns: Turns::new(threads, SLOW, now), now }
    }

    /// Queues `count` calls of each `(company, plugin)`.
    fn ask(&mut self, count: usize, accounts: &[(u64, u64)]) {
        for _ in 0..count {
            for (company, plugin) in accounts {
                self.turns.push(Account { company: *company, plugin: *plugin }, ());
            }
        }
    }

    /// Whose call is given a thread.
    fn take(&mut self) -> Option<(u64, u64)> {
        self.turns.take(self.now).map(|(account, ())| (account.company, account.plugin))
    }

    fn finish(&mut self, (company, plugin): (u64, u64), ms: u64) {
        self.turns.finish(Account { company, plugin }, Duration::from_millis(ms));
    }

    /// One call after the other on one thread, each taking `ms`.
    fn serve(&mut self, calls: usize, ms: impl Fn((u64, u64)) -> u64) -> Vec<(u64, u64)> {
        let mut served = Vec::new();
        while let Some(account) = (served.len() < calls).then(|| self.take()).flatten() {
            self.finish(account, ms(account));
            served.push(account);
        }
        served
    }
}

#[test]
fn plugins_of_one_company_take_turns() {
    let mut table = Table::new(1);
    table.ask(2, &[(1, 1), (1, 1), (1, 2)]);
    table.ask(1, &[(1, 3)]);
    let order: Vec<_> = table.serve(9, |_| 10).into_iter().map(|(_, plugin)| plugin).collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
}

#[test]
fn a_company_with_a_hundred_busy_plugins_comes_after_one_that_calls_now_and_then() {
    let mut table = Table::new(1);
    let busy: Vec<_> = (0..100).map(|plugin| (1, plugin)).collect();
    table.ask(3, &busy);
    table.serve(1, |_| 100);
    for _ in 0..10 {
        table.ask(1, &[(2, 1000)]);
        assert_eq!(table.serve(2, |(company, _)| if company == 2 { 1 } else { 100 })[0], (2, 1000));
    }
}

#[test]
fn companies_share_time_and_not_calls() {
    let mut table = Table::new(1);
    table.ask(1000, &[(1, 1), (2, 2)]);
    let quick = table.serve(440, |(company, _)| if company == 1 { 40 } else { 1 });
    let calls = |company| quick.iter().filter(|account| account.0 == company).count();
    assert_eq!((calls(1), calls(2)), (11, 429));
}

#[test]
fn slow_plugins_together_never_hold_the_last_thread() {
    let mut table = Table::new(3);
    let slow: Vec<_> = (0..5).map(|plugin| (1, plugin)).collect();
    // The first call of each may take any thread: nothing is known of it yet.
    table.ask(1, &slow);
    table.serve(5, |_| 100);
    table.ask(9, &slow);
    let running = [table.take().unwrap(), table.take().unwrap()];
    assert_eq!(table.take(), None);
    // Of the same company, and not slow.
    table.ask(1, &[(1, 7)]);
    assert_eq!(table.take(), Some((1, 7)));
    table.finish((1, 7), 1);
    table.finish(running[0], 100);
    assert!(table.take().is_some());
    assert_eq!(table.take(), None);
}

#[test]
fn a_slow_plugin_that_is_quick_again_may_have_the_last_thread_again() {
    let mut table = Table::new(2);
    table.ask(4, &[(1, 1)]);
    table.ask(4, &[(2, 2)]);
    table.serve(2, |_| 100);
    let first = table.take().unwrap();
    assert_eq!(table.take(), None);
    assert!(table.turns.finish(Account { company: first.0, plugin: first.1 }, Duration::from_millis(1)));
    assert!(table.take().is_some() && table.take().is_some());
}

#[test]
fn no_plugin_holds_every_thread_even_if_nothing_else_waits() {
    let mut table = Table::new(3);
    table.ask(9, &[(1, 1)]);
    assert_eq!([table.take(), table.take(), table.take()], [Some((1, 1)), Some((1, 1)), None]);
    let mut table = Table::new(1);
    table.ask(9, &[(1, 1)]);
    assert_eq!(table.serve(3, |_| 100).len(), 3, "the only thread is there for everyone");
}

#[test]
fn what_was_used_long_ago_counts_no_more() {
    let mut table = Table::new(1);
    table.ask(1, &[(1, 1)]);
    table.serve(1, |_| 100);
    table.now += Duration::from_secs(60);
    table.ask(1, &[(1, 1), (2, 2)]);
    assert_eq!(table.serve(2, |_| 1), [(1, 1), (2, 2)]);
}

#[tokio::test]
async fn work_is_skipped_when_its_caller_has_gone() {
    let pool = Arc::new(Pool::start(1, SLOW).unwrap());
    let release = occupy(&pool).await;
    let ran = Arc::new(AtomicBool::new(false));
    let (gone, seen) = (Arc::clone(&pool), Arc::clone(&ran));
    let caller = tokio::spawn(async move { gone.run("c", 1, move || seen.store(true, Ordering::SeqCst)).await });
    tokio::task::yield_now().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(release);
    assert_eq!(pool.run("c", 1, || 7).await, Some(7));
    assert!(!ran.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_panic_reaches_its_caller_and_no_one_else() {
    let pool = Pool::start(1, SLOW).unwrap();
    assert_eq!(pool.run("c", 1, || panic!("on purpose")).await, None::<()>);
    let next = tokio::time::timeout(Duration::from_secs(20), pool.run("c", 1, || 7)).await;
    assert_eq!(next, Ok(Some(7)), "the thread has died");
}

#[tokio::test]
async fn waiting_callers_are_told_when_the_pool_goes() {
    let pool = Arc::new(Pool::start(1, SLOW).unwrap());
    let (release, held) = mpsc::channel::<()>();
    let (reply, answer) = tokio::sync::oneshot::channel::<()>();
    // A job that holds a reply and is never run: dropped with the pool.
    let shared = Arc::downgrade(&pool);
    let work = move || {
        let _ = held.recv();
        drop(reply);
    };
    let running = tokio::spawn(async move { shared.upgrade().unwrap().run("c", 0, work).await });
    tokio::task::yield_now().await;
    running.abort();
    drop(release);
    drop(pool);
    assert!(answer.await.is_err());
}

#[tokio::test]
async fn every_thread_ends_after_the_last_clone_and_a_running_loop_at_its_deadline() {
    let limits = Limits { threads: 2, deadline: Duration::from_millis(50), ..Limits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let looping = Guest::transforming(LOOP).compile(&sandbox).unwrap();
    let caller = Arc::downgrade(&sandbox.0.caller);
    let call = {
        let (sandbox, looping) = (sandbox.clone(), looping.clone());
        tokio::spawn(async move { sandbox.transform(&looping, event(), "null".into()).await.result })
    };
    tokio::task::yield_now().await;
    drop(sandbox);
    assert!(matches!(call.await.unwrap(), Err(Failure::Broke(text)) if text.contains("deadline: 50ms allowed")));
    while caller.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}
