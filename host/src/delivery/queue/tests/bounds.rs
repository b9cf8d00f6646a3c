//! The bounds on deliveries in memory.

use super::super::memory::HeldDeliveries;
use super::*;

#[test]
fn deliveries_without_room_are_given_back_and_held_ones_are_not_taken_twice() {
    let queues = new_queues(2);
    assert_eq!(offer(&queues, &webhook("a", 1), deliveries("a", BUFFER + 3)).len(), 3);
    let taken = take(&queues).unwrap();
    assert!(offer(&queues, &webhook("a", 1), vec![taken.clone()]).is_empty());
    end(&queues, &taken, false);
    assert_eq!(take(&queues).unwrap().id, "a-1");
}

/// A delivery of a company with so many bytes of data.
fn large_delivery(company: &str, hook: &str, number: usize, bytes: usize) -> QueuedDelivery {
    let event = event_of(company);
    let event = HeldEvent::Whole(Arc::new(Event { data: vec![b' '; bytes].into(), ..event }));
    QueuedDelivery { event, ..delivery(company, hook, number) }
}

fn is_whole(delivery: &QueuedDelivery) -> bool {
    matches!(delivery.event, HeldEvent::Whole(_))
}

#[test]
fn when_memory_is_scarce_a_queue_holds_few_and_keeps_its_attempts_going() {
    let queues = Arc::new(WebhookQueues::new(100, memory(8 << 20)));
    let large = |hook: &str| (0..100).map(|number| large_delivery("c", hook, number, 1 << 20)).collect();
    let refused = |hook: &str| offer(&queues, &webhook(hook, 1), large(hook)).len();
    let kept: Vec<_> = ["a", "b", "c", "d"].map(|hook| 100 - refused(hook)).into();
    assert_eq!((kept[0], &kept[1..]), (4, &[4, 4, 4][..]), "four of them fill the company's share");
    assert!(!queues.reserve(&webhook("a", 1)).in_memory());
    let whole = take_all(&queues).iter().map(is_whole).collect::<Vec<_>>();
    assert_eq!(whole, [true, false, false, false], "the rest is read when its attempt begins");
}

#[test]
fn company_that_has_its_share_leaves_memory_to_others() {
    let queues = WebhookQueues::new(100, memory(8 << 20));
    let large =
        |company: &str, hook: &str| (0..4).map(|number| large_delivery(company, hook, number, 1 << 20)).collect();
    for hook in ["a1", "a2", "a3"] {
        offer(&queues, &webhook_of("a", hook, 9), large("a", hook));
    }
    offer(&queues, &webhook_of("b", "b1", 9), large("b", "b1"));
    assert!(queues.lock().held.bytes() < 7 << 20, "the data of six, and the names of the others");
    let whole = |hook: &str| queues.webhook_removed(hook).iter().filter(|one| is_whole(one)).count();
    assert_eq!(["a1", "a2", "a3"].map(whole), [4, 0, 0], "half of the memory");
    assert_eq!(whole("b1"), 2, "half of the rest");
    assert!(queues.lock().held.is_empty());
}

#[test]
fn events_that_are_read_for_attempts_are_bounded_per_class_and_company() {
    let queues = WebhookQueues::new(4096, memory(0));
    // Half of what unproven receivers may have in all, which is half of everything.
    let large = |company: &str, hook: &str| vec![large_delivery(company, hook, 0, 1 << 20)];
    for hook in 0..100 {
        let hook = format!("h{hook}");
        offer(&queues, &webhook_of("c", &hook, 9), large("c", &hook));
    }
    let taken = take_all(&queues);
    assert_eq!(taken.len(), 6);
    offer(&queues, &webhook_of("other", "o", 9), large("other", "o"));
    assert_eq!(take(&queues).unwrap().webhook_id, "o", "another company finds room");
    let proven = webhook_of("c", "proven", 9);
    make_healthy(&queues, &proven);
    offer(&queues, &proven, large("c", "proven"));
    assert_eq!(take(&queues).unwrap().webhook_id, "proven", "and so does a receiver that answers");
    for delivery in &taken {
        end(&queues, delivery, false);
    }
    assert_eq!(take_all(&queues).len(), 6);
}

#[test]
fn memory_counts_data_headers_and_an_overhead_until_the_delivery_leaves() {
    let small = delivery("c", "a", 0);
    let headers = vec![("name".to_owned(), "value".to_owned()), ("a".to_owned(), "b".to_owned())];
    let event = Event { data: vec![b' '; 100].into(), headers, ..event_of("c") };
    let mut delivery = QueuedDelivery { event: HeldEvent::Whole(Arc::new(event)), ..small.clone() };
    assert_eq!((small.size(), delivery.size(), delivery.bytes_to_read()), (768, 768 + 100 + 11, 0));
    let mut held = HeldDeliveries::new(memory(2000));
    let company: Arc<str> = "c".into();
    held.insert(&mut delivery, &company);
    held.insert(&mut delivery, &company);
    assert!(held.contains("a-0") && !held.contains("a-1") && !held.is_empty());
    assert!(is_whole(&delivery) && held.bytes() == 879);
    let mut stored = QueuedDelivery { id: "a-1".into(), ..delivery.clone() };
    held.insert(&mut stored, &company);
    assert_eq!((is_whole(&stored), stored.size(), stored.bytes_to_read(), held.bytes()), (false, 768, 111, 879 + 768));
    assert_eq!((stored.event.company(), stored.event.event_type()), ("c", "t"));
    for delivery in [&delivery, &delivery, &stored, &stored] {
        held.remove(delivery);
    }
    assert!(held.is_empty() && !held.contains("a-0"));
}

#[test]
fn a_queue_may_hold_less_from_half_of_the_share_on_and_least_from_all_of_it_on() {
    let (share, overhead) = (4 << 20, 768);
    let limits = [share / 2 - 1, share / 2 + 1, share - 1, share].map(|bytes: usize| {
        let mut held = HeldDeliveries::new(memory(8 << 20));
        let company: Arc<str> = "c".into();
        held.insert(&mut large_delivery("c", "a", 0, bytes - overhead), &company);
        (held.queue_limit("c"), held.queue_limit("other"))
    });
    assert_eq!(limits, [(1024, 1024), (64, 1024), (64, 1024), (4, 1024)]);
}

#[test]
fn reserved_places_count_as_taken() {
    let queues = Arc::new(new_queues(1));
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
    let queues = Arc::new(new_queues(1));
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
    let queues = new_queues(9);
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
    let queues = new_queues(9);
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
