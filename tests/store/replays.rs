//! Retries on request, replays and cancellations.

use futures_util::future::join_all;
use posthaste::domain::delivery::{Status, StatusFilter};
use posthaste::domain::delivery_selection::DeliverySelection;
use posthaste::domain::webhook::Webhook;
use posthaste::store::{
    BacklogSelection, CancelSelection, CancelState, Cancellation, DeliveryKey, DeliveryUpdate, EventFilter, Lease,
    NewEventRow, PageRequest, Published, Replay, ReplayKey, RetryMode, RetryRequest, StoreError, first_id,
};

use crate::case::{Case, LEASED, NOW, attempt, id, retry, row, several, spilled, unmatched, webhook, with};

fn replay(number: u32, event_type: Option<&str>, status: Option<Status>) -> Replay {
    Replay {
        id: format!("rpl_{number}"),
        company: "acme".into(),
        selection: DeliverySelection {
            types: event_type.into_iter().map(Into::into).collect(),
            statuses: status.into_iter().map(StatusFilter::Is).collect(),
            ..DeliverySelection::default()
        },
        event: None,
        missing: false,
        since: NOW,
        until: NOW + 10,
        now: NOW,
    }
}

pub(crate) async fn requested_delivery_is_claimed_whatever_its_status(case: Case) {
    let (ended, waits, held) = (id(NOW, 1), id(NOW, 2), id(NOW, 3));
    case.finished(spilled(&ended), |completion| completion).await;
    case.stored(spilled(&waits)).await;
    case.stored(row(&held)).await;
    let urge = async |company: &str, id: &str, how: RetryMode| {
        case.request_retry(DeliveryKey { company: company.into(), id: id.into() }, "wh_9".into(), how).await.unwrap()
    };
    let take = || RetryMode::Claim(Lease { until_ms: LEASED, node: "me".into() });
    let RetryRequest::Claimed(taken) = urge("acme", &ended, take()).await else { panic!("not taken") };
    assert_eq!(taken.lease.as_deref(), Some("me"));
    assert_eq!((&*taken.id, &*taken.webhook, taken.attempt_count), (&*ended, "wh_9", 1));
    let delivery = case.one(&ended).await;
    assert_eq!((delivery.status, delivery.finished_at), (Status::Pending, None));
    assert!(matches!(urge("acme", &waits, RetryMode::Due(NOW + 9)).await, RetryRequest::Waiting));
    assert_eq!(case.one(&waits).await.next_attempt_at, Some(NOW + 9));
    assert!(matches!(urge("acme", &waits, RetryMode::Spill).await, RetryRequest::Waiting));
    assert_eq!(case.waiting().await.backlog.count, 1);
    assert!(matches!(urge("acme", &held, take()).await, RetryRequest::InMemory));
    assert!(matches!(urge("acme", "dlv_nobody", RetryMode::Spill).await, RetryRequest::Missing));
    assert!(matches!(urge("other", &ended, RetryMode::Spill).await, RetryRequest::Missing));
}

pub(crate) async fn delivery_is_sent_again_on_request_a_hundred_times_at_most(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    let (often, once) = (id(NOW, 1), id(NOW, 2));
    for id in [&often, &once] {
        case.finished(spilled(id), |completion| completion).await;
    }
    let urge = async || {
        let key = DeliveryKey { company: "acme".into(), id: often.clone() };
        case.request_retry(key, "wh_1".into(), RetryMode::Spill).await
    };
    for _ in 0..100 {
        assert!(matches!(urge().await.unwrap(), RetryRequest::Waiting));
    }
    let Err(StoreError::Limit(limit)) = urge().await else { panic!("once more") };
    assert!(limit.name == "manual-retries" && limit.detail.contains("100 times"), "{limit}");
    // A replay counts as one of them, and leaves it out.
    case.home.sql("UPDATE event_deliveries SET status = 'delivered', parked = 0").await;
    case.start_replay(replay(1, None, None)).await.unwrap();
    case.replay_step("rpl_1".into()).await.unwrap();
    assert_eq!((case.one(&often).await.status, case.one(&once).await.status), (Status::Delivered, Status::Pending));
    let requested = "SELECT MIN(requested_count) FROM event_deliveries";
    assert_eq!(case.home.value::<i64>(requested).await, 1);
}

