//! The consequences of each kind of attempt.

use std::sync::Arc;

use super::*;
use crate::delivery::attempt::AttemptReport;
use crate::delivery::queue::HeldEvent;
use crate::delivery::queue::{AttemptClass, ReceiverSignal};
use crate::domain::event::Event;

const NOW: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// Three attempts: waits of 10 s and 100 s.
fn schedule() -> Schedule {
    Schedule::new(vec![Duration::from_secs(10), Duration::from_secs(100)]).unwrap()
}

fn delivery(attempt_count: u32, attempt_base: u32) -> QueuedDelivery {
    let event = Event {
        id: "evt_1".into(),
        event_type: "t".into(),
        company: "acme".into(),
        occurred_at: 0,
        headers: Vec::new(),
        data: bytes::Bytes::new(),
    };
    QueuedDelivery {
        id: "dlv_1".into(),
        webhook_id: "wh_1".into(),
        lease: None,
        attempt_count,
        attempt_base,
        event: HeldEvent::Whole(Arc::new(event)),
        class: AttemptClass::Unproven,
        attempt: 0,
    }
}

fn rejected(retry_after_s: Option<u64>) -> AttemptOutcome {
    AttemptOutcome::Rejected { rejection: Rejection::Refused, retry_after: retry_after_s.map(Duration::from_secs) }
}

const LOOP: AttemptOutcome = AttemptOutcome::Rejected { rejection: Rejection::Loop, retry_after: None };
const GONE: AttemptOutcome = AttemptOutcome::Rejected { rejection: Rejection::Gone, retry_after: None };
const DISABLE_REQUESTED: AttemptOutcome =
    AttemptOutcome::Rejected { rejection: Rejection::DisableRequested, retry_after: None };
const ABORTED: AttemptOutcome = AttemptOutcome::Rejected { rejection: Rejection::Aborted, retry_after: None };
const THROTTLED: AttemptOutcome = AttemptOutcome::Rejected { rejection: Rejection::Throttled, retry_after: None };

/// The step after attempt `number`, with the middle of the jitter.
fn step(outcome: &AttemptOutcome, number: u32) -> NextStep {
    next_step(&schedule(), &delivery(number - 1, 0), outcome, &|| 0.5, NOW)
}

fn due_after(seconds: f64) -> NextStep {
    let due = Some(NOW + whole_ms(Duration::from_secs_f64(seconds)));
    NextStep { status: Status::Pending, due, attempt_base: 0 }
}

fn ended(status: Status) -> NextStep {
    NextStep { status, due: None, attempt_base: 0 }
}

#[test]
fn success_filter_and_gone_end_the_delivery() {
    assert_eq!(step(&AttemptOutcome::Delivered, 1), ended(Status::Delivered));
    assert_eq!(step(&AttemptOutcome::Filtered, 1), ended(Status::Filtered));
    assert_eq!(step(&GONE, 1), ended(Status::Failed));
}

#[test]
fn every_other_failure_follows_the_schedule_to_its_end() {
    for outcome in [rejected(None), AttemptOutcome::NoResponse, AttemptOutcome::HostError] {
        assert_eq!(step(&outcome, 1), due_after(10.0), "{outcome:?}");
        assert_eq!(step(&outcome, 2), due_after(100.0), "{outcome:?}");
        assert_eq!(step(&outcome, 3), ended(Status::Failed), "{outcome:?}");
    }
}

#[test]
fn twentieth_failure_of_the_default_schedule_is_the_last() {
    let schedule = Schedule::new(vec![Duration::from_secs(5); 19]).unwrap();
    let step = |number: u32| next_step(&schedule, &delivery(number - 1, 0), &rejected(None), &|| 0.5, NOW);
    assert_eq!(step(19), due_after(5.0));
    assert_eq!(step(20), ended(Status::Failed));
}

#[test]
fn only_a_delivery_whose_schedule_is_used_up_is_exhausted() {
    let exhausted = |outcome: &AttemptOutcome, number| is_exhausted(step(outcome, number), outcome);
    for outcome in [rejected(None), AttemptOutcome::NoResponse, AttemptOutcome::HostError] {
        assert!(!exhausted(&outcome, 2) && exhausted(&outcome, 3), "{outcome:?}");
    }
    let others = [AttemptOutcome::Delivered, AttemptOutcome::Filtered, GONE, LOOP, ABORTED, DISABLE_REQUESTED];
    assert!(others.iter().all(|outcome| !exhausted(outcome, 3)));
}

#[test]
fn replay_begins_the_schedule_again() {
    let step = |count, base| next_step(&schedule(), &delivery(count, base), &rejected(None), &|| 0.5, NOW);
    let later = |step| NextStep { attempt_base: 20, ..step };
    assert_eq!(step(20, 20), later(due_after(10.0)));
    assert_eq!(step(22, 20), later(ended(Status::Failed)));
}

