//! The effects of each input: a worker where there is something to take, and the fetcher where there is room.

use super::*;

#[test]
fn a_filled_place_starts_a_worker_and_needs_nothing_fetched() {
    let queues = Arc::new(new_queues(9));
    let hook = webhook("a", 1);
    let place = queues.reserve(&hook);
    let effects = queues.fill(&place, delivery("c", "a", 0));
    assert!(effects.start_worker && !effects.wake_fetcher && effects.give_back.is_empty());
    assert_eq!(take(&queues).unwrap().id, "a-0");
}

#[test]
fn a_filled_place_wakes_the_fetcher_for_a_backlog_that_has_come_up_meanwhile() {
    let queues = Arc::new(new_queues(9));
    let hook = webhook("a", 1);
    let place = queues.reserve(&hook);
    spill(&queues, &hook);
    assert!(queues.fill(&place, delivery("c", "a", 0)).wake_fetcher);
}

#[test]
fn inputs_of_the_fetcher_never_wake_it() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    spill(&queues, &hook);
    let fetch = one_fetch(&queues);
    let effects = queues.offer(&hook, deliveries("a", 1), Origin::Live);
    assert!(effects.start_worker && !effects.wake_fetcher);
    let effects = queues.fetched(&fetch, FetchResult { more: true, order: OrderAnswer::NotAsked });
    assert!(effects.start_worker && !effects.wake_fetcher && effects.give_back.is_empty());
}

#[test]
fn a_backlog_wakes_the_fetcher_only_while_none_is_being_fetched() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    let effects = queues.spilled(&hook);
    assert!(effects.wake_fetcher && !effects.start_worker && effects.give_back.is_empty());
    let fetch = one_fetch(&queues);
    assert!(!queues.spilled(&hook).wake_fetcher && !queues.replay_requested(&hook).wake_fetcher);
    assert!(!queues.webhook_changed(&hook).wake_fetcher);
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    assert!(queues.expedite(&hook, "a-0").wake_fetcher);
    assert!(queues.retry_now(&hook, delivery("c", "a", 0)).wake_fetcher);
    let taken = take(&queues).unwrap();
    let effects = queues.attempt_ended(&taken, true);
    assert!(effects.wake_fetcher && !effects.start_worker && effects.give_back.is_empty());
}

#[test]
fn the_fetcher_is_left_alone_if_there_is_no_backlog() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    let effects = queues.retry_now(&hook, delivery("c", "a", 0));
    assert!(effects.start_worker && !effects.wake_fetcher);
    let effects = queues.expedite(&hook, "a-0");
    assert!(effects.start_worker && !effects.wake_fetcher);
    let (taken, effects) = queues.take().unwrap();
    assert!(!effects.start_worker && !effects.wake_fetcher && effects.give_back.is_empty());
    assert!(!end(&queues, &taken, true));
    assert!(!end(&queues, &delivery("c", "nobody", 0), true));
}

#[test]
fn a_requested_replay_wakes_the_fetcher_if_nothing_is_queued() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    let effects = queues.replay_requested(&hook);
    assert!(effects.wake_fetcher && !effects.start_worker && effects.give_back.is_empty());
    offer(&queues, &hook, deliveries("a", 1));
    assert!(!queues.replay_requested(&hook).wake_fetcher);
    let _ = queues.offer(&webhook("b", 1), deliveries("b", 1), Origin::Replay);
    assert!(!queues.replay_requested(&webhook("b", 1)).wake_fetcher);
}

#[test]
fn a_webhook_that_is_enabled_starts_a_worker_for_what_it_holds() {
    let (clock, queues) = TestClock::with_queues(9);
    let hook = rate_limited_webhook("a", 1);
    offer(&queues, &hook, deliveries("a", 2));
    let (_, effects) = queues.take().unwrap();
    assert!(!effects.start_worker, "its pace allows none");
    clock.advance(SECOND / 2);
    let effects = queues.webhook_changed(&hook);
    assert!(effects.start_worker && effects.wake_fetcher, "its pace begins again");
    assert_eq!(take_all(&queues).len(), 1);
}

#[test]
fn a_reservation_that_ends_reports_the_timer_of_its_queue() {
    let (clock, queues) = TestClock::with_queues(9);
    let hook = rate_limited_webhook("a", 1);
    offer(&queues, &Webhook { max_in_flight: 1, ..hook.clone() }, deliveries("a", 2));
    take(&queues).unwrap();
    assert!(!timer_was_brought_forward(&queues), "no slot is free");
    drop(queues.reserve(&hook));
    assert!(timer_was_brought_forward(&queues), "the webhook has got more slots");
    assert_eq!(queues.open_due().1, Some(clock.now() + SECOND));
}
