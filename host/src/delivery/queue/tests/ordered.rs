//! Ordered webhooks.

use super::*;

/// Fetches the order: the delivery that waits for its retry in the database.
fn learn(queues: &WebhookQueues, hook: &Webhook, order: OrderAnswer) {
    spill(queues, hook);
    let fetch = queues.backlogs_to_fetch().remove(0);
    assert_eq!(fetch.kind, BacklogKind::Ordered);
    end_fetch(queues, &fetch, order);
}

fn blocked_by(id: &str) -> OrderAnswer {
    OrderAnswer::BlockedBy(id.into())
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<QueuedDelivery> {
    numbers.into_iter().map(|number| delivery("c", "a", number)).collect()
}

#[test]
fn an_ordered_queue_sends_nothing_before_it_knows_its_order() {
    let queues = Arc::new(new_queues(9));
    let hook = ordered_webhook("a");
    assert!(!queues.reserve(&hook).in_memory());
    offer(&queues, &hook, numbered([2, 1]));
    assert!(queues.take().is_none());
    learn(&queues, &hook, OrderAnswer::Open);
    assert!(queues.reserve(&hook).in_memory());
    let first = take(&queues).unwrap();
    assert_eq!(first.id, "a-1");
    assert!(queues.take().is_none(), "one at a time");
    end(&queues, &first, false);
    assert_eq!(take(&queues).unwrap().id, "a-2");
}

#[test]
fn a_delivery_that_waits_for_its_retry_is_not_passed() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered([1, 2, 4]));
    learn(&queues, &hook, blocked_by("a-3"));
    let first = take(&queues).unwrap();
    end(&queues, &first, true);
    assert!(queues.take().is_none(), "the first waits for its retry");
    offer(&queues, &hook, vec![first]);
    let first = take(&queues).unwrap();
    assert_eq!(first.id, "a-1");
    end(&queues, &first, false);
    // The first was known instead of the third: the database is asked again.
    assert!(queues.take().is_none());
    learn(&queues, &hook, blocked_by("a-3"));
    let second = take(&queues).unwrap();
    end(&queues, &second, false);
    assert!(queues.take().is_none(), "the fourth must not pass the third");
    assert!(queues.prune().wake_fetcher);
    learn(&queues, &hook, OrderAnswer::Open);
    assert_eq!(take(&queues).unwrap().id, "a-4");
}

#[test]
fn pruning_leaves_an_ordered_queue_with_an_attempt_in_flight_alone() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered([1, 4]));
    learn(&queues, &hook, blocked_by("a-3"));
    let first = take(&queues).unwrap();
    assert!(!queues.prune().wake_fetcher && queues.backlogs_to_fetch().is_empty());
    end(&queues, &first, false);
    assert!(queues.take().is_none() && queues.prune().wake_fetcher);
    assert_eq!(one_fetch(&queues).kind, BacklogKind::Ordered);
    assert!(!queues.prune().wake_fetcher, "it is being asked");
}

#[test]
fn pruning_wakes_the_fetcher_for_blocked_queues_and_for_no_others() {
    let queues = new_queues(9);
    spill(&queues, &webhook("unordered", 1));
    assert!(!queues.prune().wake_fetcher);
    let fetch = one_fetch(&queues);
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    for hook in [ordered_webhook("a"), ordered_webhook("b")] {
        learn(&queues, &hook, blocked_by("c"));
    }
    assert!(queues.prune().wake_fetcher);
    assert_eq!(queues.backlogs_to_fetch().len(), 2);
}

#[test]
fn an_ordered_queue_that_is_full_asks_all_the_same() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered([0]));
    learn(&queues, &hook, OrderAnswer::Open);
    offer(&queues, &hook, numbered(1000..1000 + BUFFER));
    let first = take(&queues).unwrap();
    end(&queues, &first, true);
    offer(&queues, &hook, vec![first]);
    let first = take(&queues).unwrap();
    assert!(end(&queues, &first, false));
    assert!(queues.take().is_none());
    let fetch = queues.backlogs_to_fetch().remove(0);
    assert_eq!((fetch.kind, fetch.before.as_deref(), fetch.room), (BacklogKind::Ordered, Some("a-2022"), BUFFER));
    end_fetch_with_more(&queues, &fetch, OrderAnswer::Open);
    assert_eq!(take(&queues).unwrap().id, "a-1000");
}

