//! Whose delivery is attempted next.

use super::super::rounds::FairRounds;
use super::*;

#[test]
fn webhooks_are_served_in_turn_whatever_their_backlog() {
    let queues = new_queues(100);
    offer(&queues, &webhook("a", 100), deliveries("a", 50));
    offer(&queues, &webhook("b", 100), deliveries("b", 2));
    let order = ids((0..5).map(|_| take(&queues).unwrap()));
    assert_eq!(order, ["a-0", "b-0", "a-1", "b-1", "a-2"]);
}

#[test]
fn companies_are_served_in_turn_however_many_webhooks_they_have() {
    let queues = new_queues(100);
    for id in ["a", "b", "c"] {
        let hook = webhook_of("many", id, 9);
        make_healthy(&queues, &hook);
        offer(&queues, &hook, deliveries_of("many", id, 9));
    }
    let hook = webhook_of("one", "x", 9);
    make_healthy(&queues, &hook);
    offer(&queues, &hook, deliveries_of("one", "x", 9));
    assert_eq!(ids((0..6).map(|_| take(&queues).unwrap())), ["a-0", "x-0", "b-0", "x-1", "c-0", "x-2"]);
}

#[test]
fn a_company_leaves_as_many_attempts_free_as_it_has_in_flight() {
    let queues = new_queues(12);
    let taken = |company: &str| {
        let hook = webhook_of(company, company, 99);
        make_healthy(&queues, &hook);
        offer(&queues, &hook, deliveries_of(company, company, 50));
        let taken = take_all(&queues);
        assert!(taken.iter().all(|delivery| delivery.event.company() == company));
        taken
    };
    let first = taken("a");
    assert_eq!((first.len(), taken("b").len(), taken("c").len()), (6, 3, 2));
    // A company with more than its share now is not served again before others are.
    for delivery in &first[..2] {
        end(&queues, delivery, false);
    }
    assert_eq!(take(&queues).unwrap().event.company(), "c");
}

#[test]
fn slots_bound_the_attempts_in_flight_of_one_webhook() {
    let queues = new_queues(99);
    offer(&queues, &webhook("a", 2), deliveries("a", 5));
    let first = take(&queues).unwrap();
    take(&queues).unwrap();
    assert!(queues.take().is_none());
    end(&queues, &first, false);
    assert_eq!(take(&queues).unwrap().id, "a-2");
}

#[test]
fn a_webhook_without_slots_has_one() {
    let queues = new_queues(99);
    offer(&queues, &webhook("a", 0), deliveries("a", 5));
    assert_eq!(ids(take_all(&queues)), ["a-0"]);
}

#[test]
fn workers_are_bounded_and_each_starts_the_next_while_there_is_work() {
    let queues = new_queues(2);
    let hook = webhook("a", 9);
    make_healthy(&queues, &hook);
    assert!(queues.offer(&hook, deliveries("a", 5), Origin::Live).start_worker);
    let (first, effects) = queues.take().unwrap();
    assert!(effects.start_worker);
    assert!(queues.take().is_none(), "a company alone has half");
    end(&queues, &first, false);
    let (_, effects) = queues.take().unwrap();
    assert!(effects.start_worker && queues.take().is_none());
    assert!(!queues.offer(&webhook("b", 9), vec![], Origin::Live).start_worker || queues.take().is_none());
}

#[test]
fn no_more_workers_are_started_than_attempts_may_be_in_flight() {
    let queues = new_queues(3);
    let hook = webhook("a", 9);
    let started = |number| queues.offer(&hook, vec![delivery("c", "a", number)], Origin::Live).start_worker;
    assert_eq!([started(0), started(1), started(2), started(3)], [true, true, true, false]);
    // A worker that finds nothing to take ends, and another may be started in its place.
    assert_eq!(take_all(&queues).len(), 2);
    assert_eq!([started(4), started(5)], [false, false], "the company has its share");
    let other = webhook_of("d", "b", 9);
    let started = |number| queues.offer(&other, vec![delivery("d", "b", number)], Origin::Live).start_worker;
    assert_eq!([started(0), started(1)], [true, false]);
}

#[test]
fn a_worker_is_started_only_for_a_class_with_room() {
    let queues = new_queues(8);
    let silent = Webhook { failing_since: Some(0), ..webhook("a", 9) };
    assert!(queues.offer(&silent, deliveries("a", 5), Origin::Live).start_worker);
    let taken = take(&queues).unwrap();
    assert_eq!(taken.class, AttemptClass::Restricted);
    assert!(
        !queues.offer(&silent, vec![delivery("c", "a", 9)], Origin::Live).start_worker,
        "one of eight is in flight"
    );
    end(&queues, &taken, false);
    assert!(queues.offer(&silent, vec![], Origin::Live).start_worker);
}

#[test]
fn closed_queues_hand_out_nothing() {
    let queues = new_queues(1);
    offer(&queues, &webhook("a", 1), deliveries("a", 1));
    queues.close();
    assert!(queues.take().is_none());
    assert!(!queues.offer(&webhook("a", 1), deliveries("b", 1), Origin::Live).start_worker);
}

