//! The queues of one node among several.

use super::*;

/// Queues of one of `count` nodes.
fn shared(count: u32) -> Arc<WebhookQueues> {
    let queues = Arc::new(new_queues(100));
    let _ = queues.set_node_count(count);
    queues
}

/// Ends a fetch as another node's owner would have it. Returns the deliveries given back.
fn refuse(queues: &WebhookQueues, fetch: &BacklogFetch) -> Vec<QueuedDelivery> {
    let effects = queues.ownership_refused(fetch);
    assert!(!effects.start_worker && !effects.wake_fetcher);
    effects.give_back
}

/// Claims the ownership of the webhook.
fn own(queues: &WebhookQueues, hook: &Webhook) {
    spill(queues, hook);
    let fetch = one_fetch(queues);
    assert!(fetch.needs_ownership);
    queues.ownership_granted(&fetch);
    end_fetch(queues, &fetch, OrderAnswer::Open);
}

/// Returns whether the fetcher is woken.
fn notified(queues: &WebhookQueues, hook: &Webhook) -> bool {
    queues.spilled_elsewhere(hook).wake_fetcher
}

#[test]
fn slots_are_divided_among_the_nodes() {
    let queues = shared(3);
    let hook = webhook("a", 32);
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 50));
    assert_eq!(take_all(&queues).len(), 10);
    assert!(queues.set_node_count(2).start_worker, "the others have gone");
    assert_eq!(take_all(&queues).len(), 6);
    let queues = shared(40);
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 50));
    assert_eq!(take_all(&queues).len(), 1, "one at least");
}

#[test]
fn a_webhook_with_few_slots_has_all_of_them_at_its_owner_and_none_elsewhere() {
    for hook in [webhook("a", 15), rate_limited_webhook("a", 1000), ordered_webhook("a")] {
        let queues = shared(2);
        assert!(!queues.may_serve(&hook) && !queues.reserve(&hook).in_memory());
        assert_eq!(ids(offer(&queues, &hook, deliveries("a", 3))), ["a-0", "a-1", "a-2"]);
        let effects = queues.retry_now(&hook, delivery("c", "a", 4));
        assert!(!effects.give_back.is_empty() && effects.wake_fetcher && queues.take().is_none());
        let fetch = one_fetch(&queues);
        assert!(fetch.needs_ownership);
        assert!(refuse(&queues, &fetch).is_empty());
        assert!(queues.backlogs_to_fetch().is_empty() && !queues.reserve(&hook).in_memory(), "another node owns it");
        assert!(!notified(&queues, &hook));
    }
    let queues = shared(2);
    let hook = webhook("a", 15);
    own(&queues, &hook);
    assert!(queues.reserve(&hook).in_memory());
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 50));
    assert_eq!(take_all(&queues).len(), 15);
}

#[test]
fn a_node_that_is_always_alone_claims_no_ownership() {
    let queues = Arc::new(new_queues(100));
    assert!(queues.reserve(&webhook("a", 1)).in_memory());
    assert!(queues.reserve(&rate_limited_webhook("b", 1000)).in_memory());
    spill(&queues, &ordered_webhook("c"));
    assert!(!one_fetch(&queues).needs_ownership);
    assert!(notified(&queues, &ordered_webhook("c")));
}

#[test]
fn ownership_outlives_the_queue() {
    let queues = shared(2);
    let hook = webhook("a", 1);
    own(&queues, &hook);
    let _ = queues.prune();
    assert!(queues.lock().queues.is_empty());
    assert!(queues.reserve(&hook).in_memory());
    assert!(notified(&queues, &hook));
    assert!(!one_fetch(&queues).needs_ownership);
    let _ = queues.webhook_disabled("a");
    assert!(queues.may_serve(&hook), "it was only disabled");
    assert!(queues.webhook_removed("a").is_empty());
    assert!(!queues.may_serve(&hook) && !notified(&queues, &hook));
}

#[test]
fn new_events_of_an_ordered_webhook_are_spilled_even_at_its_owner() {
    let queues = shared(2);
    let hook = ordered_webhook("a");
    own(&queues, &hook);
    assert!(queues.may_serve(&hook) && !queues.reserve(&hook).in_memory());
    assert!(spill(&queues, &hook), "it is fetched at once");
}