#[test]
fn an_earlier_delivery_takes_the_place_of_the_last_in_a_full_ordered_queue() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered(1000..1000 + BUFFER));
    learn(&queues, &hook, OrderAnswer::Open);
    assert_eq!(ids(offer(&queues, &hook, numbered([3000]))), ["a-3000"]);
    assert_eq!(ids(offer(&queues, &hook, numbered([0]))), ["a-2023"]);
    assert!(!Arc::new(queues).reserve(&hook).in_memory(), "it would pass the one pushed out");
}

#[test]
fn a_delivery_pushed_out_of_an_ordered_queue_can_come_back() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered(1000..1000 + BUFFER));
    let pushed_out = offer(&queues, &hook, numbered([0]));
    learn(&queues, &hook, OrderAnswer::Open);
    let first = take(&queues).unwrap();
    assert_eq!(first.id, "a-0");
    end(&queues, &first, false);
    assert!(offer(&queues, &hook, pushed_out).is_empty());
    assert_eq!(queues.webhook_disabled("a").give_back.last().unwrap().id, "a-2023");
}

#[test]
fn an_ordered_queue_whose_places_are_all_reserved_admits_a_delivery_from_the_database() {
    let queues = Arc::new(new_queues(9));
    let hook = ordered_webhook("a");
    spill(&queues, &hook);
    learn(&queues, &hook, OrderAnswer::Open);
    let reserved: Vec<_> = (0..BUFFER).map(|_| queues.reserve(&hook)).collect();
    assert!(reserved.iter().all(Reservation::in_memory));
    assert!(offer(&queues, &hook, numbered([1])).is_empty());
    assert_eq!(ids(offer(&queues, &hook, numbered([2]))), ["a-2"]);
    // Of an unordered webhook it is given back.
    let hook = webhook("b", 1);
    let _reserved: Vec<_> = (0..BUFFER).map(|_| queues.reserve(&hook)).collect();
    assert_eq!(ids(offer(&queues, &hook, deliveries("b", 1))), ["b-0"]);
}

#[test]
fn a_new_event_of_an_ordered_webhook_does_not_pass_one_that_is_being_spilled() {
    let queues = Arc::new(new_queues(9));
    let hook = ordered_webhook("a");
    let first = queues.reserve(&hook);
    assert!(!first.in_memory());
    learn(&queues, &hook, OrderAnswer::Open);
    assert!(!queues.reserve(&hook).in_memory(), "the first is on its way into the database");
    spill(&queues, &hook);
    drop(first);
    assert!(!queues.reserve(&hook).in_memory(), "it is there now");
    learn(&queues, &hook, OrderAnswer::Open);
    assert!(queues.reserve(&hook).in_memory());
}

#[test]
fn a_blocked_queue_takes_nothing_into_memory_and_asks_once_it_is_free() {
    let queues = Arc::new(new_queues(9));
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered([1, 2]));
    learn(&queues, &hook, OrderAnswer::Open);
    let first = take(&queues).unwrap();
    end(&queues, &first, true);
    assert!(!queues.reserve(&hook).in_memory() && !spill(&queues, &hook) && queues.backlogs_to_fetch().is_empty());
    offer(&queues, &hook, vec![first]);
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    // First the rows before the last in memory, as often as there are any; then those behind it.
    for order in [OrderAnswer::NotAsked, OrderAnswer::Open] {
        assert!(queues.take().is_none());
        let fetch = queues.backlogs_to_fetch().remove(0);
        assert_eq!(fetch.before.as_deref(), Some("a-2"));
        end_fetch_with_more(&queues, &fetch, order);
    }
    assert_eq!(take(&queues).unwrap().id, "a-2");
    assert_eq!(queues.backlogs_to_fetch().remove(0).before, None);
}