#[test]
fn retry_after_lengthens_the_wait_with_its_own_spread_and_never_shortens_it() {
    assert_eq!(step(&rejected(Some(5)), 1), due_after(10.0));
    assert_eq!(step(&rejected(Some(60)), 1), due_after(63.0));
    let latest = next_step(&schedule(), &delivery(0, 0), &rejected(Some(60)), &|| 0.999_999, NOW);
    assert!((NOW + 65_900..=NOW + 66_000).contains(&latest.due.unwrap()), "{latest:?}");
    let earliest = next_step(&schedule(), &delivery(0, 0), &rejected(Some(60)), &|| 0.0, NOW);
    assert_eq!(earliest, due_after(60.0));
    assert_eq!(step(&rejected(Some(60)), 3), ended(Status::Failed), "the schedule is exhausted all the same");
}

#[test]
fn failing_plugin_is_retried_and_a_plugin_that_cannot_run_says_nothing_about_the_receiver() {
    let failed = AttemptReport { plugin_failed: true, ..AttemptReport::rejected("plugin `mask`: it trapped".into()) };
    assert_eq!(step(&failed.outcome, 1), due_after(10.0));
    assert_eq!(failed.receiver_signal(), ReceiverSignal::PluginFailed);
    let host = AttemptReport::host_error("plugin `mask`: it has no active version".into());
    assert_eq!(step(&host.outcome, 1), due_after(10.0));
    assert_eq!(host.receiver_signal(), ReceiverSignal::Nothing);
}

#[test]
fn webhook_that_was_disabled_holds_the_retry_back_and_a_removed_one_cancels_it() {
    let planned = due_after(10.0);
    assert_eq!(for_webhook(planned, WebhookNow::Enabled), planned);
    assert_eq!(for_webhook(planned, WebhookNow::Unknown), planned);
    assert_eq!(for_webhook(planned, WebhookNow::Disabled), ended(Status::Pending));
    assert_eq!(for_webhook(planned, WebhookNow::Removed), ended(Status::Cancelled));
}

fn streak(age_ms: i64, rest_ms: Option<i64>) -> Option<Streak> {
    Some(Streak { since_ms: NOW - age_ms, now_ms: NOW, rest_ms })
}

fn failed(webhook: &Webhook, streak: Option<Streak>) -> Consequence {
    consequence(webhook, &rejected(None), streak, "the receiver answered 500")
}

#[test]
fn gone_disables_the_webhook_at_once() {
    let expected = Consequence::Disable("the receiver answered 410 Gone".into());
    assert_eq!(consequence(&Webhook::sample("acme", "wh_1"), &GONE, streak(0, None), ""), expected);
}

#[test]
fn circle_disables_the_webhook_at_once_and_its_delivery_has_failed() {
    let Consequence::Disable(reason) = consequence(&Webhook::sample("acme", "wh_1"), &LOOP, None, "") else {
        panic!("it stays enabled")
    };
    assert!(reason.contains("in a circle"), "{reason}");
    assert_eq!(step(&LOOP, 1), ended(Status::Failed));
}

#[test]
fn receiver_that_asks_for_it_is_disabled_at_once_whatever_its_status() {
    let disabled = Consequence::Disable("the receiver asked for it with `webhook-delivery: disable`".into());
    let after = |outcome, streak| consequence(&Webhook::sample("acme", "wh_1"), outcome, streak, "");
    assert_eq!(after(&DISABLE_REQUESTED, streak(0, None)), disabled);
    assert_eq!(step(&DISABLE_REQUESTED, 1), ended(Status::Failed));
    assert_eq!(after(&AttemptOutcome::DeliveredLast, None), disabled);
    assert_eq!(step(&AttemptOutcome::DeliveredLast, 1), ended(Status::Delivered));
}

#[test]
fn aborted_delivery_fails_at_once_and_has_no_consequence_for_its_webhook() {
    assert_eq!(step(&ABORTED, 1), ended(Status::Failed));
    let known = Webhook { failing_since: Some(NOW - 48 * HOUR_MS), ..Webhook::sample("acme", "wh_1") };
    assert_eq!(consequence(&known, &ABORTED, None, ""), Consequence::None);
}

#[test]
fn only_failures_for_48_hours_disable_the_webhook() {
    let reason = "every attempt failed for 48 hours, the last one with: the receiver answered 500";
    let disabled = Consequence::Disable(reason.into());
    let fresh = Webhook::sample("acme", "wh_1");
    assert_ne!(failed(&fresh, streak(48 * HOUR_MS - 1, Some(0))), disabled);
    assert_eq!(failed(&fresh, streak(48 * HOUR_MS, Some(0))), disabled);
    // An earlier process stored the beginning of the streak.
    let known = Webhook { failing_since: Some(NOW - 48 * HOUR_MS), ..Webhook::sample("acme", "wh_1") };
    assert_eq!(failed(&known, streak(0, Some(0))), disabled);
    let later = Webhook { failing_since: Some(NOW), ..Webhook::sample("acme", "wh_1") };
    assert_eq!(failed(&later, streak(48 * HOUR_MS, Some(0))), disabled, "the earlier beginning counts");
    let no_answer = consequence(&fresh, &AttemptOutcome::NoResponse, streak(48 * HOUR_MS, Some(0)), "silence");
    assert_eq!(no_answer, Consequence::Disable("every attempt failed for 48 hours, the last one with: silence".into()));
}

