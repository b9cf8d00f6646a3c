//! Retries that a user asks for.

use super::*;

#[test]
fn a_requested_retry_does_not_wait_for_the_next_probe() {
    let (clock, queues) = TestClock::with_queues(9);
    let hook = webhook("a", 8);
    spill(&queues, &hook);
    for _ in 0..20 {
        judge(&queues, &delivery("c", "a", 0), ReceiverSignal::NoResponse);
        clock.advance(SECOND);
    }
    judge(&queues, &delivery("c", "a", 0), ReceiverSignal::NoResponse);
    offer(&queues, &hook, deliveries("a", 3));
    assert!(queues.take().is_none());
    assert!(queues.retry_now(&hook, delivery("c", "a", 9)).start_worker);
    assert_eq!(take(&queues).unwrap().id, "a-9");
}

#[test]
fn requested_retries_keep_to_the_pace_and_are_bounded() {
    let (clock, queues) = TestClock::with_queues(9);
    let hook = Webhook { max_in_flight: 8, ..rate_limited_webhook("a", 2) };
    let retry = |number| queues.retry_now(&hook, delivery("c", "a", number));
    let refused = (0..2 * BUFFER + 3).filter(|number| !retry(*number).give_back.is_empty()).count();
    assert_eq!(refused, 3);
    assert!(retry(0).give_back.is_empty(), "it waits already");
    let _ = queues.expedite(&hook, "a-7");
    assert_eq!(take(&queues).unwrap().id, "a-7");
    let _ = queues.expedite(&hook, "a-8");
    assert!(queues.take().is_none());
    clock.advance(500 * MILLISECOND);
    let _ = queues.open_due();
    assert_eq!(take(&queues).unwrap().id, "a-8");
    assert!(!queues.expedite(&hook, "a-8").start_worker && queues.take().is_none());
}

#[test]
fn the_last_requested_retry_comes_first() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    offer(&queues, &hook, deliveries("a", 3));
    let _ = queues.retry_now(&hook, delivery("c", "a", 8));
    let _ = queues.retry_now(&hook, delivery("c", "a", 9));
    let _ = queues.expedite(&hook, "a-1");
    let order: Vec<_> = (0..5)
        .map(|_| {
            let taken = take(&queues).unwrap();
            end(&queues, &taken, false);
            taken.id
        })
        .collect();
    assert_eq!(order, ["a-1", "a-9", "a-8", "a-0", "a-2"]);
}

#[test]
fn a_replay_can_be_expedited() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    let _ = queues.offer(&hook, deliveries("a", 3), Origin::Replay);
    offer(&queues, &hook, vec![delivery("c", "a", 9)]);
    assert!(queues.expedite(&hook, "a-1").start_worker);
    assert_eq!(take(&queues).unwrap().id, "a-1");
}

#[test]
fn a_requested_retry_of_a_delivery_in_flight_is_left_alone() {
    let queues = new_queues(9);
    let hook = webhook("a", 8);
    offer(&queues, &hook, deliveries("a", 1));
    let taken = take(&queues).unwrap();
    let effects = queues.retry_now(&hook, taken.clone());
    assert!(!effects.start_worker && effects.give_back.is_empty() && queues.take().is_none());
    assert!(!queues.expedite(&hook, "a-0").start_worker && queues.take().is_none());
    end(&queues, &taken, false);
    assert!(queues.lock().is_empty());
}