#[test]
fn an_outdated_answer_does_not_block_an_ordered_queue() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered([1, 2]));
    learn(&queues, &hook, OrderAnswer::Open);
    spill(&queues, &hook);
    let fetch = queues.backlogs_to_fetch().remove(0);
    // While the database is asked, the first fails, waits for its retry, and is delivered.
    let first = take(&queues).unwrap();
    end(&queues, &first, true);
    offer(&queues, &hook, vec![first]);
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    end_fetch(&queues, &fetch, blocked_by("a-1"));
    assert!(queues.take().is_none());
    learn(&queues, &hook, OrderAnswer::Open);
    assert_eq!(take(&queues).unwrap().id, "a-2");
}

#[test]
fn a_webhook_that_becomes_ordered_sorts_its_queue_and_asks_before_it_goes_on() {
    let queues = new_queues(9);
    offer(&queues, &webhook("a", 9), numbered([3, 1, 2]));
    let effects = queues.webhook_changed(&ordered_webhook("a"));
    assert!(effects.wake_fetcher && queues.take().is_none());
    let fetch = one_fetch(&queues);
    assert_eq!((fetch.kind, fetch.before.as_deref()), (BacklogKind::Ordered, Some("a-3")));
    assert!(end_fetch(&queues, &fetch, OrderAnswer::Open));
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    assert_eq!((first.id.as_str(), &*take(&queues).unwrap().id), ("a-1", "a-2"));
    // And back: nothing is asked, and slots are used side by side.
    let _ = queues.webhook_changed(&webhook("a", 9));
    assert_eq!(ids(take_all(&queues)), ["a-3"]);
    assert_eq!(one_fetch(&queues).kind, BacklogKind::Unordered);
}

#[test]
fn a_webhook_that_becomes_ordered_without_a_notice_asks_too() {
    let queues = new_queues(9);
    offer(&queues, &webhook("a", 9), numbered([3, 1]));
    offer(&queues, &ordered_webhook("a"), numbered([2]));
    assert!(queues.take().is_none());
    let fetch = one_fetch(&queues);
    end_fetch(&queues, &fetch, OrderAnswer::Open);
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    assert_eq!((first.id.as_str(), &*take(&queues).unwrap().id), ("a-1", "a-2"));
}

#[test]
fn replays_of_an_ordered_webhook_wait_until_nothing_waits_for_a_retry() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    let _ = queues.offer(&hook, numbered([1]), Origin::Replay);
    assert!(queues.take().is_none());
    learn(&queues, &hook, blocked_by("a-3"));
    assert!(queues.take().is_none());
    let _ = queues.prune();
    let fetch = one_fetch(&queues);
    assert_eq!((fetch.kind, fetch.before.as_deref()), (BacklogKind::Ordered, None));
    assert!(end_fetch(&queues, &fetch, OrderAnswer::Open));
    assert_eq!(ids(take_all(&queues)), ["a-1"]);
}

#[test]
fn a_requested_retry_joins_an_ordered_queue_in_its_place_and_has_it_ask_again() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    offer(&queues, &hook, numbered([1, 5]));
    learn(&queues, &hook, blocked_by("a-0"));
    let effects = queues.retry_now(&hook, delivery("c", "a", 3));
    assert!(effects.wake_fetcher && queues.take().is_none());
    learn(&queues, &hook, OrderAnswer::Open);
    let effects = queues.expedite(&hook, "a-5");
    assert!(effects.wake_fetcher && queues.take().is_none());
    learn(&queues, &hook, OrderAnswer::Open);
    let order = [(); 3].map(|()| {
        let taken = take(&queues).unwrap();
        end(&queues, &taken, false);
        taken.id
    });
    assert_eq!(order, ["a-1", "a-3", "a-5"]);
}

#[test]
fn an_ordered_queue_that_knows_its_order_is_kept() {
    let queues = new_queues(9);
    let hook = ordered_webhook("a");
    learn(&queues, &hook, OrderAnswer::Open);
    let _ = queues.prune();
    assert_eq!(queues.lock().queues.len(), 1);
    let _ = queues.webhook_removed("a");
    assert!(queues.lock().queues.is_empty());
}