#[test]
fn a_wait_counts_only_while_there_is_a_free_slot() {
    let (clock, queues) = TestClock::with_queues(9);
    offer(&queues, &webhook("a", 1), deliveries("a", 3));
    let first = take(&queues).unwrap();
    clock.advance(100 * SECOND);
    assert_eq!(queues.longest_wait(), None);
    end(&queues, &first, false);
    clock.advance(61 * SECOND);
    assert_eq!(queues.longest_wait(), Some(61 * SECOND));
}

/// Serves the next webhook as the scheduler does.
fn serve(rounds: &mut FairRounds, class: AttemptClass) -> Option<String> {
    let company = rounds.next_company(class)?;
    let webhook = rounds.next_webhook(&company, class);
    rounds.end_turn(company, class);
    webhook.map(|webhook| webhook.to_string())
}

#[test]
fn rounds_serve_companies_first_in_first_out_and_each_ones_webhooks_too() {
    let mut rounds = FairRounds::new(9);
    let mut listed = false;
    for (company, webhook) in [("c", "c1"), ("c", "c2"), ("c", "c3"), ("d", "d1"), ("e", "e1"), ("e", "e2")] {
        listed = false;
        rounds.enlist(&company.into(), &webhook.into(), AttemptClass::Unproven, &mut listed);
        assert!(listed);
    }
    rounds.enlist(&"e".into(), &"e2".into(), AttemptClass::Unproven, &mut listed);
    assert_eq!(rounds.companies_in(AttemptClass::Unproven), 3);
    assert_eq!(
        (rounds.webhooks_in("c", AttemptClass::Unproven), rounds.webhooks_in("e", AttemptClass::Unproven)),
        (3, 2)
    );
    assert_eq!(rounds.companies_in(AttemptClass::Healthy) + rounds.webhooks_in("c", AttemptClass::Restricted), 0);
    assert_eq!(rounds.webhooks_in("nobody", AttemptClass::Unproven), 0);
    let served: Vec<_> = std::iter::from_fn(|| serve(&mut rounds, AttemptClass::Unproven)).collect();
    assert_eq!(served, ["c1", "d1", "e1", "c2", "e2", "c3"]);
    assert!(rounds.is_empty());
}

#[test]
fn a_company_is_remembered_while_it_has_an_attempt_in_flight_or_stands_in_a_round() {
    let mut rounds = FairRounds::new(9);
    let mut listed = false;
    rounds.enlist(&"c".into(), &"c1".into(), AttemptClass::Healthy, &mut listed);
    rounds.forget_if_idle("c");
    assert!(!rounds.is_empty(), "it stands in a round");
    rounds.attempt_began("c", AttemptClass::Healthy, 0);
    assert_eq!(serve(&mut rounds, AttemptClass::Healthy).as_deref(), Some("c1"));
    rounds.forget_if_idle("c");
    assert!(!rounds.has_fair_share("c", AttemptClass::Healthy));
    for _ in 1..5 {
        rounds.attempt_began("c", AttemptClass::Healthy, 0);
    }
    assert!(rounds.has_fair_share("c", AttemptClass::Healthy), "five of nine are in flight");
    assert!(!rounds.has_fair_share("d", AttemptClass::Healthy));
    for _ in 0..5 {
        rounds.attempt_ended("c", AttemptClass::Healthy, 0);
    }
    assert!(!rounds.has_fair_share("c", AttemptClass::Healthy));
    rounds.forget_if_idle("c");
    assert!(rounds.is_empty());
}

#[test]
fn a_company_whose_turn_has_begun_is_not_forgotten() {
    let mut rounds = FairRounds::new(9);
    let mut listed = false;
    rounds.enlist(&"c".into(), &"c1".into(), AttemptClass::Healthy, &mut listed);
    let company = rounds.next_company(AttemptClass::Healthy).unwrap();
    rounds.next_webhook(&company, AttemptClass::Healthy).unwrap();
    rounds.forget_if_idle("c");
    // A webhook that joins during the turn is served in the next one, once.
    listed = false;
    rounds.enlist(&"c".into(), &"c1".into(), AttemptClass::Healthy, &mut listed);
    assert_eq!(rounds.companies_in(AttemptClass::Healthy), 0);
    rounds.end_turn(company, AttemptClass::Healthy);
    assert_eq!(rounds.companies_in(AttemptClass::Healthy), 1);
    assert_eq!(serve(&mut rounds, AttemptClass::Healthy).as_deref(), Some("c1"));
}

#[test]
fn a_company_that_has_ended_all_its_attempts_costs_nothing() {
    let queues = new_queues(9);
    offer(&queues, &webhook("a", 1), deliveries("a", 1));
    let first = take(&queues).unwrap();
    assert!(!queues.lock().rounds.is_empty());
    end(&queues, &first, false);
    assert!(queues.lock().is_empty() && queues.lock().queues.is_empty());
}
