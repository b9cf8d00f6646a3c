//! The bounds on deliveries in memory.

use super::super::memory::HeldDeliveries;
use super::*;

#[test]
fn deliveries_without_room_are_given_back_and_held_ones_are_not_taken_twice() {
    let queues = WebhookQueues::new(2);
    assert_eq!(offer(&queues, &webhook("a", 1), deliveries("a", BUFFER + 3)).len(), 3);
    let taken = take(&queues).unwrap();
    assert!(offer(&queues, &webhook("a", 1), vec![taken.clone()]).is_empty());
    end(&queues, &taken, false);
    assert_eq!(take(&queues).unwrap().id, "a-1");
}

fn large_delivery(hook: &str, number: usize, bytes: usize) -> QueuedDelivery {
    let small = delivery("c", hook, number);
    let event = Event { data: vec![b' '; bytes].into(), ..(*small.event).clone() };
    QueuedDelivery { event: Arc::new(event), ..small }
}

#[test]
fn when_memory_is_scarce_a_queue_holds_few_and_keeps_its_attempts_going() {
    let queues = Arc::new(WebhookQueues::new(1));
    let large = |hook: &str, count| (0..count).map(|number| large_delivery(hook, number, 1 << 20)).collect();
    let refused = |hook: &str| offer(&queues, &webhook(hook, 1), large(hook, 100)).len();
    let kept: Vec<_> = ["a", "b", "c", "d"].map(|hook| 100 - refused(hook)).into();
    assert_eq!((kept[0], &kept[1..]), (8, &[4, 4, 4][..]));
    assert!(!queues.reserve(&webhook("a", 1)).in_memory());
}

#[test]
fn memory_counts_data_headers_and_an_overhead_until_the_delivery_leaves() {
    let small = delivery("c", "a", 0);
    let headers = vec![("name".to_owned(), "value".to_owned()), ("a".to_owned(), "b".to_owned())];
    let event = Event { data: vec![b' '; 100].into(), headers, ..(*small.event).clone() };
    let delivery = QueuedDelivery { event: Arc::new(event), ..small.clone() };
    assert_eq!((small.size(), delivery.size()), (768, 768 + 100 + 11));
    let mut held = HeldDeliveries::default();
    held.insert(&delivery);
    held.insert(&delivery);
    assert!(held.contains("a-0") && !held.contains("a-1") && !held.is_empty());
    held.remove(&delivery);
    held.remove(&delivery);
    assert!(held.is_empty() && !held.contains("a-0"));
}

#[test]
fn a_queue_may_hold_less_from_half_of_the_memory_on_and_least_from_all_of_it_on() {
    let (half, overhead) = (4 << 20, 768);
    let limits = [half - 1, half, 2 * half - 1, 2 * half].map(|bytes| {
        let mut held = HeldDeliveries::default();
        held.insert(&large_delivery("a", 0, bytes - overhead));
        held.queue_limit()
    });
    assert_eq!(limits, [1024, 64, 64, 4]);
}

#[test]
fn reserved_places_count_as_taken() {
    let queues = Arc::new(WebhookQueues::new(1));
    let hook = webhook("a", 1);
    offer(&queues, &hook, deliveries("a", BUFFER - 2));
    let (first, second) = (queues.reserve(&hook), queues.reserve(&hook));
    assert!(first.in_memory() && second.in_memory() && !queues.reserve(&hook).in_memory());
    let _ = queues.fill(&first, delivery("c", "a", 9999));
    drop(first);
    assert!(!queues.reserve(&hook).in_memory(), "the place is filled");
    drop(second);
    assert!(queues.reserve(&hook).in_memory(), "the other is free again");
}

#[test]
fn a_new_event_does_not_pass_one_that_is_about_to_be_spilled() {
    let queues = Arc::new(WebhookQueues::new(1));
    let hook = webhook("a", 1);
    offer(&queues, &hook, deliveries("a", BUFFER));
    let spilling = queues.reserve(&hook);
    assert!(!spilling.in_memory());
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    assert!(!queues.reserve(&hook).in_memory(), "there is room, but an earlier event is being stored");
    drop(spilling);
    assert!(queues.reserve(&hook).in_memory());
}

#[test]
fn a_removed_webhook_gives_up_its_queue_and_keeps_its_attempts_in_flight() {
    let queues = WebhookQueues::new(9);
    offer(&queues, &webhook("a", 1), deliveries("a", 3));
    let taken = take(&queues).unwrap();
    assert_eq!(ids(queues.webhook_removed("a")), ["a-1", "a-2"]);
    assert!(queues.webhook_removed("nobody").is_empty() && queues.webhook_removed("a").is_empty());
    end(&queues, &taken, false);
    assert!(queues.take().is_none());
    let state = queues.lock();
    assert!(state.queues.is_empty() && state.is_empty());
}

#[test]
fn a_disabled_webhook_spills_its_queue_and_keeps_its_attempts_in_flight() {
    let queues = WebhookQueues::new(9);
    let hook = webhook("a", 1);
    offer(&queues, &hook, deliveries("a", 3));
    let _ = queues.replay_requested(&hook);
    let taken = take(&queues).unwrap();
    let effects = queues.webhook_disabled("a");
    assert!(!effects.start_worker && !effects.wake_fetcher);
    assert_eq!(ids(effects.give_back), ["a-1", "a-2"]);
    assert!(queues.webhook_disabled("nobody").give_back.is_empty());
    end(&queues, &taken, false);
    assert!(queues.take().is_none() && queues.backlogs_to_fetch().is_empty());
    let state = queues.lock();
    assert!(state.queues.is_empty() && state.is_empty());
}
