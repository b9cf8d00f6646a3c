//! Deliveries that a user cancels.

use super::*;
use crate::domain::delivery_selection::DeliverySelection;
use crate::store::{CancelSelection, CancelState};

fn all_of(company: &str, state: CancelState) -> CancelSelection {
    let (first, end) = (String::new(), "~".into());
    CancelSelection { company: company.into(), filter: DeliverySelection::default(), state, first, end }
}

fn of_type(event_type: &str) -> DeliverySelection {
    DeliverySelection { types: vec!["x".into(), event_type.into()], ..DeliverySelection::default() }
}

#[test]
fn selection_by_webhook_and_label_leaves_others_and_one_by_error_leaves_all() {
    let (_clock, queues) = TestClock::with_queues(100);
    let labelled = Webhook { label: Some("x".into()), ..webhook("b", 1) };
    for hook in [&webhook("a", 1), &labelled] {
        make_healthy(&queues, hook);
        assert!(offer(&queues, hook, deliveries(&hook.id, 3)).is_empty());
    }
    let cancel = |filter| ids(queues.cancel(&CancelSelection { filter, ..all_of("c", CancelState::Pending) }));
    let any = DeliverySelection::default;
    assert_eq!(cancel(DeliverySelection { error: Some("refused".into()), ..any() }), [""; 0]);
    assert_eq!(cancel(DeliverySelection { webhook: Some("a".into()), label: Some("x".into()), ..any() }), [""; 0]);
    assert_eq!(cancel(DeliverySelection { webhook: Some("a".into()), ..any() }), ["a-0", "a-1", "a-2"]);
    assert_eq!(cancel(DeliverySelection { label: Some("x".into()), ..any() }), ["b-0", "b-1", "b-2"]);
}

#[test]
fn selected_deliveries_leave_their_queues() {
    let (_clock, queues) = TestClock::with_queues(100);
    let (own, other) = (webhook("a", 1), webhook_of("d", "b", 1));
    for hook in [&own, &other] {
        make_healthy(&queues, hook);
        assert!(offer(&queues, hook, deliveries_of(&hook.company, &hook.id, 3)).is_empty());
    }
    let elsewhere = CancelSelection { filter: of_type("u"), ..all_of("c", CancelState::Pending) };
    assert!(queues.cancel(&elsewhere).is_empty());
    let one = CancelSelection { first: "a-1".into(), end: "a-10".into(), ..all_of("c", CancelState::Pending) };
    assert_eq!(ids(queues.cancel(&one)), ["a-1"]);
    assert_eq!(ids(queues.cancel(&all_of("c", CancelState::Pending))), ["a-0", "a-2"]);
    assert_eq!(ids(take_all(&queues)), ["b-0"], "another company's stay");
    // They are in memory no longer, so that a later claim of one is queued.
    assert!(offer(&queues, &own, deliveries("a", 1)).is_empty());
    assert_eq!(ids(take_all(&queues)), ["a-0"]);
}

#[test]
fn deliveries_of_one_type_leave_the_queue_of_a_pattern() {
    let (_clock, queues) = TestClock::with_queues(100);
    let hook = Webhook { event_type: "*".into(), ..webhook("a", 1) };
    make_healthy(&queues, &hook);
    assert!(offer(&queues, &hook, deliveries("a", 2)).is_empty());
    let of = |event_type: &str| {
        ids(queues.cancel(&CancelSelection { filter: of_type(event_type), ..all_of("c", CancelState::Pending) }))
    };
    assert_eq!(of("u"), [""; 0]);
    assert_eq!(of("t"), ["a-0", "a-1"]);
}

#[test]
fn state_of_a_delivery_decides_what_cancels_it() {
    let (_clock, queues) = TestClock::with_queues(100);
    let hook = webhook("a", 32);
    make_healthy(&queues, &hook);
    let [first, retry, replayed] = [0, 1, 2].map(|number| delivery("c", "a", number));
    let retry = QueuedDelivery { attempt_count: 1, ..retry };
    offer(&queues, &hook, vec![first, retry]);
    let _ = queues.offer(&hook, vec![replayed], Origin::Replay);
    assert_eq!(ids(queues.cancel(&all_of("c", CancelState::Replayed))), ["a-2"]);
    assert_eq!(ids(queues.cancel(&all_of("c", CancelState::Retrying))), ["a-1"]);
    assert_eq!(ids(queues.cancel(&all_of("c", CancelState::Pending))), ["a-0"]);
}

#[test]
fn attempt_that_was_in_flight_when_it_was_cancelled_is_not_retried() {
    let (_clock, queues) = TestClock::with_queues(100);
    let hook = webhook("a", 32);
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 3));
    let in_flight = take_all(&queues);
    let first = CancelSelection::one("c", "a-0");
    assert!(queues.cancel(&first).is_empty());
    assert!(queues.is_cancelled(&in_flight[0]) && !queues.is_cancelled(&in_flight[1]));
    end(&queues, &in_flight[0], false);
    // An attempt that begins later is meant no longer: a user has asked for it since.
    offer(&queues, &hook, vec![delivery("c", "a", 0)]);
    let again = take(&queues).unwrap();
    assert!(again.id == "a-0" && !queues.is_cancelled(&again));
}

#[test]
fn ordered_queue_asks_again_when_the_delivery_that_it_waits_for_is_cancelled() {
    let (_clock, queues) = TestClock::with_queues(100);
    let hook = ordered_webhook("a");
    spill(&queues, &hook);
    let fetch = one_fetch(&queues);
    end_fetch(&queues, &fetch, OrderAnswer::BlockedBy("a-0".into()));
    assert!(queues.backlogs_to_fetch().is_empty());
    assert!(queues.cancelled(&CancelSelection::one("c", "a-0")).wake_fetcher);
    let fetch = one_fetch(&queues);
    offer(&queues, &hook, vec![delivery("c", "a", 1)]);
    end_fetch(&queues, &fetch, OrderAnswer::Open);
    assert_eq!(ids(take_all(&queues)), ["a-1"]);
}
