//! Lanes that keep the order.

use super::*;

fn ordered(id: &str) -> Webhook {
    Webhook { ordered: true, ..webhook(id, 32) }
}

/// Has the lane learn that nothing but what it holds waits for a retry, or this.
fn learn(lanes: &Lanes, hook: &Webhook, barrier: Option<&str>) {
    lanes.parked(hook);
    let refill = lanes.to_refill().remove(0);
    assert_eq!(refill.wanted, Wanted::Ordered);
    lanes.refilled(&refill, Refilled { more: false, barrier: Some(barrier.map(str::to_owned)) });
}

#[test]
fn an_ordered_lane_takes_nothing_before_it_knows_what_waits() {
    let lanes = Arc::new(Lanes::new(9));
    let hook = ordered("a");
    assert!(!lanes.reserve(&hook).in_memory);
    lanes.offer(&hook, vec![job("c", "a", 2), job("c", "a", 1)], false);
    assert!(lanes.take().is_none());
    learn(&lanes, &hook, None);
    assert!(lanes.reserve(&hook).in_memory);
    let first = take(&lanes).unwrap();
    assert_eq!(first.delivery, "a-1");
    assert!(lanes.take().is_none(), "one at a time");
    lanes.done(&first, false);
    assert_eq!(take(&lanes).unwrap().delivery, "a-2");
}

#[test]
fn in_an_ordered_lane_what_waits_for_its_retry_is_not_passed() {
    let lanes = Lanes::new(9);
    let hook = ordered("a");
    lanes.offer(&hook, vec![job("c", "a", 1), job("c", "a", 2), job("c", "a", 4)], false);
    learn(&lanes, &hook, Some("a-3"));
    let first = take(&lanes).unwrap();
    lanes.done(&first, true);
    assert!(lanes.take().is_none(), "the first waits for its retry");
    lanes.offer(&hook, vec![first], false);
    let first = take(&lanes).unwrap();
    assert_eq!(first.delivery, "a-1");
    lanes.done(&first, false);
    // The first stood in the way of learning anew what else does.
    assert!(lanes.take().is_none());
    learn(&lanes, &hook, Some("a-3"));
    let second = take(&lanes).unwrap();
    lanes.done(&second, false);
    assert!(lanes.take().is_none(), "the fourth must not pass the third");
    lanes.tidy();
    learn(&lanes, &hook, None);
    assert_eq!(take(&lanes).unwrap().delivery, "a-4");
}

#[test]
fn an_ordered_lane_that_is_full_asks_all_the_same() {
    let lanes = Arc::new(Lanes::new(9));
    let hook = ordered("a");
    lanes.offer(&hook, vec![job("c", "a", 0)], false);
    learn(&lanes, &hook, None);
    lanes.offer(&hook, (1000..1000 + BUFFER).map(|number| job("c", "a", number)).collect(), false);
    let first = take(&lanes).unwrap();
    lanes.done(&first, true);
    lanes.offer(&hook, vec![first], false);
    let first = take(&lanes).unwrap();
    lanes.done(&first, false);
    assert!(lanes.take().is_none());
    let refill = lanes.to_refill().remove(0);
    assert_eq!((refill.wanted, refill.before.as_deref()), (Wanted::Ordered, Some("a-2022")));
    lanes.refilled(&refill, Refilled { more: true, barrier: Some(None) });
    assert_eq!(take(&lanes).unwrap().delivery, "a-1000");
}

#[test]
fn into_a_full_ordered_lane_comes_what_is_before_its_last() {
    let lanes = Lanes::new(9);
    let hook = ordered("a");
    lanes.offer(&hook, (1000..1000 + BUFFER).map(|number| job("c", "a", number)).collect(), false);
    learn(&lanes, &hook, None);
    assert_eq!(names(lanes.offer(&hook, vec![job("c", "a", 3000)], false).1), ["a-3000"]);
    assert_eq!(names(lanes.offer(&hook, vec![job("c", "a", 0)], false).1), ["a-2023"]);
    assert!(!Arc::new(lanes).reserve(&hook).in_memory, "it would pass what was pushed out");
}

#[test]
fn what_is_fresh_does_not_pass_what_is_being_stored_without_a_place() {
    let lanes = Arc::new(Lanes::new(9));
    let hook = ordered("a");
    let first = lanes.reserve(&hook);
    assert!(!first.in_memory);
    learn(&lanes, &hook, None);
    assert!(!lanes.reserve(&hook).in_memory, "the first is on its way into the database");
    lanes.parked(&hook);
    drop(first);
    assert!(!lanes.reserve(&hook).in_memory, "it is there now");
    learn(&lanes, &hook, None);
    assert!(lanes.reserve(&hook).in_memory);
}

#[test]
fn a_blocked_lane_takes_nothing_into_memory_and_asks_once_it_is_free() {
    let lanes = Arc::new(Lanes::new(9));
    let hook = ordered("a");
    lanes.offer(&hook, vec![job("c", "a", 1), job("c", "a", 2)], false);
    learn(&lanes, &hook, None);
    let first = take(&lanes).unwrap();
    lanes.done(&first, true);
    assert!(!lanes.reserve(&hook).in_memory && !lanes.parked(&hook) && lanes.to_refill().is_empty());
    lanes.offer(&hook, vec![first], false);
    let first = take(&lanes).unwrap();
    lanes.done(&first, false);
    // First what is before the last in memory, as often as there is any; then what comes behind it.
    for barrier in [None, Some(None)] {
        assert!(lanes.take().is_none());
        let refill = lanes.to_refill().remove(0);
        assert_eq!(refill.before.as_deref(), Some("a-2"));
        lanes.refilled(&refill, Refilled { more: true, barrier });
    }
    assert_eq!(take(&lanes).unwrap().delivery, "a-2");
    assert_eq!(lanes.to_refill().remove(0).before, None);
}

#[test]
fn an_answer_that_is_out_of_date_does_not_block_an_ordered_lane() {
    let lanes = Lanes::new(9);
    let hook = ordered("a");
    lanes.offer(&hook, vec![job("c", "a", 1), job("c", "a", 2)], false);
    learn(&lanes, &hook, None);
    lanes.parked(&hook);
    let refill = lanes.to_refill().remove(0);
    // While the database is asked, the first fails, waits for its retry, and comes through.
    let first = take(&lanes).unwrap();
    lanes.done(&first, true);
    lanes.offer(&hook, vec![first], false);
    let first = take(&lanes).unwrap();
    lanes.done(&first, false);
    lanes.refilled(&refill, Refilled { more: false, barrier: Some(Some("a-1".into())) });
    assert!(lanes.take().is_none());
    learn(&lanes, &hook, None);
    assert_eq!(take(&lanes).unwrap().delivery, "a-2");
}
