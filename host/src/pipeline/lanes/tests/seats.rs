//! Lanes of one node among several.

use super::*;

/// Lanes of one of `count` nodes.
fn shared(count: u32) -> Arc<Lanes> {
    let lanes = Arc::new(Lanes::new(100));
    lanes.nodes(count);
    lanes
}

fn paced(id: &str) -> Webhook {
    Webhook { rate_limit: Some(1000), ..webhook(id, 32) }
}

fn ordered(id: &str) -> Webhook {
    Webhook { ordered: true, ..webhook(id, 32) }
}

/// The one refill that is wanted.
fn refill(lanes: &Lanes) -> Refill {
    let mut refills = lanes.to_refill();
    assert_eq!(refills.len(), 1, "{refills:?}");
    refills.remove(0)
}

/// Gets the webhook's seat.
fn sit(lanes: &Lanes, hook: &Webhook) {
    lanes.parked(hook);
    let refill = refill(lanes);
    assert!(refill.seatless);
    lanes.seated(&refill);
    lanes.refilled(&refill, Refilled { more: false, barrier: Some(None) });
}

#[test]
fn slots_are_divided_among_the_nodes() {
    let lanes = shared(3);
    let hook = webhook("a", 32);
    proven(&lanes, &hook);
    lanes.offer(&hook, jobs("a", 50), false);
    assert_eq!(all(&lanes).len(), 10);
    assert!(lanes.nodes(2), "the others have gone");
    assert_eq!(all(&lanes).len(), 6);
    let lanes = shared(40);
    proven(&lanes, &hook);
    lanes.offer(&hook, jobs("a", 50), false);
    assert_eq!(all(&lanes).len(), 1, "one at least");
}

#[test]
fn a_webhook_with_few_slots_has_all_of_them_where_its_seat_is_and_none_elsewhere() {
    for hook in [webhook("a", 15), paced("a"), ordered("a")] {
        let lanes = shared(2);
        assert!(!lanes.answers_for(&hook) && !lanes.reserve(&hook).in_memory);
        let (_, given_back) = lanes.offer(&hook, jobs("a", 3), false);
        assert_eq!(names(given_back), ["a-0", "a-1", "a-2"]);
        assert!(lanes.urge(&hook, job("c", "a", 4)).1.is_some() && lanes.take().is_none());
        let refill = refill(&lanes);
        assert!(refill.seatless);
        lanes.refused(&refill);
        assert!(lanes.to_refill().is_empty() && !lanes.reserve(&hook).in_memory, "it is another node's now");
        assert!(!lanes.told(&hook));
    }
    let lanes = shared(2);
    let hook = webhook("a", 15);
    sit(&lanes, &hook);
    assert!(lanes.reserve(&hook).in_memory);
    proven(&lanes, &hook);
    lanes.offer(&hook, jobs("a", 50), false);
    assert_eq!(all(&lanes).len(), 15);
}

#[test]
fn alone_for_ever_nobody_asks_for_a_seat() {
    let lanes = Arc::new(Lanes::new(100));
    assert!(lanes.reserve(&webhook("a", 1)).in_memory && lanes.reserve(&paced("b")).in_memory);
    lanes.parked(&ordered("c"));
    assert!(!refill(&lanes).seatless);
    assert!(lanes.told(&ordered("c")));
}

#[test]
fn a_seat_outlives_the_lane() {
    let lanes = shared(2);
    let hook = webhook("a", 1);
    sit(&lanes, &hook);
    lanes.tidy();
    assert!(lanes.lock().lanes.is_empty());
    assert!(lanes.reserve(&hook).in_memory);
    assert!(lanes.told(&hook));
    assert!(!refill(&lanes).seatless);
    lanes.drain("a");
    assert!(lanes.answers_for(&hook), "it was only disabled");
    lanes.removed("a");
    assert!(!lanes.answers_for(&hook) && !lanes.told(&hook));
}

#[test]
fn what_is_published_for_an_ordered_webhook_passes_the_database_even_where_its_seat_is() {
    let lanes = shared(2);
    let hook = ordered("a");
    sit(&lanes, &hook);
    assert!(lanes.answers_for(&hook) && !lanes.reserve(&hook).in_memory);
    assert!(lanes.parked(&hook), "it is fetched at once");
}

#[test]
fn the_word_of_another_node_has_what_it_parked_fetched() {
    let lanes = shared(2);
    let hook = webhook("a", 1);
    sit(&lanes, &hook);
    let place = lanes.reserve(&hook);
    assert!(lanes.told(&hook));
    assert_eq!(refill(&lanes).wanted, Wanted::Parked);
    drop(place);
}

