//! The health of a receiver.

use super::super::receiver_health::{REMEMBERED, ReceiverHealth, SILENT_AFTER};
use super::*;

fn unproven() -> ReceiverHealth {
    ReceiverHealth::new(&webhook("a", 1))
}

fn fail(health: &mut ReceiverHealth, start: Instant, at: Duration) -> FailureStreak {
    let ms = i64::try_from(at.as_millis()).unwrap();
    health.attempt_ended(ReceiverSignal::NoResponse, start + at, ms).unwrap()
}

#[test]
fn a_receiver_is_probed_after_many_failures_over_some_time_and_healthy_after_one_success() {
    let (start, mut health) = (Instant::now(), unproven());
    for _ in 0..100 {
        fail(&mut health, start, 4 * SECOND);
    }
    assert_eq!(health.opens_at(true), None);
    fail(&mut health, start, 9 * SECOND);
    assert_eq!(health.opens_at(true), Some(start + 10 * SECOND));
    fail(&mut health, start, 84 * SECOND);
    assert_eq!(health.opens_at(true), Some(start + 94 * SECOND));
    let streak = fail(&mut health, start, 4000 * SECOND);
    assert_eq!((health.opens_at(true), streak.since_ms), (Some(start + 4030 * SECOND), 4000));
    assert_eq!(health.attempt_ended(ReceiverSignal::Accepted, start, 0), None);
    assert!(health.opens_at(true).is_none() && health.is_healthy() && !health.is_silent());
}

#[test]
fn first_attempts_are_probes_only_if_the_receiver_is_silent() {
    let (start, mut health) = (Instant::now(), unproven());
    for second in 0..20 {
        health.attempt_ended(ReceiverSignal::Overloaded, start + second * SECOND, 0);
    }
    assert_eq!((health.opens_at(false), health.opens_at(true), health.is_only_probed()), (None, None, false));
    health.retry_began(start + 20 * SECOND);
    // A first attempt that fails meanwhile postpones no retry.
    health.attempt_ended(ReceiverSignal::Overloaded, start + 21 * SECOND, 0);
    assert_eq!((health.opens_at(false), health.opens_at(true)), (None, Some(start + 22_625 * MILLISECOND)));
    for _ in 0..SILENT_AFTER {
        assert!(!health.is_only_probed());
        fail(&mut health, start, 22 * SECOND);
    }
    let next = Some(start + 24_750 * MILLISECOND);
    assert_eq!((health.opens_at(false), health.opens_at(true), health.is_only_probed()), (next, next, true));
}

#[test]
fn refusals_and_plugin_failures_never_lead_to_probing() {
    let (start, mut health) = (Instant::now(), unproven());
    for second in 0..100 {
        health.attempt_ended(ReceiverSignal::Refused, start + second * SECOND, 0);
    }
    assert!(health.opens_at(true).is_none() && !health.is_silent());
    for second in 100..115 {
        fail(&mut health, start, second * SECOND);
        health.attempt_ended(ReceiverSignal::PluginFailed, start + second * SECOND, 0);
    }
    assert!(health.opens_at(true).is_none() && health.is_silent(), "a plugin failure says nothing about the receiver");
    fail(&mut health, start, 115 * SECOND);
    assert!(health.opens_at(true).is_some());
    health.attempt_ended(ReceiverSignal::Refused, start + 116 * SECOND, 0);
    assert!(health.opens_at(true).is_none() && !health.is_silent(), "it answers");
}

#[test]
fn probing_takes_sixteen_failures() {
    let (start, mut health) = (Instant::now(), unproven());
    for _ in 0..15 {
        fail(&mut health, start, Duration::ZERO);
        fail(&mut health, start, 10 * SECOND);
        health.attempt_requested();
    }
    for number in 1..=16 {
        assert_eq!(health.opens_at(true), None, "{number}");
        fail(&mut health, start, 10 * SECOND);
    }
    assert_eq!(health.opens_at(true), Some(start + 11250 * MILLISECOND));
    health.attempt_requested();
    assert_eq!(health.opens_at(true), None, "the next attempt does not wait");
}

#[test]
fn failures_are_logged_once_a_minute_with_their_number() {
    let (start, mut health) = (Instant::now(), unproven());
    let logged: Vec<_> =
        (0..130).filter_map(|second| fail(&mut health, start, second * SECOND).failures_to_log).collect();
    assert_eq!(logged, [1, 60, 60]);
}