pub(crate) async fn replay_marks_its_deliveries_step_by_step(case: Case) {
    case.put_webhook(webhook("wh_2", "t")).await.unwrap();
    let (early, ended, failed, waits) = (id(NOW - 1, 1), id(NOW, 2), id(NOW, 3), id(NOW, 4));
    let (held, unrouted) = (id(NOW, 5), id(NOW, 6));
    for id in [&early, &ended] {
        case.finished(spilled(id), |completion| completion).await;
    }
    case.finished(spilled(&failed), |completion| DeliveryUpdate { status: Status::Failed, ..completion }).await;
    case.finished(spilled(&waits), retry(NOW + 50)).await;
    case.stored(row(&held)).await;
    let another = with(spilled(&unrouted), |event| event.event_type = "nobody".into());
    case.finished(another, |completion| completion).await;
    assert_eq!(case.start_replay(replay(1, Some("nobody"), None)).await.unwrap(), 0);
    assert_eq!(case.start_replay(replay(2, Some("t"), Some(Status::Failed))).await.unwrap(), 1);
    assert_eq!(case.start_replay(replay(3, None, None)).await.unwrap(), 3);
    assert_eq!(case.replays_in_progress().await.unwrap(), ["rpl_2", "rpl_3"]);
    let step = case.replay_step("rpl_2".into()).await.unwrap();
    assert_eq!((&*step.company, &step.webhooks[..]), ("acme", &["wh_2".to_owned()][..]));
    assert_eq!(case.waiting().await.replayed.count, 1);
    case.replay_step("rpl_3".into()).await.unwrap();
    let waiting = case.waiting().await;
    assert_eq!((waiting.replayed.count, waiting.scheduled.count), (3, 0));
    let backlogged = case.backlogged_webhooks("me").await.unwrap();
    assert!(backlogged.len() == 1 && backlogged[0].has_replay && !backlogged[0].has_backlog, "{backlogged:?}");
    assert_eq!(case.one(&ended).await.webhook, "wh_2", "it goes to the webhook as it stands");
    for replay in ["rpl_2", "rpl_3"] {
        assert!(case.replay_step(replay.into()).await.unwrap().webhooks.is_empty());
    }
    assert!(case.replays_in_progress().await.unwrap().is_empty());
    assert!(case.forget_sent_replays().await.unwrap().is_empty());
    let (shown, more) = case.replays("acme", 1, None).await.unwrap();
    assert!(shown[0].id == "rpl_3" && shown[0].marked && more, "{shown:?}");
    assert_eq!((shown[0].since, shown[0].until), (Some(NOW), Some(NOW + 10)));
    let (shown, more) = case.replays("acme", 9, Some("rpl_3")).await.unwrap();
    assert_eq!((shown[0].selection.only_status(), more), (Some(StatusFilter::Is(Status::Failed)), false));
    assert!(case.replay_step("rpl_2".into()).await.unwrap().webhooks.is_empty());
    assert_eq!(case.one(&early).await.status, Status::Delivered);
}

pub(crate) async fn replay_has_the_deliveries_of_its_selection(case: Case) {
    for hook in [webhook("wh_1", "t"), Webhook { label: Some("label-1".into()), ..webhook("wh_2", "t") }] {
        case.put_webhook(hook).await.unwrap();
    }
    let place = id(NOW, 1);
    case.stored(several(spilled(&place), &["wh_1", "wh_2"])).await;
    case.finished(spilled(&id(NOW, 2)), |completion| DeliveryUpdate { attempt: Some(attempt(1)), ..completion }).await;
    case.home.sql("UPDATE event_deliveries SET status = 'delivered', parked = 0").await;
    let count = async |selection: DeliverySelection, event: Option<&str>| {
        let asked = Replay { selection, event: event.map(Into::into), ..replay(1, None, None) };
        case.count_replayable(&asked).await.unwrap()
    };
    let any = DeliverySelection::default;
    assert_eq!(count(any(), None).await, 3);
    assert_eq!(count(any(), Some(&place)).await, 2);
    assert_eq!(count(any(), Some("nobody")).await, 0);
    assert_eq!(count(DeliverySelection { error: Some("ANSWERED 503".into()), ..any() }, None).await, 1);
    assert_eq!(count(DeliverySelection { label: Some("label-1".into()), ..any() }, None).await, 1);
    let of_webhook = DeliverySelection { webhook: Some("wh_2".into()), types: vec!["t".into(), "u".into()], ..any() };
    assert_eq!(count(of_webhook.clone(), None).await, 1);
    let asked = Replay { selection: of_webhook.clone(), ..replay(1, None, None) };
    assert_eq!(case.start_replay(asked).await.unwrap(), 1);
    assert_eq!(case.replay_step("rpl_1".into()).await.unwrap().webhooks, ["wh_2"]);
    assert!(case.replay_step("rpl_1".into()).await.unwrap().webhooks.is_empty());
    let (shown, _) = case.replays("acme", 9, None).await.unwrap();
    assert!(shown[0].selection == of_webhook && !shown[0].missing && shown[0].marked, "{shown:?}");
    assert_eq!(case.one(&format!("{place}_001")).await.status, Status::Pending);
    // A selection by the error of the last attempt ends deliveries in the database.
    let by_error = DeliverySelection { error: Some("503".into()), ..any() };
    case.home.sql("UPDATE event_deliveries SET status = 'pending', parked = 1").await;
    let selected = CancelSelection { filter: by_error, ..selection(CancelState::Pending, None) };
    assert_eq!(case.count_cancellable(&selected).await.unwrap(), 1);
    assert_eq!(case.cancel_now(selected, NOW).await.unwrap(), 1);
    assert_eq!(
        (case.one(&id(NOW, 2)).await.status, case.one(&place).await.status),
        (Status::Cancelled, Status::Pending)
    );
}

