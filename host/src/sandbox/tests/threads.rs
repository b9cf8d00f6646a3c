//! The threads: a slow plugin delays its own calls only, and nothing hangs if callers, jobs or the sandbox disappear.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::domain::plugin::{Failure, Outcome};
use crate::sandbox::thread_pool::ThreadPool;
use crate::sandbox::{Limits, Sandbox};

use super::event;
use super::guest::{Guest, LOOP};

#[tokio::test]
async fn a_looping_plugin_never_holds_every_thread() {
    let limits = Limits { threads: 2, deadline: Duration::from_secs(10), ..Limits::default() };
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
    // Twenty loops take 200 seconds on the one thread that they get: most must still be waiting.
    assert!(stuck.iter().filter(|task| !task.is_finished()).count() > 10);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Occupies the only thread of `pool` until the sender is dropped.
async fn occupy(pool: &Arc<ThreadPool>) -> mpsc::Sender<()> {
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

/// Long enough that no call in these tests is slow.
const SLOW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_job_whose_caller_has_gone_is_skipped() {
    let pool = Arc::new(ThreadPool::start(1, SLOW).unwrap());
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
async fn a_panic_fails_its_own_call_only() {
    let pool = ThreadPool::start(1, SLOW).unwrap();
    assert_eq!(pool.run("c", 1, || panic!("on purpose")).await, None::<()>);
    let next = tokio::time::timeout(Duration::from_secs(20), pool.run("c", 1, || 7)).await;
    assert_eq!(next, Ok(Some(7)), "the thread must survive the panic");
}

#[tokio::test]
async fn waiting_jobs_are_dropped_with_the_pool() {
    let pool = Arc::new(ThreadPool::start(1, SLOW).unwrap());
    let (release, held) = mpsc::channel::<()>();
    let (reply, answer) = tokio::sync::oneshot::channel::<()>();
    // A job that holds a reply and never runs: it is dropped with the pool.
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
async fn threads_end_after_the_last_clone_and_a_running_loop_at_its_deadline() {
    let limits = Limits { threads: 2, deadline: Duration::from_millis(50), ..Limits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let looping = Guest::transforming(LOOP).compile(&sandbox).unwrap();
    let runner = Arc::downgrade(&sandbox.0.runner);
    let call = {
        let (sandbox, looping) = (sandbox.clone(), looping.clone());
        tokio::spawn(async move { sandbox.transform(&looping, event(), "null".into()).await.result })
    };
    tokio::task::yield_now().await;
    drop(sandbox);
    assert!(matches!(call.await.unwrap(), Err(Failure::Broke(text)) if text.contains("deadline: 50ms allowed")));
    while runner.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}
