//! Pending deliveries: claiming, spilling, cancelling, releasing and counting them.

use bytes::Bytes;
use posthaste::domain::delivery::{Status, StatusFilter};
use posthaste::domain::delivery_selection::DeliverySelection;
use posthaste::domain::waiting::{Waiting, WaitingCount};
use posthaste::domain::webhook::Webhook;
use posthaste::store::{BacklogSelection, Lease, LeaseHorizon, Replay, WaitingLimits, WaitingPage};

use crate::case::{Case, LEASED, NOW, id, ids, leased, retry, row, spilled, to, webhook, with};

fn lease() -> Lease {
    Lease { until_ms: LEASED, node: "me".into() }
}

pub(crate) async fn due_deliveries_are_claimed_once_and_oldest_first(case: Case) {
    assert_eq!(case.next_due("me").await.unwrap(), None);
    let (a, b, c, d) = (id(NOW, 1), id(NOW, 2), id(NOW, 3), id(NOW, 4));
    for (id, due) in [(&a, NOW + 30), (&b, NOW + 10), (&c, NOW + 20), (&d, NOW + 99)] {
        let row = with(spilled(id), |event| event.headers = vec![("x-a".into(), "b".into())]);
        case.finished(row, retry(due)).await;
    }
    assert_eq!(case.next_due("me").await.unwrap(), Some(NOW + 10));
    assert!(case.claim_due(NOW + 9, lease(), 10).await.unwrap().is_empty());
    // The two that have been due the longest, in the order of their creation.
    let taken = case.claim_due(NOW + 50, lease(), 2).await.unwrap();
    assert_eq!(ids(&taken), [&*b, &*c]);
    let event = with(spilled(&b), |event| event.headers = vec![("x-a".into(), "b".into())]).event;
    assert_eq!((&taken[0].event, &*taken[0].webhook, taken[0].attempt_count), (&event, "wh_1", 1));
    assert_eq!(taken[0].attempt_base, 0);
    assert_eq!(ids(&case.claim_due(NOW + 50, lease(), 10).await.unwrap()), [&*a]);
    assert!(case.claim_due(NOW + 50, lease(), 10).await.unwrap().is_empty());
    assert_eq!(case.one(&a).await.next_attempt_at, None, "it is about to be attempted");
    // A process claims its own deliveries again once their leases have run out.
    assert_eq!(case.claim_due(LEASED, lease(), 10).await.unwrap().len(), 4);
}

pub(crate) async fn one_claim_is_bounded_in_bytes(case: Case) {
    for number in 0..4 {
        let row = with(spilled(&id(NOW, number)), |event| event.data = Bytes::from(vec![b' '; 3 << 18]));
        case.finished(row, retry(NOW)).await;
    }
    let taken = async || case.claim_due(NOW, lease(), 10).await.unwrap().len();
    assert_eq!([taken().await, taken().await, taken().await], [2, 2, 0]);
}

pub(crate) async fn backlog_is_claimed_oldest_first_and_replays_separately(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    let (a, b, c, other) = (id(NOW, 1), id(NOW, 2), id(NOW, 3), id(NOW, 4));
    for row in [spilled(&b), spilled(&a), to("wh_2", spilled(&other))] {
        case.stored(row).await;
    }
    case.finished(spilled(&c), |completion| completion).await;
    let replay = Replay {
        id: "rpl_1".into(),
        company: "acme".into(),
        selection: DeliverySelection {
            statuses: vec![StatusFilter::Is(Status::Delivered)],
            ..DeliverySelection::default()
        },
        event: None,
        missing: false,
        since: 0,
        until: NOW + 1,
        now: NOW,
    };
    assert_eq!(case.start_replay(replay).await.unwrap(), 1);
    assert_eq!(case.replay_step("rpl_1".into()).await.unwrap().webhooks, ["wh_1"]);
    let taken = async |parked, limit| case.claim_backlog("wh_1", parked, lease(), limit).await.unwrap();
    assert_eq!(ids(&taken(BacklogSelection::Oldest, 1).await.0), [&*a]);
    assert_eq!(ids(&taken(BacklogSelection::Oldest, 10).await.0), [&*b]);
    let (replayed, barrier) = taken(BacklogSelection::Replayed, 10).await;
    assert_eq!((ids(&replayed), barrier), (vec![&*c], None));
    // Its retry schedule starts over.
    assert_eq!((replayed[0].attempt_count, replayed[0].attempt_base), (1, 1));
    assert!(
        taken(BacklogSelection::Oldest, 10).await.0.is_empty()
            && taken(BacklogSelection::Replayed, 10).await.0.is_empty()
    );
}

pub(crate) async fn ordered_backlog_stops_before_a_scheduled_retry(case: Case) {
    let (a, b, c, d) = (id(NOW, 1), id(NOW, 2), id(NOW, 3), id(NOW, 4));
    for id in [&a, &b, &d] {
        case.stored(spilled(id)).await;
    }
    case.finished(spilled(&c), retry(NOW + 10)).await;
    let taken = async |before: Option<&String>| {
        let ordered = BacklogSelection::Ordered { before: before.cloned() };
        case.claim_backlog("wh_1", ordered, lease(), 10).await.unwrap()
    };
    let (some, barrier) = taken(Some(&b)).await;
    assert_eq!((ids(&some), barrier), (vec![&*a], Some(c.clone())));
    let (some, barrier) = taken(None).await;
    assert_eq!((ids(&some), barrier), (vec![&*b], Some(c.clone())));
    assert_eq!(ids(&case.claim_due(NOW + 10, lease(), 10).await.unwrap()), [&*c]);
    let (some, barrier) = taken(None).await;
    assert_eq!((ids(&some), barrier), (vec![&*d], None));
}

