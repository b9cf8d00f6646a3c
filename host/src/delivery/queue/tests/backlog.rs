//! The exchange with the fetcher.

use super::super::fetches::{FETCHES, REPLAYS};
use super::*;

#[test]
fn a_queue_with_a_backlog_takes_no_new_event_until_it_is_fetched() {
    let queues = Arc::new(new_queues(1));
    let hook = webhook("a", 1);
    let place = queues.reserve(&hook);
    assert!(spill(&queues, &hook));
    assert!(!queues.reserve(&hook).in_memory());
    let fetch = queues.backlogs_to_fetch();
    assert_eq!((fetch.len(), fetch[0].room, fetch[0].kind), (1, BUFFER - 1, BacklogKind::Unordered));
    assert!(queues.backlogs_to_fetch().is_empty() && !queues.reserve(&hook).in_memory());
    end_fetch_with_more(&queues, &fetch[0], OrderAnswer::NotAsked);
    let fetch = one_fetch(&queues);
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    assert!(queues.reserve(&hook).in_memory());
    drop(place);
    assert!(queues.lock().queues.is_empty(), "an idle queue costs nothing");
}

#[test]
fn a_fetch_names_its_webhook() {
    let queues = new_queues(1);
    spill(&queues, &Webhook { event_type: "paid".into(), ..webhook_of("acme", "a", 1) });
    let fetch = one_fetch(&queues);
    assert_eq!((&*fetch.webhook_id, &*fetch.company, &*fetch.event_type), ("a", "acme", "paid"));
    assert_eq!((fetch.before, fetch.needs_ownership, fetch.term), (None, false, 0));
}

#[test]
fn backlogs_are_fetched_in_turn() {
    let queues = new_queues(1);
    for number in 0..FETCHES + 10 {
        spill(&queues, &webhook(&format!("w{number}"), 1));
    }
    let first = queues.backlogs_to_fetch();
    assert_eq!(first.len(), FETCHES);
    for fetch in &first {
        end_fetch_with_more(&queues, fetch, OrderAnswer::NotAsked);
    }
    let second: Vec<_> = queues.backlogs_to_fetch().into_iter().map(|fetch| fetch.webhook_id).collect();
    assert_eq!(second.iter().filter(|hook| !first.iter().any(|fetch| fetch.webhook_id == **hook)).count(), 10);
}

#[test]
fn the_least_recently_fetched_backlog_comes_first() {
    let queues = new_queues(1);
    let fetched = || {
        let fetches = queues.backlogs_to_fetch();
        fetches.iter().for_each(|fetch| end_fetch_with_more(&queues, fetch, OrderAnswer::NotAsked));
        fetches.into_iter().map(|fetch| fetch.webhook_id.to_string()).collect::<Vec<_>>()
    };
    let names: Vec<_> = (0..FETCHES + 1).map(|number| format!("w{number}")).collect();
    for name in &names {
        spill(&queues, &webhook(name, 1));
        let once = queues.backlogs_to_fetch();
        assert_eq!(once.len(), 1, "{name}");
        assert_eq!(*once[0].webhook_id, **name);
        // Keeps the queue, and with it the number of its fetch.
        offer(&queues, &webhook(name, 1), vec![delivery("c", name, 0)]);
        end_fetch(&queues, &once[0], OrderAnswer::NotAsked);
    }
    names.iter().for_each(|name| assert!(spill(&queues, &webhook(name, 1))));
    assert_eq!(fetched(), names[..FETCHES]);
    assert_eq!(fetched()[0], names[FETCHES]);
}

#[test]
fn a_backlog_is_fetched_once_half_of_the_queue_is_free() {
    let queues = new_queues(1);
    let hook = webhook("a", 1);
    offer(&queues, &hook, deliveries("a", BUFFER / 2));
    assert!(!spill(&queues, &hook) && queues.backlogs_to_fetch().is_empty());
    let first = take(&queues).unwrap();
    assert!(end(&queues, &first, false), "more than half is free now");
    assert_eq!(one_fetch(&queues).room, BUFFER / 2 + 1);
}

