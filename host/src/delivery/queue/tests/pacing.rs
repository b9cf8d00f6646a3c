//! Rate limits, probes, and the timers behind both.

use super::super::pace::Pace;
use super::super::timers::Timers;
use super::*;

#[test]
fn a_rate_limit_holds_over_every_second() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = Webhook { rate_limit: RateLimit::parse("5/s").ok(), ..webhook("a", 99) };
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 40));
    let mut starts = Vec::new();
    while clock.elapsed() < 4 * SECOND {
        while take(&queues).is_some() {
            starts.push(clock.elapsed());
        }
        let (_, next) = queues.open_due();
        clock.advance(next.expect("the queue is closed, so it opens") - clock.now());
        let _ = queues.open_due();
    }
    assert!((20..=21).contains(&starts.len()), "{starts:?}");
    assert!(starts.windows(6).all(|six| six[5] - six[0] >= SECOND), "{starts:?}");
}

#[test]
fn a_failing_receiver_is_probed_and_has_all_its_slots_back_after_one_success() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = webhook("a", 8);
    let (mut number, mut attempts) = (0, Vec::new());
    while clock.elapsed() < 600 * SECOND {
        number += 1;
        offer(&queues, &hook, vec![delivery("c", "a", number)]);
        while let Some(delivery) = take(&queues) {
            attempts.push(clock.elapsed());
            judge(&queues, &delivery, ReceiverSignal::NoResponse);
            end(&queues, &delivery, true);
        }
        clock.advance(100 * MILLISECOND);
        let _ = queues.open_due();
    }
    let of = |from, to| attempts.iter().filter(|at| (from..to).contains(&at.as_secs())).count();
    assert!(of(0, 5) >= 48 && of(6, 60) < 30 && (9..=11).contains(&of(300, 600)), "{attempts:?}");
    clock.advance(31 * SECOND);
    let _ = queues.open_due();
    let probe = take(&queues).unwrap();
    assert!(queues.take().is_none());
    judge(&queues, &probe, ReceiverSignal::Accepted);
    end(&queues, &probe, false);
    assert_eq!(take_all(&queues).len(), 8);
}

#[test]
fn a_pace_spaces_attempts_and_lets_only_fast_ones_catch_up() {
    let start = Instant::now();
    let at = |ms: u32| start + ms * MILLISECOND;
    // 1 ms between two, less than timers are late: attempts up to 10 ms late are made up for.
    let mut pace = Pace::new(RateLimit::per_second(1000).ok());
    pace.attempt_began(at(0));
    assert_eq!(pace.next_at(), Some(at(1)));
    assert!(!pace.allows(at(0)) && pace.allows(at(1)));
    pace.attempt_began(at(5));
    assert_eq!(pace.next_at(), Some(at(2)));
    pace.attempt_began(at(50));
    assert_eq!(pace.next_at(), Some(at(41)));
    // 10 ms and more between two: the distance is kept.
    let mut pace = Pace::new(RateLimit::per_second(100).ok());
    pace.attempt_began(at(0));
    pace.attempt_began(at(15));
    assert_eq!(pace.next_at(), Some(at(25)));
    pace.attempt_began(at(20));
    assert_eq!(pace.next_at(), Some(at(35)));
    pace.set_rate(None);
    pace.attempt_began(at(36));
    assert_eq!(pace.next_at(), Some(at(35)));
    pace.reset();
    assert!(pace.next_at().is_none() && pace.allows(at(0)));
    pace.set_rate(RateLimit::parse("5/h").ok());
    pace.attempt_began(at(0));
    assert_eq!(pace.next_at(), Some(at(720_000)));
}

#[test]
fn a_slow_rate_sends_one_at_once_and_the_next_in_its_time() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = Webhook { rate_limit: RateLimit::parse("5/h").ok(), ..webhook("a", 32) };
    offer(&queues, &hook, deliveries("a", 3));
    let first = take(&queues).unwrap();
    judge(&queues, &first, ReceiverSignal::Accepted);
    end(&queues, &first, false);
    assert_eq!(queues.open_due().1, Some(clock.now() + 720 * SECOND));
    clock.advance(719 * SECOND);
    let _ = queues.prune();
    assert!(queues.take().is_none() && queues.longest_wait().is_none(), "it is not stuck");
    clock.advance(SECOND);
    assert!(queues.open_due().0.start_worker);
    assert_eq!(ids(take_all(&queues)), ["a-1"]);
    // The pace outlasts an empty queue.
    let idle = Webhook { rate_limit: RateLimit::parse("5/h").ok(), ..webhook("b", 32) };
    offer(&queues, &idle, deliveries("b", 1));
    let only = take(&queues).unwrap();
    end(&queues, &only, false);
    let _ = queues.prune();
    offer(&queues, &idle, vec![delivery("c", "b", 7)]);
    assert!(queues.take().is_none());
}

