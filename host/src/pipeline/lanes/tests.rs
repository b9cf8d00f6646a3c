//! Whose turn it is, and what waits where.

mod classes;
mod ordered;
mod seats;

use super::health::Verdict;
use super::state::BUFFER;
use super::*;
use crate::domain::plugin::Digest;
use crate::domain::webhook::OnError;

fn webhook(id: &str, slots: u32) -> Webhook {
    webhook_of("c", id, slots)
}

fn webhook_of(company: &str, id: &str, slots: u32) -> Webhook {
    Webhook {
        id: id.into(),
        company: company.into(),
        event_type: "t".into(),
        target_url: String::new(),
        challenge: None,
        name: None,
        enabled: true,
        disabled_reason: None,
        plugin: None,
        plugin_digest: None,
        config: "null".into(),
        config_digest: Digest::of(b"null"),
        on_error: OnError::Retry,
        headers: Vec::new(),
        max_in_flight: slots,
        rate_limit: None,
        ordered: false,
        failing_since: None,
        proven: false,
        created_at: 0,
        updated_at: 0,
        signing_secret: Arc::from([].as_slice()),
        previous_secret: None,
    }
}

fn job(company: &str, webhook: &str, number: usize) -> Job {
    let event = Event {
        id: String::new(),
        event_type: "t".into(),
        company: company.into(),
        occurred_at: 0,
        headers: Vec::new(),
        data: bytes::Bytes::new(),
    };
    Job {
        delivery: format!("{webhook}-{number}"),
        webhook: webhook.into(),
        lease: None,
        attempt_count: 0,
        attempt_base: 0,
        event: Arc::new(event),
        class: Class::First,
    }
}

fn jobs(webhook: &str, count: usize) -> Vec<Job> {
    jobs_of("c", webhook, count)
}

fn jobs_of(company: &str, webhook: &str, count: usize) -> Vec<Job> {
    (0..count).map(|number| job(company, webhook, number)).collect()
}

fn take(lanes: &Lanes) -> Option<Job> {
    lanes.take().map(|(job, _)| job)
}

fn names(jobs: impl IntoIterator<Item = Job>) -> Vec<String> {
    jobs.into_iter().map(|job| job.delivery).collect()
}

fn all(lanes: &Lanes) -> Vec<Job> {
    std::iter::from_fn(|| take(lanes)).collect()
}

/// Its receiver has answered well before.
fn proven(lanes: &Lanes, hook: &Webhook) {
    lanes.parked(hook);
    lanes.judge(&job(&hook.company, &hook.id, 0), Verdict::Well, 0);
}

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hands(Instant, Arc<Mutex<Duration>>);

impl Hands {
    fn lanes(max: usize) -> (Self, Lanes) {
        let hands = Self(Instant::now(), Arc::default());
        let read = hands.clone();
        (hands, Lanes::at(max, move || read.0 + read.elapsed()))
    }

    fn elapsed(&self) -> Duration {
        *self.1.lock().unwrap()
    }

    fn pass(&self, time: Duration) {
        *self.1.lock().unwrap() += time;
    }
}

#[test]
fn lanes_take_turns_whatever_their_backlog() {
    let lanes = Lanes::new(100);
    lanes.offer(&webhook("a", 100), jobs("a", 50), false);
    lanes.offer(&webhook("b", 100), jobs("b", 2), false);
    let order = names((0..5).map(|_| take(&lanes).unwrap()));
    assert_eq!(order, ["a-0", "b-0", "a-1", "b-1", "a-2"]);
}

#[test]
fn companies_take_turns_however_many_webhooks_they_have() {
    let lanes = Lanes::new(100);
    for webhook in ["a", "b", "c"] {
        let hook = webhook_of("many", webhook, 9);
        proven(&lanes, &hook);
        lanes.offer(&hook, jobs_of("many", webhook, 9), false);
    }
    let hook = webhook_of("one", "x", 9);
    proven(&lanes, &hook);
    lanes.offer(&hook, jobs_of("one", "x", 9), false);
    assert_eq!(names((0..6).map(|_| take(&lanes).unwrap())), ["a-0", "x-0", "b-0", "x-1", "c-0", "x-2"]);
}

#[test]
fn a_company_leaves_as_many_attempts_free_as_it_has_in_flight() {
    let lanes = Lanes::new(12);
    let taken = |company: &str| {
        let hook = webhook_of(company, company, 99);
        proven(&lanes, &hook);
        lanes.offer(&hook, jobs_of(company, company, 50), false);
        let jobs = all(&lanes);
        assert!(jobs.iter().all(|job| job.event.company == company));
        jobs
    };
    let first = taken("a");
    assert_eq!((first.len(), taken("b").len(), taken("c").len()), (6, 3, 2));
    // Who has more than its part now is not served again before others are.
    for job in &first[..2] {
        lanes.done(job, false);
    }
    assert_eq!(take(&lanes).unwrap().event.company, "c");
}

