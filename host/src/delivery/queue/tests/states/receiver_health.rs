//! The transitions of a receiver's state.

use std::time::Duration;

use tokio::time::Instant;

use super::check;
use crate::delivery::queue::ReceiverSignal;
use crate::delivery::queue::receiver_health::{Failures, ReceiverState};

/// The value of a failing receiver is the number of failures that count towards probing, of those without a response at the
/// end, and the seconds that they span. `!`: the input is a failure, and returns the time of the first one.
const TABLE: &str = "
                   | accepted | refused              | plugin failed        | overloaded            | no response           | nothing sent | webhook changed | attempt requested
Unproven           | Healthy  | Failing 0, 0 in 0 s! | Failing 0, 0 in 0 s! | Failing 1, 0 in 0 s!  | Failing 1, 1 in 0 s!  | .            | .               | .
Suspected          | Healthy  | Failing 0, 0 in 0 s! | Failing 0, 0 in 0 s! | Failing 1, 0 in 0 s!  | Failing 1, 1 in 0 s!  | .            | Unproven        | .
Healthy            | .        | Failing 0, 0 in 0 s! | Failing 0, 0 in 0 s! | Failing 1, 0 in 0 s!  | Failing 1, 1 in 0 s!  | .            | Unproven        | .
Failing 7, 2 in 3 s | Healthy | Failing 0, 0 in 0 s! | Failing 7, 2 in 60 s! | Failing 8, 0 in 60 s! | Failing 8, 3 in 60 s! | .            | Unproven        | Failing 0, 2 in 3 s
";

fn render(state: &ReceiverState) -> String {
    match state {
        ReceiverState::Unproven => "Unproven".into(),
        ReceiverState::Suspected => "Suspected".into(),
        ReceiverState::Healthy => "Healthy".into(),
        ReceiverState::Failing(failures) => {
            let span = failures.first.map_or(Duration::ZERO, |first| failures.last - first);
            format!("Failing {}, {} in {} s", failures.count, failures.unanswered, span.as_secs())
        }
    }
}

fn failing(first: Instant) -> ReceiverState {
    let last = first + Duration::from_secs(3);
    let (first, last_retry) = (Some(first), None);
    ReceiverState::Failing(Failures { count: 7, first, last, since_ms: 12, unanswered: 2, last_retry })
}

/// Ends an attempt a minute after the first failure.
fn ended(state: &mut ReceiverState, signal: ReceiverSignal) -> bool {
    let (now, since_ms) = match state {
        ReceiverState::Failing(failures) => (failures.last + Duration::from_secs(57), failures.since_ms),
        ReceiverState::Unproven | ReceiverState::Suspected | ReceiverState::Healthy => (Instant::now(), 60_012),
    };
    let answer = state.attempt_ended(signal, now, 60_012);
    assert!(answer.is_none_or(|answer| answer == since_ms));
    answer.is_some()
}

fn change(state: &mut ReceiverState, change: fn(&mut ReceiverState)) -> bool {
    change(state);
    false
}

#[test]
fn receiver_transitions_are_those_of_the_table_and_the_diagram() {
    check(
        "Receiver",
        TABLE,
        &[ReceiverState::Unproven, ReceiverState::Suspected, ReceiverState::Healthy, failing(Instant::now())],
        &[
            ("accepted", |state| ended(state, ReceiverSignal::Accepted)),
            ("refused", |state| ended(state, ReceiverSignal::Refused)),
            ("plugin failed", |state| ended(state, ReceiverSignal::PluginFailed)),
            ("overloaded", |state| ended(state, ReceiverSignal::Overloaded)),
            ("no response", |state| ended(state, ReceiverSignal::NoResponse)),
            ("nothing sent", |state| ended(state, ReceiverSignal::Nothing)),
            ("webhook changed", |state| change(state, ReceiverState::webhook_changed)),
            ("attempt requested", |state| change(state, ReceiverState::attempt_requested)),
        ],
        render,
    );
}