#[test]
fn a_slow_webhook_holds_in_memory_only_what_it_sends_soon() {
    let held = |rate_limit: Option<RateLimit>| {
        let (_, queues) = TestClock::with_queues(99);
        let hook = Webhook { rate_limit, ..webhook("a", 32) };
        2_000 - offer(&queues, &hook, deliveries("a", 2_000)).len()
    };
    assert_eq!(held(None), BUFFER);
    for (rate, expected) in [("100/s", BUFFER), ("1/s", 300), ("30/min", 150), ("5/h", 4)] {
        assert_eq!(held(RateLimit::parse(rate).ok()), expected, "{rate}");
    }
}

#[test]
fn a_changed_rate_limit_holds_from_the_next_attempt_on() {
    let (clock, queues) = TestClock::with_queues(99);
    offer(&queues, &rate_limited_webhook("a", 1), deliveries("a", 9));
    take(&queues).unwrap();
    assert!(queues.take().is_none());
    let _ = queues.webhook_changed(&rate_limited_webhook("a", 2));
    take(&queues).unwrap();
    assert!(queues.take().is_none());
    clock.advance(SECOND / 2);
    assert!(queues.open_due().0.start_worker);
    assert_eq!(take_all(&queues).len(), 1);
}

#[test]
fn timers_come_in_the_order_of_time_and_report_the_one_before_all_others() {
    let start = Instant::now();
    let mut timers = Timers::default();
    assert!(timers.first().is_none() && !timers.take_brought_forward());
    for (seconds, brought_forward) in [(5, true), (7, false), (5, false), (3, true)] {
        timers.set(start + seconds * SECOND, format!("w{seconds}").as_str().into());
        assert_eq!(timers.take_brought_forward(), brought_forward, "{seconds}");
        assert!(!timers.take_brought_forward(), "it is reported once");
    }
    for seconds in [2, 1] {
        timers.set(start + seconds * SECOND, "w".into());
    }
    assert!(timers.take_brought_forward(), "both came before all others");
    (0..2).for_each(|_| timers.remove_first());
    let order = [(); 4].map(|()| {
        let (at, webhook) = timers.first().unwrap();
        timers.remove_first();
        (at - start, webhook.to_string())
    });
    assert_eq!(order.each_ref().map(|(at, _)| at.as_secs()), [3, 5, 5, 7]);
    assert_eq!((order[0].1.as_str(), timers.first()), ("w3", None));
}

#[test]
fn a_timer_before_all_others_is_reported_so_that_it_is_not_slept_over() {
    let (clock, queues) = TestClock::with_queues(99);
    assert!(!timer_was_brought_forward(&queues));
    offer(&queues, &rate_limited_webhook("slow", 1), deliveries("slow", 2));
    take(&queues).unwrap();
    assert!(timer_was_brought_forward(&queues), "the first timer");
    let (effects, next) = queues.open_due();
    assert_eq!((effects.start_worker, next), (false, Some(clock.now() + SECOND)));
    offer(&queues, &rate_limited_webhook("fast", 10), deliveries("fast", 2));
    take(&queues).unwrap();
    assert!(timer_was_brought_forward(&queues), "the second ends before it");
    assert_eq!(queues.open_due().1, Some(clock.now() + SECOND / 10));
    offer(&queues, &rate_limited_webhook("slower", 2), deliveries("slower", 2));
    take(&queues).unwrap();
    assert!(!timer_was_brought_forward(&queues), "the third does not");
    clock.advance(SECOND / 10);
    let (effects, next) = queues.open_due();
    assert_eq!((effects.start_worker, next), (true, Some(clock.now() + SECOND * 4 / 10)));
    assert_eq!(ids(take_all(&queues)), ["fast-1"]);
    clock.advance(SECOND);
    assert_eq!(queues.open_due().1, None);
    assert_eq!(take_all(&queues).len(), 2);
}

#[test]
fn a_timer_that_the_answer_names_is_not_reported_besides() {
    let (clock, queues) = TestClock::with_queues(99);
    offer(&queues, &rate_limited_webhook("a", 1), deliveries("a", 9));
    take(&queues).unwrap();
    assert!(timer_was_brought_forward(&queues));
    // The pace is reset; the old timer is no longer in force once a new one is set.
    clock.advance(SECOND / 2);
    let _ = queues.webhook_changed(&rate_limited_webhook("a", 4));
    take(&queues).unwrap();
    assert!(timer_was_brought_forward(&queues));
    assert_eq!(queues.open_due().1, Some(clock.now() + SECOND / 4));
    clock.advance(SECOND);
    assert_eq!(queues.open_due().1, None);
    assert!(!timer_was_brought_forward(&queues));
}

#[test]
fn a_queue_waits_for_the_later_of_its_pace_and_its_probe() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = rate_limited_webhook("a", 1);
    for failures in 1..=20 {
        clock.advance(30 * SECOND);
        offer(&queues, &hook, vec![delivery("c", "a", 0), delivery("c", "a", 1)]);
        let taken = take(&queues).unwrap();
        judge(&queues, &taken, ReceiverSignal::NoResponse);
        end(&queues, &taken, true);
        assert!(queues.take().is_none());
        let wait = if failures < 16 { SECOND } else { 30 * SECOND };
        assert_eq!(queues.open_due().1, Some(clock.now() + wait), "{failures}");
    }
}