#[test]
fn replays_wait_behind_live_deliveries() {
    let queues = Arc::new(new_queues(9));
    let hook = webhook("a", 1);
    let _ = queues.replay_requested(&hook);
    let fetch = queues.backlogs_to_fetch().remove(0);
    assert_eq!((fetch.kind, fetch.room), (BacklogKind::Replay, REPLAYS));
    let old: Vec<_> = (10..13).map(|number| delivery("c", "a", number)).collect();
    let _ = queues.offer(&hook, old, Origin::Replay);
    end_fetch_with_more(&queues, &fetch, OrderAnswer::NotAsked);
    assert!(queues.backlogs_to_fetch().is_empty(), "there are enough of them");
    let first = take(&queues).unwrap();
    let place = queues.reserve(&hook);
    assert!(place.in_memory(), "replays do not spill new events");
    let _ = queues.fill(&place, delivery("c", "a", 1));
    end(&queues, &first, false);
    let second = take(&queues).unwrap();
    assert_eq!((first.id.as_str(), second.id.as_str()), ("a-10", "a-1"));
    end(&queues, &second, false);
    assert_eq!(take(&queues).unwrap().id, "a-11");
}

#[test]
fn replays_are_fetched_once_nothing_else_is_spilled_or_queued() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    spill(&queues, &hook);
    assert!(queues.replay_requested(&hook).wake_fetcher);
    let fetch = one_fetch(&queues);
    assert_eq!(fetch.kind, BacklogKind::Unordered, "spilled rows come first");
    offer(&queues, &hook, deliveries("a", 1));
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    assert!(queues.backlogs_to_fetch().is_empty(), "a delivery is queued");
    let first = take(&queues).unwrap();
    assert!(end(&queues, &first, false));
    assert_eq!(one_fetch(&queues).kind, BacklogKind::Replay);
}

#[test]
fn a_changed_webhook_fetches_everything_and_follows_its_settings() {
    let queues = new_queues(9);
    let hook = webhook("a", 1);
    offer(&queues, &hook, deliveries("a", 4));
    assert_eq!(take_all(&queues).len(), 1);
    let effects = queues.webhook_changed(&webhook("a", 2));
    assert!(effects.start_worker && effects.wake_fetcher && effects.give_back.is_empty());
    let fetch = one_fetch(&queues);
    assert_eq!(fetch.kind, BacklogKind::Unordered);
    assert_eq!(take_all(&queues).len(), 1);
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    let _ = queues.webhook_removed("a");
    assert!(queues.backlogs_to_fetch().is_empty());
}

#[test]
fn a_changed_webhook_fetches_its_replays_after_its_spilled_rows() {
    let queues = new_queues(9);
    let _ = queues.webhook_changed(&webhook("a", 2));
    let kinds = [(); 2].map(|()| {
        let fetch = one_fetch(&queues);
        end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
        fetch.kind
    });
    assert_eq!(kinds, [BacklogKind::Unordered, BacklogKind::Replay]);
}

#[test]
fn pruning_keeps_queues_with_a_reservation() {
    let queues = Arc::new(new_queues(9));
    let hook = webhook("a", 1);
    let in_memory = queues.reserve(&hook);
    let _ = queues.prune();
    assert_eq!((in_memory.in_memory(), queues.lock().queues.len()), (true, 1));
    spill(&queues, &hook);
    let spilling = queues.reserve(&hook);
    let fetch = one_fetch(&queues);
    end_fetch(&queues, &fetch, OrderAnswer::NotAsked);
    drop(in_memory);
    let _ = queues.prune();
    assert_eq!((spilling.in_memory(), queues.lock().queues.len()), (false, 1));
    drop(spilling);
    assert!(queues.lock().queues.is_empty());
}

#[test]
fn pruning_removes_queues_without_anything_worth_remembering() {
    let (clock, queues) = TestClock::with_queues(9);
    let hook = rate_limited_webhook("a", 1);
    offer(&queues, &hook, deliveries("a", 1));
    let first = take(&queues).unwrap();
    end(&queues, &first, false);
    let effects = queues.prune();
    assert!(!effects.wake_fetcher && !effects.start_worker && effects.give_back.is_empty());
    assert_eq!(queues.lock().queues.len(), 1, "its pace is worth remembering");
    clock.advance(SECOND);
    let _ = queues.prune();
    assert!(queues.lock().queues.is_empty());
}