pub(crate) async fn replay_goes_to_the_webhook_that_takes_over(case: Case) {
    let labelled = |id: &str, event_type: &str| Webhook { label: Some("x".into()), ..webhook(id, event_type) };
    for hook in [
        webhook("wh_1", "a/b"),
        webhook("wh_2", "a/*"),
        webhook("wh_3", "*"),
        webhook("wh_4", "posthaste.*"),
        labelled("wh_5", "a/b/*"),
        labelled("wh_6", "a/*"),
        Webhook { company: "other".into(), ..labelled("wh_7", "*") },
    ] {
        case.put_webhook(hook).await.unwrap();
    }
    let types =
        ["a/b", "a/c", "a/", "a", "a/b/c", "a/b/", "/", "a/*", "posthaste.a/b", "posthaste.x", "posthaste", "ping"];
    for (number, event_type) in (1..).zip(types) {
        for (label, number) in [("NULL", 2 * number), ("'x'", 2 * number + 1)] {
            let place = id(NOW, number);
            case.stored(with(spilled(&place), |event| event.event_type = event_type.into())).await;
            let gone = "UPDATE event_deliveries SET webhook_id = 'wh_gone', status = 'failed', parked = 0";
            case.home.sql(&format!("{gone}, label = {label} WHERE id = '{place}'")).await;
        }
    }
    let count = case.start_replay(replay(1, None, None)).await.unwrap();
    case.replay_step("rpl_1".into()).await.unwrap();
    let mut marked = 0;
    for (number, event_type) in (1..).zip(types) {
        for (label, number) in [(None, 2 * number), (Some("x"), 2 * number + 1)] {
            let delivery = case.one(&id(NOW, number)).await;
            let successor = case.successor("acme", event_type, label).await.unwrap().map(|webhook| webhook.id.clone());
            marked += u64::from(successor.is_some());
            let expected = successor.unwrap_or_else(|| "wh_gone".into());
            assert_eq!(delivery.webhook, expected, "{event_type} {label:?}");
        }
    }
    assert!(count == marked && marked > 12, "{count}");
}