#[test]
fn a_lane_is_behind_a_webhook_that_was_changed_elsewhere_and_not_one_whose_receiver_was_judged() {
    let lanes = shared(2);
    let hook = webhook("a", 32);
    assert!(!lanes.is_behind(&hook), "no lane");
    lanes.reserve(&hook);
    lanes.parked(&hook);
    assert!(!lanes.is_behind(&Webhook { proven: true, failing_since: Some(1), ..hook.clone() }));
    let changed = Webhook { updated_at: 1, ..hook };
    lanes.reserve(&changed);
    assert!(lanes.is_behind(&changed), "that an event came first changes nothing");
    lanes.changed(&changed);
    assert!(!lanes.is_behind(&changed));
}

#[test]
fn what_was_parked_while_the_seat_was_refused_asks_again() {
    let lanes = shared(2);
    let hook = webhook("a", 1);
    lanes.parked(&hook);
    let asked = refill(&lanes);
    lanes.parked(&hook);
    lanes.refused(&asked);
    assert!(refill(&lanes).seatless);
}

#[test]
fn a_lane_that_gets_an_owner_holds_still_and_gives_back_what_another_node_is_to_send() {
    let lanes = shared(2);
    lanes.offer(&webhook("a", 32), jobs("a", 20), false);
    let first = take(&lanes).unwrap();
    lanes.changed(&ordered("a"));
    assert!(lanes.take().is_none());
    let asked = refill(&lanes);
    assert_eq!(lanes.refused(&asked).len(), 19);
    lanes.done(&first, false);
    lanes.tidy();
    assert!(lanes.lock().is_empty());
}

#[test]
fn a_node_that_is_called_dead_forgets_what_waits_and_its_seats() {
    let lanes = shared(2);
    let (hook, other) = (webhook("a", 1), webhook("b", 32));
    sit(&lanes, &hook);
    lanes.offer(&hook, jobs("a", 5), false);
    lanes.offer(&other, jobs("b", 5), false);
    let (first, place) = (take(&lanes).unwrap(), lanes.reserve(&hook));
    lanes.parked(&hook);
    let old = refill(&lanes);
    assert_eq!(lanes.lose_all().len(), 9);
    assert!(lanes.take().is_none() && !lanes.answers_for(&hook));
    // What was on its way into memory, or asked for, before.
    lanes.seated(&old);
    lanes.refilled(&old, Refilled::default());
    assert!(!lanes.answers_for(&hook), "the seat was got under the old name");
    lanes.put(&place, job("c", "a", 9));
    assert!(lanes.take().is_none());
    let asked = refill(&lanes);
    assert!(asked.seatless && asked.term > old.term);
    assert_eq!(names(lanes.refused(&asked)), ["a-9"]);
    lanes.done(&first, false);
    drop(place);
    lanes.tidy();
    assert!(lanes.lock().is_empty());
}

#[test]
fn an_ordered_lane_that_lost_its_seat_asks_anew_what_must_not_be_passed() {
    let lanes = shared(2);
    let hook = ordered("a");
    sit(&lanes, &hook);
    lanes.lose_all();
    sit(&lanes, &hook);
    lanes.offer(&hook, jobs("a", 2), false);
    assert_eq!(names(take(&lanes)), ["a-0"]);
}

#[test]
fn a_fenced_node_begins_nothing_and_is_not_stuck_either() {
    let (hands, lanes) = Hands::lanes(100);
    let second = Duration::from_secs(1);
    lanes.fence((lanes.now)() + 15 * second);
    lanes.offer(&webhook("a", 1), jobs("a", 2), false);
    let first = take(&lanes).unwrap();
    lanes.done(&first, false);
    hands.pass(14 * second);
    assert!(!lanes.is_fenced());
    assert_eq!(lanes.longest_wait(), Some(14 * second));
    hands.pass(second);
    assert!(lanes.is_fenced() && lanes.take().is_none());
    assert_eq!(lanes.longest_wait(), None);
    assert!(!lanes.offer(&webhook("b", 1), jobs("b", 1), false).0, "no worker is of use");
    assert!(lanes.fence((lanes.now)() + 15 * second));
    assert_eq!(lanes.longest_wait(), Some(Duration::ZERO));
    assert_eq!(all(&lanes).len(), 2);
}
