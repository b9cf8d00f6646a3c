//! The knowledge about a receiver decides how many attempts it may have.

use super::super::attempt_class::{InFlight, PerClass};
use super::*;

#[test]
fn receivers_that_do_not_answer_leave_most_attempts_to_those_that_do() {
    let queues = new_queues(40);
    for company in 0..100 {
        let name = format!("dead-{company}");
        let hook = webhook_of(&name, &name, 32);
        offer(&queues, &hook, deliveries_of(&name, &name, 9));
        for _ in 0..3 {
            judge(&queues, &delivery(&name, &name, 99), ReceiverSignal::NoResponse);
        }
    }
    assert_eq!(take_all(&queues).len(), 5);
    // An unproven receiver has its first attempt all the same, and a healthy one all that it may have.
    offer(&queues, &webhook_of("new", "new", 32), deliveries_of("new", "new", 9));
    assert_eq!(ids(take_all(&queues)), ["new-0"]);
    let live = webhook_of("live", "live", 5);
    make_healthy(&queues, &live);
    offer(&queues, &live, deliveries_of("live", "live", 9));
    assert_eq!(take_all(&queues).len(), 5);
}

#[test]
fn unproven_receivers_leave_half_of_all_attempts_to_healthy_ones_and_a_company_half_of_that() {
    let queues = new_queues(40);
    for number in 0..100 {
        let name = format!("new-{number}");
        offer(&queues, &webhook(&name, 32), deliveries(&name, 1));
    }
    assert_eq!(take_all(&queues).len(), 10);
    for company in 0..100 {
        let name = format!("other-{company}");
        offer(&queues, &webhook_of(&name, &name, 32), deliveries_of(&name, &name, 1));
    }
    assert_eq!(take_all(&queues).len(), 10);
    let live = Webhook { proven: true, ..webhook("live", 5) };
    offer(&queues, &live, deliveries("live", 9));
    assert_eq!(take_all(&queues).len(), 5);
}

#[test]
fn stored_receiver_health_holds_until_more_is_known() {
    let queues = new_queues(99);
    let healthy = Webhook { proven: true, ..webhook("healthy", 5) };
    let failing = Webhook { failing_since: Some(0), ..webhook("failing", 5) };
    offer(&queues, &failing, deliveries("failing", 9));
    offer(&queues, &healthy, deliveries("healthy", 1));
    let taken = take_all(&queues);
    assert_eq!(taken[0].id, "healthy-0");
    assert!(taken[1..].iter().all(|delivery| delivery.class == AttemptClass::Restricted) && taken.len() == 6);
    judge(&queues, &taken[1], ReceiverSignal::Accepted);
    end(&queues, &taken[1], false);
    assert_eq!(take(&queues).unwrap().class, AttemptClass::Healthy);
}

#[test]
fn a_second_attempt_to_an_unproven_receiver_is_restricted() {
    let queues = new_queues(99);
    offer(&queues, &webhook("a", 5), deliveries("a", 3));
    let (first, second) = (take(&queues).unwrap(), take(&queues).unwrap());
    assert_eq!((first.class, second.class), (AttemptClass::Unproven, AttemptClass::Restricted));
    // Once none is in flight, the next one is a first attempt again, and an answer makes the receiver healthy.
    end(&queues, &first, true);
    end(&queues, &second, true);
    let third = take(&queues).unwrap();
    assert_eq!(third.class, AttemptClass::Unproven);
    judge(&queues, &third, ReceiverSignal::Accepted);
    offer(&queues, &webhook("a", 5), vec![delivery("c", "a", 9)]);
    assert_eq!(take(&queues).unwrap().class, AttemptClass::Healthy);
}

#[test]
fn an_attempt_is_counted_in_the_class_under_which_it_was_taken() {
    let queues = new_queues(8);
    let hook = Webhook { failing_since: Some(0), ..webhook("a", 9) };
    offer(&queues, &hook, deliveries("a", 5));
    let first = take(&queues).unwrap();
    assert!(queues.take().is_none(), "one restricted attempt of eight");
    judge(&queues, &first, ReceiverSignal::Accepted);
    assert_eq!(take(&queues).unwrap().class, AttemptClass::Healthy);
    end(&queues, &first, false);
    let silent = Webhook { failing_since: Some(0), ..webhook_of("d", "b", 9) };
    offer(&queues, &silent, deliveries_of("d", "b", 5));
    let taken = take_all(&queues);
    let restricted = taken.iter().filter(|delivery| delivery.class == AttemptClass::Restricted).count();
    assert_eq!(restricted, 1, "the class is free again");
}

#[test]
fn classes_have_all_half_and_an_eighth_of_the_attempts_rounded_up() {
    let limits = |max| AttemptClass::ALL.map(|class| class.limit(max));
    assert_eq!([limits(1), limits(8), limits(9)], [[1, 1, 1], [8, 4, 1], [9, 5, 2]]);
    assert!(AttemptClass::Healthy < AttemptClass::Unproven && AttemptClass::Unproven < AttemptClass::Restricted);
}

#[test]
fn a_value_per_class_is_read_where_it_was_written() {
    let mut figures = PerClass::default();
    for (class, figure) in AttemptClass::ALL.into_iter().zip(1..) {
        *figures.get_mut(class) = figure;
    }
    assert_eq!(AttemptClass::ALL.map(|class| *figures.get(class)), [1, 2, 3]);
    assert_eq!(figures.all(), [&1, &2, &3]);
    let mut in_flight = InFlight::default();
    in_flight.begin(AttemptClass::Unproven, 1);
    in_flight.begin(AttemptClass::Unproven, 1);
    in_flight.begin(AttemptClass::Restricted, 1);
    in_flight.end(AttemptClass::Unproven, 1);
    in_flight.end(AttemptClass::Healthy, 1);
    assert_eq!((in_flight.all(), in_flight.total()), ([&0, &1, &1], 2));
}

#[test]
fn a_silent_receiver_whose_deliveries_wait_does_not_make_the_node_look_stuck() {
    let (clock, queues) = TestClock::with_queues(99);
    let hook = webhook("a", 8);
    for number in 0..3 {
        offer(&queues, &hook, vec![delivery("c", "a", number)]);
        let taken = take(&queues).unwrap();
        judge(&queues, &taken, ReceiverSignal::NoResponse);
        end(&queues, &taken, true);
    }
    clock.advance(60 * SECOND);
    let _ = queues.open_due();
    offer(&queues, &hook, vec![delivery("c", "a", 3)]);
    clock.advance(600 * SECOND);
    assert_eq!(queues.longest_wait(), None);
    assert_eq!(ids(take(&queues)), ["a-3"], "it could be sent");
}