pub(crate) async fn missing_deliveries_are_made(case: Case) {
    case.put_webhook(webhook("wh_1", "a/b")).await.unwrap();
    let of_type = |number: u32, event_type: &str| {
        with(spilled(&id(NOW + i64::from(number), number)), |event| event.event_type = event_type.into())
    };
    case.stored(of_type(1, "a/b")).await;
    case.stored(unmatched(of_type(2, "a/c"))).await;
    case.stored(several(of_type(3, "a/b"), &["wh_1", "wh_9"])).await;
    case.stored(unmatched(of_type(4, "b/c"))).await;
    case.stored(unmatched(of_type(5, "ping"))).await;
    let late = Webhook { label: Some("late".into()), ..webhook("wh_2", "a/*") };
    case.put_webhook(late).await.unwrap();
    let missing = |number: u32, webhook: &str, types: &[&str]| {
        let types = types.iter().map(|name| (*name).to_owned()).collect();
        let selection = DeliverySelection { webhook: Some(webhook.into()), types, ..DeliverySelection::default() };
        Replay { selection, missing: true, ..replay(number, None, None) }
    };
    for (asked, expected) in [
        (missing(1, "wh_2", &[]), 3),
        (missing(1, "wh_2", &["a/b"]), 2),
        (missing(1, "wh_2", &["a/b", "a/c"]), 3),
        (missing(1, "wh_1", &[]), 0),
        (missing(1, "nobody", &[]), 0),
    ] {
        assert_eq!(case.count_replayable(&asked).await.unwrap(), expected, "{asked:?}");
    }
    assert_eq!(case.start_replay(missing(1, "wh_2", &[])).await.unwrap(), 3);
    assert_eq!(case.replay_step("rpl_1".into()).await.unwrap().webhooks, ["wh_2"]);
    assert!(case.replay_step("rpl_1".into()).await.unwrap().webhooks.is_empty());
    let (claimed, _) = case.claim_backlog("wh_2", BacklogSelection::Replayed, lease(), 9).await.unwrap();
    let made = [format!("{}_001", id(NOW + 1, 1)), id(NOW + 2, 2), format!("{}_002", id(NOW + 3, 3))];
    assert_eq!(claimed.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), made.each_ref().map(|id| &**id));
    assert_eq!(case.one(&made[1]).await.label.as_deref(), Some("late"));
    let filter = EventFilter { unmatched: true, ..EventFilter::default() };
    let unmatched = case.events("acme", &filter, &PageRequest { limit: 9, after: None }).await.unwrap().entries;
    assert_eq!(unmatched.iter().map(|event| &*event.event_type).collect::<Vec<_>>(), ["ping", "b/c"]);
    assert_eq!(case.count_replayable(&missing(2, "wh_2", &[])).await.unwrap(), 0);
    // Another subscription gets the next number, and its producer is still told of what it had at first.
    case.put_webhook(webhook("wh_3", "*")).await.unwrap();
    assert_eq!(case.start_replay(missing(2, "wh_3", &[])).await.unwrap(), 4);
    case.replay_step("rpl_2".into()).await.unwrap();
    assert_eq!(case.one(&format!("{}_001", id(NOW + 2, 2))).await.webhook, "wh_3");
    let again = NewEventRow { place: id(NOW + 9, 9), ..of_type(2, "a/c") };
    assert_eq!(case.stored(again).await, Published::Duplicate(Vec::new()));
}

fn lease() -> Lease {
    Lease { until_ms: LEASED, node: "me".into() }
}

pub(crate) async fn company_has_at_most_ten_replays_in_progress(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.finished(spilled(&id(NOW, 1)), |completion| completion).await;
    for number in 0..10 {
        assert_eq!(case.start_replay(replay(number, None, None)).await.unwrap(), 1);
    }
    let Err(StoreError::Limit(why)) = case.start_replay(replay(10, None, None)).await else { panic!("an eleventh") };
    assert!(why.name == "replays" && why.detail.contains("10 replays"), "{why}");
}

fn selection(state: CancelState, event_type: Option<&str>) -> CancelSelection {
    let (first, end) = (first_id(NOW), first_id(NOW + 10));
    let types = event_type.into_iter().map(Into::into).collect();
    let filter = DeliverySelection { types, ..DeliverySelection::default() };
    CancelSelection { company: "acme".into(), filter, state, first, end }
}

/// Carries out the only cancellation.
async fn carry_out(case: &Case) {
    let ids = case.cancellations_in_progress().await.unwrap();
    assert_eq!(ids.len(), 1);
    while case.cancel_step(ids[0].clone(), NOW + 7).await.unwrap().is_some() {}
    assert!(case.cancellations_in_progress().await.unwrap().is_empty());
}