#[test]
fn slots_bound_what_is_in_flight_of_one_lane() {
    let lanes = Lanes::new(99);
    lanes.offer(&webhook("a", 2), jobs("a", 5), false);
    let first = take(&lanes).unwrap();
    take(&lanes).unwrap();
    assert!(lanes.take().is_none());
    lanes.done(&first, false);
    assert_eq!(take(&lanes).unwrap().delivery, "a-2");
}

#[test]
fn workers_are_bounded_and_each_starts_the_next_while_there_is_work() {
    let lanes = Lanes::new(2);
    let hook = webhook("a", 9);
    proven(&lanes, &hook);
    assert!(lanes.offer(&hook, jobs("a", 5), false).0);
    let (first, more) = lanes.take().unwrap();
    assert!(more);
    assert!(lanes.take().is_none(), "a company alone has half");
    lanes.done(&first, false);
    let (_, more) = lanes.take().unwrap();
    assert!(more && lanes.take().is_none());
    assert!(!lanes.offer(&webhook("b", 9), vec![], false).0 || lanes.take().is_none());
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_held_is_not_taken_twice() {
    let lanes = Lanes::new(2);
    let (_, refused) = lanes.offer(&webhook("a", 1), jobs("a", BUFFER + 3), false);
    assert_eq!(refused.len(), 3);
    let taken = take(&lanes).unwrap();
    assert!(lanes.offer(&webhook("a", 1), vec![taken.clone()], false).1.is_empty());
    lanes.done(&taken, false);
    assert_eq!(take(&lanes).unwrap().delivery, "a-1");
}

#[test]
fn when_memory_is_short_a_lane_holds_few_and_keeps_its_attempts_going() {
    let lanes = Arc::new(Lanes::new(1));
    let large = |hook: &str, count| {
        let event = Event { data: vec![b' '; 1 << 20].into(), ..(*job("c", hook, 0).event).clone() };
        let event = Arc::new(event);
        jobs(hook, count).into_iter().map(move |job| Job { event: event.clone(), ..job }).collect()
    };
    let refused = |hook: &str| lanes.offer(&webhook(hook, 1), large(hook, 100), false).1.len();
    let kept: Vec<_> = ["a", "b", "c", "d"].map(|hook| 100 - refused(hook)).into();
    assert_eq!((kept[0], &kept[1..]), (8, &[4, 4, 4][..]));
    assert!(!lanes.reserve(&webhook("a", 1)).in_memory);
}

#[test]
fn a_lane_with_something_parked_takes_nothing_fresh_until_it_is_refilled() {
    let lanes = Arc::new(Lanes::new(1));
    let hook = webhook("a", 1);
    let place = lanes.reserve(&hook);
    assert!(lanes.parked(&hook));
    assert!(!lanes.reserve(&hook).in_memory);
    let refill = lanes.to_refill();
    assert_eq!((refill.len(), refill[0].room, refill[0].wanted), (1, BUFFER - 1, Wanted::Parked));
    assert!(lanes.to_refill().is_empty() && !lanes.reserve(&hook).in_memory);
    lanes.refilled(&refill[0], Refilled { more: true, barrier: None });
    let refill = lanes.to_refill();
    assert_eq!(refill.len(), 1);
    lanes.refilled(&refill[0], Refilled::default());
    assert!(lanes.reserve(&hook).in_memory);
    drop(place);
    assert!(lanes.lock().lanes.is_empty(), "an idle lane costs nothing");
}

#[test]
fn lanes_are_refilled_in_turn() {
    let lanes = Lanes::new(1);
    for number in 0..REFILLS + 10 {
        lanes.parked(&webhook(&format!("w{number}"), 1));
    }
    let first = lanes.to_refill();
    for refill in &first {
        lanes.refilled(refill, Refilled { more: true, barrier: None });
    }
    let second: Vec<_> = lanes.to_refill().into_iter().map(|refill| refill.webhook).collect();
    assert_eq!(second.iter().filter(|hook| !first.iter().any(|refill| refill.webhook == **hook)).count(), 10);
}

#[test]
fn a_drained_lane_gives_up_what_is_queued_and_keeps_what_is_in_flight() {
    let lanes = Lanes::new(9);
    lanes.offer(&webhook("a", 1), jobs("a", 3), false);
    let taken = take(&lanes).unwrap();
    assert_eq!(names(lanes.drain("a")), ["a-1", "a-2"]);
    assert!(lanes.drain("nobody").is_empty());
    lanes.done(&taken, false);
    assert!(lanes.take().is_none());
    let state = lanes.lock();
    assert!(state.lanes.is_empty() && state.is_empty());
}

#[test]
fn a_closed_house_hands_out_nothing() {
    let lanes = Lanes::new(1);
    lanes.offer(&webhook("a", 1), jobs("a", 1), false);
    lanes.close();
    assert!(lanes.take().is_none());
    assert!(!lanes.offer(&webhook("a", 1), jobs("b", 1), false).0);
}

#[test]
fn what_is_replayed_waits_behind_what_is_fresh() {
    let lanes = Arc::new(Lanes::new(9));
    let hook = webhook("a", 1);
    lanes.replayed(&hook);
    let refill = lanes.to_refill().remove(0);
    assert_eq!(refill.wanted, Wanted::Replayed);
    let old: Vec<_> = (10..13).map(|number| job("c", "a", number)).collect();
    lanes.offer(&hook, old, true);
    lanes.refilled(&refill, Refilled { more: true, barrier: None });
    assert!(lanes.to_refill().is_empty(), "there are enough of them");
    let first = take(&lanes).unwrap();
    let place = lanes.reserve(&hook);
    assert!(place.in_memory, "replays do not park what is fresh");
    lanes.put(&place, job("c", "a", 1));
    lanes.done(&first, false);
    let second = take(&lanes).unwrap();
    assert_eq!((first.delivery.as_str(), second.delivery.as_str()), ("a-10", "a-1"));
    lanes.done(&second, false);
    assert_eq!(take(&lanes).unwrap().delivery, "a-11");
}

#[test]
fn a_rate_is_kept_over_every_second() {
    let (hands, lanes) = Hands::lanes(99);
    let hook = Webhook { rate_limit: Some(5), ..webhook("a", 99) };
    proven(&lanes, &hook);
    lanes.offer(&hook, jobs("a", 40), false);
    let mut starts = Vec::new();
    while hands.elapsed() < Duration::from_secs(4) {
        while take(&lanes).is_some() {
            starts.push(hands.elapsed());
        }
        let (_, next) = lanes.open();
        hands.pass(next.expect("the lane is closed, so it opens") - (hands.0 + hands.elapsed()));
        lanes.open();
    }
    assert!((20..=21).contains(&starts.len()), "{starts:?}");
    assert!(starts.windows(6).all(|six| six[5] - six[0] >= Duration::from_secs(1)), "{starts:?}");
}

#[test]
fn a_receiver_that_keeps_failing_is_probed_and_has_all_its_slots_back_after_one_success() {
    let (hands, lanes) = Hands::lanes(99);
    let hook = webhook("a", 8);
    let (mut number, mut attempts) = (0, Vec::new());
    while hands.elapsed() < Duration::from_secs(600) {
        number += 1;
        lanes.offer(&hook, vec![job("c", "a", number)], false);
        while let Some(job) = take(&lanes) {
            attempts.push(hands.elapsed());
            lanes.judge(&job, Verdict::Silent, 0);
            lanes.done(&job, true);
        }
        hands.pass(Duration::from_millis(100));
        lanes.open();
    }
    let of = |from, to| attempts.iter().filter(|at| (from..to).contains(&at.as_secs())).count();
    assert!(of(0, 5) >= 48 && of(6, 60) < 30 && (9..=11).contains(&of(300, 600)), "{attempts:?}");
    hands.pass(Duration::from_secs(31));
    lanes.open();
    let probe = take(&lanes).unwrap();
    assert!(lanes.take().is_none());
    lanes.judge(&probe, Verdict::Well, 0);
    lanes.done(&probe, false);
    assert_eq!(all(&lanes).len(), 8);
}

#[test]
fn what_somebody_asks_for_does_not_wait_for_the_next_probe() {
    let (hands, lanes) = Hands::lanes(9);
    let hook = webhook("a", 8);
    lanes.parked(&hook);
    for _ in 0..20 {
        lanes.judge(&job("c", "a", 0), Verdict::Silent, 0);
        hands.pass(Duration::from_secs(1));
    }
    lanes.judge(&job("c", "a", 0), Verdict::Silent, 0);
    lanes.offer(&hook, jobs("a", 3), false);
    assert!(lanes.take().is_none());
    assert!(lanes.urge(&hook, job("c", "a", 9)).0);
    assert_eq!(take(&lanes).unwrap().delivery, "a-9");
}

#[test]
fn what_somebody_asks_for_keeps_to_the_pace_and_is_bounded() {
    let (hands, lanes) = Hands::lanes(9);
    let hook = Webhook { rate_limit: Some(2), ..webhook("a", 8) };
    let refused = (0..2 * BUFFER + 3).filter(|number| lanes.urge(&hook, job("c", "a", *number)).1.is_some()).count();
    assert_eq!(refused, 3);
    assert!(lanes.urge(&hook, job("c", "a", 0)).1.is_none(), "it waits already");
    lanes.hasten(&hook, "a-7");
    assert_eq!(take(&lanes).unwrap().delivery, "a-7");
    lanes.hasten(&hook, "a-8");
    assert!(lanes.take().is_none());
    hands.pass(Duration::from_millis(500));
    lanes.open();
    assert_eq!(take(&lanes).unwrap().delivery, "a-8");
    assert!(!lanes.hasten(&hook, "a-8") && lanes.take().is_none());
}

#[test]
fn a_wait_counts_only_while_there_is_a_free_slot() {
    let (hands, lanes) = Hands::lanes(9);
    lanes.offer(&webhook("a", 1), jobs("a", 3), false);
    let first = take(&lanes).unwrap();
    hands.pass(Duration::from_secs(100));
    assert_eq!(lanes.longest_wait(), None);
    lanes.done(&first, false);
    hands.pass(Duration::from_secs(61));
    assert_eq!(lanes.longest_wait(), Some(Duration::from_secs(61)));
}