#[test]
fn streak_is_stored_once_it_is_a_minute_old_or_pauses_that_long() {
    let fresh = Webhook::sample("acme", "wh_1");
    let stored = |age: i64, announced| Consequence::Note(FailureNote::Failing { since_ms: NOW - age, announced });
    assert_eq!(failed(&fresh, streak(59_999, Some(59_999))), Consequence::None);
    assert_eq!(failed(&fresh, streak(60_000, Some(0))), stored(60_000, 1));
    assert_eq!(failed(&fresh, streak(0, Some(60_000))), stored(0, 0));
    assert_eq!(failed(&fresh, streak(0, None)), stored(0, 0), "the delivery is exhausted");
    let known = |announced| Webhook {
        failing_since: Some(NOW - HOUR_MS),
        failing_announced: announced,
        ..Webhook::sample("acme", "wh_1")
    };
    assert_eq!(failed(&known(2), streak(HOUR_MS, Some(HOUR_MS))), Consequence::None, "it is stored already");
}

#[test]
fn streak_is_announced_once_for_each_age_that_it_reaches() {
    let after = |age: i64, announced: u32| {
        let failing_since = (age >= 60_000).then_some(NOW - age);
        let webhook = Webhook { failing_since, failing_announced: announced, ..Webhook::sample("acme", "wh_1") };
        match failed(&webhook, streak(age, Some(0))) {
            Consequence::Note(FailureNote::Failing { since_ms, announced }) => {
                assert_eq!(since_ms, NOW - age);
                Some(announced)
            }
            _ => None,
        }
    };
    assert_eq!((after(59_999, 0), after(60_000, 0), after(60_000, 1)), (None, Some(1), None));
    assert_eq!((after(HOUR_MS - 1, 1), after(HOUR_MS, 1), after(HOUR_MS, 2)), (None, Some(2), None));
    assert_eq!((after(24 * HOUR_MS - 1, 2), after(24 * HOUR_MS, 2), after(47 * HOUR_MS, 3)), (None, Some(3), None));
    assert_eq!(after(25 * HOUR_MS, 0), Some(3), "rare events pass several ages at once");
    // An edit begins a new streak, but the webhook has not recovered.
    assert_eq!((after(60_000, 2), after(HOUR_MS, 2), after(24 * HOUR_MS, 2)), (None, None, Some(3)));
}

#[test]
fn success_clears_the_streak_and_is_stored_the_first_time() {
    let delivered = |webhook: &Webhook| consequence(webhook, &AttemptOutcome::Delivered, None, "");
    let cleared = Consequence::Note(FailureNote::Succeeded);
    let healthy = Webhook { proven: true, ..Webhook::sample("acme", "wh_1") };
    assert_eq!(delivered(&Webhook::sample("acme", "wh_1")), cleared);
    assert_eq!(delivered(&Webhook { failing_since: Some(NOW), ..healthy.clone() }), cleared);
    assert_eq!(delivered(&Webhook { failing_announced: 1, ..healthy.clone() }), cleared);
    assert_eq!(delivered(&healthy), Consequence::None);
}

#[test]
fn what_says_nothing_about_the_receiver_has_no_consequence() {
    for outcome in [AttemptOutcome::Filtered, AttemptOutcome::HostError] {
        assert_eq!(consequence(&Webhook::sample("acme", "wh_1"), &outcome, None, ""), Consequence::None);
    }
}

#[test]
fn receiver_that_asks_to_wait_uses_up_the_first_step_of_the_schedule_only() {
    let throttled = |count, base| next_step(&schedule(), &delivery(count, base), &THROTTLED, &|| 0.5, NOW);
    assert_eq!(throttled(0, 0), due_after(10.0));
    for (count, base, expected) in [(1, 0, 1), (2, 1, 2), (5, 4, 5), (2, 0, 1)] {
        assert_eq!(throttled(count, base), NextStep { attempt_base: expected, ..due_after(10.0) }, "{count} {base}");
    }
    // Any other failure goes on after the first step.
    let other = next_step(&schedule(), &delivery(6, 5), &rejected(None), &|| 0.5, NOW);
    assert_eq!(other, NextStep { attempt_base: 5, ..due_after(100.0) });
}

#[test]
fn receiver_that_asks_to_wait_for_longer_than_the_schedule_lasts_uses_it_up() {
    let step = |age_ms| {
        let id = id::Ids::default().next("dlv", NOW - age_ms);
        next_step(&schedule(), &QueuedDelivery { id, ..delivery(2, 0) }, &THROTTLED, &|| 0.5, NOW)
    };
    assert_eq!(step(110_000).status, Status::Pending);
    assert_eq!(step(110_001), ended(Status::Failed));
}