#[test]
fn a_notification_of_another_node_has_its_spilled_deliveries_fetched() {
    let queues = shared(2);
    let hook = webhook("a", 1);
    own(&queues, &hook);
    let place = queues.reserve(&hook);
    assert!(notified(&queues, &hook));
    let fetch = one_fetch(&queues);
    assert_eq!(fetch.kind, BacklogKind::Unordered);
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    assert_eq!(one_fetch(&queues).kind, BacklogKind::Replay, "or it has marked some for replay");
    drop(place);
}

#[test]
fn a_notification_about_a_webhook_without_a_queue_makes_none() {
    let queues = shared(2);
    assert!(!notified(&queues, &webhook("a", 32)));
    assert!(queues.lock().queues.is_empty());
}

#[test]
fn a_queue_is_outdated_after_a_change_elsewhere_and_not_after_a_judgement_of_its_receiver() {
    let queues = shared(2);
    let hook = webhook("a", 32);
    assert!(!queues.is_outdated(&hook), "no queue");
    queues.reserve(&hook);
    spill(&queues, &hook);
    assert!(!queues.is_outdated(&Webhook { proven: true, failing_since: Some(1), ..hook.clone() }));
    let changed = Webhook { updated_at: 1, ..hook };
    queues.reserve(&changed);
    assert!(queues.is_outdated(&changed), "an event that came first changes nothing");
    let _ = queues.webhook_changed(&changed);
    assert!(!queues.is_outdated(&changed));
}

#[test]
fn webhooks_with_queues_are_found_by_company_and_type() {
    let queues = shared(2);
    let paid = |company: &str, id: &str| Webhook { event_type: "paid".into(), ..webhook_of(company, id, 32) };
    for hook in [paid("c", "old"), paid("c", "new"), paid("d", "other"), webhook("c", 32)] {
        spill(&queues, &hook);
    }
    let mut found: Vec<_> = queues.webhooks_of_type("c", "paid").iter().map(ToString::to_string).collect();
    found.sort();
    assert_eq!(found, ["new", "old"]);
}

#[test]
fn deliveries_spilled_while_the_ownership_was_refused_claim_it_again() {
    let queues = shared(2);
    let hook = webhook("a", 1);
    spill(&queues, &hook);
    let fetch = one_fetch(&queues);
    spill(&queues, &hook);
    assert!(refuse(&queues, &fetch).is_empty());
    assert!(one_fetch(&queues).needs_ownership);
}

#[test]
fn a_webhook_that_gets_an_owner_pauses_and_gives_back_the_deliveries_of_another_node() {
    let queues = shared(2);
    offer(&queues, &webhook("a", 32), deliveries("a", 20));
    let first = take(&queues).unwrap();
    let _ = queues.webhook_changed(&ordered_webhook("a"));
    assert!(queues.take().is_none());
    let fetch = one_fetch(&queues);
    assert_eq!(refuse(&queues, &fetch).len(), 19);
    end(&queues, &first, false);
    let _ = queues.prune();
    assert!(queues.lock().is_empty());
}

#[test]
fn a_webhook_that_gets_an_owner_without_a_notice_claims_the_ownership_for_what_it_holds() {
    let queues = shared(2);
    let paced = rate_limited_webhook("a", 1000);
    offer(&queues, &webhook("a", 32), deliveries("a", 2));
    assert!(!queues.may_serve(&paced) && queues.take().is_none());
    let fetch = one_fetch(&queues);
    assert!(fetch.needs_ownership);
    queues.ownership_granted(&fetch);
    assert!(end_fetch(&queues, &fetch, OrderAnswer::NotAsked));
    assert_eq!(take(&queues).unwrap().id, "a-0");
    // Without its owner, its slots are divided again.
    assert!(queues.may_serve(&webhook("b", 32)) && queues.may_serve(&webhook("a", 32)));
    // A queue that holds nothing has nothing to claim it for.
    queues.reserve(&webhook("d", 32));
    let place = queues.reserve(&webhook("d", 32));
    assert!(!queues.may_serve(&rate_limited_webhook("d", 1000)) && queues.backlogs_to_fetch().is_empty());
    drop(place);
}

#[test]
fn an_ownership_that_was_not_needed_any_more_is_kept_and_nothing_is_given_back() {
    let queues = shared(2);
    let (paced, free) = (rate_limited_webhook("a", 1000), webhook("a", 32));
    offer(&queues, &free, deliveries("a", 2));
    assert!(!queues.may_serve(&paced));
    let fetch = one_fetch(&queues);
    assert!(queues.may_serve(&free));
    assert!(refuse(&queues, &fetch).is_empty(), "every node serves it now");
    assert_eq!(take(&queues).unwrap().id, "a-0");
    own(&queues, &webhook("b", 1));
    offer(&queues, &webhook("b", 1), deliveries("b", 1));
    assert!(queues.may_serve(&webhook("b", 32)) && queues.may_serve(&webhook("b", 1)), "it owns it still");
}

