//! Tests of one shared resource.

use futures_util::FutureExt as _;

use super::*;

fn share(total: u64) -> Arc<Share> {
    Arc::new(Share::new(Resource::LogReads, total, &Metrics::new(0, [])))
}

/// Takes one unit at a time for a holder until it is refused.
fn take_all(share: &Arc<Share>, holder: &str) -> Vec<Part> {
    std::iter::from_fn(|| share.try_take(holder, 1).ok()).collect()
}

#[test]
fn holder_alone_has_half_and_later_ones_find_room() {
    let share = share(96);
    let first = take_all(&share, "a");
    assert_eq!((first.len(), share.usage("a"), share.usage("b")), (48, (48, 48), (0, 24)));
    let second = take_all(&share, "b");
    assert_eq!(second.len(), 24);
    let third = take_all(&share, "c");
    assert_eq!(third.len(), 12);
    drop(first);
    let more = take_all(&share, "b");
    assert_eq!(more.len(), 18, "as many as are then free");
    drop((second, third, more));
    assert_eq!(share.lock().used, 0);
    assert!(share.lock().held.is_empty(), "nothing is kept of a holder without parts");
}

#[test]
fn amounts_are_taken_in_the_unit_of_the_resource() {
    let share = share(100);
    let mut part = share.try_take("a", 30).unwrap();
    assert_eq!(share.try_take("a", 41).err(), Some(ShareExceeded { resource: Resource::LogReads, own: true }));
    part.grow(20).unwrap();
    assert_eq!(part.grow(1), Err(ShareExceeded { resource: Resource::LogReads, own: true }));
    assert_eq!(part.amount(), 50);
    assert_eq!(share.try_take("b", 51).err(), Some(ShareExceeded { resource: Resource::LogReads, own: false }));
    part.hold(1);
    assert_eq!((part.amount(), share.usage("a").0), (51, 51));
    part.shrink(2);
    let rest = share.try_take("b", 51).unwrap();
    drop((part, rest));
    assert_eq!(share.lock().used, 0);
}

#[test]
fn holder_may_have_a_given_amount_in_place_of_its_share() {
    let share = share(10);
    let own: Vec<_> = std::iter::from_fn(|| share.try_take_within("a", 1, 8).ok()).collect();
    assert_eq!(own.len(), 8);
    let other: Vec<_> = std::iter::from_fn(|| share.try_take_within("b", 1, 8).ok()).collect();
    assert_eq!(other.len(), 2, "the total holds all the same");
    drop((own, other));
    assert!(share.lock().used == 0 && share.lock().held.is_empty());
}

#[test]
fn those_who_wait_are_served_in_order_unless_they_do_not_fit() {
    let share = share(4);
    let own = take_all(&share, "a");
    let mut later = Box::pin(share.take("a", 1));
    let mut last = Box::pin(share.take("a", 1));
    assert!(later.as_mut().now_or_never().is_none() && last.as_mut().now_or_never().is_none());
    let other = share.take("b", 1).now_or_never().expect("another holder overtakes").unwrap();
    drop(own);
    let later = later.now_or_never().expect("it was first").unwrap();
    drop((later, other));
    assert!(last.now_or_never().unwrap().is_ok());
    assert!(share.lock().lines.is_empty() && share.lock().turns.is_empty() && share.lock().used == 0);
}

#[test]
fn part_of_a_waiter_that_left_goes_to_the_next() {
    let share = share(1);
    let first = share.try_take("a", 1).unwrap();
    let mut left = Box::pin(share.take("b", 1));
    let mut stays = Box::pin(share.take("c", 1));
    assert!(left.as_mut().now_or_never().is_none() && stays.as_mut().now_or_never().is_none());
    drop(left);
    drop(first);
    assert!(stays.now_or_never().is_some());
    assert_eq!(share.lock().used, 0);
    // Granted, and dropped before it was received.
    let first = share.try_take("a", 1).unwrap();
    let mut granted = Box::pin(share.take("b", 1));
    assert!(granted.as_mut().now_or_never().is_none());
    drop(first);
    drop(granted);
    assert_eq!(share.lock().used, 0);
}

#[test]
fn line_of_one_holder_is_bounded() {
    let share = share(1);
    let _held = share.try_take("a", 1).unwrap();
    let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(share.take("a", 1))).collect();
    assert!(waiting.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()));
    assert!(share.take("a", 1).now_or_never().unwrap().is_err());
    assert!(share.take("b", 1).now_or_never().is_none(), "another holder may wait");
    assert!(share.take("b", 2).now_or_never().unwrap().is_err(), "it would wait for ever");
    waiting.pop();
    assert!(share.take("a", 1).now_or_never().is_none());
}

#[test]
fn more_than_half_is_never_waited_for() {
    assert_eq!([4, 5, 6, 1_000].map(|amount| share(10).obtainable(amount)), [4, 5, 5, 5]);
    assert_eq!(share(1).obtainable(3), 1);
}

#[tokio::test]
async fn wait_ends_in_time_and_says_whose_room_it_would_be() {
    let share = share(2);
    let _held = share.hold("a", 2);
    for (holder, own) in [("a", true), ("b", false)] {
        let refused = share.take_in_time(holder, 1, Duration::ZERO).await.err();
        assert_eq!(refused, Some(ShareExceeded { resource: Resource::LogReads, own }));
    }
}