pub(crate) async fn cancellation_ends_what_waits_step_by_step(case: Case) {
    let (early, fresh, failed) = (id(NOW - 1, 1), id(NOW, 2), id(NOW, 3));
    let (other, held, late) = (id(NOW, 4), id(NOW, 5), id(NOW + 10, 6));
    for id in [&early, &fresh, &late] {
        case.stored(spilled(id)).await;
    }
    case.finished(spilled(&failed), retry(NOW + 50)).await;
    case.stored(with(spilled(&other), |event| event.event_type = "u".into())).await;
    case.stored(row(&held)).await;
    let start = async |number: u32, selection: CancelSelection| {
        let cancellation = Cancellation { id: format!("cnl_{number}"), selection, now: NOW };
        case.start_cancellation(cancellation).await.unwrap()
    };
    assert_eq!(start(0, selection(CancelState::Pending, Some("nobody"))).await, 0);
    assert!(case.cancellations_in_progress().await.unwrap().is_empty());
    assert_eq!(start(1, selection(CancelState::Retrying, None)).await, 1);
    carry_out(&case).await;
    let ended = case.one(&failed).await;
    assert_eq!((ended.status, ended.finished_at, ended.next_attempt_at), (Status::Cancelled, Some(NOW + 7), None));
    assert_eq!(start(2, selection(CancelState::Pending, Some("u"))).await, 1);
    carry_out(&case).await;
    assert_eq!((case.one(&other).await.status, case.one(&fresh).await.status), (Status::Cancelled, Status::Pending));
    // The one in memory counts, but is left to the node that has it.
    assert_eq!(start(3, selection(CancelState::Pending, None)).await, 2);
    carry_out(&case).await;
    assert_eq!(case.one(&fresh).await.status, Status::Cancelled);
    for id in [&early, &held, &late] {
        assert_eq!(case.one(id).await.status, Status::Pending);
    }
    assert_eq!(case.cancel_now(CancelSelection::one("acme", &early), NOW + 8).await.unwrap(), 1);
    assert_eq!(case.cancel_now(CancelSelection::one("other", &late), NOW + 8).await.unwrap(), 0);
    assert_eq!((case.one(&early).await.status, case.one(&late).await.status), (Status::Cancelled, Status::Pending));
    for number in 10..20 {
        assert_eq!(start(number, CancelSelection::one("acme", &late)).await, 1);
    }
    let eleventh = Cancellation { id: "cnl_9".into(), selection: CancelSelection::one("acme", &late), now: NOW };
    let Err(StoreError::Limit(why)) = case.start_cancellation(eleventh).await else { panic!("an eleventh") };
    assert!(why.name == "cancellations" && why.detail.contains("10 cancellations"), "{why}");
}

pub(crate) async fn steps_of_replays_and_cancellations_are_bounded(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    let rows = (0..501).map(|number| case.finished(spilled(&id(NOW, number)), |completion| completion));
    join_all(rows).await;
    assert_eq!(case.start_replay(replay(1, None, None)).await.unwrap(), 501);
    let marked = async || {
        case.replay_step("rpl_1".into()).await.unwrap();
        case.waiting().await.replayed.count
    };
    assert_eq!([marked().await, marked().await], [500, 501]);
    let selection = selection(CancelState::Replayed, None);
    case.start_cancellation(Cancellation { id: "cnl_1".into(), selection, now: NOW }).await.unwrap();
    let left = async || {
        case.cancel_step("cnl_1".into(), NOW).await.unwrap();
        case.waiting().await.replayed.count
    };
    assert_eq!([left().await, left().await], [1, 0]);
}

pub(crate) async fn stopped_replay_cancels_what_it_has_marked(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    let (ended, waits) = (id(NOW, 1), id(NOW, 2));
    case.finished(spilled(&ended), |completion| completion).await;
    case.stored(spilled(&waits)).await;
    assert_eq!(case.start_replay(replay(1, None, None)).await.unwrap(), 1);
    case.replay_step("rpl_1".into()).await.unwrap();
    let stop = async |company: &str| {
        let key = ReplayKey { company: company.into(), id: "rpl_1".into() };
        case.stop_replay(key, "cnl_1".into(), NOW).await.unwrap()
    };
    assert!(stop("other").await.is_none());
    let (stopped, selected) = stop("acme").await.unwrap();
    assert!(!stopped.marked && selected == selection(CancelState::Replayed, None), "{selected:?}");
    assert!(stop("acme").await.is_none());
    carry_out(&case).await;
    assert_eq!((case.one(&ended).await.status, case.one(&waits).await.status), (Status::Cancelled, Status::Pending));
    // A replay whose deliveries were all sent is forgotten.
    assert_eq!(case.start_replay(replay(2, None, Some(Status::Cancelled))).await.unwrap(), 1);
    while !case.replay_step("rpl_2".into()).await.unwrap().webhooks.is_empty() {}
    assert_eq!(case.cancel_now(selection(CancelState::Replayed, None), NOW).await.unwrap(), 1);
    let forgotten = case.forget_sent_replays().await.unwrap();
    assert!(forgotten.len() == 1 && forgotten[0].0 == "acme" && forgotten[0].1.id == "rpl_2", "{forgotten:?}");
    assert!(case.forget_sent_replays().await.unwrap().is_empty());
    assert!(case.replays("acme", 9, None).await.unwrap().0.is_empty());
}