#[test]
fn a_receiver_that_fails_now_and_then_is_logged_no_more_often() {
    let (start, mut health) = (Instant::now(), unproven());
    let mut logged = Vec::new();
    for tenth in 0..1300 {
        logged.extend(fail(&mut health, start, 100 * tenth * MILLISECOND).failures_to_log);
        health.attempt_ended(ReceiverSignal::Accepted, start, 0);
        assert!(!health.is_forgettable(start + 100 * tenth * MILLISECOND));
    }
    assert_eq!(logged, [1, 600, 600]);
    assert!(health.is_forgettable(start + 180 * SECOND));
}

#[test]
fn an_attempt_that_did_not_reach_the_receiver_changes_nothing() {
    let (start, mut health) = (Instant::now(), unproven());
    for _ in 0..SILENT_AFTER {
        assert!(!health.is_silent());
        fail(&mut health, start, Duration::ZERO);
    }
    assert_eq!(health.attempt_ended(ReceiverSignal::Nothing, start, 0), None);
    assert!(health.is_silent() && !health.is_forgettable(start + REMEMBERED));
    assert!(health.is_forgettable(start + REMEMBERED + SECOND));
}

#[test]
fn an_answer_ends_silence_but_not_the_streak() {
    let (start, mut health) = (Instant::now(), unproven());
    for second in 1..=SILENT_AFTER {
        fail(&mut health, start, second * SECOND);
    }
    assert!(health.is_silent());
    let streak = health.attempt_ended(ReceiverSignal::Overloaded, start + 9 * SECOND, 9000).unwrap();
    assert_eq!((streak.since_ms, health.is_silent(), health.is_healthy()), (1000, false, false));
}

#[test]
fn stored_health_is_taken_over() {
    let known = |failing_since, proven| {
        let health = ReceiverHealth::new(&Webhook { failing_since, proven, ..webhook("a", 1) });
        (health.is_healthy(), health.is_silent())
    };
    assert_eq!([known(None, false), known(None, true)], [(false, false), (true, false)]);
    assert_eq!([known(Some(0), false), known(Some(0), true)], [(false, true), (false, true)]);
}

#[test]
fn the_health_of_a_changed_webhook_is_unknown_but_its_log_stays_throttled() {
    let (start, mut health) = (Instant::now(), unproven());
    assert_eq!(fail(&mut health, start, Duration::ZERO).failures_to_log, Some(1));
    health.webhook_changed();
    assert!(!health.is_healthy() && !health.is_silent() && health.opens_at(true).is_none());
    assert_eq!(fail(&mut health, start, SECOND), FailureStreak { since_ms: 1000, failures_to_log: None });
}

#[test]
fn judging_tells_the_streak_and_closes_the_queue_between_probes() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = webhook("a", 8);
    offer(&queues, &hook, retries("a", 30));
    let taken = take(&queues).unwrap();
    for _ in 0..8 {
        clock.advance(SECOND);
        let (streak, effects) = queues.judge(&taken, ReceiverSignal::Overloaded, 7);
        assert_eq!(streak.unwrap().since_ms, 7);
        assert!(!effects.start_worker && !effects.wake_fetcher && effects.give_back.is_empty());
        judge(&queues, &taken, ReceiverSignal::Overloaded);
    }
    end(&queues, &taken, true);
    // The pause begins with the retry that began last.
    assert_eq!(take_all(&queues).len(), 1);
    assert_eq!(queues.open_due().1, Some(clock.now() + SECOND));
    clock.advance(SECOND);
    assert!(queues.open_due().0.start_worker);
    assert_eq!(take_all(&queues).len(), 1);
    // A first attempt does not wait for a probe.
    offer(&queues, &hook, deliveries("a", 40).split_off(30));
    assert_eq!(take_all(&queues).len(), 6, "as many as there are slots");
    assert_eq!(judge(&queues, &delivery("c", "nobody", 0), ReceiverSignal::Overloaded), None);
}

#[test]
fn retries_and_first_attempts_take_turns() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    offer(&queues, &hook, retries("a", 3));
    offer(&queues, &hook, deliveries("a", 6).split_off(3));
    let order: Vec<_> = std::iter::from_fn(|| {
        let taken = take(&queues)?;
        end(&queues, &taken, false);
        Some(taken.id)
    })
    .collect();
    assert_eq!(order, ["a-3", "a-0", "a-4", "a-1", "a-5", "a-2"]);
}