pub(crate) async fn leases_of_removed_nodes_are_released(case: Case) {
    case.put_webhook(Webhook { ordered: true, ..webhook("wh_2", "o") }).await.unwrap();
    case.join("me".into(), NOW).await.unwrap();
    let (mine, theirs, ordered) = (id(NOW, 1), id(NOW, 2), id(NOW, 3));
    for row in [row(&mine), leased("they", row(&theirs)), leased("they", to("wh_2", row(&ordered)))] {
        case.stored(row).await;
    }
    assert_eq!(case.release_leases(LeaseHorizon { now_ms: NOW + 3, latest_end_ms: LEASED }).await.unwrap(), 2);
    assert_eq!(case.one(&theirs).await.next_attempt_at, Some(NOW + 3));
    assert_eq!(case.next_due("me").await.unwrap(), Some(NOW + 3));
    // A delivery of an ordered webhook goes into the backlog.
    let (taken, _) = case.claim_backlog("wh_2", BacklogSelection::Oldest, lease(), 10).await.unwrap();
    assert_eq!(ids(&taken), [&*ordered]);
    assert_eq!(ids(&case.claim_due(NOW + 3, lease(), 10).await.unwrap()), [&*theirs]);
}

pub(crate) async fn pending_deliveries_are_spilled_and_cancelled(case: Case) {
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.put_webhook(Webhook { enabled: false, ..webhook("wh_2", "off") }).await.unwrap();
    let (waits, scheduled, held, other) = (id(NOW, 1), id(NOW, 2), id(NOW, 3), id(NOW, 4));
    assert!(case.backlogged_webhooks("me").await.unwrap().is_empty());
    case.stored(row(&held)).await;
    case.stored(to("wh_2", spilled(&other))).await;
    case.finished(spilled(&scheduled), retry(NOW + 10)).await;
    assert!(case.backlogged_webhooks("me").await.unwrap().is_empty(), "no enabled webhook has a backlog");
    case.spill_scheduled("wh_1").await.unwrap();
    case.stored(spilled(&waits)).await;
    let backlogged = case.backlogged_webhooks("me").await.unwrap();
    let [webhook] = &backlogged[..] else { panic!("{backlogged:?}") };
    assert_eq!(
        (&*webhook.company, &*webhook.id, webhook.has_backlog, webhook.has_replay),
        ("acme", "wh_1", true, false)
    );
    assert_eq!(case.waiting().await.scheduled.count, 0);
    assert!(case.orphaned_webhooks("").await.unwrap().webhooks.is_empty());
    assert!(case.delete_webhook(&crate::case::webhook("wh_1", "t")).await.unwrap());
    let orphans = case.orphaned_webhooks("").await.unwrap();
    assert_eq!((&*orphans.webhooks, orphans.next), (&["wh_1".to_owned()][..], None));
    assert!(case.orphaned_webhooks("wh_1").await.unwrap().webhooks.is_empty());
    assert!(case.cancel_orphans("wh_1".into(), NOW + 7).await.unwrap());
    assert!(!case.cancel_orphans("wh_1".into(), NOW + 7).await.unwrap());
    for id in [&waits, &scheduled] {
        let delivery = case.one(id).await;
        assert_eq!((delivery.status, delivery.finished_at), (Status::Cancelled, Some(NOW + 7)));
    }
    // The process that has a delivery in memory cancels it.
    assert_eq!(case.one(&held).await.status, Status::Pending);
    assert_eq!(case.one(&other).await.status, Status::Pending);
}

pub(crate) async fn pending_deliveries_are_counted(case: Case) {
    assert_eq!(case.waiting().await, Waiting::default());
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    case.put_webhook(Webhook { enabled: false, ..webhook("wh_2", "off") }).await.unwrap();
    case.stored(row(&id(NOW, 1))).await;
    for number in [3, 2] {
        case.stored(spilled(&id(NOW + number, 0))).await;
    }
    for number in [4, 5, 6] {
        case.finished(spilled(&id(NOW + number, 0)), retry(NOW + number)).await;
    }
    for number in [7, 8] {
        let off = to("wh_2", spilled(&id(NOW + number, 0)));
        case.stored(with(off, |event| event.event_type = "off".into())).await;
    }
    let of = |count, oldest: i64| WaitingCount { count, oldest: Some(NOW + oldest) };
    let counted = Waiting { scheduled: of(3, 4), backlog: of(2, 2), disabled: of(2, 7), ..Waiting::default() };
    assert_eq!(case.waiting().await, counted);
    assert_eq!(case.oldest_due(NOW).await.unwrap(), None);
    assert_eq!(case.oldest_due(NOW + 5).await.unwrap(), Some(NOW + 4));
    // Page by page, and no further than the limit in each state of a webhook.
    let limits = WaitingLimits { webhooks: 1, deliveries: 2 };
    let first = case.waiting_page("", limits).await.unwrap();
    let expected = Waiting { scheduled: of(2, 4), backlog: of(2, 2), ..Waiting::default() };
    assert_eq!(first, WaitingPage { waiting: expected, webhooks: 1, next: Some("wh_1".into()) });
    let second = case.waiting_page("wh_1", limits).await.unwrap();
    assert_eq!((second.waiting.disabled, second.next.as_deref()), (of(2, 7), Some("wh_2")));
    assert_eq!(case.waiting_page("wh_2", limits).await.unwrap(), WaitingPage::default());
}

pub(crate) async fn database_has_a_size(case: Case) {
    assert!(case.size_bytes().await.unwrap() > 4_096);
}