#[test]
fn a_node_taken_for_dead_forgets_its_queues_and_its_ownerships() {
    let queues = shared(2);
    let (hook, other) = (webhook("a", 1), webhook("b", 32));
    own(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 5));
    offer(&queues, &other, deliveries("b", 5));
    let (first, place) = (take(&queues).unwrap(), queues.reserve(&hook));
    spill(&queues, &hook);
    let old = one_fetch(&queues);
    let effects = queues.ownership_lost();
    assert!(!effects.start_worker && !effects.wake_fetcher);
    assert_eq!(effects.give_back.len(), 9);
    assert!(queues.take().is_none() && !queues.may_serve(&hook));
    // A place reserved before, and a fetch begun before, come to their end.
    queues.ownership_granted(&old);
    end_fetch(&queues, &old, OrderAnswer::NotAsked);
    assert!(!queues.may_serve(&hook), "the ownership was claimed under the old name");
    let effects = queues.fill(&place, delivery("c", "a", 9));
    assert!(effects.wake_fetcher && !effects.start_worker);
    assert!(queues.take().is_none());
    let fetch = one_fetch(&queues);
    assert!(fetch.needs_ownership && fetch.term > old.term);
    assert_eq!(ids(refuse(&queues, &fetch)), ["a-9"]);
    assert!(one_fetch(&queues).needs_ownership, "the owner has to be notified of it");
    end(&queues, &first, false);
    drop(place);
    let _ = queues.prune();
    assert!(queues.lock().is_empty());
}

#[test]
fn an_ordered_queue_that_lost_its_ownership_asks_for_its_order_again() {
    let queues = shared(2);
    let hook = ordered_webhook("a");
    own(&queues, &hook);
    let _ = queues.ownership_lost();
    own(&queues, &hook);
    offer(&queues, &hook, deliveries("a", 2));
    assert_eq!(ids(take(&queues)), ["a-0"]);
}

/// A fence 15 seconds from now.
fn fence(clock: &TestClock) -> Fence {
    Fence { begins_none_from: clock.now() + 15 * SECOND, attempts_end_at: clock.now() + 30 * SECOND }
}

#[test]
fn attempts_in_flight_end_when_the_last_fence_says() {
    let (clock, queues) = TestClock::with_queues(100);
    assert_eq!(queues.attempts_end_at(), None);
    let _ = queues.set_fence(fence(&clock));
    assert_eq!(queues.attempts_end_at(), Some(clock.now() + 30 * SECOND));
    clock.advance(20 * SECOND);
    assert!(queues.is_fenced());
    let _ = queues.set_fence(fence(&clock));
    assert_eq!(queues.attempts_end_at(), Some(clock.now() + 30 * SECOND));
}

#[test]
fn a_fenced_node_begins_nothing_and_does_not_count_as_stuck() {
    let (clock, queues) = TestClock::with_queues(100);
    let _ = queues.set_fence(fence(&clock));
    offer(&queues, &webhook("a", 1), deliveries("a", 2));
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    clock.advance(14 * SECOND);
    assert!(!queues.is_fenced());
    assert_eq!(queues.longest_wait(), Some(14 * SECOND));
    clock.advance(SECOND);
    assert!(queues.is_fenced() && queues.take().is_none());
    assert_eq!(queues.longest_wait(), None);
    let effects = queues.offer(&webhook("b", 1), deliveries("b", 1), Origin::Live);
    assert!(!effects.start_worker, "no worker is of use");
    assert!(queues.set_fence(fence(&clock)).start_worker);
    assert_eq!(queues.longest_wait(), Some(Duration::ZERO));
    assert_eq!(take_all(&queues).len(), 2);
}

#[test]
fn a_wait_goes_on_while_the_fence_is_moved_in_time() {
    let (clock, queues) = TestClock::with_queues(100);
    offer(&queues, &webhook("a", 1), deliveries("a", 1));
    clock.advance(SECOND);
    let _ = queues.set_fence(fence(&clock));
    clock.advance(SECOND);
    let _ = queues.set_fence(fence(&clock));
    assert_eq!(queues.longest_wait(), Some(2 * SECOND));
}
